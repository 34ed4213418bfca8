import tracemalloc

import pytest

from pvscsi.block.backend import Fault, Io, Op
from pvscsi.block.mem import CHUNK, MemDisk, NullDisk
from tests.unit.pvscsi.block.rig import do, noise, read, read_io, write, write_io

TIB = 1 << 40


def test_everything_is_done_when_submit_returns() -> None:
    disk = MemDisk("mem", 1 << 20)
    ios = [write_io(0, b"abc"), read_io(8, 8)[0], Io(Op.FLUSH), Io(Op.DISCARD, 0, 9), Io(Op.ZERO, 0, 9)]

    disk.submit(ios)

    assert all(io.done for io in ios)
    assert (list(disk.reap(0)), disk.fileno(), disk.deadline()) == ([], -1, None)


def test_a_tebibyte_takes_memory_for_what_is_written_only() -> None:
    disk = MemDisk("mem", TIB)
    tracemalloc.start()

    write(disk, TIB - 5000, noise(5000, 1))
    write(disk, 0, b"x")
    read(disk, TIB // 2, 1 << 20)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert read(disk, TIB - 5000, 5000) == noise(5000, 1)
    assert used < 4 * CHUNK


def test_discarding_a_tebibyte_gives_it_all_back() -> None:
    disk = MemDisk("mem", TIB)
    write(disk, CHUNK - 10, noise(3 * CHUNK, 2))

    assert do(disk, Io(Op.DISCARD, 0, TIB)).fault is None

    assert list(disk.allocated(0, TIB)) == [(TIB, False)]
    assert read(disk, CHUNK, 100) == bytes(100)


def test_allocated_says_which_chunks_there_are() -> None:
    disk = MemDisk("mem", 10 * CHUNK)
    write(disk, 2 * CHUNK, b"x")
    write(disk, 3 * CHUNK, b"x")
    write(disk, 7 * CHUNK, b"x")

    assert list(disk.allocated(CHUNK, 8 * CHUNK)) == [
        (CHUNK, False),
        (2 * CHUNK, True),
        (3 * CHUNK, False),
        (CHUNK, True),
        (CHUNK, False),
    ]
    assert list(disk.allocated(2 * CHUNK + 5, 10)) == [(10, True)]
    assert list(disk.allocated(0, 0)) == []


def test_discard_takes_the_last_chunk_too() -> None:
    disk = MemDisk("mem", 10 * CHUNK)
    write(disk, 9 * CHUNK, noise(CHUNK, 4))

    do(disk, Io(Op.DISCARD, 0, 10 * CHUNK))

    assert list(disk.allocated(0, 10 * CHUNK)) == [(10 * CHUNK, False)]


def test_a_disk_that_shrank_and_grew_again_has_zeros_there() -> None:
    disk = MemDisk("mem", 10_000)
    write(disk, 0, noise(10_000, 3))

    disk.resize(4_000)
    short = do(disk, read_io(3_000, 2_000)[0])
    disk.resize(20_000)

    assert (short.fault, short.moved) == (Fault.READ, 1_000)
    assert read(disk, 0, 20_000) == noise(10_000, 3)[:4_000] + bytes(16_000)


def test_null_reads_zeros_and_forgets() -> None:
    disk = NullDisk("null", TIB)
    write(disk, 100, b"x" * 1000)

    assert read(disk, 0, 3 << 20) == bytes(3 << 20)
    assert list(disk.allocated(0, TIB)) == [(TIB, False)]
    assert do(disk, read_io(TIB - 1, 2)[0]).moved == 1


@pytest.mark.parametrize("op", [Op.DISCARD, Op.ZERO, Op.FLUSH])
def test_null_does_the_rest_by_doing_nothing(op: Op) -> None:
    assert do(NullDisk("null", 4096), Io(op, 0, 10)).fault is None


@pytest.mark.parametrize("kind", [MemDisk, NullDisk])
def test_memory_does_everything_at_once_that_fits(kind: type[MemDisk | NullDisk]) -> None:
    pieces = [memoryview(bytearray(b"x" * 100)), memoryview(bytearray(b"x" * 412))]

    disk = kind("d", 4096)
    done = [disk.at_once(op, 512, [(0, pieces), (3584, pieces), (3585, pieces)]) for op in (Op.WRITE, Op.READ)]
    fixed = kind("d", 4096, read_only=True).at_once(Op.WRITE, 512, [(0, pieces)])

    assert (done, fixed) == ([2, 2], 0)
    assert b"".join(pieces) == (b"x" if kind is MemDisk else b"\0") * 512


def test_nothing_is_as_large_as_a_reader_wants() -> None:
    memory = bytearray(b"x" * (3 << 20))
    view = memoryview(memory)

    NullDisk("d", 4 << 20).at_once(Op.READ, 3 << 20, [(0, [view[:7], view[7 : 2 << 20], view[2 << 20 :]])])

    assert not any(memory)
