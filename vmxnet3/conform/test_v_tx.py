"""VMXNET3 device rules 021 to 040: transmit rings, offloads, errors."""

from dataclasses import dataclass
from itertools import pairwise

import pytest

from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.conform.packets import ICMP, IP, TCP, UDP, Dot1Q, IPv6, Raw, ether, lay, offsets, payload, rebuilt, seed
from vmxnet3.conform.rig import BROADCAST, MAC, PEER, MakeRig, Rig, frame
from vmxnet3.driver import Config, Csum, Driver, Tso, TxD, describe
from vmxnet3.wire import Event, QueueError

V4, V6 = IP(src="192.0.2.1", dst="198.51.100.9", id=0x1234), IPv6(src="2001:db8::1", dst="2001:db8::9")


def completion(driver: Driver, index: int, queue: int = 0) -> bytes:
    return bytes(driver.tx[queue].comp.view[16 * index : 16 * index + 16])


# -- rings ---------------------------------------------------------------------------------------------------------


def test_VMX_V_021_single_descriptor(rig: Rig) -> None:
    driver = rig.driver()
    for n in range(3):
        driver.send(frame(60 + n, seed=n))

    assert rig.sent(3) == [frame(60 + n, seed=n) for n in range(3)]
    assert [completion(driver, n) for n in range(4)] == [
        bytes.fromhex("00000000000000000000000000000080"),
        bytes.fromhex("01000000000000000000000000000080"),
        bytes.fromhex("02000000000000000000000000000080"),
        bytes(16),
    ]


@pytest.mark.parametrize("pieces", [[1514], [14, 1500], [1, 13, 1500], [94] * 16 + [10], [100] * 15 + [14]])
def test_VMX_V_022_descriptors_of_one_packet_keep_their_order(rig: Rig, pieces: list[int]) -> None:
    driver = rig.driver()
    driver.send(frame(seed=1))

    driver.send(frame(1514, seed=2), pieces=pieces)

    assert rig.sent(2) == [frame(seed=1), frame(1514, seed=2)]
    assert completion(driver, 1) == wire.TX_COMP.encode(txdIdx=len(pieces), gen=1)
    assert completion(driver, 2) == bytes(16)
    rig.reap(driver, 2)


def test_VMX_V_023_length_0_means_16384_bytes(rig: Rig) -> None:
    driver = rig.driver()
    whole = ether(V4, TCP(sport=1, dport=2, flags="A"), Raw(payload(16384 - 54)))

    driver.send(seed(whole, length=False), offload=Tso(hlen=54, mss=1448))

    segments = [lay(data)["TCP"].payload.load for data in rig.sent(-(-(16384 - 54) // 1448))]
    assert bytes(driver.tx[0].desc.view[8:10]) == b"\x00\x40"  # len 0 with the gen bit
    assert b"".join(segments) == payload(16384 - 54)
    rig.reap(driver, 1)


@pytest.mark.parametrize(("ring", "comp"), [(32, 32), (32, 64), (64, 96)])
def test_VMX_V_024_three_wraps_of_both_rings(rig: Rig, ring: int, comp: int) -> None:
    driver = rig.driver(tx_ring=ring, tx_comp=comp)
    cuts: list[list[int] | None] = [None, [20, 40], [14, 1, 45], None, [30, 30]]

    for n in range(3 * comp + 7):
        driver.send(frame(60, seed=n), pieces=cuts[n % len(cuts)])
        rig.reap(driver, 1)

    assert rig.sent(3 * comp + 7) == [frame(60, seed=n) for n in range(3 * comp + 7)]


def test_VMX_V_025_completions_in_order_one_per_packet(rig: Rig) -> None:
    driver = rig.driver(tx_ring=128)
    eops = []
    for n in range(40):
        driver.send(frame(60, seed=n), pieces=[20] * (1 + n % 3) + [40 - 20 * (n % 3)][: n % 3 < 2])
        eops.append((driver.tx[0].next - 1) % 128)

    rig.settle()

    found = [wire.TX_COMP.decode(driver.tx[0].comp.view, 16 * n)["txdIdx"] for n in range(40)]
    assert found == eops
    assert completion(driver, 40) == bytes(16)
    rig.reap(driver, 40)


def test_VMX_V_025_completed_memory_is_the_drivers_again(make_rig: MakeRig) -> None:
    rig = make_rig(Queue(room=0))
    driver = rig.driver()
    for n in range(5):
        driver.send(frame(seed=n))
    rig.settle()
    driver.reap_tx()
    for ring in driver.tx:
        for packet in range(ring.completed):
            at = packet * ring.slot
            ring.pool.view[at : at + ring.slot] = b"\xee" * ring.slot
    rig.net.room = None

    assert rig.sent(5) == [frame(seed=n) for n in range(5)]


def test_VMX_V_026_packets_without_cq(rig: Rig) -> None:
    driver = rig.driver(tx_ring=64)

    for n in range(200):
        driver.send(frame(seed=n), cq=n % 8 == 7)
        if n % 8 == 7:
            rig.reap(driver, 8)

    assert rig.sent(200) == [frame(seed=n) for n in range(200)]
    assert driver.tx[0].completed == 200


def test_VMX_V_027_unpublished_packet_is_not_consumed(rig: Rig) -> None:
    driver = rig.driver()
    whole = frame(90, seed=5)
    buffer = rig.port.alloc(256)
    buffer.view[:90] = whole
    parts = describe([(buffer.address, 30), (buffer.address + 30, 30), (buffer.address + 60, 30)])

    publish = driver.send_raw(parts, publish=False, memory=(buffer,))
    driver.send(frame(seed=6))
    rig.settle()
    early = [*rig.net.sent, completion(driver, 0)]
    publish()
    driver.kick()

    assert early == [bytes(16)]
    assert rig.sent(2) == [whole, frame(seed=6)]
    rig.reap(driver, 2)


def test_VMX_V_028_bell_with_nothing_new(rig: Rig) -> None:
    driver = rig.driver()
    before = rig.snapshot()

    for value in (0, 1, 511):
        driver.kick(value=value)

    assert rig.snapshot() == before
    assert rig.net.sent == []


@pytest.mark.parametrize("value", [0, 3, 511])
def test_VMX_V_028_bell_value_is_no_bound(rig: Rig, value: int) -> None:
    driver = rig.driver()
    for n in range(7):
        driver.send(frame(seed=n), doorbell=False)

    driver.kick(value=value)

    assert rig.sent(7) == [frame(seed=n) for n in range(7)]


def test_VMX_V_029_data_ring(rig: Rig) -> None:
    driver = rig.driver()
    for n in range(3):
        driver.send(frame(1514, seed=n), header=54 + n, pieces=[1000, 460 - n])
    driver.send(frame(100, seed=9), header=100)

    assert rig.sent(4) == [*[frame(1514, seed=n) for n in range(3)], frame(100, seed=9)]
    rig.reap(driver, 4)


# -- checksums -----------------------------------------------------------------------------------------------------

CHECKSUMMED = {
    "tcp4": ether(V4, TCP(sport=80, dport=5000, flags="PA"), Raw(payload(512))),
    "tcp4 odd": ether(V4, TCP(sport=80, dport=5000, flags="PA"), Raw(payload(511))),
    "tcp4 options": ether(
        IP(src="10.0.0.1", dst="10.0.0.2", options=b"\x94\x04\x00\x00"),
        TCP(options=[("Timestamp", (7, 9))]),
        Raw(payload(99)),
    ),
    "tcp4 empty": ether(V4, TCP(sport=80, dport=5000, flags="S")),
    "udp4": ether(V4, UDP(sport=53, dport=5000), Raw(payload(300))),
    "udp4 odd": ether(V4, UDP(sport=53, dport=5000), Raw(payload(1))),
    "tcp6": ether(V6, TCP(sport=80, dport=5000, flags="PA"), Raw(payload(777))),
    "udp6": ether(V6, UDP(sport=53, dport=5000), Raw(payload(1000))),
    "tagged tcp4": ether(Dot1Q(vlan=7), V4, TCP(sport=80, dport=5000), Raw(payload(333))),
    "tagged udp6": ether(Dot1Q(vlan=7), V6, UDP(sport=53, dport=5000), Raw(payload(334))),
}


@pytest.mark.parametrize("name", CHECKSUMMED)
@pytest.mark.parametrize("pieces", [None, 3])
def test_VMX_V_030_checksum(rig: Rig, name: str, pieces: int | None) -> None:
    driver = rig.driver()
    whole = CHECKSUMMED[name]
    cuts = [len(whole) // 3, 5, len(whole) - 5 - len(whole) // 3] if pieces else None

    driver.send(seed(whole), offload=Csum(*offsets(whole)), pieces=cuts)

    assert rig.sent(1) == [whole]


def test_VMX_V_030_any_protocol_at_any_offset(rig: Rig) -> None:
    driver = rig.driver()
    whole = ether(V4, ICMP(id=3, seq=4), Raw(payload(201)))
    start, field = offsets(whole)
    blank = whole[:field] + b"\0\0" + whole[field + 2 :]

    driver.send(blank, offload=Csum(start, field))

    assert rig.sent(1) == [whole]


def test_VMX_V_030_udp_result_0_becomes_ffff(rig: Rig) -> None:
    driver = rig.driver()
    first = ether(V4, UDP(sport=53, dport=5000), Raw(b"\0\0abcd"))
    start, field = offsets(first)
    whole = first[: start + 8] + first[field : field + 2] + first[start + 10 :]  # now the words add up to 0xFFFF
    whole = whole[:field] + b"\xff\xff" + whole[field + 2 :]

    driver.send(seed(whole), offload=Csum(start, field))

    assert rig.sent(1) == [whole]


@pytest.mark.parametrize("offset", [59, 60, 61, 1000, 1023])
def test_VMX_V_031_checksum_field_outside_the_frame(rig: Rig, offset: int) -> None:
    driver = rig.driver()

    driver.send(frame(60), offload=Csum(14, offset))
    rig.reap(driver, 1)

    stats = driver.stats()[0][0]
    went = list(rig.net.sent)
    assert went in ([], [frame(60)])  # dropped, or left as it was
    assert stats["pktsTxError" if not went else "ucastPktsTxOK"] == 1
    alive(rig, driver)


def alive(rig: Rig, driver: Driver, queue: int = 0) -> None:
    """Ordinary traffic still passes."""
    rig.settle()
    rig.net.sent.clear()
    driver.send(frame(99, seed=99), queue=queue)
    assert rig.sent(1) == [frame(99, seed=99)]
    rig.reap(driver, 1)


# -- segmentation --------------------------------------------------------------------------------------------------

FLAGS = "FPACE"
TSO_SHAPES = {
    "v4": ether(V4, TCP(sport=80, dport=9, seq=0xFFFF_F000, flags=FLAGS), Raw(payload(9000))),
    "v4 options": ether(V4, TCP(sport=80, dport=9, options=[("Timestamp", (1, 2))], flags=FLAGS), Raw(payload(5001))),
    "v6": ether(V6, TCP(sport=80, dport=9, seq=77, flags=FLAGS), Raw(payload(8000))),
    "v4 tagged": ether(Dot1Q(vlan=3), V4, TCP(sport=80, dport=9, flags=FLAGS), Raw(payload(4097))),
    "v4 exact": ether(V4, TCP(sport=80, dport=9, flags=FLAGS), Raw(payload(2000))),
    "v4 one segment": ether(V4, TCP(sport=80, dport=9, flags=FLAGS), Raw(payload(600))),
}


@dataclass(frozen=True)
class Cut:
    """What scapy found in the segments of one packet."""

    sizes: list[int]
    data: bytes
    steps: set[int]  # distances of sequence numbers, beyond the payload before: 0 when they follow each other
    ids: list[int]
    flags: list[str]


def dissect(segments: list[bytes]) -> Cut:
    tcps = [lay(data)["TCP"] for data in segments]
    loads = [bytes(tcp.payload) for tcp in tcps]
    steps = {
        (after.seq - before.seq - len(load)) & 0xFFFF_FFFF
        for (before, after), load in zip(pairwise(tcps), loads, strict=False)
    }
    ids = [lay(data)["IP"].id for data in segments if "IP" in lay(data)]
    return Cut([len(load) for load in loads], b"".join(loads), steps, ids, [str(tcp.flags) for tcp in tcps])


@pytest.mark.parametrize("name", TSO_SHAPES)
@pytest.mark.parametrize("header", [0, 1])
def test_VMX_V_032_segmentation(rig: Rig, name: str, header: int) -> None:
    driver = rig.driver()
    whole = TSO_SHAPES[name]
    hlen = len(whole) - len(bytes(lay(whole)["TCP"].payload))
    data = whole[hlen:]
    count = -(-len(data) // 1000)

    driver.send(seed(whole, length=False), offload=Tso(hlen, 1000), header=hlen * header)
    segments = rig.sent(count)

    cut = dissect(segments)
    assert cut.data == data
    assert cut.sizes == [1000] * (count - 1) + [len(data) - 1000 * (count - 1)]
    assert cut.steps <= {0}
    assert lay(segments[0])["TCP"].seq == lay(whole)["TCP"].seq
    assert cut.ids in ([], [0x1234 + n for n in range(count)])
    assert segments == [rebuilt(segment) for segment in segments]
    assert {segment[: hlen - 40][:14] for segment in segments} == {whole[:14]}
    rig.reap(driver, 1)


def test_VMX_V_032_flags_of_the_segments(rig: Rig) -> None:
    driver = rig.driver()

    driver.send(seed(TSO_SHAPES["v4"], length=False), offload=Tso(54, 3000 // 3))

    flags = dissect(rig.sent(9)).flags
    assert [("F" in f, "P" in f) for f in flags] == [(False, False)] * 8 + [(True, True)]
    assert ["C" in f for f in flags] == [True] + [False] * 8
    assert all("A" in f and "E" in f for f in flags)


def test_VMX_V_032_counters_count_segments(rig: Rig) -> None:
    driver = rig.driver()
    driver.send(seed(TSO_SHAPES["v4"], length=False), offload=Tso(54, 1000))
    driver.send(frame(60, dst=PEER))
    segments = rig.sent(10)

    stats = driver.stats()[0][0]

    total = sum(map(len, segments[:9]))
    assert (stats["TSOPktsTxOK"], stats["TSOBytesTxOK"]) == (9, total)
    assert (stats["ucastPktsTxOK"], stats["ucastBytesTxOK"]) == (10, total + 60)


@pytest.mark.parametrize(
    "offload", [Tso(54, 0), Tso(0, 1000), Tso(1023, 1000), Tso(100, 1000)], ids=["mss 0", "hlen 0", "hlen long", "hlen"]
)
def test_VMX_V_033_impossible_segmentation(rig: Rig, offload: Tso) -> None:
    driver = rig.driver()

    driver.send(seed(TSO_SHAPES["v4"], length=False), offload=offload, pieces=[60, 8994])
    rig.reap(driver, 1)

    assert driver.stats()[0][0]["pktsTxError"] == 1
    alive(rig, driver)


# -- tags ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tci", [1, 0x6FFF, 0xE005])
def test_VMX_V_034_tag_goes_behind_the_addresses(rig: Rig, tci: int) -> None:
    driver = rig.driver()

    driver.send(frame(80, seed=1), vlan=tci)
    driver.send(frame(80, seed=2), vlan=tci, pieces=[6, 6, 68])
    driver.send(frame(80, seed=3))

    tag = b"\x81\x00" + tci.to_bytes(2, "big")
    plain = [frame(80, seed=n) for n in (1, 2)]
    assert rig.sent(3) == [*[data[:12] + tag + data[12:] for data in plain], frame(80, seed=3)]


def test_VMX_V_034_tag_with_checksum(rig: Rig) -> None:
    driver = rig.driver()
    whole = CHECKSUMMED["udp6"]

    driver.send(seed(whole), offload=Csum(*offsets(whole)), vlan=0x2009)

    assert rig.sent(1) == [whole[:12] + b"\x81\x00\x20\x09" + whole[12:]]


def test_VMX_V_034_tag_with_segmentation(rig: Rig) -> None:
    driver = rig.driver()

    driver.send(seed(TSO_SHAPES["v6"], length=False), offload=Tso(74, 1000), vlan=0x2009)

    segments = rig.sent(8)
    assert {data[12:16] for data in segments} == {b"\x81\x00\x20\x09"}
    assert segments == [rebuilt(data) for data in segments]
    assert dissect(segments).data == payload(8000)


# -- what goes wrong -----------------------------------------------------------------------------------------------

BAD_DESCRIPTORS = {
    "om 1 below version 4": (0, wire.OM_ENCAP << wire.TXD_OM_SHIFT),
    "ext1 below version 7": (wire.TXD_EXT1, 0),
    "dtype": (wire.TXD_DTYPE, 0),
}


def spoil(driver: Driver, name: str, queue: int = 0) -> None:
    """Send a packet whose descriptor has a bit the device does not know."""
    word2, word3 = BAD_DESCRIPTORS[name]
    ring = driver.tx[queue]
    plain = TxD(ring.slot_address(ring.next), 60 | word2, wire.TXD_EOP | wire.TXD_CQ | word3)
    driver.send_raw([plain], queue=queue, tracked=False)


@pytest.mark.parametrize("name", BAD_DESCRIPTORS)
def test_VMX_V_035_unsupported_descriptor(rig: Rig, name: str) -> None:
    driver = rig.driver(version=1)

    spoil(driver, name)
    rig.settle()

    assert driver.queue_status()[0] == [(True, QueueError.DESC_NOT_SPT)]
    assert rig.net.sent == []
    driver.stop()
    driver.open()
    alive(rig, driver)


def test_VMX_V_037_queue_error_stops_that_queue_only(rig: Rig) -> None:
    driver = rig.driver(tx_queues=2)

    spoil(driver, "dtype")
    fired = rig.interrupts(1 << driver.event_vector)

    assert fired & 1 << driver.event_vector
    assert driver.queue_status() == ([(True, QueueError.DESC_NOT_SPT), (False, 0)], [(False, 0)])
    assert driver.ack_events() == Event.TQERR
    alive(rig, driver, queue=1)
    driver.kick(0)
    assert rig.carried(driver, frame(seed=4)) == [frame(seed=4)]


def test_VMX_V_038_partial_packet_holds_up_its_own_queue_only(rig: Rig) -> None:
    driver = rig.driver(tx_queues=2)
    buffer = rig.port.alloc(256)
    whole = frame(100, seed=8)
    buffer.view[:100] = whole
    first, last = describe([(buffer.address, 40), (buffer.address + 40, 60)])

    driver.send_raw([first], tracked=False)
    driver.send(frame(seed=1), queue=1)
    between = rig.sent(1)
    driver.send_raw([last], memory=(buffer,))

    assert between == [frame(seed=1)]
    assert rig.sent(1) == [whole]
    assert completion(driver, 0) == wire.TX_COMP.encode(txdIdx=1, gen=1)


def test_VMX_V_039_buffer_nobody_mapped(rig: Rig) -> None:
    driver = rig.driver()

    driver.send_raw(describe([(0x7000_0000_0000, 60)]))
    driver.send_raw(describe([(driver.tx[0].slot_address(0), 30), ((1 << 64) - 8, 30)]))
    rig.reap(driver, 2)

    assert driver.stats()[0][0]["pktsTxError"] == 2
    assert rig.net.sent == []
    alive(rig, driver)


def test_VMX_V_040_no_link(rig: Rig) -> None:
    driver = rig.driver()
    rig.set_link(False)

    for n in range(3):
        driver.send(frame(seed=n))
    rig.reap(driver, 3)
    stats = driver.stats()[0][0]

    assert rig.net.sent == []
    assert (stats["pktsTxDiscard"], stats["ucastPktsTxOK"]) == (3, 0)
    rig.set_link(True)
    alive(rig, driver)


def test_broadcast_and_own_address_are_sent_like_any_other(rig: Rig) -> None:
    driver = rig.driver()

    driver.send(frame(dst=BROADCAST))
    driver.send(frame(dst=MAC))

    assert rig.sent(2) == [frame(dst=BROADCAST), frame(dst=MAC)]


def test_VMX_V_051_small_completion_ring_is_refused(rig: Rig) -> None:
    driver = rig.blank()
    driver.probe()
    driver.configure(Config(tx_ring=64, tx_comp=32))
    driver.set_dsa()

    answer = driver.activate()

    assert answer != 0
