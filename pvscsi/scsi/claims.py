"""Who writes where: long writes wait for each other where they overlap, and COMPARE AND WRITE for every write.

Plain writes are only noted while they are under way. A claim waits for those noted before it; while there are claims a
plain write that overlaps one becomes a claim itself (see `blocks`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pvscsi.block.backend import Io
from pvscsi.scsi.command import Steps


@dataclass(eq=False, slots=True)
class Claim:
    """A range of bytes somebody writes."""

    start: int
    stop: int

    def overlaps(self, start: int, stop: int) -> bool:
        """Some byte is in both."""
        return self.start < stop and start < self.stop


class Claims:
    """Byte ranges, in the order they were asked for. `changed` hears when there is a first and no longer any."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.plain: set[Io] = set()  # plain writes under way
        self._held: dict[Claim, None] = {}
        self._changed = changed

    def __bool__(self) -> bool:
        return bool(self._held)

    def overlap(self, start: int, length: int) -> bool:
        """Some claim covers a part of this."""
        return any(claim.overlaps(start, start + length) for claim in self._held)

    @contextmanager
    def hold(self, *ranges: tuple[int, int]) -> Iterator[Steps]:
        """Ask for ranges (start, length); all are ours once the steps given are through, and until the context ends.

        A command asks once: those that wait are looked at again when a command ends, and not before.
        """
        mine = [Claim(start, start + length) for start, length in ranges]
        before = [claim for claim in self._held if any(each.overlaps(claim.start, claim.stop) for each in mine)]
        writes = [io for io in self.plain if any(each.overlaps(io.offset, io.offset + io.length) for each in mine)]
        self._held.update(dict.fromkeys(mine))
        self._changed()
        try:
            yield self._wait(before, writes)
        finally:
            for claim in mine:
                del self._held[claim]
            self._changed()

    def _wait(self, before: list[Claim], writes: list[Io]) -> Steps:
        """Each is asked after only until it is over: hundreds may stand in one queue."""
        for io in writes:
            while io in self.plain:
                yield ()
        for claim in before:
            while claim in self._held:
                yield ()

    def clear(self) -> None:
        """A reset: no plain write is under way any more. Claims end with the work that holds them."""
        self.plain.clear()
