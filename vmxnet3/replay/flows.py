"""Frames counted and hashed at both ends of a replay, and the capture as a port with that count."""

import hashlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import gt, itemgetter
from typing import Any

from pvdev.errors import ConfigError
from vmxnet3.backend import Null
from vmxnet3.captures.capture import Captured
from vmxnet3.captures.player import Player
from vmxnet3.shape import Shaped
from vmxnet3.wire import ETH_HEADER, RCD_ERR

Buffer = bytes | bytearray | memoryview
_WIRE = itemgetter(2)


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)


@dataclass
class Tally:
    """Frames and bytes that passed a point, with a digest over all of them and their boundaries."""

    frames: int = 0
    bytes: int = 0
    _data: Any = field(default_factory=_hash)
    _lengths: Any = field(default_factory=_hash)

    def add(self, frames: Sequence[Buffer], lengths: "array[int] | None" = None) -> None:
        """`lengths`: those of `frames`, where they are known already."""
        if lengths is None:
            lengths = array("I", map(len, frames))
        self.frames += len(frames)
        self.bytes += sum(lengths)
        self._lengths.update(lengths)
        self._data.update(b"".join(frames))

    def digest(self) -> str:
        """32 hex digits; however the frames came in batches."""
        both = _hash()
        both.update(self._data.digest() + self._lengths.digest())
        return str(both.hexdigest())


class Flows:
    """A tally for each queue: order is kept within a queue only."""

    def __init__(self) -> None:
        self.queues: dict[int, Tally] = {}

    def add(self, queue: int, frames: Sequence[Buffer], lengths: "array[int] | None" = None) -> None:
        tally = self.queues.get(queue)
        if tally is None:
            tally = self.queues[queue] = Tally()
        tally.add(frames, lengths)

    @property
    def frames(self) -> int:
        return sum(tally.frames for tally in list(self.queues.values()))

    @property
    def bytes(self) -> int:
        return sum(tally.bytes for tally in self.queues.values())

    def digest(self) -> str:
        """Of all queues that had frames, in their order; with queue 0 alone, that of its frames."""
        used = [(queue, tally) for queue, tally in sorted(self.queues.items()) if tally.frames]
        if [queue for queue, _ in used] in ([], [0]):
            return (used[0][1] if used else Tally()).digest()
        both = _hash()
        for queue, tally in used:
            both.update(queue.to_bytes(4, "little") + bytes.fromhex(tally.digest()))
        return str(both.hexdigest())


class Source(Null):
    """What is played, as the network behind a NIC with `queues` receive queues: its frames when they are due.

    `offered` is what the driver should get: bytes as the marks leave them, in the queues they ask for. With `clock`
    lateness is measured here, where frames leave for the NIC; without, by whoever sees them arrive.
    """

    waits = True

    def __init__(
        self, player: Player, longest: int, queues: int = 1, *, clock: Callable[[], int] | None = None
    ) -> None:
        self.player, self._longest, self._queues, self._clock = player, longest, queues, clock
        self.offered, self.short, self.long = Flows(), 0, 0
        self.cut = 0  # frames the capture holds only the start of
        self.erroneous = 0  # frames marked as bad: the driver throws them away
        self.held_ns = 0  # the longest time a mark holds anything back
        self.fault: ConfigError | None = None  # the capture is broken from here on
        self.marked = (
            False  # there were marked frames; read, as the rest, by another thread when the device runs in one
        )
        self.finished = False  # every frame was given
        self.opened = True  # False: nothing is given yet
        self._stopped = False

    def stop(self) -> None:
        """Give nothing more. From any thread."""
        self._stopped = True

    def take(self, limit: int, now_ns: int) -> list[bytes]:
        """Frames due now, those a NIC cannot carry left out and counted."""
        if not self.opened:
            return []
        if self.finished or self._stopped:
            self.finished = True
            return []
        try:
            taken = self.player.take(limit, now_ns)
        except ConfigError as error:  # a port does not raise: whoever runs the replay does, in the end
            self.fault, self.finished = error, True
            return []
        if self._clock is not None:
            self.player.handed_over(self._clock())
        frames = self._look(taken) if taken else []
        self.finished = self.player.finished
        return frames

    def _look(self, taken: list[Captured]) -> list[bytes]:
        frames = [item[1] for item in taken]
        lengths = array("I", map(len, frames))
        self.cut += sum(map(gt, map(_WIRE, taken), lengths))
        if self.player.marked:
            self._expect(frames)
        else:
            self.offered.add(0, frames, lengths)
        if min(lengths) >= ETH_HEADER and max(lengths) <= self._longest:
            return frames
        fit = [frame for frame in frames if ETH_HEADER <= len(frame) <= self._limit(frame)]
        self.short += sum(length < ETH_HEADER for length in lengths)
        self.long += len(frames) - len(fit) - sum(length < ETH_HEADER for length in lengths)
        return fit

    def _limit(self, frame: bytes) -> int:
        """A merged packet may be longer than the MTU."""
        return 65549 if isinstance(frame, Shaped) and frame.shape.lro is not None else self._longest

    def _expect(self, frames: list[bytes]) -> None:
        """Note what is to arrive where."""
        self.marked = True
        by_queue: dict[int, list[bytes]] = {}
        for frame in frames:
            queue = 0
            if isinstance(frame, Shaped):
                shape = frame.shape
                queue = (shape.queue or 0) % self._queues
                self.held_ns = max(self.held_ns, shape.hold_ns + shape.delay_ns)
                if shape.last.set[2] & RCD_ERR and ETH_HEADER <= len(frame) <= self._limit(frame):
                    self.erroneous += 1
                    continue
                if shape.length is not None:
                    frame = frame[: shape.length]
            by_queue.setdefault(queue, []).append(frame)
        for queue, wanted in by_queue.items():
            self.offered.add(queue, wanted)

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        return self.take(limit, now_ns)

    def deadline(self) -> int | None:
        if self.finished or not self.opened:
            return None
        return 0 if self._stopped else self.player.due()
