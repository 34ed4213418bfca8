"""How a command goes from its CDB to a status: what can stop it, in which order; the quick way; resets."""

import pytest

from pvscsi.block.backend import Fault, Io, Op
from pvscsi.scsi import sense as s
from pvscsi.scsi.task import Direction, Status
from tests.unit.pvscsi.scsi.rig import (
    BLOCK,
    BLOCKS,
    TUR,
    Bytes,
    Sent,
    ask,
    cdrom,
    compare_and_write,
    disk,
    pattern,
    read10,
    read16,
    reserve_out,
    run,
    send,
    soothe,
    unmap,
    write10,
    write16,
    write_same16,
)

REQUEST_SENSE = "03 00 0000 ff 00"
INQUIRY = "12 00 00 00 ff 00"
REPORT_LUNS = "a0 00 00 000000 00000100 00 00"
CLEAR_WCE = "000000000812" + "00" * 18


# -- attention and sense -----------------------------------------------------------------------------------------------


def test_PVS_V_114_power_on_is_told_once() -> None:
    """After power-on there is exactly one unit attention, and autosense clears it."""
    unit = disk(calm=False)

    assert [send(unit, TUR).code for _ in range(3)] == [s.POWER_ON, Status.GOOD, Status.GOOD]


def test_PVS_V_114_request_sense_clears_it_too() -> None:
    """REQUEST SENSE returns the unit attention as data, and it is told."""
    unit = disk(calm=False)

    assert s.parse(ask(unit, REQUEST_SENSE)).sense == s.POWER_ON
    assert send(unit, TUR).code == Status.GOOD


def test_PVS_V_115_some_commands_run_in_spite_of_an_attention() -> None:
    """INQUIRY, REPORT LUNS and REQUEST SENSE are not held up by a unit attention; the first two leave it pending."""
    unit = disk(calm=False)

    assert [send(unit, cdb, room=255).code for cdb in (INQUIRY, REPORT_LUNS)] == [Status.GOOD] * 2
    assert send(unit, TUR).code == s.POWER_ON


def test_an_attention_stops_even_plain_transfers() -> None:
    unit = disk()
    unit.reset()

    assert send(unit, read10(0, 1), room=BLOCK).code == s.DEVICE_RESET
    assert send(unit, read10(0, 1), room=BLOCK).code == Status.GOOD


def test_PVS_V_117_nothing_pending() -> None:
    """REQUEST SENSE returns 18 bytes of fixed data, 00/00/00 when nothing is pending."""
    assert ask(disk(), REQUEST_SENSE) == bytes.fromhex("70000000000000 0a 00000000 0000 00 000000")
    assert ask(disk(), "03 01 0000 ff 00") == bytes.fromhex("7200000000000000")


def test_sense_that_was_not_delivered_is_kept() -> None:
    unit = disk()
    task = send(unit, read10(BLOCKS, 1), room=BLOCK)
    unit.keep(task)

    assert ask(unit, REQUEST_SENSE) == task.sense
    assert s.parse(ask(unit, REQUEST_SENSE)).sense == s.NO_SENSE


def test_any_other_command_ends_what_was_kept() -> None:
    unit = disk()
    unit.keep(send(unit, read10(BLOCKS, 1), room=BLOCK))

    assert send(unit, read10(0, 1), room=BLOCK).code == Status.GOOD
    assert s.parse(ask(unit, REQUEST_SENSE)).sense == s.NO_SENSE


def test_nothing_is_kept_of_a_command_that_was_good() -> None:
    unit = disk()
    unit.keep(send(unit, TUR))

    assert s.parse(ask(unit, REQUEST_SENSE)).sense == s.NO_SENSE


def test_each_initiator_has_its_own() -> None:
    unit = disk()

    assert send(unit, TUR, nexus=5).code == s.POWER_ON
    unit.keep(send(unit, read10(BLOCKS, 1), room=BLOCK, nexus=5))
    assert s.parse(ask(unit, REQUEST_SENSE)).sense == s.NO_SENSE
    assert s.parse(ask(unit, REQUEST_SENSE, nexus=5)).sense == s.LBA_OUT_OF_RANGE


def test_PVS_V_116_ready_or_not() -> None:
    """TEST UNIT READY is GOOD when ready, says no medium, and that a stopped disk needs a start."""
    stopped = disk()
    send(stopped, "1b 00 00 00 00 00")

    assert send(disk(), TUR).code == Status.GOOD
    assert send(disk(removable=True), TUR).code == Status.GOOD
    assert send(cdrom(None), TUR).code == s.NO_MEDIUM_TRAY_CLOSED
    assert send(stopped, TUR).code == s.NOT_READY_STOPPED


def test_d_sense_turns_sense_into_descriptors() -> None:
    unit = disk()
    send(unit, "15 10 0000 10 00", bytes.fromhex("00000000 0a0a 06 10 0000 0000 0000 0000"))

    assert send(unit, read10(BLOCKS, 1), room=BLOCK).sense[0] == 0x72


# -- what stops a command, in order ------------------------------------------------------------------------------------


def test_reasons_come_in_order() -> None:
    """Opcode, reservation, attention, readiness, protection, fields, range: none before its turn."""
    backend = Bytes(read_only=True)
    unit = disk(backend, calm=False)
    soothe(unit, nexus=1)
    send(unit, *reserve_out(0, new=1), nexus=1)
    send(unit, *reserve_out(1, key=1, kind=3), nexus=1)
    send(unit, "1b 00 00 00 00 00", nexus=1)
    bad = write10(BLOCKS, 1, flags=0xE0)

    seen = [send(unit, b"\xff" + bad[1:], bytes(BLOCK)).code, send(unit, bad, bytes(BLOCK)).code]
    send(unit, *reserve_out(2, key=1, kind=3), nexus=1)
    seen += [send(unit, bad, bytes(BLOCK)).code for _ in range(2)]
    send(unit, "1b 00 00 00 01 00")
    seen.append(send(unit, bad, bytes(BLOCK)).code)
    backend.read_only = False
    seen.append(send(unit, bad, bytes(BLOCK)).code)
    seen.append(send(unit, write10(BLOCKS, 1), bytes(BLOCK)).code)

    assert seen == [
        s.INVALID_OPCODE,
        Status.RESERVATION_CONFLICT,
        s.POWER_ON,
        s.NOT_READY_STOPPED,
        s.WRITE_PROTECTED,
        s.INVALID_FIELD_IN_CDB,
        s.LBA_OUT_OF_RANGE,
    ]


WRITERS = {
    "write6": (bytes.fromhex("0a 000000 01 00"), bytes(BLOCK)),
    "write10": (write10(0, 1), bytes(BLOCK)),
    "write12": (bytes.fromhex("aa 00 00000000 00000001 00 00"), bytes(BLOCK)),
    "write16": (write16(0, 1), bytes(BLOCK)),
    "write and verify": (bytes.fromhex("2e 02 00000000 00 0001 00"), bytes(BLOCK)),
    "write same 10": (bytes.fromhex("41 00 00000000 00 0001 00"), bytes(BLOCK)),
    "write same 16": (write_same16(0, 1), bytes(BLOCK)),
    "unmap": unmap((0, 1)),
    "compare and write": (compare_and_write(0, 1), bytes(2 * BLOCK)),
    "format": (bytes.fromhex("04 00 00 0000 00"), b""),
    "beyond the end": (write10(BLOCKS, 1), bytes(BLOCK)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_PVS_V_124_a_read_only_disk_refuses_every_write(name: str) -> None:
    """A write-protected disk answers everything that writes with 07/27/00, and touches nothing."""
    backend = Bytes(read_only=True)

    assert send(disk(backend), *WRITERS[name]).code == s.WRITE_PROTECTED
    assert backend.seen == []


def test_PVS_V_124_it_says_so_and_reads() -> None:
    """A read-only disk has WP set in its mode header, and reads and flushes as ever."""
    unit = disk(Bytes(read_only=True))

    assert ask(unit, "1a 00 3f 00 04 00")[2] & 0x80
    assert send(unit, read10(0, 1), room=BLOCK).code == Status.GOOD
    assert send(unit, "35 00 00000000 00 0000 00").code == Status.GOOD


def test_software_write_protection() -> None:
    unit = disk()
    protect = bytes.fromhex("00000000 0a0a 02 10 08 00 0000 0000 0000")

    assert send(unit, "15 10 0000 10 00", protect).code == Status.GOOD
    assert ask(unit, "1a 00 3f 00 04 00")[2] & 0x80
    assert send(unit, write10(0, 1), bytes(BLOCK)).code == s.SOFTWARE_WRITE_PROTECTED
    unit.reset()
    soothe(unit)
    assert send(unit, write10(0, 1), bytes(BLOCK)).code == Status.GOOD


def test_naca_is_not_offered() -> None:
    assert send(disk(), "00 00 00 00 00 04").code == s.INVALID_FIELD_IN_CDB
    assert send(disk(), read10(0, 1)[:9] + b"\x04", room=BLOCK).code == s.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize(
    ("cdb", "pointer"),
    [
        ("00 00 00 00 00 04", "ca0005"),
        ("28 20 00000000 00 0001 00", "cf0001"),
        ("4d 01 00 00 00 0000 00ff 00", "c80001"),
        ("16 10 00 00 00 00", "cc0001"),
        ("25 00 00000001 0000 00 00", "c00002"),
        ("1b 00 00 00 02 00", "c90004"),
        ("a0 00 00 000000 0000000f 00 00", "c00006"),
        ("5a 00 0a 05 000000 00ff 00", "c00003"),
        ("93 10 0000000000000000 00000001 00 00", "cc0001"),
    ],
)
def test_sense_points_at_the_field(cdb: str, pointer: str) -> None:
    assert send(disk(), cdb, room=255).sense[15:18].hex() == pointer


# -- the quick way -----------------------------------------------------------------------------------------------------


def test_a_plain_transfer_is_one_io_over_the_initiators_own_memory() -> None:
    unit = disk()
    task = Sent(read16(3, 2), room=2 * BLOCK)

    io = unit.execute(task)

    assert isinstance(io, Io)
    assert (io.op, io.offset, io.length, io.fua) == (Op.READ, 3 * BLOCK, 2 * BLOCK, False)
    assert io.buffers is task.pieces


def test_the_rest_of_a_larger_memory_is_left_alone() -> None:
    backend = Bytes()
    backend.data[:] = b"\x11" * len(backend.data)
    task = send(disk(backend), read10(0, 1), room=4 * BLOCK)

    assert bytes(task.memory) == b"\x11" * BLOCK + bytes(3 * BLOCK)
    assert task.moved == BLOCK


@pytest.mark.parametrize(
    ("obstacle", "reason"),
    [
        ("reset", s.DEVICE_RESET),
        ("stop", s.NOT_READY_STOPPED),
        ("grown", s.CAPACITY_CHANGED),
        ("reservation", Status.RESERVATION_CONFLICT),
    ],
)
def test_what_closes_the_quick_way(obstacle: str, reason: object) -> None:
    backend = Bytes()
    unit = disk(backend)
    soothe(unit, nexus=1)
    if obstacle == "reset":
        unit.reset()
    elif obstacle == "stop":
        send(unit, "1b 00 00 00 00 00")
    elif obstacle == "grown":
        backend.resize(2 * backend.size)
        unit.grown()
    else:
        send(unit, *reserve_out(0, new=1), nexus=1)
        send(unit, *reserve_out(1, key=1, kind=3), nexus=1)

    assert send(unit, read10(0, 1), room=BLOCK).code == reason


@pytest.mark.parametrize(
    ("cdb", "room", "direction", "expected"),
    [
        (read10(0, 8), 4096, Direction.IN, 4096),
        (write16(0, 8), 4096, Direction.OUT, 4096),
        (bytes.fromhex("08 000000 00 00"), 0, Direction.IN, 256 * BLOCK),
        (bytes.fromhex(TUR), 0, Direction.NONE, 0),
        (bytes.fromhex("2f 00 00000000 00 0002 00"), 0, Direction.NONE, 0),
        (bytes.fromhex("2f 02 00000000 00 0002 00"), 0, Direction.OUT, 2 * BLOCK),
        (bytes.fromhex("2f 06 00000000 00 0002 00"), 0, Direction.OUT, BLOCK),
        (write_same16(0, 9, 1), 0, Direction.NONE, 0),
        (write_same16(0, 9), 0, Direction.OUT, BLOCK),
        (compare_and_write(0, 3), 0, Direction.OUT, 6 * BLOCK),
        (bytes.fromhex("12 00 00 0102 00"), 0, Direction.IN, 0x102),
        (bytes.fromhex("04 10 00 0000 00"), 0, Direction.OUT, 0),
        (bytes.fromhex("04 00 00 0000 00"), 0, Direction.NONE, 0),
        (bytes.fromhex("1d 10 00 0004 00"), 0, Direction.OUT, 4),
        (bytes.fromhex("1d 04 00 0000 00"), 0, Direction.NONE, 0),
        (b"\xff" * 16, 0, Direction.NONE, 0),
        (b"", 0, Direction.NONE, 0),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else "",
)
def test_where_data_go_and_how_many(cdb: bytes, room: int, direction: Direction, expected: int) -> None:
    unit = disk()

    assert (unit.direction(cdb), unit.expected(cdb)) == (direction, expected)


# -- the medium fails --------------------------------------------------------------------------------------------------


def fail(op: Op, moved: int, fault: Fault) -> Bytes:
    backend = Bytes()
    backend.fails = lambda io: (moved, fault) if io.op is op else None
    return backend


@pytest.mark.parametrize("cdb", [read10(8, 8), read16(8, 8), bytes.fromhex("28 08 00000008 00 0008 00")])
def test_PVS_V_139_a_bad_sector(cdb: bytes) -> None:
    """A sector that cannot be read: 03/11/00 with its LBA as INFORMATION, and the data before it."""
    backend = fail(Op.READ, 3 * BLOCK + 100, Fault.READ)
    backend.data[:] = pattern(1, BLOCKS)
    task = send(disk(backend), cdb, room=8 * BLOCK)

    assert (task.code, task.information, task.moved) == (s.UNRECOVERED_READ_ERROR, 11, 3 * BLOCK)
    assert task.answer == pattern(1, BLOCKS)[8 * BLOCK : 11 * BLOCK]


@pytest.mark.parametrize(
    ("fault", "sense", "information"),
    [
        (Fault.WRITE, s.WRITE_ERROR, 9),
        (Fault.FULL, s.SPACE_ALLOCATION_FAILED, 9),
        (Fault.READ_ONLY, s.WRITE_PROTECTED, None),
        (Fault.GONE, s.INTERNAL_TARGET_FAILURE, None),
    ],
)
def test_PVS_V_139_a_failed_write(fault: Fault, sense: s.Sense, information: int | None) -> None:
    """What the host says of a failed write, as sense; a later command works."""
    backend = fail(Op.WRITE, BLOCK, fault)
    unit = disk(backend)
    task = send(unit, write10(8, 4), bytes(4 * BLOCK))
    backend.fails = lambda io: None

    assert (task.code, task.information, task.moved) == (sense, information, BLOCK)
    assert send(unit, write10(8, 4), bytes(4 * BLOCK)).code == Status.GOOD


def test_PVS_V_139_a_failed_flush() -> None:
    """A flush that fails is a write error of no block in particular."""
    task = send(disk(fail(Op.FLUSH, 0, Fault.WRITE)), "35 00 00000000 00 0000 00")

    assert (task.code, task.information) == (s.WRITE_ERROR, None)


def test_an_lba_above_32_bits_is_told_in_descriptors_only() -> None:
    backend = Bytes(1 << 42)
    backend.fails = lambda io: (0, Fault.READ)
    unit = disk(backend)
    fixed = send(unit, read16(1 << 32, 1), room=BLOCK)
    send(unit, "15 10 0000 10 00", bytes.fromhex("00000000 0a0a 06 10 0000 0000 0000 0000"))
    described = send(unit, read16(1 << 32, 1), room=BLOCK)

    assert (fixed.code, fixed.information) == (s.UNRECOVERED_READ_ERROR, None)
    assert (described.code, described.information) == (s.UNRECOVERED_READ_ERROR, 1 << 32)


# -- from outside ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [2 * BLOCKS, BLOCKS // 2])
def test_PVS_V_140_another_size_is_told_once(blocks: int) -> None:
    """A disk that is resized under way tells 06/2A/09 once; the new capacity is there."""
    backend = Bytes()
    unit = disk(backend)
    backend.resize(blocks * BLOCK)
    unit.grown()
    unit.grown()

    assert [send(unit, TUR).code for _ in range(2)] == [s.CAPACITY_CHANGED, Status.GOOD]
    assert int.from_bytes(ask(unit, "25 00 00000000 0000 00 00")[:4], "big") == blocks - 1
    assert send(unit, read10(blocks, 1), room=BLOCK).code == s.LBA_OUT_OF_RANGE


@pytest.mark.parametrize(("bus", "sense"), [(False, s.DEVICE_RESET), (True, s.BUS_RESET)])
def test_PVS_V_142_a_reset(bus: bool, sense: s.Sense) -> None:
    """A reset clears PREVENT, pending sense and changed mode pages, keeps data, and is told once."""
    backend = Bytes()
    unit = disk(backend, removable=True)
    send(unit, write10(0, 1), pattern(3, 1))
    send(unit, "1e 00 00 00 01 00")
    send(unit, "15 10 0000 18 00", bytes.fromhex(CLEAR_WCE))
    unit.keep(send(unit, read10(BLOCKS, 1), room=BLOCK))

    unit.reset(bus=bus)

    assert s.parse(ask(unit, REQUEST_SENSE)).sense == sense
    assert send(unit, TUR).code == Status.GOOD
    assert ask(unit, "1a 08 08 00 ff 00")[6] & 4
    assert ask(unit, read10(0, 1), BLOCK) == pattern(3, 1)
    assert send(unit, "1b 00 00 00 02 00").code == Status.GOOD


def test_a_reset_starts_a_stopped_disk() -> None:
    unit = disk()
    send(unit, "1b 00 00 00 00 00")
    unit.reset()
    soothe(unit)

    assert send(unit, TUR).code == Status.GOOD


def test_a_lost_nexus_lets_go() -> None:
    unit = disk(removable=True)
    send(unit, "1e 00 00 00 01 00")
    send(unit, "16 00 00 00 00 00")

    unit.lost(0)

    assert send(unit, TUR, nexus=1).code == s.POWER_ON
    assert unit.eject()
    assert send(unit, TUR).code == s.NEXUS_LOSS


def test_work_that_is_closed_lets_go() -> None:
    unit = disk()
    work = unit.execute(Sent(compare_and_write(0, 1), bytes(2 * BLOCK)))
    assert work is not None
    assert not isinstance(work, Io)
    next(work)
    assert unit.claims

    work.close()

    assert not unit.claims
    run(unit, Sent(write10(0, 1), bytes(BLOCK)))
