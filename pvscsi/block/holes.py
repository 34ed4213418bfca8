"""What Linux offers for the holes of files and block devices: make them, look for them.

Ref: fallocate(2), lseek(2), Linux include/uapi/linux/{falloc,fs}.h, Documentation/ABI/stable/sysfs-block.
"""

import ctypes
import errno
import fcntl
import os
import struct
from functools import cache
from pathlib import Path

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10  # FALLOC_FL_*
BLKDISCARD = 0x1277  # _IO(0x12, 119); two u64: offset, length
BLKSSZGET = 0x1268
UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EINVAL)
MOST_STRETCHES = 1024  # that one answer of `stretches` is made of


@cache
def _fallocate() -> "ctypes._NamedFuncPointer":
    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return call


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """The system call. Raises OSError."""
    if _fallocate()(fd, mode, offset, length):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def punch(fd: int, offset: int, length: int) -> None:
    """Give the range back to the file system or the device; it reads as zeros then. Raises OSError."""
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, offset, length)


def zero(fd: int, offset: int, length: int) -> None:
    """Make the range read as zeros without writing them all. Raises OSError."""
    fallocate(fd, ZERO_RANGE | KEEP_SIZE, offset, length)


def discard(fd: int, offset: int, length: int) -> None:
    """Tell a block device that the range is not needed; it may read as anything then. Raises OSError."""
    fcntl.ioctl(fd, BLKDISCARD, struct.pack("QQ", offset, length))


def can_punch(fd: int, size: int) -> bool:
    """Whether a regular file takes holes: tried beyond its end, where there is nothing to lose."""
    try:
        punch(fd, size, 4096)
    except OSError:
        return False
    return True


def block_size(fd: int) -> int:
    """The logical block size of a block device, in bytes."""
    return int(struct.unpack("i", fcntl.ioctl(fd, BLKSSZGET, bytes(4)))[0])


def queue_limit(device: int, name: str) -> int:
    """A number from the queue folder of a block device (`st_rdev`), of its disk if it is a partition; 0 if unknown."""
    folder = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    for place in (folder / "queue", folder.resolve().parent / "queue"):
        try:
            return int((place / name).read_text())
        except (OSError, ValueError):
            continue
    return 0


def in_memory(device: int) -> bool:
    """Whether the file system of files with this `st_dev` lives in memory: nothing there ever waits for a disk."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    for line in mounts:
        words = line.split()
        if words[2] == wanted:
            return words[words.index("-") + 1] in ("tmpfs", "ramfs", "hugetlbfs")
    return False


def calm() -> bool:
    """Whether the kernel holds so little unwritten data that a buffered write is not made to wait for it."""
    try:
        pairs = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        return int(pairs["nr_dirty"]) + int(pairs["nr_writeback"]) < int(pairs["nr_dirty_background_threshold"])
    except (OSError, KeyError, ValueError):
        return False


def stretches(fd: int, offset: int, length: int) -> list[tuple[int, bool]]:
    """(bytes, allocated) in order; what lies beyond the first MOST_STRETCHES or cannot be known is called allocated."""
    end = offset + length
    found: list[tuple[int, bool]] = []
    while offset < end and len(found) < MOST_STRETCHES:
        try:
            data = min(os.lseek(fd, offset, os.SEEK_DATA), end)
        except OSError as error:
            if error.errno != errno.ENXIO:
                break
            data = end  # nothing but a hole from here on
        if data > offset:
            found.append((data - offset, False))
            offset = data
        if offset < end:
            hole = min(os.lseek(fd, offset, os.SEEK_HOLE), end)
            found.append((hole - offset, True))
            offset = hole
    if offset < end:
        found.append((end - offset, True))
    return found
