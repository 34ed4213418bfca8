"""WRITE SAME, UNMAP, GET LBA STATUS and COMPARE AND WRITE."""

from struct import iter_unpack, pack, unpack_from

import pytest

from pvscsi.block.backend import Fault, Io, Op
from pvscsi.scsi import sense as s
from pvscsi.scsi.limits import CHUNK, COMPARE_BLOCKS_MAX, UNMAP_BLOCKS_MAX, UNMAP_DESCRIPTORS_MAX, WRITE_SAME_BLOCKS_MAX
from pvscsi.scsi.task import Status
from tests.unit.pvscsi.scsi.rig import (
    BLOCK,
    BLOCKS,
    Bytes,
    ask,
    compare_and_write,
    disk,
    pattern,
    send,
    unmap,
    write10,
    write_same16,
)


def write_same10(lba: int, count: int, flags: int = 0) -> bytes:
    return pack(">BBIxHx", 0x41, flags, lba, count)


def full(**facts: bool) -> Bytes:
    """No block is a zero."""
    backend = Bytes(**facts)
    backend.data[:] = b"\x77" * len(backend.data)
    backend.holes.clear()
    return backend


SAMES = [write_same10, write_same16]


@pytest.mark.parametrize("make", SAMES)
def test_PVS_V_130_one_block_over_a_range(make: type) -> None:
    """WRITE SAME puts its one block all over the range and nowhere else, in parts of bounded size."""
    backend = full()
    blocks = CHUNK // BLOCK + 3

    task = send(disk(backend), make(7, blocks), pattern(5, 1))

    assert (task.code, task.moved) == (Status.GOOD, BLOCK)
    assert bytes(backend.data[7 * BLOCK :][: blocks * BLOCK]) == pattern(5, 1) * blocks
    assert backend.data[6 * BLOCK : 7 * BLOCK] + backend.data[(7 + blocks) * BLOCK :][:BLOCK] == b"\x77" * 2 * BLOCK
    assert max(io.length for io in backend.seen) == CHUNK


@pytest.mark.parametrize("make", SAMES)
def test_PVS_V_130_length_0_goes_on_to_the_end(make: type) -> None:
    """WRITE SAME of 0 blocks writes to the end: WSNZ is 0."""
    backend = full()
    assert not ask(disk(), "12 01 b0 00 ff 00")[4] & 1

    assert send(disk(backend), make(BLOCKS - 3, 0), pattern(5, 1)).code == Status.GOOD

    assert bytes(backend.data[-4 * BLOCK :]) == b"\x77" * BLOCK + pattern(5, 1) * 3


@pytest.mark.parametrize("make", SAMES)
@pytest.mark.parametrize(("zeroes", "op"), [(True, Op.DISCARD), (False, Op.ZERO)])
def test_PVS_V_130_unmap_gives_zeros_back(make: type, zeroes: bool, op: Op) -> None:
    """WRITE SAME with UNMAP of a block of zeros: the range reads as zeros, given back where that is safe."""
    backend = full(zeroes=zeroes)

    assert send(disk(backend), make(1, 2, 0x08), bytes(BLOCK)).code == Status.GOOD

    assert (backend.ops(), backend.data[BLOCK : 3 * BLOCK]) == ([op], bytearray(2 * BLOCK))


@pytest.mark.parametrize("make", SAMES)
def test_PVS_V_130_unmap_of_other_data_writes_them(make: type) -> None:
    """WRITE SAME with UNMAP of a block that is not zeros writes it."""
    backend = full()

    send(disk(backend), make(1, 2, 0x08), pattern(5, 1))

    assert bytes(backend.data[BLOCK : 3 * BLOCK]) == pattern(5, 1) * 2


@pytest.mark.parametrize(("flags", "op"), [(0x01, Op.ZERO), (0x09, Op.DISCARD)])
def test_PVS_V_130_ndob_brings_no_data(flags: int, op: Op) -> None:
    """WRITE SAME(16) with NDOB writes zeros, without any data."""
    backend = full()

    task = send(disk(backend), write_same16(1, 2, flags))

    assert (task.code, task.moved, backend.ops()) == (Status.GOOD, 0, [op])
    assert backend.data[BLOCK : 3 * BLOCK] == bytes(2 * BLOCK)


@pytest.mark.parametrize("make", SAMES)
@pytest.mark.parametrize("flags", [0x10, 0x18, 0x20, 0xE0, 0x02, 0x04])
def test_PVS_V_130_what_is_not_offered(make: type, flags: int) -> None:
    """WRITE SAME: protection, ANCHOR and the obsolete bits are invalid fields."""
    assert send(disk(), make(0, 1, flags), bytes(BLOCK)).code == s.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize("make", SAMES)
@pytest.mark.parametrize("size", [0, BLOCK // 2, 2 * BLOCK])
def test_PVS_V_130_data_of_another_size(make: type, size: int) -> None:
    """WRITE SAME with more or less than one block of data is refused."""
    backend = full()

    assert send(disk(backend), make(0, 1), bytes(size)).code == s.INVALID_FIELD_IN_CDB
    assert backend.seen == []


def test_PVS_V_130_the_longest() -> None:
    """WRITE SAME is held to MAXIMUM WRITE SAME LENGTH, of 0 blocks too."""
    unit = disk(Bytes((WRITE_SAME_BLOCKS_MAX + 9) * BLOCK))

    codes = [send(unit, write_same16(lba, count, 1)).code for lba, count in ((0, WRITE_SAME_BLOCKS_MAX + 1), (0, 0))]

    assert codes == [s.INVALID_FIELD_IN_CDB] * 2


@pytest.mark.parametrize("make", SAMES)
@pytest.mark.parametrize(("lba", "count"), [(BLOCKS, 0), (BLOCKS, 1), (BLOCKS - 1, 2)])
def test_write_same_past_the_end(make: type, lba: int, count: int) -> None:
    assert send(disk(), make(lba, count), bytes(BLOCK)).code == s.LBA_OUT_OF_RANGE


def test_write_same_with_unmap_needs_thin_provisioning() -> None:
    assert send(disk(thin=False), write_same16(0, 1, 0x09)).code == s.INVALID_FIELD_IN_CDB
    assert send(disk(thin=False), write_same16(0, 1, 0x01)).code == Status.GOOD


# -- UNMAP -------------------------------------------------------------------------------------------------------------


def test_PVS_V_129_unmap() -> None:
    """UNMAP: the ranges read as zeros, blocks between them stay; ranges may overlap and be empty."""
    backend = full()

    task = send(disk(backend), *unmap((0, 2), (1, 3), (9, 0), (10, 1), (BLOCKS, 0)))

    assert task.code == Status.GOOD
    assert [any(backend.data[i * BLOCK :][:BLOCK]) for i in range(12)] == [False] * 4 + [True] * 6 + [False, True]


@pytest.mark.parametrize("data", [b"", bytes(8), bytes.fromhex("0006000000000000"), unmap()[1]])
def test_PVS_V_129_nothing_to_unmap_is_good(data: bytes) -> None:
    """UNMAP without descriptors, and without a list, is GOOD."""
    backend = full()

    assert send(disk(backend), pack(">B6xHx", 0x42, len(data)), data).code == Status.GOOD
    assert backend.seen == []


def test_PVS_V_129_limits() -> None:
    """UNMAP is held to the limits of VPD B0, as to blocks and as to descriptors."""
    backend = Bytes(1 << 40)
    unit = disk(backend)
    many = [(i, 1) for i in range(UNMAP_DESCRIPTORS_MAX)]

    assert send(unit, *unmap(*many)).code == Status.GOOD
    backend.seen.clear()
    assert send(unit, *unmap(*many, (0, 1))).code == s.INVALID_FIELD_IN_LIST
    assert send(unit, *unmap((0, UNMAP_BLOCKS_MAX), (0, 1))).code == s.INVALID_FIELD_IN_LIST
    assert backend.seen == []


def test_PVS_V_129_all_or_nothing() -> None:
    """UNMAP with one range past the end does none of them."""
    backend = full()
    task = send(disk(backend), *unmap((0, 1), (BLOCKS - 1, 2)))

    assert (task.code, task.information, backend.seen) == (s.LBA_OUT_OF_RANGE, BLOCKS, [])


def test_PVS_V_129_an_error_leaves_what_was_done_before() -> None:
    """UNMAP goes in order: what came before a failure is done, what comes after is not."""
    backend = full()
    backend.fails = lambda io: (0, Fault.WRITE) if io.offset == 5 * BLOCK else None

    task = send(disk(backend), *unmap((0, 1), (5, 1), (9, 1)))

    assert (task.code, task.information) == (s.WRITE_ERROR, 5)
    assert [any(backend.data[i * BLOCK :][:BLOCK]) for i in (0, 5, 9)] == [False, True, True]


def test_half_a_descriptor_is_ignored() -> None:
    backend = full()
    _, data = unmap((0, 1), (1, 1))
    data = pack(">HH", 6 + 31, 31) + data[4:-1]

    assert send(disk(backend), pack(">B6xHx", 0x42, len(data)), data).code == Status.GOOD
    assert [any(backend.data[i * BLOCK :][:BLOCK]) for i in range(2)] == [False, True]


def test_unmap_does_not_anchor() -> None:
    cdb, data = unmap((0, 1))

    assert send(disk(), cdb[:1] + b"\x01" + cdb[2:], data).code == s.INVALID_FIELD_IN_CDB


# -- GET LBA STATUS ----------------------------------------------------------------------------------------------------


def status(lba: int, alloc: int = 4096) -> bytes:
    return bytes.fromhex("9e 12") + pack(">QIxx", lba, alloc)


def stretches(data: bytes) -> list[tuple[int, int, int]]:
    assert unpack_from(">I", data)[0] == len(data) - 4
    return list(iter_unpack(">QIB3x", data[8:]))


def test_PVS_V_133_stretches_cover_what_was_asked_for() -> None:
    """GET LBA STATUS begins with the LBA asked for, its descriptors adjoin, mapped and deallocated take turns."""
    unit = disk()
    send(unit, write10(4, 2), bytes(2 * BLOCK))
    send(unit, write10(8, 1), bytes(BLOCK))

    expected = [(0, 4, 1), (4, 2, 0), (6, 2, 1), (8, 1, 0), (9, BLOCKS - 9, 1)]
    assert stretches(ask(unit, status(0))) == expected
    assert stretches(ask(unit, status(5))) == [(5, 1, 0), *expected[2:]]


@pytest.mark.parametrize(("alloc", "size"), [(0, 0), (8, 8), (23, 23), (24, 24), (39, 24), (40, 40), (4096, 88)])
def test_PVS_V_133_as_much_as_there_is_room_for(alloc: int, size: int) -> None:
    """GET LBA STATUS gives whole descriptors that fit, and clips."""
    unit = disk()
    send(unit, write10(4, 2), bytes(2 * BLOCK))
    send(unit, write10(8, 1), bytes(BLOCK))

    assert len(ask(unit, status(0, alloc))) == size


@pytest.mark.parametrize("lba", [BLOCKS, BLOCKS + 1, (1 << 64) - 1])
def test_PVS_V_133_beyond_the_end(lba: int) -> None:
    """GET LBA STATUS of an LBA that is not there: 05/21/00."""
    assert send(disk(), status(lba), room=64).code == s.LBA_OUT_OF_RANGE


def test_without_thin_provisioning_all_is_mapped() -> None:
    assert stretches(ask(disk(thin=False), status(3))) == [(3, BLOCKS - 3, 0)]


def test_a_block_partly_allocated_is_mapped() -> None:
    class Ragged(Bytes):
        def allocated(self, offset: int, length: int) -> list[tuple[int, bool]]:
            return [(700, False), (100, True), (0, False), (300, False), (2996, True), (0, True), (4096, False)]

    found = stretches(ask(disk(Ragged(8192), block=512), status(0)))

    assert found == [(0, 1, 1), (1, 7, 0), (8, 8, 1)]


# -- COMPARE AND WRITE -------------------------------------------------------------------------------------------------


def test_PVS_V_132_written_if_as_expected() -> None:
    """COMPARE AND WRITE writes the second half when the blocks are as the first."""
    backend = full()
    task = send(disk(backend), compare_and_write(3, 2), b"\x77" * 2 * BLOCK + pattern(1, 2))

    assert (task.code, task.moved) == (Status.GOOD, 4 * BLOCK)
    assert bytes(backend.data[3 * BLOCK : 5 * BLOCK]) == pattern(1, 2)


@pytest.mark.parametrize("off", [0, BLOCK + 5, 2 * BLOCK - 1])
def test_PVS_V_132_else_not(off: int) -> None:
    """COMPARE AND WRITE: 0E/1D/00 with the offset of the first difference, and nothing is written."""
    backend = full()
    backend.data[3 * BLOCK + off] = 0
    before = bytes(backend.data)

    task = send(disk(backend), compare_and_write(3, 2), b"\x77" * 2 * BLOCK + pattern(1, 2))

    assert (task.code, task.information, bytes(backend.data)) == (s.MISCOMPARE, off, before)


def test_PVS_V_132_the_longest_and_the_shortest() -> None:
    """COMPARE AND WRITE is held to its limit in VPD B0; of 0 blocks it is GOOD."""
    unit = disk(full())
    most = ask(unit, "12 01 b0 00 ff 00")[5]
    both = b"\x77" * 2 * BLOCK

    assert most == COMPARE_BLOCKS_MAX
    assert send(unit, compare_and_write(0, most), both * most).code == Status.GOOD
    assert send(unit, compare_and_write(0, most + 1), both * (most + 1)).code == s.INVALID_FIELD_IN_CDB
    assert send(unit, compare_and_write(0, 0)).code == Status.GOOD
    assert send(unit, compare_and_write(BLOCKS, 0)).code == s.LBA_OUT_OF_RANGE
    assert send(unit, compare_and_write(0, 1, 0x20), both).code == s.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize(("count", "sent"), [(0, 2), (1, 3), (1, 4)])
def test_compare_and_write_with_more_data_than_its_blocks_take(count: int, sent: int) -> None:
    """Seen in: libiscsi's CompareAndWrite, which sends 2 * 256 blocks with a count of 0 as well."""
    backend = full()
    task = send(disk(backend), compare_and_write(0, count), b"\x77" * BLOCK * sent)

    assert (task.code, backend.seen) == (s.INVALID_FIELD_IN_CDB, [])


def test_PVS_V_132_fua() -> None:
    """COMPARE AND WRITE with FUA is durable when done."""
    backend = full()
    send(disk(backend), compare_and_write(0, 1, 0x08), b"\x77" * BLOCK + pattern(1, 1))

    backend.lose()

    assert bytes(backend.data[:BLOCK]) == pattern(1, 1)


def test_compare_and_write_needs_both_halves() -> None:
    backend = full()
    task = send(disk(backend), compare_and_write(0, 2), bytes(4 * BLOCK - 1))

    assert (task.short, task.status, backend.seen) == (True, Status.GOOD, [])


def test_without_a_write_cache_blocks_given_back_are_durable() -> None:
    for cdb, data in (unmap((0, 1)), (write_same16(0, 1, 9), b"")):
        backend = full()
        assert send(disk(backend, write_cache=False), cdb, data).code == Status.GOOD
        assert [io.op for io in backend.seen] == [Op.DISCARD, Op.FLUSH]
        backend.lose()
        assert not any(backend.data[:BLOCK])


def test_an_answer_from_the_backend_in_between_is_awaited() -> None:
    """Every step is asked for only when the one before is done."""
    backend = full()
    backend.fails = lambda io: (0, Fault.READ) if io.op is Op.READ else None

    task = send(disk(backend), compare_and_write(0, 1), bytes(2 * BLOCK))

    assert (task.code, task.information, backend.ops()) == (s.UNRECOVERED_READ_ERROR, 0, [Op.READ])
    assert isinstance(backend.seen[0], Io)
