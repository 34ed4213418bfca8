"""Screen targets: monitors that show an image of a surface. Ref: svga3d_cmd.h; Linux vmwgfx_stdu.c."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from pvdev.errors import GuestFault
from svga.display import Area, Monitor, Rows
from svga.formats import MASKS, SURFACES
from svga.mobs import Mobs
from svga.picture import Shown
from svga.rect import clip, holds
from svga.surfaces import Surfaces
from svga.wire import INVALID_ID, MAX_DISPLAYS, SCREEN_SIZE_MAX
from svga.wire_commands import BODY, OTABLE_SCREENTARGET, Cmd3d, Format, Otable

Note = Callable[[str, str, int], None]
UNBOUND = INVALID_ID, 0, 0


@dataclass(frozen=True)
class Target:
    """A monitor: where it is on the guest's desktop, and the image it shows (surface, face, mip)."""

    id: int
    area: Area
    flags: int
    dpi: int
    image: tuple[int, int, int] = UNBOUND


class Targets:
    """All of a device; `blank`: none shows anything (register BLANK_SCREEN_TARGETS)."""

    STATE: ClassVar[tuple[str, ...]] = ("_targets", "_blank")

    def __init__(self, mobs: Mobs, surfaces: Surfaces, shown: Shown, note: Note) -> None:
        self._mobs, self._surfaces, self._shown, self._note = mobs, surfaces, shown, note
        mobs.entries[Otable.SCREENTARGET] = self._table_entries
        mobs.forget[Otable.SCREENTARGET] = self._forget
        surfaces.changed, surfaces.gone = self._image_changed, self._surface_gone
        self.commands = {
            Cmd3d.DEFINE_GB_SCREENTARGET: self._define,
            Cmd3d.DESTROY_GB_SCREENTARGET: self._destroy,
            Cmd3d.BIND_GB_SCREENTARGET: self._bind,
            Cmd3d.UPDATE_GB_SCREENTARGET: self._update,
            Cmd3d.UPDATE_GB_SCREENTARGET_V2: self._update,
            Cmd3d.UPDATE_GB_SCREENTARGET_MOVE: self._update_move,
        }
        self.reset()

    def reset(self) -> None:
        self._targets: dict[int, Target] = {}
        self._blank = 0

    def __len__(self) -> int:
        return len(self._targets)

    def _get(self, number: int) -> Target:
        target = self._targets.get(number)
        if target is None:
            raise GuestFault("SVG-D-053", "no such screen target", number)
        return target

    def layout(self) -> list[tuple[Monitor, Rows | None]]:
        return [(Monitor(n, target.area), self._rows(target)) for n, target in sorted(self._targets.items())]

    def _rows(self, target: Target) -> Rows | None:
        sid, face, mip = target.image
        if sid == INVALID_ID or self._blank:
            return None
        surface = self._surfaces.get(sid)
        try:
            view = self._surfaces.pixels(surface).view
        except GuestFault as fault:
            self._note(fault.rule, fault.what, fault.value)
            return None
        width, height, _ = surface.mip(mip)
        at, pitch = surface.at(face, mip), width * surface.pixel
        shown_width, shown_height = min(width, target.area.width), min(height, target.area.height)
        end = at + (shown_height - 1) * pitch + shown_width * surface.pixel
        bpp = SURFACES[Format(surface.format)]
        return Rows((view[at:end],), shown_width, shown_height, pitch, bpp, MASKS[bpp])

    def _table_entries(self) -> dict[int, bytes]:
        return {
            t.id: OTABLE_SCREENTARGET.pack(*t.image, t.area.width, t.area.height, t.area.x, t.area.y, t.flags, t.dpi)
            for t in self._targets.values()
        }

    def _forget(self) -> int:
        left = len(self._targets)
        self._targets.clear()
        self._shown.stale()
        return left

    # -- what else happens ---------------------------------------------------------------------------------------------

    def _image_changed(self, sid: int, face: int, mip: int, area: Area) -> None:
        """Marked at once: what a viewer sees of the surface is its memory, updated or not."""
        for target in self._targets.values():
            if target.image == (sid, face, mip):
                self._mark(target, area)

    def _surface_gone(self, sid: int) -> None:
        for number, target in self._targets.items():
            if target.image[0] == sid:
                self._note("SVG-D-053", "surface of a screen target", sid)
                self._targets[number] = replace(target, image=UNBOUND)
                self._shown.stale()

    def _mark(self, target: Target, area: Area) -> None:
        part = clip(area.x, area.y, area.width, area.height, Area(0, 0, target.area.width, target.area.height))
        if part is not None:
            self._shown.mark(Area(target.area.x + part.x, target.area.y + part.y, part.width, part.height))

    def _read_BLANK_SCREEN_TARGETS(self) -> int:
        return self._blank

    def _write_BLANK_SCREEN_TARGETS(self, value: int) -> None:
        self._blank = int(bool(value))
        self._shown.stale()
        self._shown.settle()

    # -- commands ------------------------------------------------------------------------------------------------------

    def _define(self, body: memoryview) -> None:
        number, width, height, x, y, flags, dpi = BODY[Cmd3d.DEFINE_GB_SCREENTARGET].unpack_from(body)
        self._mobs.admit(Otable.SCREENTARGET, number)
        if number >= MAX_DISPLAYS or not (0 < width <= SCREEN_SIZE_MAX and 0 < height <= SCREEN_SIZE_MAX):
            raise GuestFault("SVG-D-053", "screen target", number if number >= MAX_DISPLAYS else max(width, height))
        self._targets[number] = Target(number, Area(x, y, width, height), flags, dpi)
        self._shown.stale()

    def _destroy(self, body: memoryview) -> None:
        (number,) = BODY[Cmd3d.DESTROY_GB_SCREENTARGET].unpack_from(body)
        self._get(number)
        del self._targets[number]
        self._shown.stale()

    def _bind(self, body: memoryview) -> None:
        number, sid, face, mip = BODY[Cmd3d.BIND_GB_SCREENTARGET].unpack_from(body)
        target = self._get(number)
        if sid != INVALID_ID:
            surface = self._surfaces.get(sid)
            surface.at(face, mip)
            if surface.format not in SURFACES:
                raise GuestFault("SVG-D-053", "format of a screen target", surface.format)
            width, height, _ = surface.mip(mip)
            if width < target.area.width or height < target.area.height:
                self._note("SVG-D-053", "surface smaller than its screen target", width)
        self._targets[number] = replace(target, image=(sid, face, mip) if sid != INVALID_ID else UNBOUND)
        self._shown.stale()
        self._mark(target, Area(0, 0, target.area.width, target.area.height))

    def _update(self, body: memoryview) -> None:
        number, x, y, width, height = BODY[Cmd3d.UPDATE_GB_SCREENTARGET].unpack_from(body)
        self._mark(self._updated(number, x, y, width, height), Area(x, y, width, height))

    def _updated(self, number: int, x: int, y: int, width: int, height: int) -> Target:
        target = self._get(number)
        if target.image[0] == INVALID_ID:
            self._note("SVG-D-062", "UPDATE_GB_SCREENTARGET", number)
        if not holds(Area(0, 0, target.area.width, target.area.height), x, y, width, height):
            self._note("SVG-D-070", "UPDATE_GB_SCREENTARGET", x + width & 0xFFFF_FFFF)
        return target

    def _update_move(self, body: memoryview) -> None:
        """What moved was drawn into the surface before this, and marked then: nothing is left to be copied."""
        number, x, y, width, height, *_ = BODY[Cmd3d.UPDATE_GB_SCREENTARGET_MOVE].unpack_from(body)
        self._mark(self._updated(number, x, y, width, height), Area(x, y, width, height))
