"""VMXNET3 device rules 042 to 058 and 075: what versions 2 to 9 add to receive."""

from typing import Any

import pytest

from vmxnet3.conform.packets import TCP, UDP, Raw, ether, payload
from vmxnet3.conform.rig import MAC, MakeRig, Rig, frame
from vmxnet3.conform.test_v_filters import A4, A6, MS_KEY, TABLE
from vmxnet3.conform.tunnels import INNER, KINDS, tunnel
from vmxnet3.driver import Driver, Received, Rss
from vmxnet3.wire import Cap, Feature, RssField, RssType

SMALL: dict[str, Any] = {"tx_ring": 32, "rx_ring0": 32, "rx_ring1": 32}
V4 = INNER[4]


def one(rig: Rig, driver: Driver, data: bytes) -> Received:
    rig.feed(data)
    return rig.got(driver, 1)[0]


# -- data ring -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [3, 6, 9])
def test_VMX_V_055_small_frames_come_in_slots(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version, rx_data_slot=128, guard=64)
    sizes = [14, 60, 127, 128, 129, 1000, 1514, 61]

    rig.feed(*[frame(size, seed=size) for size in sizes])
    packets = rig.got(driver, len(sizes))

    assert [packet.data for packet in packets] == [frame(size, seed=size) for size in sizes]
    assert [packet.parts for packet in packets] == [
        ((2 if size <= 128 else 0, n, size),) for n, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("slot", [64, 128, 256, 2048])
def test_VMX_V_055_slot_sizes(rig: Rig, slot: int) -> None:
    driver = rig.driver(version=3, rx_data_slot=slot, guard=64)
    sizes = [60, slot - 1, slot, slot + 1]

    rig.feed(*[frame(size, seed=size) for size in sizes if size <= 1514])

    packets = rig.got(driver, sum(size <= 1514 for size in sizes))
    assert [packet.parts[0][0] for packet in packets] == [2 if size <= slot else 0 for size in sizes if size <= 1514]


@pytest.mark.parametrize("slot", [64, 256])
def test_VMX_V_055_slots_of_the_size_version_9_names(make_rig: MakeRig, slot: int) -> None:
    rig = make_rig(rx_data_slot=slot)
    driver = rig.driver(profile="linux", version=9)

    rig.feed(frame(slot, seed=1), frame(slot + 1, seed=2))

    assert driver.rx_desc[0]["rxDataRingDescSize"] == slot
    assert [packet.parts[0][0] for packet in rig.got(driver, 2)] == [2, 0]


def test_VMX_V_055_many_laps_with_buffers_in_between(rig: Rig) -> None:
    driver = rig.driver(**SMALL, version=3, rx_data_slot=128, guard=64, mtu=9000, head_size=1024, body_size=2048)
    sizes = [60, 500, 61, 128, 5000, 100, 1024, 1025, 62]

    packets: list[Received] = []
    for n in range(200):
        packets.append(one(rig, driver, frame(sizes[n % 9], seed=n)))

    assert [packet.data for packet in packets] == [frame(sizes[n % 9], seed=n) for n in range(200)]
    assert [packet.parts[0][:2] for packet in packets] == [
        (2 if sizes[n % 9] <= 128 else 0, n % 32) for n in range(200)
    ]


def test_VMX_V_055_drained_at_speed(rig: Rig) -> None:
    driver = rig.driver(version=3, rx_data_slot=128)
    sent = [frame(60 + n % 90, seed=n) for n in range(150)]
    got: list[bytes] = []

    def look() -> bool:
        driver.drain(lambda _, frames: got.extend(map(bytes, frames)))
        return len(got) >= len(sent)

    rig.feed(*sent)

    assert rig.until(look)
    assert got == sent


def test_VMX_V_055_every_queue_has_its_own(rig: Rig) -> None:
    driver = rig.driver(
        **SMALL, version=3, rx_queues=4, rx_data_slot=128, guard=64, rss=Rss(table=bytes(range(4)) * 32, key=MS_KEY)
    )
    flows = [ether(A4, TCP(sport=n, dport=80)) for n in range(40)]

    packets = [one(rig, driver, flow) for flow in flows]

    assert [packet.data for packet in packets] == flows
    assert [packet.parts[0][0] for packet in packets] == [2] * 40
    assert {packet.queue for packet in packets} == {0, 1, 2, 3}


@pytest.mark.parametrize("version", [3, 9])
def test_VMX_V_055_no_data_ring_no_slots(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version, rx_data_slot=0)

    assert one(rig, driver, frame(60)).parts == ((0, 0, 60),)


def test_VMX_V_055_status_is_the_same_in_a_slot(rig: Rig) -> None:
    driver = rig.driver(version=3, rx_data_slot=128)
    good = ether(V4, TCP(sport=1, dport=2), Raw(payload(20)))
    bad = good[:-1] + bytes([good[-1] ^ 1])

    packets = [one(rig, driver, data) for data in (good, bad)]

    assert [packet.parts[0][0] for packet in packets] == [2, 2]
    assert [packet.verified for packet in packets] == [True, False]


# -- jumbo frames ----------------------------------------------------------------------------------------------------


def test_VMX_V_042_jumbo_below_version_7_goes_on_in_ring_0(rig: Rig) -> None:
    driver = rig.driver(profile="linux", version=6, mtu=9000, rx_ring0=96, rx_ring1=64, rx_data_slot=0, guard=32)

    rig.feed(frame(9014, seed=1), frame(60, seed=2), frame(4000, seed=3))
    packets = rig.got(driver, 3)

    assert [packet.data for packet in packets] == [frame(9014, seed=1), frame(60, seed=2), frame(4000, seed=3)]
    assert [[part[:2] for part in packet.parts] for packet in packets] == [
        [(0, 0), (0, 1), (0, 2)],
        [(0, 3)],
        [(0, 6), (0, 7)],
    ]


@pytest.mark.parametrize("version", [7, 9])
def test_VMX_V_042_jumbo_from_version_7_on_goes_on_in_ring_1(rig: Rig, version: int) -> None:
    driver = rig.driver(profile="linux", version=version, mtu=9000, rx_ring0=64, rx_ring1=64, rx_data_slot=0, guard=32)

    rig.feed(frame(9014, seed=1), frame(60, seed=2), frame(4000, seed=3))
    packets = rig.got(driver, 3)

    assert [packet.data for packet in packets] == [frame(9014, seed=1), frame(60, seed=2), frame(4000, seed=3)]
    assert [[part[:2] for part in packet.parts] for packet in packets] == [
        [(0, 0), (1, 0), (1, 1)],
        [(0, 1)],
        [(0, 2), (1, 2)],
    ]


@pytest.mark.parametrize("version", [6, 9])
def test_VMX_V_049_the_longest_mtu(rig: Rig, version: int) -> None:
    driver = rig.driver(profile="linux", version=version, mtu=9190, rx_data_slot=0, guard=32)

    assert one(rig, driver, frame(9204, seed=1)).data == frame(9204, seed=1)


# -- hashes ----------------------------------------------------------------------------------------------------------

FIELDS = RssField.TCPIP4 | RssField.TCPIP6 | RssField.UDPIP4 | RssField.UDPIP6
UDP_VECTORS = {  # Microsoft's tuples: the hash does not know the protocol
    "udp4": (ether(A4, UDP(sport=2794, dport=1766)), 0x51CCC178, RssType.UDPIPV4),
    "udp6": (ether(A6, UDP(sport=2794, dport=1766)), 0x40207D3D, RssType.UDPIPV6),
    "tcp4": (ether(A4, TCP(sport=2794, dport=1766)), 0x51CCC178, RssType.TCPIPV4),
}


def hashing(rig: Rig, version: int, **config: Any) -> Driver:
    return rig.driver(**SMALL, version=version, rx_queues=4, rss=Rss(table=TABLE, key=MS_KEY), **config)


@pytest.mark.parametrize("version", [4, 6, 7, 9])
@pytest.mark.parametrize("name", UDP_VECTORS)
def test_VMX_V_057_known_hashes_of_udp(rig: Rig, version: int, name: str) -> None:
    data, value, kind = UDP_VECTORS[name]
    driver = hashing(rig, version, rss_fields=FIELDS)

    packet = one(rig, driver, data)

    assert (packet.rss_hash, packet.rss_type, packet.queue) == (value, kind, TABLE[value % 128])


@pytest.mark.parametrize("version", [4, 7])
def test_VMX_V_057_fields_change_while_active(rig: Rig, version: int) -> None:
    driver = hashing(rig, version)
    data = UDP_VECTORS["udp4"][0]

    before = one(rig, driver, data)
    driver.set_rss_fields(FIELDS)
    hashed = one(rig, driver, data)
    driver.set_rss_fields(RssField.TCPIP4 | RssField.TCPIP6)
    after = one(rig, driver, data)

    assert [packet.rss_type for packet in (before, hashed, after)] == [RssType.IPV4, RssType.UDPIPV4, RssType.IPV4]
    assert [packet.rss_hash for packet in (before, hashed, after)] == [0x323E8FC2, 0x51CCC178, 0x323E8FC2]


@pytest.mark.parametrize("version", [3, 4, 9])
def test_VMX_V_058_udp_is_not_hashed_unasked(rig: Rig, version: int) -> None:
    driver = hashing(rig, version)

    types = [one(rig, driver, UDP_VECTORS[name][0]).rss_type for name in ("udp4", "udp6", "tcp4")]

    assert types == [RssType.IPV4, RssType.IPV6, RssType.TCPIPV4]


ESP = {4: A4.__class__(src="66.9.149.187", dst="161.142.100.80", proto=50), 6: A6.__class__(nh=50)}


@pytest.mark.parametrize(("version", "inner"), [(4, 4), (6, 6), (7, 4), (9, 6)])
def test_VMX_V_058_esp_is_hashed_when_asked(rig: Rig, version: int, inner: int) -> None:
    driver = hashing(rig, version)
    field, kind = (RssField.ESPIP4, RssType.ESPIPV4) if inner == 4 else (RssField.ESPIP6, RssType.ESPIPV6)
    flows = [ether(ESP[inner], Raw(spi.to_bytes(4, "big") + payload(60))) for spi in (1, 1, 2)]

    driver.set_rss_fields(FIELDS | field)
    if not driver.get_rss_fields() & field:
        pytest.skip("the device does not hash ESP")
    packets = [one(rig, driver, data) for data in flows]

    assert [packet.rss_type for packet in packets] == [kind] * 3
    assert packets[0].rss_hash == packets[1].rss_hash != packets[2].rss_hash


@pytest.mark.parametrize(("version", "queues"), [(1, 8), (6, 8), (6, 32), (9, 32)])
def test_VMX_V_057_many_queues_all_carry_traffic(rig: Rig, version: int, queues: int) -> None:
    table = bytes(n % queues for n in range(128))
    driver = rig.driver(
        **SMALL,
        version=version,
        tx_queues=queues,
        rx_queues=queues,
        body_size=1024,
        rss=Rss(table=table, key=MS_KEY),
    )
    flows = [ether(A4, TCP(sport=n, dport=80, seq=n)) for n in range(400)]

    packets: list[Received] = []
    for n in range(0, 400, 20):
        rig.feed(*flows[n : n + 20])
        packets += rig.got(driver, 20)
    for queue in range(queues):
        driver.send(frame(100, seed=queue), queue=queue)

    assert sorted(packet.data for packet in packets) == sorted(flows)
    assert all(packet.queue == table[packet.rss_hash % 128] for packet in packets)
    assert {packet.queue for packet in packets} == set(range(queues))
    assert sorted(rig.sent(queues)) == sorted(frame(100, seed=queue) for queue in range(queues))
    fired = rig.interrupts((1 << queues) - 1 << queues)  # the receive vectors stand behind the transmit ones
    assert not fired >> driver.event_vector & 1


# -- tunnels ---------------------------------------------------------------------------------------------------------

INNER_TOO = Feature.RXCSUM | Feature.RXVLAN | Feature.RXINNEROFLD


@pytest.mark.parametrize("version", [4, 6, 7, 9])
@pytest.mark.parametrize("kind", KINDS)
def test_VMX_V_052_inner_status(rig: Rig, version: int, kind: str) -> None:
    driver = rig.driver(version=version, features=INNER_TOO)
    made = [tunnel(kind, outer=outer, inner=inner, outer_sum=outer == 6) for outer in (4, 6) for inner in (4, 6)]
    spoilt = [each.data[:-1] + bytes([each.data[-1] ^ 1]) for each in made]

    good = [one(rig, driver, each.data) for each in made]
    bad = [one(rig, driver, data) for data in spoilt]

    assert [(packet.inner, packet.verified, packet.tcp) for packet in good] == [(True, True, True)] * 4
    assert [(packet.v4, packet.v6) for packet in good] == [(True, False), (False, True)] * 2
    assert [packet.inner and packet.verified for packet in bad] == [False] * 4


def test_VMX_V_052_no_inner_status_unasked(rig: Rig) -> None:
    driver = rig.driver(version=4)
    made = tunnel("geneve")

    packet = one(rig, driver, made.data)

    assert (packet.data, packet.inner) == (made.data, False)


# -- time stamps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast", [False, True])
def test_VMX_V_075_sampled_frames_are_marked(make_rig: MakeRig, fast: bool) -> None:
    rig = make_rig(timestamp_rate=4)
    driver = rig.driver(version=9)

    rig.feed(*[frame(seed=n) for n in range(20)])
    count = 0

    def look() -> bool:
        nonlocal count
        count += driver.drain(lambda queue, frames: None) if fast else len(driver.receive())
        return count >= 20

    assert rig.until(look)
    stamps = driver.rx[0].stamps
    assert stamps is not None
    assert sum(stamps.read(n) is not None for n in range(20)) == 5


def test_VMX_V_075_no_ring_no_marks(make_rig: MakeRig) -> None:
    rig = make_rig(timestamp_rate=1)
    driver = rig.driver(version=8)

    rig.feed(*[frame(dst=MAC, seed=n) for n in range(10)])

    assert not any(packet.sampled for packet in rig.got(driver, 10))


# -- capabilities ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [7, 9])
def test_VMX_V_074_hash_fields_follow_the_capabilities(rig: Rig, version: int) -> None:
    driver = hashing(rig, version, caps=Cap(0), rss_fields=FIELDS)

    without = driver.get_rss_fields()
    driver.set_rss_fields(FIELDS)

    assert without == RssField.TCPIP4 | RssField.TCPIP6
    assert driver.get_rss_fields() == (FIELDS if driver.dcr & Cap.UDP_RSS else without)
