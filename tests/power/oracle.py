"""What a driver was promised about every sector of a disk, and whether what a power cut left keeps it.

Knows nothing of disks or caches: only what the driver asked for and was answered, in the order in which that happened.
A write is durable once it was answered so (FUA, no write cache), or answered before a flush was asked for that was
answered too. Then a sector may hold what any write put there that was not over when the last durable one began; before
the first durable one also what it held at the beginning. Nothing else, and no mixture.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

SECTOR = 512  # bytes; what a power cut may tear a write into


@dataclass(eq=False)
class Write:
    """`data` from sector `first` on. `began` and `ended` are moments; `ended` None: it may still happen.

    `kept`: it was answered well, and not aborted, say.
    """

    label: str
    first: int
    data: bytes
    began: int
    ended: int | None = None
    kept: bool = False
    durable: bool = False

    def at(self, sector: int) -> bytes:
        return _sector(self.data, sector - self.first)


class Ledger:
    """The writes to one disk that held `image` at first."""

    def __init__(self, image: bytes) -> None:
        self._image = image
        self._moments = count()
        self._writes: list[Write] = []
        self._over: dict[int, list[Write]] = {}  # by sector

    # -- what happens, told as it happens -----------------------------------------------------------------------------

    def begin(self, label: str, first: int, data: bytes) -> Write:
        """A write is asked for."""
        write = Write(label, first, data, next(self._moments))
        self._writes.append(write)
        for sector in range(first, first + len(data) // SECTOR):
            self._over.setdefault(sector, []).append(write)
        return write

    def end(self, write: Write, *, kept: bool = True, durable: bool = False) -> None:
        """It was answered: it is done, and `durable`; or not `kept`: given up, in part on the disk or not at all."""
        write.ended, write.kept, write.durable = next(self._moments), kept, durable

    def deny(self, write: Write) -> None:
        """It was answered that nothing of it is on the disk, nor will be."""
        self._writes.remove(write)
        for writes in self._over.values():
            if write in writes:
                writes.remove(write)

    def flush(self) -> int:
        """A flush is asked for: the moment, for `flushed`."""
        return next(self._moments)

    def flushed(self, asked: int) -> None:
        """It was answered: what had been answered before it was asked for is durable."""
        for write in self._writes:
            write.durable |= write.kept and write.ended is not None and write.ended < asked

    # -- what may be there --------------------------------------------------------------------------------------------

    def now(self, first: int, sectors: int) -> bytes | None:
        """What is read there, as long as nobody cuts the power; None while there is more than one answer."""
        found = [self._allowed(sector, _answered) for sector in range(first, first + sectors)]
        return None if any(len(each) > 1 for each in found) else b"".join(min(each) for each in found)

    def judge(self, found: bytes) -> list[str]:
        """What of `found`, the whole disk after a power cut, cannot be; a line for each sector."""
        wrong = []
        for sector in range(len(self._image) // SECTOR):
            content = _sector(found, sector)
            if content not in self._allowed(sector, lambda write: write.durable):
                wrong.append(f"sector {sector}: {self._name(sector, content)}, but {self._last(sector)}")
        return wrong

    def undone(self, found: bytes) -> int:
        """Sectors that have lost a write that was answered: what a power cut did, within its rights or not."""
        sectors = range(len(self._image) // SECTOR)
        return sum(_sector(found, sector) not in self._allowed(sector, _answered) for sector in sectors)

    def _allowed(self, sector: int, certain: Callable[[Write], bool]) -> set[bytes]:
        """What may be in a sector if the writes that are `certain` are never undone."""
        writes = self._over.get(sector)
        if not writes:
            return {_sector(self._image, sector)}
        newest = max((write.began for write in writes if certain(write)), default=-1)
        allowed = {write.at(sector) for write in writes if write.ended is None or write.ended > newest}
        return allowed if newest >= 0 else allowed | {_sector(self._image, sector)}

    def _name(self, sector: int, content: bytes) -> str:
        names = [write.label for write in self._over.get(sector, []) if write.at(sector) == content]
        names += ["what it held at first"] * (_sector(self._image, sector) == content)
        return f"holds {' or '.join(names) or 'what nobody wrote there'}"

    def _last(self, sector: int) -> str:
        durable = [write for write in self._over.get(sector, []) if write.durable]
        return f"{max(durable, key=lambda write: write.began).label} was durable" if durable else "nothing was durable"


def _answered(write: Write) -> bool:
    return write.kept


def _sector(data: bytes, number: int) -> bytes:
    return data[number * SECTOR : (number + 1) * SECTOR]
