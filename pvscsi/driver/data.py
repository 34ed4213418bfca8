"""The memory one request moves data from or to: a buffer, or a scatter-gather list in one segment or a chain of them.

Ref: VMware's pvscsi_defs.h and FreeBSD's pvscsi.h (chain element); Linux vmw_pvscsi.c (when a list is used at all).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pvscsi import wire
from pvscsi.driver.common import Buffer, clean
from pvscsi.driver.memory import Memory, Piece

_GAP = 3  # watched bytes between pieces: every address is odd sooner or later


@dataclass(frozen=True)
class Shape:
    """How data lies in memory. `pieces`: bytes of each, together the whole; empty: one piece.

    `listed`: whether there is an SG list; None: when there are several pieces. `per_segment`: elements of a segment,
    the chain element included. `offset`: where in its memory the first piece begins, in bytes. `spare`: elements behind
    those that are needed, pointing nowhere.
    """

    pieces: tuple[int, ...] = ()
    listed: bool | None = None
    per_segment: int = wire.SG_ELEMENTS_MAX
    offset: int = 0
    spare: int = 0


PLAIN = Shape()


class Data:
    """`size` bytes of driver memory in the given shape, all watched until the device fills them."""

    def __init__(self, memory: Memory, size: int, shape: Shape = PLAIN) -> None:
        pieces = shape.pieces or (size,)
        if sum(pieces) != size:
            raise ValueError(f"pieces of {sum(pieces)} bytes for {size} bytes of data")
        self._memory, self.size = memory, size
        self.piece = memory.take(max(1, shape.offset + size + _GAP * len(pieces)))
        self.views: list[memoryview] = []
        self.elements: list[tuple[int, int]] = []  # (address, bytes)
        at, self._gaps = shape.offset, [self.piece.view[: shape.offset]]
        for length in pieces:
            self.views.append(self.piece.view[at : at + length])
            self.elements.append((self.piece.address + at, length))
            self._gaps.append(self.piece.view[at + length : at + length + _GAP])
            at += length + _GAP
        self.segments: list[tuple[Piece, bytes]] = []  # each with what we wrote there
        listed = shape.listed if shape.listed is not None else len(pieces) > 1
        self.flag = wire.Flag.CMD_WITH_SG_LIST if listed else wire.Flag(0)
        self.address = self._list(shape) if listed else self.elements[0][0]

    def _list(self, shape: Shape) -> int:
        """Write the SG list; the address of its first segment."""
        rows = [(address, length, 0) for address, length in self.elements]
        rows += [(~0xFFF & (1 << 64) - 1, 1, 0)] * shape.spare
        runs: list[list[tuple[int, int, int]]] = []
        while len(rows) > shape.per_segment:
            runs.append(rows[: shape.per_segment - 1])
            rows = rows[shape.per_segment - 1 :]
        runs.append(rows)
        following = 0
        for run in reversed(runs):
            if following:
                run.append((following, 0, wire.SG_CHAIN))
            content = b"".join(wire.SG_ELEMENT.struct.pack(*row) for row in run)
            piece = self._memory.take(len(content), 1 << max(4, (len(content) - 1).bit_length()))
            piece.view[:] = content
            self.segments.insert(0, (piece, content))
            following = piece.address
        return following

    def fill(self, data: Buffer) -> None:
        """What the device is to be sent."""
        at = 0
        for view in self.views:
            view[:] = data[at : at + len(view)]
            at += len(view)

    def read(self, size: int | None = None) -> bytes:
        """What is there now, the first `size` bytes of it."""
        return b"".join(map(bytes, self.views))[:size]

    def untouched(self, start: int) -> bool:
        """Whether no byte from `start` on was written since the memory was taken."""
        return clean(memoryview(self.read())[start:])

    def intact(self) -> bool:
        """Whether what lies between the pieces, and the SG list, are as they were."""
        return all(map(clean, self._gaps)) and all(piece.view == content for piece, content in self.segments)

    def release(self) -> None:
        """Give the memory back; the watched bytes behind it are looked at."""
        for view in (*self.views, *self._gaps):
            view.release()
        self._memory.give(self.piece)
        for piece, _ in self.segments:
            self._memory.give(piece)


def even(size: int, count: int) -> tuple[int, ...]:
    """`size` bytes in `count` pieces of about the same length."""
    step, more = divmod(size, count)
    return tuple(step + (n < more) for n in range(count))


def spread(pieces: Sequence[int]) -> Shape:
    """A list of these pieces, at odd addresses."""
    return Shape(tuple(pieces), listed=True, offset=1)
