"""What every medium has: a name, an end, and the answers most of them give."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from pvscsi.block.backend import Fault, Io, Op, Transfer


class Medium(ABC):
    """A Backend with a name, an end and a `refresh`. What finishes every transfer at once defines `submit` only."""

    def __init__(
        self, name: str, size: int, *, read_only: bool = False, zeroes: bool = True, rotational: bool = False
    ) -> None:
        self.name, self._size = name, size
        self._read_only, self._zeroes, self._rotational = read_only, zeroes, rotational
        self._fault: str | None = None

    @property
    def size(self) -> int:
        return self._size

    @property
    def read_only(self) -> bool:
        return self._read_only

    @property
    def zeroes(self) -> bool:
        return self._zeroes

    @property
    def rotational(self) -> bool:
        return self._rotational

    @property
    def fault(self) -> str | None:
        return self._fault

    @abstractmethod
    def submit(self, ios: Sequence[Io]) -> None: ...

    def at_once(self, op: Op, length: int, transfers: Sequence[Transfer]) -> int:
        return 0

    def reap(self, now_ns: int) -> Sequence[Io]:
        return ()

    def cancel(self, ios: Sequence[Io]) -> None:  # noqa: B027 (a hook: what is done at once is never cancelled)
        pass

    def allocated(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        return ((length, True),) if length else ()

    def fileno(self) -> int:
        return -1

    def deadline(self) -> int | None:
        return None

    def refresh(self) -> None:  # noqa: B027
        """Look again how large the medium is; `size` then says it."""

    def close(self) -> None:  # noqa: B027
        """Let go of every OS object; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def refused(io: Io, size: int, read_only: bool) -> bool:
    """Finish what no medium of `size` bytes can do at all: a change of a read-only one, a start beyond the end."""
    if read_only and io.op not in (Op.READ, Op.FLUSH):
        io.finish(0, Fault.READ_ONLY)
    elif io.offset > size:
        io.finish(0, beyond(io))
    else:
        return False
    return True


def beyond(io: Io) -> Fault:
    """What a transfer fails with that runs past the end."""
    return Fault.READ if io.op is Op.READ else Fault.WRITE


def clip(buffers: Sequence[memoryview], start: int, end: int) -> list[memoryview]:
    """The part of `buffers`, taken as one, from byte `start` to byte `end`."""
    found, at = [], 0
    for piece in buffers:
        low, high = max(start - at, 0), min(end - at, len(piece))
        if low < high:
            found.append(piece[low:high])
        at += len(piece)
        if at >= end:
            break
    return found


def joined(stretches: Sequence[tuple[int, bool]]) -> list[tuple[int, bool]]:
    """`allocated`'s answer with neighbours of one kind made one."""
    found: list[tuple[int, bool]] = []
    for length, there in stretches:
        if found and found[-1][1] is there:
            found[-1] = (found[-1][0] + length, there)
        elif length:
            found.append((length, there))
    return found
