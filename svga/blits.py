"""Commands that move pixels, or say that some changed: in the framebuffer of registers, between GMRs and screens."""

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from pvdev.errors import GuestFault
from svga.display import Area
from svga.formats import BYTES, GMRFB_FORMATS, from_32, to_32
from svga.gmr import Gmrs
from svga.modes import Modes
from svga.picture import Shown
from svga.planes import Plane, copy, fill
from svga.rect import Move, clip, clip_move, holds, signed
from svga.screens import Screen, Screens
from svga.wire import INVALID_ID
from svga.wire_commands import ROP_COPY, Cmd

Note = Callable[[str, str, int], None]
PITCH_MAX = 1 << 20
_update = Struct("<4I").unpack_from
_fill = Struct("<5I").unpack_from
_copy = Struct("<7I").unpack_from
_gmrfb = Struct("<4I").unpack_from
_blit = Struct("<6iI").unpack_from
_annotation = Struct("<iiI").unpack_from


@dataclass(frozen=True)
class Gmrfb:
    """The framebuffer in a GMR that blits read and write: `bpp` as in `formats.MASKS`."""

    gmr: int
    offset: int
    pitch: int
    bpp: int


class Blits:
    """`spend` counts the bytes that are moved."""

    STATE: ClassVar[tuple[str, ...]] = ("_gmrfb", "_copied_from")

    def __init__(
        self, modes: Modes, screens: Screens, gmrs: Gmrs, shown: Shown, note: Note, spend: Callable[[int], None]
    ) -> None:
        self._modes, self._screens, self._gmrs, self._shown = modes, screens, gmrs, shown
        self._note, self._spend = note, spend
        self.commands = {
            Cmd.UPDATE: self._update,
            Cmd.UPDATE_VERBOSE: self._update,
            Cmd.RECT_FILL: self._fill,
            Cmd.RECT_COPY: self._rect_copy,
            Cmd.RECT_ROP_COPY: self._rect_rop_copy,
            Cmd.DEFINE_GMRFB: self._define_gmrfb,
            Cmd.BLIT_GMRFB_TO_SCREEN: self._to_screen,
            Cmd.BLIT_SCREEN_TO_GMRFB: self._from_screen,
            Cmd.ANNOTATION_FILL: self._annotate_fill,
            Cmd.ANNOTATION_COPY: self._annotate_copy,
        }
        self.reset()

    def reset(self) -> None:
        self._gmrfb: Gmrfb | None = None
        self._copied_from: tuple[int, int, int] | None = None  # what the next blit only repeats: x, y, screen

    # -- the framebuffer -----------------------------------------------------------------------------------------------

    def _update(self, payload: memoryview) -> None:
        """Pixels were written: those of the mode, or of every screen there (coordinates of the guest's desktop)."""
        x, y, width, height = _update(payload)
        if self._screens:
            for screen in self._screens.all():
                if (area := clip(signed(x), signed(y), width, height, screen.area)) is not None:
                    self._shown.mark(area)
            return
        modes = self._modes
        modes.settle()
        if modes.pitch_unread:
            modes.pitch_unread = False
            self._note("SVG-D-022", "UPDATE", modes.mode.pitch)
        bounds = modes.bounds
        if not holds(bounds, x, y, width, height):
            self._note("SVG-D-027", "UPDATE", x + width)
        if (area := clip(signed(x), signed(y), width, height, bounds)) is not None:
            self._shown.mark(area)

    def _target(self) -> tuple[Plane, Area, int, int]:
        """What fills and copies work on, screen 0 or the framebuffer: its pixels, their bounds, and where on the
        guest's desktop they begin.
        """
        for screen in self._screens.all()[:1]:
            return screen.plane, screen.bounds, screen.area.x, screen.area.y
        self._modes.settle()
        return self._modes.plane(), self._modes.bounds, 0, 0

    def _fill(self, payload: memoryview) -> None:
        color, x, y, width, height = _fill(payload)
        plane, bounds, left, top = self._target()
        if (area := clip(signed(x), signed(y), width, height, bounds)) is not None:
            self._spend(area.width * area.height * plane.pixel)
            fill(plane, area.x, area.y, area.width, area.height, color)
            self._shown.mark(Area(left + area.x, top + area.y, area.width, area.height))

    def _rect_rop_copy(self, payload: memoryview) -> None:
        rop = _copy(payload)[6]
        if rop != ROP_COPY:
            raise GuestFault("SVG-D-012", "rop", rop)
        self._rect_copy(payload)

    def _rect_copy(self, payload: memoryview) -> None:
        sx, sy, dx, dy, width, height = Struct("<6I").unpack_from(payload)
        plane, bounds, left, top = self._target()
        wanted = signed(sx), signed(sy), signed(dx), signed(dy), width, height
        if not holds(bounds, sx, sy, width, height) or not holds(bounds, dx, dy, width, height):
            self._note("SVG-D-028", "RECT_COPY", max(sx, dx) + width)
        move = clip_move(wanted, bounds, bounds)
        if move is None:
            return
        sx, sy, dx, dy, width, height = move
        self._spend(width * height * plane.pixel)
        copy(plane, sx, sy, plane, dx, dy, width, height, None)
        self._shown.copied(Area(left + dx, top + dy, width, height), left + sx, top + sy)

    # -- screens -------------------------------------------------------------------------------------------------------

    def _define_gmrfb(self, payload: memoryview) -> None:
        gmr, offset, pitch, format_ = _gmrfb(payload)
        bpp = GMRFB_FORMATS.get((format_ & 0xFF, format_ >> 8 & 0xFF))
        if bpp is None or not 0 < pitch <= PITCH_MAX:
            raise GuestFault("SVG-D-043", "GMRFB", format_ if bpp is None else pitch)
        self._gmrfb = Gmrfb(gmr, offset, pitch, bpp)

    def _plane(self) -> tuple[Plane, Area, int]:
        """The GMRFB: its pixels, how far they go, their format. Raises `GuestFault`."""
        fb = self._gmrfb
        if fb is None:
            raise GuestFault("SVG-D-044", "GMRFB", 0)
        plane = Plane(self._gmrs.memory(fb.gmr), fb.offset, fb.pitch, BYTES[fb.bpp])
        room = plane.memory.size - fb.offset
        rows = (room + fb.pitch - 1) // fb.pitch if room > 0 else 0
        return plane, Area(0, 0, fb.pitch // plane.pixel, rows), fb.bpp

    def _rect(self, left: int, top: int, right: int, bottom: int) -> tuple[int, int, int, int]:
        if right < left or bottom < top:
            self._note("SVG-D-043", "rectangle", right - left & 0xFFFF_FFFF)
        return left, top, right - left, bottom - top

    def _to_screen(self, payload: memoryview) -> None:
        sx, sy, left, top, right, bottom, number = _blit(payload)
        x, y, width, height = self._rect(left, top, right, bottom)
        plane, bounds, bpp = self._plane()
        hint, self._copied_from = self._copied_from, None
        screens = self._screens.all() if number == INVALID_ID else [self._screens.get(number)]
        for screen in screens:
            root_x, root_y = (screen.area.x, screen.area.y) if number == INVALID_ID else (0, 0)
            inside = screen.bounds
            part = clip(x - root_x, y - root_y, width, height, inside)
            if part is None:
                continue
            read_x, read_y = part.x + root_x - x + sx, part.y + root_y - y + sy
            if not holds(bounds, read_x, read_y, part.width, part.height) or not _whole(plane, read_x, read_y, part):
                raise GuestFault("SVG-D-043", "source outside of the GMRFB", read_x & 0xFFFF_FFFF)
            move = read_x, read_y, part.x, part.y, part.width, part.height
            self._blit_in(screen, plane, move, bpp, hint if number != INVALID_ID else None)

    def _blit_in(self, screen: Screen, plane: Plane, move: Move, bpp: int, hint: tuple[int, int, int] | None) -> None:
        sx, sy, dx, dy, width, height = move
        self._spend(width * height * 4)
        area = Area(screen.area.x + dx, screen.area.y + dy, width, height)
        repeats = hint is not None and bpp == 32 and _same(plane, move, screen, hint)
        try:
            copy(plane, sx, sy, screen.plane, dx, dy, width, height, to_32(bpp))
        finally:
            if hint is not None and repeats:
                self._shown.copied(area, screen.area.x + hint[0], screen.area.y + hint[1])
            else:
                self._shown.mark(area)

    def _from_screen(self, payload: memoryview) -> None:
        dx, dy, left, top, right, bottom, number = _blit(payload)
        x, y, width, height = self._rect(left, top, right, bottom)
        plane, bounds, bpp = self._plane()
        if width <= 0 or height <= 0:
            return
        if number == INVALID_ID:
            screen = next((s for s in self._screens.all() if holds(s.area, x, y, width, height)), None)
            if screen is None:
                raise GuestFault("SVG-D-043", "no screen there", x & 0xFFFF_FFFF)
            x, y = x - screen.area.x, y - screen.area.y
        else:
            screen = self._screens.get(number)
        if not holds(screen.bounds, x, y, width, height):
            raise GuestFault("SVG-D-043", "source outside of the screen", right & 0xFFFF_FFFF)
        if not holds(bounds, dx, dy, width, height) or not _whole(plane, dx, dy, Area(0, 0, width, height)):
            raise GuestFault("SVG-D-043", "target outside of the GMRFB", dx & 0xFFFF_FFFF)
        self._spend(width * height * 4)
        copy(screen.plane, x, y, plane, dx, dy, width, height, from_32(bpp))

    def _annotate_fill(self, payload: memoryview) -> None:
        self._copied_from = None  # the pixels come all the same

    def _annotate_copy(self, payload: memoryview) -> None:
        self._copied_from = _annotation(payload)


def _same(plane: Plane, move: Move, screen: Screen, hint: tuple[int, int, int]) -> bool:
    """Whether what a blit brings is there already, on the same screen, where the driver says.

    Only of a screen nobody but the device writes: viewers have then seen what is there.
    """
    sx, sy, _, _, width, height = move
    x, y, number = hint
    if number != screen.id or screen.shared or not holds(screen.bounds, x, y, width, height):
        return False
    new, old, length = plane, screen.plane, 4 * width
    return all(
        new.memory.read(new.base + (sy + row) * new.pitch + 4 * sx, length)
        == old.memory.read(old.base + (y + row) * old.pitch + 4 * x, length)
        for row in range(height)
    )


def _whole(plane: Plane, x: int, y: int, size: Area) -> bool:
    """Whether a rectangle's last row ends inside the memory."""
    last = plane.base + (y + size.height - 1) * plane.pitch + (x + size.width) * plane.pixel
    return last <= plane.memory.size
