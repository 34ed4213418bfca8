from pathlib import Path

import pytest

from pvscsi.block.backend import Fault, Io, Op
from pvscsi.block.faulty import SECTOR, FaultyDisk, Plan, sectors
from pvscsi.block.file import FileDisk
from pvscsi.block.mem import MemDisk
from tests.unit.pvscsi.block.rig import do, noise, read, read_io, write, write_io

SIZE = 1 << 20


def faulty(seed: int = 0, **plan: object) -> FaultyDisk:
    return FaultyDisk(MemDisk("mem", SIZE), Plan(**plan), seed=seed)  # type: ignore[arg-type]


def outcome(disk: FaultyDisk, count: int) -> list[int]:
    """The numbers, from 1, of the reads that fail."""
    return [i for i in range(1, count + 1) if do(disk, read_io(0, 8)[0]).fault]


@pytest.mark.parametrize(
    ("offset", "length", "moved"), [(0, 5000, 4096), (4096, 10, 0), (4100, 10, 0), (4607, 5, 0), (4000, 97, 96)]
)
def test_a_read_stops_at_a_bad_sector(offset: int, length: int, moved: int) -> None:
    disk = faulty(bad_read=[(4096, 512), (900_000, 1)])
    write(disk, 0, noise(SIZE, 1))
    io, memory = read_io(offset, length)

    do(disk, io)

    assert (io.fault, io.moved) == (Fault.READ, moved)
    assert memory[:moved] == noise(SIZE, 1)[offset : offset + moved]
    assert memory[moved:] == b"\xee" * (length - moved)


@pytest.mark.parametrize(("offset", "length"), [(0, 4096), (4608, 1000), (3000, 0)])
def test_a_read_beside_a_bad_sector_is_fine(offset: int, length: int) -> None:
    disk = faulty(bad_read=[(4096, 512)])

    assert read(disk, offset, length) == bytes(length)


def test_a_write_stops_at_a_bad_sector_and_what_came_before_is_there() -> None:
    disk = faulty(bad_write=[(4096, 512)])

    io = do(disk, write_io(4000, b"x" * 1000))

    assert (io.fault, io.moved) == (Fault.WRITE, 96)
    assert read(disk, 4000, 1000) == b"x" * 96 + bytes(904)
    assert do(disk, Io(Op.ZERO, 4096, 1)).fault is Fault.WRITE
    assert do(disk, Io(Op.DISCARD, 0, 4096)).fault is None


def test_every_nth_fails_and_moves_nothing() -> None:
    disk = faulty(every=3)
    assert outcome(disk, 10) == [3, 6, 9]

    disk.submit([write_io(0, b"a")])
    io = do(disk, write_io(0, b"b"))

    assert (io.fault, io.moved, disk.counted) == (Fault.WRITE, 0, 12)
    assert read(disk, 0, 1) == b"a"


def test_chance_is_the_same_for_the_same_seed() -> None:
    first = outcome(faulty(odds=0.1, seed=5), 500)

    assert first == outcome(faulty(odds=0.1, seed=5), 500)
    assert first != outcome(faulty(odds=0.1, seed=6), 500)
    assert 25 < len(first) < 80


def test_torn_writes_leave_any_subset_of_their_sectors() -> None:
    """Over 200 torn writes of 8 sectors each, each sector is there in about half of them, by itself."""
    disk = faulty(torn=1, seed=7)
    seen = []
    for _ in range(200):
        do(disk, Io(Op.ZERO, 0, 8 * SECTOR))
        io = do(disk, write_io(0, b"x" * 8 * SECTOR))
        assert (io.fault, io.moved) == (Fault.WRITE, 0)
        found = read(disk.inner, 0, 8 * SECTOR)
        parts = [found[i : i + SECTOR] for i in range(0, len(found), SECTOR)]
        assert all(part in (b"x" * SECTOR, bytes(SECTOR)) for part in parts)
        seen.append(tuple(part[0] != 0 for part in parts))

    assert all(70 < sum(each[i] for each in seen) < 130 for i in range(8))
    assert len(set(seen)) > 100


def test_a_torn_write_over_an_unhurried_medium_ends_once(tmp_path: Path) -> None:
    inner = FileDisk(str(tmp_path / "image"), size=SIZE, create=True)
    inner._memory, inner._credit = False, 1 << 60
    with FaultyDisk(inner, Plan(torn=1)) as disk:
        io = write_io(0, b"x" * 64 * SECTOR)
        do(disk, io)

        assert (io.fault, io.moved) == (Fault.WRITE, 0)
        assert list(disk.reap(0)) == []


def test_a_hung_transfer_is_never_done_and_can_be_cancelled() -> None:
    disk = faulty(hang=2)
    ios = [read_io(0, 8)[0] for _ in range(4)]
    disk.submit(ios)

    assert [io.done for io in ios] == [True, False, True, False]
    assert list(disk.reap(1 << 62)) == []
    disk.cancel(ios[1::2])
    assert [io.done for io in ios] == [True, False, True, False]


def test_flushes_fail_by_themselves() -> None:
    disk = faulty(flush=2)

    assert [do(disk, Io(Op.FLUSH)).fault for _ in range(4)] == [None, Fault.WRITE, None, Fault.WRITE]
    assert outcome(disk, 4) == []


def test_gone_is_for_good_and_says_so() -> None:
    disk = faulty(gone=3)

    assert outcome(disk, 5) == [4, 5]
    assert do(disk, Io(Op.FLUSH)).fault is Fault.GONE
    assert disk.fault is not None
    assert "gone after 3 transfers" in disk.fault


@pytest.mark.parametrize("fault", list(Fault))
def test_failures_look_as_asked(fault: Fault) -> None:
    disk = faulty(every=1, fault=fault)

    assert do(disk, read_io(0, 8)[0]).fault is fault


def test_sectors_are_cut_at_their_borders() -> None:
    assert sectors(500, 600) == [(500, 512), (512, 1024), (1024, 1100)]
    assert sectors(512, 512) == [(512, 1024)]
    assert sectors(5, 0) == []
