"""The cache folder everything fetched or built lives in, and how it stays whole when two processes use it at once."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pvdev.errors import ConfigError

Say = Callable[[str], None]
"""Takes one line of progress."""


class KitError(ConfigError):
    """The guest kit cannot be had on this machine: one line with what is missing and the mend."""


def quiet(line: str) -> None:
    """The progress sink of library callers."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock file; waits for another process that holds it. The kernel frees it if we die."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise KitError(
            f"cannot write the cache folder {folder}: {error.strerror}; name another one in PVDEV_CACHE"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder that becomes `target` in one step when the block ends well, and vanishes when it does not.

    An older `target` is replaced. The caller holds the lock.
    """
    for stale in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(stale, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield work
        work.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def new_file(target: Path, data: bytes, mode: int = 0o644) -> Path:
    """Write `data` to `target` in one step; returns `target`. Safe without the lock: the last writer wins."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    work = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        work.chmod(mode)
        work.rename(target)
    finally:
        work.unlink(missing_ok=True)
    return target
