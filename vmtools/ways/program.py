"""A program about to be traced: its process waits until it is, and only then becomes the program.

Ref: ptrace(2), PTRACE_SEIZE; execve(2).
"""

import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pvdev.errors import ConfigError
from vmtools.ways import ptrace


def find(name: str) -> str:
    """The file a command's first word names. Raises `ConfigError`."""
    path = shutil.which(name)
    if path is None:
        known = Path(name).exists()
        raise ConfigError(f"{name}: " + ("not a program that may be run" if known else "no such program"))
    return path


class Program:
    """A new process that becomes `command` once it is seized.

    `mask`: signals blocked in it; `prepare` runs in it just before. Raises `ConfigError`: no such program.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None,
        mask: Sequence[int],
        prepare: Callable[[], None] | None,
    ) -> None:
        self.path = find(command[0])
        wait, self._go = os.pipe()
        self._failed, failed = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _become(self.path, command, environment, mask, prepare, wait, failed)
        os.close(wait)
        os.close(failed)

    def seize(self) -> None:
        """Trace it, and let it become the program. Raises `ConfigError`: nobody may trace here."""
        try:
            ptrace.seize(self.pid)
        except OSError as error:
            raise ConfigError(
                f"this machine lets no program be traced ({error.strerror}): allow ptrace in the container, or "
                "set /proc/sys/kernel/yama/ptrace_scope to 1"
            ) from error
        os.write(self._go, b"!")

    def close(self) -> str:
        """After its end: why it did not become the program; "" when it did."""
        os.close(self._go)
        with os.fdopen(self._failed, "rb") as failed:
            return failed.read().decode(errors="replace")


def _become(
    path: str,
    command: Sequence[str],
    environment: Mapping[str, str] | None,
    mask: Sequence[int],
    prepare: Callable[[], None] | None,
    wait: int,
    failed: int,
) -> None:
    """In the new process; never returns."""
    try:
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # as Python found them
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if os.read(wait, 1):
            if prepare is not None:
                prepare()
            os.execve(path, list(command), dict(os.environ if environment is None else environment))
    except OSError as error:
        os.write(failed, f"{path}: {error.strerror or error}".encode())
    finally:
        os._exit(127)
