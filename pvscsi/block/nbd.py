"""A disk that an NBD server has: qemu-nbd, nbdkit, a storage cluster.

The client is libnbd, many requests in flight, answered in any order. Data goes through a buffer of our own: libnbd reads
and writes memory when the server pleases, and the guest's may be gone by then.

A connection that is lost stays lost. Nobody could tell after a new one whether the server still has what it had
confirmed and not yet flushed.
"""

import ctypes
import errno
import select
import time
from collections.abc import Sequence
from urllib.parse import quote

from pvdev.errors import ConfigError
from pvscsi.block import libnbd
from pvscsi.block.backend import Fault, Io, Op
from pvscsi.block.libnbd import Handle, NbdError
from pvscsi.block.medium import Medium, beyond, joined, refused

CONNECT_SECONDS = 10
STATUS_SECONDS = 1  # what `allocated` waits for an answer
PAYLOAD = 32 << 20  # bytes of data in one request, unless the server takes less
STRIDE = 1 << 30  # bytes that one request discards, zeroes or asks the status of
ALLOCATION = b"base:allocation"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EPERM)


class _Job:
    """One transfer on its way: `at` bytes are done, `step` more are asked for."""

    __slots__ = ("address", "at", "data", "io", "memory", "room", "step")

    def __init__(self, io: Io, room: int) -> None:
        self.io: Io | None = io  # None: nobody waits for it
        self.room, self.at, self.step = room, 0, 0
        self.data, self.memory, self.address = memoryview(b""), None, 0

    def carry(self, length: int) -> None:
        """Get a buffer of `length` bytes with an address for C."""
        data = bytearray(length)
        self.memory = (ctypes.c_char * length).from_buffer(data) if length else None
        self.address = ctypes.addressof(self.memory) if self.memory is not None else 0
        self.data = memoryview(data)


class NbdDisk(Medium):
    """The export that `uri` names (`nbd://host:port/name`, `nbd+unix:///name?socket=PATH`, `nbds://…`).

    ConfigError: no libnbd, no server there, no such export, no answer for 10 s.
    """

    def __init__(self, uri: str, *, read_only: bool = False) -> None:
        super().__init__(uri, 0, read_only=read_only)
        self._jobs: dict[int, _Job] = {}  # by libnbd's cookie
        self._by_io: dict[Io, _Job] = {}
        self._ready: list[Io] = []  # finished while nobody reaped
        self._epoll: select.epoll | None = None
        self._handle = handle = Handle()
        try:
            handle.call("add_meta_context", ALLOCATION)
            handle.call("aio_connect_uri", uri.encode())
            end = time.monotonic() + CONNECT_SECONDS
            while handle.call("aio_is_connecting"):
                if time.monotonic() > end:
                    raise ConfigError(f"nbd {uri}: no answer for {CONNECT_SECONDS} s; is this an NBD server?")
                handle.call("poll", 100)
            if not handle.call("aio_is_ready"):
                raise NbdError("the server closed the connection", 0)
            self._ask()
        except (NbdError, ConfigError) as error:
            self.close()
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"nbd {uri}: {_plain(error)}; start the server, or mend the URI") from None
        self._epoll = select.epoll()
        self._fd = handle.call("aio_get_fd")
        self._mask = select.EPOLLIN
        self._epoll.register(self._fd, self._mask)

    def _ask(self) -> None:
        """What the server can do."""
        ask = self._handle.call
        self._size = ask("get_size")
        self._read_only |= bool(ask("is_read_only"))
        self._rotational = bool(ask("is_rotational"))
        self._flush, self._fua = bool(ask("can_flush")), bool(ask("can_fua"))
        self._trim, self._zero = bool(ask("can_trim")), bool(ask("can_zero"))
        self._zeroes = self._zero and bool(ask("can_fast_zero"))  # then zeroing is as quick as trimming, and says more
        self._status = bool(ask("can_meta_context", ALLOCATION))
        self._payload = min(PAYLOAD, ask("get_block_size", libnbd.SIZE_MAXIMUM) or PAYLOAD)

    # -- transfers ----------------------------------------------------------------------------------------------------

    def submit(self, ios: Sequence[Io]) -> None:
        for io in ios:
            if self._gone:
                io.finish(0, Fault.GONE)
            elif io.op is Op.FLUSH or not refused(io, self._size, self._read_only):
                room = 0 if io.op is Op.FLUSH else min(io.length, self._size - io.offset)
                job = self._by_io[io] = _Job(io, room)
                if io.op is Op.WRITE:
                    self._gather(job)
                elif io.op is Op.READ:
                    job.carry(room)
                self._go_on(job)
        self._arm()
        for io in self._take(ios):
            self._ready.append(io)

    def reap(self, now_ns: int) -> Sequence[Io]:
        self._move()
        done, self._ready = self._ready, []
        return done

    def cancel(self, ios: Sequence[Io]) -> None:
        for io in ios:
            job = self._by_io.pop(io, None)
            if job is not None:
                job.io = None
        self._ready = [io for io in self._ready if io not in ios]
