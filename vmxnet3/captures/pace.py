"""When the frames of a capture are due: the capture's own timing, faster or slower, a fixed rate, or at once.

Pure: the caller says what time it is. Times are ns on any clock that does not run backwards.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import accumulate
from operator import ne
from typing import NamedTuple

from pvdev.errors import ConfigError
from vmxnet3.captures.capture import SECOND, Captured

_RATE = re.compile(r"(x|pps:|bps:)([0-9]{1,12}(?:\.[0-9]{1,6})?)([kMG]?)")
_KINDS = {"x": "original", "pps:": "pps", "bps:": "bps"}
_SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
LOOP_GAP_NS = 1000  # least time between the last frame of a round and the first of the next
WIRE_LEAST = 60  # bytes; a shorter frame is padded on the wire
WIRE_MORE = 24  # bytes each frame takes on the wire beside its own: preamble and start 8, FCS 4, gap 12


class Pace(NamedTuple):
    """A pace policy.

    `kind`: "original" (speed `factor`), "pps" (`factor` frames a second), "bps" (`factor` bits a second on an Ethernet
    wire: preamble, padding, FCS and gap counted) or "max".
    """

    kind: str
    factor: Fraction = Fraction(1)

    @classmethod
    def parse(cls, text: str) -> "Pace":
        """`original`, `xN` (N times as fast), `pps:N`, `bps:N` (with k, M or G) or `max`. ConfigError otherwise."""
        if text in ("original", "max"):
            return cls(text)
        match = _RATE.fullmatch(text)
        if match and (factor := Fraction(match[2]) * _SUFFIXES[match[3]]) and not (match[1] == "x" and match[3]):
            return cls(_KINDS[match[1]], factor)
        raise ConfigError(
            f"pace {text!r} is not understood; give original, xN (x2: twice as fast), pps:N (frames a second), "
            "bps:N (bits a second; 100M, 2.5G) or max"
        )

    def __str__(self) -> str:
        if self.kind == "max" or self == Pace("original"):
            return self.kind
        number = str(self.factor) if self.factor.denominator == 1 else str(float(self.factor))
        return f"x{number}" if self.kind == "original" else f"{self.kind}:{number}"


def wire_bits(frame: bytes) -> int:
    """How long `frame` (without FCS) keeps an Ethernet wire busy, in bit times."""
    return 8 * (max(len(frame), WIRE_LEAST) + WIRE_MORE)


class Paced:
    """Frames of a source, handed out when they are due.

    `source()` gives the batches of one round; it is called again at the end of each, `rounds` times in all (0: without
    end). The first frame is due at the first `take`, or when `begin` said. With original timing a stamp earlier than
    one before it is due with that one, and counted in `backwards`. `finished` is known only to a `take` that found
    nothing left. What the source raises while frames are taken ends the stream and goes through. `taken` has the due
    times of the last `take`, none where frames are not paced.
    """

    def __init__(self, source: Callable[[], Iterable[list[Captured]]], pace: Pace, *, rounds: int = 1) -> None:
        self.pace, self._rounds = pace, rounds
        self.backwards = 0
        self.taken: list[int] = []
        self.finished = False
        self._source = source
        self._round: Iterator[list[Captured]] = iter(source())
        self._rounds_frames = self._rounds_bits = 0  # of this round so far; bits as `wire_bits` counts them
        self._batch: list[Captured] = []
        self._dues: list[int] = []
        self._at = 0  # place in both
        self._start: int | None = None  # when this round's first frame was due
        self._first_stamp = 0
        self._last_due = 0
        self._resume = False
        self._load()

    def take(self, limit: int, now_ns: int) -> list[Captured]:
        """Up to `limit` frames due at `now_ns`, oldest first; may give fewer than are due, [] only when none is."""
        if self._at == len(self._batch):  # loaded late: an error or a wait of the source holds up no frame before it
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
        frames = self._batch[at:stop]
        self.taken = self._dues[at:stop]
        self._at = at + len(frames)
        return frames

    def begin(self, at_ns: int) -> None:
        """The first frame is due at `at_ns`. Before the first `take`."""
        self._start = self._last_due = at_ns
        self._rounds_frames = self._rounds_bits = 0
        if self._batch:
            self._time()
        self._rounds_frames = len(self._batch)

    @property
    def first_stamp(self) -> int | None:
        """The capture's first stamp (ns since 1970), before anything was taken; None for an empty one."""
        return self._batch[0][0] if self._batch else None

    def stop(self) -> None:
        """Nothing more is due, ever."""
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
        if batch is None and self._rounds != 1 and self._rounds_frames:
            self._rounds -= 1
            self._next_round()
            batch = next(self._round, None)
        if batch is None:
            return
        self._batch, self.finished = batch, False
        if not self._rounds_frames:
            self._first_stamp = batch[0][0]
        if self._start is not None:
            self._time()
        self._rounds_frames += len(batch)

    def _time(self) -> None:
        """Due times of the batch just loaded; `_rounds_frames` still counts the frames before it."""
        kind, factor = self.pace
        if kind == "max":
            return
        num, den, start = factor.numerator, factor.denominator, self._start or 0
        if kind == "pps":
            step = SECOND * den
            first = self._rounds_frames
            self._dues = [start + i * step // num for i in range(first, first + len(self._batch))]
        elif kind == "bps":
            sent = list(accumulate((wire_bits(frame[1]) for frame in self._batch), initial=self._rounds_bits))
            self._dues = [start + bits * SECOND * den // num for bits in sent[:-1]]
            self._rounds_bits = sent[-1]
        else:
            first = self._first_stamp
            if factor == 1:
                raw = [start - first + frame[0] for frame in self._batch]
            else:
                raw = [start + (frame[0] - first) * den // num for frame in self._batch]
            self._dues = list(accumulate(raw, max, initial=self._last_due))[1:]
            self.backwards += sum(map(ne, raw, self._dues))
        self._last_due = self._dues[-1]

    def _next_round(self) -> None:
        """The next round begins one mean gap of this one after its last frame."""
        frames, start = self._rounds_frames, self._start or 0
        gap = (self._last_due - start) // (frames - 1) if frames > 1 else 0
        factor = self.pace.factor
        if self.pace.kind == "pps":
            gap = SECOND * factor.denominator // factor.numerator
        elif self.pace.kind == "bps":
            gap = start + self._rounds_bits * SECOND * factor.denominator // factor.numerator - self._last_due
        self._start = self._last_due = self._last_due + max(gap, LOOP_GAP_NS)
        self._rounds_frames = self._rounds_bits = 0
        self._round = iter(self._source())

    def shift(self, late_ns: int) -> None:
        """Everything not yet taken is due `late_ns` later."""
        self._dues = [due + late_ns for due in self._dues]
        self._start = (self._start or 0) + late_ns
        self._last_due += late_ns
