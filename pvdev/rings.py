"""What rings share: counting owned cells by one bit, and completions nobody has read yet."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple


class Descriptor(NamedTuple):
    """A consumed descriptor: which ring, which index, and the owner bit it will have when it is posted again."""

    ring: int
    cell: int
    gen: int


def owner_table(bit: int) -> tuple[bytes, bytes]:
    """Two translation tables for a byte that holds an owner bit: index by the owner's value, 1 where it is owned."""
    zero = bytes(0 if byte & bit else 1 for byte in range(256))
    one = bytes(1 if byte & bit else 0 for byte in range(256))
    return zero, one


def owned(ring: memoryview, byte: int, cell: int, start: int, end: int, table: bytes) -> int:
    """How many cells of `ring` from index `start` up to `end` are owned, without a gap.

    `byte` is the offset of the owner bit's byte in a cell of `cell` bytes; `table` comes from `owner_table`. Only owner
    bytes are read, so that fields are read after their owner.
    """
    column = ring[start * cell + byte : end * cell : cell].tobytes().translate(table)
    free = column.find(0)
    return end - start if free < 0 else free


class Unread:
    """Bounds the completions a driver has not read, where its completion ring is smaller than the rings it serves.

    Nobody tells a device how far the driver has read: that a descriptor was posted again proves that its last
    completion was read, and all before that one. `posted_again(descriptor)` looks.
    """

    def __init__(self, room: int, posted_again: Callable[[Descriptor], bool]) -> None:
        self.room, self._posted_again = room, posted_again
        self._waiting: deque[Descriptor] = deque()

    def free(self) -> int:
        """How many more completions surely fit."""
        for n in range(len(self._waiting), 0, -1):
            if self._posted_again(self._waiting[n - 1]):
                for _ in range(n):
                    self._waiting.popleft()
                break
        return self.room - len(self._waiting)

    def add(self, descriptor: Descriptor) -> None:
        """A completion for `descriptor` is published."""
        self._waiting.append(descriptor)
