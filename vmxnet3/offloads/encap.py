"""Tunnels: Geneve and VXLAN frames, their layers, what the device makes anew in them, what it says of them.

Pure functions. The outer packet is UDP over IPv4 or IPv6; inside is an Ethernet frame with one tag at most, or (Geneve)
an IP packet at once.

Ref: RFC 8926 (Geneve), RFC 7348 (VXLAN), RFC 768; Linux vmxnet3_drv.c (what its driver asks for).
"""

from collections.abc import Iterator
from typing import NamedTuple

from vmxnet3.offloads.plain import TPID, Buffer, ip_facts, ipv6_upper, ones_sum, receive_facts, segments
from vmxnet3.wire import GENEVE_PORT, RCD_HDR_INNER, RCD_IPC, RCD_TUC, RCD_V4, RCD_V6, VXLAN_PORTS, Cap

UDP, FRAGMENT = 17, 44
_UDP_SIZE, _TUNNEL_SIZE = 8, 8  # bytes of the UDP header; of the Geneve header without options, and of VXLAN's
_IPV4, _IPV6, _ETHERNET = b"\x08\x00", b"\x86\xdd", b"\x65\x58"
_GENEVE = GENEVE_PORT.to_bytes(2, "big")
_PORTS = frozenset((_GENEVE, *(port.to_bytes(2, "big") for port in VXLAN_PORTS)))
_VXLAN_VALID = 0x08  # the flag that says that there is a network identifier

_CAPS = {  # by Geneve: checksum, TSO, outer checksum
    True: (Cap.GENEVE_CHECKSUM_OFFLOAD, Cap.GENEVE_TSO, Cap.GENEVE_OUTER_CHECKSUM_OFFLOAD),
    False: (Cap.VXLAN_CHECKSUM_OFFLOAD, Cap.VXLAN_TSO, Cap.VXLAN_OUTER_CHECKSUM_OFFLOAD),
}


class Tunnel(NamedTuple):
    """Where the layers of a tunnel frame begin (bytes); the headers up to `inner_l4` lie within the frame.

    `protocol` is the inner one behind IPv6 extension headers, 44 for any fragment.
    """

    geneve: bool
    ip: int
    udp: int
    inner_ip: int
    inner_l4: int
    protocol: int


def parse(frame: Buffer) -> Tunnel | None:
    """The layers of `frame`, or None when it is no tunnel with an IP packet inside.

    Only the headers up to the inner L4 header are looked at, and no length is believed.
    """
    kind, ip = frame[12:14], 14
    if kind == TPID:
        kind, ip = frame[16:18], 18
    protocol, udp = _upper(frame, kind, ip)
    inner = udp + _UDP_SIZE + _TUNNEL_SIZE
    if protocol != UDP or len(frame) < inner or (port := bytes(frame[udp + 2 : udp + 4])) not in _PORTS:
        return None
    first, kind = frame[udp + _UDP_SIZE], _ETHERNET
    if port == _GENEVE:
        if first >> 6:  # not version 0
            return None
        inner += 4 * (first & 0x3F)
        kind = frame[udp + _UDP_SIZE + 2 : udp + _UDP_SIZE + 4]
    elif not first & _VXLAN_VALID:
        return None
    if kind == _ETHERNET:
        kind, inner = frame[inner + 12 : inner + 14], inner + 14
        if kind == TPID:
            kind, inner = frame[inner + 2 : inner + 4], inner + 4
    protocol, l4 = _upper(frame, kind, inner)
    return None if protocol < 0 else Tunnel(port == _GENEVE, ip, udp, inner, l4, protocol)


def _upper(frame: Buffer, kind: Buffer, l3: int) -> tuple[int, int]:
    """(protocol, offset of its header) of the IP packet at `l3`; -1 when it is none, 44 for a fragment."""
    if kind == _IPV4 and len(frame) >= l3 + 20:
        l4 = l3 + 4 * (frame[l3] & 15)
        if frame[l3] >> 4 != 4 or not l3 + 20 <= l4 <= len(frame):
            return -1, l3
        return (FRAGMENT if frame[l3 + 6] & 0x3F or frame[l3 + 7] else frame[l3 + 9]), l4
    if kind == _IPV6 and len(frame) >= l3 + 40 and frame[l3] >> 4 == 6:
        return ipv6_upper(frame, l3)
    return -1, l3


def _total(frame: Buffer, ip: int) -> int:
    """How many bytes the IP packet at `ip` says it has."""
    if frame[ip] >> 4 == 4:
        return frame[ip + 2] << 8 | frame[ip + 3]
    return 40 + (frame[ip + 4] << 8 | frame[ip + 5])


# -- transmit ------------------------------------------------------------------------------------------------------


def capabilities(tunnel: Tunnel, *, csum: bool, tso: bool, outer: bool) -> Cap:
    """The capabilities a driver of version 7 or later must have negotiated to ask for this."""
    needed = Cap(0)
    for cap, asked in zip(_CAPS[tunnel.geneve], (csum, tso, outer), strict=True):
        if asked:
            needed |= cap
    return needed


def fill_outer(frame: bytearray, tunnel: Tunnel, *, inner_right: bool = False) -> None:
    """Store the outer UDP checksum; lengths must be right.

    `inner_right`: the inner TCP or UDP checksum is, so that what it covers is known to sum to 0. Then only headers are
    read.
    """
    udp, l4 = tunnel.udp, tunnel.inner_l4
    frame[udp + 6 : udp + 8] = b"\0\0"
    if inner_right:
        total = ones_sum(frame[udp:l4]) - ones_sum(
            _addresses(frame, tunnel.inner_ip), tunnel.protocol + len(frame) - l4
        )
    else:
        total = ones_sum(frame[udp:])
    total += ones_sum(_addresses(frame, tunnel.ip), UDP + len(frame) - udp)
    frame[udp + 6 : udp + 8] = (0xFFFF - total % 0xFFFF).to_bytes(2, "big")


def _addresses(frame: bytearray, ip: int) -> bytearray:
    return frame[ip + 12 : ip + 20] if frame[ip] >> 4 == 4 else frame[ip + 8 : ip + 40]


def tunnel_segments(frame: bytes, hlen: int, mss: int, tunnel: Tunnel, *, outer: bool) -> Iterator[bytes]:
    """Cut the TCP packet inside a tunnel frame, `hlen` bytes of headers from the start of the frame.

    Each segment gets outer lengths, IPv4 id and checksum of its own. The outer UDP checksum is made when `outer` asks
    for it or the frame has one: one that spoke of the uncut packet would be wrong in every segment. 0 stays 0.
    Raises `BadPacket` before the first segment.
    """
    pieces = segments(frame, hlen, mss, tunnel.inner_ip)
    return _wrapped(pieces, tunnel, outer or frame[tunnel.udp + 6 : tunnel.udp + 8] != b"\0\0")


def _wrapped(pieces: Iterator[bytes], tunnel: Tunnel, outer: bool) -> Iterator[bytes]:
    ip, udp = tunnel.ip, tunnel.udp
    for n, piece in enumerate(pieces):
        frame = bytearray(piece)
        if frame[ip] >> 4 == 4:
            ident = int.from_bytes(frame[ip + 4 : ip + 6], "big")
            frame[ip + 2 : ip + 4] = (len(frame) - ip).to_bytes(2, "big")
            frame[ip + 4 : ip + 6] = (ident + n & 0xFFFF).to_bytes(2, "big")
            frame[ip + 10 : ip + 12] = b"\0\0"
            header = frame[ip : ip + 4 * (frame[ip] & 15)]
            frame[ip + 10 : ip + 12] = (0xFFFF - ones_sum(header)).to_bytes(2, "big")
        else:
            frame[ip + 4 : ip + 6] = (len(frame) - ip - 40).to_bytes(2, "big")
        frame[udp + 4 : udp + 6] = (len(frame) - udp).to_bytes(2, "big")
        if outer:
            fill_outer(frame, tunnel, inner_right=True)
        yield bytes(frame)


# -- receive -------------------------------------------------------------------------------------------------------


def tunnel_facts(frame: Buffer) -> tuple[int, int] | None:
    """What a completion says of a tunnel frame once the driver asked for inner offloads, as `offload.receive_facts`.

    The bits speak of the inner packet, and dword 0 says so, when the outer one is whole and right (no UDP checksum is
    right too over IPv4); else they speak of the outer one. None: no tunnel frame.
    """
    if frame[12:14] == _IPV4 and frame[14:15] == b"\x45" and frame[36:38] not in _PORTS:  # most frames there are
        return None
    tunnel = parse(frame)
    if tunnel is None:
        return None
    ip, udp = tunnel.ip, tunnel.udp
    end = udp + (frame[udp + 4] << 8 | frame[udp + 5])
    if not tunnel.inner_l4 <= end <= len(frame) or end > ip + _total(frame, ip):
        return None
    outer = receive_facts(frame)
    right = bool(outer[1] & RCD_TUC) or (bool(outer[1] & RCD_V4) and frame[udp + 6 : udp + 8] == b"\0\0")
    if not right or not outer[1] & (RCD_IPC | RCD_V6):
        return outer
    word0, word3 = ip_facts(frame[:end], tunnel.inner_ip)
    return word0 | RCD_HDR_INNER, word3
