"""An Ethernet switch between the devices of one or several processes, made of nothing but its ports.

A switch is a directory, a port a datagram socket in it. Each port reaches every other one directly, so that no frame
is ever passed on twice: there is nothing a loop could run through, and nobody whose end would end the switch. A port
learns from what it receives which member a station sits behind; what it cannot tell goes to all.

A datagram is the sender's eight-byte name (in hexadecimal its file name), then frames as `stream:` has them: each
behind its length, 4 bytes big-endian. Many frames travel in one, because a socket of this kind queues few datagrams
(10 by default) and a system call costs more than a frame.
"""

import contextlib
import errno
import os
import re
import secrets
import socket
import stat
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from struct import Struct

from pvdev.errors import ConfigError
from vmxnet3.backend import Buffer, Frame
from vmxnet3.ports.port import MAX_FRAME, Port
from vmxnet3.ports.tunnel import DRAIN_MOST, FULL, PATH_MOST, bind_unix, enlarge

NAME_SIZE = 8  # bytes; random, so that no name is used twice
LOT = 32768  # bytes of frames in one datagram, unless a single frame is longer
PATIENCE_NS = 50_000_000  # how long a full member holds up the others; then it misses frames until it takes one again
RETRY_NS = 100_000  # between two looks whether a full member has room
AGE_NS = 300_000_000_000  # a station not heard of for this long is forgotten, at the latest
TABLE_MOST = 4096  # stations learned in half that time; a new half begins when there are more
SETTLED_NS = 50_000_000  # a directory that changed less than this before it was read may have changed again since
SHORTEST = 14  # bytes of the Ethernet header

_MEMBER = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_LENGTH = Struct(">I")


class _Member:
    """Another port of the switch: a socket connected to it, so that one that is full fills no buffer but its own."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.waiting: deque[tuple[bytes, int]] = deque()  # datagrams it has no room for, and their frames
        self.since_ns = 0  # when it was found full; 0: it is not
        self.stuck = False  # full for longer than our patience
        self.gone = False
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        enlarge(self.socket)

    def leave(self) -> int:
        """Forget it; returns the frames that still waited for it."""
        self.gone = True
        self.socket.close()
        lost = sum(frames for _, frames in self.waiting)
        self.waiting.clear()
        return lost


class SwitchPort(Port):
    """One port of the switch `name`: a plain name (the user's own switches), or the path of a directory, with a `/`.

    Frames to a station that was heard of go to its member, all others to every member, tagged or not. A member that is
    full is waited for, up to PATIENCE_NS; one that stays full (a guest that has stopped) misses frames, and one that
    has died is forgotten. `dropped` counts those frames and the ones sent while nobody else was there, `broken`
    datagrams that are not of this framing. `clock` gives ns. ConfigError: a name or directory that cannot be.
    """

    def __init__(self, name: str, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        super().__init__(name)
        self.broken = 0
        self._clock = clock
        self._folder = _folder(name)
        self._token = secrets.token_bytes(NAME_SIZE)
        self._path = f"{self._folder}/{self._token.hex()}"
        unborn = f"{self._folder}/.{self._token.hex()}"  # seen by nobody until it can be connected to
        self._socket = bind_unix("switch", unborn, socket.SOCK_DGRAM)
        Path(unborn).rename(self._path)
        self._members: dict[bytes, _Member] = {}
        self._young: dict[bytes, _Member] = {}  # address -> where it was heard of, in this half of AGE_NS
        self._old: dict[bytes, _Member] = {}  # in the half before
        self._turn_ns = 0
        self._changed_ns, self._read_ns = -1, 0  # of the directory: its stamp when it was read, and when that was
        self._frames: deque[bytes] = deque()  # read, not yet handed on
        self._owing, self._retry_ns = False, 0  # a member has datagrams waiting; when to offer them again
        self._look()

    # -- to the others ----------------------------------------------------------------------------------------------

    def send(self, frames: Sequence[Frame]) -> int:
        if self._owing and not self._push_all():
            return 0
        young, old, lots = self._young, self._old, dict[_Member, list[Buffer]]()
        everyone: list[list[Buffer]] | None = None
        for frame in frames:
            data = frame[0] if len(frame) == 1 else b"".join(frame)
            if not SHORTEST <= len(data) <= MAX_FRAME:
                self.dropped += 1
                continue
            to = bytes(data[:6])
            member = None if to[0] & 1 else young.get(to) or old.get(to)
            if member is not None and not member.gone:
                lots.setdefault(member, []).append(data)
            else:
                if everyone is None:
                    self._look()
                    everyone = [lots.setdefault(each, []) for each in self._members.values()]
                for lot in everyone:
                    lot.append(data)
                if not everyone:
                    self.dropped += 1
                    continue
            self.frames_out += 1
            self.bytes_out += len(data)
        for member, lot in lots.items():
            self._pack(member, lot)
        self._push_all()
        return len(frames)

    def _pack(self, member: _Member, lot: list[Buffer]) -> None:
        """These frames, as datagrams in their order, behind what waits for `member`."""
        head, room, count, pieces = _LENGTH.pack, LOT, 0, list[Buffer]((self._token,))
        for data in lot:
            size = 4 + len(data)
            if size > room and count:
                member.waiting.append((b"".join(pieces), count))
                room, count, pieces = LOT, 0, [self._token]
            pieces += (head(size - 4), data)
            room -= size
            count += 1
        if count:
            member.waiting.append((b"".join(pieces), count))

    def _push_all(self) -> bool:
        """Give every member what waits for it; True when nothing waits any more."""
        for token, member in list(self._members.items()):
            if member.waiting and not self._push(member):
                self._forget(token)
        self._owing, self._retry_ns = any(member.waiting for member in self._members.values()), 0
        return not self._owing

    def _push(self, member: _Member) -> bool:
        """Give `member` what waits for it, as far as it has room; False when it has died."""
        waiting, send = member.waiting, member.socket.send
        while waiting:
            try:
                send(waiting[0][0])
            except OSError as error:
                if error.errno in FULL:
                    now = self._clock()
                    member.since_ns = member.since_ns or now
                    member.stuck = member.stuck or now - member.since_ns > PATIENCE_NS
                    if member.stuck:
                        self.dropped += sum(frames for _, frames in waiting)
                        waiting.clear()
                    return True
                if error.errno != errno.EMSGSIZE:
                    return False
                self.dropped += waiting[0][1]
            else:
                member.since_ns, member.stuck = 0, False
            waiting.popleft()
        return True

    # -- who is there -----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Find out who has come and who has left, when the directory has changed since we last looked."""
        try:
            changed_ns = Path(self._folder).stat().st_mtime_ns
            if changed_ns == self._changed_ns and self._read_ns - changed_ns > SETTLED_NS:
                return
            self._changed_ns, self._read_ns = changed_ns, time.time_ns()
            there = {bytes.fromhex(file.name) for file in Path(self._folder).iterdir() if _MEMBER.fullmatch(file.name)}
        except OSError as error:
            self.fault = self.fault or f"switch {self.name}: {self._folder}: {error.strerror}; start its members again"
            return
        for token in self._members.keys() - there:
            self._forget(token)
        for token in there - self._members.keys() - {self._token}:
            self._meet(token)

    def _meet(self, token: bytes) -> None:
        path = f"{self._folder}/{token.hex()}"
        try:
            self._members[token] = _Member(path)
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                _sweep(path)
            elif error.errno in (errno.EMFILE, errno.ENFILE):
                self.fault = self.fault or f"switch {self.name}: {error.strerror} for its members; raise ulimit -n"

    def _forget(self, token: bytes) -> None:
        member = self._members.pop(token)
        self.dropped += member.leave()
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            if probe.connect_ex(member.path) == errno.ECONNREFUSED:
                _sweep(member.path)

    def _learn(self, station: bytes, member: _Member) -> None:
        if station[0] & 1:
            return
        if len(self._young) >= TABLE_MOST:
            self._turn()
        self._young[station] = member

    def _turn(self) -> None:
        """A new half of AGE_NS begins: who was not heard of in the last one is forgotten."""
        self._old, self._young = self._young, {}

    # -- from the others --------------------------------------------------------------------------------------------

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        if self._owing and not self._push_all():
            self._retry_ns = now_ns + RETRY_NS
        if now_ns >= self._turn_ns:
            self._turn_ns = now_ns + AGE_NS // 2
            self._turn()
        queue = self._frames
        while len(queue) < limit and self._read():
            pass
        take = queue.popleft
        return self._count_in([take() for _ in range(min(limit, len(queue)))])

    def _read(self) -> bool:
        """One datagram into `_frames`; False when there is none."""
        try:
            data = self._socket.recv(NAME_SIZE + max(LOT, 4 + MAX_FRAME))
        except OSError:
            return False
        token, at, end = data[:NAME_SIZE], NAME_SIZE, len(data)
        if token not in self._members:
            self._look()
        member, known, station = self._members.get(token), self._young, b""
        length, add = _LENGTH.unpack_from, self._frames.append
        while at + 4 + SHORTEST <= end:
            stop = at + 4 + length(data, at)[0]
            if stop > end or stop < at + 4 + SHORTEST:
                break
            frame = data[at + 4 : stop]
            add(frame)
            if frame[6:12] != station and member is not None:
                station = frame[6:12]
                if known.get(station) is not member:
                    self._learn(station, member)
                    known = self._young
            at = stop
        self.broken += at != end
        return True

    def deadline(self) -> int | None:
        return 0 if self._frames else self._retry_ns if self._owing else None

    def link(self, up: bool) -> None:
        if up:
            for _ in range(DRAIN_MOST):
                self.stale += len(self._frames)
                self._frames.clear()
                if not self._read():
                    break

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        Path(self._path).unlink(missing_ok=True)
        self._socket.close()
        for member in self._members.values():
            self.dropped += member.leave()
        self._members.clear()
        self._owing = False


def _sweep(path: str) -> None:
    """Remove the socket file of a member that has died; anything else of that name is left alone."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(Path(path).lstat().st_mode):
            Path(path).unlink()


def _folder(name: str) -> str:
    """The directory of switch `name`, made if need be."""
    if not name:
        raise ConfigError("switch: no name; write switch:NAME, or switch:PATH with a / in it")
    try:
        if "/" in name:
            folder = Path(name)
        elif _NAME.fullmatch(name):
            folder = _own_folder() / "switch" / name
            folder.parent.mkdir(mode=0o700, exist_ok=True)
        else:
            raise ConfigError(
                f"switch {name!r}: not a name; give letters, digits, '.', '_' and '-', or a path with a /"
            )
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"switch {name}: {error.filename}: {error.strerror}; give another path") from error
    except ValueError as error:
        raise ConfigError(f"switch {name!r}: {error}; give another path") from error
    if (length := len(os.fsencode(folder))) > PATH_MOST - 2 * NAME_SIZE - 2:
        most = PATH_MOST - 2 * NAME_SIZE - 2
        raise ConfigError(
            f"switch {name}: its directory's path has {length} bytes, of at most {most}; give a shorter one"
        )
    return str(folder)


def _own_folder() -> Path:
    """Where this user's programs find each other: $XDG_RUNTIME_DIR, /run/user/UID or one of our own in /tmp."""
    session = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    base = session / "pvdev" if session.is_dir() else Path(tempfile.gettempdir()) / f"pvdev-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    facts = base.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise ConfigError(f"switch: {base} belongs to somebody else; set XDG_RUNTIME_DIR, or give switch:PATH")
    return base
