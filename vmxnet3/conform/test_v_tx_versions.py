"""VMXNET3 device rules 022, 029, 035, 036 and 071, 075: what versions 2 to 9 add to transmit."""

from collections.abc import Callable

import pytest

from vmxnet3 import wire
from vmxnet3.conform.packets import lay, payload
from vmxnet3.conform.rig import PEER, MakeRig, Rig, frame
from vmxnet3.conform.tunnels import KINDS, Tunnel, retold, tunnel
from vmxnet3.driver import Csum, Driver, Encap, Tso
from vmxnet3.driver.offloads import Offload
from vmxnet3.wire import Cap, QueueError

VERSIONS = (4, 6, 7, 9)
INSIDE_OUTSIDE = [(inner, outer) for outer in (4, 6) for inner in (4, 6)]  # IP versions
MSS = 1000


def checksum(version: int, made: Tunnel, *, outer: bool = False) -> Offload:
    """Ask for the inner checksum, the way this version asks."""
    if version < 7:
        return Encap(made.hlen, outer=outer)
    return Csum(made.hlen, made.field, inner=True, outer=outer)


def segmentation(version: int, made: Tunnel, *, outer: bool = False) -> Offload:
    if version < 7:
        return Encap(made.hlen, MSS, outer=outer)
    return Tso(made.hlen, MSS, inner=True, outer=outer)


def alive(rig: Rig, driver: Driver) -> None:
    """Ordinary traffic still passes."""
    rig.settle()
    rig.net.sent.clear()
    driver.send(frame(99, seed=99))
    assert rig.sent(1) == [frame(99, seed=99)]
    rig.reap(driver, 1)


# -- rings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 6, 9])
def test_VMX_V_022_32_descriptors(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)

    driver.send(frame(1514, seed=2), pieces=[47] * 31 + [57])

    assert rig.sent(1) == [frame(1514, seed=2)]
    assert wire.TX_COMP.numbers(driver.tx[0].comp.view[:16])["txdIdx"] == 31
    rig.reap(driver, 1)


@pytest.mark.parametrize("version", [3, 9])
def test_VMX_V_071_data_ring_slots_of_the_size_named(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)
    size = driver.tx_slot_size

    for n in range(5):
        driver.send(frame(1514, seed=n), header=size, pieces=[1514 - size])

    assert size in range(wire.MIN_DATA_SLOT, wire.MAX_DATA_SLOT + 1, wire.DATA_SLOT_ALIGN)
    assert rig.sent(5) == [frame(1514, seed=n) for n in range(5)]
    rig.reap(driver, 5)


@pytest.mark.parametrize("size", [128, 192, 2048])
def test_VMX_V_071_other_slot_sizes(make_rig: MakeRig, size: int) -> None:
    rig = make_rig(tx_data_slot=size)
    driver = rig.driver(version=3)

    for n in range(3):
        driver.send(frame(size, seed=n), header=size)

    assert driver.tx_slot_size == size
    assert rig.sent(3) == [frame(size, seed=n) for n in range(3)]


# -- tunnels: checksums ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_VMX_V_036_inner_checksum(rig: Rig, version: int, kind: str) -> None:
    driver = rig.driver(version=version)
    packets = [tunnel(kind, outer=o, inner=i, udp=udp) for i, o in INSIDE_OUTSIDE for udp in (False, True)]

    for made in packets:
        driver.send(made.seeded(), offload=checksum(version, made))

    assert rig.sent(len(packets)) == [made.data for made in packets]
    rig.reap(driver, len(packets))
    assert rig.kept("VMX-D-041", "VMX-D-044")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_VMX_V_036_outer_checksum(rig: Rig, version: int, kind: str) -> None:
    driver = rig.driver(version=version)
    packets = [tunnel(kind, outer=outer, inner=inner, outer_sum=True) for inner, outer in INSIDE_OUTSIDE]

    for made in packets:
        driver.send(made.seeded(outer=True), offload=checksum(version, made, outer=True))

    assert rig.sent(len(packets)) == [made.data for made in packets]


@pytest.mark.parametrize("version", VERSIONS)
def test_VMX_V_036_checksum_over_several_descriptors_and_a_tag(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)
    made = tunnel("vxlan", size=777)

    driver.send(made.seeded(), offload=checksum(version, made), vlan=0x2009, pieces=[made.hlen, 301, 476])

    assert rig.sent(1) == [made.data[:12] + b"\x81\x00\x20\x09" + made.data[12:]]


@pytest.mark.parametrize("version", VERSIONS)
def test_VMX_V_036_frames_that_have_a_tag_already(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)
    plain = tunnel("geneve", size=333, outer_sum=True)
    made = tagged(plain)

    driver.send(made.seeded(outer=True), offload=checksum(version, made, outer=True))

    assert rig.sent(1) == [made.data]
    assert made.data[16:] == plain.data[12:]


def tagged(made: Tunnel) -> Tunnel:
    """The same frame in VLAN 7."""
    return Tunnel(
        made.data[:12] + b"\x81\x00\x00\x07" + made.data[12:],
        made.outer_udp + 4,
        made.inner + 4,
        made.field + 4,
        made.hlen + 4,
    )


# -- tunnels: segments -----------------------------------------------------------------------------------------------


def judged(segments: list[bytes], made: Tunnel) -> list[bytes]:
    """The inner frames, once every length and checksum is found right."""
    assert segments == [retold(segment, made.inner) for segment in segments]
    same = slice(0, 12), slice(made.outer_udp, made.outer_udp + 4), slice(made.outer_udp + 8, made.inner + 14)
    for part in same:  # addresses, ports, the tunnel's header, the inner Ethernet header
        assert {segment[part] for segment in segments} == {made.data[part]}
    return [segment[made.inner :] for segment in segments]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outer_sum", [False, True], ids=["outer 0", "outer sum"])
def test_VMX_V_036_inner_segmentation(rig: Rig, version: int, kind: str, outer_sum: bool) -> None:
    driver = rig.driver(version=version)

    for inner, outer in INSIDE_OUTSIDE:
        made = tunnel(kind, outer=outer, inner=inner, size=4321, outer_sum=outer_sum)
        driver.send(
            made.seeded(length=False, outer=outer_sum),
            offload=segmentation(version, made, outer=outer_sum),
            pieces=[made.hlen, 4321],
        )
        whole(judged(rig.sent(5), made), inner)
    rig.reap(driver, len(INSIDE_OUTSIDE))
    assert rig.kept("VMX-D-041", "VMX-D-045")


def whole(inside: list[bytes], version: int) -> None:
    """The five inner frames are the 4321 bytes, cut at MSS, in order."""
    loads = [bytes(lay(data)["TCP"].payload) for data in inside]
    assert ([len(load) for load in loads], b"".join(loads)) == ([MSS] * 4 + [321], payload(4321))
    assert [lay(data)["TCP"].seq for data in inside] == [(0xFFFF_F000 + MSS * n) & 0xFFFF_FFFF for n in range(5)]
    assert ["P" in str(lay(data)["TCP"].flags) for data in inside] == [False] * 4 + [True]
    if version == 4:
        assert [lay(data)["IP"].id for data in inside] == [0x1234 + n for n in range(5)]


@pytest.mark.parametrize("version", VERSIONS)
def test_VMX_V_036_segments_carry_the_tag_outside(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)
    made = tunnel("geneve", size=2500)

    driver.send(made.seeded(length=False), offload=segmentation(version, made), vlan=0x2009)

    segments = rig.sent(3)
    assert {data[12:16] for data in segments} == {b"\x81\x00\x20\x09"}
    judged([data[:12] + data[16:] for data in segments], made)


@pytest.mark.parametrize("version", VERSIONS)
def test_VMX_V_036_counters_count_segments(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)
    made = tunnel("vxlan", size=3000)
    driver.send(made.seeded(length=False), offload=segmentation(version, made))
    driver.send(frame(60, dst=PEER))
    segments = rig.sent(4)

    stats = driver.stats()[0][0]

    total = sum(map(len, segments[:3]))
    assert (stats["TSOPktsTxOK"], stats["TSOBytesTxOK"]) == (3, total)
    assert (stats["ucastPktsTxOK"], stats["ucastBytesTxOK"]) == (4, total + 60)


# -- tunnels: what goes wrong ----------------------------------------------------------------------------------------

WRONG: dict[str, Callable[[Tunnel], tuple[Offload, Offload]]] = {  # below version 7, and from there on
    "hlen 0": lambda made: (Encap(0, MSS), Tso(0, MSS, inner=True)),
    "hlen short of the inner header": lambda made: (Encap(made.inner, MSS), Tso(made.inner, MSS, inner=True)),
    "hlen beyond the frame": lambda made: (Encap(1023, MSS), Tso(1023, MSS, inner=True)),
    "checksum beyond the frame": lambda made: (Encap(1023), Csum(made.hlen, 1023, inner=True)),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", WRONG)
def test_VMX_V_036_headers_that_cannot_be(rig: Rig, version: int, name: str) -> None:
    driver = rig.driver(version=version)
    made = tunnel("geneve", size=500)

    driver.send(made.seeded(length=False), offload=WRONG[name](made)[version >= 7])
    rig.reap(driver, 1)

    assert driver.stats()[0][0]["pktsTxError"] == 1
    alive(rig, driver)


@pytest.mark.parametrize("version", VERSIONS)
def test_VMX_V_036_no_tunnel_at_all(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)
    made = tunnel("geneve", size=500)

    driver.send(frame(600), offload=segmentation(version, made))
    rig.reap(driver, 1)

    assert driver.stats()[0][0]["pktsTxError"] == 1
    alive(rig, driver)


UNKNOWN: dict[str, tuple[int, Offload]] = {
    "om 1 below version 4": (3, Encap(60)),
    "om 1 from version 7 on": (7, Encap(60)),
    "ext1 below version 7": (6, Csum(60, 50, inner=True)),
    "oco below version 4": (3, Csum(34, 50, outer=True)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_VMX_V_035_bits_of_other_versions(rig: Rig, name: str) -> None:
    version, offload = UNKNOWN[name]
    driver = rig.driver(version=version)

    driver.send(frame(100), offload=offload)
    rig.settle()

    assert driver.queue_status()[0] == [(True, QueueError.DESC_NOT_SPT)]
    assert rig.net.sent == []
    driver.stop()
    driver.open()
    alive(rig, driver)


# -- version 7 and 9 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("queues", [1, 8, 32])
def test_VMX_V_074_bells_of_the_large_bar(rig: Rig, queues: int) -> None:
    driver = rig.driver(version=7, tx_queues=queues, tx_ring=32, rx_ring0=32, rx_ring1=32)
    if not driver.caps & Cap.LARGE_BAR:
        pytest.skip("the device has no LARGE_BAR")

    for queue in range(queues):
        driver.send(frame(100, seed=queue), queue=queue)

    assert driver.bells == (wire.LB_REG_TXPROD, wire.LB_REG_RXPROD, wire.LB_REG_RXPROD2)
    assert sorted(rig.sent(queues)) == sorted(frame(100, seed=queue) for queue in range(queues))
    rig.reap(driver, queues)


@pytest.mark.parametrize("rate", [1, 4])
def test_VMX_V_075_sampled_packets_are_stamped(make_rig: MakeRig, rate: int) -> None:
    rig = make_rig(timestamp_rate=rate)
    driver = rig.driver(version=9)

    for n in range(10):
        driver.send(frame(seed=n))

    stamps = driver.tx[0].stamps
    assert stamps is not None
    assert driver.tx_desc[0]["sampleRate"] == rate
    assert [stamps.read(n) is not None for n in range(10)] == [n % rate == 0 for n in range(10)]
    assert rig.sent(10) == [frame(seed=n) for n in range(10)]
    rig.reap(driver, 10)


def test_VMX_V_075_rate_0_is_no_sampling(make_rig: MakeRig) -> None:
    rig = make_rig(timestamp_rate=0)
    driver = rig.driver(version=9)

    for n in range(10):
        driver.send(frame(seed=n))
    rig.feed(*[frame(seed=n) for n in range(10)])

    assert driver.tx_desc[0]["sampleRate"] == 0
    assert not any(packet.sampled for packet in rig.got(driver, 10))
    assert rig.sent(10) == [frame(seed=n) for n in range(10)]
