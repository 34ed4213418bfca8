"""A load for power cuts: the reference driver writes in every way there is, and a ledger keeps what it is promised."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random
from struct import pack

from pvscsi.driver import CommandFailed, Disk, Request, cdb, even, spread
from pvscsi.wire import HostStatus
from tests.power.oracle import SECTOR, Ledger, Write

HOT = 128  # sectors most writes go to, so that many meet
LONG = 512  # sectors of a long write
SAME = 1 << 63  # in place of a sector's number in what WRITE SAME puts everywhere
MISCOMPARE = 0xE  # sense key

ODDS = {  # of each kind of command, in a hundred
    "write": 48,
    "fua": 14,
    "long": 3,
    "verify": 3,
    "same": 4,
    "zeros": 3,
    "unmap": 4,
    "compare": 7,
    "flush": 10,
    "cache": 2,
    "abort": 2,
}


def content(number: int, first: int, sectors: int) -> bytes:
    """What write `number` puts there: no two sectors of all writes are the same, nor any of their parts."""
    return b"".join(pack("<QQ", number, sector) * (SECTOR // 16) for sector in range(first, first + sectors))


@dataclass
class Command:
    """One that is to be sent, or is under way: what it writes, or the moment from which it is a flush.

    `durable`: its writes are once it is answered. `through`: the time without a write cache in which it began.
    """

    cdb: bytes
    data: bytes = b""
    writes: tuple[Write, ...] = ()
    flush: int | None = None
    durable: bool = False
    through: int | None = None


class Load:
    """Keeps up to `depth` commands at `disk`, which has `blocks` blocks and, at first, a write cache or none.

    `stand_by` lets time pass. Everything is drawn from `rng`.
    """

    def __init__(
        self,
        disk: Disk,
        ledger: Ledger,
        rng: Random,
        *,
        blocks: int,
        depth: int,
        stand_by: Callable[[], object],
        write_cache: bool = True,
    ) -> None:
        self.disk, self.ledger, self.rng = disk, ledger, rng
        self.blocks, self.depth, self.stand_by = blocks, depth, stand_by
        self.out: dict[Request, tuple[str, Command]] = {}
        self.counts: Counter[str] = Counter()  # answered commands
        self._sectors = disk.block // SECTOR  # of a block
        self._numbers, self._times = count(1), count()
        self._through = None if write_cache else next(self._times)  # the time without a write cache we are in
        self._kinds: dict[str, Callable[[], Command]] = {
            "write": self._write,
            "fua": self._fua,
            "long": self._long,
            "verify": self._verify,
            "same": self._same,
            "zeros": self._zeros,
            "unmap": self._unmap,
            "compare": self._compare,
            "flush": self._flush,
            "cache": self._switch_cache,
        }

    def run(self, commands: int) -> None:
        """Send so many more; some are still out then."""
        for kind in self.rng.choices(list(ODDS), list(ODDS.values()), k=commands):
            while len(self.out) >= self.depth or (self.out and self.rng.random() < 0.3):
                self.stand_by()
                self.hear()
            if kind != "abort":
                self.send(kind)
            elif self.out:
                self.disk.driver.abort(self.rng.choice(list(self.out)))
            self.hear()

    def under_way(self, kind: str) -> bool:
        return any(kind == each for each, _ in self.out.values())

    def send(self, kind: str) -> None:
        """Begin one command of this kind."""
        if kind == "cache" and self.under_way("cache"):
            kind = "flush"
        command = self._kinds[kind]()
        command.through = self._through
        pieces = self.rng.randint(1, 5) if len(command.data) > SECTOR else 1
        how = {"shape": spread(even(len(command.data), pieces))} if pieces > 1 else {}
        self.out[self.disk.submit(command.cdb, write=command.data, **how)] = kind, command

    def hear(self) -> None:
        """Take the answers there are; nothing is asked of the device for that."""
        self.disk.driver.reap()
        for request in [request for request in self.out if request.done]:
            kind, command = self.out.pop(request)
            if request.good:
                self.counts[kind] += 1
                self._promised(kind, command)
            elif request.host == HostStatus.ABORTQUEUE:
                self.counts["abort"] += 1
                for write in command.writes:
                    self.ledger.end(write, kept=False)
            elif kind == "compare" and request.sense is not None and request.sense.key == MISCOMPARE:
                self.counts["miscompare"] += 1
                self.ledger.deny(command.writes[0])
            else:
                raise CommandFailed(request)

    def _promised(self, kind: str, command: Command) -> None:
        durable = command.durable or (command.through is not None and command.through == self._through)
        for write in command.writes:
            self.ledger.end(write, durable=durable)
        if command.flush is not None:
            self.ledger.flushed(command.flush)
            if kind == "cache":
                self._through = next(self._times)

    # -- commands -----------------------------------------------------------------------------------------------------

    def _place(self, most: int) -> tuple[int, int]:
        """(LBA, blocks) of something."""
        blocks = self.rng.choice((1, 1, 2, self.rng.randint(1, most)))
        room = HOT // self._sectors if self.rng.random() < 0.7 else self.blocks
        return self.rng.randrange(max(room - blocks, 1)), blocks

    def _note(self, kind: str, lba: int, blocks: int, block: bytes | None = None) -> Write:
        """A write about to be sent: of data of its own, or of `block` over and over."""
        number, first, sectors = next(self._numbers), lba * self._sectors, blocks * self._sectors
        data = content(number, first, sectors) if block is None else block * blocks
        return self.ledger.begin(f"{kind} {number}", first, data)

    def _write(self) -> Command:
        lba, blocks = self._place(64)
        write = self._note("write", lba, blocks)
        return Command(cdb.write(lba, blocks, size=self.rng.choice((6, 10, 12, 16))), write.data, (write,))

    def _fua(self) -> Command:
        lba, blocks = self._place(64)
        write = self._note("fua", lba, blocks)
        return Command(cdb.write(lba, blocks, fua=1), write.data, (write,), durable=True)

    def _long(self) -> Command:
        blocks = LONG // self._sectors
        lba = self.rng.randrange(self.blocks - blocks)
        write = self._note("long", lba, blocks)
        return Command(cdb.write(lba, blocks, size=16, fua=1), write.data, (write,), durable=True)

    def _verify(self) -> Command:
        """WRITE AND VERIFY, which is durable."""
        lba, blocks = self._place(16)
        write = self._note("verify", lba, blocks)
        return Command(cdb.write_and_verify(lba, blocks, bytchk=1), write.data, (write,), durable=True)

    def _same(self) -> Command:
        """WRITE SAME, now and then over more than the disk does at a time."""
        lba, blocks = self.rng.choice((self._place(64), (0, self.blocks)))
        number = next(self._numbers)
        block = b"".join(pack("<QQ", number, SAME + at) * (SECTOR // 16) for at in range(self._sectors))
        return Command(cdb.write_same(lba, blocks), block, (self._note("same", lba, blocks, block),))

    def _zeros(self) -> Command:
        """WRITE SAME of zeros, with and without data, giving blocks back or not."""
        lba, blocks = self._place(64)
        block = bytes(self.disk.block)
        writes = (self._note("zeros", lba, blocks, block),)
        if self.rng.random() < 0.5:
            return Command(cdb.write_same(lba, blocks, size=16, ndob=1), b"", writes)
        return Command(cdb.write_same(lba, blocks, unmap=self.rng.randrange(2)), block, writes)

    def _unmap(self) -> Command:
        places = [self._place(32) for _ in range(self.rng.randint(1, 3))]
        writes = tuple(self._note("unmap", lba, blocks, bytes(self.disk.block)) for lba, blocks in places)
        ranges = cdb.unmap_list(*places)
        return Command(cdb.unmap(len(ranges)), ranges, writes)

    def _compare(self) -> Command:
        """COMPARE AND WRITE: with what is there, if that is known, else with what hardly is."""
        lba, blocks = self._place(8)
        there = self.ledger.now(lba * self._sectors, blocks * self._sectors)
        write, fua = self._note("compare", lba, blocks), self.rng.randrange(2)
        data = (there or bytes(len(write.data))) + write.data
        return Command(cdb.compare_and_write(lba, blocks, fua=fua), data, (write,), durable=bool(fua))

    def _flush(self) -> Command:
        return Command(cdb.synchronize_cache(size=self.rng.choice((10, 16))), flush=self.ledger.flush())

    def _switch_cache(self) -> Command:
        """WCE by MODE SELECT. Without a cache from when that is answered, with one from when it is asked for."""
        on = self._through is not None
        self._through = None
        page = bytes((0x08, 0x12, 4 * on)) + bytes(17)
        return Command(cdb.mode_select(4 + len(page)), bytes(4) + page, flush=None if on else self.ledger.flush())
