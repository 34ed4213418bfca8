"""An interface this machine has already, as a network port: a packet socket on it.

What comes from the wire goes to the guest, what the guest sends goes out on the wire; this machine itself neither hears
nor is heard. Frames of local senders (behind a veth, on a bridge) are not finished yet when a packet socket gets them:
the socket is asked for the virtio-net header that says what is missing, and `vnet` does it.

Ref: packet(7); Linux include/uapi/linux/if_packet.h, net/packet/af_packet.c.
"""

import errno
import socket
import struct
from collections import deque
from collections.abc import Sequence

from pvdev.errors import ConfigError
from vmxnet3.backend import Frame
from vmxnet3.offloads.plain import BadPacket
from vmxnet3.ports.port import MAX_FRAME, Port
from vmxnet3.ports.tunnel import DRAIN_MOST, FULL, enlarge
from vmxnet3.ports.vnet import VNET_HDR, finish

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 1, 8, 15, 23
PACKET_MR_PROMISC = 1
ETH_P_ALL = 0x0003
ARPHRD_ETHER = 1
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 0x10, 0x40
IFNAMSIZ = 16  # bytes with the final NUL

_MEMBERSHIP = struct.Struct("=iHH8s")  # packet_mreq: interface, type, address length, address
_AUXDATA = struct.Struct("=IIIHHHH")  # tpacket_auxdata: status, length, captured, mac, net, VLAN TCI, VLAN TPID
_ROOM = socket.CMSG_SPACE(_AUXDATA.size)
_PLAIN = bytes(VNET_HDR.size)  # a frame that is whole


class PacketPort(Port):
    """Frames on interface `name` of the host. `promisc`: also those for other stations, which a guest's address is.

    `unfit` counts frames that came and could not be finished (or had no end). An interface that is down drops what
    the guest sends. ConfigError: no permission, no such interface, none that speaks Ethernet.
    """

    def __init__(self, name: str, *, promisc: bool = True) -> None:
        super().__init__(name)
        self.unfit = 0
        self._frames: deque[bytes] = deque()  # finished, not yet handed on
        self._buffer = bytearray(VNET_HDR.size + MAX_FRAME)
        self._view = memoryview(self._buffer)
        self._index = _find(name)
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # hears nothing until it is bound
        except OSError as error:
            raise ConfigError(f"packet {name}: {_mend(error)}") from error
        try:
            self._set_up(promisc)
        except OSError as error:
            self._socket.close()
            raise ConfigError(f"packet {name}: {_mend(error)}") from error
        if (kind := self._socket.getsockname()[3]) != ARPHRD_ETHER:
            self._socket.close()
            raise ConfigError(f"packet {name}: not an Ethernet interface (its type is {kind}); give one that is")

    def _set_up(self, promisc: bool) -> None:
        made = self._socket
        made.setblocking(False)
        for option in (PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING):
            made.setsockopt(SOL_PACKET, option, 1)
        if promisc:
            wanted = _MEMBERSHIP.pack(self._index, PACKET_MR_PROMISC, 0, bytes(8))
            made.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, wanted)
        enlarge(made)
        made.bind((self.name, ETH_P_ALL))

    def send(self, frames: Sequence[Frame]) -> int:
        sendmsg, taken = self._socket.sendmsg, 0
        for frame in frames:
            try:
                self.bytes_out += sendmsg((_PLAIN, *frame)) - len(_PLAIN)
                self.frames_out += 1
            except OSError as error:
                if error.errno in FULL:
                    break
                self.dropped += 1  # ENETDOWN: the interface is down; EMSGSIZE: longer than its MTU allows
            taken += 1
        return taken

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        queue = self._frames
        for _ in range(limit):
            if len(queue) >= limit or not self._read():
                break
        take = queue.popleft
        return self._count_in([take() for _ in range(min(limit, len(queue)))])

    def _read(self) -> bool:
        """What one read gives, into `_frames`: often one frame, sometimes many; False when there is none."""
        try:
            size, ancillary, flags, _ = self._socket.recvmsg_into((self._buffer,), _ROOM)
        except OSError as error:
            if error.errno == errno.EINVAL:  # the header has no words for this one: the kernel threw it away
                self.unfit += 1
                return True
            if error.errno == errno.ENETDOWN:  # told once; it may come up again, or have been deleted
                self._look()
            return False
        header, frame = VNET_HDR.struct.unpack_from(self._buffer), bytes(self._view[VNET_HDR.size : size])
        kind, gso_type, _, gso_size, start, offset = header
        try:
            if flags & socket.MSG_TRUNC:
                raise BadPacket("longer than any frame", size)
            made = finish(frame, kind, gso_type, gso_size, start, offset) if kind | gso_type else (frame,)
        except BadPacket:
            self.unfit += 1
            return True
        tag = _tag(ancillary)
        self._frames.extend(made if not tag else [b"".join((each[:12], tag, each[12:])) for each in made])
        return True

    def _look(self) -> None:
        try:
            alive = socket.if_nametoindex(self.name) == self._index
        except OSError:
            alive = False
        if not alive:
            self.fault = f"packet {self.name}: the interface was deleted; start again"
            self.close()

    def deadline(self) -> int | None:
        return 0 if self._frames else None

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
        self._socket.close()


def _tag(ancillary: list[tuple[int, int, bytes]]) -> bytes:
    """The VLAN tag that the kernel has taken out of the frame, as it stood in it; empty when there was none."""
    for _, _, data in ancillary:
        if len(data) >= _AUXDATA.size:
            status, _, _, _, _, tci, tpid = _AUXDATA.unpack_from(data)
            if status & TP_STATUS_VLAN_VALID:
                return struct.pack(">HH", tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100, tci)
    return b""


def _find(name: str) -> int:
    """The number of interface `name`."""
    try:
        if name and len(name.encode()) < IFNAMSIZ and "\0" not in name:
            return socket.if_nametoindex(name)
    except OSError:
        pass
    there = ", ".join(each for _, each in socket.if_nameindex())
    raise ConfigError(f"packet {name!r}: no such interface; there is {there}")


def _mend(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return "no permission for raw sockets; run as root, or with the capability CAP_NET_RAW"
    if error.errno == errno.ENOPROTOOPT:
        return "this kernel's packet sockets are too old; Linux 4.20 or newer is needed"
    return f"{error.strerror}; give another interface"
