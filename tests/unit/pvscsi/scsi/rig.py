"""A medium of bytes, and an initiator that sends one command and looks at all that comes back."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from struct import pack

from pvscsi.block.backend import Fault, Io, Op, Transfer
from pvscsi.scsi import sense as s
from pvscsi.scsi.cdrom import Cdrom
from pvscsi.scsi.disk import Disk
from pvscsi.scsi.identity import Identity
from pvscsi.scsi.task import Status, Task, Unit, Work

BLOCK = 512
BLOCKS = 2048


class Bytes:
    """A backend that does everything at once. `volatile`: writes a power cut would lose; `lose` is the cut.

    `fails`: which `Io` fail, how, and after how many bytes.
    """

    def __init__(self, size: int = BLOCKS * BLOCK, *, read_only: bool = False, zeroes: bool = True) -> None:
        self.size, self.read_only, self.zeroes = size, read_only, zeroes
        self.rotational, self.fault = False, None
        self.data = bytearray(min(size, 64 << 20))
        self.safe = bytes(self.data)
        self.holes: set[int] = set(range(len(self.data) // BLOCK))
        self.seen: list[Io] = []
        self.fails: Callable[[Io], tuple[int, Fault] | None] = lambda io: None

    def resize(self, size: int) -> None:
        self.size = size
        self.data = self.data[:size].ljust(size, b"\0")

    def lose(self) -> None:
        self.data[:] = self.safe

    def ops(self) -> list[Op]:
        return [io.op for io in self.seen]

    def submit(self, ios: Sequence[Io]) -> None:
        for io in ios:
            assert not io.done
            assert io.op is Op.FLUSH or (io.length > 0 and io.offset >= 0 and io.offset + io.length <= self.size)
            if io.op in (Op.READ, Op.WRITE):
                assert sum(map(len, io.buffers)) == io.length
            self.seen.append(io)
            failed = self.fails(io)
            moved = io.length if failed is None else failed[0]
            self._move(io, moved)
            io.finish(moved, None if failed is None else failed[1])

    def at_once(self, op: Op, length: int, transfers: Sequence[Transfer]) -> int:
        return 0

    def _move(self, io: Io, moved: int) -> None:
        start, end = io.offset, io.offset + moved
        if io.op is Op.READ:
            at = start
            for buffer in io.buffers:
                step = min(len(buffer), end - at)
                buffer[:step] = self.data[at : at + step]
                at += step
        elif io.op is Op.WRITE:
            self.data[start:end] = b"".join(io.buffers)[:moved]
            self.holes -= set(range(start // BLOCK, -(-end // BLOCK)))
        elif io.op is not Op.FLUSH:
            self.data[start:end] = bytes(moved) if self.zeroes or io.op is Op.ZERO else b"\xde" * moved
            self.holes |= set(range(start // BLOCK, end // BLOCK))
        if io.op is Op.FLUSH:
            self.safe = bytes(self.data)
        elif io.fua:
            self.safe = self.safe[:start] + bytes(self.data[start:end]) + self.safe[end:]

    def reap(self, now_ns: int) -> Sequence[Io]:
        return ()

    def cancel(self, ios: Sequence[Io]) -> None: ...

    def allocated(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        return [(BLOCK, at // BLOCK not in self.holes) for at in range(offset, offset + length, BLOCK)]

    def fileno(self) -> int:
        return -1

    def deadline(self) -> int | None:
        return None

    def close(self) -> None: ...


def pieces_of(memory: bytearray, cuts: Iterable[int] = ()) -> list[memoryview]:
    """`memory` cut at these bytes."""
    edges = [0, *sorted(cuts), len(memory)]
    return [memoryview(memory)[a:b] for a, b in pairwise(edges)]


class Sent(Task):
    """A task and the memory it was sent with."""

    __slots__ = ("memory",)

    def __init__(self, cdb: bytes, data: bytes = b"", room: int = 0, *, nexus: int = 0) -> None:
        self.memory = bytearray(data) if data else bytearray(room)
        super().__init__(cdb, pieces_of(self.memory), len(self.memory), nexus=nexus)

    @property
    def answer(self) -> bytes:
        """What was moved of the memory."""
        return bytes(self.memory[: self.moved])

    @property
    def code(self) -> s.Sense | Status:
        """The sense with CHECK CONDITION, else the status."""
        return s.parse(self.sense).sense if self.status is Status.CHECK_CONDITION else self.status

    @property
    def information(self) -> int | None:
        return s.parse(self.sense).information


def begin(unit: Unit, task: Task) -> Work | Io | None:
    return unit.execute(task)


def run(unit: Unit, task: Task) -> None:
    """All of a command, with a backend that does everything at once."""
    step = unit.execute(task)
    if isinstance(step, Io):
        assert unit.backend is not None
        unit.backend.submit([step])
        unit.finish(task, step)
    elif step is not None:
        for ios in step:
            assert ios, "nothing else is under way that could be waited for"
            if unit.backend is None:
                for io in ios:
                    io.finish(0, Fault.GONE)
            else:
                unit.backend.submit(ios)


def send(unit: Unit, cdb: str | bytes, data: bytes = b"", *, room: int = 0, nexus: int = 0) -> Sent:
    """Send one command (as hex, or bytes) with data, or with room for an answer."""
    task = Sent(bytes.fromhex(cdb) if isinstance(cdb, str) else cdb, data, room, nexus=nexus)
    run(unit, task)
    return task


def ask(unit: Unit, cdb: str | bytes, room: int = 4096, *, nexus: int = 0) -> bytes:
    """The answer to a command that has to be GOOD."""
    task = send(unit, cdb, room=room, nexus=nexus)
    assert task.status is Status.GOOD, task.code
    return task.answer


def disk(backend: Bytes | None = None, *, calm: bool = True, **facts: object) -> Disk:
    """A disk; `calm`: the power-on attention is already told."""
    made = Disk(backend or Bytes(), Identity.of("disk"), **facts)  # type: ignore[arg-type]
    if calm:
        soothe(made)
    return made


def cdrom(backend: Bytes | None, *, calm: bool = True) -> Cdrom:
    made = Cdrom(backend, Identity.of("cd", product="Virtual CD-ROM"))
    if calm:
        soothe(made)
    return made


def soothe(unit: Unit, nexus: int = 0) -> None:
    """Ask until there is no attention left."""
    while send(unit, TUR, nexus=nexus).code in _ATTENTIONS:
        pass


TUR = "00 00 00 00 00 00"
_ATTENTIONS = {value for value in vars(s).values() if isinstance(value, s.Sense) and value.key == 6}


def read10(lba: int, count: int, flags: int = 0) -> bytes:
    return pack(">BBIxHx", 0x28, flags, lba, count)


def write10(lba: int, count: int, flags: int = 0) -> bytes:
    return pack(">BBIxHx", 0x2A, flags, lba, count)


def read16(lba: int, count: int, flags: int = 0) -> bytes:
    return pack(">BBQIxx", 0x88, flags, lba, count)


def write16(lba: int, count: int, flags: int = 0) -> bytes:
    return pack(">BBQIxx", 0x8A, flags, lba, count)


def write_same16(lba: int, count: int, flags: int = 0) -> bytes:
    return pack(">BBQIxx", 0x93, flags, lba, count)


def unmap(*ranges: tuple[int, int]) -> tuple[bytes, bytes]:
    """(CDB, parameter list)"""
    body = b"".join(pack(">QI4x", lba, count) for lba, count in ranges)
    data = pack(">HH4x", len(body) + 6, len(body)) + body
    return pack(">B6xHx", 0x42, len(data)), data


def compare_and_write(lba: int, count: int, flags: int = 0) -> bytes:
    return pack(">BBQ3xBxx", 0x89, flags, lba, count)


def reserve_out(action: int, key: int = 0, new: int = 0, kind: int = 0, flags: int = 0) -> tuple[bytes, bytes]:
    """(CDB, parameter list) of PERSISTENT RESERVE OUT"""
    return pack(">BBBxxIx", 0x5F, action, kind, 24), pack(">QQ4xB3x", key, new, flags)


def pattern(seed: int, blocks: int, block: int = BLOCK) -> bytes:
    """Blocks that all differ."""
    return b"".join(pack(">II", seed, i) * (block // 8) for i in range(blocks))
