"""The reference driver's memory: pieces with watched bytes behind them, pages with watched pages between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from pvdev.device import DmaBuffer, Port
from pvscsi.driver.common import GUARD, Complain, clean
from pvscsi.wire import PAGE

_TAIL = 64  # watched bytes behind every piece
_PAGE_OF_GUARD = bytes([GUARD]) * PAGE


@dataclass(eq=False)
class Piece:
    """`view` is `size` bytes at `address`; `buffer` is what has to be given back, watched bytes included."""

    address: int
    view: memoryview
    buffer: DmaBuffer

    @property
    def ppn(self) -> int:
        return self.address // PAGE


class Memory:
    """All DMA memory of one driver."""

    def __init__(self, port: Port, complain: Complain) -> None:
        self._port, self._complain = port, complain
        self._pieces: dict[Piece, memoryview] = {}  # -> the watched bytes behind it
        self._between: list[DmaBuffer] = []  # watched pages

    def take(self, size: int, align: int = 64, *, fill: int = GUARD) -> Piece:
        """`size` bytes, each `fill`. Raises `MemoryError`."""
        buffer = self._port.alloc(size + _TAIL, align)
        piece = Piece(buffer.address, buffer.view[:size], buffer)
        piece.view[:] = bytes([fill]) * size
        tail = buffer.view[size:]
        tail[:] = bytes([GUARD]) * _TAIL
        self._pieces[piece] = tail
        return piece

    def pages(self, count: int, *, scattered: bool = True) -> list[Piece]:
        """`count` zeroed pages in no order, a watched page behind each; or in a row, with nothing between."""
        if not scattered:
            buffer = self._port.alloc(count * PAGE, PAGE)
            whole = Piece(buffer.address, buffer.view, buffer)
            self._pieces[whole] = buffer.view[:0]
            return [
                Piece(buffer.address + at, buffer.view[at : at + PAGE], buffer) for at in range(0, count * PAGE, PAGE)
            ]
        found = []
        for _ in range(count):
            buffer = self._port.alloc(PAGE, PAGE)
            found.append(Piece(buffer.address, buffer.view, buffer))
            self._pieces[found[-1]] = buffer.view[:0]
            between = self._port.alloc(PAGE, PAGE)
            between.view[:] = _PAGE_OF_GUARD
            self._between.append(between)
        Random(count).shuffle(found)
        return found

    def give(self, piece: Piece) -> None:
        """A piece from `take` is not needed any more; the bytes behind it are looked at."""
        tail = self._pieces.pop(piece)
        if not clean(tail):
            self._complain("PVS-V-066", f"bytes behind a buffer at {piece.address:#x} were written")
        tail.release()
        piece.view.release()
        self._port.free(piece.buffer)

    def audit(self) -> None:
        """Look at everything that lies between what the device may write."""
        for piece, tail in self._pieces.items():
            if not clean(tail):
                self._complain("PVS-V-066", f"bytes behind a buffer at {piece.address:#x} were written")
        for page in self._between:
            if page.view != _PAGE_OF_GUARD:
                self._complain("PVS-V-054", f"a page nobody lent, at {page.address:#x}, was written")

    def release(self) -> None:
        """Give all of it back."""
        for piece in self._pieces:
            self._port.free(piece.buffer)
        for page in self._between:
            self._port.free(page)
        self._pieces, self._between = {}, []


def addresses(pieces: Sequence[Piece]) -> list[int]:
    """Page numbers, in order."""
    return [piece.ppn for piece in pieces]
