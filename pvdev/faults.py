"""Fault points: named places where a test or a user makes a device, a backend or a transport misbehave on purpose.

Deterministic: a plan says at which pass through a point what happens. A component holds
`self.faults: FaultPlan | None`; a point reads `if faults is not None and (fault := faults.at("dma.read")): ...`.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """What happens at a point: `kind` is a word the point understands, `value` its size (bytes, ns, index)."""

    kind: str
    value: int = 0


@dataclass
class FaultPlan:
    """Which fault strikes at which pass (from 0) through which point; `None` as pass: every time."""

    entries: Iterable[tuple[str, int | None, Fault]] = ()
    struck: Counter[str] = field(default_factory=Counter)  # point -> faults delivered
    _passes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._plan = {(point, nth): fault for point, nth, fault in self.entries}

    def at(self, point: str) -> Fault | None:
        """One pass through `point`: the fault that strikes now, or None."""
        nth = self._passes[point]
        self._passes[point] = nth + 1
        fault = self._plan.get((point, nth)) or self._plan.get((point, None))
        if fault is not None:
            self.struck[point] += 1
        return fault
