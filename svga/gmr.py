"""Guest memory regions: pages named once by a list (version 1) or by commands (GMR2), and pointers into them.

Lists are read when they are named, and never again: a driver may free them at once.
Ref: VMware's svga_interface.txt and gmr.c, Linux vmwgfx_gmr.c (always PPN64), VirtualBox (44 bits of a PPN count).
"""

from collections.abc import Callable
from struct import Struct
from typing import ClassVar

from pvdev.errors import GuestFault
from pvdev.mem import GuestMemory
from svga.planes import PPN_MASK, Flat, Memory, Pages
from svga.wire import GMR_FRAMEBUFFER, PAGE, Cap
from svga.wire_commands import REMAP_ALL, Cmd, Remap

Note = Callable[[str, str, int], None]
MAX_IDS, MAX_DESCRIPTORS, MAX_PAGES = 64, 4096, 65536
_descriptor = Struct("<II")
_define = Struct("<II").unpack_from
_remap = Struct("<4I").unpack_from
_pointer = Struct("<II").unpack_from


class Gmrs:
    """All GMRs of a device. `vram`: what the framebuffer's id points into."""

    STATE: ClassVar[tuple[str, ...]] = ("_gmrs", "_id")

    def __init__(self, mem: GuestMemory, vram: Flat, caps: Cap, note: Note, may_dma: Callable[[str], bool]) -> None:
        self._mem, self._vram, self._note, self._may_dma = mem, vram, note, may_dma
        self._enabled = bool(caps & (Cap.GMR | Cap.GMR2))
        self.commands = {Cmd.DEFINE_GMR2: self.define, Cmd.REMAP_GMR2: self.remap}
        self.reset()

    def reset(self) -> None:
        self._gmrs: dict[int, Pages] = {}
        self._id = 0

    def __len__(self) -> int:
        return len(self._gmrs)

    def memory(self, gmr: int) -> Memory:
        """What a pointer into GMR `gmr` points into. Raises `GuestFault`."""
        if gmr == GMR_FRAMEBUFFER:
            return self._vram
        found = self._gmrs.get(gmr)
        if found is None:
            raise GuestFault("SVG-D-037", "no such GMR", gmr)
        if not self._may_dma("GMR"):
            raise GuestFault("SVG-D-060", "GMR", gmr)
        return found

    def _room(self, gmr: int, pages: int) -> None:
        """Whether GMR `gmr` may have so many pages. Raises `GuestFault`."""
        if not self._enabled or gmr >= MAX_IDS:
            raise GuestFault("SVG-D-037", "GMR id", gmr)
        used = sum(other.pages for number, other in self._gmrs.items() if number != gmr)
        if used + pages > MAX_PAGES:
            raise GuestFault("SVG-D-037", "pages of all GMRs", used + pages)

    # -- version 1 -----------------------------------------------------------------------------------------------------

    def _read_GMR_ID(self) -> int:
        return self._id

    def _write_GMR_ID(self, value: int) -> None:
        self._id = value

    def _write_GMR_DESCRIPTOR(self, ppn: int) -> None:
        try:
            if not ppn:
                self._room(self._id, 0)
                self._gmrs.pop(self._id, None)
            elif self._may_dma("GMR_DESCRIPTOR"):
                runs = self._list(ppn)
                pages = sum(count for _, count in runs)
                self._room(self._id, pages)
                self._gmrs[self._id] = Pages(self._mem, pages * PAGE, runs)
        except GuestFault as fault:
            self._note(fault.rule, f"GMR_DESCRIPTOR: {fault.what}", fault.value)

    def _list(self, ppn: int) -> list[tuple[int, int]]:
        """The descriptors from page `ppn` on: (PPN, pages). Raises `GuestFault` for one that does not end."""
        runs: list[tuple[int, int]] = []
        pages = looked = 0
        while True:
            if looked > MAX_DESCRIPTORS:
                raise GuestFault("SVG-D-038", "descriptors without end", looked)
            if not self._mem.reachable(ppn * PAGE, PAGE):
                raise GuestFault("SVG-D-038", "descriptor page", ppn)
            following = None
            for page, count in _descriptor.iter_unpack(self._mem.read(ppn * PAGE, PAGE)):
                looked += 1
                if count:
                    pages += count
                    if pages > MAX_PAGES:
                        raise GuestFault("SVG-D-038", "pages", pages)
                    if not self._mem.reachable(page * PAGE, count * PAGE):
                        raise GuestFault("SVG-D-038", "PPN", page)
                    runs.append((page, count))
                elif page:
                    following = page
                    break
                else:
                    return runs
            if following is None:
                raise GuestFault("SVG-D-038", "a page of descriptors without end", ppn)
            ppn = following

    # -- GMR2 ----------------------------------------------------------------------------------------------------------

    def define(self, payload: memoryview) -> None:
        gmr, pages = _define(payload)
        self._room(gmr, pages)
        if pages:
            self._gmrs[gmr] = Pages(self._mem, pages * PAGE)
        else:
            self._gmrs.pop(gmr, None)

    def remap(self, payload: memoryview) -> None:
        gmr, flags, first, count = _remap(payload)
        found = self._gmrs.get(gmr)
        if found is None or flags & ~REMAP_ALL:
            raise GuestFault("SVG-D-040", "REMAP_GMR2 id and flags", flags if found is not None else gmr)
        if first + count > found.pages:
            raise GuestFault("SVG-D-039", "REMAP_GMR2 window", first + count)
        each = 8 if flags & Remap.PPN64 else 4
        single = flags & Remap.SINGLE_PPN
        words: memoryview = payload[16:]
        if flags & Remap.VIA_GMR:
            source, offset = _pointer(payload, 16)
            words = memoryview(bytes(self.memory(source).read(offset, each * (1 if single else count))))
        ppns = [ppn & PPN_MASK for ppn in memoryview(bytes(words)).cast("Q" if each == 8 else "I")]
        if single:
            ppns = [ppns[0] + n for n in range(count)]
        for ppn in ppns:
            if not self._mem.reachable(ppn * PAGE, PAGE):
                raise GuestFault("SVG-D-040", "PPN", ppn)
        found.place(first, ppns)
