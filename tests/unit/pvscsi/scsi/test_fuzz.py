"""Any CDB with any data: a status, sense that can be read, and not a byte more than there is room for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvscsi.block.backend import Fault, Io, Op
from pvscsi.scsi import sense as s
from pvscsi.scsi.opcodes import cd_commands, disk_commands
from pvscsi.scsi.target import Target
from pvscsi.scsi.task import Direction, Status, Task, Unit
from tests.unit.pvscsi.scsi.rig import BLOCK, Bytes, cdrom, disk, run

ROWS = [*disk_commands(thin=True), *cd_commands()]
FENCE = b"\xa5" * 64


@st.composite
def cdbs(draw: st.DrawFn) -> bytes:
    """Noise, or a command there is with fields that are small, large or noise."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=20))
    row = draw(st.sampled_from(ROWS))
    cdb = bytearray(row.cdb_length)
    for i, used in enumerate(row.usage[:-1]):
        cdb[i] = draw(st.sampled_from((0, 0, 0, 1, 2, 8, 16, 24, 255)) | st.integers(0, 255)) & used
    cdb[0] = row.opcode
    if row.action is not None:
        cdb[1] = row.action
    return bytes(cdb)


@st.composite
def lists(draw: st.DrawFn) -> bytes:
    """Noise, zeros, or something like a parameter list."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=96))
    body = b"".join(draw(st.lists(st.sampled_from(_PARTS), max_size=6)))
    return body.ljust(draw(st.sampled_from((0, 4, 24, BLOCK, 2 * BLOCK, 4 * BLOCK))), b"\0")


_PARTS = (
    bytes(4),
    bytes(8),
    bytes(16),
    bytes.fromhex("0812040000000000000000000000000000000000"),
    bytes.fromhex("0a0a02100000000000000000"),
    bytes.fromhex("0a0a06100800000000000000"),
    bytes.fromhex("0016001000000000"),
    bytes.fromhex("00000000000000010000000200000000"),
    bytes.fromhex("000000000000000a"),
    b"\xff" * 8,
)
EVENTS = st.sampled_from(("", "", "", "reset", "bus", "eject", "load", "grown", "lost", "keep", "add"))


def faults(chance: list[Fault | None]) -> Bytes:
    """A backend whose transfers fail in this order, over and over."""
    backend = Bytes()
    count = [0]

    def fails(io: Io) -> tuple[int, Fault] | None:
        count[0] += 1
        fault = chance[count[0] % len(chance)]
        return None if fault is None or io.op is Op.FLUSH else (io.length // 2, fault)

    backend.fails = fails
    return backend


def check(task: Task, memory: bytearray, room: int, before: bytes, direction: Direction) -> None:
    assert isinstance(task.status, Status)
    assert task.moved <= room
    assert bytes(memory[room:]) == FENCE
    if direction is not Direction.IN:
        assert bytes(memory[:room]) == before
    if task.status is Status.CHECK_CONDITION:
        assert task.sense[0] & 0x7F in (0x70, 0x72)
        assert len(task.sense) == (18 if task.sense[0] & 0x7F == 0x70 else 8 + task.sense[7])
        assert s.parse(task.sense).sense != s.NO_SENSE
    else:
        assert task.sense == b""


def happen(event: str, target: Target, unit: Unit, task: Task, media: list[Bytes]) -> None:
    """Something from outside."""
    real = target.units[0]
    if event in ("reset", "bus"):
        target.reset(bus=event == "bus")
    elif event == "eject" and real.removable:
        real.eject()
    elif event == "load" and real.removable:
        real.load(media[0])
    elif event == "grown":
        media[0].resize(media[0].size * 2 if media[0].size < 1 << 22 else 1 << 20)
        real.grown()
    elif event == "lost":
        real.lost(task.nexus)
    elif event == "keep":
        unit.keep(task)
    elif event == "add" and 9 not in target.units:
        target.add(9, disk())


COMMANDS = st.lists(
    st.tuples(cdbs(), lists(), st.sampled_from((0, 0, 1)), st.sampled_from((0, 0, 0, 1)), EVENTS),
    min_size=1,
    max_size=12,
)
FAULTS = st.just([None]) | st.lists(st.sampled_from((None, None, *Fault)), min_size=1, max_size=4)


def play(target: Target, media: list[Bytes], commands: list[tuple[bytes, bytes, int, int, str]]) -> None:
    for cdb, data, nexus, lun, event in commands:
        unit = target.unit(lun)
        room = len(data)
        memory = bytearray(data + FENCE)
        pieces = [memoryview(memory)[: room // 3], memoryview(memory)[room // 3 : room]]
        task = Task(cdb, pieces, room, nexus=nexus)
        direction = unit.direction(cdb)
        assert unit.expected(cdb) >= 0
        run(unit, task)
        check(task, memory, room, data, direction)
        happen(event, target, unit, task, media)


@pytest.mark.slow
@given(COMMANDS, FAULTS, st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=400, deadline=None, derandomize=True)
def test_a_disk_answers_everything(
    commands: list[tuple[bytes, bytes, int, int, str]],
    chance: list[Fault | None],
    thin: bool,
    removable: bool,
    write_cache: bool,
) -> None:
    backend = faults(chance)
    unit = disk(backend, calm=False, thin=thin, removable=removable, write_cache=write_cache)

    play(Target({0: unit}), [backend], commands)

    assert not unit.claims
    assert not unit.claims.plain


@pytest.mark.slow
@given(COMMANDS, FAULTS, st.booleans())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_cd_drive_answers_everything(
    commands: list[tuple[bytes, bytes, int, int, str]], chance: list[Fault | None], empty: bool
) -> None:
    backend = faults(chance)
    before = bytes(backend.data[:4096])

    play(Target({0: cdrom(None if empty else backend, calm=False)}), [backend], commands)

    assert bytes(backend.data[:4096]) == before
    assert {io.op for io in backend.seen} <= {Op.READ, Op.FLUSH}
