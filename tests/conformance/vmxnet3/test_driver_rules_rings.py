"""VMXNET3 driver rules 023 and 036 to 051: descriptors and the packets they make up."""

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.rig import MAC, NOWHERE, PEER, SLOT, RawNic, frame
from vmxnet3 import wire
from vmxnet3.wire import OM_CSUM, OM_ENCAP, OM_TSO, RX_DESC, TX_DESC, Event, QueueError

ECR_AT = 696  # of the shared area


@pytest.fixture
def active() -> RawNic:
    """Active, receive buffers posted."""
    nic = RawNic()
    nic.bring_up()
    return nic


@pytest.fixture
def bare() -> RawNic:
    """Active, not one receive buffer posted."""
    nic = RawNic()
    nic.prepare()
    assert nic.activate() == 0
    return nic


def tcp(size: int, *, v6: bool = False) -> bytes:
    """A TCP frame with `size` bytes of payload: 54 bytes of headers (74 for IPv6)."""
    ip = IPv6(src="2001:db8::1", dst="2001:db8::2") if v6 else IP(src="192.0.2.1", dst="192.0.2.2")
    return bytes(Ether(dst=PEER, src=MAC, type=0x86DD if v6 else 0x0800) / ip / TCP() / Raw(bytes(size)))


def assert_stopped(nic: RawNic, error: QueueError) -> None:
    """Queue 0 has stopped with `error`; the event is set in memory and in the register; receiving goes on."""
    assert nic.status() == (1, error)
    assert nic.shared.view[ECR_AT] == Event.TQERR
    assert nic.port.read(wire.BAR_VD, wire.REG_ECR) == Event.TQERR
    sent = list(nic.net.sent)
    nic.send(frame(seed=9))
    assert nic.net.sent == sent
    nic.feed(frame(seed=8))
    assert [packet.data for packet in nic.received()] == [frame(seed=8)]
    nic.assert_alive()


def assert_dropped(nic: RawNic, index: int) -> None:
    """The packet that ended at descriptor `index` was completed, counted as an error and not sent; all goes on."""
    assert nic.done() == [index]
    assert nic.net.sent == []
    assert nic.tx_stats() == {**dict.fromkeys(wire.TX_STATS, 0), "pktsTxError": 1}
    nic.assert_traffic()


# -- runs of descriptors -------------------------------------------------------------------------------------------


def test_VMX_D_036_packet_published_without_its_end(active: RawNic) -> None:
    data = frame(60)
    active.post(data[:20], eop=0, cq=0)
    active.post(data[20:40], eop=0, cq=0)

    active.kick()

    assert active.seen("VMX-D-036") == [("tx queue 0 descriptor 2", 2, 1)]
    assert (active.net.sent, active.done()) == ([], [])
    active.send(data[40:])
    assert (active.net.sent, active.done()) == ([data], [2])
    active.assert_traffic()


@pytest.mark.parametrize("count", [32, 63])
def test_VMX_D_036_no_end_in_32_descriptors_stops_the_queue(active: RawNic, count: int) -> None:
    for _ in range(count):
        active.post(bytes(20), eop=0, cq=0)

    active.kick()

    assert active.seen("VMX-D-036") == [("tx queue 0 descriptor 31", 32, 1)]
    assert (active.net.sent, active.done()) == ([], [])
    assert_stopped(active, QueueError.NOEOP)


@pytest.mark.parametrize(("count", "noted"), [(16, 0), (17, 1), (32, 1)])
def test_VMX_D_037_descriptors_of_a_packet(active: RawNic, count: int, noted: int) -> None:
    data = frame(10 * count)
    for n in range(count):
        active.post(data[10 * n : 10 * n + 10], eop=n == count - 1, cq=n == count - 1)

    active.kick()

    place = f"tx queue 0 descriptor {count - 1}"
    assert active.seen("VMX-D-037") == [(place, count, 1)] * noted
    assert (active.net.sent, active.done()) == ([data], [count - 1])
    active.assert_traffic()


@pytest.mark.parametrize(("count", "noted"), [(24, 0), (25, 1)])
def test_VMX_D_037_descriptors_of_a_packet_with_tso(active: RawNic, count: int, noted: int) -> None:
    data = tcp(100 * (count - 1))
    active.post(data[:54], eop=0, cq=0, om=OM_TSO, hlen=54, msscof=1000)
    for n in range(count - 1):
        active.post(data[54 + 100 * n : 154 + 100 * n], eop=n == count - 2, cq=n == count - 2)

    active.kick()

    assert active.seen("VMX-D-037") == [(f"tx queue 0 descriptor {count - 1}", count, 1)] * noted
    assert len(active.net.sent) == 3  # 2300 or 2400 bytes in pieces of 1000
    active.assert_traffic()


def test_VMX_D_038_last_descriptor_without_cq(active: RawNic) -> None:
    active.send(frame(seed=1), cq=0)
    active.send(frame(seed=2))

    assert active.seen("VMX-D-038") == [("tx queue 0 descriptor 0", 0x1000, 1)]  # eop alone
    assert active.net.sent == [frame(seed=1), frame(seed=2)]
    assert active.done() == [1]
    active.assert_traffic()


def test_VMX_D_039_cq_without_eop(active: RawNic) -> None:
    data = frame(60)
    active.post(data[:30], eop=0, cq=1)
    active.send(data[30:])

    assert active.seen("VMX-D-039") == [("tx queue 0 descriptor 0", 0x2000, 1)]  # cq alone
    assert (active.net.sent, active.done()) == ([data], [1])
    active.assert_traffic()


@pytest.mark.parametrize(
    ("fields", "bits"), [({"om": OM_TSO}, 0xC00), ({"hlen": 54}, 54), ({"ti": 1}, 0x8000)], ids=["om", "hlen", "ti"]
)
def test_VMX_D_039_offload_outside_the_first_descriptor(active: RawNic, fields: dict[str, int], bits: int) -> None:
    data = frame(60)
    active.post(data[:30], eop=0, cq=0)
    active.send(data[30:], **fields)

    assert active.seen("VMX-D-039") == [("tx queue 0 descriptor 1", 0x3000 | bits, 1)]
    assert (active.net.sent, active.done()) == ([data], [1])
    active.assert_traffic()


# -- what version 1 has not ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fields", "value"), [({"dtype": 1}, 1 << 16 | 1 << 14 | 60), ({"ext2": 1}, 0x7000)])
def test_VMX_D_040_reserved_bits_stop_the_queue(active: RawNic, fields: dict[str, int], value: int) -> None:
    active.send(frame(), **fields)

    assert active.seen("VMX-D-040") == [("tx queue 0 descriptor 0", value, 1)]
    assert (active.net.sent, active.done()) == ([], [])
    assert_stopped(active, QueueError.DESC_NOT_SPT)


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"oco": 1}, 1 << 15 | 1 << 14 | 60),
        ({"ext1": 1}, 1 << 17 | 1 << 14 | 60),
        ({"om": OM_ENCAP, "hlen": 50}, 0x3000 | 1 << 10 | 50),
    ],
    ids=["oco", "ext1", "om=1"],
)
def test_VMX_D_041_offloads_of_later_versions_stop_the_queue(
    active: RawNic, fields: dict[str, int], value: int
) -> None:
    active.send(frame(seed=1))
    active.send(frame(seed=2), **fields)

    assert active.seen("VMX-D-041") == [("tx queue 0 descriptor 1", value, 1)]
    assert (active.net.sent, active.done()) == ([frame(seed=1)], [0])
    assert_stopped(active, QueueError.DESC_NOT_SPT)


# -- packets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [0, NOWHERE, 2**64 - 60, 2**64 - 1])
def test_VMX_D_042_transmit_buffer_unmapped(active: RawNic, address: int) -> None:
    active.send(frame(), addr=address)

    assert [(place, count) for place, _, count in active.seen("VMX-D-042")] == [("tx queue 0 descriptor 0", 1)]
    assert active.seen("VMX-D-042")[0][1] in (address, 2**64)
    assert_dropped(active, 0)


def test_VMX_D_042_transmit_buffer_ends_outside(active: RawNic) -> None:
    active.lend(NOWHERE, 4096)

    active.send(frame(), addr=NOWHERE + 4096 - 59)

    assert active.seen("VMX-D-042") == [("tx queue 0 descriptor 0", NOWHERE + 4096, 1)]
    assert_dropped(active, 0)


@pytest.mark.parametrize("address", [NOWHERE, NOWHERE + 8192 - 59], ids=["unmapped", "ends outside"])
def test_VMX_D_042_receive_buffer_unmapped(bare: RawNic, address: int) -> None:
    lent = bare.lend(NOWHERE + 4096, 4096)
    bare.arm(addr=address)
    bare.arm()

    bare.feed(frame(seed=1), frame(seed=2))

    assert [(place, count) for place, _, count in bare.seen("VMX-D-042")] == [("rx queue 0 ring 0 descriptor 0", 1)]
    bad, good = bare.received()
    assert [comp["err"] for comp in bad.comps + good.comps] == [1, 0]
    assert (bad.comps[0]["sop"], bad.comps[0]["eop"]) == (1, 1)
    assert good.data == frame(seed=2)
    assert lent == bytes(4096)
    assert bare.rx_stats()["pktsRxError"] == 1
    bare.arm()
    bare.assert_traffic()


@pytest.mark.parametrize("size", [1, 13])
def test_VMX_D_043_shorter_than_an_ethernet_header(active: RawNic, size: int) -> None:
    active.send(bytes(size))

    assert active.seen("VMX-D-043") == [("tx queue 0 descriptor 0", size, 1)]
    assert_dropped(active, 0)


@pytest.mark.parametrize(("size", "noted"), [(1518, 0), (1519, 1), (2048, 1)])
def test_VMX_D_043_longer_than_the_mtu_allows(active: RawNic, size: int, noted: int) -> None:
    active.send(frame(size))

    assert active.seen("VMX-D-043") == [("tx queue 0 descriptor 0", size, 1)] * noted
    assert (active.net.sent, active.done()) == ([frame(size)], [0])
    active.assert_traffic()


def test_VMX_D_043_far_too_long_is_not_even_gathered(active: RawNic) -> None:
    for n in range(2):
        active.post(addr=NOWHERE, len=0, eop=n, cq=n)  # 16384 bytes each, from nowhere

    active.kick()

    assert active.seen("VMX-D-043") == [("tx queue 0 descriptor 1", 32768, 1)]
    assert active.seen("VMX-D-042") == []
    assert_dropped(active, 1)


@pytest.mark.parametrize(
    ("hlen", "msscof"), [(34, 99), (34, 100), (34, 16383), (34, 1025), (41, 40)], ids=lambda value: str(value)
)
def test_VMX_D_044_checksum_offsets(active: RawNic, hlen: int, msscof: int) -> None:
    active.send(frame(1200 if msscof == 1025 else 100), om=OM_CSUM, hlen=hlen, msscof=msscof)

    assert active.seen("VMX-D-044") == [("tx queue 0 descriptor 0", msscof << 16 | hlen, 1)]
    assert_dropped(active, 0)


@pytest.mark.parametrize(
    ("hlen", "msscof"), [(54, 0), (0, 1000), (61, 1000), (1023, 100)], ids=["mss 0", "hlen 0", "split", "long"]
)
def test_VMX_D_045_segmentation_without_its_sizes(active: RawNic, hlen: int, msscof: int) -> None:
    data = tcp(500)
    active.post(data[:60], eop=0, cq=0, om=OM_TSO, hlen=hlen, msscof=msscof)
    active.send(data[60:])

    assert active.seen("VMX-D-045") == [("tx queue 0 descriptor 1", msscof << 16 | hlen, 1)]
    assert_dropped(active, 1)


def test_VMX_D_045_segments_longer_than_the_mtu(active: RawNic) -> None:
    active.send(tcp(1900), om=OM_TSO, hlen=54, msscof=1465)

    assert active.seen("VMX-D-045") == [("tx queue 0 descriptor 0", 1465 << 16 | 54, 1)]
    assert [len(data) for data in active.net.sent] == [54 + 1465, 54 + 435]
    assert active.done() == [0]
    active.assert_traffic()


UDP_FRAME = bytes(Ether(dst=PEER, src=MAC) / IP(src="192.0.2.1", dst="192.0.2.2") / UDP() / Raw(bytes(500)))


@pytest.mark.parametrize(
    ("data", "hlen", "why", "value"),
    [
        (UDP_FRAME, 54, "TSO on something that is not TCP", 17),
        (frame(600), 54, "TSO on something that is not IP", frame(600)[14] >> 4),
        (tcp(500), 53, "the header length stops before the end of the TCP header", 53),
        (tcp(500, v6=True), 73, "the header length stops before the end of the TCP header", 73),
        (tcp(0), 54, "no payload behind the headers", 54),
    ],
    ids=["UDP", "not IP", "short headers", "short headers 6", "no payload"],
)
def test_VMX_D_046_segmentation_of_what_is_no_tcp(active: RawNic, data: bytes, hlen: int, why: str, value: int) -> None:
    active.send(data, om=OM_TSO, hlen=hlen, msscof=200)

    assert active.seen("VMX-D-046") == [(f"tx queue 0 descriptor 0: {why}", value, 1)]
    assert_dropped(active, 0)


def test_VMX_D_046_more_than_an_ip_packet_holds(active: RawNic) -> None:
    active.post(tcp(100), eop=0, cq=0, om=OM_TSO, hlen=54, msscof=1000)
    for n in range(4):
        active.post(addr=active.tx[0].buffers.address, len=0, eop=n == 3, cq=n == 3)

    active.kick()

    place = "tx queue 0 descriptor 4: more than 65535 bytes of IP packet"
    assert active.seen("VMX-D-046") == [(place, 154 + 4 * 16384, 1)]
    assert_dropped(active, 4)


# -- receive buffers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bit", ["dtype", "rsvd"])
def test_VMX_D_023_reserved_bits_of_a_receive_descriptor(bare: RawNic, bit: str) -> None:
    index = bare.arm(**{bit: 1})
    word2 = int.from_bytes(bare.rx[0].rings[0].memory.view[8:12], "little")

    bare.feed(frame())

    assert bare.seen("VMX-D-023") == [(f"rx queue 0 ring 0 descriptor {index}", word2, 1)]
    assert [packet.data for packet in bare.received()] == [frame()]
    bare.arm()
    bare.assert_traffic()


@pytest.mark.parametrize("room", [60, 127])
def test_VMX_D_050_head_buffer_under_128_bytes(bare: RawNic, room: int) -> None:
    bare.arm(len=room)

    bare.feed(frame(60))

    assert bare.seen("VMX-D-050") == [("rx queue 0 ring 0 descriptor 0", room, 1)]
    assert [packet.data for packet in bare.received()] == [frame(60)]
    bare.arm()
    bare.assert_traffic()


def test_VMX_D_050_body_buffer_of_no_bytes(bare: RawNic) -> None:
    bare.arm(len=1024)
    bare.arm(1, len=0)
    bare.arm(1, len=1024)

    bare.feed(frame(1500))

    assert bare.seen("VMX-D-050") == [("rx queue 0 ring 1 descriptor 0", 0, 1)]
    assert [packet.data for packet in bare.received()] == [frame(1500)]
    bare.arm()
    bare.assert_traffic()


def test_VMX_D_051_head_buffer_in_ring_1(bare: RawNic) -> None:
    bare.arm(len=1024)
    bare.arm(1, btype=0)
    bare.arm(1)
    word2 = RX_DESC.encode(len=SLOT, gen=1)[8:12]

    bare.feed(frame(1500))

    assert bare.seen("VMX-D-051") == [("rx queue 0 ring 1 descriptor 0", int.from_bytes(word2, "little"), 1)]
    (packet,) = bare.received()
    assert packet.data == frame(1500)
    assert [(comp["rqID"], comp["rxdIdx"]) for comp in packet.comps] == [(0, 0), (1, 1)]
    bare.arm()
    bare.assert_traffic()


def test_descriptor_words_of_these_tests_stand_where_the_header_has_them() -> None:
    cell = TX_DESC.encode(addr=0x1122_3344_5566_7788, len=0x2AAA, gen=1, msscof=0x1555, hlen=0x155, om=2, eop=1, tci=7)

    assert cell.hex() == "8877665544332211" + "aa6a5455" + "55190700"
