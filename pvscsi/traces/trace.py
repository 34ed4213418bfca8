"""What every trace comes down to, whatever its format: lines in, what they asked of which device out."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from pvdev.errors import ConfigError
from pvscsi.block.backend import Op

SECTOR = 512  # bytes
DISK_MOST = 1 << 62  # bytes; no disk of ours is larger
LINE_MOST = 1 << 14  # bytes of a line

Lines = Iterable[tuple[int, bytes]]  # each with its number, from 1


class Event(NamedTuple):
    """One thing asked of a disk. `stamp`: ns since the trace began; `offset` and `length`: bytes, whole sectors; `fua`:
    a write that is durable when it is done."""

    stamp: int
    op: Op
    offset: int = 0
    length: int = 0
    fua: bool = False


class Record(NamedTuple):
    """What one line asked for: of which `device` (or file), at which stage (`action`, "" where there is only one).

    No `events`: it cannot be replayed; `left_out` says why, in the words that complete "lines".
    """

    device: str
    action: str
    events: tuple[Event, ...]
    left_out: str = ""


class Parse(Protocol):
    """A format: records of its lines, once through. `name` is the file's, for ConfigError: a line that is malformed."""

    def __call__(self, lines: Lines, name: str) -> Iterator[Record]: ...


class ReadLines(Protocol):
    """What is needed of a file."""

    def readline(self, limit: int, /) -> bytes: ...


def numbered(file: ReadLines, name: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file. ConfigError: one that no trace has, which keeps memory bounded."""
    number = 0
    while line := file.readline(LINE_MOST):
        number += 1
        if len(line) == LINE_MOST:
            raise malformed(name, number, f"longer than {LINE_MOST} bytes")
        yield number, line


def malformed(name: str, number: int, what: str) -> ConfigError:
    return ConfigError(f"{name}: line {number}: {what}")


def shown(text: bytes) -> str:
    """Part of a line, in a message."""
    return ascii(text[:40].decode("latin-1"))
