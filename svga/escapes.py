"""Escapes: what a driver says outside of the protocol. Overlay registers are kept, nothing is drawn of them.

Ref: svga_overlay.h, svga_escape.h; Linux vmwgfx_overlay.c (which registers it always sends).
"""

from collections.abc import Callable
from struct import Struct
from typing import ClassVar

from pvdev.errors import GuestFault
from svga.wire import OVERLAYS
from svga.wire_commands import (
    ESCAPE_VIDEO_FLUSH,
    ESCAPE_VIDEO_SET_REGS,
    ESCAPE_VMWARE,
    VIDEO_REGS,
    Cmd,
)

_head = Struct("<II").unpack_from


class Escapes:
    """`overlays`: the registers of each overlay as they were last flushed."""

    STATE: ClassVar[tuple[str, ...]] = ("_staged", "overlays", "skipped")

    def __init__(self, note: Callable[[str, str, int], None]) -> None:
        self._note = note
        self.commands = {Cmd.ESCAPE: self._escape}
        self.reset()

    def reset(self) -> None:
        self._staged: dict[int, list[int]] = {}
        self.overlays: dict[int, tuple[int, ...]] = {}
        self.skipped = 0  # escapes nobody here knows

    def _escape(self, payload: memoryview) -> None:
        namespace, size = _head(payload)
        words = payload[8 : 8 + (size & ~3)].cast("I")
        if namespace != ESCAPE_VMWARE or len(words) < 2 or words[0] not in (ESCAPE_VIDEO_SET_REGS, ESCAPE_VIDEO_FLUSH):
            self.skipped += 1
            return
        kind, stream = words[0], words[1]
        if stream >= OVERLAYS:
            raise GuestFault("SVG-D-061", "overlay", stream)
        registers = self._staged.setdefault(stream, [0] * len(VIDEO_REGS))
        if kind == ESCAPE_VIDEO_FLUSH:
            self.overlays[stream] = tuple(registers)
            return
        for n in range(2, len(words) - 1, 2):
            if words[n] < len(registers):
                registers[words[n]] = words[n + 1]
            else:
                self._note("SVG-D-061", "overlay register", words[n])
