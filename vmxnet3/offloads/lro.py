"""Large receive offload: TCP segments of one batch that follow each other in their flow become one packet.

Pure. Only what segmentation could have cut is merged: whole, right packets with equal headers and contiguous payload.
Everything else passes as it is, and ends what was being merged of its flow.

Ref: RFC 9293 (TCP), RFC 7323 (timestamps).
"""

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from vmxnet3.offloads.plain import ones_sum
from vmxnet3.shape import Lro, Shape, Shaped

LONGEST = 65535  # bytes of IP packet
SEGMENTS_MAX = 255  # what a completion can say
DELTA_MAX = 0xFFFF  # between timestamps: the same

from_bytes = int.from_bytes

_TCP, _ACK, _PSH = 6, 0x10, 0x08
_MORE6 = frozenset((0, 43, 44, 51, 60, 135))  # IPv6 next headers behind which TCP may still come
_ETHERTYPE = Struct(">H").unpack_from
# first byte; total length; fragment; addresses and ports; sequence; acknowledgement; TCP header length; flags
_PACKET4 = Struct(">BxH2xH4x12sIIBB").unpack_from
# first byte; payload length; the same
_PACKET6 = Struct(">B3xH2x36sIIBB").unpack_from
_SIZE4, _SIZE6 = 40, 60  # of IP and TCP header without options


class _Segment(NamedTuple):
    """A TCP segment that may be merged. `l3`, `l4`: where its headers begin; payload from `start` up to `end`."""

    frame: bytes
    l3: int
    l4: int
    start: int
    end: int
    seq: int
    ack: int

    def alike(self) -> tuple[bytes, bytes]:
        """What of the headers is the same in all segments of a packet, the options aside."""
        frame, l3 = self.frame, self.l3
        if self.l4 - l3 == 20:  # Ethernet, version, TOS; fragment bits, TTL, protocol
            return frame[: l3 + 2], frame[l3 + 6 : l3 + 10]
        return frame[: l3 + 4], frame[l3 + 6 : l3 + 8]  # Ethernet, version, class, flow; next header, hop limit

    def payload(self) -> tuple[bytes, int] | None:
        """The payload and its ones' complement sum; None when a checksum is wrong."""
        frame, l3, l4 = self.frame, self.l3, self.l4
        if l4 - l3 == 20:
            if from_bytes(frame[l3:l4], "big") % 0xFFFF:
                return None
            addresses = l3 + 12
        else:
            addresses = l3 + 8
        data = frame[self.start : self.end]
        total = ones_sum(data)
        if (from_bytes(frame[addresses : self.start], "big") + _TCP + self.end - l4 + total) % 0xFFFF:
            return None
        return data, total


class _Flow:
    """Segments on their way into one packet, which takes `slot` of the result; most stay alone."""

    __slots__ = (
        "_alike",
        "_delta",
        "_options",
        "_stamp",
        "_sum",
        "first",
        "last",
        "mss",
        "next_seq",
        "payloads",
        "size",
        "slot",
    )

    def __init__(self, slot: int, first: _Segment) -> None:
        self.slot, self.first, self.last = slot, first, first
        self.mss = first.end - first.start
        self.next_seq = first.seq + self.mss & 0xFFFF_FFFF
        self.size = first.end - first.l3  # bytes of IP packet
        self.payloads: list[bytes] = []

    def _open(self) -> bool:
        """Get ready for a second segment; False: the first is damaged."""
        first = self.first
        found = first.payload()
        if found is None:
            return False
        data, self._sum = found
        self.payloads.append(data)
        self._alike, self._options, self._delta = first.alike(), first.frame[first.l4 + 20 : first.start], 0
        self._stamp = _timestamp(self._options)  # offset in the options
        return True

    def takes(self, segment: _Segment, longest: int) -> bool:
        """Append `segment` if it goes on where this flow is; False: it does not."""
        size = segment.end - segment.start
        if (
            segment.seq != self.next_seq
            or size > self.mss
            or self.size + size > longest
            or segment.start != self.first.start
            or segment.ack - self.last.ack & 0x8000_0000  # goes back
            or not (self.payloads or self._open())
            or len(self.payloads) >= SEGMENTS_MAX
            or segment.alike() != self._alike
        ):
            return False
        options, delta = segment.frame[segment.l4 + 20 : segment.start], self._delta
        if options != self._options:
            at = self._stamp
            if at < 0 or options[:at] != self._options[:at] or options[at + 8 :] != self._options[at + 8 :]:
                return False
            delta = from_bytes(options[at : at + 4], "big") - from_bytes(self._options[at : at + 4], "big")
            delta &= 0xFFFF_FFFF
        if not self._delta <= delta <= DELTA_MAX:
            return False
        found = segment.payload()
        if found is None:
            return False
        data, total = found
        odd = self.mss & len(self.payloads) & 1  # it begins in the middle of a word
        self._sum += total << 8 if odd else total
        self.payloads.append(data)
        self.last, self._delta = segment, delta
        self.next_seq = segment.seq + size & 0xFFFF_FFFF
        self.size += size
        return True

    def merged(self) -> Shaped:
        """The packet: headers of the first segment; acknowledgement, flags, window and timestamp of the last.

        Its checksum is made of the segments' sums: summing 64 KiB again costs a fifth of the whole.
        """
        l3, l4, start, frame = self.first.l3, self.first.l4, self.first.start, self.last.frame
        head = bytearray(self.first.frame[:start])
        head[l4 + 8 : l4 + 16] = frame[l4 + 8 : l4 + 16]
        head[l4 + 20 :] = frame[l4 + 20 : start]
        if l4 - l3 == 20:
            head[l3 + 2 : l3 + 4] = self.size.to_bytes(2, "big")
            head[l3 + 10 : l3 + 12] = b"\0\0"
            head[l3 + 10 : l3 + 12] = (0xFFFF - ones_sum(head[l3:l4])).to_bytes(2, "big")
            addresses = l3 + 12
        else:
            head[l3 + 4 : l3 + 6] = (self.size - 40).to_bytes(2, "big")
            addresses = l3 + 8
        head[l4 + 16 : l4 + 18] = b"\0\0"
        total = ones_sum(head[addresses:], _TCP + self.size - (l4 - l3) + self._sum)
        head[l4 + 16 : l4 + 18] = (0xFFFF - total).to_bytes(2, "big")
        shape = Shape(lro=Lro(len(self.payloads), self.mss, 0, self._delta), verified=True)
        return Shaped(b"".join((head, *self.payloads)), shape)


def merge(frames: Sequence[bytes], *, longest: int = LONGEST) -> list[bytes]:
    """`frames` with the TCP segments that belong together merged, at most `longest` bytes of IP packet each.

    A merged packet is `Shaped` and stands where its first segment stood; each flow keeps its order. What is `Shaped`
    already is left alone.
    """
    out: list[bytes] = []
    flows: dict[bytes, _Flow] = {}  # by addresses and ports: those that may go on
    grown: list[_Flow] = []
    for frame in frames:
        size, l3 = len(frame), 14
        kind = _ETHERTYPE(frame, 12)[0] if size >= 14 else 0
        if kind == 0x8100 and size >= 18:
            kind, l3 = _ETHERTYPE(frame, 16)[0], 18
        if kind == 0x0800 and size >= l3 + _SIZE4:
            if frame[l3 + 9] != _TCP:
                out.append(frame)
                continue
            first, length, fragment, key, seq, ack, words, flags = _PACKET4(frame, l3)
            l4, end, plain = l3 + 20, l3 + length, first == 0x45 and not fragment & 0xBFFF
        elif kind == 0x86DD and size >= l3 + _SIZE6:
            if frame[l3 + 6] != _TCP:
                if frame[l3 + 6] in _MORE6:
                    flows.clear()
                out.append(frame)
                continue
            first, length, key, seq, ack, words, flags = _PACKET6(frame, l3)
            l4, end, plain = l3 + 40, l3 + 40 + length, first >> 4 == 6
        else:
            out.append(frame)
            continue
        if not plain:  # where its ports are, if it has any, is not worth finding out
            flows.clear()
            out.append(frame)
            continue
        start = l4 + (words >> 4) * 4
        if flags & ~_PSH != _ACK or words < 0x50 or not start < end <= size or type(frame) is not bytes:
            flows.pop(key, None)
            out.append(frame)
            continue
        segment = _Segment(frame, l3, l4, start, end, seq, ack)
        flow = flows.get(key)
        if flow is not None and flow.takes(segment, longest):
            if len(flow.payloads) == 2:
                grown.append(flow)
            if flags & _PSH or end - start < flow.mss:
                del flows[key]
            continue
        if flags & _PSH:
            flows.pop(key, None)
        else:
            flows[key] = _Flow(len(out), segment)
        out.append(frame)
    for flow in grown:
        out[flow.slot] = flow.merged()
    return out


def _timestamp(options: bytes) -> int:
    """Where in TCP options the timestamp's value is; -1: nowhere."""
    if options[:4] == b"\x01\x01\x08\x0a" and len(options) >= 12:  # as everyone sends it
        return 4
    at = 0
    while at + 10 <= len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
        elif options[at] == 8:
            return at + 2 if options[at + 1] == 10 else -1
        elif options[at + 1] < 2:
            break
        else:
            at += options[at + 1]
    return -1
