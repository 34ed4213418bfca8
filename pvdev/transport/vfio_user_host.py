"""What a vfio-user session asks of the operating system: mapping files, signalling and watching descriptors."""

import contextlib
import fcntl
import mmap
import os
import select
import stat
from collections.abc import Callable

from pvdev.transport.vfio_user_dma import FileId

ONE = (1).to_bytes(8, "little")  # what an eventfd takes

Watch = Callable[[int, Callable[[], None] | None], None]  # (fd, called when readable; None: no more)


class FileMapping:
    """Part of a file in our address space. Any offset: the mapping begins at the page below."""

    def __init__(self, fd: int, offset: int, size: int, *, write: bool) -> None:
        facts = os.fstat(fd)
        page = max(mmap.ALLOCATIONGRANULARITY, facts.st_blksize)  # huge pages: st_blksize is theirs
        if page & page - 1:
            page = mmap.ALLOCATIONGRANULARITY
        start = offset - offset % page
        end = -(-(offset + size) // page) * page
        if not stat.S_ISREG(facts.st_mode) or end > facts.st_size:
            end = offset + size
        access = mmap.PROT_READ | mmap.PROT_WRITE if write else mmap.PROT_READ
        self._map = mmap.mmap(fd, end - start, mmap.MAP_SHARED, access, offset=start)
        self._whole = memoryview(self._map)
        self.view = self._whole[offset - start : offset - start + size]

    def close(self) -> bool:
        try:
            self.view.release()
            self._whole.release()
            self._map.close()
        except BufferError:  # the last holder's view frees it
            return False
        return True


class Descriptors:
    """A client's descriptors. Nothing here ever waits. `watch` registers one with the server's poll loop."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._adopted: dict[int, bool] = {}  # descriptor -> it never blocks
        self._watched: set[int] = set()

    def identify(self, fd: int) -> FileId:
        facts = os.fstat(fd)
        return FileId(facts.st_dev, facts.st_ino, facts.st_size if stat.S_ISREG(facts.st_mode) else None)

    def map(self, fd: int, offset: int, size: int, *, write: bool) -> FileMapping:
        return FileMapping(fd, offset, size, write=write)

    def close(self, fd: int) -> None:
        self._adopted.pop(fd, None)
        if fd in self._watched:
            self._watched.discard(fd)
            self._watch(fd, None)
        with contextlib.suppress(OSError):
            os.close(fd)

    def is_eventfd(self, fd: int) -> bool:
        try:
            return "[eventfd]" in os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - not a path to follow
        except OSError:
            return False

    def adopt(self, fd: int) -> None:
        self._adopted[fd] = bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK)

    def signal(self, fd: int) -> bool:
        """Where the client left the descriptor blocking, it is asked first; a full eventfd is pending already."""
        try:
            if not self._adopted.get(fd, False):
                poll = select.poll()
                poll.register(fd, select.POLLOUT)
                if not any(events & select.POLLOUT for _, events in poll.poll(0)):
                    return False
            return os.write(fd, ONE) == 8
        except OSError:
            return False

    def watch(self, fd: int, written: Callable[[], None]) -> None:
        def drained() -> None:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            if any(events & select.POLLIN for _, events in poll.poll(0)):
                with contextlib.suppress(OSError):
                    os.read(fd, 8)
                written()

        self._watched.add(fd)
        try:
            self._watch(fd, drained)
        except OSError:  # nothing that can be waited for
            self._watched.discard(fd)
