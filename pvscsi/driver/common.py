"""What the parts of the reference driver share: types, the watched byte, how a broken duty is told.

A second witness: nothing in the driver is shared with the device model, only names and numbers (`wire`).
"""

from collections.abc import Callable

from pvdev.errors import PvdevError

Buffer = bytes | bytearray | memoryview
Complain = Callable[[str, str], None]  # (rule, what was seen)

GUARD = 0xA5  # what lies in every buffer before the device fills it, and around it
MASK = 0xFFFF_FFFF  # indices are 32 bits wide and wrap


class DeviceBroke(PvdevError):
    """The device broke one of its duties (`rule`, a PVS-V number)."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule, self.what = rule, what


class RingFull(PvdevError):
    """No room for this request, even after taking completions."""


def clean(view: Buffer) -> bool:
    """Whether nobody wrote over the watched bytes in `view`."""
    return not bytes(view).strip(bytes([GUARD]))
