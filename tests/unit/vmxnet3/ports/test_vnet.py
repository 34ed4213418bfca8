import random
from struct import pack

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from vmxnet3.offloads.plain import BadPacket
from vmxnet3.ports.vnet import (
    GSO_ECN,
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    NEEDS_CSUM,
    VNET_HDR,
    finish,
)

ETHER = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
DATA = random.Random(1).randbytes(3100)
NETS = {
    "IPv4": IP(src="192.0.2.1", dst="192.0.2.2", id=0xFFFF, flags="DF"),
    "IPv4 with options": IP(src="192.0.2.1", dst="192.0.2.2", id=7, options=[b"\x94\x04\0\0"]),
    "IPv6": IPv6(src="2001:db8::1", dst="2001:db8::2"),
    "IPv6 with options": IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrDestOpt(),
}
nets = pytest.mark.parametrize("net", NETS.values(), ids=NETS.keys())


def whole(data: bytes) -> Packet:
    """The packet of `data`; every checksum in it is right, by scapy's own reckoning."""
    packet = Ether(data)
    again = Ether(data)
    for layer in again.layers():
        for name in ("chksum", "len", "plen"):
            if name in again[layer].fields:
                again[layer].delfieldval(name)
    assert bytes(again) == data
    return packet


def partial(packet: Packet, kind: type[Packet]) -> tuple[bytes, int]:
    """The frame with only the pseudo header summed up, as Linux has it, and where its L4 header begins."""
    data = bytearray(bytes(packet))
    start = len(data) - len(bytes(Ether(bytes(data))[kind]))
    at = start + (16 if kind is TCP else 6)
    l4 = bytes(data[start:])
    total = sum(int.from_bytes(l4[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(l4), 2))
    total -= int.from_bytes(data[at : at + 2], "big")
    wanted = (0xFFFF - int.from_bytes(data[at : at + 2], "big") - total) % 0xFFFF
    data[at : at + 2] = wanted.to_bytes(2, "big")
    return bytes(data), start


def test_the_header_is_ten_bytes_in_the_order_of_the_standard() -> None:
    encoded = VNET_HDR.encode(flags=1, gso_type=4, hdr_len=0x203, gso_size=0x405, csum_start=0x607, csum_offset=0x809)

    assert encoded == bytes.fromhex("01 04 0302 0504 0706 0908")


def test_a_whole_frame_passes_as_it_is() -> None:
    frame = bytes(ETHER / IP() / UDP() / Raw(b"x"))

    assert list(finish(frame, 0, GSO_NONE, 0, 0, 0)) == [frame]
    assert list(finish(frame, 2, GSO_NONE, 0, 0, 0)) == [frame]  # bit 1: verified already


@nets
@pytest.mark.parametrize("tag", [False, True])
@pytest.mark.parametrize("size", [0, 1, 1460, 3000])
@pytest.mark.parametrize(("kind", "offset"), [(TCP, 16), (UDP, 6)])
def test_a_checksum_is_finished(net: Packet, tag: bool, size: int, kind: type[Packet], offset: int) -> None:
    packet = ETHER / Dot1Q(vlan=5) / net if tag else ETHER / net
    frame, start = partial(packet / kind() / Raw(DATA[:size]), kind)

    (made,) = finish(frame, NEEDS_CSUM, GSO_NONE, 0, start, offset)

    assert bytes(whole(made)[kind].payload) == DATA[:size]


@nets
@pytest.mark.parametrize("flags", [NEEDS_CSUM, 0], ids=["told", "to be found"])
def test_tcp_is_cut(net: Packet, flags: int) -> None:
    packet = ETHER / net / TCP(seq=0xFFFF_FF00, flags="PAFC", options=[("NOP", None)] * 4) / Raw(DATA)
    frame, start = partial(packet, TCP)
    kind = GSO_TCPV4 if IP in net else GSO_TCPV6

    made = [whole(data) for data in finish(frame, flags, kind | GSO_ECN, 1000, start * flags, 16 * flags)]

    assert b"".join(bytes(each[TCP].payload) for each in made) == DATA
    assert [len(bytes(each[TCP].payload)) for each in made] == [1000, 1000, 1000, 100]
    assert [each[TCP].seq for each in made] == [(0xFFFF_FF00 + 1000 * n) & 0xFFFF_FFFF for n in range(4)]
    assert [str(each[TCP].flags) for each in made] == ["AC", "A", "A", "FPA"]


@nets
def test_datagrams_are_cut(net: Packet) -> None:
    frame, start = partial(ETHER / net / UDP(sport=9, dport=7) / Raw(DATA), UDP)

    made = [whole(data) for data in finish(frame, NEEDS_CSUM, GSO_UDP_L4, 1000, start, 6)]

    assert b"".join(bytes(each[UDP].payload) for each in made) == DATA
    assert [each[UDP].len for each in made] == [1008, 1008, 1008, 108]
    ids = [each[IP].id for each in made if IP in each]
    assert ids == [(net.id + n) & 0xFFFF for n in range(len(ids))]


def test_tcp_in_a_tunnel_is_cut_with_its_tunnel() -> None:
    inner = ETHER / IP(id=5) / TCP(flags="A") / Raw(DATA)
    frame, start = partial(ETHER / IP(id=9) / UDP(sport=999, dport=4789, chksum=0) / VXLAN(vni=7) / inner, UDP)
    start = len(frame) - len(DATA) - 20
    outer_at = 14 + 20 + 6
    frame = frame[:outer_at] + b"\0\0" + frame[outer_at + 2 :]

    made = [Ether(data) for data in finish(frame, NEEDS_CSUM, GSO_TCPV4, 1000, start, 16)]

    assert [each[UDP].len for each in made] == [1000 + 20 + 20 + 14 + 8 + 8] * 3 + [100 + 20 + 20 + 14 + 8 + 8]
    assert [each[IP].id for each in made] == [9, 10, 11, 12]
    assert b"".join(bytes(whole(bytes(each[VXLAN].payload))[TCP].payload) for each in made) == DATA


@pytest.mark.parametrize(
    ("frame", "header", "says"),
    [
        (bytes(60), (NEEDS_CSUM, GSO_NONE, 0, 50, 16), "behind the end"),
        (bytes(60), (NEEDS_CSUM, GSO_TCPV4, 0, 34, 16), "cut into nothing"),
        (bytes(60), (NEEDS_CSUM, GSO_TCPV4, 1000, 58, 16), "behind the end"),
        (bytes(60), (NEEDS_CSUM, GSO_TCPV4, 1000, 34, 16), "not IP"),
        (bytes(60), (0, GSO_TCPV4, 1000, 0, 0), "behind the end"),
        (bytes(60), (NEEDS_CSUM, 3, 1000, 34, 6), "unknown way"),
        (bytes(60), (NEEDS_CSUM, GSO_UDP_L4, 1000, 34, 6), "not UDP over IP"),
        (bytes(ETHER / IP() / UDP() / Raw(DATA)), (NEEDS_CSUM, GSO_TCPV4, 1000, 34, 16), "not TCP"),
        (bytes(ETHER / IP(proto=89) / Raw(DATA)), (NEEDS_CSUM, GSO_UDP_L4, 1000, 34, 6), "not UDP over IP"),
    ],
)
def test_what_cannot_be_finished(frame: bytes, header: tuple[int, int, int, int, int], says: str) -> None:
    with pytest.raises(BadPacket, match=says):
        finish(frame, *header)


def test_headers_of_any_kind_raise_nothing_else() -> None:
    choose = random.Random(7)
    seeds = [bytes(ETHER / net / kind() / Raw(DATA[:200])) for net in NETS.values() for kind in (TCP, UDP)]
    fates = {"made": 0, "refused": 0}
    for _ in range(5_000):
        frame = bytearray(choose.choice(seeds))
        for _ in range(choose.randrange(3)):
            frame[choose.randrange(12, 60)] = choose.randrange(256)
        header = VNET_HDR.struct.unpack(
            pack(
                "<BBHHHH",
                choose.randrange(4),
                choose.choice([0, 1, 4, 5, 0x81]),
                0,
                choose.choice([0, 1, 100, 65535]),
                choose.choice([0, 34, 38, 54, 62, 230, 65535]),
                choose.choice([6, 16, 65535]),
            )
        )
        try:
            fates["made"] += bool(list(finish(bytes(frame), *header[:2], *header[3:])))
        except BadPacket:
            fates["refused"] += 1

    assert min(fates.values()) > 500
