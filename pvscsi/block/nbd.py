"""A disk that an NBD server has: qemu-nbd, nbdkit, a storage cluster.

The client is libnbd, many requests in flight, answered in any order. Data goes through a buffer of our own: libnbd
reads and writes memory when the server pleases, and the guest's may be gone by then.

A connection that is lost stays lost. Nobody could tell after a new one whether the server still has what it had
confirmed and not yet flushed.
"""

import ctypes
import errno
import re
import select
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from pvdev.errors import ConfigError
from pvscsi.block import libnbd
from pvscsi.block.backend import Fault, Io, Op
from pvscsi.block.libnbd import Handle, NbdError
from pvscsi.block.medium import Medium, beyond, clip, joined, refused

CONNECT_SECONDS = 10
STATUS_SECONDS = 1  # what `allocated` waits for an answer
PAYLOAD = 32 << 20  # bytes of data in one request, unless the server takes less
STRIDE = 1 << 30  # bytes that one request discards, zeroes or asks the status of
ZEROS_AT_ONCE = 1 << 20  # bytes, where the server cannot zero by itself
MOST_STRETCHES = 1024
ROUNDS = 64  # steps of the connection between two looks at anything else
ALLOCATION = b"base:allocation"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EPERM)


class _Job:
    """One transfer on its way: `at` of `room` bytes are done, `step` more are asked for."""

    __slots__ = ("address", "at", "data", "io", "memory", "room", "step", "synced")

    def __init__(self, io: Io, room: int) -> None:
        self.io: Io | None = io  # None: nobody waits for it
        self.room, self.at, self.step = room, 0, 0
        self.synced = False  # the flush that belongs to it was asked for
        self.data, self.address = memoryview(b""), 0
        self.memory: Any = None  # keeps `address` good

    def carry(self, length: int) -> None:
        """Get a buffer of `length` bytes, zeros, with an address for C."""
        if length:
            data = bytearray(length)
            self.memory = (ctypes.c_char * length).from_buffer(data)
            self.address, self.data = ctypes.addressof(self.memory), memoryview(data)


class NbdDisk(Medium):
    """The export that `uri` names (`nbd://host:port/name`, `nbd+unix:///name?socket=PATH`, `nbds://…`).

    ConfigError: no libnbd, no server there, no such export, no answer for 10 s.
    """

    def __init__(self, uri: str, *, read_only: bool = False) -> None:
        super().__init__(uri, 0, read_only=read_only)
        self._jobs: dict[int, _Job] = {}  # what libnbd is at, by its cookie
        self._waited: dict[Io, _Job] = {}
        self._ready: list[Io] = []  # finished and not yet reaped
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
            if self._epoll is None:
                io.finish(0, Fault.GONE)
            elif io.op is Op.FLUSH or not refused(io, self._size, self._read_only):
                room = 0 if io.op is Op.FLUSH else min(io.length, self._size - io.offset)
                job = self._waited[io] = _Job(io, room)
                if io.op is Op.READ:
                    job.carry(room)
                elif io.op is Op.WRITE:
                    job.carry(room)
                    _copy(clip(io.buffers, 0, room), job.data)
                elif io.op is Op.ZERO and not self._zero:
                    job.carry(min(room, ZEROS_AT_ONCE))
                self._go_on(job)
        self._collect()
        if self._ready:
            ours = set(ios)
            self._ready = [io for io in self._ready if io not in ours]

    def reap(self, now_ns: int) -> Sequence[Io]:
        for _ in range(ROUNDS):
            if self._epoll is None or not (events := self._epoll.poll(0)):
                break
            self._move(events[0][1])
        done, self._ready = self._ready, []
        return done

    def cancel(self, ios: Sequence[Io]) -> None:
        for io in ios:
            job = self._waited.pop(io, None)
            if job is not None:
                job.io = None
        if self._ready:
            unwanted = set(ios)
            self._ready = [io for io in self._ready if io not in unwanted]

    def _go_on(self, job: _Job) -> None:
        """Ask for the next part of a transfer, or finish it."""
        io = job.io
        if io is None or self._epoll is None:
            return
        try:
            cookie = self._ask_next(job, io)
        except NbdError as error:
            self._finish(job, self._blame(error, io))
            return
        if cookie:
            self._jobs[cookie] = job
        elif io.op is not Op.FLUSH and job.room < io.length:
            self._finish(job, beyond(io))
        else:
            self._finish(job, None)

    def _ask_next(self, job: _Job, io: Io) -> int:
        """libnbd's cookie of the next part; 0 if there is none. Raises NbdError."""
        handle, op, left, offset = self._handle, io.op, job.room - job.at, io.offset + job.at
        if op is Op.FLUSH or not left:
            if job.synced or not self._flush or not (op is Op.FLUSH or (io.fua and not self._fua)):
                return 0
            job.synced, job.step = True, 0
            return handle.flush()
        if op is Op.READ:
            job.step = min(left, self._payload)
            return handle.pread(job.address + job.at, job.step, offset)
        if op is Op.WRITE:
            job.step = min(left, self._payload)
            flags = libnbd.FLAG_FUA if io.fua and self._fua else 0
            return handle.pwrite(job.address + job.at, job.step, offset, flags)
        job.step = min(left, STRIDE)
        if self._zeroes or (op is Op.ZERO and self._zero):
            return handle.zero(job.step, offset)
        if op is Op.ZERO:
            job.step = min(left, len(job.data))
            return handle.pwrite(job.address, job.step, offset, 0)
        if self._trim:
            return handle.trim(job.step, offset)
        job.at = job.room
        return 0

    def _finish(self, job: _Job, fault: Fault | None) -> None:
        io = job.io
        if io is not None:
            if io.op is Op.READ:
                at = 0
                for piece in clip(io.buffers, 0, job.at):
                    piece[:] = job.data[at : at + len(piece)]
                    at += len(piece)
            io.finish(job.at, fault)
            del self._waited[io]
            self._ready.append(io)

    # -- the connection -----------------------------------------------------------------------------------------------

    def _move(self, events: int) -> None:
        """The socket is ready for something: let libnbd do it."""
        try:
            direction = self._handle.call("aio_get_direction")
            if direction & libnbd.DIRECTION_READ and events & ~select.EPOLLOUT:
                self._handle.call("aio_notify_read")
            elif direction & libnbd.DIRECTION_WRITE:
                self._handle.call("aio_notify_write")
        except NbdError:
            pass  # what it means for each transfer is asked next
        self._collect()

    def _collect(self) -> None:
        """Take what libnbd has completed, and see to it that we are woken for the rest."""
        call = self._handle.call
        while self._jobs and self._epoll is not None:
            cookie = call("aio_peek_command_completed")
            if not cookie:
                break
            job = self._jobs.pop(cookie, None)  # None: a status that came too late
            try:
                call("aio_command_completed", cookie)
            except NbdError as error:
                if job is not None and job.io is not None:
                    self._finish(job, self._blame(error, job.io))
            else:
                if job is not None:
                    job.at += job.step
                    self._go_on(job)
        if self._epoll is None:
            return
        if not (call("aio_is_ready") or call("aio_is_processing")):
            self._lose()
            return
        mask = select.EPOLLIN | (select.EPOLLOUT if call("aio_get_direction") & libnbd.DIRECTION_WRITE else 0)
        if mask != self._mask:
            self._mask = mask
            self._epoll.modify(self._fd, mask)

    def _lose(self) -> None:
        """The connection is dead: so is everything that was asked over it."""
        if self._fault is None:
            self._fault = f"nbd {self.name}: the server closed the connection; start it, then start again"
        for job in [*self._waited.values()]:
            self._finish(job, Fault.GONE)
        self._disconnect()

    def _blame(self, error: NbdError, io: Io) -> Fault:
        """What an error of the server's is to the guest; the first becomes `fault`."""
        if not (self._handle.call("aio_is_ready") or self._handle.call("aio_is_processing")):
            return Fault.GONE
        if error.errno in _FULL:
            fault, mend = Fault.FULL, "make room on the server"
        elif error.errno in _READ_ONLY:
            fault, mend = Fault.READ_ONLY, "serve it writable, or add readonly=yes"
        else:
            fault, mend = Fault.READ if io.op is Op.READ else Fault.WRITE, "look at the server's log"
        if self._fault is None:
            self._fault = f"nbd {self.name}: {io.op.value}: {_plain(error)}; {mend}"
        return fault

    # -- the rest -----------------------------------------------------------------------------------------------------

    def allocated(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        """As the server says. It is asked for a second at most; what it has not said then counts as allocated."""
        found: list[int] = []
        stretches: list[tuple[int, bool]] = []
        at, end, until = offset, offset + length, time.monotonic() + STATUS_SECONDS
        try:
            while at < end and self._status and self._epoll is not None and len(stretches) < MOST_STRETCHES:
                found.clear()
                cookie = self._handle.block_status(min(end - at, STRIDE), at, found.extend)
                while not self._handle.call("aio_command_completed", cookie):
                    if time.monotonic() > until:
                        raise NbdError("no answer", errno.ETIMEDOUT)
                    self._handle.call("poll", 50)
                if not found:
                    break
                for step, flags in zip(found[::2], found[1::2], strict=True):
                    step = min(step, end - at)
                    stretches.append((step, not flags & libnbd.STATE_HOLE))
                    at += step
        except NbdError:
            pass
        if self._epoll is not None:
            self._collect()
        return joined([*stretches, (end - at, True)])

    def deadline(self) -> int | None:
        return 0 if self._ready else None

    def fileno(self) -> int:
        return -1 if self._epoll is None else self._epoll.fileno()

    def close(self) -> None:
        if self._epoll is not None:
            for job in self._waited.values():
                job.io = None
            with suppress(NbdError):
                self._handle.call("shutdown", libnbd.SHUTDOWN_ABANDON_PENDING)
        self._disconnect()

    def _disconnect(self) -> None:
        self._handle.close()
        self._jobs.clear()
        self._waited.clear()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None


def server_uri(text: str, export: str | None = None) -> str:
    """The URI that the argument of `nbd:` means: `//host/name` as in nbd://host/name, `unix:PATH`, or a whole URI.

    ConfigError: none of these.
    """
    if text.startswith("//"):
        uri = f"nbd:{text}"
    elif text.startswith("unix:"):
        return f"nbd+unix:///{quote(export or '')}?socket={quote(text[5:])}"
    elif re.match(r"nbds?(\+unix|\+vsock)?://", text):
        uri = text
    else:
        raise ConfigError(f"nbd {text!r}: not a server; write nbd://HOST/EXPORT or nbd:unix:SOCKET")
    if export is not None:
        raise ConfigError(f"nbd: export={export}: a URI names its export itself; write it there")
    return uri


def _copy(pieces: Sequence[memoryview], data: memoryview) -> None:
    at = 0
    for piece in pieces:
        data[at : at + len(piece)] = piece
        at += len(piece)


def _plain(error: NbdError) -> str:
    """libnbd's message without the name of its function."""
    text = str(error)
    return text.partition(": ")[2] if text.startswith("nbd_") else text
