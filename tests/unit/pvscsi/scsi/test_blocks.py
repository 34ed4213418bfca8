"""READ, WRITE, VERIFY and flushing, in every CDB size."""

from struct import pack

import pytest

from pvscsi.block.backend import Io, Op
from pvscsi.scsi import sense as s
from pvscsi.scsi.blocks import check_same
from pvscsi.scsi.limits import CHUNK
from pvscsi.scsi.task import Status
from tests.unit.pvscsi.scsi.rig import BLOCK, BLOCKS, Bytes, Sent, ask, disk, pattern, read10, send, write10


def six(op: int, lba: int, count: int, flags: int = 0) -> bytes:
    return pack(">IBB", op << 24 | lba, count, 0)


def ten(op: int, lba: int, count: int, flags: int = 0) -> bytes:
    return pack(">BBIxHx", op, flags, lba, count)


def twelve(op: int, lba: int, count: int, flags: int = 0) -> bytes:
    return pack(">BBIIxx", op, flags, lba, count)


def sixteen(op: int, lba: int, count: int, flags: int = 0) -> bytes:
    return pack(">BBQIxx", op, flags, lba, count)


SIZES = {6: (six, 0x08, 0x0A), 10: (ten, 0x28, 0x2A), 12: (twelve, 0xA8, 0xAA), 16: (sixteen, 0x88, 0x8A)}
VERIFY = {10: (ten, 0x2F), 12: (twelve, 0xAF), 16: (sixteen, 0x8F)}
WRITE_VERIFY = {10: (ten, 0x2E), 12: (twelve, 0xAE), 16: (sixteen, 0x8E)}


@pytest.mark.parametrize("block", [512, 4096])
@pytest.mark.parametrize("size", SIZES)
def test_PVS_V_119_what_is_written_is_read(size: int, block: int) -> None:
    """READ and WRITE of every size move the right blocks: the first, some in the middle, the last."""
    make, read, write = SIZES[size]
    backend = Bytes(BLOCKS * block)
    unit = disk(backend, block=block)
    for seed, (lba, count) in enumerate([(0, 1), (BLOCKS // 2, 7), (BLOCKS - 1, 1)], 1):
        data = pattern(seed, count, block)
        assert send(unit, make(write, lba, count), data).code == Status.GOOD

        assert ask(unit, make(read, lba, count), count * block) == data
        assert bytes(backend.data[lba * block :][: count * block]) == data


def test_PVS_V_119_six_bytes_with_length_0_mean_256() -> None:
    """READ(6) and WRITE(6) of 0 blocks move 256."""
    unit = disk()
    data = pattern(1, 256)

    assert send(unit, six(0x0A, 4, 0), data).moved == 256 * BLOCK
    assert ask(unit, six(0x08, 4, 0), 256 * BLOCK) == data


@pytest.mark.parametrize(
    ("lba", "count", "bad"), [(BLOCKS, 1, BLOCKS), (BLOCKS - 1, 2, BLOCKS), (0x1F_FFFF, 1, 0x1F_FFFF)]
)
@pytest.mark.parametrize("size", SIZES)
def test_PVS_V_120_past_the_end(size: int, lba: int, count: int, bad: int) -> None:
    """A range past the end is 05/21/00 with the first LBA that is not there; nothing moves."""
    make, read, write = SIZES[size]
    backend = Bytes()
    unit = disk(backend)
    tasks = [
        send(unit, make(read, lba, count), room=count * BLOCK),
        send(unit, make(write, lba, count), b"x" * count * BLOCK),
    ]

    assert [(task.code, task.information, task.moved) for task in tasks] == [(s.LBA_OUT_OF_RANGE, bad, 0)] * 2
    assert backend.seen == []


@pytest.mark.parametrize("size", [10, 12, 16])
def test_PVS_V_121_length_0(size: int) -> None:
    """0 blocks: GOOD within the capacity, 05/21/00 at its end and beyond."""
    make, read, write = SIZES[size]
    unit = disk()
    for op in (read, write):
        codes = [send(unit, make(op, lba, 0), room=BLOCK).code for lba in (0, BLOCKS - 1, BLOCKS, BLOCKS + 1)]
        assert codes == [Status.GOOD, Status.GOOD, s.LBA_OUT_OF_RANGE, s.LBA_OUT_OF_RANGE]


@pytest.mark.parametrize("protect", range(1, 8))
@pytest.mark.parametrize("size", [10, 12, 16])
def test_PVS_V_122_protection_is_not_offered(size: int, protect: int) -> None:
    """RDPROTECT, WRPROTECT and VRPROTECT have to be 0."""
    unit = disk()
    read_write = SIZES[size]
    verify, written = VERIFY[size], WRITE_VERIFY[size]
    for make, op in (read_write[:2], read_write[::2], verify, written):
        task = send(unit, make(op, 0, 1, protect << 5), bytes(BLOCK))
        assert (task.code, task.sense[15:18]) == (s.INVALID_FIELD_IN_CDB, b"\xcf\x00\x01")


def test_a_memory_too_small_for_a_read_gets_the_blocks_that_fit() -> None:
    backend = Bytes()
    backend.data[:] = pattern(1, BLOCKS)
    task = send(disk(backend), read10(0, 4), room=2 * BLOCK + 9)

    assert (task.short, task.status, task.answer) == (True, Status.GOOD, pattern(1, 2))


@pytest.mark.parametrize("room", [0, 1, BLOCK, 2 * BLOCK - 1])
@pytest.mark.parametrize("cdb", [write10(0, 2), ten(0x2E, 0, 2), ten(0x2F, 0, 2, 2), bytes.fromhex("0a 000000 02 00")])
def test_a_memory_too_small_for_a_write_writes_nothing(cdb: bytes, room: int) -> None:
    backend = Bytes()
    task = send(disk(backend), cdb, b"x" * room)

    assert (task.short, task.status, task.moved) == (True, Status.GOOD, 0)
    assert backend.seen == []


@pytest.mark.parametrize("cdb", ["35 00 00000000 00 0000 00", "91 00 0000000000000000 00000000 00 00"])
def test_PVS_V_128_flush_everything(cdb: str) -> None:
    """SYNCHRONIZE CACHE of LBA 0 and 0 blocks makes all that was written durable, with IMMED as without."""
    for flags in (0, 2):
        backend = Bytes()
        unit = disk(backend)
        send(unit, write10(BLOCKS - 1, 1), pattern(1, 1))
        command = bytearray.fromhex(cdb)
        command[1] = flags
        assert send(unit, bytes(command)).code == Status.GOOD

        backend.lose()

        assert ask(unit, read10(BLOCKS - 1, 1), BLOCK) == pattern(1, 1)


def test_each_flag_is_where_it_belongs() -> None:
    """FUA by the book, on a unit whose quick way is closed by an attention told just before."""
    unit = disk()
    for flags, fua in ((0x08, True), (0x10, False), (0x04, False)):
        unit.attention.tell(0, s.MODE_CHANGED)
        unit.settle()
        unit.attention.take(0)
        io = unit.execute(Sent(write10(0, 1, flags), bytes(BLOCK)))
        assert isinstance(io, Io)
        assert io.fua is fua


@pytest.mark.parametrize(("lba", "count"), [(BLOCKS, 0), (BLOCKS, 1), (0, BLOCKS + 1), (BLOCKS - 1, 2)])
@pytest.mark.parametrize("op", [0x34, 0x35, 0x90, 0x91])
def test_flush_and_prefetch_are_held_to_the_range(op: int, lba: int, count: int) -> None:
    make = ten if op < 0x80 else sixteen

    assert send(disk(), make(op, lba, count)).code == s.LBA_OUT_OF_RANGE


@pytest.mark.parametrize("op", [0x34, 0x90])
def test_prefetch_is_good_and_does_nothing(op: int) -> None:
    backend = Bytes()
    make = ten if op < 0x80 else sixteen

    codes = [send(disk(backend), make(op, 0, count, flags)).code for count in (0, 1, BLOCKS) for flags in (0, 2)]

    assert codes == [Status.GOOD] * 6
    assert backend.seen == []


@pytest.mark.parametrize("size", VERIFY)
class TestVerify:
    """VERIFY in each CDB size"""

    def test_PVS_V_131_bytchk_00_reads_the_medium(self, size: int) -> None:
        """VERIFY without data reads every block, in parts of bounded size."""
        make, op = VERIFY[size]
        backend = Bytes()

        task = send(disk(backend), make(op, 0, BLOCKS))

        assert (task.code, task.moved) == (Status.GOOD, 0)
        assert [io.length for io in backend.seen] == [CHUNK] * (BLOCKS * BLOCK // CHUNK)

    @pytest.mark.parametrize("off", [None, 0, BLOCK - 1, BLOCK, CHUNK, 2 * CHUNK - 1])
    def test_PVS_V_131_bytchk_01_compares(self, size: int, off: int | None) -> None:
        """VERIFY with data: 0E/1D/00 with the offset of the first byte that differs."""
        make, op = VERIFY[size]
        backend = Bytes()
        blocks = 2 * CHUNK // BLOCK
        backend.data[:] = pattern(1, BLOCKS)
        data = bytearray(pattern(1, blocks))
        if off is not None:
            data[off] ^= 0x80

        task = send(disk(backend), make(op, 0, blocks, 2), bytes(data))

        assert (task.code, task.information) == (Status.GOOD if off is None else s.MISCOMPARE, off)

    @pytest.mark.parametrize("off", [None, 700])
    def test_PVS_V_131_bytchk_11_compares_one_block(self, size: int, off: int | None) -> None:
        """VERIFY with one block: every block is as that."""
        make, op = VERIFY[size]
        backend = Bytes()
        backend.data[:] = pattern(1, 1) * BLOCKS
        if off is not None:
            backend.data[off] ^= 1

        task = send(disk(backend), make(op, 0, BLOCKS, 6), pattern(1, 1))

        assert (task.code, task.information) == (Status.GOOD if off is None else s.MISCOMPARE, off)

    def test_PVS_V_131_bytchk_10_is_reserved(self, size: int) -> None:
        """VERIFY: BYTCHK 10 is an invalid field."""
        make, op = VERIFY[size]

        assert send(disk(), make(op, 0, 1, 4), bytes(BLOCK)).code == s.INVALID_FIELD_IN_CDB

    @pytest.mark.parametrize("flags", [0, 2, 6])
    def test_past_the_end_and_of_nothing(self, size: int, flags: int) -> None:
        make, op = VERIFY[size]
        unit = disk()

        assert send(unit, make(op, BLOCKS, 1, flags), bytes(BLOCK)).code == s.LBA_OUT_OF_RANGE
        assert send(unit, make(op, 0, 0, flags)).code == Status.GOOD


@pytest.mark.parametrize("flags", [0, 2])
@pytest.mark.parametrize("size", WRITE_VERIFY)
def test_PVS_V_131_write_and_verify_writes_and_looks(size: int, flags: int) -> None:
    """WRITE AND VERIFY writes, makes durable and reads back."""
    make, op = WRITE_VERIFY[size]
    backend = Bytes()
    task = send(disk(backend), make(op, 5, 2, flags), pattern(1, 2))

    backend.lose()

    assert (task.code, task.moved, backend.ops()) == (Status.GOOD, 2 * BLOCK, [Op.WRITE, Op.READ])
    assert bytes(backend.data[5 * BLOCK : 7 * BLOCK]) == pattern(1, 2)


@pytest.mark.parametrize("differ", [{0}, {6}, {3, 4}, {0, 6}, {2, 3, 5, 6}])
def test_of_many_differences_the_first_is_told(differ: set[int]) -> None:
    found = bytearray(7)
    for at in differ:
        found[at] = 1

    with pytest.raises(s.Check) as check:
        check_same(bytes(7), memoryview(found), 100)

    assert (check.value.sense, check.value.information) == (s.MISCOMPARE, 100 + min(differ))


def test_PVS_V_131_write_and_verify_sees_a_medium_that_lies() -> None:
    """WRITE AND VERIFY with BYTCHK 01 finds that the medium kept something else."""

    class Lying(Bytes):
        def _move(self, io: object, moved: int) -> None:
            super()._move(io, moved)  # type: ignore[arg-type]
            self.data[BLOCK + 3] = 0xEE

    compared = send(disk(Lying()), ten(0x2E, 0, 2, 2), bytes(2 * BLOCK))
    only_read = send(disk(Lying()), ten(0x2E, 0, 2), bytes(2 * BLOCK))

    assert (compared.code, compared.information) == (s.MISCOMPARE, BLOCK + 3)
    assert only_read.code == Status.GOOD


@pytest.mark.parametrize("flags", [4, 6])
def test_write_and_verify_knows_no_other_bytchk(flags: int) -> None:
    assert send(disk(), ten(0x2E, 0, 1, flags), bytes(BLOCK)).code == s.INVALID_FIELD_IN_CDB
