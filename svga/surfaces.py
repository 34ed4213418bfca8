"""Guest-backed surfaces: images in the device, filled from MOBs and written back to them when a driver says so.

A surface has memory here from the first time it is filled. Only formats a screen can show, and plain buffers, can be
filled; others are known by name and size is all that is kept of them.
Ref: svga3d_cmd.h, svga3d_surfacedefs.h; Linux vmwgfx_surface.c, vmwgfx_stdu.c.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from pvdev.errors import GuestFault
from svga.display import Area
from svga.formats import BLOCK_BYTES
from svga.mobs import MOB_SIZE_MAX, Mobs
from svga.planes import Flat, Memory, Plane, copy
from svga.rect import clip, clip_move
from svga.wire import INVALID_ID
from svga.wire_commands import (
    BODY,
    COND_BIND_READBACK,
    COND_BIND_UPDATE,
    COPY_BOX,
    OTABLE_SURFACE,
    Cmd3d,
    Otable,
    SurfaceFlag,
)

Note = Callable[[str, str, int], None]
SIDE_MAX, DEPTH_MAX, MIPS_MAX, ARRAY_MAX, FORMATS = 16384, 2048, 16, 2048, 154
TOTAL_MAX = 512 << 20  # bytes of all surfaces that have been filled


@dataclass
class Surface:
    """One surface. `flags` are 64 bits; `layers`: array slices, or the faces of a cube; `pitch`: bytes, 0 for tight."""

    sid: int
    format: int
    flags: int
    mips: int
    size: tuple[int, int, int]
    layers: int
    pixel: int  # bytes; 0: a format nobody here can read
    mob: int = INVALID_ID
    pitch: int = 0
    data: Flat | None = None
    offsets: list[int] = field(default_factory=list)  # where each mip begins, in one layer; then where the layer ends

    def __post_init__(self) -> None:
        at = 0
        for mip in range(self.mips):
            self.offsets.append(at)
            width, height, depth = self.mip(mip)
            at += width * height * depth * self.pixel
        self.offsets.append(at)

    @property
    def bytes(self) -> int:
        return self.offsets[-1] * self.layers

    def mip(self, n: int) -> tuple[int, int, int]:
        width, height, depth = self.size
        return max(width >> n, 1), max(height >> n, 1), max(depth >> n, 1)

    def at(self, face: int, mip: int) -> int:
        """Where an image begins in the surface's own memory. Raises `GuestFault`."""
        if face >= self.layers or mip >= self.mips:
            raise GuestFault("SVG-D-070", "image", face << 16 | mip)
        return face * self.offsets[-1] + self.offsets[mip]

    def plane(self, memory: Memory, face: int, mip: int, slice_: int = 0) -> Plane:
        """One image in `memory`, which is laid out as the surface is."""
        width, height, _ = self.mip(mip)
        return Plane(memory, self.at(face, mip) + slice_ * width * height * self.pixel, width * self.pixel, self.pixel)


class Surfaces:
    """Surfaces by id. `changed(sid, face, mip, area)` hears of every image that got other pixels."""

    STATE: ClassVar[tuple[str, ...]] = ("_surfaces",)

    def __init__(self, mobs: Mobs, note: Note, spend: Callable[[int], None]) -> None:
        self._mobs, self._note, self._spend = mobs, note, spend
        mobs.entries[Otable.SURFACE] = self._table_entries
        mobs.forget[Otable.SURFACE] = self._forget
        mobs.bound = lambda mobid: any(surface.mob == mobid for surface in self._surfaces.values())
        self.changed: Callable[[int, int, int, Area], None] = lambda sid, face, mip, area: None
        self.gone: Callable[[int], None] = lambda sid: None
        self.commands = {
            Cmd3d.DEFINE_GB_SURFACE: self._define,
            Cmd3d.DEFINE_GB_SURFACE_V2: self._define_2,
            Cmd3d.DEFINE_GB_SURFACE_V3: self._define_3,
            Cmd3d.DEFINE_GB_SURFACE_V4: self._define_4,
            Cmd3d.DESTROY_GB_SURFACE: self._destroy,
            Cmd3d.BIND_GB_SURFACE: self._bind,
            Cmd3d.BIND_GB_SURFACE_WITH_PITCH: self._bind_with_pitch,
            Cmd3d.COND_BIND_GB_SURFACE: self._bind_if,
            Cmd3d.UPDATE_GB_IMAGE: self._update_image,
            Cmd3d.UPDATE_GB_SURFACE: self._update_all,
            Cmd3d.READBACK_GB_IMAGE: self._readback_image,
            Cmd3d.READBACK_GB_SURFACE: self._readback_all,
            Cmd3d.INVALIDATE_GB_IMAGE: self._invalidate_image,
            Cmd3d.INVALIDATE_GB_SURFACE: self._invalidate,
            Cmd3d.SURFACE_COPY: self._copy,
        }
        self.reset()

    def reset(self) -> None:
        self._surfaces: dict[int, Surface] = {}

    def __len__(self) -> int:
        return len(self._surfaces)

    def get(self, sid: int) -> Surface:
        """Raises `GuestFault`."""
        surface = self._surfaces.get(sid)
        if surface is None:
            raise GuestFault("SVG-D-050", "no such surface", sid)
        return surface

    def pixels(self, surface: Surface) -> Flat:
        """The surface's own memory, made when it is first wanted. Raises `GuestFault`."""
        if surface.data is None:
            used = sum(other.data.size for other in self._surfaces.values() if other.data is not None)
            if not surface.pixel or used + surface.bytes > TOTAL_MAX:
                raise GuestFault("SVG-D-052", "memory of surfaces", used + surface.bytes)
            self._spend(surface.bytes)
            surface.data = Flat(memoryview(bytearray(surface.bytes)))
        return surface.data

    def _table_entries(self) -> dict[int, bytes]:
        return {
            s.sid: OTABLE_SURFACE.pack(
                *(s.format, s.flags & 0xFFFF_FFFF, s.mips, 0, 0, *s.size, s.mob, s.layers, s.pitch, s.flags >> 32),
                *(0, 0, 0, 0),
            )
            for s in self._surfaces.values()
        }

    def _forget(self) -> int:
        left = len(self._surfaces)
        for sid in self._surfaces:
            self.gone(sid)
        self._surfaces.clear()
        return left

    # -- defining ------------------------------------------------------------------------------------------------------

    def _define(self, body: memoryview) -> None:
        sid, flags, form, mips, _, _, *size = BODY[Cmd3d.DEFINE_GB_SURFACE].unpack_from(body)
        self._put(sid, flags, form, mips, size, 0)

    def _define_2(self, body: memoryview) -> None:
        sid, flags, form, mips, _, _, *size, layers, _ = BODY[Cmd3d.DEFINE_GB_SURFACE_V2].unpack_from(body)
        self._put(sid, flags, form, mips, size, layers)

    def _define_3(self, body: memoryview) -> None:
        sid, flags, form, mips, _, _, _, _, *size, layers = BODY[Cmd3d.DEFINE_GB_SURFACE_V3].unpack_from(body)
        self._put(sid, flags, form, mips, size, layers)

    def _define_4(self, body: memoryview) -> None:
        sid, flags, form, mips, _, _, _, _, *size, layers, _ = BODY[Cmd3d.DEFINE_GB_SURFACE_V4].unpack_from(body)
        self._put(sid, flags, form, mips, size, layers)

    def _put(self, sid: int, flags: int, form: int, mips: int, size: list[int], layers: int) -> None:
        self._mobs.admit(Otable.SURFACE, sid)
        width, height, depth = size
        layers = layers or (6 if flags & SurfaceFlag.CUBEMAP else 1)
        wide = SIDE_MAX if form in BLOCK_BYTES and BLOCK_BYTES[form] > 1 else MOB_SIZE_MAX
        if not (0 < width <= wide and 0 < height <= SIDE_MAX and 0 < depth <= DEPTH_MAX):
            raise GuestFault("SVG-D-052", "surface size", max(size))
        if not 0 < mips <= MIPS_MAX or layers > ARRAY_MAX or not 0 < form < FORMATS:
            raise GuestFault("SVG-D-052", "surface", mips if 0 < form < FORMATS else form)
        surface = Surface(sid, form, flags, mips, (width, height, depth), layers, BLOCK_BYTES.get(form, 0))
        if surface.bytes > MOB_SIZE_MAX:
            raise GuestFault("SVG-D-052", "surface size", surface.bytes)
        if sid in self._surfaces:
            self._note("SVG-D-050", "surface defined again", sid)
            self.gone(sid)
        self._surfaces[sid] = surface

    def _destroy(self, body: memoryview) -> None:
        (sid,) = BODY[Cmd3d.DESTROY_GB_SURFACE].unpack_from(body)
        self.get(sid)
        self.gone(sid)
        del self._surfaces[sid]

    # -- binding -------------------------------------------------------------------------------------------------------

    def _bind(self, body: memoryview) -> None:
        sid, mobid = BODY[Cmd3d.BIND_GB_SURFACE].unpack_from(body)
        self._to_mob(sid, mobid, 0)

    def _bind_with_pitch(self, body: memoryview) -> None:
        self._to_mob(*BODY[Cmd3d.BIND_GB_SURFACE_WITH_PITCH].unpack_from(body))

    def _bind_if(self, body: memoryview) -> None:
        sid, tested, mobid, flags = BODY[Cmd3d.COND_BIND_GB_SURFACE].unpack_from(body)
        surface = self.get(sid)
        if surface.mob != tested:
            return
        if flags & COND_BIND_READBACK and surface.mob != INVALID_ID:
            self._readback(surface)
        self._to_mob(sid, mobid, 0)
        if flags & COND_BIND_UPDATE and mobid != INVALID_ID:
            self._fill(surface)

    def _to_mob(self, sid: int, mobid: int, pitch: int) -> None:
        surface = self.get(sid)
        if mobid != INVALID_ID:
            room = self._mobs.get(mobid).size
            width, height, _ = surface.size
            if pitch and pitch < width * surface.pixel:
                raise GuestFault("SVG-D-052", "pitch", pitch)
            needed = pitch * (height - 1) + width * surface.pixel if pitch else surface.bytes
            if needed > room:
                raise GuestFault("SVG-D-052", "MOB of a surface", room)
        surface.mob, surface.pitch = mobid, pitch

    def _backing(self, surface: Surface) -> Memory:
        if surface.mob == INVALID_ID:
            raise GuestFault("SVG-D-053", "a surface without a MOB", surface.sid)
        return self._mobs.get(surface.mob)

    # -- between MOB and device ----------------------------------------------------------------------------------------

    def _mob_plane(self, surface: Surface, memory: Memory, face: int, mip: int, slice_: int) -> Plane:
        if surface.pitch and not (face or mip or slice_):
            return Plane(memory, 0, surface.pitch, surface.pixel)
        return surface.plane(memory, face, mip, slice_)

    def _update_image(self, body: memoryview) -> None:
        sid, face, mip, x, y, z, width, height, depth = BODY[Cmd3d.UPDATE_GB_IMAGE].unpack_from(body)
        surface = self.get(sid)
        surface.at(face, mip)
        across, down, deep = surface.mip(mip)
        area = clip(x, y, width, height, Area(0, 0, across, down))
        if area is None or (area.width, area.height) != (width, height) or z + depth > deep:
            self._note("SVG-D-070", "UPDATE_GB_IMAGE", x + width)
        if area is not None:
            for slice_ in range(z, min(z + depth, deep)):
                self._update(surface, face, mip, slice_, area)

    def _update(self, surface: Surface, face: int, mip: int, slice_: int, area: Area) -> None:
        source = self._mob_plane(surface, self._backing(surface), face, mip, slice_)
        target = surface.plane(self.pixels(surface), face, mip, slice_)
        self._spend(area.width * area.height * surface.pixel)
        copy(source, area.x, area.y, target, area.x, area.y, area.width, area.height, None)
        self.changed(surface.sid, face, mip, area)

    def _update_all(self, body: memoryview) -> None:
        self._fill(self.get(*BODY[Cmd3d.UPDATE_GB_SURFACE].unpack_from(body)))

    def _fill(self, surface: Surface) -> None:
        for face in range(surface.layers):
            for mip in range(surface.mips):
                width, height, depth = surface.mip(mip)
                for slice_ in range(depth):
                    self._update(surface, face, mip, slice_, Area(0, 0, width, height))

    def _readback_image(self, body: memoryview) -> None:
        sid, face, mip = BODY[Cmd3d.READBACK_GB_IMAGE].unpack_from(body)
        surface = self.get(sid)
        surface.at(face, mip)
        if surface.data is not None:
            for slice_ in range(surface.mip(mip)[2]):
                self._write_back(surface, face, mip, slice_)

    def _readback_all(self, body: memoryview) -> None:
        self._readback(self.get(*BODY[Cmd3d.READBACK_GB_SURFACE].unpack_from(body)))

    def _readback(self, surface: Surface) -> None:
        """What was never filled has nothing to give: the MOB keeps what it has."""
        if surface.data is not None:
            for face in range(surface.layers):
                for mip in range(surface.mips):
                    for slice_ in range(surface.mip(mip)[2]):
                        self._write_back(surface, face, mip, slice_)

    def _write_back(self, surface: Surface, face: int, mip: int, slice_: int) -> None:
        width, height, _ = surface.mip(mip)
        source = surface.plane(self.pixels(surface), face, mip, slice_)
        target = self._mob_plane(surface, self._backing(surface), face, mip, slice_)
        self._spend(width * height * surface.pixel)
        copy(source, 0, 0, target, 0, 0, width, height, None)

    def _invalidate_image(self, body: memoryview) -> None:
        sid, face, mip = BODY[Cmd3d.INVALIDATE_GB_IMAGE].unpack_from(body)
        self.get(sid).at(face, mip)

    def _invalidate(self, body: memoryview) -> None:
        self.get(*BODY[Cmd3d.INVALIDATE_GB_SURFACE].unpack_from(body))

    def _copy(self, body: memoryview) -> None:
        from_sid, from_face, from_mip, to_sid, to_face, to_mip = BODY[Cmd3d.SURFACE_COPY].unpack_from(body)
        source, target = self.get(from_sid), self.get(to_sid)
        boxes = body[BODY[Cmd3d.SURFACE_COPY].size :]
        if source.pixel != target.pixel or not source.pixel or len(boxes) % COPY_BOX.size:
            raise GuestFault("SVG-D-070", "SURFACE_COPY", len(boxes) if source.pixel == target.pixel else to_sid)
        source.at(from_face, from_mip)
        target.at(to_face, to_mip)
        read, write = source.mip(from_mip), target.mip(to_mip)
        for x, y, z, width, height, depth, sx, sy, sz in COPY_BOX.iter_unpack(boxes):
            move = clip_move(
                (sx, sy, x, y, width, height), Area(0, 0, read[0], read[1]), Area(0, 0, write[0], write[1])
            )
            if move is None or move[4:] != (width, height):
                self._note("SVG-D-070", "SURFACE_COPY", x + width)
            if move is None:
                continue
            self._spend(move[4] * move[5] * source.pixel)
            for n in range(min(depth, max(read[2] - sz, 0), max(write[2] - z, 0))):
                copy(
                    source.plane(self.pixels(source), from_face, from_mip, sz + n),
                    *move[:2],
                    target.plane(self.pixels(target), to_face, to_mip, z + n),
                    *move[2:],
                    None,
                )
            self.changed(to_sid, to_face, to_mip, Area(*move[2:]))
