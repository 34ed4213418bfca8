import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pvdev.errors import ConfigError
from pvscsi.block import holes
from pvscsi.block.backend import Fault, Io, Op
from pvscsi.block.file import FileDisk
from tests.unit.pvscsi.block.rig import do, flush, noise, read, read_io, write, write_io

SIZE = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(noise(SIZE, 1))
    return path


@pytest.fixture
def disk(image: Path) -> Iterator[FileDisk]:
    with FileDisk(str(image)) as disk:
        yield disk


def failing(code: int, after: int = 0) -> Callable[..., int]:
    """A preadv or pwritev: `after` bytes are done, then nothing but this error."""

    def call(_fd: int, pieces: Sequence[Any], _offset: int, _flags: int = 0) -> int:
        nonlocal after
        if not after:
            raise OSError(code, os.strerror(code))
        done, after = after, 0
        return done

    return call


# Opening --------------------------------------------------------------------------------------------------------------


def test_a_file_is_made_sparse(tmp_path: Path) -> None:
    path = tmp_path / "new"

    with FileDisk(str(path), size=1 << 40, create=True) as disk:
        assert disk.size == 1 << 40
        write(disk, (1 << 40) - 4096, b"x" * 4096)

    assert path.stat().st_blocks < 4096


def test_a_file_that_is_there_keeps_what_it_has(image: Path) -> None:
    with FileDisk(str(image), size=SIZE, create=True) as disk:
        assert read(disk, 0, SIZE) == noise(SIZE, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["No such file", "create=yes"]),
        ({"create": True}, ["needs size=SIZE"]),
        ({"create": True, "size": 4096, "read_only": True}, ["needs size=SIZE"]),
    ],
)
def test_what_cannot_be_made_says_why(tmp_path: Path, options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        FileDisk(str(tmp_path / "none"), **options)

    assert all(word in str(caught.value) for word in words)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("path", "words"), [("", "no path"), (".", "Is a directory"), ("/dev/null", "neither a file nor a block device")]
)
def test_what_is_no_disk_is_refused(path: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FileDisk(path)


def test_an_empty_file_and_a_wrong_size_are_refused(image: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    with pytest.raises(ConfigError, match="truncate -s"):
        FileDisk(str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=f"has {SIZE} bytes, not 512"):
        FileDisk(str(image), size=512)


def test_two_writers_are_refused_and_two_readers_are_not(image: Path) -> None:
    with FileDisk(str(image)):
        for read_only in (False, True):
            with pytest.raises(ConfigError, match=r"another program has it open.*lock=no"):
                FileDisk(str(image), read_only=read_only)
        FileDisk(str(image), lock=False).close()
    with FileDisk(str(image), read_only=True), FileDisk(str(image), read_only=True) as second:
        assert second.read_only
        with pytest.raises(ConfigError, match="another program"):
            FileDisk(str(image))


def test_the_lock_holds_against_another_process_and_goes_with_close(image: Path) -> None:
    code = "import sys; from pvscsi.block.file import FileDisk; FileDisk(sys.argv[1]).close()"

    def other() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, str(image)], capture_output=True, text=True, check=False)

    with FileDisk(str(image)):
        locked = other()
    free = other()

    assert "another program has it open" in locked.stderr
    assert free.returncode == 0


def test_a_failed_open_leaves_no_descriptor(image: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    with pytest.raises(ConfigError):
        FileDisk(str(image), size=1)

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_read_only_disk_refuses_changes_and_flushes(image: Path) -> None:
    with FileDisk(str(image), read_only=True) as disk:
        changes = [Io(Op.DISCARD, 0, 5), Io(Op.ZERO, 0, 5), write_io(0, b"x"), write_io(0, b"x", fua=True)]

        assert [do(disk, io).fault for io in changes] == [Fault.READ_ONLY] * 4
        flush(disk)
        assert disk.fault is None
    assert image.read_bytes() == noise(SIZE, 1)


# At once, or by the crew ----------------------------------------------------------------------------------------------


def test_what_the_page_cache_has_is_read_at_once(disk: FileDisk) -> None:
    read(disk, 0, SIZE)
    if disk._now_flag is None:
        pytest.skip("this file system has no RWF_NOWAIT")
    io, memory = read_io(100, 5000)

    disk.submit([io])

    assert (io.done, io.moved) == (True, 5000)
    assert memory == noise(SIZE, 1)[100:5100]


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EOPNOTSUPP])
def test_what_would_wait_goes_to_the_crew(disk: FileDisk, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    real = os.preadv

    def preadv(fd: int, pieces: Any, offset: int, flags: int = 0) -> int:
        if flags & os.RWF_NOWAIT:
            raise OSError(code, os.strerror(code))
        return real(fd, pieces, offset)

    disk._now_flag = os.RWF_NOWAIT
    monkeypatch.setattr(os, "preadv", preadv)
    io, _ = read_io(7, 4000)
    disk.submit([io])
    at_once = io.done

    assert not at_once
    assert read(disk, 7, 4000) == noise(SIZE, 1)[7:4007]
    assert (disk._now_flag is None) == (code == errno.EOPNOTSUPP)


def test_a_read_that_the_cache_has_half_of_is_whole(disk: FileDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv

    def preadv(fd: int, pieces: Any, offset: int, flags: int = 0) -> int:
        return real(fd, [pieces[0][:1000]], offset) if flags else real(fd, pieces, offset)

    disk._now_flag = os.RWF_NOWAIT
    monkeypatch.setattr(os, "preadv", preadv)

    assert read(disk, 7, 4000) == noise(SIZE, 1)[7:4007]


@pytest.mark.parametrize(
    ("offset", "length", "calm", "fua", "at_once"),
    [
        (0, 4096, True, False, True),
        (8192, 65536, True, False, True),
        (0, 4096, False, False, False),  # the kernel has much to write
        (512, 4096, True, False, False),  # part of a page is read first
        (0, 1000, True, False, False),
        (0, 4096, True, True, False),
    ],
)
def test_which_writes_are_done_at_once(
    disk: FileDisk, monkeypatch: pytest.MonkeyPatch, offset: int, length: int, calm: bool, fua: bool, at_once: bool
) -> None:
    disk._memory = False
    monkeypatch.setattr(holes, "calm", lambda: calm)
    io = write_io(offset, noise(length, 2), fua=fua)

    disk.submit([io])

    assert io.done == at_once
    flush(disk)
    disk.reap(0)
    disk.cancel([io])
    assert read(disk, offset, length) == noise(length, 2)


def test_no_write_is_done_at_once_while_the_crew_works(disk: FileDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk._memory = False
    monkeypatch.setattr(holes, "calm", lambda: True)
    io = write_io(0, noise(4096, 3))

    disk.submit([Io(Op.FLUSH), io])
    behind = do(disk, write_io(4096, noise(4096, 3)))

    assert behind.done
    disk.submit([Io(Op.FLUSH)])
    late = write_io(8192, noise(4096, 3))
    disk.submit([late])
    assert not late.done


def test_the_kernel_is_asked_once_for_many_writes(disk: FileDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    disk._memory = False

    def calm() -> bool:
        asked.append(1)
        return True

    monkeypatch.setattr(holes, "calm", calm)

    for _ in range(100):
        write(disk, 0, bytes(4096))

    assert len(asked) == 1


# Durability -----------------------------------------------------------------------------------------------------------


def test_flush_is_fdatasync_and_fua_is_dsync(disk: FileDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real, sync = os.pwritev, os.fdatasync

    def fdatasync(fd: int) -> None:
        seen.append("fdatasync")
        sync(fd)

    def pwritev(fd: int, pieces: Any, offset: int, flags: int = 0) -> int:
        seen.append(flags)
        return real(fd, pieces, offset, flags)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr(os, "pwritev", pwritev)

    flush(disk)
    write(disk, 5, b"abc", fua=True)

    assert seen == ["fdatasync", os.RWF_DSYNC]


def test_fua_without_dsync_is_a_write_and_a_sync(disk: FileDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = os.pwritev

    def pwritev(fd: int, pieces: Any, offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(errno.EOPNOTSUPP, "no")
        seen.append("write")
        return real(fd, pieces, offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    monkeypatch.setattr(os, "fdatasync", lambda fd: seen.append("sync"))

    write(disk, 5, b"abc", fua=True)

    assert seen == ["write", "sync"]


def test_a_failed_flush_is_never_forgotten(disk: FileDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux reports lost data to one fdatasync; the next says all is well."""

    def fdatasync(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fdatasync)
        first = do(disk, Io(Op.FLUSH))

    assert (first.fault, do(disk, Io(Op.FLUSH)).fault) == (Fault.WRITE, Fault.WRITE)
    assert disk.fault == f"file {disk.name}: flush: Input/output error; look at the host's kernel log"


def test_a_failed_fua_write_fails_later_flushes(disk: FileDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", failing(errno.EIO))
        assert do(disk, write_io(0, b"x", fua=True)).fault is Fault.WRITE

    assert do(disk, Io(Op.FLUSH)).fault is Fault.WRITE


# Faults of the host ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "fault", "mend"),
    [
        (errno.ENOSPC, Fault.FULL, "make room on the host"),
        (errno.EDQUOT, Fault.FULL, "make room on the host"),
        (errno.EIO, Fault.WRITE, "kernel log"),
        (errno.EROFS, Fault.READ_ONLY, "readonly=yes"),
        (errno.ENODEV, Fault.GONE, "start again"),
        (errno.ESTALE, Fault.GONE, "start again"),
    ],
)
@pytest.mark.parametrize("moved", [0, 700])
def test_a_write_the_host_fails(
    disk: FileDisk, monkeypatch: pytest.MonkeyPatch, code: int, fault: Fault, mend: str, moved: int
) -> None:
    disk._memory = False
    monkeypatch.setattr(os, "pwritev", failing(code, moved))

    io = do(disk, write_io(100, b"a" * 1000))

    assert (io.fault, io.moved) == (fault, moved)
    assert disk.fault is not None
    assert disk.fault.startswith(f"file {disk.name}: write: {os.strerror(code)}; ")
    assert mend in disk.fault
    assert "\n" not in disk.fault


@pytest.mark.parametrize("moved", [0, 700])
def test_a_read_the_host_fails(disk: FileDisk, monkeypatch: pytest.MonkeyPatch, moved: int) -> None:
    disk._now_flag = None
    monkeypatch.setattr(os, "preadv", failing(errno.EIO, moved))

    io = do(disk, read_io(100, 1000)[0])

    assert (io.fault, io.moved) == (Fault.READ, moved)


def test_the_first_fault_is_the_one_that_is_kept(disk: FileDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk._memory = False
    for code in (errno.ENOSPC, errno.EIO):
        monkeypatch.setattr(os, "pwritev", failing(code))
        do(disk, write_io(1, b"x"))

    assert disk.fault is not None
    assert "No space left" in disk.fault


@pytest.mark.parametrize("op", [Op.DISCARD, Op.ZERO])
def test_a_clearing_the_host_fails(disk: FileDisk, monkeypatch: pytest.MonkeyPatch, op: Op) -> None:
    def fallocate(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(holes, "fallocate", fallocate)

    assert (io := do(disk, Io(op, 0, 9000))).fault is Fault.FULL
    assert io.moved == 0


def test_a_file_cut_short_underneath_fails_the_missing_part(disk: FileDisk, image: Path) -> None:
    os.truncate(image, 5000)

    io, memory = read_io(4000, 3000)
    do(disk, io)

    assert (io.fault, io.moved) == (Fault.READ, 1000)
    assert memory[:1000] == noise(SIZE, 1)[4000:5000]
    assert disk.fault is not None
    assert "the file ends before the disk does" in disk.fault


def test_a_file_really_full(tmp_path: Path) -> None:
    """/dev/full is no disk, but a limit on file size is as good: the kernel answers EFBIG."""
    code = (
        "import resource, signal, sys\n"
        "from pvscsi.block.file import FileDisk\n"
        "from pvscsi.block.backend import Io, Op\n"
        "from pvscsi.block.wait import perform\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "disk = FileDisk(sys.argv[1], size=1 << 20, create=True)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        "io = Io(Op.WRITE, 8000, 4096, [memoryview(bytes(4096))])\n"
        "perform(disk, [io])\n"
        "print(io.fault.name, io.moved, disk.fault)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "i")], capture_output=True, text=True, check=True
    ).stdout

    assert done.startswith("FULL 2000 file ")
    assert "make room on the host" in done


# Holes and size -------------------------------------------------------------------------------------------------------


def test_discard_gives_the_space_back(image: Path) -> None:
    with FileDisk(str(image)) as disk:
        if not disk.zeroes:
            pytest.skip("this file system has no holes")
        before = image.stat().st_blocks
        do(disk, Io(Op.DISCARD, 0, SIZE))
        flush(disk)

        assert image.stat().st_blocks < before // 4
        assert list(disk.allocated(0, SIZE)) == [(SIZE, False)]


@pytest.mark.parametrize("op", [Op.DISCARD, Op.ZERO])
def test_where_there_are_no_holes(image: Path, monkeypatch: pytest.MonkeyPatch, op: Op) -> None:
    def fallocate(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(holes, "fallocate", fallocate)
    with FileDisk(str(image)) as disk:
        io = do(disk, Io(op, 10, 100_000))

        assert (disk.zeroes, io.fault, io.moved, disk.fault) == (False, None, 100_000, None)
        left = bytes(100_000) if op is Op.ZERO else noise(SIZE, 1)[10:100_010]
        assert read(disk, 10, 100_000) == left


def test_a_new_size_is_noticed_when_asked(disk: FileDisk, image: Path) -> None:
    os.truncate(image, SIZE + 4096)
    before = disk.size

    disk.refresh()

    assert (before, disk.size) == (SIZE, SIZE + 4096)
    write(disk, SIZE + 100, b"new")
    assert read(disk, SIZE + 96, 8) == b"\0\0\0\0new\0"


def test_close_ends_what_is_on_its_way(image: Path) -> None:
    disk = FileDisk(str(image))
    disk._memory, disk._credit = False, 1 << 60
    disk.submit([write_io(i * 4096, noise(4096, i)) for i in range(64)])

    disk.close()

    assert image.read_bytes()[: 64 * 4096] == b"".join(noise(4096, i) for i in range(64))
