"""The latest of what was written over a range of bytes, as disjoint extents in order."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes `start` to `end`, written by write number `serial`. `data` None: zeros."""

    start: int
    end: int
    serial: int
    data: memoryview | None

    def part(self, start: int, end: int) -> "Extent":
        """What of it lies between `start` and `end`, which overlap it."""
        low, high = max(start, self.start), min(end, self.end)
        data = None if self.data is None else self.data[low - self.start : high - self.start]
        return Extent(low, high, self.serial, data)


class Overlay:
    """Extents that never overlap. `held`: the bytes of data they keep alive at most."""

    def __init__(self) -> None:
        self._extents: list[Extent] = []
        self._starts: list[int] = []
        self.held = 0

    def __iter__(self) -> Iterator[Extent]:
        return iter(self._extents)

    def __len__(self) -> int:
        return len(self._extents)

    def put(self, extent: Extent) -> None:
        """It hides what was there."""
        first, last = self._span(extent.start, extent.end)
        old = self._extents[first:last]
        kept = [piece.part(piece.start, extent.start) for piece in old[:1] if piece.start < extent.start]
        kept.append(extent)
        kept += [piece.part(extent.end, piece.end) for piece in old[-1:] if piece.end > extent.end]
        self._replace(first, last, kept)

    def over(self, start: int, end: int) -> list[Extent]:
        """What lies in the range, cut to it."""
        if start >= end:
            return []
        first, last = self._span(start, end)
        return [piece.part(start, end) for piece in self._extents[first:last]]

    def drop(self, which: Callable[[Extent], bool], start: int = 0, end: int | None = None) -> None:
        """Forget the whole extents for which `which` holds, of those that touch the range."""
        first, last = (0, len(self._extents)) if end is None else self._span(start, end)
        self._replace(first, last, [piece for piece in self._extents[first:last] if not which(piece)])

    def _span(self, start: int, end: int) -> tuple[int, int]:
        """Indices of the first extent that touches the range, and of the first after it."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        while first < len(self._extents) and self._extents[first].end <= start:
            first += 1
        last = first
        while last < len(self._extents) and self._starts[last] < end:
            last += 1
        return first, last

    def _replace(self, first: int, last: int, extents: list[Extent]) -> None:
        self.held += sum(_bytes(piece) for piece in extents) - sum(_bytes(piece) for piece in self._extents[first:last])
        self._extents[first:last] = extents
        self._starts[first:last] = [piece.start for piece in extents]


def _bytes(extent: Extent) -> int:
    return 0 if extent.data is None else extent.end - extent.start
