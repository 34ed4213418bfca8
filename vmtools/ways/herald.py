"""The thread beside a supervisor: looks after what is due in the model, and hands signals on to the program."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

FORWARDED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
PAUSE_S = 0.05
_SI_KERNEL = 0x80  # si_code: from the terminal, which has sent it to the program too


class Herald:
    """While it is entered, `tick` runs every `PAUSE_S` and the signals of `FORWARDED` go to `pid()`.

    Entered by the main thread before others start, which then no longer gets these signals. `mask`: what was blocked
    before, for the program.
    """

    def __init__(self, tick: Callable[[], None], pid: Callable[[], int]) -> None:
        self._tick, self._pid = tick, pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="herald", daemon=True)
        self.mask: list[int] = []

    def start(self) -> None:
        self._thread.start()

    def __enter__(self) -> "Herald":
        self.mask = [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)]
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def _run(self) -> None:
        while not self._end.is_set():
            came = signal.sigtimedwait(FORWARDED, PAUSE_S)
            if came is not None and came.si_code != _SI_KERNEL and (pid := self._pid()):
                with suppress(ProcessLookupError):
                    os.kill(pid, came.si_signo)
            self._tick()
