"""The three rings of an adapter and the page they are counted on. Guest memory is read once; counts are our own.

The driver owns reqProdIdx, cmpConsIdx and msgConsIdx, the device all the rest: it keeps private copies and never
believes what stands in its own fields.
"""

from collections.abc import Iterator, Sequence

from pvdev.mem import GuestMemory, Window
from pvscsi.wire import PAGE, RINGS_STATE

MASK = 0xFFFF_FFFF
_WORD = {name: at // 4 for name, at in RINGS_STATE.offset.items()}
REQ_PROD, REQ_CONS, REQ_LOG2 = _WORD["reqProdIdx"], _WORD["reqConsIdx"], _WORD["reqNumEntriesLog2"]
CMP_PROD, CMP_CONS, CMP_LOG2 = _WORD["cmpProdIdx"], _WORD["cmpConsIdx"], _WORD["cmpNumEntriesLog2"]
MSG_PROD, MSG_CONS, MSG_LOG2 = _WORD["msgProdIdx"], _WORD["msgConsIdx"], _WORD["msgNumEntriesLog2"]
THRESHOLD = _WORD["reqCallThreshold"]


class PagedRing:
    """Cells of `cell` bytes on pages at `ppns`, a power of two of them. Raises `DmaFault` when one is out of reach."""

    def __init__(self, mem: GuestMemory, ppns: Sequence[int], cell: int, *, write: bool) -> None:
        self._mem, self.ppns, self.cell, self._write = mem, tuple(ppns), cell, write
        self.per_page = PAGE // cell
        self.entries = self.per_page * len(ppns)
        self.bind()

    def bind(self) -> None:
        """Find the pages in guest memory."""
        self._pages = [self._mem.window(ppn * PAGE, PAGE, write=self._write) for ppn in self.ppns]

    def release(self) -> None:
        """Let go of guest memory."""
        for page in self._pages:
            page.release()

    def windows(self) -> tuple[Window, ...]:
        return tuple(self._pages)

    def spans(self, index: int, count: int) -> Iterator[tuple[Window, int, int]]:
        """(page, first byte, bytes) of each stretch `count` cells from free-running `index` on take."""
        slot = index & self.entries - 1
        while count > 0:
            page, at = divmod(slot, self.per_page)
            n = min(count, self.per_page - at)
            yield self._pages[page], at * self.cell, n * self.cell
            slot = slot + n & self.entries - 1
            count -= n

    def read(self, index: int, count: int) -> bytes:
        """A private copy of `count` cells."""
        parts = []
        for page, at, size in self.spans(index, count):
            page.pull()
            parts.append(bytes(page.view[at : at + size]))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, index: int, data: bytes) -> None:
        """Store whole cells."""
        left = 0
        for page, at, size in self.spans(index, len(data) // self.cell):
            page.view[at : at + size] = data[left : left + size]
            page.push(at, size)
            left += size


class StatePage:
    """The page of indices at `ppn`, as words."""

    def __init__(self, mem: GuestMemory, ppn: int) -> None:
        self._mem, self.ppn = mem, ppn
        self.bind()

    def bind(self) -> None:
        self.window: Window = self._mem.window(self.ppn * PAGE, PAGE, write=True)
        self.words = self.window.view.cast("I")

    def release(self) -> None:
        self.words.release()
        self.window.release()

    def __getitem__(self, word: int) -> int:
        """What stands there now."""
        self.window.pull()
        return self.words[word]

    def __setitem__(self, word: int, value: int) -> None:
        """One aligned store."""
        self.words[word] = value
        self.window.push(4 * word, 4)
