"""The requests of a trace through a driver's ring: when they are due, so many at a time, and what became of them."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from pvdev import pace
from pvdev.lateness import Lateness, Times
from pvdev.pace import Paced
from pvscsi.block.backend import Op
from pvscsi.driver import DeviceBroke, Disk, Done, Driver, Slots
from pvscsi.replay.model import SERIAL_MOST, UNKNOWN, ZEROS, Model, content, describe
from pvscsi.replay.requests import Limits, Piece, command
from pvscsi.replay.source import Trace
from pvscsi.replay.tally import Tally
from pvscsi.traces.trace import SECTOR, Event

IDLE_S = 30.0  # a request nothing is heard of for so long is lost, as Linux has it
FEW, FEW_PAGES, MANY_PAGES = 250, 8, 32  # up to so many at a time, rings of 8 pages do
MOVING = (Op.READ, Op.WRITE)

Due = tuple[Piece, int | None]  # what is to be sent, and since when (ns; None: it was not paced)


class Pace(pace.Pace):
    """Also "iops" (requests a second)."""

    rates: ClassVar[Mapping[str, str]] = {"iops": "requests a second; 10k"}


class Way(Protocol):
    """How the device on the other side is given time."""

    def work(self) -> None:
        """Let it do what can be done now."""
        ...

    def rest(self, due: int | None, done: Callable[[], bool]) -> None:
        """Let a little time pass: until `due` (ns), until `done()`, until something stirs, whatever comes first."""
        ...


@dataclass
class Kind:
    """What became of the requests of one kind. `bytes` of those that were good."""

    good: int = 0
    bytes: int = 0
    times: Times = field(default_factory=Times)  # from the kick to the completion found


@dataclass
class Verified:
    """Sectors read and compared with what was written there."""

    compared: int = 0
    unknown: int = 0  # nothing is known of what was there before
    wrong: int = 0
    first: str | None = None  # the first wrong one, in words


@dataclass
class Results:
    """What came of a replay, as the driver saw it. `seconds` counts from the first request to the last completion."""

    kinds: dict[Op, Kind] = field(default_factory=lambda: {op: Kind() for op in Op})
    errors: Counter[str] = field(default_factory=Counter)  # requests, by sense
    lost: int = 0  # requests that were never completed
    split: int = 0  # events that took several requests
    held: int = 0  # requests that waited for others they overlap
    tally: Tally = field(default_factory=Tally)
    verified: Verified | None = None
    lateness: Lateness = field(default_factory=lambda: Lateness("requests"))
    backwards: int = 0
    seconds: float = 0.0
    complaints: Counter[str] = field(default_factory=Counter)  # duties the driver saw the device break, by rule


class Player:
    """One trace through one driver. `size`: bytes of a request's buffer; `fresh`: the disk holds zeros.

    With `verify` a request waits until none is out that overlaps it where the order matters: what a read is to find is
    then known. Every write brings content of its own (`model.content`), with or without.
    """

    def __init__(
        self,
        trace: Trace,
        driver: Driver,
        way: Way,
        pace: Pace,
        *,
        depth: int,
        size: int,
        rounds: int,
        verify: bool,
        fresh: bool,
    ) -> None:
        pages = FEW_PAGES if depth <= FEW else MANY_PAGES
        driver.bring_up(req_pages=pages, cmp_pages=pages)
        disk = Disk(driver)
        disk.settle()
        self._reads_zeros = disk.read_capacity().reads_zeros
        self._limits = Limits.of(disk, size)
        self._driver, self._way = driver, way
        self._slots = Slots(driver, depth, size)
        self._paced: Paced[Event] = Paced(trace.round, pace, rounds=rounds)
        self._coming: Iterator[Due] = iter(())  # pieces of events taken, cut when they are asked for
        self._head: Due | None = None  # the next one; None: nothing was taken that is not sent
        self._out: dict[int, tuple[Piece, int, int]] = {}  # by slot: what, its serial, when it was sent
        self._serial = 0
        self._model = Model(ZEROS if fresh else UNKNOWN) if verify else None
        self._holding = False
        self.results = Results(verified=Verified() if verify else None)
        self.done = 0
        self.fault: str | None = None

    def play(self) -> Iterator[None]:
        """Everything; now and then somebody may look at how far it is."""
        started = heard = time.monotonic_ns()
        try:
            while True:
                sent = self._send()
                self._way.work()
                found = self._reap()
                now = time.monotonic_ns()
                if sent or found or not self._out:
                    heard = now
                if not sent and not found:
                    if not self._out and self._head is None and self._paced.finished:
                        break
                    if now - heard > IDLE_S * 1e9:
                        self.results.lost = len(self._out)
                        break
                    self._way.rest(self._due(), self._some_done)
                yield
        except DeviceBroke as broke:
            self.fault, self.results.lost = str(broke), len(self._out)
        self.results.seconds = (heard - started) / 1e9
        self.results.backwards = self._paced.backwards

    def stop(self) -> None:
        """Send nothing more; what is out is still waited for."""
        self._paced.stop()
        self._coming, self._head = iter(()), None

    def close(self) -> None:
        """Look at what the device had to leave alone, and stop it."""
        self._driver.audit()
        self._driver.close()
        self.results.complaints.update(complaint.rule for complaint in self._driver.complaints)

    def _some_done(self) -> bool:
        return self._driver.rings is not None and self._driver.rings.done > 0

    def _due(self) -> int | None:
        """When there is something to send, as far as that does not depend on completions."""
        return None if self._head is not None or not self._slots.free else self._paced.due()

    # -- there ---------------------------------------------------------------------------------------------------------

    def _send(self) -> int:
        """Send what is due, as far as there are slots; how many."""
        slots, out, batch, dues = self._slots, self._out, [], []
        now, plain = time.monotonic_ns(), True
        while slots.free:
            if self._head is None:
                self._take(len(slots.free), now)
                if self._head is None:
                    break
            piece, due = self._head
            if self._model is not None and any(piece.overlaps(other) for other, _, _ in out.values()):
                self.results.held += not self._holding
                self._holding = True
                break
            self._holding = False
            self._head = next(self._coming, None)
            slot = slots.take()
            out[slot] = piece, self._load(slot, piece), 0
            plain = plain and piece.op in MOVING
            batch.append(slot)
            if due is not None:
                dues.append(due)
        if batch:
            now = time.monotonic_ns()
            for slot in batch:
                piece, serial, _ = out[slot]
                out[slot] = piece, serial, now
            self.results.lateness.add(dues, now)
            slots.send(batch, plain=plain)
        return len(batch)

    def _take(self, limit: int, now: int) -> None:
        events = self._paced.take(limit, now)
        self._coming = self._cut(events, self._paced.taken or [None] * len(events))
        self._head = next(self._coming, None)

    def _cut(self, events: Sequence[Event], dues: Sequence[int | None]) -> Iterator[Due]:
        for event, due in zip(events, dues, strict=True):
            piece = None
            for piece in self._limits.pieces(event):
                yield piece, due
            self.results.split += piece is not None and piece.length < event.length

    def _load(self, slot: int, piece: Piece) -> int:
        """The command into its slot, a write's content into its buffer; its serial."""
        cdb, direction, parameters = command(piece)
        if piece.op is Op.WRITE:
            self._serial = self._serial % SERIAL_MOST + 1
            parameters = content(piece.offset // SECTOR, piece.length // SECTOR, self._serial)
        length = piece.length if piece.op is Op.READ else len(parameters)
        self._slots.buffer(slot, len(parameters))[:] = parameters
        self._slots.load(slot, cdb, length, direction)
        return self._serial

    # -- and back ------------------------------------------------------------------------------------------------------

    def _reap(self) -> int:
        """Look for completions; how many there were."""
        found = self._slots.reap()
        if found:
            now = time.monotonic_ns()
            for done in found:
                piece, serial, sent = self._out.pop(done.slot)
                kind = self.results.kinds[piece.op]
                kind.times.took(now - sent)
                good = done.good and (done.moved == piece.length or piece.op not in MOVING)
                if good:
                    kind.good += 1
                    kind.bytes += piece.length
                else:
                    self.results.errors[done.outcome() if not done.good else "moved too little"] += 1
                if good and piece.op in MOVING:
                    data = self._slots.buffer(done.slot, piece.length)
                    self.results.tally.add(piece.op, piece.offset, piece.length, (data,))
                if self._model is not None:
                    self._remember(self._model, piece, serial, done, good)
            self.done += len(found)
        return len(found)

    def _remember(self, model: Model, piece: Piece, serial: int, done: Done, good: bool) -> None:
        """What the disk holds after this; of a read, whether it held what it should."""
        sector, count = piece.offset // SECTOR, piece.length // SECTOR
        if piece.op is Op.READ:
            if good:
                self._compare(model, sector, bytes(self._slots.buffer(done.slot, piece.length)))
        elif count:
            holds = {Op.WRITE: serial, Op.ZERO: ZEROS, Op.DISCARD: ZEROS if self._reads_zeros else UNKNOWN}
            model.set(sector, count, holds[piece.op] if good else UNKNOWN)

    def _compare(self, model: Model, sector: int, data: bytes) -> None:
        verified = self.results.verified
        assert verified is not None
        known, wrong = model.compare(sector, data)
        verified.compared += known
        verified.unknown += len(data) // SECTOR - known
        verified.wrong += len(wrong)
        if wrong and verified.first is None:
            number, wanted = wrong[0]
            at = (number - sector) * SECTOR
            verified.first = f"sector {number}: {describe(wanted)} wanted, {describe(data[at : at + SECTOR])} found"
