import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvscsi.block import holes
from pvscsi.block.backend import Io, Op
from pvscsi.block.file import FileDisk
from tests.unit.pvscsi.block.rig import do, flush, missing, noise, read, write

SIZE = 4 << 20


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    """A loop device of SIZE bytes."""
    image = tmp_path / "image"
    image.write_bytes(noise(SIZE, 1))
    if os.geteuid() or shutil.which("losetup") is None:
        missing("loop devices need root and losetup")
    made = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=False)
    if made.returncode:
        missing(f"there is no loop device: {made.stderr.strip()}")
    device = made.stdout.strip()
    yield device
    subprocess.run(["losetup", "-d", device], check=True)


def test_a_block_device_is_a_disk(loop: str) -> None:
    with FileDisk(loop) as disk:
        assert (disk.size, disk.fault) == (SIZE, None)
        assert read(disk, 1000, 70_000) == noise(SIZE, 1)[1000:71_000]
        write(disk, 5, noise(9000, 2), fua=True)
        flush(disk)
        assert read(disk, 0, 9005) == noise(SIZE, 1)[:5] + noise(9000, 2)
        assert list(disk.allocated(0, SIZE)) == [(SIZE, True)]


@pytest.mark.parametrize("op", [Op.DISCARD, Op.ZERO])
@pytest.mark.parametrize(("offset", "length"), [(0, SIZE), (100, 50), (100, 100_000), (4096, 8192), (511, 514)])
def test_parts_of_a_block_device_are_cleared_to_the_byte(loop: str, op: Op, offset: int, length: int) -> None:
    with FileDisk(loop) as disk:
        if not disk.zeroes:
            pytest.skip("this loop device does not zero")
        io = do(disk, Io(op, offset, length))

        assert (io.fault, io.moved) == (None, length)
        data = noise(SIZE, 1)
        assert read(disk, 0, SIZE) == data[:offset] + bytes(length) + data[offset + length :]


def test_a_block_device_without_zeroing_is_told_to_discard(loop: str) -> None:
    with FileDisk(loop) as disk:
        disk._zeroes = False

        assert do(disk, Io(Op.DISCARD, 0, SIZE)).fault is None
        assert do(disk, Io(Op.DISCARD, 3, 5)).fault is None
        assert disk.fault is None


def test_a_block_device_in_use_is_refused(loop: str) -> None:
    held = os.open(loop, os.O_RDWR | os.O_EXCL)
    try:
        with pytest.raises(ConfigError, match="mounted or in use"):
            FileDisk(loop)
        FileDisk(loop, read_only=True).close()
    finally:
        os.close(held)


def test_stretches_of_a_file_with_holes(tmp_path: Path) -> None:
    path = tmp_path / "holes"
    with path.open("wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"x" * 65536)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert holes.stretches(fd, 0, 3 << 20) == [
            (1 << 20, False),
            (65536, True),
            ((2 << 20) - 65536, False),
        ]
        assert holes.stretches(fd, (1 << 20) + 5, 10) == [(10, True)]
    finally:
        os.close(fd)


def test_stretches_without_end_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holes, "MOST_STRETCHES", 3)
    path = tmp_path / "comb"
    with path.open("wb") as file:
        for at in range(0, 1 << 20, 1 << 17):
            file.seek(at)
            file.write(b"x" * 65536)
    fd = os.open(path, os.O_RDONLY)
    try:
        found = holes.stretches(fd, 0, path.stat().st_size)
    finally:
        os.close(fd)

    assert sum(length for length, _ in found) == path.stat().st_size
    assert len(found) <= 4
    assert found[-1][1]


def test_proc_is_not_in_memory_and_unknown_devices_are_not(tmp_path: Path) -> None:
    assert not holes.in_memory(os.stat("/proc").st_dev)  # noqa: PTH116
    assert not holes.in_memory(os.makedev(4000, 4000))


def test_shared_memory_is_in_memory() -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("no /dev/shm")
    assert holes.in_memory(os.stat("/dev/shm").st_dev)  # noqa: PTH116


@pytest.mark.parametrize(("dirty", "calm"), [(10, True), (99, False), (500, False)])
def test_calm_is_below_the_background_threshold(monkeypatch: pytest.MonkeyPatch, dirty: int, calm: bool) -> None:
    text = f"nr_dirty {dirty}\nnr_writeback 1\nnr_dirty_threshold 200\nnr_dirty_background_threshold 100\n"
    monkeypatch.setattr(Path, "read_text", lambda self: text)

    assert holes.calm() is calm


def test_calm_of_a_kernel_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: "nr_dirty 1\n")

    assert holes.calm() is False
