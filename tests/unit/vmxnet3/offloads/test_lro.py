"""Merging TCP segments: what was cut comes back whole, what does not belong together stays apart."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from vmxnet3.offloads.lro import SEGMENTS_MAX, merge
from vmxnet3.offloads.plain import receive_facts, segments
from vmxnet3.shape import Lro, Shape, Shaped
from vmxnet3.wire import RCD_FCS, RCD_IPC, RCD_TCP, RCD_TUC, RCD_V4, RCD_V6

V4: dict[str, Any] = {"src": "192.0.2.1", "dst": "198.51.100.9"}
V6: dict[str, Any] = {"src": "2001:db8::1", "dst": "2001:db8::9"}
STAMP = [("NOP", None), ("NOP", None), ("Timestamp", (1000, 77))]
GOOD4 = RCD_FCS | RCD_V4 | RCD_IPC | RCD_TCP | RCD_TUC
GOOD6 = RCD_FCS | RCD_V6 | RCD_TCP | RCD_TUC
EXAMPLES = settings(derandomize=True, max_examples=150, deadline=None)


def build(*layers: Any) -> bytes:
    packet = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
    for layer in layers:
        packet = packet / layer
    return bytes(packet)


def segment(n: int, size: int = 1000, *, ip: Any = None, tag: int | None = None, flags: str = "A", **tcp: Any) -> bytes:
    """Number `n` of a stream of `size` bytes each."""
    fields: dict[str, Any] = {"sport": 40000, "dport": 80, "seq": 0xFFFF_F000 + n * 1000 & 0xFFFF_FFFF, "ack": 7} | tcp
    ip = IP(id=n + 1, flags="DF", **V4) if ip is None else ip
    tags = [] if tag is None else [Dot1Q(vlan=tag)]
    return build(*tags, ip, TCP(flags=flags, **fields), Raw(bytes((n + k) % 256 for k in range(size))))


def payload(frame: bytes) -> bytes:
    return bytes(Ether(frame)[TCP].payload)


def remade(frame: bytes) -> bytes:
    """The frame with every length and checksum made anew by scapy."""
    packet = Ether(frame)
    for layer, fields in ((IP, ("len", "chksum")), (IPv6, ("plen",)), (TCP, ("chksum",))):
        if layer in packet:
            for field in fields:
                delattr(packet[layer], field)
    return bytes(packet)


def lro(frame: bytes) -> Lro | None:
    return frame.shape.lro if isinstance(frame, Shaped) else None


# -- merging -------------------------------------------------------------------------------------------------------

STREAMS: dict[str, tuple[Any, ...]] = {
    "v4": (IP(id=9, flags="DF", tos=4, ttl=50, **V4),),
    "v6": (IPv6(tc=8, fl=99, hlim=50, **V6),),
    "tagged v4": (Dot1Q(vlan=5, prio=3), IP(id=9, **V4)),
    "tagged v6": (Dot1Q(vlan=5), IPv6(**V6)),
}


@pytest.mark.parametrize("layers", STREAMS.values(), ids=STREAMS.keys())
@pytest.mark.parametrize("options", [[], STAMP, [("SAckOK", ""), ("MSS", 1460)]], ids=["", "stamped", "options"])
@pytest.mark.parametrize("size", [3000, 3500, 2001])
@pytest.mark.parametrize("mss", [1000, 999, 7])
def test_VMX_V_056_what_was_cut_comes_back(layers: tuple[Any, ...], options: Any, size: int, mss: int) -> None:
    data = bytes(n * 7 & 0xFF for n in range(size))
    if mss == 7:
        data = data[:100]
    whole = build(*layers, TCP(flags="PA", seq=0xFFFF_FF00, ack=5, window=99, options=options), Raw(data))

    merged = merge(list(segments(whole, len(whole) - len(data), mss)))

    assert merged == [whole]
    assert lro(merged[0]) == Lro(-(-len(data) // mss), mss)
    assert receive_facts(merged[0]) == (0, GOOD6 if IPv6 in Ether(whole) else GOOD4)


@EXAMPLES
@given(
    st.binary(min_size=2, max_size=4000),
    st.integers(1, 1500),
    st.integers(0, 2**32 - 1),
    st.sampled_from([IP(id=0xFFFE, **V4), IPv6(**V6)]),
    st.sampled_from([[], STAMP]),
    st.integers(100, 5000),
)
def test_cut_and_merged_the_payload_is_the_same_and_packets_are_right(
    data: bytes, mss: int, seq: int, ip: Any, options: Any, longest: int
) -> None:
    whole = build(ip, TCP(flags="A", seq=seq, options=options), Raw(data))
    hlen = len(whole) - len(data)
    pieces = list(segments(whole, hlen, max(mss, len(data) // 600)))

    merged = merge(pieces, longest=longest)

    assert b"".join(frame[hlen:] for frame in merged) == data
    assert sum(found.segments if (found := lro(frame)) else 1 for frame in merged) == len(pieces)
    for frame in merged:
        assert len(frame) - 14 <= longest or lro(frame) is None
        assert receive_facts(frame)[1] in (GOOD4, GOOD6)
    for one, other in pairwise(merged):
        assert Ether(other)[TCP].seq == Ether(one)[TCP].seq + len(one) - hlen & 0xFFFF_FFFF


def test_acknowledgement_window_flags_and_stamp_are_the_last_ones() -> None:
    def stamped(n: int, ts: int, **fields: Any) -> bytes:
        options = [("NOP", None), ("NOP", None), ("Timestamp", (ts, ts + 1))]
        return segment(n, options=options, **fields)

    frames = [
        stamped(0, 0xFFFF_FFF0, ack=10, window=5),
        stamped(1, 0xFFFF_FFF5, ack=11, window=6),
        stamped(2, 4, ack=12, window=7, flags="PA"),
    ]

    (merged,) = merge(frames)

    tcp = Ether(merged)[TCP]
    assert (tcp.ack, tcp.window, str(tcp.flags), tcp.seq) == (12, 7, "PA", 0xFFFF_F000)
    assert tcp.options[2] == ("Timestamp", (4, 5))
    assert Ether(merged)[IP].id == 1
    assert lro(merged) == Lro(3, 1000, 0, 0x14)
    assert remade(merged) == merged


def test_a_stamp_anywhere_in_the_options() -> None:
    def frame(n: int, ts: int) -> bytes:
        return segment(n, options=[("SAck", (1, 2)), ("NOP", None), ("Timestamp", (ts, 5)), ("NOP", None)])

    (merged,) = merge([frame(0, 100), frame(1, 130)])

    assert lro(merged) == Lro(2, 1000, 0, 30)
    assert Ether(merged)[TCP].options[2] == ("Timestamp", (130, 5))


def test_a_shorter_segment_is_the_last() -> None:
    frames = [segment(0), segment(1, 400), segment(2, seq=0xFFFF_F000 + 1400)]

    merged = merge(frames)

    assert [len(payload(frame)) for frame in merged] == [1400, 1000]
    assert merged[1] == frames[2]


def test_a_push_ends_a_packet() -> None:
    frames = [segment(0), segment(1, flags="PA"), segment(2), segment(3), segment(4, flags="PA")]

    assert [lro(frame) for frame in merge(frames)] == [Lro(2, 1000), Lro(3, 1000)]


def test_padding_behind_a_segment_is_left_out() -> None:
    (merged,) = merge([segment(0) + b"pad", segment(1, 1) + b"padding"])

    assert merged == remade(merged)
    assert len(payload(merged)) == 1001


# -- bounds --------------------------------------------------------------------------------------------------------


def test_no_packet_is_longer_than_asked() -> None:
    frames = [segment(n) for n in range(7)]

    assert [lro(frame) for frame in merge(frames, longest=3040)] == [Lro(3, 1000), Lro(3, 1000), None]
    assert [lro(frame) for frame in merge(frames, longest=3039)] == [Lro(2, 1000)] * 3 + [None]
    assert merge(frames, longest=0) == frames


def test_an_ip_packet_has_at_most_65535_bytes() -> None:
    merged = merge([segment(n) for n in range(70)])

    assert [lro(frame) for frame in merged] == [Lro(65, 1000), Lro(5, 1000)]
    assert [frame == remade(frame) for frame in merged] == [True, True]


def test_a_completion_counts_255_segments() -> None:
    frames = [segment(n, 1, seq=n) for n in range(SEGMENTS_MAX + 2)]

    assert [lro(frame) for frame in merge(frames)] == [Lro(255, 1), Lro(2, 1)]


# -- what stays apart ----------------------------------------------------------------------------------------------


def flipped(frame: bytes, at: int) -> bytes:
    return frame[:at] + bytes((frame[at] ^ 1,)) + frame[at + 1 :]


def twice(at: int) -> tuple[bytes, bytes]:
    return segment(0), segment(1, seq=0xFFFF_F000 + at & 0xFFFF_FFFF)


APART: dict[str, tuple[bytes, bytes]] = {
    "a gap": twice(1001),
    "an overlap": twice(999),
    "the same again": twice(0),
    "longer": (segment(0, 500), segment(1, 501, seq=0xFFFF_F000 + 500)),
    "another port": (segment(0), segment(1, sport=40001)),
    "another address": (segment(0), segment(1, ip=IP(src="192.0.2.2", dst=V4["dst"], flags="DF"))),
    "another TTL": (segment(0), segment(1, ip=IP(ttl=63, flags="DF", **V4))),
    "another TOS": (segment(0), segment(1, ip=IP(tos=1, flags="DF", **V4))),
    "another DF": (segment(0), segment(1, ip=IP(**V4))),
    "another class": (segment(0, ip=IPv6(**V6)), segment(1, ip=IPv6(tc=1, **V6))),
    "another flow label": (segment(0, ip=IPv6(**V6)), segment(1, ip=IPv6(fl=1, **V6))),
    "another hop limit": (segment(0, ip=IPv6(**V6)), segment(1, ip=IPv6(hlim=9, **V6))),
    "another tag": (segment(0, tag=1), segment(1, tag=2)),
    "tagged and not": (segment(0), segment(1, tag=2)),
    "another station": (segment(0), flipped(segment(1), 5)),
    "options and none": (segment(0), segment(1, options=STAMP)),
    "other options": (segment(0, options=[("MSS", 1)]), segment(1, options=[("MSS", 2)])),
    "other options beside a stamp": (
        segment(0, options=[("MSS", 1), *STAMP]),
        segment(1, options=[("MSS", 2), *STAMP]),
    ),
    "a stamp that goes back": (
        segment(0, options=[("NOP", None), ("NOP", None), ("Timestamp", (9, 0))]),
        segment(1, options=[("NOP", None), ("NOP", None), ("Timestamp", (8, 0))]),
    ),
    "a stamp far away": (
        segment(0, options=[("NOP", None), ("NOP", None), ("Timestamp", (0, 0))]),
        segment(1, options=[("NOP", None), ("NOP", None), ("Timestamp", (0x10000, 0))]),
    ),
    "an acknowledgement that goes back": (segment(0, ack=7), segment(1, ack=6)),
    "a push before": (segment(0, flags="PA"), segment(1)),
    "a FIN": (segment(0), segment(1, flags="FA")),
    "a SYN": (segment(0, flags="SA"), segment(1)),
    "a RST": (segment(0), segment(1, flags="RA")),
    "an URG": (segment(0), segment(1, flags="UA")),
    "ECE": (segment(0), segment(1, flags="EA")),
    "CWR": (segment(0), segment(1, flags="CA")),
    "no ACK": (segment(0, flags=""), segment(1, flags="")),
    "no payload": (segment(0, 0), segment(1, 0, seq=0xFFFF_F000)),
    "IP options": tuple(segment(n, ip=IP(options=[IPOption_NOP()] * 4, **V4)) for n in (0, 1)),  # type: ignore[dict-item]
    "fragments": tuple(segment(n, ip=IP(flags="MF", **V4)) for n in (0, 1)),  # type: ignore[dict-item]
    "the evil bit": tuple(segment(n, ip=IP(flags=4, **V4)) for n in (0, 1)),  # type: ignore[dict-item]
    "extension headers": tuple(segment(n, ip=IPv6(**V6) / IPv6ExtHdrHopByHop()) for n in (0, 1)),  # type: ignore[dict-item]
    "a wrong checksum": (segment(0), flipped(segment(1), 700)),
    "a wrong checksum before": (flipped(segment(0), 700), segment(1)),
    "a wrong IP checksum": (segment(0), flipped(segment(1), 24)),
    "a wrong IP checksum before": (flipped(segment(0), 24), segment(1)),
    "cut short": (segment(0), segment(1)[:-1]),
    "a TCP header of 16 bytes": tuple(segment(n, dataofs=4) for n in (0, 1)),  # type: ignore[dict-item]
    "a TCP header beyond the end": tuple(segment(n, 2, dataofs=15) for n in (0, 1)),  # type: ignore[dict-item]
    "UDP": (build(IP(**V4), UDP(), Raw(b"x")), build(IP(**V4), UDP(), Raw(b"x"))),
    "ICMP": (build(IP(**V4), ICMP()), build(IP(**V4), ICMP())),
    "ARP": (build(ARP()), build(ARP())),
    "short": (bytes(14), bytes(3)),
}


@pytest.mark.parametrize("frames", APART.values(), ids=APART.keys())
def test_what_does_not_belong_together_stays_apart(frames: tuple[bytes, bytes]) -> None:
    merged = merge(frames)

    assert merged == list(frames)
    assert [lro(frame) for frame in merged] == [None, None]


@pytest.mark.parametrize("frames", APART.values(), ids=APART.keys())
def test_what_stays_apart_does_not_end_another_flow_wrongly(frames: tuple[bytes, bytes]) -> None:
    others = [segment(n, sport=9, dport=9) for n in range(3)]

    merged = merge([others[0], frames[0], others[1], frames[1], others[2]])

    assert [frame for frame in merged if frame in frames] == list(frames)
    ours = [frame for frame in merged if frame not in frames]
    assert b"".join(map(payload, ours)) == b"".join(map(payload, others))


# -- order ---------------------------------------------------------------------------------------------------------


def test_flows_interleave_and_stand_where_they_began() -> None:
    udp = build(IP(**V4), UDP(), Raw(b"x"))
    one = [segment(n, sport=1) for n in range(3)]
    two = [segment(n, ip=IPv6(**V6), sport=2) for n in range(3)]

    merged = merge([udp, one[0], two[0], udp, two[1], one[1], one[2], udp, two[2]])

    assert [lro(frame) for frame in merged] == [None, Lro(3, 1000), Lro(3, 1000), None, None]
    assert (Ether(merged[1])[TCP].sport, Ether(merged[2])[TCP].sport) == (1, 2)


@pytest.mark.parametrize("between", [segment(2, 0), segment(0), flipped(segment(2), 60), segment(9, flags="FA")])
def test_a_flow_keeps_its_order_around_what_is_not_merged(between: bytes) -> None:
    frames = [segment(0), segment(1), between, segment(2), segment(3)]

    merged = merge(frames)

    assert [lro(frame) for frame in merged] == [Lro(2, 1000), None, Lro(2, 1000)]
    assert merged[1] == between


@EXAMPLES
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["A", "PA", "FA"]), st.sampled_from([0, 5, 10, 0])), max_size=40
    )
)
def test_each_flow_keeps_its_bytes_in_order(steps: list[tuple[int, str, int]]) -> None:
    seqs, frames, sent = [0, 0, 0], [], [b"", b"", b""]
    for flow, flags, size in steps:
        data = bytes((seqs[flow] + k) % 251 for k in range(size))
        frames.append(build(IP(**V4), TCP(sport=flow, flags=flags, seq=seqs[flow], ack=1), Raw(data)))
        seqs[flow] += size
        sent[flow] += data

    merged = merge(frames)

    for flow in range(3):
        ours = [Ether(frame) for frame in merged if Ether(frame)[TCP].sport == flow]
        assert b"".join(bytes(packet[TCP].payload)[: packet[IP].len - 40] for packet in ours) == sent[flow]
        ends = [str(packet[TCP].flags) for packet in ours if packet[TCP].flags.F]
        assert len(ends) == sum(step[0] == flow and step[1] == "FA" for step in steps)
    assert [remade(frame) for frame in merged] == [bytes(frame) for frame in merged]


def test_shaped_frames_are_left_alone_and_end_their_flow() -> None:
    shaped = Shaped(segment(2), Shape(queue=1))
    frames = [segment(0), segment(1), shaped, segment(3), segment(4)]

    merged = merge(frames)

    assert merged[1] is shaped
    assert [lro(merged[0]), lro(merged[2])] == [Lro(2, 1000), Lro(2, 1000)]
    assert merge(merged) == merged


@EXAMPLES
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"\x08\x00\x45", b"\x86\xdd\x60", b"\x81\x00\0\0\x08\x00\x45", b""]),
            st.binary(max_size=90),
        ),
        max_size=6,
    )
)
def test_no_frame_is_too_odd(noise: list[tuple[bytes, bytes]]) -> None:
    frames = [bytes(12) + kind + data for kind, data in noise]

    assert merge(frames) == frames
