"""A disk that fails on purpose, the same way every time for the same seed and the same transfers."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pvscsi.block.backend import Fault, Io, Op
from pvscsi.block.medium import Medium, clip
from pvscsi.block.wrapper import Wrapper

SECTOR = 512  # bytes; what a torn write is torn into


@dataclass(frozen=True)
class Plan:
    """What goes wrong. Ranges are (offset, bytes); "every n" counts reads and writes together from 1; 0: never.

    bad_read, bad_write: a transfer stops at the first byte of such a range.   every: fails, nothing is moved.
    odds: the same, by chance (0 to 1).   torn: a write puts any subset of its sectors on the medium, then fails.
    hang: never done until it is cancelled.   flush: every n-th FLUSH fails.   gone: all is lost after so many.
    fault: what failures look like; None: as the operation has it.
    """

    bad_read: Sequence[tuple[int, int]] = ()
    bad_write: Sequence[tuple[int, int]] = ()
    every: int = 0
    odds: float = 0.0
    torn: int = 0
    hang: int = 0
    flush: int = 0
    gone: int = 0
    fault: Fault | None = None


class _Case:
    """A transfer that fails once `left` of our own for it have ended. `prefix`: it is right as far as those got."""

    __slots__ = ("fault", "io", "left", "prefix")

    def __init__(self, io: Io, fault: Fault, left: int, prefix: bool) -> None:
        self.io, self.fault, self.left, self.prefix = io, fault, left, prefix


class FaultyDisk(Wrapper):
    """`inner` with the failures of `plan`."""

    def __init__(self, inner: Medium, plan: Plan, *, seed: int = 0) -> None:
        super().__init__("faulty", inner)
        self._plan, self._random = plan, random.Random(seed)
        self._count = self._flushes = 0
        self._own: dict[Io, _Case] = {}  # what we ask of inner by ourselves, and for whom
        self._hung: set[Io] = set()

    @property
    def counted(self) -> int:
        """Reads and writes seen."""
        return self._count

    def submit(self, ios: Sequence[Io]) -> None:
        passed: list[Io] = []
        for io in ios:
            instead = self._fate(io)
            passed += [io] if instead is None else instead
        self.inner.submit(passed)
        for io in passed:
            if io.done and io in self._own:
                self._settle(io)

    def reap(self, now_ns: int) -> Sequence[Io]:
        done = (self._settle(io) if io in self._own else io for io in self.inner.reap(now_ns))
        return [io for io in done if io is not None]

    def cancel(self, ios: Sequence[Io]) -> None:
        unwanted = set(ios)
        self._hung -= unwanted
        own = [io for io, case in self._own.items() if case.io in unwanted]
        self.inner.cancel([*unwanted, *own])
        for io in own:
            del self._own[io]

    def _settle(self, own: Io) -> Io | None:
        """`own` is done; the transfer it was for, if that is done with it."""
        case = self._own.pop(own)
        case.left -= 1
        if case.left:
            return None
        case.io.finish(own.moved if case.prefix else 0, own.fault or case.fault)
        return case.io

    def _fate(self, io: Io) -> list[Io] | None:
        """None: it passes as it is. Else it is seen to, and this is to be asked of `inner`."""
        plan = self._plan
        if io.op is Op.FLUSH:
            self._flushes += 1
            return self._fail(io) if plan.flush and not self._flushes % plan.flush else self._or_gone(io)
        if io.op is Op.READ or io.op is Op.WRITE:
            self._count += 1
            if plan.hang and not self._count % plan.hang:
                self._hung.add(io)
                return []
            if plan.torn and io.op is Op.WRITE and not self._count % plan.torn:
                return self._tear(io)
            if (plan.every and not self._count % plan.every) or (plan.odds and self._random.random() < plan.odds):
                return self._fail(io)
        ranges = plan.bad_read if io.op is Op.READ else plan.bad_write
        first = min(
            (max(low, io.offset) for low, length in ranges if low < io.offset + io.length and io.offset < low + length),
            default=None,
        )
        if first is None:
            return self._or_gone(io)
        good = first - io.offset
        if not good:
            return self._fail(io)
        return self._instead(io, [(io.offset, first)], prefix=True)

    def _or_gone(self, io: Io) -> list[Io] | None:
        if not self._plan.gone or self._count <= self._plan.gone:
            return None
        self._fault = self._fault or f"{self.name}: gone after {self._plan.gone} transfers, as asked for; start again"
        io.finish(0, Fault.GONE)
        return []

    def _fail(self, io: Io) -> list[Io]:
        io.finish(0, self._fault_of(io))
        return []

    def _tear(self, io: Io) -> list[Io]:
        kept = [piece for piece in sectors(io.offset, io.length) if self._random.random() < 0.5]
        return self._instead(io, kept, prefix=False) if kept else self._fail(io)

    def _instead(self, io: Io, pieces: Sequence[tuple[int, int]], *, prefix: bool) -> list[Io]:
        """Only these stretches of a transfer; when they are done it fails."""
        case = _Case(io, self._fault_of(io), len(pieces), prefix)
        at = io.offset
        own = [Io(io.op, low, high - low, clip(io.buffers, low - at, high - at), fua=io.fua) for low, high in pieces]
        self._own.update(dict.fromkeys(own, case))
        return own

    def _fault_of(self, io: Io) -> Fault:
        return self._plan.fault or (Fault.READ if io.op is Op.READ else Fault.WRITE)


def sectors(offset: int, length: int) -> list[tuple[int, int]]:
    """(start, end) of the pieces that the borders of sectors cut a range into."""
    end, found = offset + length, []
    while offset < end:
        stop = min((offset // SECTOR + 1) * SECTOR, end)
        found.append((offset, stop))
        offset = stop
    return found
