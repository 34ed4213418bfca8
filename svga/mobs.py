"""MOBs, memory of the guest by its page table, and the object tables that say how many objects of a kind there may be.

Page tables are walked once, when an object is defined; what the driver writes into a table later is not looked at. The
tables' entries are kept here, privately, and written to the guest's memory only when it asks (READBACK_OTABLE). A
table that is taken away takes its objects along.
Ref: svga3d_cmd.h (guest-backed objects); Linux vmwgfx_mob.c (PT64 and RANGE), VirtualBox (PT).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from pvdev.errors import GuestFault
from pvdev.mem import GuestMemory
from svga.planes import PPN_MASK, Pages
from svga.wire import PAGE
from svga.wire_commands import BODY, OTABLE_ENTRY, OTABLE_MOB, Cmd3d, MobFormat, Otable

Note = Callable[[str, str, int], None]
MOB_SIZE_MAX = 256 << 20  # register MOB_MAX_SIZE
TOTAL_MAX = 1 << 30  # bytes of all MOBs and tables of a device
OTABLE_SIZE_MAX = 16 << 20
_FORMATS = {  # bytes of a PPN, levels of page tables
    MobFormat.PT_0: (4, 0),
    MobFormat.PT_1: (4, 1),
    MobFormat.PT_2: (4, 2),
    MobFormat.PT64_0: (8, 0),
    MobFormat.PT64_1: (8, 1),
    MobFormat.PT64_2: (8, 2),
}


@dataclass(frozen=True)
class Mob:
    """A memory object as it was defined."""

    format: int
    base: int
    pages: Pages

    @property
    def size(self) -> int:
        return self.pages.size


@dataclass(frozen=True)
class Table:
    """An object table as it was set. `pages` is None where it has no memory (EMPTY)."""

    size: int
    pages: Pages | None


def walk(mem: GuestMemory, form: int, base: int, size: int) -> Pages:
    """The pages of an object of `size` bytes. Raises `GuestFault`."""
    count = -(-size // PAGE)
    if form == MobFormat.RANGE:
        return Pages(mem, size, [(base, count)] if count else [])
    if form not in _FORMATS:
        raise GuestFault("SVG-D-052", "page table format", form)
    width, levels = _FORMATS[MobFormat(form)]
    each = PAGE // width
    if count > each**levels:
        raise GuestFault("SVG-D-052", "size for its page table", size)
    ppns = [base]
    for level in range(levels, 0, -1):
        wanted = -(-count // each ** (level - 1))
        found: list[int] = []
        for ppn in ppns:
            step = min(each, wanted - len(found))
            found += memoryview(mem.read(ppn * PAGE, step * width)).cast("I" if width == 4 else "Q")
        ppns = [ppn & PPN_MASK for ppn in found]
    pages = Pages(mem, size)
    pages.place(0, ppns[:count])
    return pages


class Mobs:
    """MOBs by id, and the object tables. `spend` counts what walking costs."""

    STATE: ClassVar[tuple[str, ...]] = ("_mobs", "_tables")

    def __init__(
        self, mem: GuestMemory, note: Note, spend: Callable[[int], None], may_dma: Callable[[str], bool]
    ) -> None:
        self._mem, self._note, self._spend, self._may_dma = mem, note, spend, may_dma
        self.entries: dict[Otable, Callable[[], dict[int, bytes]]] = {Otable.MOB: self._mob_entries}
        self.forget: dict[Otable, Callable[[], int]] = {Otable.MOB: self._forget}  # all of a kind; how many there were
        self.bound: Callable[[int], bool] = lambda mobid: False  # whether a surface lies in a MOB
        self.commands = {
            Cmd3d.SET_OTABLE_BASE: self._set_table,
            Cmd3d.SET_OTABLE_BASE64: self._set_table_64,
            Cmd3d.GROW_OTABLE: self._grow_table,
            Cmd3d.READBACK_OTABLE: self._readback_table,
            Cmd3d.DEFINE_GB_MOB: self._define,
            Cmd3d.DEFINE_GB_MOB64: self._define_64,
            Cmd3d.REDEFINE_GB_MOB64: self._redefine,
            Cmd3d.DESTROY_GB_MOB: self._destroy,
            Cmd3d.GB_MOB_FENCE: self._fence,
        }
        self.reset()

    def reset(self) -> None:
        self._mobs: dict[int, Mob] = {}
        self._tables: dict[Otable, Table] = {}

    def __len__(self) -> int:
        return len(self._mobs)

    def get(self, mobid: int) -> Pages:
        """The memory of a MOB. Raises `GuestFault`."""
        mob = self._mobs.get(mobid)
        if mob is None:
            raise GuestFault("SVG-D-050", "no such MOB", mobid)
        if not self._may_dma("MOB"):
            raise GuestFault("SVG-D-060", "MOB", mobid)
        return mob.pages

    def admit(self, kind: Otable, number: int) -> None:
        """Whether the table of that kind has a place for object `number`. Raises `GuestFault`."""
        table = self._tables.get(kind)
        if table is None or number >= table.size // OTABLE_ENTRY[kind]:
            raise GuestFault("SVG-D-050", f"{kind.name} id", number)

    def _room(self, size: int, *, instead: int = 0) -> None:
        total = sum(mob.size for mob in self._mobs.values()) - instead + size
        if total > TOTAL_MAX:
            raise GuestFault("SVG-D-052", "memory of all MOBs", total)

    # -- object tables -------------------------------------------------------------------------------------------------

    def _set_table(self, body: memoryview) -> None:
        kind, ppn, size, valid, form = BODY[Cmd3d.SET_OTABLE_BASE].unpack_from(body)
        self._set(kind, ppn, size, valid, form, grow=False)

    def _set_table_64(self, body: memoryview) -> None:
        self._set(*BODY[Cmd3d.SET_OTABLE_BASE64].unpack_from(body), grow=False)

    def _grow_table(self, body: memoryview) -> None:
        self._set(*BODY[Cmd3d.GROW_OTABLE].unpack_from(body), grow=True)

    def _set(self, kind: int, ppn: int, size: int, valid: int, form: int, *, grow: bool) -> None:
        """`valid` bytes would be entries to take over; ours are here already, and a table that moves keeps them."""
        if kind >= len(Otable):
            raise GuestFault("SVG-D-050", "object table", kind)
        table = Otable(kind)
        before = self._tables.get(table)
        if form == MobFormat.INVALID:
            self._tables.pop(table, None)
            left = self.forget[table]() if table in self.forget else 0
            if left:
                self._note("SVG-D-042", f"table {table.name}", left)
            return
        if size > OTABLE_SIZE_MAX or valid > size or (grow and (before is None or size < before.size)):
            raise GuestFault("SVG-D-050", f"size of {table.name}", size)
        if before is not None and not grow:
            self._note("SVG-D-050", f"{table.name} set again", size)
        pages = None
        if form != MobFormat.EMPTY:
            if not self._may_dma("object table"):
                raise GuestFault("SVG-D-060", "object table", kind)
            self._spend(8 * -(-size // PAGE))
            pages = walk(self._mem, form, ppn & PPN_MASK, size)
        self._tables[table] = Table(size, pages)

    def _readback_table(self, body: memoryview) -> None:
        (kind,) = BODY[Cmd3d.READBACK_OTABLE].unpack_from(body)
        table = self._tables.get(Otable(kind)) if kind < len(Otable) else None
        if table is None or table.pages is None:
            raise GuestFault("SVG-D-050", "object table", kind)
        tell, each = self.entries.get(Otable(kind)), OTABLE_ENTRY[Otable(kind)]
        for number, entry in (tell() if tell is not None else {}).items():
            table.pages.write(number * each, entry)
        self._spend(table.size)

    def _mob_entries(self) -> dict[int, bytes]:
        return {n: OTABLE_MOB.pack(mob.format, mob.size, mob.base) for n, mob in self._mobs.items()}

    def _forget(self) -> int:
        left = len(self._mobs)
        self._mobs.clear()
        return left

    # -- MOBs ----------------------------------------------------------------------------------------------------------

    def _define(self, body: memoryview) -> None:
        mobid, form, ppn, size = BODY[Cmd3d.DEFINE_GB_MOB].unpack_from(body)
        self._put(mobid, form, ppn, size)

    def _define_64(self, body: memoryview) -> None:
        self._put(*BODY[Cmd3d.DEFINE_GB_MOB64].unpack_from(body))

    def _redefine(self, body: memoryview) -> None:
        mobid, form, ppn, size = BODY[Cmd3d.REDEFINE_GB_MOB64].unpack_from(body)
        if mobid not in self._mobs:
            raise GuestFault("SVG-D-050", "no such MOB", mobid)
        self._put(mobid, form, ppn, size, again=True)

    def _put(self, mobid: int, form: int, ppn: int, size: int, *, again: bool = False) -> None:
        self.admit(Otable.MOB, mobid)
        before = self._mobs.get(mobid)
        if before is not None and not again:
            self._note("SVG-D-050", "MOB defined again", mobid)
        if size > MOB_SIZE_MAX:
            raise GuestFault("SVG-D-052", "MOB size", size)
        self._room(size, instead=before.size if before is not None else 0)
        if not self._may_dma("MOB"):
            raise GuestFault("SVG-D-060", "MOB", mobid)
        self._spend(8 * -(-size // PAGE))
        base = ppn & PPN_MASK
        pages = Pages(self._mem, size) if form == MobFormat.EMPTY else walk(self._mem, form, base, size)
        self._mobs[mobid] = Mob(form, base, pages)

    def _destroy(self, body: memoryview) -> None:
        (mobid,) = BODY[Cmd3d.DESTROY_GB_MOB].unpack_from(body)
        if self.bound(mobid):
            self._note("SVG-D-051", "DESTROY_GB_MOB", mobid)
        if self._mobs.pop(mobid, None) is None:
            raise GuestFault("SVG-D-050", "no such MOB", mobid)

    def _fence(self, body: memoryview) -> None:
        value, mobid, offset = BODY[Cmd3d.GB_MOB_FENCE].unpack_from(body)
        if offset % 4:
            raise GuestFault("SVG-D-052", "offset of a fence", offset)
        self.get(mobid).write(offset, value.to_bytes(4, "little"))
