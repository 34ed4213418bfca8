"""A vfio-user client: commands out, replies in, and the server's DMA served meanwhile.

Raw enough for conformance tests (`send`, `receive`, any payload), kind enough for ports (`call`, `lend`).
"""

import errno
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from pvdev.errors import PeerError
from pvdev.mem import DmaFault, GuestMemory
from pvdev.rules import RuleLog
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user_link import Truncated, receive
from pvdev.transport.vfio_user_rules import RULES
from pvdev.transport.vfio_user_wire import Command, Message, MessageReader

CAPABILITIES: dict[str, object] = {"max_msg_fds": wire.FDS_MAX, "max_data_xfer_size": wire.XFER_MAX}
QEMU_CAPABILITIES: dict[str, object] = {
    "pgsizes": 4096,
    "max_msg_fds": 16,
    "max_dma_maps": 65535,
    "max_data_xfer_size": 1048576,
    "migration": {"max_bitmap_size": 268435456, "pgsize": 4096},
    "write_multiple": True,
}
"""What QEMU 11 says of itself; a server takes whoever says so for QEMU."""


class CallFailed(PeerError):
    """The server answered with an error. `error`: its errno."""

    def __init__(self, command: int, error: int) -> None:
        name = Command(command).name if command in set(Command) else f"command {command}"
        super().__init__(f"{name} was refused: {os.strerror(error)}")
        self.error = error


class CallTimeout(PeerError):
    """No reply in time. The link stays usable: the reply is dropped when it comes (rule VFU-C-012)."""


class Client:
    """A connection to the server at `path`.

    `capabilities` goes into VERSION (None: no JSON at all); `negotiate=False` leaves VERSION to the caller; `twin` asks
    for a second socket for the server's commands. One thread at a time. Raises `PeerError` when there is no server or
    it is gone. `rules` collects what the server does wrong.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout_s: float = 5.0,
        minor: int = wire.MINOR,
        capabilities: dict[str, object] | None = CAPABILITIES,
        negotiate: bool = True,
        twin: bool = False,
    ) -> None:
        self.path, self.timeout_s = os.fspath(path), timeout_s
        self.rules = RuleLog(RULES)
        self.memory = GuestMemory()  # what is lent to the server, as its DMA messages reach it
        self.max_msg_fds, self.max_data_xfer_size = wire.FDS_DEFAULT, wire.XFER_MAX  # the server's
        self.minor = minor
        own = (capabilities or {}).get("max_data_xfer_size", wire.XFER_MAX)
        self._own_xfer = own if isinstance(own, int) else wire.XFER_MAX
        self._reader, self._twin_reader = MessageReader(), MessageReader()
        self._messages: deque[Message] = deque()  # received, not looked at
        self._replies: dict[int, Message] = {}
        self._waiting: dict[int, int] = {}  # id -> command
        self._late: set[int] = set()  # ids of calls that timed out
        self._next_id = 0
        self._twin: socket.socket | None = None
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._set_timeout(timeout_s)
        self._set_timeout(timeout_s, socket.SO_SNDTIMEO)
        try:
            self.sock.connect(self.path)
            if negotiate:
                self._negotiate(capabilities, twin)
        except OSError as error:
            self.close()
            raise PeerError(f"{self.path}: no vfio-user server: {os.strerror(error.errno or 0)}") from None
        except PeerError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _negotiate(self, capabilities: dict[str, object] | None, twin: bool) -> None:
        if twin:
            capabilities = {**(capabilities or {}), "twin_socket": {"supported": True}}
        reply = self.call(Command.VERSION, wire.version_payload(wire.MAJOR, self.minor, capabilities), want_fds=True)
        try:
            major, minor, document = wire.parse_version(reply.payload)
        except ValueError as error:
            self._close_fds(reply)
            raise PeerError(f"the server's VERSION makes no sense: {error}") from None
        said = document.get("capabilities", {}) if isinstance(document, dict) else {}
        if major != wire.MAJOR or minor > self.minor or not isinstance(said, dict):
            self._close_fds(reply)
            raise PeerError(f"the server speaks vfio-user {major}.{minor}, {wire.MAJOR}.{self.minor} was proposed")
        self.minor = minor
        for key in ("max_msg_fds", "max_data_xfer_size"):
            value = said.get(key)
            if isinstance(value, int) and value >= 0:
                setattr(self, key, value)
        self._take_twin(said.get("twin_socket"), reply)

    def _take_twin(self, said: object, reply: Message) -> None:
        if isinstance(said, dict) and said.get("supported") is True:
            index = said.get("fd_index")
            if not isinstance(index, int) or not 0 <= index < len(reply.fds):
                self._close_fds(reply)
                raise PeerError("the server promised a twin socket and sent none")
            self._twin = socket.socket(fileno=reply.fds.pop(index))
        self._close_fds(reply)

    # -- commands -----------------------------------------------------------------------------------------------------

    def call(
        self,
        command: int,
        payload: bytes = b"",
        fds: Sequence[int] = (),
        *,
        timeout_s: float | None = None,
        want_fds: bool = False,
    ) -> Message:
        """Send a command and return its reply; its descriptors are the caller's with `want_fds`, else closed.

        Raises `CallFailed`, `CallTimeout`, `PeerError`.
        """
        return self.finish(self.start(command, payload, fds), timeout_s=timeout_s, want_fds=want_fds)

    def start(self, command: int, payload: bytes = b"", fds: Sequence[int] = ()) -> int:
        """Send a command without waiting; the id for `finish`."""
        ident = self._next_id
        while ident in self._late or ident in self._waiting:
            ident = ident + 1 & 0xFFFF
        self._next_id = ident + 1 & 0xFFFF
        self._waiting[ident] = command
        self.send(wire.pack(ident, command, payload), fds)
        return ident

    def finish(self, ident: int, *, timeout_s: float | None = None, want_fds: bool = False) -> Message:
        """The reply to what `start` sent; raises as `call`."""
        command = self._waiting[ident]
        reply = self._replies.pop(ident, None)
        if reply is None:
            reply = self._await(ident, self.timeout_s if timeout_s is None else timeout_s)
        del self._waiting[ident]
        if reply.flags & wire.ERROR:
            self._close_fds(reply)
            raise CallFailed(command, reply.error or errno.EINVAL)
        if reply.fault:
            raise PeerError(f"a reply of {reply.size} bytes is larger than a message may be")
        if reply.fds and not want_fds:
            self.rules.note("VFU-C-009", f"reply to command {command}", len(reply.fds))
            self._close_fds(reply)
        return reply

    def post(self, command: int, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send a command that gets no reply."""
        ident, self._next_id = self._next_id, self._next_id + 1 & 0xFFFF
        self.send(wire.pack(ident, command, payload, flags=wire.NO_REPLY), fds)

    def _await(self, ident: int, timeout_s: float) -> Message:
        end = time.monotonic() + timeout_s
        while True:
            while self._messages:
                self._sort(self._messages.popleft())
            reply = self._replies.pop(ident, None)
            if reply is not None:
                return reply
            left = end - time.monotonic()
            if left <= 0 or not self._fill(left):
                command = self._waiting.pop(ident)
                self._late.add(ident)
                raise CallTimeout(f"no reply to command {command} in {timeout_s:g} s")

    def _sort(self, message: Message, sock: socket.socket | None = None) -> None:
        """A reply to where it is awaited; a command of the server's is done."""
        if not message.is_reply:
            self._serve(message, sock or self.sock)
            return
        ident = message.msg_id
        if message.fault:
            self.rules.note("VFU-C-004", "reply", message.size)
        if ident in self._waiting and ident not in self._replies:
            if message.command != self._waiting[ident]:
                self.rules.note("VFU-C-003", "command of a reply", message.command)
            self._replies[ident] = message
            return
        self._close_fds(message)
        if ident in self._late:
            self._late.discard(ident)
            self.rules.note("VFU-C-012", "late reply", ident)
        else:
            self.rules.note("VFU-C-003", "id of a reply", ident)

    # -- raw ----------------------------------------------------------------------------------------------------------

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Any bytes, with descriptors on the first of them. Raises `PeerError`."""
        try:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
            sent = self.sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)
            if sent < len(data):
                self.sock.sendall(data[sent:])
        except OSError as error:
            raise PeerError(f"{self.path}: the server is gone: {os.strerror(error.errno or 0)}") from None

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message, whatever it is, untouched; None at the end of the stream. Raises `CallTimeout`."""
        end = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while not self._messages:
            left = end - time.monotonic()
            try:
                filled = left > 0 and self._fill(left)
            except PeerError:
                return None
            if not filled:
                raise CallTimeout("no message in time")
        return self._messages.popleft()

    def pump(self) -> None:
        """Serve what the server has asked for up to now; never waits. Raises `PeerError` when it is gone."""
        while self._messages or self._fill(0):
            while self._messages:
                self._sort(self._messages.popleft())

    def filenos(self) -> list[int]:
        """What becomes readable when `pump` has something to do."""
        return [sock.fileno() for sock in (self.sock, self._twin) if sock is not None]

    def _fill(self, timeout_s: float) -> bool:
        """Read once, waiting at most that long; False when nothing came."""
        if self._twin is not None or timeout_s == 0:
            poll = select.poll()
            for fd in self.filenos():
                poll.register(fd, select.POLLIN)
            ready = {fd for fd, _ in poll.poll(timeout_s * 1000)}
            if self._twin is not None and self._twin.fileno() in ready:
                for message in self._read(self._twin, self._twin_reader):
                    self._sort(message, self._twin)
                return True
            if self.sock.fileno() not in ready:
                return False
        elif timeout_s < self._timeout_s * 0.9 or timeout_s > self._timeout_s * 1.1:
            self._set_timeout(timeout_s)
        self._set_timeout(timeout_s, socket.SO_SNDTIMEO)
        try:
            self._messages += self._read(self.sock, self._reader)
        except BlockingIOError:
            return False
        return True

    def _read(self, sock: socket.socket, reader: MessageReader) -> list[Message]:
        try:
            messages = receive(sock, reader, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            raise
        except (OSError, Truncated) as error:
            raise PeerError(f"{self.path}: the server is gone: {error}") from None
        if messages is None:
            raise PeerError(f"{self.path}: the server closed the connection")
        if reader.broken:
            raise PeerError(f"{self.path}: the server's stream makes no sense")
        return messages

    def _set_timeout(self, seconds: float, which: int = socket.SO_RCVTIMEO) -> None:
        if which == socket.SO_RCVTIMEO:
            self._timeout_s = seconds
        whole = int(seconds)
        value = struct.pack("ll", whole, max(int((seconds - whole) * 1e6), 0 if whole else 1))
        self.sock.setsockopt(socket.SOL_SOCKET, which, value)

    @staticmethod
    def _close_fds(message: Message) -> None:
        for fd in message.fds:
            os.close(fd)
        message.fds.clear()

    # -- memory -------------------------------------------------------------------------------------------------------

    def lend(
        self, address: int, view: memoryview, *, fd: int | None = None, offset: int = 0, writable: bool = True
    ) -> None:
        """DMA_MAP `view` at `address`; with its `fd` (`offset` bytes into it), or to be reached by messages.

        Raises as `call`.
        """
        self.memory.map(address, view, writable=writable)
        flags = wire.DMA_F_READ | (wire.DMA_F_WRITE if writable else 0)
        payload = wire.DMA_MAP.encode(argsz=32, flags=flags, offset=offset, address=address, size=len(view))
        try:
            self.call(Command.DMA_MAP, payload, () if fd is None else (fd,))
        except PeerError:
            self.memory.unmap(address, len(view))
            raise

    def take_back(self, address: int, size: int) -> None:
        """DMA_UNMAP exactly what was lent."""
        self.call(Command.DMA_UNMAP, wire.DMA_UNMAP.encode(argsz=24, address=address, size=size))
        self.memory.unmap(address, size)

    def _serve(self, message: Message, sock: socket.socket) -> None:
        """A command from the server: DMA, or ENOSYS."""
        try:
            if message.fds:
                raise OSError(errno.EINVAL, "descriptors with a server's command")
            if message.fault:
                raise OSError(errno.E2BIG, "too large")
            payload = self._dma(message)
            reply = wire.pack(message.msg_id, message.command, payload, flags=wire.TYPE_REPLY)
        except (OSError, DmaFault) as failure:
            number = _DMA_ERRNO[failure.rule] if isinstance(failure, DmaFault) else failure.errno or errno.EINVAL
            self.rules.note("VFU-C-011", f"command {message.command}", number)
            flags = wire.TYPE_REPLY | wire.ERROR
            reply = wire.pack(message.msg_id, message.command, flags=flags, error=number)
        self._close_fds(message)
        if not message.flags & wire.NO_REPLY:
            try:
                sock.sendall(reply, socket.MSG_NOSIGNAL)
            except OSError as error:
                raise PeerError(f"{self.path}: the server is gone: {error}") from None

    def _dma(self, message: Message) -> bytes:
        if message.command not in (Command.DMA_READ, Command.DMA_WRITE):
            raise OSError(errno.ENOSYS, "no command of a server's")
        if len(message.payload) < wire.DMA_ACCESS.size:
            raise OSError(errno.EINVAL, "cut short")
        address, count = wire.DMA_ACCESS.struct.unpack_from(message.payload)
        if count > self._own_xfer:
            raise OSError(errno.E2BIG, "larger than max_data_xfer_size")
        head, data = message.payload[:16], message.payload[16:]
        if message.command == Command.DMA_READ:
            return head + self.memory.read(address, count)
        if len(data) != count:
            raise OSError(errno.EINVAL, "count and data differ")
        self.memory.write(address, data)
        return head

    def close(self) -> None:
        """Hang up; what was lent stays the caller's."""
        for message in (*self._messages, *self._replies.values()):
            self._close_fds(message)
        self._messages.clear()
        self._replies.clear()
        for fd in self._reader.abandon() + self._twin_reader.abandon():
            os.close(fd)
        if self._twin is not None:
            self._twin.close()
        self.sock.close()


_DMA_ERRNO = {"MEM-01": errno.ENODEV, "MEM-02": errno.EPERM}
