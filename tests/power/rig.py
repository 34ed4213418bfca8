"""A disk with a volatile cache on a slow medium, an adapter and a driver under load, until the power is cut."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random

from pvdev.transport.inproc import LocalPort
from pvscsi.block.backend import Io, Op
from pvscsi.block.medium import Medium
from pvscsi.block.mem import MemDisk
from pvscsi.block.slow import SlowDisk
from pvscsi.block.volatile import VolatileDisk
from pvscsi.block.wait import perform
from pvscsi.block.wrapper import Wrapper
from pvscsi.device import Pvscsi
from pvscsi.driver import Disk as Initiator
from pvscsi.driver import Driver
from pvscsi.scsi.disk import Disk
from pvscsi.scsi.identity import Identity
from pvscsi.scsi.target import Target
from tests.power.load import Load, content
from tests.power.oracle import Ledger

SECTORS = 1536  # three times what the disk does at a time
IMAGE = content(0, 0, SECTORS)
US = 1000  # ns
MOMENTS = ("any", "flush", "long", "same")  # in the middle of what power is cut; the last two are writes of many parts


class Awaited(Wrapper):
    """`inner`, waited for: the same every time, although it works in threads."""

    def submit(self, ios: Sequence[Io]) -> None:
        for io in ios:
            perform(self.inner, [io])


def memory() -> MemDisk:
    """`IMAGE` in memory."""
    medium = MemDisk("mem", len(IMAGE))
    perform(medium, [Io(Op.WRITE, 0, len(IMAGE), [memoryview(IMAGE)])])
    return medium


@contextmanager
def attached(unit: Disk) -> Iterator[tuple[LocalPort, Initiator]]:
    """A disk on a fresh adapter, and a fresh driver that uses it."""
    port = LocalPort(Pvscsi({0: Target({0: unit})}), memory=16 << 20)
    disk = Initiator(Driver(port).bring_up(req_pages=2, cmp_pages=2), block=unit.block)
    disk.settle()
    yield port, disk
    port.close()


def everything(medium: Medium) -> bytes:
    """All of a medium, as a fresh driver on a fresh adapter reads it."""
    with attached(Disk(medium, Identity.of("fresh"))) as (_, disk):
        step = SECTORS // 4
        return b"".join(disk.read(lba, step) for lba in range(0, disk.read_capacity().blocks, step))


class Powered:
    """A disk under load until its power is cut. Its setting is drawn from `seed`; `volatile` and `unit` are what the
    cache and the logical unit are made of. `ledger`: what was promised."""

    def __init__(
        self,
        medium: Medium,
        seed: int,
        *,
        volatile: Callable[..., VolatileDisk] = VolatileDisk,
        unit: Callable[..., Disk] = Disk,
    ) -> None:
        self._rng = rng = Random(seed)
        times = {Op.WRITE: 40 * US, Op.ZERO: 40 * US, Op.FLUSH: 300 * US}
        self._slow = SlowDisk(medium, times, jitter=100 * US, seed=seed)
        room, early = rng.choice((64 << 10, 64 << 20)), rng.choice((None, seed))
        self._cache = volatile(self._slow, room=room, seed=early)
        # commands overtake each other on their way to the cache
        top = SlowDisk(self._cache, {}, jitter=rng.choice((5 * US, 60 * US)), seed=seed)
        block, self._write_cache = rng.choice((512, 512, 512, 4096)), rng.random() < 0.8
        self._unit = unit(top, Identity.of("0"), block=block, write_cache=self._write_cache)
        self.ledger = Ledger(IMAGE)

    def cut(self, moment: str) -> bool:
        """Load, then the cut; whether that came at this moment."""
        with attached(self._unit) as (port, disk):

            def pass_time() -> None:
                port.now_ns += self._rng.randrange(60 * US)
                port.run()

            load = Load(
                disk,
                self.ledger,
                self._rng,
                blocks=len(IMAGE) // disk.block,
                depth=self._rng.choice((2, 8, 24)),
                stand_by=pass_time,
                write_cache=self._write_cache,
            )
            load.run(self._rng.randint(15, 60))
            came = moment == "any" or self._bring_to(moment, load)
            self._cache.cut(self._rng)
        return came

    def _bring_to(self, moment: str, load: Load) -> bool:
        """Go on until the disk is in the middle of such a command; False if it never is."""
        for _ in range(500):
            if not load.under_way(moment):
                load.send(moment)
            elif (moment == "same" or self._slow.deadline() is not None) and self._rng.random() < 0.5:
                return True
            load.stand_by()
            load.hear()
        return False
