"""One connected client of the vfio-user server: its socket, its descriptors, its memory. All system calls of a session.

Nothing here waits, except a DMA message for its reply (at most `dma_timeout_s`).
"""

import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence

from pvdev.faults import Fault, FaultPlan
from pvdev.mem import Buffer, DmaFault, Remote
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user_host import Descriptors, Watch
from pvdev.transport.vfio_user_session import HOW_TO_SHARE, Session
from pvdev.transport.vfio_user_wire import Command, Message, MessageReader

ANCILLARY = socket.CMSG_SPACE(4 * wire.FDS_KERNEL)
_FLAGS = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
BACKLOG_MAX = 16 << 20  # bytes of commands queued while a DMA reply is awaited


class Truncated(Exception):
    """Descriptors were lost on the way in (rule VFU-S-016); those that arrived are closed."""


def receive(sock: socket.socket, reader: MessageReader, flags: int = _FLAGS) -> list[Message] | None:
    """One `recvmsg` into `reader`: the messages it completed; None at the end of the stream.

    Raises `BlockingIOError` when nothing is there, `Truncated`, `OSError`.
    """
    data, ancillary, got, _ = sock.recvmsg(reader.want, ANCILLARY, flags)
    if not ancillary:
        return reader.feed(data) if data else None
    fds: list[int] = []
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds += struct.unpack(f"{len(body) // 4}i", body[: len(body) // 4 * 4])
    if got & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        raise Truncated
    messages = reader.feed(data, fds)
    for fd in reader.stray:
        os.close(fd)
    reader.stray.clear()
    return messages if data else None


class Link(Descriptors):
    """A client's connection: bytes in, `session`, bytes out. The session's `Host`.

    `alive` turns False when the connection must be closed; the server then calls `close`. `watch` registers a
    descriptor with the server's poll loop. `stop_fd` interrupts a wait for a DMA reply.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        watch: Watch,
        writable: Callable[[bool], None],
        event: Callable[[str], None],
        stop_fd: int,
        dma_timeout_s: float,
        faults: FaultPlan | None = None,
    ) -> None:
        self.sock, self.event, self.alive = sock, event, True
        self.session: Session
        self.inbox: deque[Message] = deque()
        self.eof = False
        self._queued = 0  # bytes in the inbox
        super().__init__(watch)
        self._writable, self._stop_fd = writable, stop_fd
        self._reader = MessageReader()
        self._out: deque[tuple[bytes, Sequence[int]]] = deque()
        self._faults = faults
        self._late: list[tuple[int, bytes, Sequence[int]]] = []
        self._twin: socket.socket | None = None
        self._twin_peer = -1
        self._twin_reader = MessageReader()
        self._dma_timeout_s, self._dma_dead = dma_timeout_s, False
        self._awaited: dict[int, Message | None] = {}
        self._next_id = 0

    # -- in -----------------------------------------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """The client does not read its replies: nothing more is taken from it until it does."""
        return bool(self._out)

    def readable(self) -> None:
        """The socket has something: take it in, and answer."""
        if self._out:
            return
        self._pull()
        self.process()

    def _pull(self) -> bool:
        """One read into the inbox; False when nothing was there."""
        try:
            messages = receive(self.sock, self._reader)
        except BlockingIOError:
            return False
        except Truncated:
            self.session.log.note("VFU-S-016", "recvmsg")
            self._send(wire.pack(0, 0, flags=wire.TYPE_REPLY | wire.ERROR, error=14), ())  # EFAULT
            self.alive = False
            return False
        except OSError:
            messages = None
        if messages is None:
            self.eof = True
            return False
        if self._awaited:
            messages = [message for message in messages if not self._is_awaited(message)]
        self.inbox += messages
        self._queued += sum(message.size for message in messages)
        return True

    def drain(self) -> None:
        """The client has hung up: everything it still said, until the end of the stream."""
        while self.alive and not self.eof and self._pull():
            self.process()

    def process(self) -> None:
        """Handle what is in the inbox, in order: the effect, its interrupts, the reply.

        Stops while the client does not take its replies: `flush` goes on.
        """
        session, inbox = self.session, self.inbox
        while inbox and self.alive and not self._out:
            self._queued -= inbox[0].size
            answer = session.handle(inbox.popleft())
            session.irqs.deliver()
            if answer is not None:
                if self._faults is None:
                    self._send(*answer)
                else:
                    self._send_faulty(*answer)
                if answer[1] and self._twin_peer in answer[1]:
                    os.close(self._twin_peer)
                    self._twin_peer = -1
            if session.closing:
                self.alive = False
        if self._reader.broken or self.eof:
            self.alive = False

    # -- out ----------------------------------------------------------------------------------------------------------

    def _send(self, data: bytes, fds: Sequence[int]) -> None:
        if self._out:
            self._out.append((data, fds))
            return
        try:
            sent = self._sendmsg(self.sock, data, fds)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.alive = False
            return
        if sent < len(data):
            self._out.append((data[sent:], () if sent else fds))
            self._writable(True)

    @staticmethod
    def _sendmsg(sock: socket.socket, data: bytes, fds: Sequence[int]) -> int:
        if not fds:
            return sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))]
        return sock.sendmsg([data], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def flush(self) -> None:
        """The socket takes bytes again."""
        out, self._out = self._out, deque()
        for data, fds in out:
            self._send(data, fds)
        if not self._out:
            self._writable(False)
            self.process()

    # -- faults on purpose --------------------------------------------------------------------------------------------

    def _send_faulty(self, data: bytes, fds: Sequence[int]) -> None:
        """The point `vfio_user.reply`, also `vfio_user.reply.<COMMAND>`.

        Kinds: "late" (value: ns), "lost", "wrong-id", "split" (value: bytes in the first piece), "cut" (value: bytes
        sent before the connection ends).
        """
        assert self._faults is not None
        command = int.from_bytes(data[2:4], "little")
        name = Command(command).name if command in set(Command) else str(command)
        fault = self._faults.at("vfio_user.reply") or self._faults.at(f"vfio_user.reply.{name}")
        if fault is None:
            self._send(data, fds)
        else:
            self._misbehave(fault, data, fds)

    def _misbehave(self, fault: Fault, data: bytes, fds: Sequence[int]) -> None:
        if fault.kind == "late":
            self._late.append((time.monotonic_ns() + fault.value, data, fds))
        elif fault.kind == "wrong-id":
            self._send((int.from_bytes(data[:2], "little") ^ 0x8000).to_bytes(2, "little") + data[2:], fds)
        elif fault.kind == "split":
            at = fault.value or 7
            self._send(data[:at], fds)
            self._send(data[at:], ())
        elif fault.kind == "cut":
            self._send(data[: fault.value or len(data) // 2], ())
            self.alive = False
        elif fault.kind != "lost":
            raise ValueError(f"no fault {fault.kind!r} at vfio_user.reply")

    def late(self) -> int | None:
        """When the next held back reply is due (ns), or None."""
        return min(due for due, _, _ in self._late) if self._late else None

    def send_late(self, now_ns: int) -> None:
        for entry in [entry for entry in self._late if entry[0] <= now_ns]:
            self._late.remove(entry)
            self._send(entry[1], entry[2])

    # -- Host: what is neither memory nor descriptors -----------------------------------------------------------------

    def twin(self) -> int:
        self._twin, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._twin_peer = peer.detach()
        return self._twin_peer

    def remote(self) -> Remote:
        return MessageDma(self)

    # -- DMA messages -------------------------------------------------------------------------------------------------

    def ask(self, command: Command, payload: bytes) -> bytes:
        """Send a command to the client and wait for its reply's payload; the client's own commands are queued.

        Raises `DmaFault` on an error reply, a timeout, the end of the connection.
        """
        address = int.from_bytes(payload[:8], "little")
        if self._dma_dead or not self.alive or self.eof:
            raise DmaFault("MEM-01", "the client does not answer DMA messages", address)
        ident = self._next_id
        self._next_id = ident + 1 & 0xFFFF
        sock = self._twin or self.sock
        self._awaited[ident] = None
        try:
            self._put(sock, wire.pack(ident, command, payload), address)
            reply = self._wait(sock, ident, address)
        finally:
            del self._awaited[ident]
        for fd in reply.fds:
            os.close(fd)
        if reply.command != command:
            self.session.log.note("VFU-S-111", "command of a DMA reply", reply.command)
        elif reply.flags & wire.ERROR:
            raise DmaFault("MEM-01", f"the client refused it: {os.strerror(reply.error)}", address)
        elif reply.payload[:16] != payload[:16]:
            self.session.log.note("VFU-S-111", "address and count of a DMA reply", address)
        else:
            return reply.payload
        raise DmaFault("MEM-01", "the client answered something else", address)

    def _put(self, sock: socket.socket, data: bytes, address: int) -> None:
        """Send a whole command; what the socket does not take at once is waited for."""
        if sock is self.sock:
            self._send(data, ())
            return
        try:
            sent = self._sendmsg(sock, data, ())
        except OSError:
            sent = -1
        if sent != len(data):  # a twin socket that is full belongs to a client that reads nothing
            self._no_answer(address, "its twin socket is gone or full")

    def _wait(self, sock: socket.socket, ident: int, address: int) -> Message:
        end = time.monotonic() + self._dma_timeout_s
        poll = select.poll()
        poll.register(self._stop_fd, select.POLLIN)
        while True:
            reply = self._awaited[ident]
            if reply is not None:
                return reply
            poll.register(sock, select.POLLIN | (select.POLLOUT if self._out else 0))
            left = end - time.monotonic()
            ready = dict(poll.poll(max(0, left * 1000))) if left > 0 else {}
            if not ready:
                self._no_answer(address, f"no reply in {self._dma_timeout_s:g} s")
            if self._stop_fd in ready:
                raise DmaFault("MEM-01", "the server is stopping", address)
            if self._out:
                self._push()
            if sock is self._twin:
                self._pull_twin()
            elif ready.get(sock.fileno(), 0) & ~select.POLLOUT and not self._pull() and self.eof:
                raise DmaFault("MEM-01", "the client is gone", address)
            if not self.alive or self._queued > BACKLOG_MAX:
                self.alive = False
                raise DmaFault("MEM-01", "the client is gone", address)

    def _push(self) -> None:
        out, self._out = self._out, deque()
        for data, fds in out:
            self._send(data, fds)
        if not self._out:
            self._writable(False)

    def _pull_twin(self) -> None:
        assert self._twin is not None
        try:
            messages = receive(self._twin, self._twin_reader)
        except (Truncated, OSError):
            messages = None
        if messages is None:
            self.alive = False
            return
        for message in messages:
            if not (message.is_reply and self._is_awaited(message)):
                self.session.stray(message)
                for fd in message.fds:
                    os.close(fd)

    def _is_awaited(self, message: Message) -> bool:
        if message.is_reply and message.msg_id in self._awaited:
            self._awaited[message.msg_id] = message
            return True
        return False

    def _no_answer(self, address: int, why: str) -> None:
        self._dma_dead = True
        self.session.tell("dma", f"DMA by message to {address:#x} failed: {why}; {HOW_TO_SHARE}")
        raise DmaFault("MEM-01", "the client does not answer DMA messages", address)

    # -- end ----------------------------------------------------------------------------------------------------------

    def shut(self) -> None:
        """Close everything; the session releases what the client lent."""
        self.alive = False
        for message in self.inbox:
            for fd in message.fds:
                os.close(fd)
        self.inbox.clear()
        self.session.gone(inside=self._reader.inside and not self._reader.broken)
        for fd in self._reader.abandon() + self._twin_reader.abandon():
            os.close(fd)
        if self._twin is not None:
            self._twin.close()
        if self._twin_peer >= 0:
            os.close(self._twin_peer)
        self.sock.close()


class MessageDma:
    """Memory a client keeps to itself: read and written by messages, in pieces it accepts. Raises `DmaFault`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def read(self, address: int, length: int) -> bytes:
        step, out = self._step(), bytearray()
        while length:
            count = min(step, length)
            reply = self._link.ask(Command.DMA_READ, wire.DMA_ACCESS.struct.pack(address, count))
            if len(reply) != 16 + count:
                self._link.session.log.note("VFU-S-111", "length of a DMA reply", len(reply))
                raise DmaFault("MEM-01", "the client answered something else", address)
            out += reply[16:]
            address, length = address + count, length - count
        return bytes(out)

    def write(self, address: int, data: Buffer) -> None:
        step = self._step()
        for at in range(0, len(data), step):
            part = bytes(data[at : at + step])
            self._link.ask(Command.DMA_WRITE, wire.DMA_ACCESS.struct.pack(address + at, len(part)) + part)

    def _step(self) -> int:
        return min(self._link.session.peer.max_data_xfer_size, wire.XFER_MAX)
