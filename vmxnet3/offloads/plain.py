"""Pure functions on frames: checksums, segmentation, VLAN tags, what a receive completion says.

Ref: RFC 1071 (checksum), RFC 791, 768, 9293, 8200 (headers), IEEE 802.1Q (tag).
"""

from collections.abc import Iterator
from struct import Struct

from vmxnet3.wire import (
    RCD_CNC,
    RCD_FCS,
    RCD_FRG,
    RCD_IPC,
    RCD_TCP,
    RCD_TUC,
    RCD_UDP,
    RCD_V4,
    RCD_V6,
)

Buffer = bytes | bytearray | memoryview

from_bytes = int.from_bytes

TPID = b"\x81\x00"
_FIN_PSH, _CWR = 0x09, 0x80
L4_FIELD = {6: 16, 17: 6}  # where TCP and UDP have their checksum
IPV6_MORE = frozenset((0, 43, 60, 135))  # hop-by-hop, routing, destination options, mobility
_HEADERS_MAX = 8  # IPv6 extension headers walked before giving up


def ones_sum(data: Buffer, more: int = 0) -> int:
    """The ones' complement sum of `data` (big-endian 16-bit words, padded) and `more`, 0 to 0xFFFE: 0xFFFF is 0.

    One big number modulo 0xFFFF: as 2**16 is 1 there, its upper half may be added to its lower one, which is twice as
    fast as dividing all of it.
    """
    total, words = from_bytes(data, "big"), len(data) >> 1
    if len(data) & 1:
        total <<= 8
    while words > 128:
        words = words + 1 >> 1
        total = (total >> 16 * words) + (total & (1 << 16 * words) - 1)
    return (total + more) % 0xFFFF


def fill_checksum(frame: bytearray, start: int, at: int) -> None:
    """Sum bytes from `start` to the end, the seed at `at` included, and store the complement at `at`.

    A UDP checksum that comes out as 0 is stored as 0xFFFF (RFC 768).
    """
    value = 0xFFFF - ones_sum(frame[start:])
    if value == 0xFFFF and at - start != 6:
        value = 0
    frame[at : at + 2] = value.to_bytes(2, "big")


def seed(frame: Buffer, l3: int, *, whole: bool = True) -> tuple[int, int] | None:
    """(offset of the checksum, pseudo-header sum a driver leaves there, 0 to 0xFFFE) of the TCP or UDP packet at `l3`.

    None: neither of the two. `whole`: the sum takes the length of the L4 packet along; for segmentation it does not.
    """
    size = len(frame)
    version = frame[l3] >> 4 if size >= l3 + 20 else 0
    if version == 4:
        protocol, l4, addresses = frame[l3 + 9], l3 + 4 * (frame[l3] & 15), frame[l3 + 12 : l3 + 20]
        end = l3 + (frame[l3 + 2] << 8 | frame[l3 + 3])
    elif version == 6:
        protocol, l4 = ipv6_upper(frame, l3)
        addresses, end = frame[l3 + 8 : l3 + 40], l3 + 40 + (frame[l3 + 4] << 8 | frame[l3 + 5])
    else:
        return None
    field = L4_FIELD.get(protocol)
    if field is None or l4 + field + 2 > size:
        return None
    length = end - l4 if whole and end > l4 else 0
    return l4 + field, (from_bytes(addresses, "big") + protocol + length) % 0xFFFF


def insert_tag(frame: Buffer, tci: int) -> bytes:
    """`frame` with an 802.1Q tag after the addresses."""
    return b"".join((frame[:12], TPID, tci.to_bytes(2, "big"), frame[12:]))


class BadPacket(ValueError):
    """A frame that cannot be segmented as asked: the message says why, `value` is the field at fault."""

    def __init__(self, why: str, value: int) -> None:
        super().__init__(why)
        self.value = value


def ip_at(frame: Buffer) -> int:
    """Where the packet behind the Ethernet header, and one tag at most, begins."""
    return 18 if frame[12:14] == TPID else 14


def segments(frame: bytes, hlen: int, mss: int, l3: int | None = None) -> Iterator[bytes]:
    """Cut a TCP frame into frames of at most `mss` payload bytes behind the first `hlen` bytes of headers.

    IPv4 id counts up, lengths and checksums are made anew, sequence numbers follow, FIN and PSH stay on the last, CWR
    on the first. `l3`: where the IP header is, if not behind the Ethernet header; what stands before it is repeated.
    Raises `BadPacket` before the first segment.
    """
    if l3 is None:
        l3 = ip_at(frame)
    version = frame[l3] >> 4 if len(frame) > l3 else 0
    if version == 4:
        l4 = l3 + 4 * (frame[l3] & 15)
        protocol = frame[l3 + 9] if hlen >= l3 + 20 else -1
        addresses = frame[l3 + 12 : l3 + 20]
        if l4 < l3 + 20:
            raise BadPacket("IPv4 header shorter than 20 bytes", l4 - l3)
        if protocol >= 0 and (frame[l3 + 6] & 0x3F or frame[l3 + 7]):
            raise BadPacket("TSO on a fragment", frame[l3 + 6] << 8 | frame[l3 + 7])
    elif version == 6:
        protocol, l4 = ipv6_upper(frame[:hlen], l3)
        addresses = frame[l3 + 8 : l3 + 40]
    else:
        raise BadPacket("TSO on something that is not IP", version)
    if protocol != 6:
        raise BadPacket("TSO on something that is not TCP", protocol & 0xFF)
    if hlen > len(frame):
        raise BadPacket("the header length is beyond the end of the frame", hlen)
    if hlen < l4 + 20 or hlen < l4 + 4 * (frame[l4 + 12] >> 4) or frame[l4 + 12] >> 4 < 5:
        raise BadPacket("the header length stops before the end of the TCP header", hlen)
    return _cut(frame, hlen, mss, l3, l4, version, addresses)


def _cut(frame: bytes, hlen: int, mss: int, l3: int, l4: int, version: int, addresses: bytes) -> Iterator[bytes]:
    head, size = bytearray(frame[:hlen]), len(frame)
    ident = int.from_bytes(head[l3 + 4 : l3 + 6], "big")
    seq, flags = int.from_bytes(head[l4 + 4 : l4 + 8], "big"), head[l4 + 13]
    head[l4 + 16 : l4 + 18] = b"\0\0"
    pseudo = ones_sum(addresses) + 6
    if version == 4:
        head[l3 + 10 : l3 + 12] = b"\0\0"
    for n, at in enumerate(range(hlen, size, mss)):
        payload = frame[at : at + mss]
        last = at + mss >= size
        if version == 4:
            head[l3 + 2 : l3 + 4] = (hlen - l3 + len(payload)).to_bytes(2, "big")
            head[l3 + 4 : l3 + 6] = (ident + n & 0xFFFF).to_bytes(2, "big")
            head[l3 + 10 : l3 + 12] = b"\0\0"
            head[l3 + 10 : l3 + 12] = (0xFFFF - ones_sum(head[l3:l4])).to_bytes(2, "big")
        else:
            head[l3 + 4 : l3 + 6] = (hlen - l3 - 40 + len(payload)).to_bytes(2, "big")
        head[l4 + 4 : l4 + 8] = (seq + at - hlen & 0xFFFF_FFFF).to_bytes(4, "big")
        head[l4 + 13] = flags & ~(0 if last else _FIN_PSH) & ~(_CWR if n else 0)
        head[l4 + 16 : l4 + 18] = b"\0\0"
        total = pseudo + hlen - l4 + len(payload) + ones_sum(head[l4:])
        total += ones_sum(payload)
        head[l4 + 16 : l4 + 18] = (0xFFFF - total % 0xFFFF).to_bytes(2, "big")
        yield bytes(head) + payload


def ipv6_upper(frame: Buffer, l3: int) -> tuple[int, int]:
    """(upper protocol, its offset) behind IPv6 extension headers; -1 when they end nowhere, 44 for a fragment."""
    if len(frame) < l3 + 40:
        return -1, l3
    protocol, at = frame[l3 + 6], l3 + 40
    for _ in range(_HEADERS_MAX):
        if protocol not in IPV6_MORE or len(frame) < at + 8:
            break
        protocol, at = frame[at], at + 8 + 8 * frame[at + 1]
    if protocol in IPV6_MORE or at > len(frame):
        return -1, l3
    return protocol, at


_COMMON = Struct(
    ">11xIxH2xHxB16xH"
).unpack_from  # ethertype and first IP byte; total length; fragment; protocol; UDP checksum
_IPV4_PLAIN = 0x0800_45
_UDP4, _TCP4 = RCD_FCS | RCD_V4 | RCD_UDP, RCD_FCS | RCD_V4 | RCD_TCP
_SHORT = 282  # bytes; up to here one division is quicker than `ones_sum`'s folding
_UNKNOWN = RCD_CNC, RCD_FCS
_L4 = {6: RCD_TCP, 17: RCD_UDP}


def receive_facts(frame: Buffer) -> tuple[int, int]:
    """What a completion says of `frame`: bits of dword 0 (cnc) and of dword 3 (v4, ipc, tcp, tuc, frg, fcs ...).

    Checksums are really computed: tuc and ipc mean "correct". Looks behind one VLAN tag.
    """
    size = len(frame)
    if size >= 42:  # the common case in one go: untagged, no IP options, whole, TCP or UDP
        kind3, length, fragment, protocol, udp_check = _COMMON(frame)
        if kind3 & 0xFF_FFFF == _IPV4_PLAIN and not fragment & 0x3FFF and (end := 14 + length) <= size:
            if protocol == 17 and udp_check and length >= 28:
                word3 = _UDP4
            elif protocol == 6 and length >= 40:
                word3 = _TCP4
            else:
                return _facts4(frame, 14)
            if from_bytes(frame[14:34], "big") % 0xFFFF == 0:
                word3 |= RCD_IPC
            if end > _SHORT:
                total = ones_sum(frame[26:end], protocol + length - 20)
            else:
                total = ((from_bytes(frame[26:end], "big") << 8 * (length & 1)) + protocol + length - 20) % 0xFFFF
            return 0, word3 if total else word3 | RCD_TUC
    kind, l3 = frame[12:14], 14
    if kind == TPID:
        kind, l3 = frame[16:18], 18
    if kind == b"\x08\x00":
        return _facts4(frame, l3)
    if kind == b"\x86\xdd":
        return _facts6(frame, l3)
    return _UNKNOWN


def ip_facts(frame: Buffer, l3: int) -> tuple[int, int]:
    """The same of the IP packet at `l3`, wherever that is."""
    version = frame[l3] >> 4 if len(frame) > l3 else 0
    return _facts4(frame, l3) if version == 4 else _facts6(frame, l3) if version == 6 else _UNKNOWN


def _facts4(frame: Buffer, l3: int) -> tuple[int, int]:
    if len(frame) < l3 + 20:
        return _UNKNOWN
    l4 = l3 + 4 * (frame[l3] & 15)
    end = l3 + (frame[l3 + 2] << 8 | frame[l3 + 3])
    if frame[l3] >> 4 != 4 or l4 < l3 + 20 or not l4 <= end <= len(frame):
        return _UNKNOWN
    word3 = RCD_FCS | RCD_V4
    if from_bytes(frame[l3:l4], "big") % 0xFFFF == 0:
        word3 |= RCD_IPC
    if frame[l3 + 6] & 0x3F or frame[l3 + 7]:  # more fragments, or not the first
        return 0, word3 | RCD_FRG
    protocol = frame[l3 + 9]
    bit = _L4.get(protocol)
    if bit is None:
        return RCD_CNC, word3
    if l4 == l3 + 20:  # the addresses stand right before: one sum takes them along
        covered, total = frame[l3 + 12 : end], protocol + end - l4
    else:
        covered, total = frame[l4:end], protocol + end - l4 + ones_sum(frame[l3 + 12 : l3 + 20])
    return _facts_l4(frame, bit, l4, end, covered, total, word3)


def _facts6(frame: Buffer, l3: int) -> tuple[int, int]:
    protocol, l4 = ipv6_upper(frame, l3)
    if protocol < 0 or frame[l3] >> 4 != 6:
        return _UNKNOWN
    end = l3 + 40 + (frame[l3 + 4] << 8 | frame[l3 + 5])
    word3 = RCD_FCS | RCD_V6
    if protocol == 44:
        return 0, word3 | RCD_FRG
    bit = _L4.get(protocol)
    if bit is None or not l4 <= end <= len(frame):
        return RCD_CNC, word3
    covered, total = frame[l4:end], protocol + end - l4 + ones_sum(frame[l3 + 8 : l3 + 40])
    return _facts_l4(frame, bit, l4, end, covered, total, word3)


def _facts_l4(frame: Buffer, bit: int, l4: int, end: int, covered: Buffer, total: int, word3: int) -> tuple[int, int]:
    """`covered` and `total` are what the checksum sums: it is right when they come to 0 modulo 0xFFFF."""
    if bit == RCD_UDP:
        if end < l4 + 8 or frame[l4 + 6 : l4 + 8] == b"\0\0":  # no checksum was sent
            return RCD_CNC, word3 | bit
    elif end < l4 + 20:
        return RCD_CNC, word3 | bit
    return 0, word3 | bit | (RCD_TUC if ones_sum(covered, total) == 0 else 0)
