"""Where a guest's virtual addresses lie, by its page tables. Pure.

64-bit mode with four levels or five; others are not looked through. A page that may be written to but is not yet marked
as changed counts as read-only: it is the processor that must mark it.

Ref: Intel SDM volume 3, "4-level paging and 5-level paging".
"""

from dataclasses import dataclass

from pvdev.mem import GuestMemory

PAGE = 4096
_PG, _PAE, _LA57, _LMA = 1 << 31, 1 << 5, 1 << 12, 1 << 10
_PRESENT, _WRITE, _USER, _DIRTY, _LARGE = 1, 2, 4, 1 << 6, 1 << 7
_ADDRESS = 0x000F_FFFF_FFFF_F000


@dataclass(frozen=True)
class Tables:
    """The registers that say how addresses are looked up."""

    cr0: int
    cr3: int
    cr4: int
    efer: int

    def translate(self, memory: GuestMemory, address: int, *, write: bool, user: bool) -> int | None:
        """The physical address behind a virtual one, for a program (`user`) or a kernel. None: such an access faults,
        or the mode is not looked through."""
        if not (self.cr0 & _PG and self.cr4 & _PAE and self.efer & _LMA):
            return None
        levels = 5 if self.cr4 & _LA57 else 4
        top = address >> 12 + 9 * levels - 1
        if top not in (0, (1 << 65 - 12 - 9 * levels) - 1):
            return None  # not canonical
        table = self.cr3 & _ADDRESS
        for level in range(levels, 0, -1):
            shift = 12 + 9 * (level - 1)
            at = table + 8 * (address >> shift & 511)
            if not memory.reachable(at, 8):
                return None
            entry = int.from_bytes(memory.read(at, 8), "little")
            if not entry & _PRESENT or (user and not entry & _USER) or (write and not entry & _WRITE):
                return None
            last = level == 1 or (level in (2, 3) and entry & _LARGE)
            if last:
                if write and not entry & _DIRTY:
                    return None
                size = 1 << shift
                return (entry & _ADDRESS & -size) | address & (size - 1)
            table = entry & _ADDRESS
        return None

    def pieces(
        self, memory: GuestMemory, address: int, count: int, *, write: bool, user: bool
    ) -> list[tuple[int, int]] | None:
        """(physical address, bytes) of `count` bytes, page by page. None: somewhere among them an access faults."""
        found = []
        while count:
            part = min(count, PAGE - address % PAGE)
            physical = self.translate(memory, address, write=write, user=user)
            if physical is None or not memory.reachable(physical, part, write=write):
                return None
            found.append((physical, part))
            address, count = address + part, count - part
        return found
