"""Hostile drivers and hostile frames against the offloads of later versions: tunnels, merged packets, data rings.

Wherever a case ends, it ends with normal traffic.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from tests.rig import MAC, NOWHERE, PEER, RawNic, frame
from vmxnet3 import wire
from vmxnet3.backend import Frame, Null, Queue
from vmxnet3.offloads.plain import segments
from vmxnet3.shape import Lro, Shape, Shaped
from vmxnet3.versions import CAPABILITIES
from vmxnet3.wire import OM_CSUM, OM_ENCAP, OM_TSO, Feature, QueueError

INNER = Ether(dst="02:00:00:00:00:03", src="02:00:00:00:00:04") / IP(src="10.0.0.1", dst="10.0.0.2") / TCP()
OUTER = Ether(dst=PEER, src=MAC) / IP(src="192.0.2.1", dst="192.0.2.2")
HLEN = {"geneve": 14 + 20 + 8 + 8 + 14 + 20 + 20, "vxlan": 14 + 20 + 8 + 8 + 14 + 20 + 20}
WAYS = [(4, False), (6, False), (7, True), (9, True)]  # version; offloads by ext1, else by om=1


class Counter(Null):
    """A port that counts: frames of each call, and all bytes."""

    def __init__(self) -> None:
        self.batches, self.bytes = list[int](), 0

    def send(self, frames: Sequence[Frame]) -> int:
        self.batches.append(len(frames))
        self.bytes += sum(len(piece) for frame in frames for piece in frame)
        return len(frames)


def tunnel(kind: str, size: int) -> bytes:
    head: Any = UDP(sport=5, dport=6081) / GENEVE() if kind == "geneve" else UDP(sport=5, dport=4789) / VXLAN(flags=8)
    return bytes(OUTER / head / INNER / Raw(bytes(size)))


def active_at(version: int, *, port: Null | None = None, **area: Any) -> RawNic:
    """Active, every capability negotiated, receive buffers posted; what is sent goes to `port` if there is one."""
    nic = RawNic(Queue(waits=False), version=version)
    nic.device.backend = port or nic.net
    nic.prepare()
    nic.tell(**area)
    if version >= 7:
        nic.negotiate(int(CAPABILITIES))
    assert nic.activate() == 0
    nic.arm_all()
    return nic


def request(inner: bool, *, tso: bool, hlen: int, msscof: int) -> dict[str, int]:
    """The descriptor fields that ask for a tunnel's offload, in the way of the version."""
    if inner:
        return {"om": OM_TSO if tso else OM_CSUM, "ext1": 1, "hlen": hlen, "msscof": msscof}
    return {"om": OM_ENCAP, "hlen": hlen, "msscof": msscof if tso else 0}


def assert_an_error(nic: RawNic, index: int) -> None:
    """The packet was completed as an error, sent nowhere, and the queue goes on."""
    assert nic.net.sent == []
    assert nic.done() == [index]
    assert nic.tx_stats()["pktsTxError"] == 1
    assert nic.rules.count() >= 1
    nic.assert_traffic()


# -- tunnels ---------------------------------------------------------------------------------------------------------

GENEVE63 = (
    tunnel("geneve", 200)[:42] + b"\x3f\0\x65\x58" + bytes(4)
)  # 252 bytes of options, in a frame that ends before
TUNNELS: dict[str, bytes] = {
    "geneve options beyond the frame": GENEVE63 + bytes(100),
    "geneve options up to the end": GENEVE63 + bytes(252),
    "geneve cut in the inner addresses": tunnel("geneve", 0)[:60],
    "geneve cut in the inner IP header": tunnel("geneve", 0)[:80],
    "geneve of version 3": tunnel("geneve", 200)[:42] + b"\xc0" + tunnel("geneve", 200)[43:],
    "vxlan cut in its header": tunnel("vxlan", 0)[:49],
    "vxlan cut behind its header": tunnel("vxlan", 0)[:50],
    "vxlan cut in the inner TCP header": tunnel("vxlan", 0)[:-1],
    "vxlan without its flag": tunnel("vxlan", 200)[:42] + b"\0" + tunnel("vxlan", 200)[43:],
    "inner IP header of 60 bytes": tunnel("vxlan", 10)[:64] + b"\x4f" + tunnel("vxlan", 10)[65:],
    "inner IP header of 0 bytes": tunnel("vxlan", 10)[:64] + b"\x40" + tunnel("vxlan", 10)[65:],
    "inner TCP header of 60 bytes": tunnel("vxlan", 10)[:96] + b"\xf0" + tunnel("vxlan", 10)[97:],
    "no tunnel at all": frame(200),
    "fourteen bytes": frame(14),
    "ethertype of IP and no more": MAC + PEER + b"\x08\x00",
}


@pytest.mark.parametrize(("version", "inner"), WAYS)
@pytest.mark.parametrize("data", TUNNELS.values(), ids=TUNNELS.keys())
def test_hostile_22_24_segmentation_in_a_broken_tunnel(version: int, inner: bool, data: bytes) -> None:
    nic = active_at(version)

    nic.send(data, **request(inner, tso=True, hlen=min(HLEN["vxlan"], len(data)), msscof=100))

    assert_an_error(nic, 0)


@pytest.mark.parametrize(("version", "inner"), WAYS)
@pytest.mark.parametrize("kind", ["geneve", "vxlan"])
@pytest.mark.parametrize(("hlen", "msscof"), [(1023, 100), (1, 100), (0, 100), (64, 100), (103, 100), (304, 100)])
def test_hostile_22_24_header_lengths_of_a_tunnel(version: int, inner: bool, kind: str, hlen: int, msscof: int) -> None:
    nic = active_at(version)

    nic.send(tunnel(kind, 200), **request(inner, tso=True, hlen=hlen, msscof=msscof))

    assert_an_error(nic, 0)


@pytest.mark.parametrize("data", TUNNELS.values(), ids=TUNNELS.keys())
@pytest.mark.parametrize("hlen", [0, 64, 1023])
@pytest.mark.parametrize("msscof", [0, 13, 1024, 16383])
@pytest.mark.parametrize("version", [6, 9])
def test_hostile_26_checksums_in_a_broken_tunnel(version: int, data: bytes, hlen: int, msscof: int) -> None:
    nic = active_at(version)

    nic.send(data, **request(version == 9, tso=False, hlen=hlen, msscof=msscof))

    assert nic.done() == [0]
    assert nic.net.sent in ([], [data[: len(found)] for found in nic.net.sent])  # at most its checksum is another
    assert nic.tx_stats()["pktsTxError"] == 1 - len(nic.net.sent)
    assert nic.status() == (0, 0)
    assert sorted(map(len, nic.net.sent)) == [len(data)] * len(nic.net.sent)
    nic.assert_traffic()


@pytest.mark.parametrize(("version", "inner"), [(6, False), (9, True)])
@pytest.mark.parametrize("kind", ["geneve", "vxlan"])
def test_hostile_23_segments_of_one_byte_in_a_tunnel(version: int, inner: bool, kind: str) -> None:
    counter = Counter()
    nic = active_at(version, port=counter)
    zeros = nic.port.alloc(16384)
    for _ in range(2):
        nic.post(tunnel(kind, 0), eop=0, cq=0, **request(inner, tso=True, hlen=HLEN[kind], msscof=1), oco=1)
        nic.post(addr=zeros.address, len=8192)

    nic.kick()

    assert counter.batches == [8192] * 2  # however large the budget, no packet beyond the one that fills the round
    assert counter.bytes == 2 * 8192 * (HLEN[kind] + 1)
    assert nic.done() == [1, 3]
    nic.device.backend = nic.net
    nic.assert_alive()


@pytest.mark.parametrize(("version", "inner"), [(6, False), (9, True)])
def test_hostile_21_a_tunnel_packet_of_more_than_an_ip_packet(version: int, inner: bool) -> None:
    nic = active_at(version)
    fields = request(inner, tso=True, hlen=HLEN["vxlan"], msscof=1000)
    nic.post(tunnel("vxlan", 10), eop=0, cq=0, **fields)
    for n in range(4):
        nic.post(addr=NOWHERE, len=0, eop=n == 3, cq=n == 3)

    nic.kick()

    assert nic.seen("VMX-D-042") == []  # not one byte was looked for
    assert_an_error(nic, 4)


@pytest.mark.parametrize("version", range(1, 10))
@pytest.mark.parametrize(
    "fields", [{"om": OM_ENCAP}, {"om": OM_TSO, "ext1": 1}, {"oco": 1}], ids=["om=1", "ext1", "oco"]
)
def test_hostile_22_tunnel_bits_of_every_version(version: int, fields: dict[str, int]) -> None:
    """QEMU issue 517: a bit that the version does not have brings nobody down."""
    nic = active_at(version)
    has = {"om": 4 <= version <= 6, "ext1": version >= 7, "oco": version >= 4}[
        "ext1" if "ext1" in fields else next(iter(fields))
    ]

    nic.send(frame(200), hlen=54, msscof=100, **fields)

    assert nic.status() == ((0, 0) if has else (1, QueueError.DESC_NOT_SPT))
    assert nic.net.sent == []
    assert nic.done() == ([0] if has else [])
    nic.assert_alive()


@pytest.mark.parametrize("data", TUNNELS.values(), ids=TUNNELS.keys())
def test_hostile_25_broken_tunnels_from_the_wire(data: bytes) -> None:
    nic = active_at(9, uptFeatures=Feature.RXCSUM | Feature.RXINNEROFLD, rxMode=wire.RxMode.PROMISC)

    nic.feed(data)

    (packet,) = nic.received()
    assert packet.data == data
    assert packet.comps[0]["err"] == 0
    assert packet.comps[0]["ext1"] == 0  # nothing is said of what is not whole
    nic.assert_traffic()


# -- merged packets ----------------------------------------------------------------------------------------------------

V4, V6 = IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")


def stream(size: int, mss: int = 1400, *, ip: Any = V4) -> list[bytes]:
    """The segments of one packet of `size` bytes of payload."""
    whole = bytes(Ether(dst=MAC, src=PEER) / ip / TCP(flags="A") / Raw(bytes(n & 0xFF for n in range(size))))
    return list(segments(whole, len(whole) - size, mss))


def merging(max_sg: int = 0, *, version: int = 2) -> RawNic:
    """Active, LRO on, no buffers posted."""
    nic = RawNic(Queue(waits=False), version=version)
    nic.prepare(size=64, ring1=64)
    nic.tell(uptFeatures=Feature.LRO | Feature.RXCSUM, maxNumRxSG=max_sg)
    assert nic.activate() == 0
    return nic


def test_hostile_without_buffers_every_frame_of_a_stream_is_a_loss() -> None:
    nic = merging()

    nic.feed(*stream(14_000))

    assert nic.received() == []
    assert nic.rx_stats()["pktsRxOutOfBuf"] == 10
    nic.arm_all()
    nic.assert_traffic()


@pytest.mark.parametrize("heads", [1, 2])
def test_hostile_a_merged_packet_with_too_few_buffers_is_closed(heads: int) -> None:
    nic = merging()
    for _ in range(heads):
        nic.arm()
    nic.arm(1)

    nic.feed(*stream(14_000))

    (packet,) = nic.received()
    assert [(comp["sop"], comp["eop"], comp["err"], comp["type"]) for comp in packet.comps] == [
        (1, 0, 0, 3),
        (0, 1, 1, 3),
    ]
    assert nic.rx_stats()["pktsRxOutOfBuf"] == 1
    nic.assert_alive()


@pytest.mark.parametrize("max_sg", [1, 2, 17])
def test_hostile_a_stream_is_merged_no_further_than_the_driver_takes_fragments(max_sg: int) -> None:
    nic = merging(max_sg)
    nic.arm_all()
    frames = stream(65_535 - 40, 1448)
    assert len(frames) == 46

    nic.feed(*frames)

    packets = nic.received()
    assert max(len(packet.comps) for packet in packets) <= max_sg
    assert [packet.comps[-1]["err"] for packet in packets] == [0] * len(packets)
    assert sum(len(packet.data) - 54 for packet in packets) == 65_535 - 40
    assert nic.rx_stats()["ucastPktsRxOK"] == 46


@pytest.mark.parametrize("max_sg", [1, 2, 17])
def test_hostile_65535_bytes_in_too_few_fragments(max_sg: int) -> None:
    nic = merging(max_sg)
    nic.arm_all()

    nic.feed(Shaped(frame(65_535 + 14), Shape(lro=Lro(46, 1448))))

    (packet,) = nic.received()
    assert len(packet.comps) == max_sg
    assert (packet.comps[-1]["eop"], packet.comps[-1]["err"], packet.comps[-1]["type"]) == (1, 1, 3)
    assert sum(comp["len"] for comp in packet.comps) == 2048 * max_sg
    stats = nic.rx_stats()
    assert (stats["pktsRxError"], stats["LROPktsRxOK"], stats["ucastPktsRxOK"]) == (1, 0, 0)
    nic.assert_traffic()


@pytest.mark.parametrize("ip", [V4, V6], ids=["v4", "v6"])
def test_hostile_as_large_as_a_merged_packet_gets(ip: Any) -> None:
    nic = merging()
    nic.arm_all()

    nic.feed(*stream(65_000, 1400, ip=ip))

    packets = nic.received()
    assert sum(len(packet.data) for packet in packets) > 65_000
    assert all(len(packet.data) <= 65_535 + 14 and not packet.comps[-1]["err"] for packet in packets)
    assert nic.rules.count() == 0
    nic.assert_alive()


@pytest.mark.parametrize("features", [Feature.RXCSUM, Feature.LRO | Feature.RXCSUM], ids=["off", "version 1"])
def test_hostile_nothing_is_merged_without_the_driver_asking(features: Feature) -> None:
    nic = RawNic(Queue(waits=False), version=1 if features & Feature.LRO else 9)
    nic.prepare()
    nic.tell(uptFeatures=features)
    assert nic.activate() == 0
    nic.arm_all()

    nic.feed(*stream(14_000))

    packets = nic.received()
    assert [len(packet.comps) for packet in packets] == [1] * 10
    assert {comp["type"] for packet in packets for comp in packet.comps} == {3}
    assert nic.rx_stats()["LROPktsRxOK"] == 0
    nic.assert_traffic()


@pytest.mark.parametrize("segments_", [0, 1, 255, 256, 70_000, -1])
def test_hostile_marks_that_claim_any_number_of_segments(segments_: int) -> None:
    nic = merging()
    nic.arm_all()
    lro = Lro(segments_, 70_000, dup_acks=300, ts_delta=-1)

    nic.feed(Shaped(frame(100), Shape(lro=lro)))

    (packet,) = nic.received()
    assert packet.data == frame(100)
    assert packet.comps[0]["type"] == 4
    assert packet.comps[0]["rssHash"] == segments_ & 0xFF | (300 & 0xFF) << 8 | 0xFFFF << 16
    nic.assert_alive()


@pytest.mark.parametrize("version", [3, 9])
def test_hostile_a_data_ring_slot_larger_than_the_buffer_it_stands_for(version: int) -> None:
    nic = RawNic(Queue(waits=False), version=version)
    nic.prepare()
    nic.tell(maxNumRxSG=1)
    nic.give_data_rings(1024)
    assert nic.activate() == 0
    buffers = nic.rx[0].buffers[0].view
    buffers[:4096] = b"\xee" * 4096
    for _ in range(3):
        nic.arm(len=128)

    nic.feed(frame(100), frame(1024), frame(1025))

    small, big, cut = nic.received()
    assert (small.data, big.data) == (frame(100), frame(1024))
    assert [comp["rqID"] for comp in small.comps + big.comps] == [2, 2]
    assert (cut.comps[0]["rqID"], cut.comps[0]["len"], cut.comps[0]["err"]) == (0, 128, 1)
    assert buffers[:4096] == b"\xee" * 4096  # consumed, not written
    nic.assert_alive()
