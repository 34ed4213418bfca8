"""The oracle can fail: disks that lie are found out by the same cuts an honest one passes."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import pytest

from pvscsi.block.backend import Io, Op
from pvscsi.block.faulty import SECTOR
from pvscsi.block.overlay import Overlay
from pvscsi.block.volatile import Cut, VolatileDisk
from pvscsi.block.wait import perform
from pvscsi.scsi.command import Steps
from pvscsi.scsi.disk import Disk
from tests.power.oracle import Ledger
from tests.power.rig import MOMENTS, Powered, everything, memory

SEEDS = 40


class FlushesNothing(VolatileDisk):
    """Says of a flush at once that it is done."""

    def _flush(self, owner: Io | None) -> None:
        if owner is not None:
            owner.finish()


class FlushesLater(VolatileDisk):
    """The same, and does it then."""

    def _flush(self, owner: Io | None) -> None:
        super()._flush(None)
        if owner is not None:
            owner.finish()


class ForgetsOne(VolatileDisk):
    """A flush leaves one write out."""

    def _flush(self, owner: Io | None) -> None:
        super()._flush(owner)
        writes = self._stages[-1].batches[0]
        del writes[len(writes) // 2 : len(writes) // 2 + 1]


class ForgetsZeros(VolatileDisk):
    """A flush leaves out what was zeroed and given back."""

    def _flush(self, owner: Io | None) -> None:
        super()._flush(owner)
        writes = self._stages[-1].batches[0]
        writes[:] = [io for io in writes if io.op is Op.WRITE]


class IgnoresFua(VolatileDisk):
    def submit(self, ios: Sequence[Io]) -> None:
        for io in ios:
            io.fua = False
        super().submit(ios)


class TearsFua(VolatileDisk):
    """Of a FUA write the last sector is left in the cache, and lost there."""

    def _write(self, io: Io) -> None:
        super()._write(io)
        if io.fua and io.length > SECTOR:
            batch = self._stages[-1].batches[0]
            whole = batch[0]
            batch[0] = Io(Op.WRITE, whole.offset, whole.length - SECTOR, [whole.buffers[0][:-SECTOR]])

    def _finish(self, stage: Any) -> None:
        cache = self._view
        if stage.only is not None:
            self._view = Overlay()
        super()._finish(stage)
        self._view = cache


class BringsBackOld(VolatileDisk):
    """What was written before a FUA write may come after it."""

    def _finish(self, stage: Any) -> None:
        before = list(self._pending)
        super()._finish(stage)
        if stage.only is not None:
            self._pending = [extent for extent in before if extent.serial != stage.serial]


class TearsSectors(VolatileDisk):
    """A cut goes through the middle of a sector."""

    def cut(self, rng: Random) -> Cut:
        extents = [extent for extent in self._pending if extent.data is not None]
        done = super().cut(rng)
        for extent in extents[-1:]:
            assert extent.data is not None
            perform(self.inner, [Io(Op.WRITE, extent.start, 100, [extent.data[:100]])])
        return done


class NoThrough(Disk):
    """Without a write cache it writes as with one."""

    @property
    def write_through(self) -> bool:
        return False


class NoSync(Disk):
    """SYNCHRONIZE CACHE does nothing."""

    def flush(self) -> Steps:
        yield from ()


def complaints(**how: Callable[..., Any]) -> Iterator[list[str]]:
    """What the oracle says after the cut of each seed."""
    return (ledger.judge(found) for ledger, found in cuts(**how))


def cuts(**how: Callable[..., Any]) -> Iterator[tuple[Ledger, bytes]]:
    """What was promised, and what is there after the cut of each seed."""
    for seed in range(SEEDS):
        medium = memory()
        powered = Powered(medium, seed, **how)
        powered.cut(MOMENTS[seed % len(MOMENTS)])
        yield powered.ledger, everything(medium)


@pytest.mark.parametrize(
    "liar",
    [
        FlushesNothing,
        FlushesLater,
        ForgetsOne,
        ForgetsZeros,
        IgnoresFua,
        TearsFua,
        BringsBackOld,
        TearsSectors,
    ],
)
def test_a_cache_that_lies_is_found_out(liar: type[VolatileDisk]) -> None:
    assert any(complaints(volatile=liar))


@pytest.mark.parametrize("liar", [NoThrough, NoSync])
def test_a_unit_that_lies_is_found_out(liar: type[Disk]) -> None:
    assert any(complaints(unit=liar))


def test_an_honest_cache_loses_what_was_not_promised() -> None:
    assert any(ledger.undone(found) for ledger, found in cuts())


def test_what_is_torn_within_a_sector_is_nobodys() -> None:
    first = next(filter(None, complaints(volatile=TearsSectors)))

    assert "holds what nobody wrote there" in first[0]
