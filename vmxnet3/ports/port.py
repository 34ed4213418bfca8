"""What every port that touches the OS has: counters, an end, and the two ports that need no OS object."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Self

from vmxnet3.backend import Frame

MAX_FRAME = 65536 + 4096  # bytes; QEMU's NET_BUFSIZE, the longest frame its stream and datagram peers take
LOOP_ROOM = 65536  # frames a loopback port holds before it drops


class Port(ABC):
    """A NetBackend with counters and `close`. "Out" is from the guest, "in" is to the guest.

    `fault` is the first thing the host failed us in (a full disk, a broken capture), one line, or None: ports never
    raise once they are open.
    """

    waits = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.frames_out = self.bytes_out = 0  # taken from the guest and passed on
        self.frames_in = self.bytes_in = 0  # handed to the guest
        self.dropped = 0  # taken from the guest and lost: no peer, refused, or a fault
        self.stale = 0  # came while the NIC was closed; thrown away when it opened
        self.fault: str | None = None

    @abstractmethod
    def send(self, frames: Sequence[Frame]) -> int: ...

    @abstractmethod
    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]: ...

    def deadline(self) -> int | None:
        return None

    def link(self, up: bool) -> None:  # noqa: B027 (a hook: most ports need nothing here)
        pass

    def fileno(self) -> int:
        return -1

    def close(self) -> None:  # noqa: B027
        """Let go of every OS object; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _count_in(self, frames: list[bytes]) -> list[bytes]:
        self.frames_in += len(frames)
        self.bytes_in += sum(map(len, frames))
        return frames


class NullPort(Port):
    """Takes everything, gives nothing."""

    waits = False

    def send(self, frames: Sequence[Frame]) -> int:
        self.frames_out += len(frames)
        self.bytes_out += sum(sum(map(len, frame)) for frame in frames)
        return len(frames)

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        return ()


class LoopbackPort(Port):
    """Every frame the guest sends comes back to it; what it does not fetch is dropped beyond LOOP_ROOM frames."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._queue: deque[bytes] = deque()

    def send(self, frames: Sequence[Frame]) -> int:
        taken = [b"".join(frame) for frame in frames[: LOOP_ROOM - len(self._queue)]]
        self._queue += taken
        self.frames_out += len(taken)
        self.bytes_out += sum(map(len, taken))
        self.dropped += len(frames) - len(taken)
        return len(frames)

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        take = self._queue.popleft
        return self._count_in([take() for _ in range(min(limit, len(self._queue)))])

    def deadline(self) -> int | None:
        return 0 if self._queue else None

    def link(self, up: bool) -> None:
        if up:
            self.stale += len(self._queue)
            self._queue.clear()
