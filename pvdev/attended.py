"""A model in a server's thread that others can wait for, and do things to: for suites, whose targets are served."""

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

PATIENCE_S = 5.0

if TYPE_CHECKING:

    class _Model:
        """What stands behind `Attended` in a class's bases: a model of a device."""

        def __init__(self, *arguments: Any, **options: Any) -> None: ...

        def service(self, budget: int, now_ns: int) -> bool: ...
else:
    _Model = object


class Attended(_Model):
    """Before a model among a class's bases: the device can be asked to finish what there is to do, or to do something
    where it is served. Its server is to watch it. Closed by whoever made it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._round_lock = threading.Condition()
        self._rounds_begun = self._round_idle = 0  # rounds of service, and the last one that found nothing to do
        self._asked: deque[Callable[[], None]] = deque()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        super().__init__(*arguments, **options)

    def fileno(self) -> int:
        """Turns readable when somebody wants a round."""
        return self._wake_fd

    def service(self, budget: int, now_ns: int) -> bool:
        with self._round_lock:
            self._rounds_begun += 1
        while self._asked:
            self._asked.popleft()()
        worked = super().service(budget, now_ns)
        with self._round_lock:
            if not worked:
                self._round_idle = self._rounds_begun
                self._round_lock.notify_all()
        return worked

    def wake(self) -> None:
        """Have the server look at the device."""
        os.eventfd_write(self._wake_fd, 1)

    def finish(self) -> None:
        """Wait until a round of service that began after this call had nothing to do."""
        with self._round_lock:
            mark = self._rounds_begun
            self.wake()
            assert self._round_lock.wait_for(lambda: self._round_idle > mark, PATIENCE_S), "the server does not serve"

    def ask(self, what: Callable[[], None]) -> None:
        """Have it done in the server's thread."""
        self._asked.append(what)
        self.finish()

    def close(self) -> None:
        os.close(self._wake_fd)
