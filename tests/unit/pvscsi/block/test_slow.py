from pathlib import Path

import pytest

from pvscsi.block.backend import Io, Op
from pvscsi.block.file import FileDisk
from pvscsi.block.mem import MemDisk
from pvscsi.block.slow import SlowDisk
from tests.unit.pvscsi.block.rig import noise, read, read_io, write_io

SIZE = 1 << 20


def slow(jitter: int = 0, rate: int | None = None, seed: int = 0, **latency: int) -> SlowDisk:
    return SlowDisk(
        MemDisk("mem", SIZE), {Op[key.upper()]: ns for key, ns in latency.items()}, jitter=jitter, rate=rate, seed=seed
    )


def test_a_transfer_is_done_when_its_time_has_come() -> None:
    disk = slow(read=500)
    io, _ = read_io(0, 10)

    disk.submit([io])

    assert not io.done
    assert disk.deadline() == 0
    assert list(disk.reap(1000)) == []
    assert disk.deadline() == 1500
    assert list(disk.reap(1499)) == []
    assert list(disk.reap(1500)) == [io]
    assert io.done
    assert disk.deadline() is None
    assert list(disk.reap(9999)) == []


def test_each_operation_has_its_own_time() -> None:
    disk = slow(read=100, write=300)
    slow_write, quick_read, flush = write_io(0, b"x"), read_io(8, 8)[0], Io(Op.FLUSH)
    disk.submit([slow_write, quick_read, flush])

    assert list(disk.reap(0)) == [flush]
    assert list(disk.reap(100)) == [quick_read]
    assert list(disk.reap(1000)) == [slow_write]


def test_no_byte_is_on_the_medium_before_its_time() -> None:
    disk = slow(write=100)
    io = write_io(0, b"abc")
    disk.submit([io])
    disk.reap(0)
    early = read(disk.inner, 0, 3)
    disk.reap(100)

    assert (early, read(disk.inner, 0, 3)) == (b"\0\0\0", b"abc")


def test_what_is_cancelled_never_happens() -> None:
    disk = slow(write=100)
    held, fresh = write_io(0, b"abc"), write_io(0, b"def")
    disk.submit([held])
    disk.reap(0)
    disk.submit([fresh])

    disk.cancel([held, fresh])

    assert list(disk.reap(1000)) == []
    assert read(disk.inner, 0, 3) == b"\0\0\0"
    assert disk.deadline() is None


def test_a_rate_lets_bytes_pass_one_after_the_other() -> None:
    disk = slow(rate=1_000_000_000)  # a byte a ns
    ios = [read_io(0, 1000)[0], read_io(0, 500)[0]]
    disk.submit(ios)

    assert list(disk.reap(0)) == []
    assert disk.deadline() == 1000
    assert list(disk.reap(1000)) == ios[:1]
    assert disk.deadline() == 1500
    assert list(disk.reap(1500)) == ios[1:]


def test_the_same_seed_gives_the_same_jitter() -> None:
    def deadlines(seed: int) -> list[int]:
        disk, found = slow(jitter=1000, seed=seed), []
        for now in range(0, 50_000, 1000):
            disk.submit([read_io(0, 1)[0]])
            assert list(disk.reap(now)) in ([], [*disk.reap(now)])
            due = disk.deadline()
            assert due is not None
            found.append(due - now)
            disk.reap(due)
        return found

    first = deadlines(1)

    assert first == deadlines(1)
    assert first != deadlines(2)
    assert all(0 <= late < 1000 for late in first)


@pytest.mark.parametrize("latency", [0, 100])
def test_what_inner_takes_comes_on_top(tmp_path: Path, latency: int) -> None:
    inner = FileDisk(str(tmp_path / "image"), size=SIZE, create=True)
    with SlowDisk(inner, {Op.WRITE: latency}) as disk:
        io = write_io(5, noise(1000, 1), fua=True)
        disk.submit([io])
        disk.reap(0)
        disk.reap(latency)

        assert disk.deadline() is None
        assert disk.fileno() == inner.fileno()
        assert read(disk, 5, 1000)[:0] == b""
        inner.close()
        assert (tmp_path / "image").read_bytes()[5:1005] == noise(1000, 1)
