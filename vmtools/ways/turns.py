"""A loop for those who have none of their own: it looks at descriptors and at what is due whenever it is asked to."""

import heapq
import itertools
import selectors
import time
from collections.abc import Callable


class Turns:
    """What `pvdev.control` needs of a loop; `turn` is one look, and never waits."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def watch(self, fd: int, readable: Callable[[], None] | None) -> None:
        """Call `readable` whenever there is something to read; None: no longer."""
        if readable is None:
            self._selector.unregister(fd)
        else:
            self._selector.register(fd, selectors.EVENT_READ, readable)

    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        """Call `do` in so many seconds, at the next look after that."""
        heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._order), do))

    def turn(self) -> None:
        """Whatever is to be done now."""
        for key, _ in self._selector.select(0):
            key.data()
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()

    def close(self) -> None:
        self._selector.close()
