"""A disk with a write cache that a power cut empties: `inner` has only what was flushed, until `cut` says what else.

A write is done at once, in the cache. FLUSH brings the cache to `inner` and flushes that. FUA brings one write there.
What goes to `inner` goes in stages, one after the other, so that no two writes of one byte are ever on their way.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from pvscsi.block.backend import Io, Op
from pvscsi.block.faulty import SECTOR, sectors
from pvscsi.block.medium import Medium, beyond, clip, refused
from pvscsi.block.overlay import Extent, Overlay
from pvscsi.block.wait import perform
from pvscsi.block.wrapper import Wrapper

ROOM = 64 << 20  # bytes of cache
EARLY_MOST = 8  # stages on their way beside which a write is not brought to `inner` early


@dataclass(eq=False)
class _Stage:
    """A durable point on its way: `batches` for `inner`, each when the one before is done. `serial`: the last write
    it makes durable, 0 for none; with `only`, no other write than that. `owner`: who waits for it."""

    serial: int
    batches: list[list[Io]]
    owner: Io | None = None
    only: Extent | None = None
    out: set[Io] = field(default_factory=set)
    failed: Io | None = None


@dataclass(frozen=True)
class Cut:
    """What a power cut did to writes that were not durable."""

    kept: int
    dropped: int
    torn: int


class VolatileDisk(Wrapper):
    """`inner` behind a cache of `room` bytes; when more is written the cache is emptied as by a flush.

    With a `seed`, `inner` has some of what is not durable already: some writes whole, of some a few sectors. To kill
    the process is then a power cut too.
    """

    def __init__(self, inner: Medium, *, room: int = ROOM, seed: int | None = None) -> None:
        super().__init__("volatile", inner)
        self._room = room
        self._early = None if seed is None else random.Random(seed)
        self._serial = 0
        self._view = Overlay()  # what a reader sees above `inner`
        self._pending: list[Extent] = []  # every write not yet durable, oldest first
        self._stages: list[_Stage] = []
        self._emptying: _Stage | None = None  # the last flush, while it is on its way
        self._reads: dict[Io, list[Extent]] = {}  # reads at inner, and what the cache had of each when it began
        self._ready: list[Io] = []  # done after their `submit`, not yet reaped

    @property
    def pending(self) -> int:
        """Writes that a cut would put at risk."""
        return len(self._pending)

    def submit(self, ios: Sequence[Io]) -> None:
        reads: list[Io] = []
        for io in ios:
            if io.op is Op.FLUSH:
                self._flush(io)
            elif refused(io, self.size, self.read_only):
                pass
            elif io.op is Op.READ:
                self._reads[io] = self._view.over(io.offset, io.offset + io.length)
                reads.append(io)
            else:
                self._write(io)
        self.inner.submit(reads)
        for io in reads:
            if io.done:
                self._patch(io)
        self._pump()
        if self._view.held > self._room and self._emptying is None:
            self._flush(None)
            self._pump()
        if self._ready:
            ours = set(ios)
            self._ready = [io for io in self._ready if io not in ours]

    def reap(self, now_ns: int) -> Sequence[Io]:
        for io in self.inner.reap(now_ns):
            if io in self._reads:
                self._patch(io)
                self._ready.append(io)
            elif self._stages:
                self._ended(self._stages[0], io)
        self._pump()
        done, self._ready = self._ready, []
        return done

    def cancel(self, ios: Sequence[Io]) -> None:
        unwanted = set(ios)
        self.inner.cancel([io for io in ios if self._reads.pop(io, None) is not None])
        for stage in self._stages:
            if stage.owner in unwanted:
                stage.owner = None
        self._ready = [io for io in self._ready if io not in unwanted]

    def deadline(self) -> int | None:
        return 0 if self._ready else self.inner.deadline()

    def allocated(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        if len(self._view):
            return ((length, True),) if length else ()
        return self.inner.allocated(offset, length)

    def cut(self, rng: random.Random) -> Cut:
        """The power goes: each write that is not durable is kept, dropped or torn into sectors. Nobody gets an answer.

        `inner` then holds what a disk holds after that, and the cache is empty: the next user may come. Waits for
        `inner`.
        """
        self.inner.cancel([*self._reads, *(io for stage in self._stages for io in stage.out)])
        counts = {"keep": 0, "drop": 0, "tear": 0}
        for extent in self._pending:
            fate, pieces = _fate(extent, rng)
            counts[fate] += 1
            perform(self.inner, [_transfer(piece) for piece in pieces])
        perform(self.inner, [Io(Op.FLUSH)])
        self._forget()
        return Cut(counts["keep"], counts["drop"], counts["tear"])

    def close(self) -> None:
        """As a disk is switched off that was not told to flush: what was not durable is lost."""
        self._forget()
        self.inner.close()

    def _forget(self) -> None:
        self._view, self._emptying = Overlay(), None
        for mine in (self._pending, self._stages, self._reads, self._ready):
            mine.clear()

    # -- writes and reads ---------------------------------------------------------------------------------------------

    def _write(self, io: Io) -> None:
        room = min(io.length, self.size - io.offset)
        self._serial += 1
        data = memoryview(b"".join(clip(io.buffers, 0, room))) if io.op is Op.WRITE else None
        fault = beyond(io) if room < io.length else None
        if not room or (io.op is Op.DISCARD and not self.zeroes):
            io.finish(room, fault)
            return
        extent = Extent(io.offset, io.offset + room, self._serial, data)
        self._view.put(extent)
        self._pending.append(extent)
        if self._early is not None and len(self._stages) < EARLY_MOST:
            self._stages.append(_Stage(0, [[_transfer(piece) for piece in _fate(extent, self._early)[1]]]))
        if io.fua and fault is None:
            self._stages.append(_Stage(self._serial, [[_transfer(extent, fua=True)]], io, extent))
        else:
            io.finish(room, fault)

    def _patch(self, io: Io) -> None:
        """Lay over a read from `inner` what the cache had of it."""
        for extent in self._reads.pop(io):
            low, high = extent.start - io.offset, min(extent.end - io.offset, io.moved)
            at = 0
            for piece in clip(io.buffers, low, high):
                piece[:] = bytes(len(piece)) if extent.data is None else extent.data[at : at + len(piece)]
                at += len(piece)

    # -- durable points -----------------------------------------------------------------------------------------------

    def _flush(self, owner: Io | None) -> None:
        """What the cache has now is to be written, then `inner` flushed."""
        batches = [[_transfer(extent) for extent in self._view], [Io(Op.FLUSH)]]
        self._emptying = _Stage(self._serial, batches, owner)
        self._stages.append(self._emptying)

    def _pump(self) -> None:
        """As many stages as go at once."""
        while self._stages and not (stage := self._stages[0]).out:
            if stage.batches and not stage.failed:
                batch = stage.batches.pop(0)
                self.inner.submit(batch)
                stage.out = set(batch)
                for io in batch:
                    if io.done:
                        self._ended(stage, io)
            else:
                self._stages.pop(0)
                self._finish(stage)

    def _ended(self, stage: _Stage, io: Io) -> None:
        stage.out.discard(io)
        if io.fault is not None:
            stage.failed = io

    def _finish(self, stage: _Stage) -> None:
        """A durable point is reached, or missed: then everything stays at risk."""
        if stage is self._emptying:
            self._emptying = None
        if not stage.failed and stage.serial:
            serial, only = stage.serial, stage.only
            if only is None:
                self._view.drop(lambda extent: extent.serial <= serial)
                self._pending = [extent for extent in self._pending if extent.serial > serial]
            else:
                self._view.drop(lambda extent: extent.serial == serial, only.start, only.end)
                self._pending = [rest for extent in self._pending for rest in _without(extent, only)]
        owner = stage.owner
        if owner is not None:
            fault = stage.failed.fault if stage.failed else None
            owner.finish(0 if fault or owner.op is Op.FLUSH else owner.length, fault)
            self._ready.append(owner)


def _transfer(extent: Extent, *, fua: bool = False) -> Io:
    length = extent.end - extent.start
    if extent.data is None:
        return Io(Op.ZERO, extent.start, length)
    return Io(Op.WRITE, extent.start, length, [extent.data], fua=fua)


def _fate(extent: Extent, rng: random.Random) -> tuple[str, list[Extent]]:
    """What a power cut does to a write, and what of it is then on the medium."""
    fate = rng.choice(("keep", "drop", "tear"))
    if fate == "keep":
        return fate, [extent]
    if fate == "drop":
        return fate, []
    if extent.data is None:  # may be the whole disk: up to some sector of it
        stop = extent.start + rng.randrange(extent.end - extent.start) // SECTOR * SECTOR
        return fate, [extent.part(extent.start, stop)] if stop > extent.start else []
    cuts = [piece for piece in sectors(extent.start, extent.end - extent.start) if rng.random() < 0.5]
    return fate, [extent.part(low, high) for low, high in cuts]


def _without(extent: Extent, durable: Extent) -> list[Extent]:
    """What of a write is still at risk once a later one is durable."""
    if extent.serial > durable.serial or extent.end <= durable.start or durable.end <= extent.start:
        return [extent]
    pieces = [(extent.start, durable.start), (durable.end, extent.end)]
    return [extent.part(low, high) for low, high in pieces if low < high]
