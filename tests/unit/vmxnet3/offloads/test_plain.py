"""Checksums, segmentation, tags, receive status, with scapy as the judge."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import checksum

from vmxnet3.offloads.plain import (
    BadPacket,
    fill_checksum,
    insert_tag,
    ip_at,
    ip_facts,
    ones_sum,
    receive_facts,
    seed,
    segments,
)
from vmxnet3.wire import RX_COMP

V4: dict[str, Any] = {"src": "192.0.2.1", "dst": "198.51.100.9"}
V6: dict[str, Any] = {"src": "2001:db8::1", "dst": "2001:db8::9"}
EXAMPLES = settings(derandomize=True, max_examples=200, deadline=None)


def build(*layers: Any) -> bytes:
    """A frame of these layers, lengths and checksums by scapy."""
    packet = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
    for layer in layers:
        packet = packet / layer
    return bytes(packet)


def remade(data: bytes) -> bytes:
    """The frame with every IP and L4 length and checksum made anew by scapy."""
    packet = Ether(data)
    for name, fields in {"IP": ("len", "chksum"), "IPv6": ("plen",), "TCP": ("chksum",), "UDP": ("chksum",)}.items():
        if name in packet:
            for field in fields:
                delattr(packet[name], field)
    return bytes(packet)


def flipped(data: bytes, bit: int) -> bytes:
    out = bytearray(data)
    out[bit >> 3] ^= 1 << (bit & 7)
    return bytes(out)


# -- checksums -----------------------------------------------------------------------------------------------------


@EXAMPLES
@given(st.binary(max_size=1600) | st.integers(0, 9000).map(lambda n: b"\xff" * n), st.integers(0, 0x20000))
def test_the_ones_complement_sum(data: bytes, more: int) -> None:
    expected = ((~checksum(data) & 0xFFFF) + more) % 0xFFFF

    assert ones_sum(data, more) == expected
    assert ones_sum(memoryview(data), more) == expected


L4_FRAMES = {
    "TCP": build(IP(**V4), TCP(sport=1, dport=2), Raw(b"payload")),
    "UDP": build(IP(**V4), UDP(sport=1, dport=2), Raw(b"payload!")),
    "TCP6": build(IPv6(**V6), TCP(sport=1, dport=2), Raw(b"odd")),
    "UDP6": build(IPv6(**V6), UDP(sport=1, dport=2), Raw(b"even")),
    "ICMP": build(IP(**V4), ICMP(), Raw(b"ping")),
    "TCP tagged": build(Dot1Q(vlan=5), IP(**V4), TCP(), Raw(b"x" * 1001)),
    "TCP options": build(IP(options=[IPOption_NOP()] * 4, **V4), TCP(options=[("MSS", 1460)]), Raw(b"abc")),
}
FIELD = {"TCP": 16, "UDP": 6, "ICMP": 2}


def at_l4(data: bytes) -> tuple[int, int]:
    """(offset of the L4 header, offset of its checksum)."""
    packet = Ether(data)
    name = next(name for name in FIELD if name in packet)
    start = len(data) - len(bytes(packet[name]))
    return start, start + FIELD[name]


def seeded(data: bytes) -> bytearray:
    """The frame with the pseudo-header's sum, made by hand, where its checksum was."""
    start, field = at_l4(data)
    packet, size = Ether(data), len(data) - start
    name = next(name for name in FIELD if name in packet)
    pseudo = b""
    if "IPv6" in packet:
        pseudo = data[start - 32 : start] + size.to_bytes(4, "big") + bytes((0, 0, 0, 6 if name == "TCP" else 17))
    elif name != "ICMP":
        at = len(data) - len(bytes(packet["IP"])) + 12
        pseudo = data[at : at + 8] + bytes((0, 6 if name == "TCP" else 17)) + size.to_bytes(2, "big")
    out = bytearray(data)
    out[field : field + 2] = (~checksum(pseudo) & 0xFFFF if pseudo else 0).to_bytes(2, "big")
    return out


@pytest.mark.parametrize("data", L4_FRAMES.values(), ids=L4_FRAMES.keys())
def test_the_checksum_is_what_scapy_makes_it(data: bytes) -> None:
    frame = seeded(data)

    fill_checksum(frame, *at_l4(data))

    assert bytes(frame) == data


def test_a_udp_checksum_of_0_is_sent_as_all_ones() -> None:
    plain = build(IP(**V4), UDP(sport=1, dport=2), Raw(b"\0\0"))
    data = plain[:42] + plain[40:42]  # its own checksum as payload: now everything sums to 0xFFFF
    frame = seeded(data)

    fill_checksum(frame, 34, 40)

    assert frame[40:42] == b"\xff\xff"
    assert bytes(frame) == remade(data)


def test_any_field_at_any_place() -> None:
    data = bytearray(range(60))
    expected = checksum(bytes(data[20:]))

    fill_checksum(data, 20, 33)

    assert data[33:35] == expected.to_bytes(2, "big")
    assert data[:33] + data[35:] == bytearray((*range(33), *range(35, 60)))


@pytest.mark.parametrize("name", L4_FRAMES)
def test_the_seed_a_driver_leaves(name: str) -> None:
    data = L4_FRAMES[name]
    start, field = at_l4(data)
    blank = bytearray(data)
    blank[field : field + 2] = b"\xaa\xaa"

    found = seed(blank, ip_at(blank))

    if name == "ICMP":
        assert found is None
    else:
        held = seeded(data)[field] << 8 | seeded(data)[field + 1]
        assert found == (field, held % 0xFFFF)
        assert seed(blank, ip_at(blank), whole=False) == (field, (held - (len(data) - start)) % 0xFFFF)


@pytest.mark.parametrize("data", [build(ARP()), bytes(14), L4_FRAMES["TCP"][:50], L4_FRAMES["TCP6"][:60]])
def test_no_seed_without_tcp_or_udp(data: bytes) -> None:
    assert seed(data, 14) is None


# -- tags ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tci", [0, 5, 0xFFF, 0x2005, 0xFFFF])
def test_a_tag_stands_behind_the_addresses(tci: int) -> None:
    plain = build(IP(**V4), UDP(), Raw(b"data"))
    tagged = build(Dot1Q(vlan=tci & 0xFFF, dei=tci >> 12 & 1, prio=tci >> 13), IP(**V4), UDP(), Raw(b"data"))

    assert insert_tag(plain, tci) == tagged
    assert insert_tag(memoryview(plain), tci) == tagged


# -- segmentation --------------------------------------------------------------------------------------------------

BIG = bytes(n * 7 & 0xFF for n in range(5000))
TSO_FRAMES = {
    "v4": (build(IP(id=0xFFFE, **V4), TCP(seq=0xFFFF_FC00, flags="FPACE"), Raw(BIG)), 54),
    "v6": (build(IPv6(**V6), TCP(seq=7, flags="PA"), Raw(BIG)), 74),
    "tagged": (build(Dot1Q(vlan=9), IP(id=1, **V4), TCP(flags="A"), Raw(BIG)), 58),
    "tagged v6": (build(Dot1Q(vlan=9), IPv6(**V6), TCP(flags="FA"), Raw(BIG)), 78),
    "options": (
        build(IP(id=5, options=[IPOption_NOP()] * 8, **V4), TCP(options=[("Timestamp", (1, 2))], flags="A"), Raw(BIG)),
        54 + 8 + 12,
    ),
    "v6 with a hop-by-hop header": (build(IPv6(**V6), IPv6ExtHdrHopByHop(), TCP(flags="A"), Raw(BIG)), 82),
}


@pytest.mark.parametrize("mss", [97, 536, 999, 1448, 4999, 5000, 9000])
@pytest.mark.parametrize(("data", "hlen"), TSO_FRAMES.values(), ids=TSO_FRAMES.keys())
def test_segments_are_the_frame_in_pieces(data: bytes, hlen: int, mss: int) -> None:
    whole = Ether(data)["TCP"]

    pieces = list(segments(data, hlen, mss))

    packets = [Ether(piece) for piece in pieces]
    assert [len(piece) - hlen for piece in pieces] == [min(mss, 5000 - at) for at in range(0, 5000, mss)]
    assert b"".join(piece[hlen:] for piece in pieces) == BIG
    assert [packet["TCP"].seq for packet in packets] == [whole.seq + at & 0xFFFF_FFFF for at in range(0, 5000, mss)]
    assert [packet.type for packet in packets] == [Ether(data).type] * len(pieces)
    assert [packet["TCP"].options for packet in packets] == [whole.options] * len(pieces)
    first, last = len(packets) * [False], len(packets) * [False]
    first[0] = last[-1] = True
    for packet, is_first, is_last in zip(packets, first, last, strict=True):
        flags = int(packet["TCP"].flags)
        kept = int(whole.flags) & ~0x89
        assert flags == kept | (int(whole.flags) & 0x80) * is_first | (int(whole.flags) & 0x09) * is_last


@pytest.mark.parametrize("mss", [536, 1448, 5000])
@pytest.mark.parametrize(("data", "hlen"), TSO_FRAMES.values(), ids=TSO_FRAMES.keys())
def test_lengths_and_checksums_of_segments(data: bytes, hlen: int, mss: int) -> None:
    driver = bytearray(data)  # what the device makes anew may hold anything
    l4 = len(data) - len(bytes(Ether(data)["TCP"]))
    driver[l4 + 16 : l4 + 18] = b"\xaa\xaa"

    pieces = list(segments(bytes(driver), hlen, mss))

    assert [remade(piece) for piece in pieces] == pieces


def test_segments_of_one_byte() -> None:
    data = build(IP(id=1, **V4), TCP(seq=10), Raw(b"abc"))

    pieces = list(segments(data, 54, 1))

    assert [remade(piece) for piece in pieces] == pieces
    assert [(piece[54:], Ether(piece)["TCP"].seq) for piece in pieces] == [(b"a", 10), (b"b", 11), (b"c", 12)]


def test_ipv4_identification_counts_up_and_wraps() -> None:
    data, hlen = TSO_FRAMES["v4"]

    pieces = [Ether(piece) for piece in segments(data, hlen, 1448)]

    assert [packet["IP"].id for packet in pieces] == [0xFFFE, 0xFFFF, 0, 1]


@pytest.mark.parametrize(
    ("data", "hlen", "why"),
    [
        (build(IP(**V4), UDP(), Raw(BIG)), 42, "not TCP"),
        (build(IPv6(**V6), UDP(), Raw(BIG)), 62, "not TCP"),
        (build(ARP()), 20, "not IP"),
        (b"\0" * 14, 14, "not IP"),
        (TSO_FRAMES["v4"][0], 53, "before the end of the TCP header"),
        (TSO_FRAMES["v4"][0][:60], 61, "beyond the end"),
        (TSO_FRAMES["v6"][0][:60], 74, "beyond the end"),
        (build(IP(flags="MF", **V4), TCP(), Raw(BIG)), 54, "fragment"),
        (build(IP(frag=1, **V4), TCP(), Raw(BIG)), 54, "fragment"),
        (TSO_FRAMES["v4"][0], 33, "not TCP"),
        (TSO_FRAMES["v6"][0], 50, "not TCP"),
        (TSO_FRAMES["options"][0], 54 + 8, "before the end of the TCP header"),
        (flipped(TSO_FRAMES["v4"][0], 14 * 8 + 2), 54, "shorter than 20 bytes"),
        (flipped(TSO_FRAMES["v4"][0], 46 * 8 + 6), 54, "before the end of the TCP header"),
    ],
)
def test_what_cannot_be_segmented(data: bytes, hlen: int, why: str) -> None:
    with pytest.raises(BadPacket, match=why):
        next(iter(segments(data, hlen, 1000)))


@EXAMPLES
@given(st.binary(max_size=200), st.integers(1, 250), st.integers(1, 100))
def test_segmenting_noise_raises_bad_packet_or_nothing(noise: bytes, hlen: int, mss: int) -> None:
    data = bytes(12) + b"\x08\x00\x45" + noise
    hlen = min(hlen, len(data))

    try:
        pieces = list(segments(data, hlen, mss))
    except BadPacket:
        pieces = []

    assert sum(len(piece) - hlen for piece in pieces) in (0, len(data) - hlen)


# -- receive status ------------------------------------------------------------------------------------------------


def facts(data: bytes) -> set[str]:
    """The names of the status bits that are set."""
    word0, word3 = receive_facts(data)
    cell = word0.to_bytes(4, "little") + bytes(8) + word3.to_bytes(4, "little")
    found = RX_COMP.numbers(cell)
    assert {name: found[name] for name in ("csum", "type", "gen", "rxdIdx", "sop", "eop", "rqID", "rssType")} == (
        dict.fromkeys(("csum", "type", "gen", "rxdIdx", "sop", "eop", "rqID", "rssType"), 0)
    )
    return {name for name in ("cnc", "tuc", "udp", "tcp", "ipc", "v6", "v4", "frg", "fcs") if found[name]}


GOOD4, GOOD6 = {"fcs", "v4", "ipc"}, {"fcs", "v6"}
TCP4, UDP4 = build(IP(**V4), TCP(), Raw(b"odd")), build(IP(**V4), UDP(), Raw(b"some data"))
TCP6, UDP6 = build(IPv6(**V6), TCP(), Raw(b"1")), build(IPv6(**V6), UDP(), Raw(b"22"))
STATUS = {
    "TCP": (TCP4, GOOD4 | {"tcp", "tuc"}),
    "UDP": (UDP4, GOOD4 | {"udp", "tuc"}),
    "TCP, padded": (TCP4 + bytes(9), GOOD4 | {"tcp", "tuc"}),
    "TCP, padded with noise": (TCP4 + b"\xff" * 9, GOOD4 | {"tcp", "tuc"}),
    "UDP without payload": (build(IP(**V4), UDP()), GOOD4 | {"udp", "tuc"}),
    "TCP without payload": (build(IP(**V4), TCP()), GOOD4 | {"tcp", "tuc"}),
    "IP options": (build(IP(options=[IPOption_NOP()] * 4, **V4), UDP(), Raw(b"x")), GOOD4 | {"udp", "tuc"}),
    "TCP6": (TCP6, GOOD6 | {"tcp", "tuc"}),
    "UDP6": (UDP6, GOOD6 | {"udp", "tuc"}),
    "hop-by-hop": (build(IPv6(**V6), IPv6ExtHdrHopByHop(), UDP(), Raw(b"x")), GOOD6 | {"udp", "tuc"}),
    "wrong L4": (flipped(TCP4, 8 * 56), GOOD4 | {"tcp"}),
    "wrong L4 over IPv6": (flipped(UDP6, 8 * 63), GOOD6 | {"udp"}),
    "wrong IP": (flipped(TCP4, 8 * 22), {"fcs", "v4", "tcp", "tuc"}),  # the TTL: L4 does not cover it
    "UDP without a checksum": (build(IP(**V4), UDP(chksum=0), Raw(b"x")), GOOD4 | {"udp", "cnc"}),
    "first fragment": (build(IP(flags="MF", **V4), UDP(), Raw(b"x")), GOOD4 | {"frg"}),
    "last fragment": (build(IP(frag=185, **V4), Raw(b"x" * 40)), GOOD4 | {"frg"}),
    "fragment over IPv6": (build(IPv6(**V6), IPv6ExtHdrFragment(m=1), UDP(), Raw(b"x")), GOOD6 | {"frg"}),
    "ICMP": (build(IP(**V4), ICMP()), GOOD4 | {"cnc"}),
    "ARP": (build(ARP()), {"fcs", "cnc"}),
    "an unknown type": (bytes(60), {"fcs", "cnc"}),
    "nothing but a header": (bytes(12) + b"\x08\x00", {"fcs", "cnc"}),
    "IPv4 cut short": (TCP4[:30], {"fcs", "cnc"}),
    "TCP cut short": (TCP4[:50], {"fcs", "cnc"}),
    "IPv6 cut short": (TCP6[:50], {"fcs", "cnc"}),
    "TCP6 cut short": (TCP6[:70], GOOD6 | {"cnc"}),
    "version 5": (flipped(UDP4, 8 * 14 + 4), {"fcs", "cnc"}),
    "a header of 16 bytes": (flipped(UDP4, 8 * 14), {"fcs", "cnc"}),
}


@pytest.mark.parametrize(("data", "expected"), STATUS.values(), ids=STATUS.keys())
def test_what_a_completion_says(data: bytes, expected: set[str]) -> None:
    assert facts(data) == expected


@pytest.mark.parametrize(("data", "expected"), STATUS.values(), ids=STATUS.keys())
def test_a_tag_makes_no_difference(data: bytes, expected: set[str]) -> None:
    assert facts(insert_tag(data, 0x2005)) == expected


@pytest.mark.parametrize("data", [data for data, expected in STATUS.values() if expected & {"v4", "v6"}])
def test_an_ip_packet_anywhere(data: bytes) -> None:
    assert ip_facts(data, 14) == receive_facts(data)
    assert ip_facts(bytes(7) + data, 21) == receive_facts(data)
    assert ip_facts(data, len(data)) == ip_facts(b"\x50" + data, 0) == receive_facts(bytes(60))


@EXAMPLES
@given(st.sampled_from([TCP4, UDP4, TCP6, UDP6]), st.data())
def test_a_single_wrong_bit_is_never_called_right(good: bytes, data: st.DataObject) -> None:
    start, _ = at_l4(good)
    bit = data.draw(st.integers(8 * start, 8 * len(good) - 1))

    assert "tuc" not in facts(flipped(good, bit))


@EXAMPLES
@given(
    st.sampled_from([TCP4, UDP4, build(IP(**V4), UDP(chksum=0), Raw(b"x" * 20)), TCP4 + bytes(20)]),
    st.lists(st.tuples(st.integers(14, 60), st.integers(0, 255)), max_size=4),
    st.integers(14, 100),
)
def test_the_quick_way_and_the_long_way_agree(good: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    frame = bytearray(good)
    for at, value in changes:
        frame[at % len(frame)] = value
    frame[12:14] = b"\x08\x00"
    data = bytes(frame[: max(cut, 14)])

    assert facts(data) == facts(insert_tag(data, 0))  # behind a tag everything goes by the book


@EXAMPLES
@given(st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x81\x00\0\0\x86\xdd", b""]), st.binary(max_size=120))
def test_no_frame_is_too_odd(kind: bytes, noise: bytes) -> None:
    said = facts((bytes(12) + kind + noise).ljust(14, b"\0"))

    assert "fcs" in said
    assert not {"v4", "v6"} <= said
    assert not {"tcp", "udp"} <= said
    assert not {"frg", "tuc"} <= said
    assert not {"cnc", "tuc"} <= said
