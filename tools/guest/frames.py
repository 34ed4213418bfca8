"""The host's twin of programs/frames.c: the same frames, the same digest; and the far end of a `dgram` netdev.

The formulas stand in programs/frames.c and programs/common.h; sizes are bytes without FCS.
"""

import socket
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

ETHERTYPE = 0x88B5
HEAD = 20
SIZE_MAX = 16384
BROADCAST = b"\xff" * 6
FNV_START, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
MASK_64 = (1 << 64) - 1


def byte_table(seed: int, size: int = 65536 + SIZE_MAX) -> bytes:
    """The table payloads are cut from."""
    table = bytearray(size)
    x = seed & MASK_64
    for n in range(size):
        x = (x * 6364136223846793005 + 1442695040888963407) & MASK_64
        table[n] = x >> 56
    return bytes(table)


def make_frames(count: int, sizes: Sequence[int], seed: int, target: bytes, source: bytes) -> Iterator[bytes]:
    """What `frames send` would send: `count` frames with sequence numbers from 0, their lengths a cycle of `sizes`."""
    table, addresses = byte_table(seed), target + source
    for sequence in range(count):
        size = sizes[sequence % len(sizes)]
        at = (sequence * 2654435761 & 0xFFFFFFFF) >> 16
        yield addresses + struct.pack(">HIH", ETHERTYPE, sequence, size) + table[at : at + size - HEAD]


def digest(frames: Iterable[bytes]) -> str:
    """Over frames in order, as both programs print it."""
    h = FNV_START
    for frame in frames:
        h = (h ^ zlib.crc32(frame)) * FNV_PRIME & MASK_64
    return f"{h:016x}"


def unpadded(frame: bytes) -> bytes:
    """One of our frames without the padding a NIC may have added to reach 60 bytes."""
    return frame[: int.from_bytes(frame[18:20], "big")] if len(frame) <= 60 else frame


def ethertype(frame: bytes) -> int:
    return int.from_bytes(frame[12:14], "big")


def mac(text: str) -> bytes:
    """`52:54:00:12:34:56` as six bytes."""
    return bytes.fromhex(text.replace(":", ""))


class DgramPeer:
    """The far end of QEMU's `-netdev dgram` over UNIX sockets: one datagram is one frame.

    `local` is bound here; it must be so before the guest sends, and QEMU's own path must be free when QEMU starts.
    """

    def __init__(self, local: Path, remote: Path) -> None:
        self.local, self.remote = local, remote
        local.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(local))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)

    def netdev(self, name: str) -> str:
        """The value of QEMU's -netdev that this is the far end of."""
        return f"dgram,id={name},local.type=unix,local.path={self.remote},remote.type=unix,remote.path={self.local}"

    def send(self, frames: Iterable[bytes], timeout_s: float = 30.0, pace: int = 0) -> int:
        """Send in order, waiting while the far queue is full; returns how many. Raises TimeoutError, ConnectionError.

        `pace` frames at most go out per ms: a NIC that drops what its ring has no room for (QEMU's own vmxnet3) needs
        that, one that leaves it in the socket does not.
        """
        self.socket.settimeout(timeout_s)
        name, sent, start = str(self.remote), 0, time.monotonic()
        for frame in frames:
            self.socket.sendto(frame, name)
            sent += 1
            if pace and sent % pace == 0 and (ahead := start + sent / pace / 1000 - time.monotonic()) > 0:
                time.sleep(ahead)
        return sent

    def receive(self, timeout_s: float, kind: int | None = ETHERTYPE) -> bytes | None:
        """The next frame of that EtherType (None: any), or None when none came in time."""
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                frame = self.socket.recv(65536)
            except TimeoutError:
                return None
            if kind is None or ethertype(frame) == kind:
                return frame
        return None

    def collect(self, count: int, timeout_s: float) -> list[bytes]:
        """Up to `count` of our frames; fewer when the time ends first."""
        found: list[bytes] = []
        end = time.monotonic() + timeout_s
        while len(found) < count and (frame := self.receive(end - time.monotonic())) is not None:
            found.append(unpadded(frame))
        return found

    def answer_pings(self, address: str, hardware: bytes, seconds: float) -> int:
        """Be a host of that IPv4 address for some time: answer ARP and ICMP echo; returns the echoes answered."""
        mine, answered, end = socket.inet_aton(address), 0, time.monotonic() + seconds
        while (frame := self.receive(end - time.monotonic(), kind=None)) is not None:
            reply = arp_reply(frame, mine, hardware) or echo_reply(frame, mine, hardware)
            if reply is None:
                continue
            try:
                self.socket.sendto(reply, str(self.remote))
            except OSError:  # the guest has gone
                break
            answered += ethertype(reply) == 0x0800
        return answered

    def close(self) -> None:
        self.socket.close()
        with suppress(OSError):
            self.local.unlink()

    def __enter__(self) -> "DgramPeer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def arp_reply(frame: bytes, address: bytes, hardware: bytes) -> bytes | None:
    """The answer to an ARP request for `address` (4 bytes), or None for any other frame."""
    if ethertype(frame) != 0x0806 or frame[20:22] != b"\0\1" or frame[38:42] != address:
        return None
    head = frame[6:12] + hardware + frame[12:20] + b"\0\2"
    return (head + hardware + address + frame[22:32]).ljust(60, b"\0")


def echo_reply(frame: bytes, address: bytes, hardware: bytes) -> bytes | None:
    """The answer to an ICMP echo request to `address` in plain IPv4, or None for any other frame."""
    if ethertype(frame) != 0x0800 or frame[14] != 0x45 or frame[23] != 1 or frame[30:34] != address or frame[34] != 8:
        return None
    ip = frame[14:26] + frame[30:34] + frame[26:30]  # swapping the addresses leaves the sum as it was
    total = int.from_bytes(frame[36:38], "big") + 0x0800  # type 8 becomes 0: the sum grows by as much
    sum_ = (total & 0xFFFF) + (total >> 16)
    return frame[6:12] + hardware + b"\x08\x00" + ip + b"\0\0" + sum_.to_bytes(2, "big") + frame[38:]
