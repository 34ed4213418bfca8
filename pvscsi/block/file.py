"""A raw image or a block device of the host as a disk.

Nothing here makes the submitter wait for a disk. A read is tried with RWF_NOWAIT, which takes what the page cache has.
What would wait goes to a `Crew`. So do FLUSH, FUA, DISCARD and ZERO, always.

Linux has no such flag for buffered writes to ext4, so these are judged beforehand: a write of whole pages is done at
once while the crew is idle (beside an fdatasync one took up to 90 ms) and the kernel is far from making writers wait.
Against plain pwritev (tests.bench.bench_block): 4 KiB at depth 1 0.6 at once, 0.1 by threads; at depth 32 0.7 and 0.3;
256 KiB 0.9 and 0.4 at depth 1, 1.0 and 0.65 at depth 8.
"""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Sequence

from pvdev.errors import ConfigError
from pvscsi.block import holes
from pvscsi.block.backend import Fault, Io, Op, Transfer
from pvscsi.block.crew import Crew, Result
from pvscsi.block.medium import Medium, beyond, clip, joined, refused

READ, WRITE = Op.READ, Op.WRITE  # members of an Enum are slow to look up
THREADS = 8
PAGE_MASK = 4095
IOV_MAX = 1024
CREDIT = 64 << 20  # bytes written between two looks at the kernel's unwritten data
ZEROS = memoryview(bytes(1 << 20))
FLOCK = struct.Struct("hhqqi4x")  # struct flock: l_type, l_whence, l_start, l_len, l_pid

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EPERM, errno.EACCES)
_GONE = (errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.ESTALE, errno.EBADF, errno.ESHUTDOWN)


class FileDisk(Medium):
    """The bytes of `path`. A file that does not exist is made, of `size` bytes and all hole, with `create`.

    ConfigError: not there, not a file or block device, no permission, another size, in use by another program.
    """

    def __init__(
        self, path: str, *, size: int | None = None, read_only: bool = False, create: bool = False, lock: bool = True
    ) -> None:
        super().__init__(path, 0, read_only=read_only)
        self._fd = -1
        if not path:
            raise ConfigError("file: no path; write file:PATH")
        if create and (size is None or read_only):
            raise ConfigError(f"file {path}: create=yes needs size=SIZE and a disk that can be written")
        try:
            self._fd = _open(path, read_only, create)
            if lock:
                _lock(self._fd, path, read_only)
            self._look(path, size, create)
        except BaseException:
            self.close()
            raise
        self._crew = Crew(self._work, THREADS)
        self._credit, self._calm = 0, False
        self._lost: Fault | None = None  # why a flush failed: the kernel may have dropped what it could not write

    def _look(self, path: str, size: int | None, create: bool) -> None:
        """Find out what was opened."""
        info = os.fstat(self._fd)
        self._block, self._memory = stat.S_ISBLK(info.st_mode), False
        self._align = 1
        if self._block:
            self._align = holes.block_size(self._fd)
            self._zeroes = bool(
                holes.queue_limit(info.st_rdev, "write_zeroes_max_bytes")
                and holes.queue_limit(info.st_rdev, "discard_max_bytes")
            )
            self._rotational = bool(holes.queue_limit(info.st_rdev, "rotational"))
        elif stat.S_ISREG(info.st_mode):
            if not info.st_size and size and create:
                os.ftruncate(self._fd, size)
            self._memory = holes.in_memory(info.st_dev)
            self._zeroes = not self._read_only and holes.can_punch(self._fd, info.st_size)
        else:
            raise ConfigError(f"file {path}: neither a file nor a block device; give one of these")
        self._now_flag: int | None = 0 if self._memory else os.RWF_NOWAIT  # None: the file system has no such thing
        self.refresh()
        if not self._size:
            raise ConfigError(f"file {path}: it is empty; give it a size: truncate -s 10G {path}")
        if size is not None and size != self._size:
            raise ConfigError(f"file {path}: it has {self._size} bytes, not {size}; leave size out, or change the file")

    # -- transfers ----------------------------------------------------------------------------------------------------

    def submit(self, ios: Sequence[Io]) -> None:
        later: list[Io] = []
        for io in ios:
            op = io.op
            if (op is READ or (op is WRITE and not io.fua)) and self.at_once(op, io.length, ((io.offset, io.buffers),)):
                io.finish(io.length)
            elif op is Op.FLUSH or not refused(io, self._size, self._read_only):
                later.append(io)
        if later:
            self._crew.give(later)

    def at_once(self, op: Op, length: int, transfers: Sequence[Transfer]) -> int:
        fd, last, flag, count = self._fd, self._size - length, self._now_flag, 0
        try:
            for offset, buffers in transfers:
                if offset > last:
                    break
                if op is READ:
                    if flag is None or os.preadv(fd, buffers, offset, flag) != length:
                        break
                elif not self._may_write(offset, length) or os.pwritev(fd, buffers, offset) != length:
                    break
                count += 1
        except OSError as error:  # the crew does it all over, and finds the same if it is to stay
            if error.errno == errno.EOPNOTSUPP and op is READ:
                self._now_flag = None
        return count

    def _may_write(self, offset: int, length: int) -> bool:
        """Whether this write will not be made to wait."""
        if self._read_only:
            return False
        if self._memory:
            return True
        self._credit -= length
        if self._credit < 0:
            self._credit, self._calm = CREDIT, holes.calm()
        return self._calm and not self._crew.busy and not (offset | length) & PAGE_MASK

    def reap(self, now_ns: int) -> Sequence[Io]:
        done = self._crew.reap()
        for io, (moved, fault) in done:
            io.finish(moved, fault)
        return [io for io, _ in done]

    def cancel(self, ios: Sequence[Io]) -> None:
        self._crew.cancel(ios)

    # -- in a thread of the crew --------------------------------------------------------------------------------------

    def _work(self, io: Io) -> Result:
        """One transfer, however long it takes."""
        if io.op is Op.FLUSH:
            return 0, self._sync()
        room = min(io.length, self._size - io.offset)
        moved, fault = 0, None
        try:
            if io.op is Op.READ or io.op is Op.WRITE:
                while moved < room:
                    step = self._step(io, moved, room)
                    if not step:
                        return moved, self._blame(OSError(errno.ENODATA, "the file ends before the disk does"), io.op)
                    moved += step
            else:
                self._clear(io.op, io.offset, room)
                moved = room
        except OSError as error:
            fault = self._blame(error, io.op)
            if io.fua:
                self._lost = fault
        if fault is None and room < io.length:
            fault = beyond(io)
        return moved, fault

    def _step(self, io: Io, moved: int, room: int) -> int:
        """As much of a read or write, from byte `moved` on, as one system call does."""
        pieces = (io.buffers if not moved and room == io.length else clip(io.buffers, moved, room))[:IOV_MAX]
        if io.op is Op.READ:
            return os.preadv(self._fd, pieces, io.offset + moved)
        if not io.fua:
            return os.pwritev(self._fd, pieces, io.offset + moved)
        try:
            return os.pwritev(self._fd, pieces, io.offset + moved, os.RWF_DSYNC)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
        step = os.pwritev(self._fd, pieces, io.offset + moved)
        os.fdatasync(self._fd)
        return step

    def _sync(self) -> Fault | None:
        """A flush. One that failed is never forgotten: the kernel reports lost data once, then calls itself clean."""
        if self._lost is None and not self._read_only:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                self._lost = self._blame(error, Op.FLUSH)
        return self._lost

    def _clear(self, op: Op, offset: int, length: int) -> None:
        """DISCARD and ZERO. A block device takes whole blocks of its own only; the rest is written. Raises OSError."""
        end = offset + length
        low = min(-(-offset // self._align) * self._align, end)
        high = max(end // self._align * self._align, low)
        if low < high and not self._clear_whole(op, low, high - low):
            low = high = end
        if op is Op.ZERO or self._zeroes:
            for start, stop in ((offset, low), (high, end)):
                while start < stop:
                    start += os.pwritev(self._fd, [ZEROS[: stop - start]], start)

    def _clear_whole(self, op: Op, offset: int, length: int) -> bool:
        """False if nothing the host offers does it."""
        ways = [holes.zero, holes.punch] if op is Op.ZERO else [holes.punch] if self._zeroes else []
        if op is Op.DISCARD and self._block and not self._zeroes:
            ways = [holes.discard]
        for way in ways:
            try:
                way(self._fd, offset, length)
            except OSError as error:
                if error.errno not in holes.UNSUPPORTED:
                    raise
            else:
                return True
        return False

    def _blame(self, error: OSError, op: Op) -> Fault:
        """What an error is to the guest; the first becomes `fault`."""
        code = error.errno
        if code in _FULL:
            fault, mend = Fault.FULL, "make room on the host"
        elif code in _READ_ONLY:
            fault, mend = Fault.READ_ONLY, "make it writable, or add readonly=yes"
        elif code in _GONE:
            fault, mend = Fault.GONE, "the host lost it; start again when it is back"
        else:
            fault = Fault.READ if op is Op.READ else Fault.WRITE
            mend = "give the file its length back" if code == errno.ENODATA else "look at the host's kernel log"
        if self._fault is None:
            self._fault = f"file {self.name}: {op.value}: {error.strerror}; {mend}"
        return fault

    # -- the rest -----------------------------------------------------------------------------------------------------

    def allocated(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        if self._block:
            return super().allocated(offset, length)
        try:
            return joined(holes.stretches(self._fd, offset, length))
        except OSError:
            return super().allocated(offset, length)

    def fileno(self) -> int:
        return self._crew.fileno()

    def refresh(self) -> None:
        self._size = os.lseek(self._fd, 0, os.SEEK_END)

    def close(self) -> None:
        if self._fd >= 0:
            if hasattr(self, "_crew"):
                self._crew.close()
            os.close(self._fd)
            self._fd = -1


def _open(path: str, read_only: bool, create: bool) -> int:
    flags = os.O_CLOEXEC | (os.O_RDONLY if read_only else os.O_RDWR)
    try:
        if not read_only and stat.S_ISBLK(os.stat(path).st_mode):  # noqa: PTH116 (a path of the user's, as it is)
            flags |= os.O_EXCL  # refused while it is mounted or part of something
    except OSError:
        pass  # open says it better
    try:
        return os.open(path, flags | (os.O_CREAT if create else 0), 0o644)
    except OSError as error:
        mend = {
            errno.ENOENT: "make it: add create=yes,size=10G",
            errno.EACCES: "change its permissions, or add readonly=yes",
            errno.EROFS: "add readonly=yes",
            errno.EISDIR: "give a file or a block device",
            errno.EBUSY: "it is mounted or in use; unmount it",
        }.get(error.errno or 0, "give a file or a block device")
        raise ConfigError(f"file {path}: {error.strerror}; {mend}") from error


def _lock(fd: int, path: str, read_only: bool) -> None:
    """Keep others from writing what we use, QEMU too: it locks bytes of its images in the same way."""
    wanted = FLOCK.pack(fcntl.F_RDLCK if read_only else fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise ConfigError(f"file {path}: another program has it open; end that, or add lock=no") from error
        # else the file system has no locks: nothing to keep
