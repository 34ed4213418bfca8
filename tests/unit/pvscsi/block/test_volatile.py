"""Power cuts: what was durable is whole, what was not is anything that writes in any order could leave."""

import random
from collections import Counter
from pathlib import Path

import pytest

from pvscsi.block.backend import Fault, Io, Op
from pvscsi.block.faulty import FaultyDisk, Plan
from pvscsi.block.file import FileDisk
from pvscsi.block.medium import Medium
from pvscsi.block.mem import MemDisk
from pvscsi.block.slow import SlowDisk
from pvscsi.block.volatile import Cut, VolatileDisk
from tests.unit.pvscsi.block.rig import do, flush, noise, read, read_io, write, write_io

SIZE = 1 << 20
SECTOR = 512


class Never(random.Random):
    """Every write that is not durable is lost."""

    def choice(self, seq):  # type: ignore[no-untyped-def]
        return "drop"


@pytest.fixture(params=["mem", "slow", "file"])
def inner(request: pytest.FixtureRequest, tmp_path: Path) -> Medium:
    if request.param == "file":
        return FileDisk(str(tmp_path / "image"), size=SIZE, create=True)
    mem = MemDisk("mem", SIZE)
    return mem if request.param == "mem" else SlowDisk(mem, dict.fromkeys(Op, 1000), jitter=5000)


def test_a_write_is_not_on_the_medium_before_a_flush(inner: Medium) -> None:
    with VolatileDisk(inner) as disk:
        write(disk, 100, b"abc")
        before = read(inner, 100, 3)
        flush(disk)

        assert (before, read(inner, 100, 3)) == (b"\0\0\0", b"abc")
        assert disk.pending == 0


def test_a_cut_takes_what_was_not_flushed(inner: Medium) -> None:
    with VolatileDisk(inner) as disk:
        write(disk, 0, b"durable")
        flush(disk)
        write(disk, 2, b"xxx")
        do(disk, Io(Op.ZERO, 5, 100))

        assert disk.cut(Never()) == Cut(0, 2, 0)
        assert read(disk, 0, 10) == b"durable\0\0\0"
        assert disk.pending == 0


def test_fua_makes_one_write_durable_and_no_other(inner: Medium) -> None:
    with VolatileDisk(inner) as disk:
        write(disk, 0, b"a" * 4096)
        write(disk, 1024, b"b" * 512, fua=True)
        write(disk, 1100, b"c" * 10)
        assert read(disk, 1020, 100) == b"aaaa" + b"b" * 76 + b"c" * 10 + b"b" * 10

        disk.cut(Never())

        assert read(disk, 0, 4096) == bytes(1024) + b"b" * 512 + bytes(2560)


@pytest.mark.parametrize("seed", range(40))
def test_what_a_fua_write_replaced_never_comes_back(seed: int) -> None:
    disk = VolatileDisk(MemDisk("mem", SIZE), seed=seed if seed % 2 else None)
    write(disk, 0, b"a" * 4096)
    write(disk, 512, b"b" * 1024, fua=True)

    disk.cut(random.Random(seed))

    assert read(disk, 512, 1024) == b"b" * 1024


def test_a_cut_keeps_drops_and_tears_by_sectors() -> None:
    fates: Counter[str] = Counter()
    torn: list[tuple[bool, ...]] = []
    for seed in range(300):
        disk = VolatileDisk(MemDisk("mem", SIZE))
        write(disk, 4096, b"n" * 8 * SECTOR)
        cut = disk.cut(random.Random(seed))
        parts = [read(disk, 4096 + i * SECTOR, SECTOR) for i in range(8)]
        assert all(part in (b"n" * SECTOR, bytes(SECTOR)) for part in parts)
        there = tuple(part[0] != 0 for part in parts)
        fates[f"{cut.kept}{cut.dropped}{cut.torn}"] += 1
        if cut.kept:
            assert all(there)
        elif cut.dropped:
            assert not any(there)
        else:
            torn.append(there)

    assert set(fates) == {"100", "010", "001"}
    assert all(60 < count < 140 for count in fates.values())
    assert all(len(torn) * 0.3 < sum(each[i] for each in torn) < len(torn) * 0.7 for i in range(8))


def test_the_same_seed_makes_the_same_cut() -> None:
    def image(seed: int) -> bytes:
        disk = VolatileDisk(MemDisk("mem", SIZE))
        for i in range(50):
            write(disk, i * 1000, noise(3000, i))
        disk.cut(random.Random(seed))
        return read(disk, 0, 60_000)

    assert image(1) == image(1)
    assert image(1) != image(2)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("early", [False, True])
def test_after_a_cut_each_sector_is_its_durable_version_or_a_later_one(seed: int, early: bool) -> None:
    """Numbered sectors, random writes, FUA, flushes and cancels over a slow medium, then a cut at some moment."""
    rng = random.Random(seed)
    count = 64
    medium = MemDisk("mem", count * SECTOR)
    disk = VolatileDisk(
        SlowDisk(medium, dict.fromkeys(Op, 50), jitter=200, seed=seed), room=40_000, seed=seed if early else None
    )
    durable, latest = [0] * count, [0] * count
    number, now = 0, 0
    flying: dict[Io, list[int]] = {}
    for _ in range(rng.randrange(20, 300)):
        now += rng.randrange(100)
        kind = rng.random()
        if kind < 0.7:
            number += 1
            first = rng.randrange(count)
            last = min(first + rng.randrange(1, 9), count)
            io = write_io(first * SECTOR, number.to_bytes(4, "big") * 128 * (last - first), fua=rng.random() < 0.2)
            latest[first:last] = [number] * (last - first)
            promised = list(durable)
            promised[first:last] = [number] * (last - first)
            if io.fua:
                flying[io] = [number if first <= i < last else 0 for i in range(count)]
            disk.submit([io])
        elif kind < 0.8:
            io = Io(Op.FLUSH)
            flying[io] = list(latest)
            disk.submit([io])
        for io in [io for io in (*flying, *disk.reap(now)) if io.done]:
            if io in flying:
                durable = [max(pair) for pair in zip(durable, flying.pop(io), strict=True)]

    disk.cut(rng)

    for i in range(count):
        found = read(medium, i * SECTOR, SECTOR)
        assert found == found[:4] * 128
        assert durable[i] <= int.from_bytes(found[:4], "big") <= latest[i]


def test_reads_see_the_cache_while_a_flush_is_on_its_way() -> None:
    disk = VolatileDisk(SlowDisk(MemDisk("mem", SIZE), {Op.WRITE: 100, Op.FLUSH: 100, Op.READ: 10}))
    write(disk, 0, b"old")
    waiting = Io(Op.FLUSH)
    disk.submit([waiting])
    disk.reap(0)
    write(disk, 1, b"N")
    io, memory = read_io(0, 3)
    disk.submit([io])
    disk.reap(1)
    disk.reap(200)
    disk.reap(201)
    disk.reap(400)

    assert waiting.done
    assert bytes(memory) == b"oNd"
    disk.cut(Never())
    assert read(disk, 0, 3) == b"old"


def test_a_full_cache_empties_itself() -> None:
    disk = VolatileDisk(MemDisk("mem", SIZE), room=10_000)
    for i in range(20):
        write(disk, i * 1000, b"x" * 1000)

    assert disk.pending < 12
    disk.cut(Never())
    assert read(disk, 0, 9000) == b"x" * 9000


def test_a_full_cache_empties_itself_however_much_is_on_its_way() -> None:
    disk = VolatileDisk(SlowDisk(MemDisk("mem", SIZE), dict.fromkeys(Op, 100)), room=10_000, seed=1)
    most = 0
    for i in range(400):
        disk.submit([write_io(i * 1000, b"x" * 1000)])
        disk.reap(i * 200)
        most = max(most, disk.pending)

    assert most < 40


def test_a_flush_that_fails_leaves_all_at_risk() -> None:
    disk = VolatileDisk(FaultyDisk(MemDisk("mem", SIZE), Plan(flush=2)))
    write(disk, 0, b"a")
    flush(disk)
    write(disk, 0, b"b")

    assert do(disk, Io(Op.FLUSH)).fault is Fault.WRITE
    assert disk.pending == 1
    assert read(disk, 0, 1) == b"b"


def test_a_write_that_fails_fails_the_flush_and_the_fua() -> None:
    disk = VolatileDisk(FaultyDisk(MemDisk("mem", SIZE), Plan(bad_write=[(512, 1)], fault=Fault.FULL)))

    assert do(disk, write_io(512, b"x", fua=True)).fault is Fault.FULL
    assert do(disk, Io(Op.FLUSH)).fault is Fault.FULL


def test_nobody_is_answered_after_a_cut() -> None:
    disk = VolatileDisk(SlowDisk(MemDisk("mem", SIZE), dict.fromkeys(Op, 1000)))
    write(disk, 0, b"a")
    ios = [Io(Op.FLUSH), read_io(0, 1)[0], write_io(0, b"b", fua=True)]
    disk.submit(ios)
    disk.reap(0)

    disk.cut(random.Random(1))

    assert list(disk.reap(1 << 40)) == []
    assert [io.done for io in ios] == [False] * 3


def test_killing_the_process_is_a_cut_when_there_is_a_seed() -> None:
    medium = MemDisk("mem", SIZE)
    disk = VolatileDisk(medium, seed=3)
    for i in range(60):
        write(disk, i * 4096, b"x" * 4096)
    there = [read(medium, i * 4096, 4096).count(b"x") for i in range(60)]

    assert disk.pending == 60
    assert {0, 4096} < set(there)
    assert 5 < there.count(0) < 35
    assert 5 < there.count(4096) < 35


def test_a_discard_of_everything_is_torn_in_no_time() -> None:
    disk = VolatileDisk(MemDisk("mem", 1 << 40))
    write(disk, 0, b"x" * 100)
    flush(disk)
    for _ in range(20):
        do(disk, Io(Op.DISCARD, 0, 1 << 40))

    cut = disk.cut(random.Random(2))

    assert cut.torn > 0
    assert read(disk, 0, 100) in (b"x" * 100, bytes(100))
