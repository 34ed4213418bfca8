"""The RSS hash and the queue it leads to: published vectors, every field on and off, frames of every kind."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from vmxnet3.offloads import rss as module
from vmxnet3.offloads.rss import NOT_HASHED, Rss, toeplitz
from vmxnet3.wire import HashType, RssField, RssType

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
BSD_KEY = bytes.fromhex("3b56d156134ae7ace8790975e86579283512b9567c764b70d856a3189b0aeef396a69f8f9e8c90c9")  # VPP's too
VECTORS = [  # Microsoft, "Verifying the RSS Hash Calculation": all of it
    ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x323E8FC2, 0x51CCC178),
    ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xD718262A, 0xC626B0EA),
    ("24.19.198.95", 12898, "12.22.207.184", 38024, 0xD2D0A5DE, 0x5C2B394A),
    ("38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xAFC7327F),
    ("153.39.163.191", 44251, "202.188.127.2", 1303, 0x5D1809C5, 0x10E828A2),
    ("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2CC18CD5, 0x40207D3D),
    ("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0F0C461C, 0xDDE51BBF),
    ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x4B61E985, 0x02D1FEEF),
]
ALL = HashType.IPV4 | HashType.TCP_IPV4 | HashType.IPV6 | HashType.TCP_IPV6
TCP_ONLY = RssField.TCPIP4 | RssField.TCPIP6
FIELDS = TCP_ONLY | RssField.UDPIP4 | RssField.UDPIP6 | RssField.ESPIP4 | RssField.ESPIP6
TABLE = bytes(n & 3 for n in range(128))
SRC, SPORT, DST, DPORT, PLAIN, PORTED = VECTORS[0]
SRC6, _, DST6, _, PLAIN6, PORTED6 = VECTORS[5]
SPI = SPORT << 16 | DPORT  # the ports word of the first and the sixth vector
EXAMPLES = settings(derandomize=True, max_examples=200, deadline=None)


def build(*layers: Any) -> bytes:
    packet = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
    for layer in layers:
        packet = packet / layer
    return bytes(packet)


def ip(src: str, dst: str) -> Any:
    return IPv6(src=src, dst=dst) if ":" in src else IP(src=src, dst=dst)


def rss(hash_type: int = ALL, fields: int = FIELDS, table: bytes = TABLE, queues: int = 4) -> Rss:
    return Rss(hash_type, fields, KEY, table, queues)


# -- the hash ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("src", "sport", "dst", "dport", "plain", "ported"), VECTORS)
@pytest.mark.parametrize("tagged", [False, True], ids=["", "tagged"])
def test_VMX_V_057_published_vectors(
    src: str, sport: int, dst: str, dport: int, plain: int, ported: int, tagged: bool
) -> None:
    stack = [Dot1Q(vlan=3)] * tagged
    tcp, udp = (build(*stack, ip(src, dst), l4(sport=sport, dport=dport)) for l4 in (TCP, UDP))
    v6 = ":" in src
    bare = plain & 3, plain, RssType.IPV6 if v6 else RssType.IPV4

    assert rss().choose(tcp) == (ported & 3, ported, RssType.TCPIPV6 if v6 else RssType.TCPIPV4)
    assert rss().choose(udp) == (ported & 3, ported, RssType.UDPIPV6 if v6 else RssType.UDPIPV4)
    assert rss(fields=0).choose(tcp) == bare
    assert rss(fields=TCP_ONLY).choose(udp) == bare


def test_VMX_V_057_another_key() -> None:
    tcp = build(ip(SRC, DST), TCP(sport=SPORT, dport=DPORT))

    assert Rss(ALL, 0, BSD_KEY, TABLE, 4).choose(tcp)[1:] == (0x4E78A6F3, RssType.IPV4)
    assert Rss(ALL, FIELDS, BSD_KEY, TABLE, 4).choose(tcp)[1:] == (0x9715DF20, RssType.TCPIPV4)


def test_toeplitz_bit_by_bit() -> None:
    data = bytes(range(100, 136))
    key, expected = int.from_bytes(KEY, "big"), 0
    for bit in range(8 * len(data)):
        if data[bit >> 3] & 0x80 >> (bit & 7):
            expected ^= key >> (320 - 32 - bit) & 0xFFFF_FFFF

    assert toeplitz(KEY, data) == expected


# -- fields --------------------------------------------------------------------------------------------------------

PROTOCOLS: dict[str, tuple[Any, int, int, int, RssType]] = {  # L4; hashType and field bits it takes; its type
    "TCP": (TCP(sport=SPORT, dport=DPORT), HashType.TCP_IPV4, RssField.TCPIP4, PORTED, RssType.TCPIPV4),
    "UDP": (UDP(sport=SPORT, dport=DPORT), 0, RssField.UDPIP4, PORTED, RssType.UDPIPV4),
    "ESP": (ESP(spi=SPI, seq=1, data=b"x" * 20), 0, RssField.ESPIP4, PORTED, RssType.ESPIPV4),
    "TCP6": (TCP(sport=SPORT, dport=DPORT), HashType.TCP_IPV6, RssField.TCPIP6, PORTED6, RssType.TCPIPV6),
    "UDP6": (UDP(sport=SPORT, dport=DPORT), 0, RssField.UDPIP6, PORTED6, RssType.UDPIPV6),
    "ESP6": (ESP(spi=SPI, seq=1, data=b"x" * 20), 0, RssField.ESPIP6, PORTED6, RssType.ESPIPV6),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_VMX_V_058_the_type_follows_the_enabled_fields(name: str) -> None:
    l4, types, field, ported, kind = PROTOCOLS[name]
    v6 = name.endswith("6")
    frame = build(ip(SRC6, DST6) if v6 else ip(SRC, DST), l4)
    bare_bit, bare = (HashType.IPV6, (RssType.IPV6, PLAIN6)) if v6 else (HashType.IPV4, (RssType.IPV4, PLAIN))

    for with_type, with_field, with_bare in product((0, 1), repeat=3):
        chosen = rss(types * with_type | bare_bit * with_bare, field * with_field).choose(frame)

        if with_field and (with_type or not types):
            assert chosen == (ported & 3, ported, kind)
        elif with_bare:
            assert chosen == (bare[1] & 3, bare[1], bare[0])
        else:
            assert chosen == (0, 0, RssType.NONE)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_VMX_V_058_the_fields_of_another_protocol_do_not_count(name: str) -> None:
    l4, types, field, _, _ = PROTOCOLS[name]
    frame = build(ip(SRC6, DST6) if name.endswith("6") else ip(SRC, DST), l4)

    assert rss((ALL & ~types) & ~(HashType.IPV4 | HashType.IPV6), FIELDS & ~field).choose(frame) == NOT_HASHED


SHAPES: dict[str, tuple[bytes, tuple[int, RssType]]] = {
    "IPv4 options": (
        build(IP(src=SRC, dst=DST, options=[IPOption_NOP()] * 4), TCP(sport=SPORT, dport=DPORT)),
        (PORTED, RssType.TCPIPV4),
    ),
    "IPv6 hop-by-hop": (
        build(ip(SRC6, DST6), IPv6ExtHdrHopByHop(), TCP(sport=SPORT, dport=DPORT)),
        (PORTED6, RssType.TCPIPV6),
    ),
    "IPv6 two headers": (
        build(ip(SRC6, DST6), IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), UDP(sport=SPORT, dport=DPORT)),
        (PORTED6, RssType.UDPIPV6),
    ),
    "first fragment": (build(IP(src=SRC, dst=DST, flags="MF"), TCP(sport=SPORT, dport=DPORT)), (PLAIN, RssType.IPV4)),
    "last fragment": (build(IP(src=SRC, dst=DST, frag=9, proto=17), Raw(bytes(64))), (PLAIN, RssType.IPV4)),
    "IPv6 fragment": (
        build(ip(SRC6, DST6), IPv6ExtHdrFragment(m=1), UDP(sport=SPORT, dport=DPORT)),
        (PLAIN6, RssType.IPV6),
    ),
    "ICMP": (build(ip(SRC, DST), ICMP()), (PLAIN, RssType.IPV4)),
    "cut before the ports": (build(ip(SRC, DST), TCP(sport=SPORT, dport=DPORT))[:36], (PLAIN, RssType.IPV4)),
}


@pytest.mark.parametrize(("frame", "expected"), SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("tagged", [False, True], ids=["", "tagged"])
def test_frames_of_every_shape(frame: bytes, expected: tuple[int, RssType], tagged: bool) -> None:
    data = frame[:12] + b"\x81\x00\x20\x05" * tagged + frame[12:]

    assert rss().choose(data)[1:] == expected


@pytest.mark.parametrize(
    "frame",
    [build(ARP()), bytes(14), build(ip(SRC, DST), TCP())[:20], build(ip(SRC6, DST6), TCP())[:30]],
    ids=["ARP", "nothing", "cut", "cut 6"],
)
def test_VMX_V_058_what_has_no_ip_addresses_goes_to_queue_0(frame: bytes) -> None:
    assert rss(table=b"\1", queues=2).choose(frame) == NOT_HASHED


# -- the table -----------------------------------------------------------------------------------------------------


def test_VMX_V_057_the_table_decides_and_an_entry_without_a_queue_means_0() -> None:
    tcp = build(ip(SRC, DST), TCP(sport=SPORT, dport=DPORT))
    table = bytearray(3)
    table[PORTED % 3] = 5

    assert rss(table=bytes(table), queues=6).choose(tcp)[0] == 5
    assert rss(table=bytes(table), queues=5).choose(tcp)[0] == 0


# -- what is remembered --------------------------------------------------------------------------------------------

KINDS = st.sampled_from([IP, IPv6]).flatmap(
    lambda l3: st.tuples(st.just(l3), st.sampled_from([TCP, UDP]), st.integers(0, 3), st.integers(0, 3))
)


@EXAMPLES
@given(st.lists(KINDS, max_size=30))
def test_what_is_remembered_is_what_would_be_computed(flows: list[tuple[Any, Any, int, int]]) -> None:
    memory = rss()

    for l3, l4, sport, dport in flows:
        addresses = {"src": SRC6, "dst": DST6} if l3 is IPv6 else {"src": SRC, "dst": DST}
        frame = build(l3(**addresses), l4(sport=sport, dport=dport))

        assert memory.choose(frame) == rss().choose(memoryview(frame)) == rss().choose(frame)


def test_the_memory_of_flows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLOWS_MAX", 8)
    memory = rss()
    frames = [build(ip(SRC, DST), TCP(sport=n, dport=80)) for n in range(20)]

    for frame in frames + frames:
        assert memory.choose(frame) == rss().choose(frame)

    assert [len(flows) for flows in memory._flows[4].values()] == [8, 0, 0]
    assert memory._others == {4: {}, 6: {}}


@EXAMPLES
@given(
    st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x81\x00\0\0\x08\x00", b"\x81\x00\0\0\x86\xdd"]),
    st.binary(max_size=99),
)
def test_no_frame_is_too_odd(kind: bytes, noise: bytes) -> None:
    frame = (bytes(12) + kind + noise).ljust(14, b"\0")

    queue, value, rss_type = rss().choose(frame)

    assert queue == value & 3
    assert (rss_type is RssType.NONE) == (rss().choose(frame) == NOT_HASHED)
