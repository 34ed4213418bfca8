"""What a network port is to the NIC, and the ports that need nothing but memory.

A frame runs from the destination address to the end of the payload, without FCS. Ports that open an
OS object (TAP, sockets, capture files) live in `host.py`.
"""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

Buffer = bytes | bytearray | memoryview
Frame = Sequence[Buffer]  # one frame going out, in pieces; the pieces are views of guest memory


class NetBackend(Protocol):
    """The network behind one NIC. Batch-shaped; never raises for anything a guest did."""

    waits: bool
    """True: a frame the guest has no room for is kept and offered again. False: it is lost and counted."""

    def send(self, frames: Sequence[Frame]) -> int:
        """Take frames the guest transmitted, in order; return how many were taken.

        The pieces are only valid until this returns. The device keeps a copy of what was not taken and
        offers it again before anything newer.
        """
        ...

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        """Up to `limit` frames for the guest that are due at `now_ns`, oldest first; empty when there is none."""
        ...

    def deadline(self) -> int | None:
        """When `receive` will next have a frame although nothing outside stirs (ns), or None."""
        ...

    def link(self, up: bool) -> None:
        """The driver opened (True) or closed (False) the NIC. What had queued up while closed is dropped on opening."""
        ...

    def fileno(self) -> int:
        """A descriptor that turns readable when frames wait, or -1."""
        ...


class Tap(Protocol):
    """Watches what passes the rings of one NIC, at the time it does. Frames are valid until the call returns."""

    def sent(self, queue: int, frames: Sequence[Frame], now_ns: int) -> None:
        """The driver's transmit queue gave these frames, offloads done, and they go to the port next."""
        ...

    def received(self, queue: int, frames: Sequence[bytes], now_ns: int) -> None:
        """These frames, some perhaps `Shaped`, were handed to the driver's receive queue, or given up there."""
        ...


class Null:
    """Takes everything, gives nothing."""

    waits = False

    def send(self, frames: Sequence[Frame]) -> int:
        return len(frames)

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        return ()

    def deadline(self) -> int | None:
        return None

    def link(self, up: bool) -> None:
        pass

    def fileno(self) -> int:
        return -1


class Queue(Null):
    """Two queues a test or a library user fills and empties: `inbound` goes to the guest, `sent` came from it."""

    def __init__(self, *, waits: bool = True, room: int | None = None) -> None:
        self.waits = waits
        self.room = room  # how many more frames `send` takes; None: any number
        self.inbound: deque[bytes] = deque()
        self.sent: list[bytes] = []

    def send(self, frames: Sequence[Frame]) -> int:
        if self.room is not None:
            frames = frames[: self.room]
            self.room -= len(frames)
        self.sent += [b"".join(frame) for frame in frames]
        return len(frames)

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        take = self.inbound.popleft
        return [take() for _ in range(min(limit, len(self.inbound)))]

    def link(self, up: bool) -> None:
        if up and not self.waits:
            self.inbound.clear()
