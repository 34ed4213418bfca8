"""When the items of a recording are due: its own timing, faster or slower, a fixed rate, or at once.

Pure: the caller says what time it is. Times are ns on any clock that does not run backwards.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, repeat
from operator import ne
from typing import Any, ClassVar, Generic, Self, TypeVar

from pvdev.errors import ConfigError

SECOND = 1_000_000_000  # ns
LOOP_GAP_NS = 1000  # least time between the last item of a round and the first of the next

_RATE = re.compile(r"(x|[a-z]+:)([0-9]{1,12}(?:\.[0-9]{1,6})?)([kMG]?)")
_SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}

Item = TypeVar("Item", bound=tuple[Any, ...])  # its stamp (ns) comes first


@dataclass(frozen=True)
class Pace:
    """A pace policy.

    `kind`: "original" (speed `factor`), "max", or one of `rates` (`factor` a second). `rates`: name of each rate there
    is, and what a user is told it counts.
    """

    rates: ClassVar[Mapping[str, str]] = {}

    kind: str
    factor: Fraction = Fraction(1)

    @classmethod
    def parse(cls, text: str) -> Self:
        """`original`, `xN` (N times as fast), `max`, or `RATE:N` (with k, M or G). ConfigError otherwise."""
        if text in ("original", "max"):
            return cls(text)
        match = _RATE.fullmatch(text)
        if match and (factor := Fraction(match[2]) * _SUFFIXES[match[3]]):
            if match[1] == "x" and not match[3]:
                return cls("original", factor)
            if match[1][:-1] in cls.rates:
                return cls(match[1][:-1], factor)
        rates = "".join(f"{name}:N ({what}), " for name, what in cls.rates.items())
        raise ConfigError(
            f"pace {text!r} is not understood; give original, xN (x2: twice as fast), {rates[:-2]} or max"
        )

    def __str__(self) -> str:
        if self.kind == "max" or (self.kind == "original" and self.factor == 1):
            return self.kind
        number = str(self.factor) if self.factor.denominator == 1 else str(float(self.factor))
        return f"x{number}" if self.kind == "original" else f"{self.kind}:{number}"


class Paced(Generic[Item]):
    """Items of a source, handed out when they are due.

    `source()` gives the batches of one round; it is called again at the end of each, `rounds` times in all (0: without
    end). `weigh`: what an item counts where `pace` is a rate (1 without). The first item is due at the first `take`, or
    when `begin` said. With original timing a stamp earlier than one before it is due with that one, and counted in
    `backwards`. `finished` is known only to a `take` that found nothing left. What the source raises while items are
    taken ends the stream and goes through. `taken`: due times of the last `take`, none where items are not paced.
    """

    def __init__(
        self,
        source: Callable[[], Iterable[list[Item]]],
        pace: Pace,
        *,
        rounds: int = 1,
        weigh: Callable[[Item], int] | None = None,
    ) -> None:
        self.pace, self._rounds, self._weigh = pace, rounds, weigh
        self.backwards = 0
        self.taken: list[int] = []
        self.finished = False
        self._source = source
        self._round: Iterator[list[Item]] = iter(source())
        self._rounds_items = self._rounds_weight = 0  # of this round so far
        self._batch: list[Item] = []
        self._dues: list[int] = []
        self._at = 0  # place in both
        self._start: int | None = None  # when this round's first item was due
        self._first_stamp = 0
        self._last_due = 0
        self._resume = False
        self._load()

    def take(self, limit: int, now_ns: int) -> list[Item]:
        """Up to `limit` items due at `now_ns`, oldest first; may give fewer than are due, [] only when none is."""
        if self._at == len(self._batch):  # loaded late: an error or a wait of the source holds up no item before it
            self._load()
        if self.finished:
            self.taken = []
            return []
        if self._start is None:
            self.begin(now_ns)
        elif self._resume:
            self._resume = False
            if self._dues and (late := now_ns - self._dues[self._at]) > 0:
                self.shift(late)
        at = self._at
        stop = at + limit
        if self._dues:
            stop = min(stop, bisect_right(self._dues, now_ns, at))
        items = self._batch[at:stop]
        self.taken = self._dues[at:stop]
        self._at = at + len(items)
        return items

    def begin(self, at_ns: int) -> None:
        """The first item is due at `at_ns`. Before the first `take`."""
        self._start = self._last_due = at_ns
        self._rounds_items = self._rounds_weight = 0
        if self._batch:
            self._time()
        self._rounds_items = len(self._batch)

    @property
    def first_stamp(self) -> int | None:
        """The recording's first stamp (ns), before anything was taken; None for an empty one."""
        return self._batch[0][0] if self._batch else None

    def stop(self) -> None:
        """Nothing more is due, ever."""
        self._round, self._rounds = iter(()), 1
        self._batch, self._dues, self._at, self.finished = [], [], 0, True

    def due(self) -> int | None:
        """When to `take` next: 0 for at once (before the first, or the source must be asked), None when ended."""
        if self.finished:
            return None
        if self._start is None or not self._dues or self._at == len(self._batch):
            return 0
        return self._dues[self._at]

    def resume(self) -> None:
        """Time stood still since the last `take`: what fell due meanwhile is due from the next `take` on, spaced."""
        self._resume = True

    def _load(self) -> None:
        """The next batch, of this round or of the next; `finished` when there is none."""
        self._batch, self._dues, self._at, self.finished = [], [], 0, True  # should the source raise
        batch = next(self._round, None)
        if batch is None and self._rounds != 1 and self._rounds_items:
            self._rounds -= 1
            self._next_round()
            batch = next(self._round, None)
        if batch is None:
            return
        self._batch, self.finished = batch, False
        if not self._rounds_items:
            self._first_stamp = batch[0][0]
        if self._start is not None:
            self._time()
        self._rounds_items += len(batch)

    def _time(self) -> None:
        """Due times of the batch just loaded; `_rounds_items` still counts those before it."""
        kind, factor = self.pace.kind, self.pace.factor
        if kind == "max":
            return
        num, den, start = factor.numerator, factor.denominator, self._start or 0
        if kind != "original":
            weights = map(self._weigh, self._batch) if self._weigh is not None else repeat(1, len(self._batch))
            before = list(accumulate(weights, initial=self._rounds_weight))
            self._dues = [start + weight * SECOND * den // num for weight in before[:-1]]
            self._rounds_weight = before[-1]
        else:
            first = self._first_stamp
            if factor == 1:
                raw = [start - first + item[0] for item in self._batch]
            else:
                raw = [start + (item[0] - first) * den // num for item in self._batch]
            self._dues = list(accumulate(raw, max, initial=self._last_due))[1:]
            self.backwards += sum(map(ne, raw, self._dues))
        self._last_due = self._dues[-1]

    def _next_round(self) -> None:
        """The next round begins one mean gap of this one after its last item; at a rate, when that allows it."""
        items, start, factor = self._rounds_items, self._start or 0, self.pace.factor
        if self._rounds_weight:
            gap = start + self._rounds_weight * SECOND * factor.denominator // factor.numerator - self._last_due
        else:
            gap = (self._last_due - start) // (items - 1) if items > 1 else 0
        self._start = self._last_due = self._last_due + max(gap, LOOP_GAP_NS)
        self._rounds_items = self._rounds_weight = 0
        self._round = iter(self._source())

    def shift(self, late_ns: int) -> None:
        """Everything not yet taken is due `late_ns` later."""
        self._dues = [due + late_ns for due in self._dues]
        self._start = (self._start or 0) + late_ns
        self._last_due += late_ns
