"""VMXNET3 device rules 057 to 059: receive side scaling, address and VLAN filters."""

import pytest

from vmxnet3.backend import Queue
from vmxnet3.conform.packets import ARP, IP, TCP, UDP, Dot1Q, IPv6, Raw, ether, payload
from vmxnet3.conform.rig import BROADCAST, MAC, PEER, MakeRig, Rig, frame
from vmxnet3.driver import Driver, Received, Rss
from vmxnet3.wire import Cmd, Feature, HashType, RssType, RxMode

# Microsoft, "Verifying the RSS hash calculation": key, tuples and results.
MS_KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
# The default key of FreeBSD's and VPP's drivers and of Linux's before 3.18.
BSD_KEY = bytes.fromhex("3b56d156134ae7ace8790975e86579283512b9567c764b70d856a3189b0aeef396a69f8f9e8c90c9")
TABLE = bytes([0, 1, 2, 3, 3, 2, 1, 0] * 16)

A4 = IP(src="66.9.149.187", dst="161.142.100.80")
B4 = IP(src="199.92.111.2", dst="65.69.140.83")
A6 = IPv6(src="3ffe:2501:200:1fff::7", dst="3ffe:2501:200:3::1")
VECTORS = {
    "tcp4 a": (MS_KEY, ether(A4, TCP(sport=2794, dport=1766)), 0x51CCC178, RssType.TCPIPV4),
    "ipv4 a": (MS_KEY, ether(A4, UDP(sport=2794, dport=1766)), 0x323E8FC2, RssType.IPV4),
    "tcp4 b": (MS_KEY, ether(B4, TCP(sport=14230, dport=4739)), 0xC626B0EA, RssType.TCPIPV4),
    "ipv4 b": (MS_KEY, ether(B4, UDP(sport=14230, dport=4739)), 0xD718262A, RssType.IPV4),
    "tcp6 a": (MS_KEY, ether(A6, TCP(sport=2794, dport=1766)), 0x40207D3D, RssType.TCPIPV6),
    "ipv6 a": (MS_KEY, ether(A6, UDP(sport=2794, dport=1766)), 0x2CC18CD5, RssType.IPV6),
    "tcp4 a, other key": (BSD_KEY, ether(A4, TCP(sport=2794, dport=1766)), 0x9715DF20, RssType.TCPIPV4),
    "ipv4 a, other key": (BSD_KEY, ether(A4, UDP(sport=2794, dport=1766)), 0x4E78A6F3, RssType.IPV4),
    "tagged tcp4": (MS_KEY, ether(Dot1Q(vlan=0), A4, TCP(sport=2794, dport=1766)), 0x51CCC178, RssType.TCPIPV4),
}
ALL = HashType.IPV4 | HashType.TCP_IPV4 | HashType.IPV6 | HashType.TCP_IPV6


def scaled(rig: Rig, key: bytes = MS_KEY, table: bytes = TABLE, hash_type: HashType = ALL) -> Driver:
    """Four receive queues, spread by `table`."""
    return rig.driver(
        rx_queues=4, rx_ring0=32, rx_ring1=32, tx_ring=32, rss=Rss(table=table, key=key, hash_type=hash_type)
    )


def one(rig: Rig, driver: Driver, data: bytes) -> Received:
    rig.feed(data)
    return rig.got(driver, 1)[0]


@pytest.mark.parametrize("name", VECTORS)
def test_VMX_V_057_known_hashes(rig: Rig, name: str) -> None:
    key, data, value, kind = VECTORS[name]
    driver = scaled(rig, key=key)

    packet = one(rig, driver, data)

    assert (packet.rss_hash, packet.rss_type, packet.queue) == (value, kind, TABLE[value % 128])


@pytest.mark.parametrize("size", [1, 4, 64, 100, 128])
def test_VMX_V_057_queue_comes_from_the_table(rig: Rig, size: int) -> None:
    table = bytes(((n * 7) >> 1) & 3 for n in range(size))
    driver = scaled(rig, table=table)

    packets = [one(rig, driver, data) for _, data, _, _ in list(VECTORS.values())[:6]]

    assert [packet.queue for packet in packets] == [table[packet.rss_hash % size] for packet in packets]
    assert [packet.rss_hash for packet in packets] == [value for _, _, value, _ in list(VECTORS.values())[:6]]


def test_VMX_V_057_table_changes_while_active(rig: Rig) -> None:
    driver = scaled(rig, table=bytes([1] * 128))
    data = VECTORS["tcp4 a"][1]
    before = one(rig, driver, data)

    driver.write_rss(Rss(table=bytes([3] * 128), key=MS_KEY, hash_type=ALL))
    told = one(rig, driver, data).queue
    driver.command_only(Cmd.UPDATE_RSSIDT)
    after = one(rig, driver, data)

    assert [before.queue, told, after.queue] == [1, 1, 3]
    assert before.rss_hash == after.rss_hash


def test_VMX_V_057_entry_that_names_no_queue(rig: Rig) -> None:
    driver = scaled(rig, table=bytes([200] * 128))

    packet = one(rig, driver, VECTORS["tcp4 a"][1])

    assert packet.queue == 0


def test_VMX_V_057_a_flow_stays_in_order(rig: Rig) -> None:
    driver = scaled(rig)
    flow = [ether(A4, TCP(sport=2794, dport=1766, seq=n), Raw(payload(n))) for n in range(20)]

    rig.feed(*flow)

    packets = rig.got(driver, 20)
    assert [packet.data for packet in packets] == flow
    assert len({packet.queue for packet in packets}) == 1


@pytest.mark.parametrize(
    ("enabled", "types"),
    [
        (HashType.TCP_IPV4, [2, 0, 0, 0]),
        (HashType.IPV4, [1, 1, 0, 0]),
        (HashType.TCP_IPV6 | HashType.IPV6, [0, 0, 4, 3]),
        (HashType.TCP_IPV4 | HashType.TCP_IPV6, [2, 0, 4, 0]),
        (ALL, [2, 1, 4, 3]),
    ],
)
def test_VMX_V_058_types_that_were_enabled(rig: Rig, enabled: HashType, types: list[int]) -> None:
    driver = scaled(rig, table=bytes([2] * 128), hash_type=enabled)

    packets = [one(rig, driver, VECTORS[name][1]) for name in ("tcp4 a", "ipv4 a", "tcp6 a", "ipv6 a")]

    assert [packet.rss_type for packet in packets] == types
    assert [packet.queue for packet in packets] == [2 if kind else 0 for kind in types]


@pytest.mark.parametrize("data", [frame(60), ether(ARP()), frame(14)], ids=["unknown", "arp", "empty"])
def test_VMX_V_058_other_frames_go_to_queue_0(rig: Rig, data: bytes) -> None:
    driver = scaled(rig, table=bytes([2] * 128))

    packet = one(rig, driver, data)

    assert (packet.queue, packet.rss_type) == (0, 0)


def test_VMX_V_058_fragments_are_not_hashed_by_port(rig: Rig) -> None:
    driver = scaled(rig, hash_type=ALL)
    part = IP(src="66.9.149.187", dst="161.142.100.80", frag=100, proto=6)

    packet = one(rig, driver, ether(part, Raw(payload(60))))

    assert (packet.rss_type, packet.rss_hash) == (RssType.IPV4, 0x323E8FC2)


def test_VMX_V_058_without_rss_nothing_is_hashed(rig: Rig) -> None:
    driver = rig.driver(rx_queues=2)

    packet = one(rig, driver, VECTORS["tcp4 a"][1])

    assert (packet.queue, packet.rss_type) == (0, 0)


# -- filters -------------------------------------------------------------------------------------------------------

IN, OUT = bytes.fromhex("01005e0a0b0c"), bytes.fromhex("01005e0a0b0d")
OFFERED = {"own": MAC, "other": PEER, "in": IN, "out": OUT, "all": BROADCAST}
MODES = {
    RxMode(0): set(),
    RxMode.UCAST: {"own"},
    RxMode.MCAST: {"in"},
    RxMode.BCAST: {"all"},
    RxMode.ALL_MULTI: {"in", "out"},
    RxMode.UCAST | RxMode.MCAST | RxMode.BCAST: {"own", "in", "all"},
    RxMode.UCAST | RxMode.ALL_MULTI: {"own", "in", "out"},
    RxMode.PROMISC: set(OFFERED),
}


@pytest.fixture
def dropping(make_rig: MakeRig) -> Rig:
    """A device whose port does not keep frames for a filter that is shut."""
    return make_rig(Queue(waits=False))


def passed(rig: Rig, driver: Driver, frames: dict[str, bytes]) -> set[str]:
    """Which of `frames` the driver got under its present mode, told apart from what comes after it was opened wide."""
    rig.feed(*frames.values())
    mark = frame(77, dst=BROADCAST, seed=200)
    mode = RxMode(driver.shared["rxMode"])
    got = driver.receive()
    driver.set_rx_mode(RxMode.PROMISC)
    rig.feed(mark)
    seen: list[bytes] = [packet.data for packet in got]

    def look() -> bool:
        seen.extend(packet.data for packet in driver.receive())
        return mark in seen

    assert rig.until(look)
    driver.set_rx_mode(mode)
    return {name for name, data in frames.items() if data in seen}


@pytest.mark.parametrize("mode", MODES, ids=[repr(int(mode)) for mode in MODES])
def test_VMX_V_059_modes(dropping: Rig, mode: RxMode) -> None:
    rig = dropping
    driver = rig.driver(rx_mode=mode)
    driver.set_multicast([PEER, IN])
    frames = {name: frame(dst=dst, seed=len(name)) for name, dst in OFFERED.items()}

    assert passed(rig, driver, frames) == MODES[mode]


def test_VMX_V_059_modes_change_while_active(dropping: Rig) -> None:
    rig = dropping
    driver = rig.driver()
    driver.set_multicast([IN])
    frames = {name: frame(dst=dst, seed=len(name)) for name, dst in OFFERED.items()}

    for mode in (*MODES, *reversed(MODES)):
        driver.set_rx_mode(mode)
        assert passed(rig, driver, frames) == MODES[mode]


def test_VMX_V_059_multicast_table_shrinks(rig: Rig) -> None:
    driver = rig.driver()
    found = []

    for table in ([IN, OUT], [OUT], [IN], []):
        driver.set_multicast(table)
        found.append(rig.carried(driver, frame(dst=IN), frame(dst=OUT)))

    both = [frame(dst=IN), frame(dst=OUT)]
    assert found == [both, both[1:], both[:1], []]


@pytest.mark.parametrize("size", [10922])
def test_VMX_V_059_longest_multicast_table(rig: Rig, size: int) -> None:
    driver = rig.driver()

    driver.set_multicast([b"\x03" + n.to_bytes(5, "big") for n in range(size)])

    last, beyond = (frame(dst=b"\x03" + n.to_bytes(5, "big")) for n in (size - 1, size))
    assert rig.carried(driver, last, beyond) == [last]


def tagged(vid: int, tci: int = 0) -> bytes:
    plain = frame(80, seed=vid & 0xFF)
    return plain[:12] + b"\x81\x00" + (vid | tci).to_bytes(2, "big") + plain[12:]


@pytest.mark.parametrize("member", [1, 5, 31, 32, 4094, 4095])
def test_VMX_V_059_vlan_filter(rig: Rig, member: int) -> None:
    driver = rig.driver(features=Feature(0))
    driver.set_vlans([0, member])
    near = [member ^ 1 or 2, member ^ 32 or 64]

    carried = rig.carried(driver, tagged(member), tagged(member, 0xE000), *map(tagged, near), frame(seed=3), tagged(0))

    assert carried == [tagged(member), tagged(member, 0xE000), frame(seed=3), tagged(0)]


def test_VMX_V_059_untagged_frames_and_vlan_0_need_no_bit(rig: Rig) -> None:
    driver = rig.driver(features=Feature(0))
    driver.set_vlans([5])

    assert rig.carried(driver, tagged(0), frame(seed=3), tagged(0, 0xE000)) == [
        tagged(0),
        frame(seed=3),
        tagged(0, 0xE000),
    ]


def test_VMX_V_059_vlan_filter_changes_while_active(rig: Rig) -> None:
    driver = rig.driver(features=Feature(0))
    found = []

    for members in ([0, 7], [0, 8], [0]):
        driver.set_vlans(members)
        found.append(rig.carried(driver, tagged(7), tagged(8)))

    assert found == [[tagged(7)], [tagged(8)], []]


def test_VMX_V_059_promiscuous_bypasses_the_vlan_filter(rig: Rig) -> None:
    driver = rig.driver(features=Feature(0), rx_mode=RxMode.PROMISC)
    driver.set_vlans([])

    assert rig.carried(driver, tagged(7)) == [tagged(7)]


def test_VMX_V_059_filtered_frames_are_not_counted(rig: Rig) -> None:
    driver = rig.driver()

    rig.carried(driver, frame(dst=PEER), frame(dst=IN), frame(seed=1))

    assert {name: n for name, n in driver.stats()[1][0].items() if n} == {
        "ucastPktsRxOK": 1,
        "ucastBytesRxOK": 60,
        "bcastPktsRxOK": 1,
        "bcastBytesRxOK": 64,
    }
