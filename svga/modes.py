"""Modes set by registers: one framebuffer at the start of VRAM, and monitors that look at parts of it.

Drivers write width, height and depth one by one, in any order; between them stands what nobody wants. So they are taken
together, when somebody asks what has become of them: a read of the mode, an update, ENABLE, or a quiet while.
Ref: VMware's svga_interface.txt; Linux vmwgfx_kms.c, vmwgfx_ldu.c (order of writes, no terminating DISPLAY_ID).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from svga.display import Area, Monitor, Rows
from svga.formats import BYTES, DEPTHS, MASKS
from svga.planes import Flat, Plane
from svga.rect import clip, signed
from svga.wire import INVALID_ID, MAX_DISPLAYS, PALETTE_SIZE, SCREEN_SIZE_MAX, Fifo

Note = Callable[[str, str, int], None]
PITCH_MAX = 4 * SCREEN_SIZE_MAX


@dataclass(frozen=True)
class Mode:
    """What is shown: pixels, bits a pixel (8, 15, 16, 24, 32), bytes a line."""

    width: int
    height: int
    bpp: int
    pitch: int

    @property
    def size(self) -> int:
        return self.pitch * self.height


@dataclass(frozen=True)
class Display:
    """One entry of the topology; of no size: unused."""

    primary: int = 0
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0


def _can_lock(lock: int, width: int, bpp: int) -> bool:
    """Whether lines may be so many bytes apart; 0: that is left to the device."""
    return not lock or (width * BYTES[bpp] <= lock <= PITCH_MAX and not lock % BYTES[bpp])


class Modes:
    """`vram`: video memory. `largest`: (width, height) a driver may ask for. `size`: the one a new device stands at.

    `palette` are the bytes of the palette registers; `changed` hears that something else is shown, `replaced` that it
    is another mode.
    """

    STATE: ClassVar[tuple[str, ...]] = (
        *("_lock", "_staged", "mode", "_pending", "_repainted", "nothing", "pitch_unread", "_displays"),
        *("_staged_displays", "_count", "_selected", "_size", "_preferred"),
    )

    def __init__(
        self,
        vram: Flat,
        note: Note,
        *,
        size: tuple[int, int],
        largest: tuple[int, int],
        depths: bool,
        fifo: memoryview | None,
        changed: Callable[[], None],
        replaced: Callable[[], None],
    ) -> None:
        self.vram, self._note, self._changed, self._replaced = vram, note, changed, replaced
        self._size, self.largest, self._fifo = size, largest, fifo
        self.depths = depths
        self.absent: Callable[[], bool] = lambda: True  # whether no driver has the device
        self._preferred: tuple[int, int] | None = None
        self.palette: Callable[[], bytes] = lambda: bytes(PALETTE_SIZE)
        self.reset()

    def reset(self) -> None:
        width, height = self._size
        self._lock = 0
        self._staged = width, height, 32
        self.mode = Mode(width, height, 32, 4 * width)
        self._pending = False  # something was written that `mode` does not show yet
        self._repainted = False  # colours of the palette are others
        self.nothing = [False, False]  # the last width, and height, that was written was 0
        self.pitch_unread = False  # the mode changed, BYTES_PER_LINE was not read since
        self._displays = [Display(1)] + [Display()] * (MAX_DISPLAYS - 1)
        self._staged_displays = list(self._displays)
        self._count, self._selected = 1, 0

    def prefer(self, width: int, height: int) -> None:
        """The mode the next driver finds, unless it is too large for video memory.

        From any thread: it is taken where the device works, once nobody has it.
        """
        if 4 * width * height <= self.vram.size:
            self._size = self._preferred = width, height

    # -- what follows --------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        return self._pending or (self._preferred is not None and self.absent())

    def settle(self) -> Mode:
        """Take what was written as the mode, or go back to what was before."""
        if self._preferred is not None and self.absent():
            preferred, self._preferred = self._preferred, None
            self._staged, self._pending = (*preferred, 32), True
        if self._pending:
            self._pending = False
            width, height, bpp = self._staged
            pitch = max(width * BYTES[bpp], self._locked(width, bpp))
            mode = Mode(width, height, bpp, pitch)
            if mode.size > self.vram.size:
                self._note("SVG-D-021", "mode", mode.size)
                self._staged = self.mode.width, self.mode.height, self.mode.bpp
            elif mode != self.mode:
                self.mode, self.pitch_unread = mode, True
                self._replaced()
                self._changed()
            elif self._repainted:
                self._changed()
            self._repainted = False
        return self.mode

    @property
    def ripe(self) -> bool:
        """Whether what was written fits together. Else more of it is on its way, or the driver is wrong."""
        width, height, bpp = self._staged
        lock = self._asked_lock()
        return _can_lock(lock, width, bpp) and max(width * BYTES[bpp], lock) * height <= self.vram.size

    def _asked_lock(self) -> int:
        """The pitch a driver wants to force, in bytes; 0 for none."""
        lock = self._lock
        if not lock and self._fifo is not None and self._fifo[Fifo.MIN] > 4 * Fifo.PITCHLOCK:
            lock = self._fifo[Fifo.PITCHLOCK]
        return lock

    def _locked(self, width: int, bpp: int) -> int:
        """The pitch a driver forces, where it can be; 0 for none."""
        lock = self._asked_lock()
        if not _can_lock(lock, width, bpp):
            self._note("SVG-D-024", "PITCHLOCK", lock)
            return 0
        return lock

    @property
    def bounds(self) -> Area:
        return Area(0, 0, self.mode.width, self.mode.height)

    def plane(self) -> Plane:
        """The framebuffer."""
        return Plane(self.vram, 0, self.mode.pitch, BYTES[self.mode.bpp])

    def layout(self) -> list[tuple[Monitor, Rows | None]]:
        """The monitors, and which part of the framebuffer each looks at."""
        used = [
            (n, area)
            for n, display in enumerate(self._displays[: self._count])
            if (area := clip(display.x, display.y, display.width, display.height, self.bounds)) is not None
        ]
        return [(Monitor(n, area), self._rows(area)) for n, area in used or [(0, self.bounds)]]

    def _rows(self, area: Area) -> Rows:
        mode = self.mode
        palette: Sequence[tuple[int, int, int]] = ()
        at = area.y * mode.pitch + area.x * BYTES[mode.bpp]
        end = (area.bottom - 1) * mode.pitch + area.right * BYTES[mode.bpp]
        if mode.bpp == 8:
            colors = self.palette()
            palette = tuple((colors[n], colors[n + 1], colors[n + 2]) for n in range(0, PALETTE_SIZE, 3))
        pieces = (self.vram.view[at:end],)
        return Rows(pieces, area.width, area.height, mode.pitch, mode.bpp, MASKS[mode.bpp], palette)

    def palette_changed(self) -> None:
        """Hundreds of writes come together: they are looked at together."""
        if self.mode.bpp == 8:
            self._pending = self._repainted = True

    # -- size and depth ------------------------------------------------------------------------------------------------

    def _stage(self, place: str, value: int, *, largest: int, index: int) -> None:
        self.nothing[index] = not value
        if not 0 < value <= min(largest, SCREEN_SIZE_MAX):
            self._note("SVG-D-021", place, value)
            return
        staged = list(self._staged)
        staged[index] = value
        self._staged = staged[0], staged[1], staged[2]
        self._pending = True

    def _read_WIDTH(self) -> int:
        return self.settle().width

    def _write_WIDTH(self, value: int) -> None:
        self._stage("WIDTH", value, largest=self.largest[0], index=0)

    def _read_HEIGHT(self) -> int:
        return self.settle().height

    def _write_HEIGHT(self, value: int) -> None:
        self._stage("HEIGHT", value, largest=self.largest[1], index=1)

    def _read_BITS_PER_PIXEL(self) -> int:
        return self.settle().bpp

    def _write_BITS_PER_PIXEL(self, value: int) -> None:
        if not self.depths:
            self._note("SVG-D-023", "BITS_PER_PIXEL", value)
        if value not in BYTES or (not self.depths and value != 32):
            self._note("SVG-D-021", "BITS_PER_PIXEL", value)
            return
        self._staged = *self._staged[:2], value
        self._pending = True

    def _read_DEPTH(self) -> int:
        return DEPTHS[self.settle().bpp]

    def _read_PSEUDOCOLOR(self) -> int:
        return int(self.settle().bpp == 8)

    def _read_RED_MASK(self) -> int:
        return MASKS[self.settle().bpp][0]

    def _read_GREEN_MASK(self) -> int:
        return MASKS[self.settle().bpp][1]

    def _read_BLUE_MASK(self) -> int:
        return MASKS[self.settle().bpp][2]

    def _read_BYTES_PER_LINE(self) -> int:
        mode, self.pitch_unread = self.settle(), False
        return mode.pitch

    def _read_FB_SIZE(self) -> int:
        return self.settle().size

    def _read_PITCHLOCK(self) -> int:
        return self._lock

    def _write_PITCHLOCK(self, value: int) -> None:
        self._lock = value
        self._pending = True

    # -- topology ------------------------------------------------------------------------------------------------------

    def _read_NUM_GUEST_DISPLAYS(self) -> int:
        return self._count

    def _write_NUM_GUEST_DISPLAYS(self, value: int) -> None:
        if not 0 < value <= MAX_DISPLAYS:
            self._note("SVG-D-021", "NUM_GUEST_DISPLAYS", value)
            return
        self._count = value
        self._changed()

    def _read_DISPLAY_ID(self) -> int:
        return self._selected

    def _write_DISPLAY_ID(self, value: int) -> None:
        if value >= MAX_DISPLAYS and value != INVALID_ID:
            self._note("SVG-D-021", "DISPLAY_ID", value)
        self._take_display()
        self._selected = value

    def _take_display(self) -> None:
        """What was written of the selected display is complete."""
        if self._displays != self._staged_displays:
            self._displays = list(self._staged_displays)
            self._changed()

    def _display(self) -> Display:
        return self._staged_displays[self._selected] if self._selected < MAX_DISPLAYS else Display()

    def _set_display(self, **fields: int) -> None:
        if self._selected < MAX_DISPLAYS:
            self._staged_displays[self._selected] = replace(self._display(), **fields)

    def _read_DISPLAY_IS_PRIMARY(self) -> int:
        return self._display().primary

    def _write_DISPLAY_IS_PRIMARY(self, value: int) -> None:
        self._set_display(primary=int(bool(value)))

    def _read_DISPLAY_POSITION_X(self) -> int:
        return self._display().x

    def _write_DISPLAY_POSITION_X(self, value: int) -> None:
        self._set_display(x=signed(value))

    def _read_DISPLAY_POSITION_Y(self) -> int:
        return self._display().y

    def _write_DISPLAY_POSITION_Y(self, value: int) -> None:
        self._set_display(y=signed(value))

    def _read_DISPLAY_WIDTH(self) -> int:
        return self._display().width

    def _write_DISPLAY_WIDTH(self, value: int) -> None:
        self._set_display(width=value)

    def _read_DISPLAY_HEIGHT(self) -> int:
        return self._display().height

    def _write_DISPLAY_HEIGHT(self, value: int) -> None:
        """The last of a display's registers that drivers write: the entry is complete."""
        self._set_display(height=value)
        self._take_display()
