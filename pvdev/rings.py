"""What rings share: counting owned cells by one bit, and completions nobody has read yet."""

from collections import deque


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

    Nobody tells a device how far the driver has read: that it posted a descriptor again proves that it read the
    descriptor's last completion, and all before that one.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._waiting: deque[object] = deque()

    def free(self) -> int:
        """How many more completions surely fit."""
        return self.room - len(self._waiting)

    def add(self, descriptor: object) -> None:
        self._waiting.append(descriptor)

    def posted_again(self, descriptor: object) -> None:
        """`descriptor` is owned by the device once more."""
        if descriptor in self._waiting:
            while self._waiting.popleft() != descriptor:
                pass
