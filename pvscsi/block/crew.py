"""Threads that do what would make the submitter wait. The only threads of the room.

A thread never touches the state of a transfer: it leaves its result, and `reap` hands it over in the submitter's own
thread. So nothing is seen done before it is reaped.
"""

import os
import threading
from collections.abc import Callable, Collection, Sequence
from queue import SimpleQueue

from pvscsi.block.backend import Fault, Io

Result = tuple[int, Fault | None]  # bytes moved, and why no more


class Crew:
    """At most `most` threads that call `work` for each `Io` given to them; they are started when first needed."""

    def __init__(self, work: Callable[[Io], Result], most: int) -> None:
        self._work, self._most = work, most
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._queue: SimpleQueue[Sequence[Io] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._out: set[Io] = set()  # given and neither reaped nor cancelled; the submitter's own
        self._lock = threading.Lock()  # over the five below
        self._turn = threading.Condition(self._lock)  # a transfer somebody waits for has ended
        self._now: set[Io] = set()  # in the hands of a thread
        self._unwanted: set[Io] = set()  # cancelled before a thread came to it
        self._done: list[tuple[Io, Result]] = []
        self._waiting = False
        self._rung = False  # the event is set

    @property
    def busy(self) -> bool:
        """Something was given and not yet reaped."""
        return bool(self._out)

    def give(self, ios: Sequence[Io]) -> None:
        """Have these done, in any order. One queue entry for each thread that shares them, not for each of them."""
        self._out.update(ios)
        shares = min(len(ios), self._most)
        while len(self._threads) < min(len(self._out), self._most):
            thread = threading.Thread(target=self._run, name=f"pvdev-disk-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        for share in range(shares):
            self._queue.put(ios[share::shares])

    def reap(self) -> list[tuple[Io, Result]]:
        """What the threads are through with, each once."""
        if not self._out and not self._rung:
            return []
        with self._lock:
            done, self._done = self._done, []
            if self._rung:
                os.eventfd_read(self._event)
                self._rung = False
        self._out.difference_update(io for io, _ in done)
        return done

    def cancel(self, ios: Collection[Io]) -> None:
        """Forget these. Waits for the ones a thread is working on: nothing touches their memory any more then."""
        ours = self._out.intersection(ios)
        if not ours:
            return
        self._out -= ours
        with self._lock:
            ended = {io for io, _ in self._done} & ours
            self._done = [each for each in self._done if each[0] not in ended]
            self._unwanted |= ours - ended - self._now
            self._waiting = True
            while self._now & ours:
                self._turn.wait()
            self._waiting = False
            self._done = [each for each in self._done if each[0] not in ours]

    def fileno(self) -> int:
        """Readable when there is something to reap."""
        return self._event

    def close(self) -> None:
        """Wait for what was given to end, then for the threads."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._out.clear()
        if self._event >= 0:
            os.close(self._event)
            self._event = -1

    def _run(self) -> None:
        while (share := self._queue.get()) is not None:
            for io in share:
                with self._lock:
                    if io in self._unwanted:
                        self._unwanted.remove(io)
                        continue
                    self._now.add(io)
                result = self._work(io)
                with self._lock:
                    self._now.remove(io)
                    self._done.append((io, result))
                    if self._waiting:
                        self._turn.notify_all()
                    if not self._rung:
                        self._rung = True
                        os.eventfd_write(self._event, 1)
            del io, share  # while it waits for more, a thread holds no memory of the last
