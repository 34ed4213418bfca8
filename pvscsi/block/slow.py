"""A disk that takes its time, in the device's own: no thread, no clock."""

import heapq
import random
from collections.abc import Mapping, Sequence
from itertools import count

from pvscsi.block.backend import Io, Op
from pvscsi.block.medium import Medium
from pvscsi.block.wrapper import Wrapper


class SlowDisk(Wrapper):
    """Each transfer reaches `inner` only after `latency[op]` ns, and up to `jitter` ns more.

    `rate`: bytes/s that pass, one transfer after the other; None: any number. A transfer's time begins with the first
    `reap` after its submission.
    """

    def __init__(
        self, inner: Medium, latency: Mapping[Op, int], *, jitter: int = 0, rate: int | None = None, seed: int = 0
    ) -> None:
        super().__init__("slow", inner)
        self._latency, self._jitter, self._rate = dict(latency), jitter, rate
        self._random = random.Random(seed)
        self._fresh: list[Io] = []
        self._held: list[tuple[int, int, Io]] = []  # a heap: due (ns), number, transfer
        self._numbers = count()
        self._free_at = 0  # when the last byte so far has passed

    def submit(self, ios: Sequence[Io]) -> None:
        self._fresh += ios

    def reap(self, now_ns: int) -> Sequence[Io]:
        for io in self._fresh:
            heapq.heappush(self._held, (self._due(io, now_ns), next(self._numbers), io))
        self._fresh.clear()
        due = []
        while self._held and self._held[0][0] <= now_ns:
            due.append(heapq.heappop(self._held)[2])
        if due:
            self.inner.submit(due)
        return [*(io for io in due if io.done), *self.inner.reap(now_ns)]

    def cancel(self, ios: Sequence[Io]) -> None:
        unwanted = set(ios)
        self._fresh = [io for io in self._fresh if io not in unwanted]
        self._held = [entry for entry in self._held if entry[2] not in unwanted]
        heapq.heapify(self._held)
        self.inner.cancel(ios)

    def deadline(self) -> int | None:
        inner = self.inner.deadline()
        if self._fresh:
            return 0
        if not self._held:
            return inner
        return self._held[0][0] if inner is None else min(inner, self._held[0][0])

    def _due(self, io: Io, now_ns: int) -> int:
        due = now_ns + self._latency.get(io.op, 0)
        if self._jitter:
            due += self._random.randrange(self._jitter)
        if self._rate and io.op in (Op.READ, Op.WRITE):
            self._free_at = max(self._free_at, now_ns) + io.length * 1_000_000_000 // self._rate
            due = max(due, self._free_at)
        return due
