"""Golden bytes are worked out from the format drafts (draft-ietf-opsawg-pcap, -pcapng), not taken from our writer."""

import contextlib
import io
import socket
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet
from scapy.utils import PcapNgReader, RawPcapNgReader, checksum

from pvdev.errors import ConfigError
from vmxnet3.captures.capture import CHUNK, MAX_FRAME, Captured, CaptureReader, PacketOptions
from vmxnet3.captures.pcapng import PcapngWriter

LAN = Path(__file__).parents[3] / "data" / "lan.pcapng"

# Frame 1: 14 bytes at 1 s + 2 units; frame 2: 15 bytes held of 60, at 3 s + 4 units.
ONE = bytes.fromhex("ffffffffffff 00005e005301 0806")
TWO = bytes.fromhex("00005e005302 00005e005301 0800 45")
PCAP_LITTLE = bytes.fromhex(
    "d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000"
    "01000000 02000000 0e000000 0e000000 ffffffffffff00005e0053010806"
    "03000000 04000000 0f000000 3c000000 00005e00530200005e005301080045"
)
PCAP_BIG = bytes.fromhex(
    "a1b2c3d4 0002 0004 00000000 00000000 00040000 00000001"
    "00000001 00000002 0000000e 0000000e ffffffffffff00005e0053010806"
    "00000003 00000004 0000000f 0000003c 00005e00530200005e005301080045"
)
PCAP_NS_LITTLE = bytes.fromhex("4d3cb2a1") + PCAP_LITTLE[4:]
PCAP_NS_BIG = bytes.fromhex("a1b23c4d") + PCAP_BIG[4:]

# Section header, interface (resolution 10^-9, name "a"), two enhanced packets: the same two frames, 1_000_000_002 ns
# (3b9aca02) and 3_000_000_004 ns (b2d05e04); the first with the comment "hi" and flags "inbound".
PCAPNG_LITTLE = bytes.fromhex(
    "0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000"
    "01000000 28000000 0100 0000 00000400 0200 0100 61000000 0900 0100 09000000 0000 0000 28000000"
    "06000000 44000000 00000000 00000000 02ca9a3b 0e000000 0e000000 ffffffffffff00005e0053010806 0000"
    "0200 0400 01000000 0100 0200 68690000 0000 0000 44000000"
    "06000000 30000000 00000000 00000000 045ed0b2 0f000000 3c000000 00005e00530200005e005301080045 00 30000000"
)
PCAPNG_BIG = bytes.fromhex(
    "0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c"
    "00000001 00000028 0001 0000 00040000 0002 0001 61000000 0009 0001 09000000 0000 0000 00000028"
    "00000006 00000044 00000000 00000000 3b9aca02 0000000e 0000000e ffffffffffff00005e0053010806 0000"
    "0002 0004 00000001 0001 0002 68690000 0000 0000 00000044"
    "00000006 00000030 00000000 00000000 b2d05e04 0000000f 0000003c 00005e00530200005e005301080045 00 00000030"
)
NS_FRAMES = [(1_000_000_002, ONE, 14, 0, None), (3_000_000_004, TWO, 60, 0, None)]
US_FRAMES = [(1_000_002_000, ONE, 14, 0, None), (3_000_004_000, TWO, 60, 0, None)]
NG_FRAMES = [(1_000_000_002, ONE, 14, 0, PacketOptions("hi", flags=1)), (3_000_000_004, TWO, 60, 0, None)]
GOLDEN = {
    "pcap us little": (PCAP_LITTLE, US_FRAMES, [24, 54, 85]),
    "pcap us big": (PCAP_BIG, US_FRAMES, [24, 54, 85]),
    "pcap ns little": (PCAP_NS_LITTLE, NS_FRAMES, [24, 54, 85]),
    "pcap ns big": (PCAP_NS_BIG, NS_FRAMES, [24, 54, 85]),
    "pcapng little": (PCAPNG_LITTLE, NG_FRAMES, [68, 136, 184]),
    "pcapng big": (PCAPNG_BIG, NG_FRAMES, [68, 136, 184]),
}
golden = pytest.mark.parametrize(("data", "frames", "ends"), GOLDEN.values(), ids=GOLDEN.keys())


class Trickle:
    """A pipe that gives one byte at a time and cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(size, 1))


def frames_of(data: bytes, *, partial: bool = False) -> list[Captured]:
    return [frame for batch in CaptureReader(io.BytesIO(data), partial=partial).batches() for frame in batch]


def message_of(data: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        frames_of(data)
    return str(caught.value)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(*options: tuple[int, bytes], order: str = "<", link: int = 1, snaplen: int = 0) -> bytes:
    body = struct.pack(order + "HHI", link, 0, snaplen)
    for code, value in options:
        body += struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)
    return block(1, body, order)


def packet(number: int, stamp: int, data: bytes, order: str = "<") -> bytes:
    head = struct.pack(order + "IIIII", number, stamp >> 32, stamp & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data, order)


# Whole, byte by byte, cut ---------------------------------------------------------------------------------------


@golden
def test_whole(data: bytes, frames: list[Captured], ends: list[int]) -> None:
    assert frames_of(data) == frames


@golden
def test_byte_by_byte(data: bytes, frames: list[Captured], ends: list[int]) -> None:
    reader = CaptureReader(Trickle(data))

    assert [frame for batch in reader.batches() for frame in batch] == frames
    assert reader.frames == 2


@golden
def test_cut_between_records_is_a_whole_shorter_capture(data: bytes, frames: list[Captured], ends: list[int]) -> None:
    assert [frames_of(data[:end]) for end in ends] == [[], frames[:1], frames]


@golden
def test_cut_inside_any_record_gives_the_frames_before_it_then_one_line(
    data: bytes, frames: list[Captured], ends: list[int]
) -> None:
    for stop in range(ends[0] + 1, len(data)):
        good = sum(end <= stop for end in ends[1:])
        got: list[Captured] = []
        reader = CaptureReader(io.BytesIO(data[:stop]), name="x.pcap")
        error = ""
        try:
            for batch in reader.batches():
                got += batch
        except ConfigError as caught:
            error = str(caught)
        where = f"offset {ends[good]} is cut short; the {good} frames before it are whole: play just those"
        assert got == frames[:good]
        assert (where in error) == (stop not in ends), stop
        assert frames_of(data[:stop], partial=True) == got


@golden
def test_cut_inside_the_file_header_is_refused_when_opened(
    data: bytes, frames: list[Captured], ends: list[int]
) -> None:
    for stop in range(24):
        with pytest.raises(ConfigError, match=r"^capture: .*; (give|capture)"):
            CaptureReader(io.BytesIO(data[:stop]))


@golden
def test_batches_are_as_small_as_asked(data: bytes, frames: list[Captured], ends: list[int]) -> None:
    assert list(CaptureReader(io.BytesIO(data)).batches(1)) == [[frames[0]], [frames[1]]]


def test_a_batch_is_handed_out_before_the_pipe_is_asked_again() -> None:
    asked: list[int] = []

    class Pipe:
        def read(self, size: int, /) -> bytes:
            asked.append(size)
            return PCAP_LITTLE[:60] if len(asked) == 1 else PCAP_LITTLE[60:] if len(asked) == 2 else b""

    batches = CaptureReader(Pipe()).batches()
    assert next(batches) == US_FRAMES[:1]
    assert len(asked) == 1
    assert list(batches) == [US_FRAMES[1:]]


def test_frames_across_chunk_borders() -> None:
    sizes = [(i * 7919) % 9000 + 14 for i in range(500)]
    file = io.BytesIO()
    writer = PcapngWriter(file)
    number = writer.add_interface("x")
    for i, size in enumerate(sizes):
        writer.write(number, i, bytes([i & 255]) * size)

    assert len(file.getvalue()) > 4 * CHUNK
    assert [(f[0], f[1]) for f in frames_of(file.getvalue())] == [
        (i, bytes([i & 255]) * n) for i, n in enumerate(sizes)
    ]


# pcap -----------------------------------------------------------------------------------------------------------


def test_pcap_reports_its_interface() -> None:
    reader = CaptureReader(io.BytesIO(PCAP_BIG))

    assert (reader.format, reader.interfaces[0].link_type, reader.interfaces[0].snaplen) == ("pcap", 1, 262144)


def test_pcap_fcs_declared_in_the_header_is_taken_off() -> None:
    header = PCAP_LITTLE[:20] + struct.pack("<I", 2 << 28 | 1 << 26 | 1)  # FCS of two 16-bit units
    whole = struct.pack("<IIII", 1, 0, 18, 18) + ONE + b"\xaa\xbb\xcc\xdd"
    cut = struct.pack("<IIII", 1, 0, 14, 64) + ONE

    assert frames_of(header + whole + cut) == [(10**9, ONE, 14, 0, None), (10**9, ONE, 60, 0, None)]


def test_pcap_absurd_length_is_damage_not_a_frame() -> None:
    bad = PCAP_LITTLE[:54] + struct.pack("<IIII", 0, 0, MAX_FRAME + 1, MAX_FRAME + 1) + bytes(MAX_FRAME + 1)

    assert "record 2 at offset 54 is damaged: 262145 bytes in one frame; the 1 frames" in message_of(bad)


def test_pcap_longest_frame() -> None:
    longest = PCAP_LITTLE[:24] + struct.pack("<IIII", 0, 0, MAX_FRAME, MAX_FRAME) + bytes(MAX_FRAME)

    assert [len(frame[1]) for frame in frames_of(longest)] == [MAX_FRAME]


# pcapng ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "stamp", "ns"),
    [
        (None, 5_000_001, 5_000_001_000),  # absent: microseconds
        (0, 5, 5_000_000_000),
        (3, 5_001, 5_001_000_000),
        (6, 5_000_001, 5_000_001_000),
        (9, (1 << 40) + 7, (1 << 40) + 7),
        (12, 5_000_999, 5_000),
        (0x80 | 0, 5, 5_000_000_000),
        (0x80 | 1, 11, 5_500_000_000),
        (0x80 | 10, 5 * 1024 + 1, 5_000_976_562),
        (0x80 | 32, 5 << 32 | 1 << 31, 5_500_000_000),
        (0x80 | 127, 1 << 63, 0),
    ],
)
def test_pcapng_stamp_resolution(order: str, resolution: int | None, stamp: int, ns: int) -> None:
    options = [] if resolution is None else [(9, bytes([resolution]))]
    data = section(order) + interface(*options, order=order) + packet(0, stamp, ONE, order)

    assert frames_of(data)[0][0] == ns


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_stamp_offset_in_seconds(order: str) -> None:
    options = [(9, b"\x09"), (14, struct.pack(order + "q", -2))]

    assert (
        frames_of(section(order) + interface(*options, order=order) + packet(0, 7, ONE, order))[0][0] == 7 - 2 * 10**9
    )


def test_pcapng_interfaces_are_numbered_through_sections_of_either_byte_order() -> None:
    data = (
        section("<") + interface((2, b"a")) + interface((2, b"b"), (9, b"\x09")) + packet(1, 1, ONE) + packet(0, 1, ONE)
    )
    data += section(">") + interface((2, b"c"), (9, b"\x09"), order=">") + packet(0, 3, TWO, ">")
    reader = CaptureReader(io.BytesIO(data))

    frames = [frame for batch in reader.batches() for frame in batch]
    assert [(frame[0], frame[3]) for frame in frames] == [(1, 1), (1000, 0), (3, 2)]
    assert [each.name for each in reader.interfaces] == ["a", "b", "c"]


def test_pcapng_other_blocks_are_skipped() -> None:
    statistics, names, custom = block(5, bytes(16)), block(4, bytes(4)), block(0x0BAD, b"x" * 70_000)
    data = section() + names + interface() + custom + packet(0, 1, ONE) + statistics + packet(0, 2, TWO) + custom

    assert [frame[1] for frame in frames_of(data)] == [ONE, TWO]


def test_pcapng_simple_packets_take_the_snaplen_and_the_stamp_before() -> None:
    simple = block(3, struct.pack("<I", 60) + TWO)
    data = section() + interface((9, b"\x09"), snaplen=15) + simple + packet(0, 9, ONE) + simple

    assert frames_of(data) == [(0, TWO, 60, 0, None), (9, ONE, 14, 0, None), (9, TWO, 60, 0, None)]


def test_pcapng_obsolete_packet_block() -> None:
    body = struct.pack("<HHIIII", 0, 7, 1, 2, 15, 60) + TWO + b"\0" + struct.pack("<HH", 1, 3) + b"old\0"
    data = section() + interface((9, b"\x09")) + block(2, body)

    assert frames_of(data) == [((1 << 32) + 2, TWO, 60, 0, PacketOptions("old"))]


def test_pcapng_comments_of_one_frame_are_joined_and_bad_utf8_is_shown() -> None:
    options = struct.pack("<HH", 1, 1) + b"a\0\0\0" + struct.pack("<HH", 1, 1) + b"\xff\0\0\0"
    head = struct.pack("<IIIII", 0, 0, 0, len(ONE), len(ONE))
    data = section() + interface() + block(6, head + ONE + b"\0\0" + options)

    assert frames_of(data)[0][4] == PacketOptions("a\n�")


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_flags_queue_and_hash_of_a_frame(order: str) -> None:
    def option(code: int, value: bytes) -> bytes:
        return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)

    word = struct.Struct(order + "I").pack
    options = option(2, word(0x0100_0001)) + option(3, b"\x02" + word(7)) + option(3, b"\x05" + word(0xABCD_0123))
    head = struct.pack(order + "IIIII", 0, 0, 0, len(ONE), len(ONE))
    body = head + ONE + b"\0\0" + options + option(6, word(3)) + bytes(4)
    reader = CaptureReader(io.BytesIO(section(order) + interface(order=order) + block(6, body, order)))

    assert not reader.annotated
    assert [item[4] for batch in reader.batches() for item in batch] == [
        PacketOptions(None, 0x0100_0001, 3, 0xABCD_0123)
    ]
    assert reader.annotated


def test_pcapng_options_of_a_wrong_size_or_unknown_say_nothing() -> None:
    options = struct.pack("<HHHxx", 2, 2, 1) + struct.pack("<HHI", 99, 4, 1) + struct.pack("<HHBxxx", 3, 1, 5)
    head = struct.pack("<IIIII", 0, 0, 0, len(ONE), len(ONE))

    assert frames_of(section() + interface() + block(6, head + ONE + b"\0\0" + options + bytes(4)))[0][4] is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (section() + packet(0, 1, ONE), "record 2 at offset 28 is damaged: no interface 0 in this section"),
        (section() + interface() + section() + packet(0, 1, ONE), "no interface 0 in this section"),
        (
            section() + interface() + packet(0, 1, ONE)[:-4] + b"\x01\0\0\0",
            "block length 48 at its start, 1 at its end",
        ),
        (section() + struct.pack("<III", 9, 8, 8), "a block of 8 bytes"),
        (section() + struct.pack("<III", 9, 1 << 25, 8), "a block of 33554432 bytes"),
        (section() + struct.pack("<III", 9, 14, 8), "a block of 14 bytes"),
        (section() + interface() + block(6, bytes(12)), "a packet block too short"),
        (section() + interface() + block(3, b""), "a packet block too short"),
        (section() + block(1, b""), "an interface description too short"),
        (section() + block(0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D)), "a section header too short"),
        (section() + block(0x0A0D0D0A, bytes(16)), "no byte-order magic"),
        (section() + block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1)), "is of pcapng version 2.0"),
        (section() + interface() + block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99) + ONE), "99 bytes in one frame"),
        (
            section() + interface() + block(6, struct.pack("<IIIII", 0, 0, 0, MAX_FRAME + 1, 0) + bytes(MAX_FRAME + 4)),
            "262145 bytes in one frame",
        ),
    ],
)
def test_pcapng_damage_is_told_in_one_line(data: bytes, says: str) -> None:
    message = message_of(data)

    assert says in message
    assert "\n" not in message
    assert "frames before it are whole" in message


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_link_type_matters_only_when_a_frame_comes(order: str) -> None:
    other = interface((2, b"wlan0"), order=order, link=105)
    data = section(order) + other + interface(order=order) + packet(1, 1, ONE, order)

    assert len(frames_of(data)) == 1
    assert message_of(data + packet(0, 1, ONE, order)) == (
        "capture: link type 105 (IEEE 802.11) on interface wlan0: a NIC takes only Ethernet (1); "
        "capture on an Ethernet port"
    )


# Not a capture --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty file, not a capture; give a pcap or pcapng file"),
        (b"x", "not a capture (starts with 78); give a pcap or pcapng file"),
        (b"#!/bin/sh\n", "not a capture (starts with 23 21 2f 62); give a pcap or pcapng file"),
        (b"\x1f\x8b\x08\0\0\0", "not a capture (starts with 1f 8b 08 00); packed with gzip: gunzip it first"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "not a capture, its first block is damaged: no byte-order magic"),
        (PCAP_LITTLE[:4] + b"\x01" + PCAP_LITTLE[5:], "pcap version 1 is not supported"),
        (PCAP_LITTLE[:20] + b"\x71\0\0\0", "link type 113 (Linux cooked): a NIC takes only Ethernet (1)"),
        (PCAP_LITTLE[:20] + b"\x93\0\0\0", "link type 147: a NIC takes only Ethernet (1)"),
    ],
)
def test_not_a_capture(data: bytes, says: str) -> None:
    assert says in message_of(data)


def test_a_file_that_cannot_be_read_on() -> None:
    class Failing:
        def __init__(self) -> None:
            self.parts = [PCAP_LITTLE[:54]]

        def read(self, size: int, /) -> bytes:
            if not self.parts:
                raise OSError(5, "Input/output error")
            return self.parts.pop()

    batches = CaptureReader(Failing(), name="x").batches()

    assert next(batches) == US_FRAMES[:1]
    with pytest.raises(ConfigError, match="x: cannot be read: Input/output error"):
        next(batches)


# Any bytes at all -----------------------------------------------------------------------------------------------


def drain(data: bytes) -> int:
    """Frames read before the end, or before the one exception that is allowed."""
    count = 0
    with contextlib.suppress(ConfigError):
        for batch in CaptureReader(io.BytesIO(data)).batches():
            count += len(batch)
    return count


@given(st.sampled_from([b"", section(), PCAP_LITTLE[:24], PCAPNG_BIG[:68]]), st.binary(max_size=400))
def test_random_bytes_end_in_nothing_worse_than_a_config_error(start: bytes, tail: bytes) -> None:
    assert 0 <= drain(start + tail) <= 40


@given(st.sampled_from([each[0] for each in GOLDEN.values()]), st.data())
def test_changed_bytes_end_in_nothing_worse_than_a_config_error(data: bytes, draw: st.DataObject) -> None:
    changed = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        changed[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    assert 0 <= drain(bytes(changed)) <= 40


# Long captures --------------------------------------------------------------------------------------------------


class Endless:
    """A pcap of `count` frames of 1000 bytes that exists only while it is read."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._next = PCAP_LITTLE[:24]
        self._hundred = (struct.pack("<IIII", 1, 2, 1000, 1000) + bytes(1000)) * 100

    def read(self, size: int, /) -> bytes:
        data, self._next = self._next, self._hundred if self._left else b""
        self._left -= 100 if self._left else 0
        return data


def peak_while_reading(count: int) -> int:
    """Most bytes allocated at any time by reading `count` frames."""
    tracemalloc.start()
    try:
        assert sum(len(batch) for batch in CaptureReader(Endless(count)).batches()) == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_capture() -> None:
    peak_while_reading(100)
    short, long = peak_while_reading(2_000), peak_while_reading(20_000)

    assert long < short + 65536
    assert long < 4 << 20


# The real capture -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lan() -> list[Captured]:
    return frames_of(LAN.read_bytes())


@pytest.fixture(scope="module")
def dissected() -> Iterator[list[Packet]]:
    with PcapNgReader(str(LAN)) as reader:
        yield list(reader)


def test_the_real_capture_is_read_as_scapy_reads_it(lan: list[Captured]) -> None:
    with RawPcapNgReader(str(LAN)) as reader:
        others = [(meta.tshigh << 32 | meta.tslow, data, meta.wirelen) for data, meta in reader]

    assert LAN.stat().st_size < 1_000_000
    assert [frame[:3] for frame in lan] == others


def test_the_real_capture_has_ns_stamps_that_go_on(lan: list[Captured]) -> None:
    stamps = [frame[0] for frame in lan]

    assert stamps == sorted(stamps)
    assert any(stamp % 1000 for stamp in stamps)
    assert {frame[4].comment for frame in lan if frame[4]} >= {"TCP with loss", "VLAN: TCP", "jumbo frames"}


HAS: dict[str, tuple[Callable[[Packet], bool], int]] = {
    "ARP": (lambda p: ARP in p, 2),
    "ICMP": (lambda p: ICMP in p and IP in p, 6),
    "ICMPv6": (lambda p: ICMPv6EchoReply in p, 3),
    "UDP": (lambda p: UDP in p and IP in p, 10),
    "UDP over IPv6": (lambda p: UDP in p and IPv6 in p, 10),
    "TCP": (lambda p: TCP in p and IP in p, 100),
    "TCP over IPv6": (lambda p: TCP in p and IPv6 in p, 100),
    "hop-by-hop options": (lambda p: IPv6ExtHdrHopByHop in p and UDP in p, 2),
    "destination options": (lambda p: IPv6ExtHdrDestOpt in p and UDP in p, 2),
    "VLAN tag": (lambda p: Dot1Q in p and p[Dot1Q].vlan == 5, 30),
    "VLAN tag, TCP over IPv6": (lambda p: Dot1Q in p and TCP in p and IPv6 in p, 10),
    "IPv4 first fragment": (lambda p: IP in p and p[IP].frag == 0 and bool(p[IP].flags.MF), 5),
    "IPv4 later fragment": (lambda p: IP in p and p[IP].frag > 0, 5),
    "IPv6 fragment": (lambda p: IPv6ExtHdrFragment in p, 10),
    "jumbo frame": (lambda p: len(p) > 8000, 5),
    "shorter than Ethernet's minimum": (lambda p: len(p) < 60, 2),
    "broadcast": (lambda p: p[Ether].dst == "ff:ff:ff:ff:ff:ff" and UDP in p, 1),
    "multicast": (lambda p: p[Ether].dst.startswith("01:00:5e") and UDP in p, 1),
}


@pytest.mark.parametrize("kind", HAS)
def test_the_real_capture_holds(kind: str, dissected: list[Packet]) -> None:
    has, least = HAS[kind]

    assert sum(map(has, dissected)) >= least


def test_the_real_capture_holds_retransmissions_of_both_families(dissected: list[Packet]) -> None:
    for layer in (IP, IPv6):
        segments = [
            (p[layer].src, p[TCP].sport, p[TCP].dport, p[TCP].seq)
            for p in dissected
            if layer in p and TCP in p and len(p[TCP].payload)
        ]
        assert len(segments) > len(set(segments))


def test_the_real_capture_holds_only_documentation_addresses(lan: list[Captured]) -> None:
    for _, data, wire, _, _ in lan:
        assert data[6:11] == bytes.fromhex("00005e0053")
        assert wire == len(data)


def test_the_real_capture_holds_only_right_checksums(dissected: list[Packet]) -> None:
    whole = [p for p in dissected if IPv6ExtHdrFragment not in p and not (IP in p and (p[IP].frag or p[IP].flags.MF))]
    headers = [p[IP].original[: p[IP].ihl * 4] for p in dissected if IP in p]
    pseudo = [
        socket.inet_pton(family, p[ip].src)
        + socket.inet_pton(family, p[ip].dst)
        + struct.pack(">II", len(p[layer].original), number)
        + p[layer].original
        for p in whole
        for ip, family in ((IP, socket.AF_INET), (IPv6, socket.AF_INET6))
        for layer, number in ((TCP, 6), (UDP, 17), (ICMPv6EchoRequest, 58), (ICMPv6EchoReply, 58))
        if ip in p and layer in p
    ]
    plain = [p[ICMP].original for p in whole if ICMP in p]

    assert len(headers) > 300
    assert len(pseudo) > 500
    assert {checksum(data) for data in headers + pseudo + plain} == {0}
