"""What both sides of the reference driver's rings share: types, the watched byte, how a broken duty is told.

A second witness: nothing in the driver is shared with the device model, only names and numbers (`wire`).
"""

from collections.abc import Callable

from pvdev.device import DmaBuffer
from pvdev.errors import PvdevError

Buffer = bytes | bytearray | memoryview
Sink = Callable[[int, list[Buffer]], None]  # (queue, frames); the frames are valid until it returns
Take = Callable[[int, int], DmaBuffer]  # (bytes, alignment) -> zeroed memory for DMA
Complain = Callable[[str, str], None]  # (rule, what was seen)

GUARD = 0xA5  # what lies behind every buffer
PATIENCE = 1024  # most completions looked at in one go


class DeviceBroke(PvdevError):
    """The device broke one of its duties (`rule`, a VMX-V number)."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule, self.what = rule, what


class RingFull(PvdevError):
    """No room for this packet, even after taking completions."""
