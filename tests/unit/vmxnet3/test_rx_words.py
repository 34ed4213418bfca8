"""What completion words say: facts by feature, shapes over them, and headers of merged packets."""

from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from tests.rig import MAC, PEER, frame
from vmxnet3.rx_words import apply, facts_for, headers_length, shaped_facts
from vmxnet3.shape import Lro, Override, Shape
from vmxnet3.wire import RCD_CNC, RCD_FCS, RCD_GEN, RCD_HDR_INNER, RX_COMP, RX_COMP_LRO, Feature

ONES = 0xFFFF_FFFF
ETHER = Ether(dst=MAC, src=PEER)
V4, V6 = IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")
TCP4 = bytes(ETHER / V4 / TCP() / Raw(b"data"))
INSIDE = bytes(ETHER / V4 / UDP(dport=4789, chksum=0) / VXLAN(flags=8) / ETHER / V6 / TCP() / Raw(b"data"))


def comp(words: list[int], layout: Any = RX_COMP) -> dict[str, int]:
    found: dict[str, int] = layout.numbers(b"".join((word & ONES).to_bytes(4, "little") for word in words))
    return found


def said(facts: tuple[int, int]) -> set[str]:
    """The names of the bits that are set."""
    found = comp([facts[0], 0, 0, facts[1]])
    names = {name for name in ("cnc", "tuc", "udp", "tcp", "ipc", "v6", "v4", "frg", "fcs") if found[name]}
    return names | ({"inner"} if facts[0] & RCD_HDR_INNER else set())


@pytest.mark.parametrize(
    ("features", "data", "bits"),
    [
        (Feature(0), TCP4, {"cnc", "fcs"}),
        (Feature.RXINNEROFLD, INSIDE, {"cnc", "fcs"}),  # the checksum feature is the one that counts
        (Feature.RXCSUM, TCP4, {"v4", "tcp", "ipc", "tuc", "fcs"}),
        (Feature.RXCSUM, frame(), {"cnc", "fcs"}),
        (Feature.RXCSUM | Feature.RXINNEROFLD, TCP4, {"v4", "tcp", "ipc", "tuc", "fcs"}),
        (Feature.RXCSUM | Feature.RXINNEROFLD, INSIDE, {"inner", "v6", "tcp", "tuc", "fcs"}),
    ],
    ids=["off", "inner alone", "TCP", "nothing known", "no tunnel", "tunnel"],
)
def test_facts_follow_from_what_the_driver_asked_for(features: Feature, data: bytes, bits: set[str]) -> None:
    assert said(facts_for(features)(data)) == bits


def test_a_shape_may_speak_of_the_inner_header_whatever_the_driver_asked_for() -> None:
    facts = facts_for(Feature(0))

    assert said(shaped_facts(INSIDE, Shape(inner=True), facts)) == {"inner", "v6", "tcp", "tuc", "fcs"}
    assert said(shaped_facts(TCP4, Shape(inner=True), facts)) == {"inner", "v4", "tcp", "ipc", "tuc", "fcs"}
    assert said(shaped_facts(INSIDE, Shape(), facts)) == {"cnc", "fcs"}


def words_of(count: int) -> list[int]:
    """The completions of another packet, then those of ours, all different."""
    return [0x1111_1111, 0x2222_2222, 0x3333_3333, 0x4444_4444] + [
        n << 24 | 0x00C0_0100 + n for n in range(1, 4 * count + 1)
    ]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_merged_packet_says_so_in_its_first_completion(count: int) -> None:
    words = words_of(count)
    before = words[:]

    apply(words, 4, Shape(lro=Lro(3, 1400, 2, 0x1234)))

    found = comp(words[4:8], RX_COMP_LRO)
    assert (found["segCnt"], found["dupAckCnt"], found["tsDelta"], found["mss"]) == (3, 2, 0x1234, 1400)
    assert found["type"] == 4
    assert words[:4] == before[:4]
    assert words[8:] == before[8:]
    assert words[6] == before[6]


def test_a_merged_packet_of_one_buffer_has_no_hash_to_speak_of() -> None:
    words = [0x3C00_0000, 0xDEAD_BEEF, 60, 0x8380_0000]

    apply(words, 0, Shape(lro=Lro(2, 0)))

    found = comp(words, RX_COMP_LRO)
    assert (found["rssType"], found["segCnt"], found["mss"]) == (0, 2, 0)


def test_a_merged_packet_of_two_keeps_the_hash_at_its_end() -> None:
    words = [0, 0, 60, 0x0300_0000, 0x0800_0000, 0xDEAD_BEEF, 60, 0x8380_0000]

    apply(words, 0, Shape(lro=Lro(2, 0)))

    assert (comp(words[4:])["rssType"], words[5]) == (2, 0xDEAD_BEEF)


@pytest.mark.parametrize("field", [*RX_COMP.mask])
@pytest.mark.parametrize("value", [0, -1])
def test_every_field_may_be_overruled_but_those_that_say_where_the_bytes_are(field: str, value: int) -> None:
    stands = {"rxdIdx", "len", "gen"}
    at = next(n for n, word in enumerate(("word0", "rssHash", "word2", "word3")) if field in words_with(word))
    mask = RX_COMP.mask[field]
    words = [0x5A5A_5A5A] * 8
    clear = tuple(mask if n == at else 0 for n in range(4))
    on = tuple(mask & value if n == at else 0 for n in range(4))

    apply(words, 0, Shape(first=Override(clear, on)))  # type: ignore[arg-type]

    expected = words[4] & ~mask | (mask & value)
    assert words[at] == (0x5A5A_5A5A if field in stands else expected)
    assert [word for n, word in enumerate(words) if n != at] == [0x5A5A_5A5A] * 7


def words_with(word: str) -> set[str]:
    """The fields of one word of a completion."""
    return {
        "word0": {"rxdIdx", "ext1", "eop", "sop", "rqID", "rssType", "cnc", "ext2"},
        "rssHash": {"rssHash"},
        "word2": {"len", "err", "ts", "tci"},
        "word3": {"csum", "tuc", "udp", "tcp", "ipc", "v6", "v4", "frg", "fcs", "type", "gen"},
    }[word]


def test_all_bits_overruled_leave_what_stands() -> None:
    words = [0x0000_0AAA, 5, 0x0000_0123, RCD_GEN]

    apply(words, 0, Shape(first=Override((ONES,) * 4, (0,) * 4), last=Override((0,) * 4, (ONES,) * 4)))

    found = comp(words)
    assert (found["rxdIdx"], found["len"], found["gen"]) == (0xAAA, 0x123, 1)
    assert (found["rqID"], found["rssHash"], found["tci"], found["csum"], found["type"]) == (
        1023,
        ONES,
        0xFFFF,
        0xFFFF,
        127,
    )


def test_of_one_buffer_the_last_word_is_the_later_one() -> None:
    words = [0, 0, 0, 0]
    shape = Shape(
        first=Override(set=(RCD_CNC, 1, 0, 0)), last=Override(clear=(RCD_CNC, 0, 0, 0), set=(0, 2, 0, RCD_FCS))
    )

    apply(words, 0, shape)

    assert words == [0, 3, 0, RCD_FCS]


def test_of_two_buffers_each_has_its_own() -> None:
    words = [0] * 8

    apply(words, 0, Shape(first=Override(set=(RCD_CNC, 0, 0, 0)), last=Override(set=(0, 0, 0, RCD_FCS))))

    assert words == [RCD_CNC, 0, 0, 0, 0, 0, 0, RCD_FCS]


@pytest.mark.parametrize(
    ("layers", "options", "length"),
    [
        ((V4,), [], 54),
        ((V6,), [], 74),
        ((Dot1Q(vlan=3), V4), [], 58),
        ((Dot1Q(vlan=3), V6), [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)], 90),
    ],
    ids=["v4", "v6", "tagged", "tagged and stamped"],
)
def test_the_headers_every_segment_had(layers: tuple[Any, ...], options: list[Any], length: int) -> None:
    packet = ETHER
    for layer in layers:
        packet = packet / layer

    assert headers_length(bytes(packet / TCP(options=options) / Raw(b"data"))) == length


@pytest.mark.parametrize("size", range(14, 60, 3))
def test_headers_of_what_is_cut_are_never_longer_than_what_can_be_counted(size: int) -> None:
    assert 14 <= headers_length(TCP4[:size]) <= 14 + 60 + 60
