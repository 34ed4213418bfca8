"""Fences: how far the device has come, where drivers see it, and when that interrupts.

Values are compared as sequence numbers modulo 2^32, as Linux does (VMW_FENCE_WRAP).
"""

from collections.abc import Callable
from typing import ClassVar

from svga.interrupts import Causes
from svga.wire import MASK32, Fifo, Irq

HALF = 1 << 31


def passed(last: int, goal: int) -> bool:
    """Whether fence `last` is `goal` or one after it."""
    return last - goal & MASK32 < HALF


class Fences:
    """`words`: FIFO memory in words, where the device has one; else the last fence is register FENCE."""

    STATE: ClassVar[tuple[str, ...]] = ("last", "goal", "_seen", "_unlooked")

    def __init__(self, causes: Causes, note: Callable[[str, str, int], None], words: memoryview | None) -> None:
        self._causes, self._note, self._words = causes, note, words
        self.reset()

    def reset(self) -> None:
        self.last = self.goal = 0
        self._seen = 0  # the last one of a FENCE command; 0: none yet
        self._unlooked = -1  # fences since a goal was set that had been passed; -1: FENCE was read since

    def complete(self, value: int, *, words: int | None = None) -> None:
        """A FENCE command is reached: all before it is done. `words`: how many FIFO registers there are; None: there is
        no FIFO that runs."""
        if not value or (self._seen and value == self._seen):
            self._note("SVG-D-032" if not value else "SVG-D-033", "FENCE", value)
        elif self._seen and not passed(value, self._seen):
            self._note("SVG-D-032", "FENCE", value)
        before = self._seen
        self.last = self._seen = value
        flags, fifo = int(Irq.ANY_FENCE), self._words
        self._judge(words)
        words = words or 0
        if fifo is not None and words > Fifo.FENCE:
            fifo[Fifo.FENCE] = value
        if fifo is not None and words > Fifo.FENCE_GOAL and self._reached(fifo[Fifo.FENCE_GOAL], before):
            flags |= Irq.FENCE_GOAL
        if self._reached(self.goal, before):
            flags |= Irq.REG_FENCE_GOAL if fifo is not None else Irq.REG_FENCE_GOAL | Irq.FENCE_GOAL
        self._causes.signal(flags)

    def _judge(self, words: int | None) -> None:
        """Whether the driver will see this fence."""
        if self._words is not None and words is not None:
            if words <= Fifo.FENCE:
                self._note("SVG-D-015", "FENCE", words)
            elif self._causes.mask & Irq.FENCE_GOAL and words <= Fifo.FENCE_GOAL:
                self._note("SVG-D-015", "FENCE_GOAL", words)
        if self._unlooked >= 0:
            self._unlooked += 1
            if self._unlooked > 1:  # one may have come between the driver's two accesses
                self._note("SVG-D-036", "FENCE_GOAL", self.goal)
                self._unlooked = -1

    def _reached(self, goal: int, before: int) -> bool:
        return self.last == goal or (passed(self.last, goal) and bool(before) and not passed(before, goal))

    def _read_FENCE(self) -> int:
        self._unlooked = -1
        return self.last

    def _write_FENCE(self, value: int) -> None:
        self.last = value

    def _read_FENCE_GOAL(self) -> int:
        return self.goal

    def _write_FENCE_GOAL(self, value: int) -> None:
        self.goal = value
        gone = self._words is None and value and self._seen and passed(self.last, value)
        self._unlooked = 0 if gone else -1
