"""Memory with pixels in it: flat (VRAM, private) or in pages of the guest, and rectangles copied between two of them.

Whoever calls has checked the rectangles (`rect.py`): nothing here looks at what a guest wrote.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from pvdev.errors import GuestFault
from pvdev.mem import Buffer, GuestMemory
from svga.wire import PAGE

PPN_BITS = 44  # as VirtualBox masks them: drivers leave junk above
PPN_MASK = (1 << PPN_BITS) - 1
Convert = Callable[[Buffer], Buffer]


class Memory(Protocol):
    """`size` bytes. Both methods raise `GuestFault` for bytes that are not there."""

    @property
    def size(self) -> int: ...

    def read(self, at: int, length: int) -> Buffer:
        """The bytes, or a view of them."""
        ...

    def write(self, at: int, data: Buffer) -> None: ...


class Flat:
    """Memory in one piece: `view`, bytes."""

    def __init__(self, view: memoryview) -> None:
        self.view, self.size = view, len(view)

    def read(self, at: int, length: int) -> memoryview:
        return self.view[at : at + length]

    def write(self, at: int, data: Buffer) -> None:
        self.view[at : at + len(data)] = data


class Pages:
    """Guest memory made of pages anywhere, named once and then remembered: runs of (first page, PPN, count)."""

    def __init__(self, mem: GuestMemory, size: int, runs: Iterable[tuple[int, int]] = ()) -> None:
        """`runs`: (PPN, count), from the first page on."""
        self.size, self._mem = size, mem
        self._starts: list[int] = []
        self._runs: list[tuple[int, int, int]] = []
        at = 0
        for ppn, count in runs:
            self._append(at, ppn, count)
            at += count

    @property
    def pages(self) -> int:
        return -(-self.size // PAGE)

    def _append(self, first: int, ppn: int, count: int) -> None:
        if self._runs:
            at, start, length = self._runs[-1]
            if first == at + length and ppn == start + length:
                self._runs[-1] = at, start, length + count
                return
        self._starts.append(first)
        self._runs.append((first, ppn, count))

    def place(self, first: int, ppns: Iterable[int]) -> None:
        """The pages from `first` on lie at `ppns` now."""
        new = list(ppns)
        end = first + len(new)
        before, after = [], []
        for at, ppn, count in self._runs:
            if at < first:
                before.append((at, ppn, min(count, first - at)))
            if at + count > end:
                skip = max(end - at, 0)
                after.append((at + skip, ppn + skip, count - skip))
        self._starts, self._runs = [], []
        for at, ppn, count in before:
            self._append(at, ppn, count)
        for n, ppn in enumerate(new):
            self._append(first + n, ppn, 1)
        for at, ppn, count in after:
            self._append(at, ppn, count)

    def spans(self, at: int, length: int) -> list[tuple[int, int]]:
        """Where those bytes are: (address, length) in order. Raises `GuestFault` where no page was placed."""
        out = []
        if at < 0 or at + length > self.size:
            raise GuestFault("SVG-D-040", "bytes outside of their pages", at + length)
        while length > 0:
            page = at // PAGE
            n = bisect_right(self._starts, page) - 1
            first, ppn, count = self._runs[n] if n >= 0 else (0, 0, 0)
            if page >= first + count:
                raise GuestFault("SVG-D-040", "a page that was never mapped", page)
            step = min(length, (first + count) * PAGE - at)
            out.append((ppn * PAGE + at - first * PAGE, step))
            at, length = at + step, length - step
        return out

    def read(self, at: int, length: int) -> Buffer:
        spans = self.spans(at, length)
        if len(spans) == 1:
            return self._mem.read(*spans[0])
        return b"".join([self._mem.read(address, step) for address, step in spans])

    def write(self, at: int, data: Buffer) -> None:
        done = 0
        for address, step in self.spans(at, len(data)):
            self._mem.write(address, data[done : done + step])
            done += step


@dataclass(frozen=True)
class Plane:
    """Rows of pixels in `memory`: the first at byte `base`, `pitch` bytes apart, `pixel` bytes each."""

    memory: Memory
    base: int
    pitch: int
    pixel: int

    def fits(self, width: int, height: int) -> bool:
        """Whether so many pixels and rows lie in the memory."""
        return not (width and height) or (
            self.base + (height - 1) * self.pitch + width * self.pixel <= self.memory.size
        )


def copy(
    source: Plane, sx: int, sy: int, target: Plane, dx: int, dy: int, width: int, height: int, convert: Convert | None
) -> None:
    """A rectangle from one plane to another, or within one, overlapping as it may. `convert`: row to row.

    Raises `GuestFault` when guest memory is not there; rows before that are copied.
    """
    length = width * source.pixel
    start = source.base + sy * source.pitch + sx * source.pixel
    goal = target.base + dy * target.pitch + dx * target.pixel
    read, write = source.memory.read, target.memory.write
    if convert is None and source.pitch == target.pitch == length:
        write(goal, read(start, length * height))
        return
    rows: Iterable[int] = range(height)
    if source.memory is target.memory and goal > start:
        rows = reversed(range(height))
    for row in rows:
        data = read(start + row * source.pitch, length)
        write(goal + row * target.pitch, data if convert is None else convert(data))


def fill(target: Plane, x: int, y: int, width: int, height: int, color: int) -> None:
    """One colour, given as a pixel's bytes in a number."""
    row = (color & (1 << 8 * target.pixel) - 1).to_bytes(target.pixel, "little") * width
    at = target.base + y * target.pitch + x * target.pixel
    for n in range(height):
        target.memory.write(at + n * target.pitch, row)
