"""UNIX sockets as network ports, framed as QEMU's netdevs frame them.

Ref: QEMU `-netdev dgram` (a frame is a datagram) and `-netdev stream` (a frame follows its length, 4 bytes
big-endian); passt and another pvdev speak them too.
"""

import errno
import os
import select
import socket
import stat
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from struct import Struct

from pvdev.errors import ConfigError
from vmxnet3.backend import Frame
from vmxnet3.ports.port import MAX_FRAME, Port

PATH_MOST = 107  # bytes; sun_path holds 108 with the final NUL
BUFFER = 4 << 20  # bytes asked for each socket buffer; the kernel gives what it allows
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # Linux asm-generic/socket.h: past the limit, for root
RETRY_NS = 250_000_000  # between two tries to reach a stream peer
DRAIN_MOST = 65536  # frames thrown away at one link-up
GATHER = 64  # frames in one write to a stream
CHUNK = 1 << 18  # bytes in one read of a stream
FULL = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)


class DgramPort(Port):
    """Each frame is a datagram between a socket bound to `path` and one bound to `peer`.

    While nobody is at `peer`, frames are dropped and counted; a peer that comes, or comes again, is just reached.
    ConfigError: a path too long, in use, or not to be made.
    """

    def __init__(self, path: str, peer: str) -> None:
        super().__init__(path)
        if not peer:
            raise ConfigError(f"dgram {path}: no peer; give peer=PATH, where the other side receives")
        check_path("dgram", peer)
        if peer == path:
            raise ConfigError(f"dgram {path}: peer={peer} is the port's own path; give the other side's")
        self._peer = peer
        self._socket = bind_unix("dgram", path, socket.SOCK_DGRAM)

    def send(self, frames: Sequence[Frame]) -> int:
        sendto, peer = self._socket.sendto, self._peer
        taken = 0
        for frame in frames:
            data = frame[0] if len(frame) == 1 else b"".join(frame)
            try:
                self.bytes_out += sendto(data, peer)
                self.frames_out += 1
            except OSError as error:
                if error.errno in FULL:
                    break
                if error.errno != errno.EMSGSIZE:  # nobody there: nor for the rest of the batch
                    self.dropped += len(frames) - taken
                    return len(frames)
                self.dropped += 1
            taken += 1
        return taken

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        receive = self._socket.recv
        frames: list[bytes] = []
        add = frames.append
        try:
            for _ in range(limit):
                add(receive(MAX_FRAME))
        except OSError:  # EAGAIN: no more now
            pass
        if not all(frames):  # an empty datagram is no frame
            frames = [frame for frame in frames if frame]
        return self._count_in(frames)

    def link(self, up: bool) -> None:
        if up:
            try:
                for _ in range(DRAIN_MOST):
                    self._socket.recv(1)  # the rest of the datagram goes with it
                    self.stale += 1
            except OSError:
                pass

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._socket.close()
            Path(self.name).unlink(missing_ok=True)


class StreamPort(Port):
    """Frames over a stream socket: the listening side (`listen`), or the side that connects and connects again.

    One peer at a time; a listener takes the next when one has left. Without a peer frames are dropped and
    counted. A peer that breaks the framing is let go (`broken` counts). `connected` says whether one is there.
    ConfigError: a path too long, in use, or not to be made.
    """

    def __init__(self, path: str, *, listen: bool = False) -> None:
        super().__init__(path)
        check_path("stream", path)
        self.broken = 0
        self._listener: socket.socket | None = None
        self._peer: socket.socket | None = None
        self._retry_ns = 0  # when to try to connect next; for the side that connects
        self._unsent = b""  # the rest of a frame half written; never more than one frame
        self._blocked = False  # the peer's socket was full at the last write
        self._partial = b""  # the start of a frame half read
        self._frames: deque[bytes] = deque()  # read, not yet handed on
        if listen:
            self._listener = bind_unix("stream", path, socket.SOCK_STREAM)
            self._listener.listen(1)
        self._poll = select.epoll()  # one descriptor that stays the same while peers come and go
        if self._listener is not None:
            self._poll.register(self._listener, select.EPOLLIN)
        self._join()

    @property
    def connected(self) -> bool:
        return self._peer is not None

    def send(self, frames: Sequence[Frame]) -> int:
        if self._peer is None and not self._join():
            self.dropped += len(frames)
            return len(frames)
        taken = 0
        if self._blocked and not self._flush():
            return 0
        while taken < len(frames) and not self._blocked:
            if self._peer is None:  # it left meanwhile
                self.dropped += len(frames) - taken
                return len(frames)
            taken += self._write(frames[taken : taken + GATHER])
        return taken

    def _write(self, frames: Sequence[Frame]) -> int:
        """Offer a few frames to the peer in one write; how many went, the last perhaps in part."""
        head = _LENGTH.pack
        sizes = [sum(map(len, frame)) for frame in frames]
        pieces: list[bytes | bytearray | memoryview] = []
        for size, frame in zip(sizes, frames, strict=True):
            pieces.append(head(size))
            pieces += frame
        data = b"".join(pieces)
        written = self._put(data)
        end = count = 0
        for size in sizes:
            if end >= written:
                break
            end += 4 + size
            count += 1
        self.frames_out += count
        self.bytes_out += sum(sizes[:count])
        if self._peer is not None and written < len(data):
            self._unsent, self._blocked = data[written:end], True
            self._poll.modify(self._peer, select.EPOLLIN | select.EPOLLOUT)  # wakes the owner to send again
        return count

    def _flush(self) -> bool:
        """Write what is left of a frame; False while some of it is still left."""
        written = self._put(self._unsent) if self._unsent else 0
        self._unsent = self._unsent[written:]
        if self._unsent:
            return False
        self._blocked = False
        if self._peer is not None:
            self._poll.modify(self._peer, select.EPOLLIN)
        return True

    def _put(self, data: bytes) -> int:
        """Bytes the peer's socket took; a peer found to be gone took none, and is let go."""
        if self._peer is None:
            return 0
        try:
            return self._peer.send(data, socket.MSG_NOSIGNAL)
        except OSError as error:
            if error.errno not in FULL:
                self._leave()
            return 0

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        if self._peer is None:
            if now_ns >= self._retry_ns or self._listener is not None:
                self._retry_ns = now_ns + RETRY_NS
                self._join()
        elif self._blocked:
            self._flush()
        queue = self._frames
        while len(queue) < limit and self._peer is not None and self._read():
            pass
        take = queue.popleft
        return self._count_in([take() for _ in range(min(limit, len(queue)))])

    def _read(self) -> bool:
        """One read of the stream into `_frames`; False when there is nothing more for now."""
        assert self._peer is not None
        try:
            data = self._peer.recv(CHUNK)
        except OSError as error:
            if error.errno not in FULL:
                self._leave()
            return False
        if not data:
            self._leave()
            return False
        if self._partial:
            data = self._partial + data
        length, add, at, end = _LENGTH.unpack_from, self._frames.append, 0, len(data)
        while at + 4 <= end:
            stop = at + 4 + length(data, at)[0]
            if stop - at - 4 > MAX_FRAME:
                self.broken += 1
                self._leave()
                return False
            if stop > end:
                break
            if stop > at + 4:
                add(data[at + 4 : stop])
            at = stop
        self._partial = data[at:]
        return True

    def deadline(self) -> int | None:
        if self._frames:
            return 0
        return self._retry_ns if self._peer is None and self._listener is None else None

    def link(self, up: bool) -> None:
        if up:
            if self._peer is None:
                self._join()
            for _ in range(DRAIN_MOST):
                self.stale += len(self._frames)
                self._frames.clear()
                if self._peer is None or not self._read():
                    break

    def _join(self) -> bool:
        """Take a peer that waits, or reach the listener; whether there is one now."""
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) if self._listener is None else None
        try:
            if self._listener is not None:
                peer, _ = self._listener.accept()
            elif peer is not None:
                peer.setblocking(False)
                peer.connect(self.name)
        except OSError:
            if peer is not None:
                peer.close()
            return False
        assert peer is not None
        peer.setblocking(False)
        enlarge(peer)
        self._peer = peer
        self._poll.register(peer, select.EPOLLIN)
        if self._listener is not None:
            self._poll.unregister(self._listener)  # the next one waits its turn
        return True

    def _leave(self) -> None:
        """The peer is gone: forget what was half said. Whole frames already read still go to the guest."""
        if self._peer is not None:
            self._poll.unregister(self._peer)
            self._peer.close()
            if self._listener is not None:
                self._poll.register(self._listener, select.EPOLLIN)
        self._peer, self._unsent, self._blocked, self._partial = None, b"", False, b""

    def fileno(self) -> int:
        return self._poll.fileno() if not self._poll.closed else -1

    def close(self) -> None:
        if self._poll.closed:
            return
        self._leave()
        self._poll.close()
        if self._listener is not None:
            self._listener.close()
            Path(self.name).unlink(missing_ok=True)


_LENGTH = Struct(">I")


def check_path(kind: str, path: str) -> None:
    if not path:
        raise ConfigError(f"{kind}: no path; write {kind}:PATH")
    if "\0" in path:
        raise ConfigError(f"{kind} {path!r}: a path cannot hold a NUL; give another")
    if (length := len(os.fsencode(path))) > PATH_MOST:
        raise ConfigError(f"{kind} {path}: {length} bytes, a socket path has at most {PATH_MOST}; give a shorter one")


def bind_unix(kind: str, path: str, how: socket.SocketKind) -> socket.socket:
    """A non-blocking socket at `path`, mode 0600 from its first moment; what a dead owner left there is replaced."""
    check_path(kind, path)
    _clear(kind, path, how)
    made = socket.socket(socket.AF_UNIX, how)
    try:
        os.fchmod(made.fileno(), 0o600)  # on Linux, bind gives the path the mode of the socket
        made.bind(path)
    except OSError as error:
        made.close()
        raise ConfigError(f"{kind} {path}: {error.strerror}; give a path that can be made") from error
    made.setblocking(False)
    enlarge(made)
    return made


def _clear(kind: str, path: str, how: socket.SocketKind) -> None:
    try:
        mode = Path(path).lstat().st_mode
    except OSError:
        return  # nothing there; anything worse shows when binding
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{kind} {path}: a file of that name exists and is no socket; give another path")
    with socket.socket(socket.AF_UNIX, how) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
            owner = True
        except OSError as error:
            owner = error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    if owner:
        raise ConfigError(f"{kind} {path}: in use by a live program; end that, or give another path")
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{kind} {path}: an old socket cannot be removed: {error.strerror}; give another") from error


def enlarge(made: socket.socket) -> None:
    for option, forced in ((socket.SO_SNDBUF, SO_SNDBUFFORCE), (socket.SO_RCVBUF, SO_RCVBUFFORCE)):
        try:
            made.setsockopt(socket.SOL_SOCKET, forced, BUFFER)
        except OSError:
            made.setsockopt(socket.SOL_SOCKET, option, BUFFER)
