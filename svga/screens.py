"""Screen objects: monitors a driver defines, each with pixels of its own, in VRAM where the driver says or private.

Ref: VMware's svga_interface.txt (screen objects); Linux vmwgfx_scrn.c (backing in VRAM, four bytes a pixel).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from pvdev.errors import GuestFault
from svga.display import Area, Monitor, Rows
from svga.planes import Flat, Plane
from svga.wire import GMR_FRAMEBUFFER, MAX_DISPLAYS, PAGE, SCREEN_SIZE_MAX, Cap
from svga.wire_commands import SCREEN, SCREEN_SIZES, Cmd, ScreenFlag

Note = Callable[[str, str, int], None]


@dataclass(frozen=True)
class Screen:
    """A screen: where it is on the guest's desktop, its pixels, whether they are shown. `shared`: they are in VRAM."""

    id: int
    area: Area
    plane: Plane
    memory: Flat
    shared: bool
    blank: bool

    @property
    def bounds(self) -> Area:
        """Of its own pixels."""
        return Area(0, 0, self.area.width, self.area.height)

    def rows(self) -> Rows | None:
        if self.blank:
            return None
        area, plane = self.area, self.plane
        end = plane.base + (area.height - 1) * plane.pitch + 4 * area.width
        return Rows((self.memory.view[plane.base : end],), area.width, area.height, plane.pitch, 32)


class Screens:
    """All of a device. `vram`: video memory; as much again may be private."""

    STATE: ClassVar[tuple[str, ...]] = ("_screens",)

    def __init__(self, vram: Flat, caps: Cap, note: Note, changed: Callable[[], None]) -> None:
        self._vram, self._note, self._changed = vram, note, changed
        self._enabled = bool(caps & Cap.SCREEN_OBJECT_2)
        self.commands = {Cmd.DEFINE_SCREEN: self.define, Cmd.DESTROY_SCREEN: self.destroy}
        self.reset()

    def reset(self) -> None:
        self._screens: dict[int, Screen] = {}

    def __len__(self) -> int:
        return len(self._screens)

    def all(self) -> list[Screen]:
        """Every screen, in order of ids."""
        return [screen for _, screen in sorted(self._screens.items())]

    def get(self, number: int) -> Screen:
        """Raises `GuestFault`."""
        screen = self._screens.get(number)
        if screen is None:
            raise GuestFault("SVG-D-043", "no such screen", number)
        return screen

    def layout(self) -> list[tuple[Monitor, Rows | None]]:
        return [(Monitor(screen.id, screen.area), screen.rows()) for screen in self.all()]

    def forget(self) -> None:
        """A mode was set by registers, or the driver left: there are none any more."""
        if self._screens:
            self._screens.clear()
            self._changed()

    # -- commands ------------------------------------------------------------------------------------------------------

    def define(self, payload: memoryview) -> None:
        size = len(payload)
        if size < SCREEN_SIZES[0] or not self._enabled:
            raise GuestFault("SVG-D-041", "structSize", size)
        if size not in SCREEN_SIZES:
            self._note("SVG-D-041", "structSize", size)
        fields = SCREEN.numbers(bytes(payload[: SCREEN.size]).ljust(SCREEN.size, b"\0"))
        number, flags = fields["id"], fields["flags"]
        off = bool(flags & (ScreenFlag.DEACTIVATE | ScreenFlag.BLANKING))
        width, height = fields["width"], fields["height"]
        if number >= MAX_DISPLAYS:
            raise GuestFault("SVG-D-041", "screen id", number)
        if not flags & ScreenFlag.MUST_BE_SET:
            self._note("SVG-D-041", "flags", flags)
        if flags & ScreenFlag.DEACTIVATE and not (width and height):
            self.destroy(payload[4:8])
            return
        if not (0 < width <= SCREEN_SIZE_MAX and 0 < height <= SCREEN_SIZE_MAX):
            raise GuestFault("SVG-D-041", "size", width or height)
        area = Area(fields["rootX"], fields["rootY"], width, height)
        if size >= SCREEN_SIZES[1]:
            screen = self._backed(number, area, fields, off)
        else:
            screen = self._private(number, area, off)
        self._screens[number] = screen
        self._changed()

    def _backed(self, number: int, area: Area, fields: dict[str, int], off: bool) -> Screen:
        """Its pixels where the driver wants them. Raises `GuestFault`."""
        gmr, offset, pitch = fields["gmrId"], fields["offset"], fields["pitch"]
        if gmr != GMR_FRAMEBUFFER or offset % PAGE:
            raise GuestFault("SVG-D-041", "backing", gmr if gmr != GMR_FRAMEBUFFER else offset)
        pitch = pitch or 4 * area.width
        plane = Plane(self._vram, offset, pitch, 4)
        if pitch < 4 * area.width or not plane.fits(area.width, area.height):
            raise GuestFault("SVG-D-041", "pitch", pitch)
        return Screen(number, area, plane, self._vram, True, off)

    def _private(self, number: int, area: Area, off: bool) -> Screen:
        """Its pixels in memory of their own, kept when only place or flags change. Raises `GuestFault`."""
        before = self._screens.get(number)
        if (
            before is not None
            and not before.shared
            and (before.area.width, before.area.height)
            == (
                area.width,
                area.height,
            )
        ):
            return Screen(number, area, before.plane, before.memory, False, off)
        size = 4 * area.width * area.height
        others = sum(screen.memory.size for screen in self.all() if not screen.shared and screen.id != number)
        if others + size > self._vram.size:
            raise GuestFault("SVG-D-041", "memory", others + size)
        memory = Flat(memoryview(bytearray(size)))
        return Screen(number, area, Plane(memory, 0, 4 * area.width, 4), memory, False, off)

    def destroy(self, payload: memoryview) -> None:
        """One that is not there: nothing."""
        if self._screens.pop(int.from_bytes(payload[:4], "little"), None) is not None:
            self._changed()
