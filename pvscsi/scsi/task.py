"""One SCSI command on its way through a logical unit, and what a logical unit is to an adapter."""

from collections.abc import Generator, Sequence
from enum import Enum, IntEnum
from typing import Any, Protocol

from pvscsi.block.backend import Backend, Io


class Status(IntEnum):
    """SAM status"""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    CONDITION_MET = 0x04
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28
    ACA_ACTIVE = 0x30
    TASK_ABORTED = 0x40


class Direction(Enum):
    """Where a command's data goes; what the CDB says, not what the initiator claims."""

    NONE = "none"
    IN = "to the initiator"
    OUT = "to the device"


def cut(pieces: Sequence[memoryview], start: int, stop: int) -> list[memoryview]:
    """Bytes `start` to `stop` of a memory in pieces, without a copy."""
    found = []
    for piece in pieces:
        if stop <= 0:
            break
        part = piece[max(start, 0) : stop]
        if len(part):
            found.append(part)
        start -= len(piece)
        stop -= len(piece)
    return found


class Task:
    """One command. `pieces` is the initiator's memory, `room` its bytes: the target fills it (IN) or takes it (OUT).

    The result: `status`; `sense` (fixed or descriptor format) with CHECK CONDITION; `moved`: data bytes that are right.
    `short`: the initiator's memory is smaller than what the CDB moves between medium and memory: nothing was moved to
    the medium, and an adapter reports its overrun. `owner` is the adapter's own. `nexus` tells initiators apart.
    """

    __slots__ = ("cdb", "moved", "nexus", "owner", "pieces", "room", "sense", "short", "status")

    def __init__(
        self, cdb: bytes, pieces: Sequence[memoryview] = (), room: int = 0, owner: Any = None, nexus: int = 0
    ) -> None:
        self.cdb, self.pieces, self.room, self.owner, self.nexus = cdb, pieces, room, owner, nexus
        self.status, self.sense, self.moved, self.short = Status.GOOD, b"", 0, False

    def give(self, data: bytes | bytearray | memoryview) -> None:
        """Answer with `data`, as much of it as there is room for."""
        at, view = 0, memoryview(data)
        for piece in cut(self.pieces, 0, min(len(view), self.room)):
            piece[:] = view[at : at + len(piece)]
            at += len(piece)
        self.moved = at

    def take(self, limit: int | None = None) -> bytes:
        """A private copy of the data the initiator sends, at most `limit` bytes of it."""
        return b"".join(cut(self.pieces, 0, self.room if limit is None else min(self.room, limit)))


Work = Generator[Sequence[Io], None, None]
"""What is left of a command: each item is done by the backend, all of it, before the next is asked for. When it ends
the task has its result. Closing it early (an abort) lets go of everything.

An empty item means: wait. Another task of this unit writes where this one wants to; ask again when any task of the unit
has ended. The first item is to be asked for at once, so that commands begin in the order they came."""


class Unit(Protocol):
    """One logical unit: a disk or a CD drive."""

    backend: Backend | None
    """None: a drive without a medium."""

    def direction(self, cdb: bytes) -> Direction:
        """Which way the data of this command goes; NONE for one it does not know."""
        ...

    def execute(self, task: Task) -> Work | Io | None:
        """Begin a command. None: the task has its result. An `Io` (the quick way of plain reads and writes): `finish`
        is to be called once the backend has done it. Work: see there."""
        ...

    def finish(self, task: Task, io: Io) -> None:
        """The one `Io` of a plain read or write is done: give the task its result."""
        ...

    def drop(self, task: Task, io: Io) -> None:
        """The one `Io` of a plain read or write was cancelled: it will not be finished."""
        ...

    def keep(self, task: Task) -> None:
        """The sense of this task could not be delivered: the next REQUEST SENSE of its initiator asks for it."""
        ...

    def expected(self, cdb: bytes) -> int:
        """How many bytes this command moves at most, by its CDB alone; 0 for one it does not know."""
        ...

    def reset(self, *, bus: bool = False) -> None:
        """A reset: mode pages as they were saved, PREVENT and pending sense gone, one unit attention. The tasks under
        way are the adapter's to end: before, by closing their Work or with `drop`."""
        ...
