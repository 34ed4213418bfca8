"""Geneve and VXLAN: layers found, packets cut inside and out, what a completion says; scapy is the judge."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from vmxnet3.offloads.encap import FRAGMENT, Tunnel, capabilities, fill_outer, parse, tunnel_facts, tunnel_segments
from vmxnet3.offloads.plain import BadPacket, receive_facts
from vmxnet3.wire import RX_COMP, Cap

OUTER4, OUTER6 = IP(src="192.0.2.1", dst="192.0.2.2", id=0xFFFF), IPv6(src="2001:db8:1::1", dst="2001:db8:1::2")
INNER4, INNER6 = IP(src="10.0.0.1", dst="10.0.0.2", id=7), IPv6(src="2001:db8:2::1", dst="2001:db8:2::2")
INNER_ETHERNET = Ether(dst="02:00:00:00:00:03", src="02:00:00:00:00:04")
BIG = bytes(n * 7 & 0xFF for n in range(5000))
EXAMPLES = settings(derandomize=True, max_examples=200, deadline=None)

HEADS: dict[str, tuple[Any, int, int]] = {  # tunnel header, UDP port, bytes
    "geneve": (GENEVE(vni=5), 6081, 8),
    "geneve with options": (GENEVE(vni=5, options=[GeneveOptions(type=1, data=b"12345678")] * 2), 6081, 8 + 24),
    "vxlan": (VXLAN(vni=9, flags=8), 4789, 8),
    "vxlan of old": (VXLAN(vni=9, flags=8), 8472, 8),
}


def build(*layers: Any) -> bytes:
    packet = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
    for layer in layers:
        packet = packet / layer
    return bytes(packet)


def wrap(head: str, *inside: Any, outer: Any = OUTER4, tags: Any = (), udp: dict[str, Any] | None = None) -> bytes:
    """A tunnel frame around `inside`, which begins with its Ethernet header."""
    header, port, _ = HEADS[head]
    return build(*tags, outer, UDP(sport=50000, dport=port, **(udp or {})), header, *inside)


def dissect(frame: bytes, geneve: bool) -> tuple[Any, Any]:
    """(outer, inner) packet, whatever the port."""
    outer = Ether(frame)
    blob = bytes(outer[UDP].payload)
    return outer, (GENEVE if geneve else VXLAN)(blob).payload


def refreshed(packet: Any) -> bytes:
    """The packet with lengths and checksums made anew by scapy, outermost layer of each kind."""
    packet = packet.copy()
    for layer, fields in ((IP, ("len", "chksum")), (IPv6, ("plen",)), (TCP, ("chksum",)), (UDP, ("len", "chksum"))):
        if layer in packet:
            for field in fields:
                delattr(packet[layer], field)
    return bytes(packet)


def check(frame: bytes, geneve: bool, *, outer_sum: bool) -> Any:
    """Assert that every length and checksum of a tunnel frame is right; its inner packet."""
    outer, inner = dissect(frame, geneve)
    assert refreshed(inner) == bytes(inner)
    held = outer[UDP].chksum
    flat = Ether(frame)
    flat[UDP].remove_payload()
    flat = flat / Raw(bytes(outer[UDP].payload))
    again = Ether(refreshed(flat))
    assert (held != 0) == outer_sum
    assert again[UDP].chksum == held or not outer_sum
    assert again[UDP].len == outer[UDP].len
    for layer, fields in ((IP, ("len", "chksum")), (IPv6, ("plen",))):
        if layer in again:
            assert [getattr(again[layer], field) for field in fields] == [
                getattr(outer[layer], field) for field in fields
            ]
    return inner


# -- layers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("outer", "outer_size"), [(OUTER4, 20), (OUTER6, 40)], ids=["v4", "v6"])
@pytest.mark.parametrize(("inner", "inner_size"), [(INNER4, 20), (INNER6, 40)], ids=["in v4", "in v6"])
@pytest.mark.parametrize(("tags", "inner_tags"), list(product((0, 1), repeat=2)))
def test_the_layers_of_a_tunnel_frame(
    head: str, outer: Any, outer_size: int, inner: Any, inner_size: int, tags: int, inner_tags: int
) -> None:
    inside = (INNER_ETHERNET, *[Dot1Q(vlan=7)] * inner_tags, inner, TCP(), Raw(b"data"))
    frame = wrap(head, *inside, outer=outer, tags=[Dot1Q(vlan=5)] * tags)

    ip = 14 + 4 * tags
    udp = ip + outer_size
    inner_ip = udp + 8 + HEADS[head][2] + 14 + 4 * inner_tags
    assert parse(frame) == Tunnel(head.startswith("geneve"), ip, udp, inner_ip, inner_ip + inner_size, 6)
    assert parse(memoryview(frame)) == parse(frame)


def test_geneve_may_carry_ip_at_once() -> None:
    for proto, inner in ((0x0800, INNER4), (0x86DD, INNER6)):
        frame = build(OUTER4, UDP(dport=6081), GENEVE(proto=proto), inner, UDP(), Raw(b"x"))

        assert parse(frame) == Tunnel(True, 14, 34, 50, 50 + (20 if inner is INNER4 else 40), 17)


def test_headers_in_between() -> None:
    outer = IP(src="192.0.2.1", dst="192.0.2.2", options=[IPOption_NOP()] * 4)
    frame = wrap("vxlan", INNER_ETHERNET, INNER6, IPv6ExtHdrHopByHop(), UDP(), outer=outer)

    assert parse(frame) == Tunnel(False, 14, 38, 38 + 16 + 14, 38 + 16 + 14 + 48, 17)


@pytest.mark.parametrize("inner", [IP(flags="MF"), IP(frag=3), INNER6 / IPv6ExtHdrFragment(m=1)])
def test_a_fragment_inside(inner: Any) -> None:
    found = parse(wrap("vxlan", INNER_ETHERNET, inner, UDP(), Raw(b"x" * 16)))

    assert found is not None
    assert found.protocol == FRAGMENT


NO_TUNNEL = {
    "another port": build(OUTER4, UDP(dport=4790), VXLAN(flags=8), INNER_ETHERNET, INNER4, TCP()),
    "TCP": build(OUTER4, TCP(dport=4789), VXLAN(flags=8), INNER_ETHERNET, INNER4, TCP()),
    "a fragment": wrap("vxlan", INNER_ETHERNET, INNER4, TCP(), outer=IP(flags="MF")),
    "no network identifier": build(OUTER4, UDP(dport=4789), VXLAN(flags=0), INNER_ETHERNET, INNER4, TCP()),
    "geneve version 1": build(OUTER4, UDP(dport=6081), GENEVE(version=1), INNER_ETHERNET, INNER4, TCP()),
    "geneve with something else": build(OUTER4, UDP(dport=6081), GENEVE(proto=0x1234), Raw(bytes(60))),
    "geneve options beyond the end": build(OUTER4, UDP(dport=6081), GENEVE(optionlen=63), INNER_ETHERNET, INNER4),
    "ARP inside": wrap("vxlan", INNER_ETHERNET, ARP()),
    "nothing inside": build(OUTER4, UDP(dport=4789), VXLAN(flags=8)),
    "no tunnel header": build(OUTER4, UDP(dport=4789)),
    "an inner version 5": wrap("vxlan", INNER_ETHERNET, IP(version=5), TCP()),
    "an inner header of 16 bytes": wrap("vxlan", INNER_ETHERNET, IP(ihl=4), TCP()),
    "an inner header beyond the end": wrap("vxlan", INNER_ETHERNET, IP(ihl=15)),
    "ARP": build(ARP()),
    "nothing": bytes(14),
}


@pytest.mark.parametrize("frame", NO_TUNNEL.values(), ids=NO_TUNNEL.keys())
def test_no_tunnel(frame: bytes) -> None:
    assert parse(frame) is None
    assert tunnel_facts(frame) is None


@EXAMPLES
@given(
    st.sampled_from(sorted(HEADS)),
    st.lists(st.tuples(st.integers(14, 140), st.integers(0, 255)), max_size=4),
    st.data(),
)
def test_no_frame_is_too_odd(head: str, changes: list[tuple[int, int]], data: st.DataObject) -> None:
    good = bytearray(wrap(head, INNER_ETHERNET, INNER6, IPv6ExtHdrHopByHop(), TCP(), Raw(b"x" * 40)))
    for at, value in changes:
        good[at % len(good)] = value
    frame = bytes(good[: data.draw(st.integers(14, len(good)))])

    found = parse(frame)
    facts = tunnel_facts(frame)

    if found is None:
        assert facts is None
    else:
        assert found.ip < found.udp < found.inner_ip < found.inner_l4 <= len(frame)
        with_header = found.inner_l4 + 20
        try:
            pieces = list(tunnel_segments(frame, with_header, 7, found, outer=True))
        except BadPacket:
            pieces = []
        assert b"".join(piece[with_header:] for piece in pieces) in (b"", frame[with_header:])


# -- transmit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("outer", [OUTER4, OUTER6], ids=["v4", "v6"])
@pytest.mark.parametrize("inner", [INNER4, INNER6, INNER6 / IPv6ExtHdrHopByHop()], ids=["in v4", "in v6", "in v6+"])
@pytest.mark.parametrize(("before", "asked"), [(0, False), (0, True), (0xABCD, False), (0xABCD, True)])
def test_VMX_V_036_segments_are_right_inside_and_out(
    head: str, outer: Any, inner: Any, before: int, asked: bool
) -> None:
    tcp = TCP(seq=0xFFFF_FC00, flags="FPAC", options=[("Timestamp", (1, 2))])
    frame = wrap(head, INNER_ETHERNET, Dot1Q(vlan=3), inner, tcp, Raw(BIG), outer=outer, udp={"chksum": before})
    tunnel = parse(frame)
    assert tunnel is not None
    hlen = len(frame) - len(BIG)

    pieces = list(tunnel_segments(frame, hlen, 1400, tunnel, outer=asked))

    packets = [check(piece, tunnel.geneve, outer_sum=asked or before != 0) for piece in pieces]
    assert b"".join(bytes(packet[TCP].payload) for packet in packets) == BIG
    assert [packet[TCP].seq for packet in packets] == [
        0xFFFF_FC00,
        0xFFFF_FC00 + 1400 - 2**32 & 0xFFFF_FFFF,
        1776,
        3176,
    ]
    assert [str(packet[TCP].flags) for packet in packets] == ["AC", "A", "A", "FPA"]
    if outer is OUTER4:
        assert [Ether(piece)[IP].id for piece in pieces] == [0xFFFF, 0, 1, 2]
    if inner is INNER4:
        assert [packet[IP].id for packet in packets] == [7, 8, 9, 10]
    assert {piece[:14] for piece in pieces} == {frame[:14]}
    assert {piece[tunnel.udp + 8 : tunnel.inner_ip] for piece in pieces} == {frame[tunnel.udp + 8 : tunnel.inner_ip]}


@pytest.mark.parametrize(
    ("inside", "hlen", "why"),
    [
        ((INNER4, UDP(), Raw(BIG)), 92, "not TCP"),
        ((IP(flags="MF"), TCP(), Raw(BIG)), 104, "fragment"),
        ((INNER6, IPv6ExtHdrFragment(m=1), TCP(), Raw(BIG)), 132, "not TCP"),
        ((INNER4, TCP(), Raw(BIG)), 103, "before the end of the TCP header"),
        ((INNER4, TCP(), Raw(BIG)), 60, "not TCP"),
    ],
)
def test_what_cannot_be_segmented(inside: tuple[Any, ...], hlen: int, why: str) -> None:
    frame = wrap("vxlan", INNER_ETHERNET, *inside)
    tunnel = parse(frame)
    assert tunnel is not None

    with pytest.raises(BadPacket, match=why):
        tunnel_segments(frame, hlen, 1000, tunnel, outer=False)


@pytest.mark.parametrize("outer", [OUTER4, OUTER6], ids=["v4", "v6"])
def test_the_outer_checksum(outer: Any) -> None:
    good = wrap("vxlan", INNER_ETHERNET, INNER4, UDP(), Raw(b"odd"), outer=outer)
    frame = bytearray(wrap("vxlan", INNER_ETHERNET, INNER4, UDP(), Raw(b"odd"), outer=outer, udp={"chksum": 0x1234}))
    tunnel = parse(frame)
    assert tunnel is not None

    fill_outer(frame, tunnel)

    assert bytes(frame) == good


def test_capabilities_of_each_request() -> None:
    geneve, vxlan = (parse(wrap(head, INNER_ETHERNET, INNER4, TCP())) for head in ("geneve", "vxlan of old"))
    assert geneve is not None
    assert vxlan is not None

    assert capabilities(geneve, csum=True, tso=False, outer=False) == Cap.GENEVE_CHECKSUM_OFFLOAD
    assert capabilities(geneve, csum=False, tso=True, outer=True) == Cap.GENEVE_TSO | Cap.GENEVE_OUTER_CHECKSUM_OFFLOAD
    assert capabilities(vxlan, csum=True, tso=False, outer=True) == (
        Cap.VXLAN_CHECKSUM_OFFLOAD | Cap.VXLAN_OUTER_CHECKSUM_OFFLOAD
    )
    assert capabilities(vxlan, csum=False, tso=True, outer=False) == Cap.VXLAN_TSO
    assert capabilities(vxlan, csum=False, tso=False, outer=False) == Cap(0)


# -- receive -------------------------------------------------------------------------------------------------------


def facts(frame: bytes) -> set[str]:
    """The names of the status bits that are set; ext1 as "inner"."""
    said = tunnel_facts(frame)
    assert said is not None
    word0, word3 = said
    found = RX_COMP.numbers(word0.to_bytes(4, "little") + bytes(8) + word3.to_bytes(4, "little"))
    assert found["ext1"] in (0, 2)
    names = {name for name in ("cnc", "tuc", "udp", "tcp", "ipc", "v6", "v4", "frg", "fcs") if found[name]}
    return names | {"inner"} if found["ext1"] else names


def flipped(frame: bytes, at: int) -> bytes:
    return frame[:at] + bytes((frame[at] ^ 1,)) + frame[at + 1 :]


TCP_INSIDE, NO_SUM = (INNER_ETHERNET, INNER4, TCP(), Raw(b"data")), {"chksum": 0}
PLAIN, SILENT = wrap("vxlan", *TCP_INSIDE), wrap("vxlan", *TCP_INSIDE, udp=NO_SUM)  # with an outer checksum, without
GOOD4, GOOD6 = {"fcs", "inner", "v4", "ipc"}, {"fcs", "inner", "v6"}
STATUS: dict[str, tuple[bytes, set[str]]] = {
    "TCP": (PLAIN, GOOD4 | {"tcp", "tuc"}),
    "TCP in Geneve": (wrap("geneve with options", *TCP_INSIDE), GOOD4 | {"tcp", "tuc"}),
    "padded": (PLAIN + b"\xff" * 9, GOOD4 | {"tcp", "tuc"}),
    "UDP6": (wrap("geneve", INNER_ETHERNET, INNER6, UDP(), Raw(b"x")), GOOD6 | {"udp", "tuc"}),
    "over IPv6": (wrap("vxlan", *TCP_INSIDE, outer=OUTER6), GOOD4 | {"tcp", "tuc"}),
    "tagged": (wrap("vxlan", *TCP_INSIDE, tags=[Dot1Q(vlan=2)]), GOOD4 | {"tcp", "tuc"}),
    "no outer checksum": (SILENT, GOOD4 | {"tcp", "tuc"}),
    "no outer checksum over IPv6": (
        wrap("vxlan", *TCP_INSIDE, outer=OUTER6, udp=NO_SUM),
        {"fcs", "v6", "udp", "cnc"},
    ),
    "wrong inside": (flipped(SILENT, len(SILENT) - 1), GOOD4 | {"tcp"}),
    "wrong inner IP": (flipped(SILENT, 64 + 8), (GOOD4 | {"tcp", "tuc"}) - {"ipc"}),
    "wrong inside, the outer one tells": (flipped(PLAIN, len(PLAIN) - 1), {"fcs", "v4", "ipc", "udp"}),
    "wrong outer IP": (flipped(PLAIN, 22), {"fcs", "v4", "udp", "tuc"}),
    "wrong outer IP, no outer checksum": (flipped(SILENT, 22), {"fcs", "v4", "udp", "cnc"}),
    "ICMP": (wrap("vxlan", INNER_ETHERNET, INNER4, ICMP()), GOOD4 | {"cnc"}),
    "a fragment": (wrap("vxlan", INNER_ETHERNET, IP(flags="MF"), UDP(), Raw(b"x" * 8)), GOOD4 | {"frg"}),
    "UDP without a checksum": (wrap("vxlan", INNER_ETHERNET, INNER4, UDP(chksum=0)), GOOD4 | {"udp", "cnc"}),
}


@pytest.mark.parametrize(("frame", "expected"), STATUS.values(), ids=STATUS.keys())
def test_what_a_completion_says(frame: bytes, expected: set[str]) -> None:
    assert facts(frame) == expected


@pytest.mark.parametrize("name", [name for name, (_, expected) in STATUS.items() if "inner" not in expected])
def test_without_a_right_outer_packet_it_is_like_any_other(name: str) -> None:
    frame = STATUS[name][0]

    assert tunnel_facts(frame) == receive_facts(frame)


@pytest.mark.parametrize(
    "frame",
    [
        PLAIN[:-1],
        wrap("vxlan", *TCP_INSIDE, udp={"len": 8}),
        wrap("vxlan", *TCP_INSIDE, udp={"len": 0xFFFF}),
        wrap("vxlan", *TCP_INSIDE, outer=IP(len=60)),
        wrap("vxlan", *TCP_INSIDE, outer=IPv6(plen=60)),
    ],
    ids=["cut", "UDP ends before the inner packet", "UDP beyond the end", "IP ends before UDP", "IPv6 ends before UDP"],
)
def test_outer_lengths_that_do_not_hold_the_inner_packet(frame: bytes) -> None:
    assert parse(frame) is not None
    assert tunnel_facts(frame) is None
