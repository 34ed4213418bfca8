"""Times of many things in a histogram of fixed size, whatever their number: how long, and how late. Pure."""

from collections.abc import Sequence

_PART_BITS = 4  # 16 buckets for each power of two: a percentile is at most 1/16 too high
_BUCKETS = (64 - _PART_BITS) << _PART_BITS


def _bucket(ns: int) -> int:
    shift = max(ns.bit_length() - _PART_BITS - 1, 0)
    return (shift << _PART_BITS) + (ns >> shift)


def _upper(bucket: int) -> int:
    """The largest value a bucket holds (ns)."""
    shift = max((bucket >> _PART_BITS) - 1, 0)
    return ((bucket - (shift << _PART_BITS) + 1) << shift) - 1


class Times:
    """How long things took, in ns. `min` and `max` are exact."""

    def __init__(self) -> None:
        self.count = self.min = self.max = 0
        self._buckets = [0] * _BUCKETS

    def took(self, ns: int) -> None:
        """One more."""
        self._buckets[_bucket(ns)] += 1
        if not self.count or ns < self.min:
            self.min = ns
        if ns > self.max:
            self.max = ns
        self.count += 1

    def percentile(self, percent: float) -> int:
        """So many percent took at most this long (ns; up to 1/16 too high, never above `max`)."""
        wanted, seen = self.count * percent / 100, 0
        for bucket, count in enumerate(self._buckets):
            seen += count
            if count and seen >= wanted:
                return min(_upper(bucket), self.max)
        return 0

    def microseconds(self, *percents: int) -> dict[str, float]:
        """For a report: these percentiles and the longest."""
        values = {f"p{percent}": self.percentile(percent) for percent in percents}
        return {name: round(ns / 1000, 1) for name, ns in {**values, "max": self.max}.items()}


class Lateness(Times):
    """Hand-over time minus due time of many `items`, in ns."""

    def __init__(self, items: str) -> None:
        super().__init__()
        self.items = items

    def add(self, dues: Sequence[int], now_ns: int) -> None:
        """Items due at `dues` were handed over at `now_ns`."""
        if not dues:
            return
        buckets = self._buckets
        for due in dues:
            buckets[_bucket(max(now_ns - due, 0))] += 1
        self.min = min(self.min if self.count else now_ns, max(now_ns - max(dues), 0))
        self.count += len(dues)
        self.max = max(self.max, now_ns - min(dues))

    def facts(self) -> dict[str, float]:
        """For a report, in microseconds."""
        return {self.items: self.count, **self.microseconds(50, 99)}

    def __str__(self) -> str:
        p50, p99, most = (f"{ns / 1000:,.0f}" for ns in (self.percentile(50), self.percentile(99), self.max))
        return f"p50 {p50}, p99 {p99}, max {most} us late, {self.count:,} {self.items}"
