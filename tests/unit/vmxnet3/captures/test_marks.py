import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from pvdev.errors import ConfigError
from vmxnet3.captures.marks import FIELDS, KNOWN, Shaper, describe, merge, parse
from vmxnet3.shape import Lro, Override, Shape, Shaped, Signal
from vmxnet3.wire import RX_COMP, RssType

MAC = "02:00:00:00:00:02"
ETHER = Ether(dst=MAC, src=MAC)  # given both, scapy asks nobody
TCP4 = bytes(ETHER / IP() / TCP() / b"payload")
TCP6 = bytes(ETHER / IPv6() / TCP() / b"payload")
UDP4 = bytes(ETHER / IP() / UDP() / b"payload")
TAGGED = bytes(ETHER / Dot1Q(vlan=7, prio=5) / IP() / UDP() / b"payload")
ARP_FRAME = bytes(ETHER / ARP())


def shaped(text: str, frame: bytes = TCP4) -> Shaped:
    return Shaper().shaped(frame, parse(text))


def last(text: str, frame: bytes = TCP4) -> Override:
    return shaped(text, frame).shape.last


def bits(override: Override) -> dict[str, int]:
    """Every completion field the override touches, with its value."""
    return {
        name: (override.set[word] & mask) >> shift
        for name, (word, mask, shift) in FIELDS.items()
        if override.clear[word] & mask
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("csum=bad", {"cnc": 0, "tuc": 0}),
        ("csum=unknown", {"cnc": 1, "tuc": 0}),
        ("ipcsum=bad", {"ipc": 0}),
        ("ipcsum=good", {"ipc": 1}),
        ("err", {"err": 1}),
        ("fcs=bad", {"err": 1, "fcs": 0}),
        ("frag", {"frg": 1, "tuc": 0}),
        ("rss=tcp4:0x1234abcd", {"rssType": 2, "rssHash": 0x1234ABCD}),
        ("rss=esp6:7", {"rssType": 8, "rssHash": 7}),
        ("rss=none", {"rssType": 0, "rssHash": 0}),
        ("last.csum=0x1234", {"csum": 0x1234}),
        ("last.type=0 last.tcp=0", {"type": 0, "tcp": 0}),
    ],
)
def test_a_word_sets_fields_of_the_last_completion(text: str, expected: dict[str, int]) -> None:
    assert bits(last(text)) == expected
    assert shaped(text).shape.first == Override()


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (TCP4, {"cnc": 0, "tuc": 1, "frg": 0, "v4": 1, "ipc": 1, "tcp": 1}),
        (UDP4, {"cnc": 0, "tuc": 1, "frg": 0, "v4": 1, "ipc": 1, "udp": 1}),
        (TCP6, {"cnc": 0, "tuc": 1, "frg": 0, "v6": 1, "tcp": 1}),
        (ARP_FRAME, {"cnc": 0, "tuc": 1, "frg": 0}),
    ],
    ids=["tcp4", "udp4", "tcp6", "arp"],
)
def test_a_good_checksum_is_said_as_of_a_packet_of_that_kind(frame: bytes, expected: dict[str, int]) -> None:
    assert bits(last("csum=good", frame)) == expected


@pytest.mark.parametrize(
    ("frame", "kind"), [(TCP4, RssType.TCPIPV4), (UDP4, RssType.UDPIPV4), (TCP6, RssType.TCPIPV6), (ARP_FRAME, 0)]
)
def test_a_hash_alone_gets_the_type_of_its_frame(frame: bytes, kind: int) -> None:
    assert bits(last("rss=0x99", frame)) == {"rssType": kind, "rssHash": 0x99 if kind else 0}


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("queue=31", Shape(queue=31)),
        ("lro=5", Shape(lro=Lro(5, 0))),
        ("lro=5:1448", Shape(lro=Lro(5, 1448))),
        ("lro=5:1448:2:300", Shape(lro=Lro(5, 1448, 2, 300))),
        ("inner", Shape(inner=True)),
        ("trunc=60", Shape(length=60)),
        ("vlan=100", Shape(strip=100)),
        ("vlan=100.5", Shape(strip=0xA064)),
        ("vlan=0xb064", Shape(strip=0xB064)),
        ("gen=hold:2ms", Shape(hold_ns=2_000_000)),
        ("irq=lost", Shape(signal=Signal.LOST)),
        ("irq=spurious", Shape(signal=Signal.SPURIOUS)),
        ("irq=delay:500us", Shape(delay_ns=500_000)),
        ("first.rssType=15", Shape(first=Override((0xF << 26, 0, 0, 0), (0xF << 26, 0, 0, 0)))),
        ("word3+=0x10000", Shape(last=Override((0, 0, 0, 0x10000), (0, 0, 0, 0x10000)))),
        ("first.word0-=0x8000", Shape(first=Override((0x8000, 0, 0, 0)))),
    ],
)
def test_words_that_are_fields_of_the_shape(text: str, shape: Shape) -> None:
    found = shaped(text)

    assert (found.shape, bytes(found)) == (shape, TCP4)


def test_a_tag_is_stripped_from_the_bytes_and_reported() -> None:
    found = shaped("vlan=strip", TAGGED)

    assert found.shape == Shape(strip=5 << 13 | 7)
    assert found == TAGGED[:12] + TAGGED[16:]
    assert shaped("vlan=strip", TCP4).shape == Shape()


def test_the_last_word_on_a_matter_counts() -> None:
    assert bits(last("csum=bad err csum=unknown")) == {"cnc": 1, "tuc": 0, "err": 1}
    assert bits(last("csum=bad last.tuc=1")) == {"cnc": 0, "tuc": 1}
    assert bits(last("last.tuc=1 csum=bad")) == {"cnc": 0, "tuc": 0}
    merged = merge([parse("csum=bad queue=1"), parse("queue=2 err"), parse("csum=good")])
    assert [fact.word for fact in merged.values()] == ["queue=2", "err", "csum=good"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("csm=bad", f"mark 'csm=bad': not known; known: {KNOWN}"),
        ("", f"a mark without a word; known: {KNOWN}"),
        ("err csum=wrong", "mark 'csum=wrong': give good, bad or unknown"),
        ("ipcsum=unknown", "mark 'ipcsum=unknown': give good or bad"),
        ("err=1", "mark 'err=1': it takes no value; write err"),
        ("queue=32", "mark 'queue=32': give a number from 0 to 31"),
        ("queue", "mark 'queue': give a number from 0 to 31"),
        ("trunc=0", "mark 'trunc=0': give a number from 1 to 65535"),
        ("lro=0", "mark 'lro=0': give a number from 1 to 255"),
        ("lro=1:2:3:4:5", "mark 'lro=1:2:3:4:5': give SEGMENTS[:MSS[:DUPACKS[:TSDELTA]]]"),
        ("vlan=4096", "mark 'vlan=4096': give an id from 0 to 4095 (with a priority: 100.5), a whole TCI"),
        ("vlan=1.8", "mark 'vlan=1.8': give an id"),
        ("rss=tcp5:1", "mark 'rss=tcp5:1': no type 'tcp5'; give one of ip4, tcp4, ip6, tcp6, udp4, udp6, esp4, esp6"),
        ("rss=0x100000000", "mark 'rss=0x100000000': give a number from 0 to 4294967295"),
        ("gen=2ms", "mark 'gen=2ms': give hold:TIME, as in gen=hold:2ms"),
        ("gen=hold:2", "mark 'gen=hold:2': give a time up to 60s"),
        ("irq=delay:61s", "mark 'irq=delay:61s': give a time up to 60s"),
        ("irq=late", "mark 'irq=late': give lost, spurious, or delay:TIME"),
        ("fcs=good", "mark 'fcs=good': give bad"),
        ("last.len=5", "mark 'last.len=5': no field 'len' to set; there is ext1, eop, sop"),
        ("last.tuc=2", "mark 'last.tuc=2': give a number from 0 to 1"),
        ("word3+=0x80000000", "mark 'word3+=0x80000000': bits 0x80000000 are the device's own (rxdIdx, len, gen)"),
        ("word0+=0xfff", "mark 'word0+=0xfff': bits 0xfff are the device's own"),
        ("word1+=0", "mark 'word1+=0': give a number from 1 to 4294967295"),
    ],
)
def test_a_bad_word_is_named_with_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value).startswith(says)


def test_the_fields_are_all_of_a_completion_but_the_devices_own() -> None:
    assert {*FIELDS} == {*RX_COMP.mask, "rssHash"} - {"rxdIdx", "len", "gen"}


@pytest.mark.parametrize("frame", [TCP4, TCP6, UDP4, ARP_FRAME], ids=["tcp4", "tcp6", "udp4", "arp"])
@pytest.mark.parametrize(
    "text",
    [
        "csum=good",
        "csum=bad",
        "csum=unknown ipcsum=bad",
        "fcs=bad",
        "csum=unknown frag",
        "lro=5:1448 queue=3 trunc=60 vlan=100.5 inner rss=tcp4:0x1234 csum=bad gen=hold:2ms irq=lost",
        "vlan=0xb064 rss=none irq=delay:1500ns",
        "first.sop=0x0 last.csum=0x1234",
        "last.word0-=0x4000000",
    ],
)
def test_what_is_described_reads_as_it_was_written(text: str, frame: bytes) -> None:
    assert describe(shaped(text, frame)) == text


def test_a_frame_that_is_not_special_has_nothing_to_describe() -> None:
    assert describe(Shaped(TCP4, Shape())) == ""


_WORD = st.integers(0, 2**32 - 1)
_STANDING = (RX_COMP.mask["rxdIdx"], 0, RX_COMP.mask["len"], RX_COMP.mask["gen"])


@st.composite
def overrides(draw: st.DrawFn) -> Override:
    clear = [draw(_WORD) & ~standing for standing in _STANDING]
    on = [draw(_WORD) & word for word in clear]
    return Override((clear[0], clear[1], clear[2], clear[3]), (on[0], on[1], on[2], on[3]))


@given(overrides(), overrides())
def test_any_bits_described_and_parsed_again_are_the_same(first: Override, last: Override) -> None:
    text = describe(Shaped(TCP4, Shape(first=first, last=last)))

    assert not text or shaped(text).shape == Shape(first=first, last=last)
    assert text or not (any(first.clear) or any(last.clear))


def test_shapes_are_shared_where_the_frame_does_not_matter() -> None:
    shaper = Shaper()

    assert shaper.shaped(TCP4, parse("err")).shape is shaper.shaped(UDP4, parse("err")).shape
    assert shaper.shaped(TCP4, parse("csum=good")).shape != shaper.shaped(UDP4, parse("csum=good")).shape
