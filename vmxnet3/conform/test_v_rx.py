"""VMXNET3 device rules 041 to 054: receive rings, checksum status, stripped tags."""

from typing import Any

import pytest

from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.conform.packets import ARP, ICMP, IP, TCP, UDP, Dot1Q, IPv6, Raw, ether, offsets, payload
from vmxnet3.conform.rig import MAC, Can, MakeRig, Rig, frame
from vmxnet3.driver import Driver, Received
from vmxnet3.wire import Feature

V4, V6 = IP(src="192.0.2.1", dst="198.51.100.9"), IPv6(src="2001:db8::1", dst="2001:db8::9")
SMALL: dict[str, Any] = {"rx_ring0": 32, "rx_ring1": 32}
JUMBO: dict[str, Any] = {"mtu": 9000, "max_rx_sg": 64}  # a limit that is never reached


# -- rings ---------------------------------------------------------------------------------------------------------


def test_VMX_V_041_single_buffer(rig: Rig) -> None:
    driver = rig.driver(rx_queues=1, features=Feature(0))

    rig.feed(frame(61, seed=1))
    raw = bytes(driver.rx[0].comp.view[:16])
    packet = rig.got(driver, 1)[0]

    assert packet.data == frame(61, seed=1)
    assert packet.parts == ((0, 0, 61),)
    assert raw == wire.RX_COMP.encode(sop=1, eop=1, cnc=1, len=61, fcs=1, type=wire.CDTYPE_RXCOMP, gen=1)


@pytest.mark.parametrize("size", [14, 60, 127, 128, 129, 1514, 1518])
def test_VMX_V_041_sizes(rig: Rig, size: int) -> None:
    driver = rig.driver(guard=64)

    rig.feed(frame(size, seed=size))

    packet = rig.got(driver, 1)[0]
    assert (packet.data, packet.err, packet.fcs) == (frame(size, seed=size), False, True)


def test_VMX_V_042_several_buffers(rig: Rig) -> None:
    driver = rig.driver(**JUMBO, head_size=1024, body_size=2048, rx_queues=2, guard=32)

    rig.feed(frame(1024, seed=1), frame(1025, seed=2), frame(9014, seed=3), frame(60, seed=4))
    raw = [wire.RX_COMP.decode(driver.rx[0].comp.view, 16 * n) for n in range(8)]
    packets = rig.got(driver, 4)

    assert [packet.data for packet in packets] == [
        frame(n, seed=s) for n, s in ((1024, 1), (1025, 2), (9014, 3), (60, 4))
    ]
    assert [packet.parts for packet in packets] == [
        ((0, 0, 1024),),
        ((0, 1, 1024), (1, 0, 1)),
        ((0, 2, 1024), (1, 1, 2048), (1, 2, 2048), (1, 3, 2048), (1, 4, 1846)),
        ((0, 3, 60),),
    ]
    assert [comp["sop"] for comp in raw] == [1, 1, 0, 1, 0, 0, 0, 0]
    assert [comp["eop"] for comp in raw] == [1, 0, 1, 0, 0, 0, 0, 1]
    assert [comp["rqID"] for comp in raw] == [0, 0, 2, 0, 2, 2, 2, 2]


def test_VMX_V_043_every_index_was_the_devices(rig: Rig) -> None:
    driver = rig.driver(**SMALL, **JUMBO, fill=8, guard=64, head_size=256, body_size=512)

    packets = []
    for n in range(60):
        rig.feed(frame(60 + n * 41, seed=n))
        packets += rig.got(driver, 1)

    assert [packet.data for packet in packets] == [frame(60 + n * 41, seed=n) for n in range(60)]
    assert [packet.parts[0][1] for packet in packets] == [n % 32 for n in range(60)]


def test_VMX_V_044_bodies_before_a_head_are_skipped(rig: Rig) -> None:
    driver = rig.driver(**JUMBO, version=1, rx_ring0=96, rx_ring1=32, bodies=2, head_size=1024, body_size=2048)
    sizes = [60, 61, 1025, 62, 5120, 5121, 9014, 63] * 8

    packets: list[Received] = []
    for n, size in enumerate(sizes):
        rig.feed(frame(size, seed=n))
        packets += rig.got(driver, 1)

    assert [packet.data for packet in packets] == [frame(size, seed=n) for n, size in enumerate(sizes)]
    assert [packet.parts[0] for packet in packets[:4]] == [(0, 0, 60), (0, 3, 61), (0, 6, 1024), (0, 9, 62)]
    assert [part[:2] for part in packets[6].parts] == [(0, 18), (0, 19), (0, 20), (1, 1), (1, 2)]
    assert {packet.parts[0][1] % 3 for packet in packets} == {0}


@pytest.mark.parametrize("comp", [64, 96])
def test_VMX_V_045_three_laps(rig: Rig, comp: int) -> None:
    driver = rig.driver(**SMALL, **JUMBO, rx_comp=comp, head_size=128, body_size=128)
    sizes = [60, 129, 128, 500, 64, 1000]

    packets: list[Received] = []
    for n in range(3 * comp):
        rig.feed(frame(sizes[n % 6], seed=n))
        packets += rig.got(driver, 1)

    assert [packet.data for packet in packets] == [frame(sizes[n % 6], seed=n) for n in range(3 * comp)]


def test_VMX_V_045_bursts_come_in_order(rig: Rig) -> None:
    driver = rig.driver(**SMALL)

    packets: list[Received] = []
    for n in range(0, 300, 30):
        rig.feed(*[frame(seed=k) for k in range(n, n + 30)])
        packets += rig.got(driver, 30)

    assert [packet.data for packet in packets] == [frame(seed=k) for k in range(300)]


def test_VMX_V_046_out_of_buffers(make_rig: MakeRig) -> None:
    rig = make_rig(Queue(waits=False))
    driver = rig.driver(**SMALL)
    driver.rx[0].recycle = False

    for n in range(40):
        rig.feed(frame(seed=n))
    first = rig.got(driver, 31)
    driver.refill()  # by gen alone: no bell
    rig.feed(frame(seed=77))

    assert [packet.data for packet in first] == [frame(seed=n) for n in range(31)]
    assert [packet.data for packet in rig.got(driver, 1)] == [frame(seed=77)]
    assert driver.stats()[1][0]["pktsRxOutOfBuf"] == 9


def test_VMX_V_046_a_port_that_waits_loses_nothing(rig: Rig) -> None:
    rig.need(Can.HOLD)
    driver = rig.driver(**SMALL)

    rig.feed(*[frame(seed=n) for n in range(200)])

    assert [packet.data for packet in rig.got(driver, 200)] == [frame(seed=n) for n in range(200)]
    assert driver.stats()[1][0]["pktsRxOutOfBuf"] == 0


def test_VMX_V_047_fragment_limit(rig: Rig) -> None:
    driver = rig.driver(mtu=9000, max_rx_sg=3, head_size=1024, body_size=1024, guard=32)

    rig.feed(frame(3072, seed=1), frame(3073, seed=2), frame(60, seed=3))
    packets = rig.got(driver, 3)

    assert [packet.err for packet in packets] == [False, True, False]
    assert [packet.data for packet in packets[::2]] == [frame(3072, seed=1), frame(60, seed=3)]
    assert len(packets[1].parts) <= 3
    assert driver.stats()[1][0]["pktsRxError"] == 1


def test_VMX_V_047_out_of_buffers_inside_a_packet(make_rig: MakeRig) -> None:
    rig = make_rig(Queue(waits=False))
    driver = rig.driver(**SMALL, **JUMBO, head_size=128, body_size=128)
    driver.rx[0].recycle = False

    rig.feed(frame(3500, seed=1), frame(900, seed=2), frame(60, seed=3))
    first = rig.got(driver, 3)
    driver.refill()
    rig.feed(frame(900, seed=4))

    assert [packet.err for packet in first] == [False, True, False]
    assert first[2].data == frame(60, seed=3)
    assert rig.got(driver, 1)[0].data == frame(900, seed=4)
    assert driver.stats()[1][0]["pktsRxOutOfBuf"] == 1


@pytest.mark.parametrize(
    ("layout", "size"), [({"profile": "ipxe"}, 1530), ({"mtu": 9000, "rx_ring1": 0}, 5000)], ids=["ipxe", "one ring"]
)
def test_VMX_V_047_a_frame_no_buffers_could_hold_does_not_block_the_rest(
    rig: Rig, layout: dict[str, Any], size: int
) -> None:
    driver = rig.driver(**layout)

    rig.feed(frame(size), frame(60, seed=1))

    packets = until_last(rig, driver, frame(60, seed=1))
    assert all(packet.err for packet in packets[:-1])


def test_VMX_V_048_no_fragment_limit(rig: Rig) -> None:
    driver = rig.driver(mtu=9000, max_rx_sg=0, head_size=256, body_size=256)

    rig.feed(frame(9014, seed=1))

    packet = rig.got(driver, 1)[0]
    assert (packet.err, packet.data, len(packet.parts)) == (False, frame(9014, seed=1), 36)


@pytest.mark.parametrize("size", [1523, 2000, 9014, 70000])
@pytest.mark.parametrize("layout", [{"head_size": 2048}, {"head_size": 256, "body_size": 256}], ids=["one", "many"])
def test_VMX_V_049_frame_longer_than_the_mtu(rig: Rig, size: int, layout: dict[str, Any]) -> None:
    driver = rig.driver(guard=64, **layout)

    rig.feed(frame(size), frame(60, seed=1))
    packets = until_last(rig, driver, frame(60, seed=1))

    assert all(packet.err for packet in packets[:-1])
    assert driver.stats()[1][0]["pktsRxError"] == 1


def until_last(rig: Rig, driver: Driver, last: bytes) -> list[Received]:
    """Every packet up to `last`."""
    packets: list[Received] = []

    def look() -> bool:
        packets.extend(driver.receive())
        return bool(packets) and packets[-1].data == last

    assert rig.until(look)
    return packets


@pytest.mark.parametrize("bodies", [0, 1, 2])
@pytest.mark.parametrize("ring1", [0, 64])
def test_VMX_V_050_packets_start_in_heads_of_ring_0(rig: Rig, bodies: int, ring1: int) -> None:
    layout: dict[str, Any] = {"rx_ring0": 96, "rx_ring1": ring1, "bodies": bodies, "head_size": 512}
    driver = rig.driver(**JUMBO, **layout, version=1, guard=16)  # from version 7 on ring 0 holds no bodies
    sizes = [60, 512, 513, 14, 1000, 4608] * (bodies + ring1 > 0) + [60, 512]

    packets = []
    for n, size in enumerate(sizes):
        rig.feed(frame(size, seed=n))
        packets += rig.got(driver, 1)

    assert [packet.data for packet in packets] == [frame(size, seed=n) for n, size in enumerate(sizes)]
    assert all(part[2] for packet in packets for part in packet.parts)
    assert {packet.parts[0][0] for packet in packets} == {0}


def test_VMX_V_051_completion_ring_is_never_overrun(rig: Rig) -> None:
    rig.need(Can.HOLD)
    driver = rig.driver(rx_ring0=64, rx_ring1=64, rx_comp=32)

    rig.feed(*[frame(seed=n) for n in range(200)])
    waiting = [wire.RX_COMP.decode(driver.rx[0].comp.view, 16 * n) for n in range(32)]
    packets = rig.got(driver, 200)

    assert [comp["rxdIdx"] for comp in waiting] == list(range(32))
    assert [packet.data for packet in packets] == [frame(seed=n) for n in range(200)]
    assert "VMX-D-019" in rig.broken()


# -- checksum status -----------------------------------------------------------------------------------------------


def worn(data: bytes, at: int) -> bytes:
    """The frame with one bit changed."""
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


TCP4 = ether(V4, TCP(sport=80, dport=9, flags="PA"), Raw(payload(100)))
UDP4 = ether(V4, UDP(sport=53, dport=9), Raw(payload(101)))
TCP6 = ether(V6, TCP(sport=80, dport=9, flags="PA"), Raw(payload(102)))
UDP6 = ether(V6, UDP(sport=53, dport=9), Raw(payload(103)))
GOOD4, GOOD6 = {"v4", "tuc", "ipc"}, {"v6", "tuc"}
STATUS: dict[str, tuple[bytes, set[str]]] = {
    "tcp4": (TCP4, GOOD4 | {"tcp"}),
    "udp4": (UDP4, GOOD4 | {"udp"}),
    "tcp6": (TCP6, GOOD6 | {"tcp"}),
    "udp6": (UDP6, GOOD6 | {"udp"}),
    "tagged tcp4": (ether(Dot1Q(vlan=0), V4, TCP(sport=8, dport=9), Raw(payload(10))), GOOD4 | {"tcp"}),
    "tagged udp6": (ether(Dot1Q(vlan=0), V6, UDP(sport=8, dport=9), Raw(payload(11))), GOOD6 | {"udp"}),
    "padded tcp4": (ether(V4, TCP(sport=8, dport=9, flags="A")) + b"\xee" * 6, GOOD4 | {"tcp"}),
    "options tcp4": (ether(IP(options=b"\x94\x04\0\0"), TCP(), Raw(payload(9))), GOOD4 | {"tcp"}),
    "bad udp4": (worn(UDP4, len(UDP4) - 1), {"v4", "udp"}),
}
BAD = {
    "payload tcp4": worn(TCP4, 60),
    "payload udp4": worn(UDP4, 60),
    "payload tcp6": worn(TCP6, 90),
    "payload udp6": worn(UDP6, 90),
    "checksum tcp4": worn(TCP4, offsets(TCP4)[1]),
    "address tcp4": worn(TCP4, 27),
    "address udp6": worn(UDP6, 30),
    "no udp6 checksum": UDP6[: offsets(UDP6)[1]] + b"\0\0" + UDP6[offsets(UDP6)[1] + 2 :],
    "cut tcp4": TCP4[:-30],
}


def facts(packet: Received) -> set[str]:
    names = ("cnc", "tuc", "ipc", "tcp", "udp", "v4", "v6", "frg")
    return {name for name in names if getattr(packet, name)}


@pytest.mark.parametrize("name", [name for name in STATUS if not name.startswith("bad")])
def test_VMX_V_052_good_checksums(rig: Rig, name: str) -> None:
    driver = rig.driver()
    data, expected = STATUS[name]

    rig.feed(data)

    packet = rig.got(driver, 1)[0]
    assert facts(packet) == expected
    assert packet.verified


@pytest.mark.parametrize("name", BAD)
def test_VMX_V_052_bad_checksums(rig: Rig, name: str) -> None:
    driver = rig.driver()

    rig.feed(BAD[name])

    packet = rig.got(driver, 1)[0]
    assert packet.data == BAD[name]
    assert not packet.verified
    assert packet.cnc or not packet.tuc


@pytest.mark.parametrize("at", [18, 24, 22])
def test_VMX_V_052_bad_ipv4_header(rig: Rig, at: int) -> None:
    driver = rig.driver()

    rig.feed(worn(TCP4, at))

    packet = rig.got(driver, 1)[0]
    assert packet.cnc or not packet.ipc
    assert not packet.verified


@pytest.mark.parametrize(
    "data",
    [
        frame(60),
        ether(ARP(psrc="192.0.2.1", pdst="192.0.2.2")),
        MAC + b"\x02\0\0\0\0\1" + b"\x08\x00",
        ether(V4)[:30],
        ether(V6)[:40],
    ],
    ids=["unknown", "arp", "empty", "short ipv4", "short ipv6"],
)
def test_VMX_V_052_nothing_to_check(rig: Rig, data: bytes) -> None:
    driver = rig.driver()

    rig.feed(data)

    packet = rig.got(driver, 1)[0]
    assert (packet.cnc, packet.verified, packet.data) == (True, False, data)


def test_VMX_V_052_other_protocol_is_not_called_tcp_or_udp(rig: Rig) -> None:
    driver = rig.driver()

    rig.feed(ether(V4, ICMP(), Raw(payload(20))))

    packet = rig.got(driver, 1)[0]
    assert not packet.tcp
    assert not packet.udp
    assert not packet.tuc


def test_VMX_V_052_udp_without_checksum_is_not_called_wrong_data(rig: Rig) -> None:
    driver = rig.driver()
    at = offsets(UDP4)[1]

    rig.feed(UDP4[:at] + b"\0\0" + UDP4[at + 2 :])

    assert rig.got(driver, 1)[0].data == UDP4[:at] + b"\0\0" + UDP4[at + 2 :]


@pytest.mark.parametrize(("offset", "more"), [(0, 1), (10, 1), (10, 0)])
def test_VMX_V_053_fragments(rig: Rig, offset: int, more: int) -> None:
    driver = rig.driver()
    part = IP(src="192.0.2.1", dst="198.51.100.9", frag=offset, flags=more, proto=17)

    rig.feed(ether(part, Raw(payload(400))))

    packet = rig.got(driver, 1)[0]
    assert (packet.frg, packet.tuc, packet.verified) == (True, False, False)


def test_VMX_V_053_ipv6_fragment(rig: Rig) -> None:
    driver = rig.driver()
    part = IPv6(src="2001:db8::1", dst="2001:db8::9", nh=44)

    rig.feed(ether(part, Raw(b"\x11\0\0\x09\0\0\0\x01" + payload(400))))

    packet = rig.got(driver, 1)[0]
    assert (packet.tuc, packet.verified) == (False, False)


@pytest.mark.parametrize("name", STATUS)
def test_VMX_V_053_without_the_feature_nothing_is_calculated(rig: Rig, name: str) -> None:
    driver = rig.driver(features=Feature.RXVLAN)

    rig.feed(STATUS[name][0])

    packet = rig.got(driver, 1)[0]
    assert (packet.cnc, packet.verified) == (True, False)


# -- tags ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tci", [0x2005, 0xFFFE, 5])
def test_VMX_V_054_tag_is_stripped(rig: Rig, tci: int) -> None:
    driver = rig.driver()
    driver.set_vlans([0, tci & 0xFFF])
    plain = frame(90, seed=4)

    rig.feed(plain[:12] + b"\x81\x00" + tci.to_bytes(2, "big") + plain[12:])

    packet = rig.got(driver, 1)[0]
    assert (packet.vlan, packet.data) == (tci, plain)


def test_VMX_V_054_only_the_outer_tag_is_stripped(rig: Rig) -> None:
    driver = rig.driver()
    driver.set_vlans([0, 5])
    inner = frame(90)[:12] + b"\x81\x00\x00\x07" + frame(90)[12:]

    rig.feed(inner[:12] + b"\x81\x00\x00\x05" + inner[12:], frame(60, seed=1))

    packets = rig.got(driver, 2)
    assert [(packet.vlan, packet.data) for packet in packets] == [(5, inner), (None, frame(60, seed=1))]


def test_VMX_V_054_without_the_feature_the_tag_stays(rig: Rig) -> None:
    driver = rig.driver(features=Feature.RXCSUM)
    driver.set_vlans([0, 5])
    whole = frame(90)[:12] + b"\x81\x00\x20\x05" + frame(90)[12:]

    rig.feed(whole)

    packet = rig.got(driver, 1)[0]
    assert (packet.vlan, packet.data) == (None, whole)


def test_VMX_V_054_feature_can_change_while_active(rig: Rig) -> None:
    driver = rig.driver()
    driver.set_vlans([0, 5])
    whole = frame(90)[:12] + b"\x81\x00\x20\x05" + frame(90)[12:]

    rig.feed(whole)
    stripped = rig.got(driver, 1)[0]
    driver.set_features(Feature.RXCSUM)
    rig.feed(whole)

    assert (stripped.vlan, rig.got(driver, 1)[0].data) == (0x2005, whole)
