"""What a medium is to the SCSI target: bytes that can be read, written, flushed and discarded, out of order.

A logical unit says what is to be done with an `Io`; a backend does it, at once or later, and never blocks whoever
submits. All offsets and lengths in bytes.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any, Protocol


class Op(Enum):
    """What an `Io` does."""

    READ = "read"
    WRITE = "write"
    FLUSH = "flush"  # everything written and reported done before it was submitted is durable when it is done
    DISCARD = "discard"  # the range reads as zeros from then on, if `Backend.zeroes`; else as anything
    ZERO = "zero"  # the range reads as zeros from then on, whatever it costs


Transfer = tuple[int, Sequence[memoryview]]
"""Offset, and the memory of a READ or WRITE."""


class Fault(Enum):
    """Why an `Io` failed, as far as a SCSI initiator is told."""

    READ = "read"  # unrecovered read error, or the medium ends here
    WRITE = "write"
    FULL = "full"  # no space left
    READ_ONLY = "read-only"
    GONE = "gone"  # the backend is lost for good


class Io:
    """One transfer. `buffers`: the memory of READ (filled) and WRITE (taken), together `length` bytes.

    `fua`: a WRITE that is durable when it is done. When `done`, `fault` is None or says why it failed, and `moved` how
    many bytes from its start are right. `owner` is the submitter's own.
    """

    __slots__ = ("buffers", "done", "fault", "fua", "length", "moved", "offset", "op", "owner")

    def __init__(
        self,
        op: Op,
        offset: int = 0,
        length: int = 0,
        buffers: Sequence[memoryview] = (),
        *,
        fua: bool = False,
        owner: Any = None,
    ) -> None:
        self.op, self.offset, self.length, self.buffers = op, offset, length, buffers
        self.fua, self.owner = fua, owner
        self.done, self.moved = False, 0
        self.fault: Fault | None = None

    def finish(self, moved: int = 0, fault: Fault | None = None) -> None:
        """The backend is through with it."""
        self.moved, self.fault, self.done = moved, fault, True


class Backend(Protocol):
    """One medium. Never raises for anything a guest did; its host's failures are `Io.fault` and `fault`."""

    @property
    def size(self) -> int:
        """Bytes; may change (`grown` of the logical unit that looks)."""
        ...

    @property
    def read_only(self) -> bool: ...

    @property
    def zeroes(self) -> bool:
        """Discarded ranges read as zeros."""
        ...

    @property
    def rotational(self) -> bool: ...

    @property
    def fault(self) -> str | None:
        """The first thing the host failed us in, one line with the mend, or None."""
        ...

    def submit(self, ios: Sequence[Io]) -> None:
        """Begin these, in any order among themselves. Those that are `done` when this returns are not reaped again."""
        ...

    def at_once(self, op: Op, length: int, transfers: Sequence[Transfer]) -> int:
        """READs or WRITEs of `length` bytes each, without an `Io`: how many, from the first on, were done whole and
        without waiting. The others are to be submitted; the next one's buffers (READ) or range (WRITE) may hold
        anything by then."""
        ...

    def reap(self, now_ns: int) -> Sequence[Io]:
        """Those that were finished since, or are due at `now_ns`, each once."""
        ...

    def cancel(self, ios: Sequence[Io]) -> None:
        """Nobody waits for these any more: their buffers are not touched once this returns, and they are not reaped.

        What of a WRITE has reached the medium stays there.
        """
        ...

    def allocated(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        """(bytes, allocated) stretches that cover the range, in order."""
        ...

    def fileno(self) -> int:
        """A descriptor that turns readable when there is something to reap, or -1."""
        ...

    def deadline(self) -> int | None:
        """When there will be something to reap although nothing outside stirs (ns), or None."""
        ...

    def close(self) -> None:
        """Let go of every OS object; what was reported done and flushed is durable."""
        ...
