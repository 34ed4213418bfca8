"""Memory a driver lends to a device: one shared block, handed out in aligned pieces."""

from dataclasses import dataclass

from pvdev.device import DmaBuffer
from pvdev.mem import SharedBlock


@dataclass(frozen=True)
class Piece:
    """`len(view)` bytes at `address` (as the device sees it)."""

    address: int
    view: memoryview


class Arena:
    """First-fit allocator over a shared block of `size` bytes that the device sees at `base`."""

    def __init__(self, size: int, base: int) -> None:
        self.block, self.base = SharedBlock(size, "pvdev-arena"), base
        self._free: list[tuple[int, int]] = [(0, size)]  # (offset, size), sorted, never adjacent

    def alloc(self, size: int, align: int = 4096) -> Piece:
        """`size` zeroed bytes at a multiple of `align`. Raises `MemoryError`."""
        for i, (at, room) in enumerate(self._free):
            start = -(-(self.base + at) // align) * align - self.base
            if start + size <= at + room:
                self._free[i : i + 1] = [
                    part for part in ((at, start - at), (start + size, at + room - start - size)) if part[1]
                ]
                view = self.block.view[start : start + size]
                view[:] = bytes(size)
                return Piece(self.base + start, view)
        raise MemoryError(f"no {size} bytes left in a driver arena of {self.block.size}")

    def free(self, piece: DmaBuffer) -> None:
        """Give `piece` back; its view is released."""
        self._free.append((piece.address - self.base, len(piece.view)))
        self._free.sort()
        merged: list[tuple[int, int]] = []
        for at, size in self._free:
            if merged and merged[-1][0] + merged[-1][1] == at:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((at, size))
        self._free = merged
        piece.view.release()

    def close(self) -> None:
        self.block.close()
