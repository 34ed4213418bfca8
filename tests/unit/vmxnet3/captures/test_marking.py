import io

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from pvdev.errors import ConfigError
from vmxnet3.captures.capture import Captured, CaptureReader, PacketOptions
from vmxnet3.captures.marking import SELECTORS, Frame, Marking, facts_of, parse_rule, parse_rules
from vmxnet3.captures.pcapng import PcapngWriter
from vmxnet3.shape import Shape, Shaped

MAC = "02:00:00:00:00:02"
ETHER = Ether(dst=MAC, src=MAC)  # given both, scapy asks nobody
WEB = bytes(ETHER / IP(src="192.0.2.1", dst="192.0.2.2") / TCP(sport=1025, dport=80))
DNS = bytes(ETHER / Dot1Q(vlan=7) / IP(src="192.0.2.2", dst="192.0.2.1") / UDP(sport=53, dport=1025))
SIX = bytes(ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=5, dport=6))
WHO = bytes(ETHER / ARP()).ljust(60, b"\0")
FRAGMENT = bytes(ETHER / IP(frag=3) / (b"x" * 40))
FRAMES = (WEB, DNS, SIX, WHO, FRAGMENT)


def chosen(selector: str, count: int = len(FRAMES)) -> list[int]:
    """Numbers of the frames a selector holds for."""
    rule = parse_rule(f"{selector}: err")
    return [n for n in range(1, count + 1) if rule.holds(Frame(n, FRAMES[(n - 1) % len(FRAMES)]))]


@pytest.mark.parametrize(
    ("selector", "numbers"),
    [
        ("all", [1, 2, 3, 4, 5]),
        ("frame 3", [3]),
        ("frames 2-3,5", [2, 3, 5]),
        ("frames 2, 4-", [2, 4, 5]),
        ("every 2", [2, 4]),
        ("every 2 from 1", [1, 3, 5]),
        ("tcp", [1]),
        ("udp", [2, 3]),
        ("ip", [1, 2, 5]),
        ("ip6", [3]),
        ("arp", [4]),
        ("frag", [5]),
        ("vlan", [2]),
        ("vlan 7", [2]),
        ("vlan 8", []),
        ("port 1025", [1, 2]),
        ("dport 1025", [2]),
        ("sport 1025", [1]),
        ("host 192.0.2.1", [1, 2]),
        ("src 192.0.2.1", [1]),
        ("dst 192.0.2.1", [2]),
        ("host 2001:db8::2", [3]),
        ("len 60-", [3, 4, 5]),
        ("not udp", [1, 4, 5]),
        ("not not udp", [2, 3]),
        ("udp not vlan", [3]),
        ("every 2 from 1 ip", [1, 5]),
    ],
)
def test_a_selector_chooses(selector: str, numbers: list[int]) -> None:
    assert chosen(selector) == numbers


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("csum=bad", "mark: 'csum=bad' is no rule; write SELECTOR: FACTS, as in 'every 10: csum=bad'"),
        ("evry 10: err", f"mark: selector 'evry': not known; known: {SELECTORS}"),
        ("every: err", "mark: selector 'every': nothing behind it; known: all"),
        ("every 0: err", "mark: selector 'every 0': give a number from 1 to"),
        ("every 5 from 0: err", "mark: selector 'from 0': give a number from 1 to"),
        ("frames 5-3: err", "mark: selector 'frames 5-3': give numbers and ranges, as in 7,10-19,100-"),
        ("port 70000: err", "mark: selector 'port 70000': give a number from 0 to 65535"),
        ("host nowhere: err", "mark: selector: 'nowhere' is no IPv4 or IPv6 address"),
        ("udp not: err", "mark: selector: nothing behind 'not'"),
        (": err", "mark: no selector; known: all"),
        ("udp: csm=bad", "mark: mark 'csm=bad': not known"),
        ("udp: ", "mark: a mark without a word"),
    ],
)
def test_a_rule_that_is_none_is_told_in_one_line(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rule(text)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_a_marks_file_has_comments_and_names_its_lines() -> None:
    rules = parse_rules(["# all of it", "", "frame 1: err  # the first", "udp: queue=1"], "x.marks")

    assert [(rule.text, list(rule.facts)) for rule in rules] == [("frame 1: err", ["err"]), ("udp: queue=1", ["queue"])]
    with pytest.raises(ConfigError, match=r"x\.marks:2: selector 'upd': not known"):
        parse_rules(["udp: err", "upd: err"], "x.marks")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (PacketOptions("a comment of its own\npvdev: csum=bad vlan=5\npvdev: err"), ["csum=bad", "vlan=5", "err"]),
        (PacketOptions(flags=0x0000_0001), []),
        (PacketOptions(flags=0x0100_0001), ["fcs=bad"]),
        (PacketOptions(flags=0x0200_0000), ["err"]),
        (PacketOptions(flags=0x8000_0000), ["err"]),
        (PacketOptions(flags=0x0000_0200), ["csum=good"]),
        (PacketOptions(queue=3), ["queue=3"]),
        (PacketOptions(queue=99), []),
        (PacketOptions(rss_hash=0xABCD), ["rss=0xabcd"]),
        (PacketOptions("pvdev: queue=1", queue=3), ["queue=3", "queue=1"]),
    ],
)
def test_what_a_capture_says_of_a_frame_itself(options: PacketOptions, words: list[str]) -> None:
    assert [fact.word for facts in facts_of(options) for fact in facts.values()] == words


def capture(*comments: str | None) -> bytes:
    out = io.BytesIO()
    writer = PcapngWriter(out)
    writer.add_interface("x")
    for i, comment in enumerate(comments):
        writer.write(0, i, FRAMES[i % len(FRAMES)], comment=comment)
    return out.getvalue()


def marked(marking: Marking, data: bytes) -> list[Captured]:
    reader = CaptureReader(io.BytesIO(data), name="x.pcapng")
    return [item for batch in marking.batches(reader, reader.batches(2)) for item in batch]


def shapes(items: list[Captured]) -> list[Shape | None]:
    return [item[1].shape if isinstance(item[1], Shaped) else None for item in items]


def test_frames_without_facts_stay_as_they_are() -> None:
    items = marked(Marking([parse_rule("frame 2: queue=1")]), capture(None, None, None))

    assert shapes(items) == [None, Shape(queue=1), None]
    assert [type(item[1]) for item in items] == [bytes, Shaped, bytes]
    assert [bytes(item[1]) for item in items] == [WEB, DNS, SIX]


def test_rules_win_over_comments_and_later_rules_over_earlier() -> None:
    rules = [parse_rule("all: queue=2"), parse_rule("frame 2: queue=3")]
    data = capture("pvdev: queue=1 trunc=20", "pvdev: trunc=30", None)

    assert shapes(marked(Marking(rules), data)) == [
        Shape(queue=2, length=20),
        Shape(queue=3, length=30),
        Shape(queue=2),
    ]


def test_a_capture_for_one_queue_can_still_name_another() -> None:
    items = marked(Marking(queue=4), capture(None, "pvdev: queue=1"))

    assert shapes(items) == [Shape(queue=4), Shape(queue=1)]


def test_facts_are_counted() -> None:
    marking = Marking([parse_rule("every 2: csum=bad"), parse_rule("frame 4: csum=good")])
    marked(marking, capture(*[None] * 6))

    assert (marking.frames, marking.counts) == (3, {"csum=bad": 2, "csum=good": 1})


def test_a_stripped_tag_does_not_make_a_frame_look_cut_short() -> None:
    ((_, data, wire, _, _),) = marked(Marking([parse_rule("vlan: vlan=strip")]), capture(None, None))[1:]

    assert (len(data), wire) == (len(DNS) - 4, len(DNS) - 4)


def test_a_bad_word_in_a_comment_is_told_with_its_frame() -> None:
    with pytest.raises(ConfigError, match=r"x\.pcapng: comment of frame 3: mark 'cusm=bad': not known"):
        marked(Marking(), capture(None, "said by somebody", "pvdev: cusm=bad"))
