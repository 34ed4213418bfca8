"""Trace points: named events a device emits when somebody listens, and nothing otherwise.

A model holds `self.trace: Sink | None`; a point in a loop reads `if trace is not None: trace("tx.batch", ...)`, which
costs one local test when off.
"""

from collections import deque
from collections.abc import Callable

Value = int | str | bytes
Sink = Callable[..., None]  # sink(point, **facts)


class Recorder:
    """Keeps the last `limit` events as (point, facts), oldest first."""

    def __init__(self, limit: int = 10_000) -> None:
        self.events: deque[tuple[str, dict[str, Value]]] = deque(maxlen=limit)

    def __call__(self, point: str, **facts: Value) -> None:
        self.events.append((point, facts))

    def points(self) -> list[str]:
        return [point for point, _ in self.events]
