"""Who writes where: long writes wait for each other where they overlap, and COMPARE AND WRITE for every write.

Plain writes are only noted while they are under way. A claim waits for those noted before it; while there are claims a
plain write that overlaps one becomes a claim itself (see `blocks`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pvscsi.block.backend import Io
from pvscsi.scsi.command import Steps


class Claims:
    """Byte ranges, in the order they were asked for. `changed` hears when there is a first and no longer any."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.plain: set[Io] = set()  # plain writes under way
        self._held: list[range] = []
        self._changed = changed

    def __bool__(self) -> bool:
        return bool(self._held)

    def overlap(self, start: int, length: int) -> bool:
        """Some claim covers a part of this."""
        return any(held.start < start + length and start < held.stop for held in self._held)

    @contextmanager
    def hold(self, start: int, length: int) -> Iterator[Steps]:
        """Ask for a range; it is ours once the steps given are through, and until the context ends."""
        mine = range(start, start + length)
        before = [held for held in self._held if held.start < mine.stop and mine.start < held.stop]
        writes = [io for io in self.plain if io.offset < mine.stop and mine.start < io.offset + io.length]
        self._held.append(mine)
        self._changed()
        try:
            yield self._wait(before, writes)
        finally:
            self._held = [held for held in self._held if held is not mine]
            self._changed()

    def _wait(self, before: list[range], writes: list[Io]) -> Steps:
        while any(io in self.plain for io in writes) or any(held is other for held in self._held for other in before):
            yield ()

    def clear(self) -> None:
        """A reset: no plain write is under way any more. Claims end with the work that holds them."""
        self.plain.clear()
