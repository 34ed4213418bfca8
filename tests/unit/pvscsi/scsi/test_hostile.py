"""What a hostile initiator sends, by the number of the case: an answer, bounded work, and the next command runs."""

from struct import pack
from tracemalloc import get_traced_memory, start, stop

import pytest

from pvscsi.block.backend import Op
from pvscsi.scsi import sense as s
from pvscsi.scsi.limits import CHUNK
from pvscsi.scsi.task import Direction, Status, Task
from tests.unit.pvscsi.scsi.rig import (
    BLOCK,
    BLOCKS,
    TUR,
    Bytes,
    Sent,
    ask,
    cdrom,
    disk,
    pattern,
    read10,
    read16,
    reserve_out,
    run,
    send,
    unmap,
    write10,
    write16,
    write_same16,
)


@pytest.mark.parametrize("room", [BLOCK, 1 << 20])
def test_hostile_23_a_memory_of_another_size_moves_what_the_cdb_says(room: int) -> None:
    backend = Bytes()
    unit = disk(backend)
    written = send(unit, write10(0, 1), b"\x55" * room)
    read = send(unit, read10(0, 1), room=room)

    assert (written.moved, read.moved) == (BLOCK, BLOCK)
    assert backend.data[BLOCK : 2 * BLOCK] == bytes(BLOCK)
    assert bytes(read.memory[BLOCK:]) == bytes(room - BLOCK)


@pytest.mark.parametrize("cdb", [read10(0, 1), write10(0, 1), write16(0, 1)])
def test_hostile_23_no_memory_at_all(cdb: bytes) -> None:
    task = send(disk(), cdb)

    assert (task.short, task.status, task.moved) == (True, Status.GOOD, 0)


@pytest.mark.parametrize("room", [1 << 32, (1 << 64) - 1])
@pytest.mark.parametrize("cdb", [read10(0, 1), write10(0, 1), bytes.fromhex("12 00 00 ffff 00")])
def test_hostile_23_a_room_beyond_all_memory_costs_nothing(cdb: bytes, room: int) -> None:
    memory = bytearray(4096)
    task = Task(cdb, [memoryview(memory)], room)

    run(disk(), task)

    assert (task.status, task.moved) == (Status.GOOD, 96 if cdb[0] == 0x12 else BLOCK)


@pytest.mark.parametrize(
    "cdb",
    [
        read16(0, 0xFFFF_FFFF),
        write16(0, 0xFFFF_FFFF),
        bytes.fromhex("8f 02") + pack(">QIxx", 0, 0xFFFF_FFFF),
        bytes.fromhex("8e 02") + pack(">QIxx", 0, 0xFFFF_FFFF),
        write_same16(0, 0xFFFF_FFFF, 0x01),
    ],
)
def test_hostile_24_counts_beyond_the_limits(cdb: bytes) -> None:
    backend = Bytes(1 << 42)

    assert send(disk(backend), cdb, bytes(BLOCK)).code == s.INVALID_FIELD_IN_CDB
    assert backend.seen == []


def test_hostile_24_a_large_verify_and_a_large_write_same_go_in_parts() -> None:
    backend = Bytes(64 << 20)
    unit = disk(backend)
    count = (64 << 20) // BLOCK
    start()
    codes = [
        send(unit, bytes.fromhex("8f 00") + pack(">QIxx", 0, count)).code,
        send(unit, write_same16(0, count), pattern(1, 1)).code,
    ]
    most = get_traced_memory()[1]
    stop()

    assert codes == [Status.GOOD] * 2
    assert {io.length for io in backend.seen} == {CHUNK}
    assert most < 16 << 20


@pytest.mark.parametrize("lba", [(1 << 64) - 1, (1 << 64) - 2, 1 << 63])
@pytest.mark.parametrize("count", [0, 1, 2, 0xFFFF])
def test_hostile_25_a_range_that_wraps_64_bits(lba: int, count: int) -> None:
    backend = Bytes()
    unit = disk(backend)
    makers = (read16, write16, write_same16)

    assert [send(unit, make(lba, count), bytes(BLOCK)).code for make in makers] == [s.LBA_OUT_OF_RANGE] * 3
    assert send(unit, *unmap((lba, count))).code == s.LBA_OUT_OF_RANGE
    assert backend.seen == []


def test_hostile_26_sense_has_its_own_size() -> None:
    assert len(send(disk(), b"\xff" * 16).sense) == 18


def test_hostile_27_fewer_bytes_than_a_write_says_change_nothing() -> None:
    backend = Bytes()
    task = send(disk(backend), write10(0, 8), b"x" * (8 * BLOCK - 1))

    assert (task.short, backend.seen) == (True, [])


def test_hostile_28_data_that_change_under_way_are_written_as_they_were_compared() -> None:
    """COMPARE AND WRITE reads its data once: what is compared is what is written."""
    backend = Bytes()
    unit = disk(backend)
    task = Sent(bytes.fromhex("89 00") + pack(">Q3xBxx", 0, 1), bytes(BLOCK) + pattern(1, 1))
    steps = unit.execute(task)
    for ios in steps:  # type: ignore[union-attr]
        task.memory[:] = b"\xee" * len(task.memory)
        backend.submit(ios)

    assert task.status is Status.GOOD
    assert bytes(backend.data[:BLOCK]) == pattern(1, 1)


@pytest.mark.parametrize("size", range(17))
@pytest.mark.parametrize("opcode", [0x00, 0x12, 0x28, 0x88, 0xA0, 0x9E, 0x5F, 0xBE])
def test_hostile_29_cdbs_of_every_length(opcode: int, size: int) -> None:
    """What is cut short is refused, never read past its end and never executed."""
    for unit in (disk(), cdrom(Bytes())):
        cdb = bytes((opcode,)).ljust(17, b"\0")[:size]
        row = unit.commands.get(opcode) or unit.commands.get(opcode, 0)
        task = send(unit, cdb, bytes(BLOCK))
        assert unit.direction(cdb) is Direction.NONE or (row is not None and size >= row.cdb_length)
        if size == 0:
            assert task.code == s.INVALID_OPCODE
        elif row is not None and size < row.cdb_length:
            assert task.code == s.INVALID_FIELD_IN_CDB


def test_hostile_29_bytes_behind_a_cdb_are_not_read() -> None:
    assert send(disk(), bytes(6) + b"\xff" * 249).code == Status.GOOD
    assert send(disk(), read10(0, 1) + b"\xff" * 245, room=BLOCK).code == Status.GOOD


@pytest.mark.parametrize("opcode", [0x7F, 0x7E, *range(0xC0, 0x100)])
def test_hostile_30_opcodes_of_vendors_and_of_no_length(opcode: int) -> None:
    cdb = bytes((opcode,)) + b"\xff" * 15

    assert [send(unit, cdb, bytes(64)).code for unit in (disk(), cdrom(Bytes()))] == [s.INVALID_OPCODE] * 2


@pytest.mark.parametrize(
    ("length", "data", "sense"),
    [
        (65535, bytes(65535), s.PARAMETER_LIST_LENGTH_ERROR),
        (65535, bytes(64), s.PARAMETER_LIST_LENGTH_ERROR),
        (24, pack(">HH", 22, 17) + bytes(20), s.PARAMETER_LIST_LENGTH_ERROR),
        (24, pack(">HH", 22, 0xFFFF) + bytes(20), s.PARAMETER_LIST_LENGTH_ERROR),
        *((n, bytes(n), s.PARAMETER_LIST_LENGTH_ERROR) for n in range(1, 8)),
        (*((len(many := unmap(*((0, BLOCKS),) * 4095)[1]), many)), s.INVALID_FIELD_IN_LIST),
        (*((len(huge := unmap((0, 0xFFFF_FFFF))[1]), huge)), s.INVALID_FIELD_IN_LIST),
    ],
    ids=str,
)
def test_hostile_45_unmap_lists(length: int, data: bytes, sense: s.Sense) -> None:
    backend = Bytes()
    if length == 65535 and len(data) == length:
        data = pack(">HH", 65533, 65528) + data[4:]

    assert send(disk(backend), pack(">B6xHx", 0x42, length), data).code == sense
    assert backend.seen == []


PAGE_8 = bytes.fromhex("0812") + bytes(18)


@pytest.mark.parametrize(
    ("data", "sense"),
    [
        (bytes(4) + b"\x08\xff" + bytes(200), s.INVALID_FIELD_IN_LIST),
        (bytes(4) + b"\x48\x00\x00\x12" + bytes(18), s.INVALID_FIELD_IN_LIST),
        (bytes(4) + b"\x3f" + PAGE_8[1:], s.INVALID_FIELD_IN_LIST),
        (bytes((0, 0, 0, 8)) + bytes(6) + b"\x01\x00" + PAGE_8, s.INVALID_FIELD_IN_LIST),
        (bytes((0, 0, 0, 0xF8)) + PAGE_8, s.PARAMETER_LIST_LENGTH_ERROR),
    ],
)
def test_hostile_46_mode_select_lists(data: bytes, sense: s.Sense) -> None:
    unit = disk()
    before = ask(unit, "1a 00 3f 00 ff 00")

    assert send(unit, bytes((0x15, 0x10, 0, 0, len(data), 0)), data).code == sense
    assert ask(unit, "1a 00 3f 00 ff 00") == before


def test_hostile_46_a_block_descriptor_of_65528_bytes() -> None:
    data = bytes(6) + b"\xff\xf8" + PAGE_8

    task = send(disk(), bytes((0x55, 0x10)) + bytes(5) + len(data).to_bytes(2, "big") + b"\0", data)

    assert task.code == s.PARAMETER_LIST_LENGTH_ERROR


@pytest.mark.parametrize(
    "cdb",
    [
        "12 00 00 ffff 00",
        "12 01 83 ffff 00",
        "5a 00 3f 00 000000 ffff 00",
        "4d 00 40 00 00 0000 ffff 00",
        "a3 0c 00 00 0000 ffffffff 00 00",
        "5e 00 0000000000 ffff 00",
        "5e 03 0000000000 ffff 00",
        "a0 00 00 000000 ffffffff 00 00",
        "9e 10 0000000000000000 ffffffff 00 00",
        "9e 12 0000000000000000 ffffffff 00 00",
    ],
)
def test_hostile_47_allocations_of_everything(cdb: str) -> None:
    """An allocation length is no reason to allocate."""
    unit = disk()
    start()
    task = send(unit, cdb, room=2000)
    most = get_traced_memory()[1]
    stop()

    assert task.status is Status.GOOD
    assert task.moved <= 2000
    assert most < 1 << 20


def test_hostile_47_a_reserve_list_of_4_gib() -> None:
    cdb, data = reserve_out(0, new=1)

    assert send(disk(), cdb[:5] + b"\xff" * 4 + b"\0", data).code == s.PARAMETER_LIST_LENGTH_ERROR


def test_after_all_of_it_the_unit_works() -> None:
    backend = Bytes()
    unit = disk(backend)
    for opcode in range(256):
        send(unit, bytes((opcode,)) + b"\xff" * 15, b"\xff" * 4096)
    unit.reset()
    send(unit, TUR)

    send(unit, write10(0, 1), pattern(1, 1))

    assert ask(unit, read10(0, 1), BLOCK) == pattern(1, 1)
    assert Op.WRITE in backend.ops()
