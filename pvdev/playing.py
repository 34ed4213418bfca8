"""What commands that play recordings share: how they are stopped, how punctual they are, what they leave alone."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pvdev.errors import ConfigError

INTERRUPTED = 130  # exit code


def never() -> bool:
    """For what nobody stops."""
    return False


class Stop:
    """Whether Ctrl-C or SIGTERM was given while it listens. The second one interrupts at once: a read may wait."""

    def __init__(self) -> None:
        self.given = False

    def __call__(self) -> bool:
        return self.given

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        def stop(signum: int, frame: FrameType | None) -> None:
            if self.given:
                raise KeyboardInterrupt
            self.given = True

        before = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)


@contextmanager
def precedence(wanted: bool) -> Iterator[None]:
    """This thread, and those it starts, run before all ordinary ones. Raises `ConfigError` without the right to."""
    if not wanted:
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        raise ConfigError("--realtime: no right to it; run as root, or with `ulimit -r 1` or more") from None
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def spare(path: str | None, option: str, what: str, played: Iterable[str]) -> None:
    """Nothing is written over what is played ("-" is no file). Raises `ConfigError`."""
    if path is not None and Path(path).exists():
        for each in played:
            if each != "-" and Path(each).exists() and Path(path).samefile(each):
                raise ConfigError(f"{option} {path} is the {what} itself; give another file")
