"""Hostile drivers: the numbered cases that apply to device version 1, and what brought other devices down.

Wherever a case ends, it ends with normal traffic.
"""

import gc
import random
from collections.abc import Callable, Sequence

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import checksum

from pvdev.mem import DmaFault
from pvdev.pci import CONFIG_REGION
from tests.rig import BROADCAST, CELL, MAC, NOWHERE, PEER, SLOT, RawNic, Ring, frame
from vmxnet3 import wire
from vmxnet3.backend import Frame, Null, Queue
from vmxnet3.device import State
from vmxnet3.tx import TxQueue
from vmxnet3.wire import OM_CSUM, OM_ENCAP, OM_TSO, RSS_CONF, RX_DESC, TX_DESC, Cmd, QueueError

VD, PT = wire.BAR_VD, wire.BAR_PT
ECR_AT = 696  # of the shared area


class Meddler(Queue):
    """A port during whose `send` the guest does something; `batches` are the frames of each call."""

    def __init__(self, meddle: Callable[[], object] = lambda: None) -> None:
        super().__init__(waits=False)
        self.meddle, self.batches = meddle, list[int]()

    def send(self, frames: Sequence[Frame]) -> int:
        self.batches.append(len(frames))
        self.meddle()
        return super().send(frames)


class Counter(Null):
    """A port that counts: frames of each call, and all bytes."""

    def __init__(self) -> None:
        self.batches, self.bytes = list[int](), 0

    def send(self, frames: Sequence[Frame]) -> int:
        self.batches.append(len(frames))
        self.bytes += sum(len(piece) for frame in frames for piece in frame)
        return len(frames)


@pytest.fixture
def nic() -> RawNic:
    """Powered; shared area, queue table and rings are in memory, the device has not been told."""
    made = RawNic(Queue(waits=False))
    made.prepare()
    return made


@pytest.fixture
def active() -> RawNic:
    """Active, receive buffers posted."""
    made = RawNic(Queue(waits=False))
    made.bring_up()
    return made


@pytest.fixture
def bare(nic: RawNic) -> RawNic:
    """Active, not one receive buffer posted; a frame without a buffer is lost."""
    assert nic.activate() == 0
    return nic


def tcp(size: int) -> bytes:
    """A TCP frame with `size` bytes of payload behind 54 bytes of headers."""
    return bytes(Ether(dst=PEER, src=MAC) / IP(src="192.0.2.1", dst="192.0.2.2") / TCP() / Raw(bytes(size)))


# -- ACTIVATE ------------------------------------------------------------------------------------------------------


def test_hostile_01_shared_area_unmapped(nic: RawNic) -> None:
    nic.assert_refused("VMX-D-008", "shared area address", NOWHERE, address=NOWHERE)


def test_hostile_02_shared_area_at_the_end_of_the_address_space(nic: RawNic) -> None:
    nic.assert_refused("VMX-D-008", "shared area address", 2**64 - 8, address=2**64 - 8)


def test_hostile_02_shared_area_one_byte_over(nic: RawNic) -> None:
    nic.lend(NOWHERE, 719)[:] = nic.shared.view[:719]

    nic.assert_refused("VMX-D-008", "shared area address", NOWHERE, address=NOWHERE)


class TwoFaced:
    """Remote memory that reads as `first` once and as `then` ever after."""

    def __init__(self, first: bytes, then: bytes) -> None:
        self.faces = [then, first]
        self.reads = 0

    def read(self, address: int, length: int) -> bytes:
        self.reads += 1
        face = self.faces.pop() if len(self.faces) > 1 else self.faces[0]
        return face[:length]

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        pass


def test_hostile_03_shared_area_changes_between_two_reads(nic: RawNic) -> None:
    good = bytes(nic.shared.view)
    nic.tell(numTxQueues=255, numRxQueues=255, mtu=0, numIntrs=255, eventIntrIdx=255, queueDescPA=NOWHERE)
    two_faced = TwoFaced(good, bytes(nic.shared.view))
    nic.device.mem.map(NOWHERE, None, 4096, remote=two_faced)

    answer = nic.activate(NOWHERE)

    assert answer == 0
    assert two_faced.reads > 1
    nic.device.set_link(False)  # an event is raised on the vector of the first face
    assert nic.port.read(PT, wire.REG_TXPROD) == 0
    nic.pt(wire.REG_TXPROD + 8, 1)
    assert nic.seen("VMX-D-031") == [("TXPROD 1", 1, 1)]  # one queue, as on the first face
    nic.device.set_link(True)
    nic.assert_alive()


@pytest.mark.parametrize(
    ("number", "field", "what", "value"),
    [
        ("VMX-D-011", "numTxQueues", "number of transmit queues", 0),
        ("VMX-D-011", "numTxQueues", "number of transmit queues", 255),
        ("VMX-D-011", "numRxQueues", "number of receive queues", 0),
        ("VMX-D-011", "numRxQueues", "number of receive queues", 255),
        ("VMX-D-014", "numIntrs", "number of interrupts", 0),
        ("VMX-D-014", "numIntrs", "number of interrupts", 255),
        ("VMX-D-013", "mtu", "mtu", 0),
        ("VMX-D-013", "mtu", "mtu", 59),
        ("VMX-D-013", "mtu", "mtu", 9191),
        ("VMX-D-013", "mtu", "mtu", 0xFFFF_FFFF),
    ],
)
def test_hostile_04_counts(nic: RawNic, number: str, field: str, what: str, value: int) -> None:
    nic.tell(**{field: value})

    nic.assert_refused(number, what, value)


def test_hostile_05_queue_table_beyond_the_address_space(nic: RawNic) -> None:
    nic.tell(queueDescPA=2**64 - 256, numTxQueues=8, numRxQueues=16)

    nic.assert_refused("VMX-D-012", "queue table address", 2**64 - 256)


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0xFFFF_FFE0, 0x1000_0000, 0, 31, 4097])
def test_hostile_06_ring_sizes(nic: RawNic, size: int) -> None:
    nic.tell_tx(txRingSize=size)

    nic.assert_refused("VMX-D-018", "tx queue 0 ring size", size)


def test_hostile_07_ring_base_misaligned(nic: RawNic) -> None:
    base = nic.tx[0].ring.memory.address + 16
    nic.tell_tx(txRingBasePA=base)

    nic.assert_refused("VMX-D-017", "tx queue 0 ring base", base)


def test_hostile_07_last_descriptor_unmapped(nic: RawNic) -> None:
    nic.lend(NOWHERE, 63 * CELL)
    nic.tell_tx(txRingBasePA=NOWHERE)

    nic.assert_refused("VMX-D-017", "tx queue 0 ring base", NOWHERE)


@pytest.mark.parametrize(
    "over",
    [
        lambda nic: nic.tx[0].ring.memory.address,
        lambda nic: nic.shared.address,
        lambda nic: nic.table.address,
        lambda nic: nic.rx[0].rings[0].memory.address,
        lambda nic: nic.rx[0].comp.memory.address,
    ],
    ids=["its transmit ring", "the shared area", "the queue table", "a receive ring", "another completion ring"],
)
def test_hostile_08_completion_ring_over_other_things(nic: RawNic, over: Callable[[RawNic], int]) -> None:
    nic.tell_tx(compRingBasePA=over(nic))

    answer = nic.activate()
    nic.arm_all()
    for n in range(100):
        nic.send(frame(seed=n))
        nic.feed(frame(seed=n), frame(dst=BROADCAST, seed=n))
        nic.command(Cmd.GET_STATS)

    assert answer == 0
    assert any("tx queue 0 completion ring" in place for place, _, _ in nic.seen("VMX-D-022"))
    nic.assert_alive()


def test_hostile_09_rings_at_a_bar_of_the_device(nic: RawNic) -> None:
    nic.port.write(CONFIG_REGION, 0x10, NOWHERE)  # BAR0
    nic.tell_tx(compRingBasePA=NOWHERE)

    nic.assert_refused("VMX-D-017", "tx queue 0 completion ring base", NOWHERE)


def test_hostile_09_buffers_at_a_bar_of_the_device(bare: RawNic) -> None:
    bare.port.write(CONFIG_REGION, 0x14, NOWHERE)  # BAR1
    masks = bare.port.read(PT, wire.REG_IMR)

    bare.send(frame(), addr=NOWHERE)
    bare.arm(addr=NOWHERE)
    bare.feed(frame())

    assert [value for _, value, _ in bare.seen("VMX-D-042")] == [NOWHERE, NOWHERE]
    assert bare.port.read(PT, wire.REG_IMR) == masks
    assert bare.device.state is State.ACTIVE
    assert bare.net.sent == []
    bare.assert_alive()


@pytest.mark.parametrize("index", [25, 64, 200, 255])
@pytest.mark.parametrize(
    ("tell", "rule", "what"),
    [
        (lambda nic, index: nic.tell_tx(intrIdx=index), "VMX-D-016", "tx queue 0 interrupt index"),
        (lambda nic, index: nic.tell_rx(intrIdx=index), "VMX-D-016", "rx queue 0 interrupt index"),
        (lambda nic, index: nic.tell(eventIntrIdx=index), "VMX-D-015", "event interrupt index"),
    ],
    ids=["tx", "rx", "event"],
)
def test_hostile_10_interrupt_indices(
    nic: RawNic, tell: Callable[[RawNic, int], object], rule: str, what: str, index: int
) -> None:
    tell(nic, index)

    nic.assert_refused(rule, what, index)


# -- tables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [65535, 65532, 5, 1])
@pytest.mark.parametrize("address", [NOWHERE, 2**64 - 6, 1])
def test_hostile_11_multicast_table(active: RawNic, length: int, address: int) -> None:
    active.tell(mfTableLen=length, mfTablePA=address)

    answer = active.command(Cmd.UPDATE_MAC_FILTERS)

    assert answer == 0
    noted = {place for place, _, _ in active.seen("VMX-D-059")}
    assert noted == ({"mfTableLen"} if length % 6 else set()) | ({"mfTablePA"} if length >= 6 else set())
    assert active.device.filter.multicast == frozenset()
    active.assert_traffic()


@pytest.mark.parametrize(
    ("length", "fields", "rule"),
    [
        (176, {"hashKeySize": 0xFFFF}, "VMX-D-026"),
        (176, {"indTableSize": 0}, "VMX-D-026"),
        (176, {"indTableSize": 0xFFFF}, "VMX-D-026"),
        (176, {"indTable": b"\xff\xff"}, "VMX-D-026"),
        (4, {}, "VMX-D-025"),
        (0, {}, "VMX-D-025"),
        (0xFFFF_FFFF, {"indTable": b"\xff\xff"}, "VMX-D-026"),
    ],
)
def test_hostile_12_receive_side_scaling(nic: RawNic, length: int, fields: dict[str, int | bytes], rule: str) -> None:
    nic.prepare(rx=2)
    conf = nic.port.alloc(RSS_CONF.size)
    good: dict[str, int | bytes] = {"hashType": 15, "hashFunc": 1, "hashKeySize": 40, "indTableSize": 2}
    conf.view[:] = RSS_CONF.encode(**{**good, "hashKey": bytes(range(40)), **fields})
    nic.tell(uptFeatures=wire.Feature.RSS, rssConfLen=length, rssConfPA=conf.address)
    packet = bytes(Ether(dst=MAC, src=PEER) / IP(src="192.0.2.1", dst="192.0.2.2") / TCP() / Raw(b"x" * 20))

    answer = nic.activate()
    nic.arm_all()
    nic.feed(packet)

    assert answer == 0
    assert [count for _, _, count in nic.seen(rule)] == [1]
    assert [found.data for found in nic.received(0)] == [packet]
    assert nic.received(1) == []
    nic.assert_alive()


@pytest.mark.parametrize("address", [0, NOWHERE, 2**64 - 4])
def test_hostile_13_power_management_configuration(active: RawNic, address: int) -> None:
    active.tell(pmConfVer=1, pmConfLen=0xFFFF_FFFF, pmConfPA=address)
    before = active.snapshot()

    answer = active.command(Cmd.UPDATE_PMCFG)

    assert answer == 0
    assert active.snapshot() == before
    active.assert_traffic()


@pytest.mark.parametrize("command", [Cmd.SET_COALESCE, Cmd.REGISTER_MEMREGS, Cmd.GET_COALESCE], ids=lambda c: c.name)
def test_hostile_14_15_36_arguments_of_later_commands_are_not_read(active: RawNic, command: Cmd) -> None:
    active.tell(cmdInfo=b"\xff" * 16)
    before = active.snapshot()

    answer = active.command(command)

    assert answer == 0
    assert active.seen("VMX-D-006") == [("CMD", command, 1)]
    assert active.snapshot() == before
    active.assert_traffic()


# -- doorbells and work --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("running", [False, True], ids=["inactive", "active"])
def test_hostile_16_every_doorbell(nic: RawNic, running: bool) -> None:
    for _ in range(int(running)):
        nic.activate()
    bells = [*range(wire.REG_TXPROD, wire.REG_TXPROD + 0x800, 8)]

    for offset in bells:
        for value in (0, 63, 64, 0xFFFF, 0xFFFF_FFFF):
            nic.pt(offset, value)

    named = 5 * (wire.MAX_TX_QUEUES + 2 * wire.MAX_RX_QUEUES)
    rules = ("VMX-D-030", "VMX-D-031", "VMX-D-032")
    counts = [nic.rules.count(rule) for rule in rules]
    # active: queue 0's three bells are fine for 0, and for 63 where the ring has 64; past the ring for the others
    assert counts == ([0, named - 15, 3 + 3 + 4] if running else [named, 0, 0])
    assert nic.rules.count("VMX-D-001") == 5 * len(bells) - named
    assert nic.net.sent == []
    nic.assert_alive()


def test_hostile_17_whole_ring_without_an_end(active: RawNic) -> None:
    for _ in range(64):
        active.post(bytes(14), eop=0, cq=0)

    active.kick()

    assert active.seen("VMX-D-036") == [("tx queue 0 descriptor 31", 32, 1)]
    assert active.status() == (1, QueueError.NOEOP)
    assert (active.net.sent, active.done()) == ([], [])
    active.assert_alive()


def _big_ring(nic: RawNic, size: int) -> Ring:
    """Give queue 0 a transmit ring of `size` with a completion ring to match."""
    side = nic.tx[0]
    side.ring, side.comp = (Ring(nic.port.alloc(CELL * size, 512), size) for _ in range(2))
    nic.tell_tx(
        txRingBasePA=side.ring.memory.address,
        txRingSize=size,
        compRingBasePA=side.comp.memory.address,
        compRingSize=size,
    )
    return side.ring


def test_hostile_18_a_full_ring_of_16_KiB_frames(nic: RawNic) -> None:
    ring, counter = _big_ring(nic, 4096), Counter()
    nic.device.backend = counter
    nic.activate()
    ring.memory.view[:] = TX_DESC.encode(addr=nic.tx[0].buffers.address, len=0, gen=1, eop=1, cq=1) * 4096

    rounds = 0
    while nic.device.service(64, 0):
        rounds += 1

    assert rounds == 4096 // 64
    assert counter.batches == [64] * rounds
    assert counter.bytes == 4096 * 16384
    assert nic.rules.count("VMX-D-043") == 4096
    assert nic.done() == list(range(4096))
    nic.device.backend = nic.net
    nic.assert_alive()


def test_hostile_19_a_ring_that_never_runs_dry() -> None:
    net = Meddler()
    nic = RawNic(net)
    nic.prepare(tx=2, size=32)
    nic.activate()
    ring = nic.tx[0].ring.memory.view
    taken = 0

    def again() -> None:
        """All of ring 0 is owned once more, by the owner bit of the lap that is next."""
        nonlocal taken
        ring[:] = TX_DESC.encode(addr=nic.tx[0].buffers.address, len=60, gen=1 ^ taken // 32 & 1, eop=1, cq=1) * 32
        taken += 8

    again()
    net.meddle = again
    nic.post(frame(seed=7), queue=1)

    busy = nic.device.service(8, 0)
    net.meddle = lambda: None

    assert busy
    assert net.batches == [8, 1]  # the other queue had its turn
    assert net.sent[-1] == frame(seed=7)
    nic.assert_alive()


@pytest.mark.parametrize("sizes", [[1], [13], [1] * 13, [6, 7]])
def test_hostile_20_packets_under_14_bytes(active: RawNic, sizes: list[int]) -> None:
    for n, size in enumerate(sizes):
        active.post(bytes(size), eop=n == len(sizes) - 1, cq=n == len(sizes) - 1)

    active.kick()

    assert active.seen("VMX-D-043") == [(f"tx queue 0 descriptor {len(sizes) - 1}", sum(sizes), 1)]
    assert active.tx_stats()["pktsTxError"] == 1
    assert (active.net.sent, active.done()) == ([], [len(sizes) - 1])
    active.assert_traffic()


def test_hostile_21_24_descriptors_of_16_KiB(active: RawNic) -> None:
    for n in range(24):
        active.post(addr=NOWHERE, len=0, eop=n == 23, cq=n == 23)

    active.kick()

    assert active.seen("VMX-D-043") == [("tx queue 0 descriptor 23", 24 * 16384, 1)]
    assert active.seen("VMX-D-042") == []  # not one byte was looked for
    assert active.tx_stats()["pktsTxError"] == 1
    assert (active.net.sent, active.done()) == ([], [23])
    active.assert_traffic()


def test_hostile_22_encapsulation_on_version_1(active: RawNic) -> None:
    active.send(frame(), om=OM_ENCAP, hlen=54, msscof=100)

    assert active.status() == (1, QueueError.DESC_NOT_SPT)
    assert len(active.seen("VMX-D-041")) == 1
    active.assert_alive()


@pytest.mark.parametrize(("hlen", "msscof"), [(1023, 100), (54, 0), (0, 100), (0, 0)])
def test_hostile_22_segmentation_sizes(active: RawNic, hlen: int, msscof: int) -> None:
    active.send(tcp(500), om=OM_TSO, hlen=hlen, msscof=msscof)

    assert active.seen("VMX-D-045") == [("tx queue 0 descriptor 0", msscof << 16 | hlen, 1)]
    assert active.tx_stats()["pktsTxError"] == 1
    assert (active.net.sent, active.done()) == ([], [0])
    active.assert_traffic()


def test_hostile_23_segments_of_one_byte_come_in_bounded_batches(nic: RawNic) -> None:
    counter = Counter()
    nic.device.backend = counter
    nic.activate()
    zeros = nic.port.alloc(16384)
    for _ in range(4):
        nic.post(tcp(0), eop=0, cq=0, om=OM_TSO, hlen=54, msscof=1)
        nic.post(addr=zeros.address, len=0)

    nic.kick()

    assert counter.batches == [16384] * 4  # however large the budget, no packet beyond the one that fills the round
    assert counter.bytes == 4 * 16384 * 55
    assert nic.done() == [1, 3, 5, 7]
    nic.device.backend = nic.net
    nic.assert_alive()


def _patched(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes((value,)) + data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "hlen"),
    [
        (_patched(tcp(100), 14, 0x4F), 54),  # 60 bytes of IP header in 54 of headers
        (_patched(tcp(100), 46, 0xF0), 54),  # 60 bytes of TCP header
        (_patched(tcp(100), 14, 0x4F), 73),
        (_patched(tcp(100), 46, 0x40), 54),  # 16 bytes of TCP header
        (tcp(100), 15),
        (tcp(100), 1),
        (bytes(Ether(dst=PEER, src=MAC) / IPv6() / TCP() / Raw(bytes(100))), 40),
    ],
    ids=["IP 60", "TCP 60", "IP 60, room for 59", "TCP 16", "one byte of IP", "one byte", "half of IPv6"],
)
def test_hostile_24_header_lengths(active: RawNic, data: bytes, hlen: int) -> None:
    active.send(data, om=OM_TSO, hlen=hlen, msscof=50)

    assert active.rules.count("VMX-D-046") == 1
    assert active.tx_stats()["pktsTxError"] == 1
    assert (active.net.sent, active.done()) == ([], [0])
    active.assert_traffic()


def _ipv6(first: int, chain: bytes, plen: int | None = None) -> bytes:
    """An IPv6 frame whose payload is `chain`, made by hand."""
    length = (len(chain) if plen is None else plen).to_bytes(2, "big")
    return MAC + PEER + b"\x86\xdd" + b"\x60\0\0\0" + length + bytes((first, 64)) + bytes(32) + chain


CHAINS = {
    "hop-by-hop without end": _ipv6(0, bytes(8) * 100),
    "length 255": _ipv6(0, b"\0\xff" + bytes(6)),
    "jumbogram": _ipv6(0, b"\x06\0\xc2\x04\0\1\0\0" + bytes(20), plen=0),
    "nothing behind the header": _ipv6(0, b""),
    "cut in a header": _ipv6(43, b"\0\0\0"),
    "longer than the frame": _ipv6(6, bytes(20), plen=0xFFFF),
    "no next header": _ipv6(59, bytes(20)),
}


@pytest.mark.parametrize("data", CHAINS.values(), ids=CHAINS.keys())
def test_hostile_25_ipv6_extension_headers(active: RawNic, data: bytes) -> None:
    active.feed(data)
    active.send(data, om=OM_TSO, hlen=min(len(data) - 1, 800), msscof=50)

    (packet,) = active.received()
    assert packet.data == data
    assert (packet.comps[0]["tuc"], packet.comps[0]["frg"], packet.comps[0]["err"]) == (0, 0, 0)
    assert active.tx_stats()["pktsTxError"] == 1
    assert active.rules.count("VMX-D-046") == 1
    assert (active.net.sent, active.done()) == ([], [0])
    active.assert_traffic()


@pytest.mark.parametrize(("hlen", "msscof"), [(34, 16383), (200, 100), (1023, 1024), (0, 59), (0, 16382)])
def test_hostile_26_checksum_offsets(active: RawNic, hlen: int, msscof: int) -> None:
    active.send(frame(60), om=OM_CSUM, hlen=hlen, msscof=msscof)

    assert active.seen("VMX-D-044") == [("tx queue 0 descriptor 0", msscof << 16 | hlen, 1)]
    assert active.tx_stats()["pktsTxError"] == 1
    assert (active.net.sent, active.done()) == ([], [0])
    active.assert_traffic()


def test_hostile_27_guest_memory_changes_while_frames_are_sent() -> None:
    net = Meddler()
    nic = RawNic(net)
    nic.bring_up()
    offloaded = bytes(Ether(dst=PEER, src=MAC) / IP(src="192.0.2.1", dst="192.0.2.2") / UDP() / Raw(b"data"))

    def scribble() -> None:
        nic.tx[0].buffers.view[:] = b"\xff" * len(nic.tx[0].buffers.view)
        nic.tx[0].ring.memory.view[:] = b"\xff" * len(nic.tx[0].ring.memory.view)

    net.meddle = scribble
    nic.post(frame(80, seed=1))
    nic.post(offloaded, om=OM_CSUM, hlen=34, msscof=40)

    nic.device.service(2, 0)

    assert net.sent[0] == b"\xff" * 80  # the guest's own packet, as it is now
    assert net.sent[1][:40] + net.sent[1][42:] == offloaded[:40] + offloaded[42:]  # what was summed is what is sent
    assert nic.done() == [0, 1]
    assert nic.tx_stats()["ucastPktsTxOK"] == 2
    net.meddle = lambda: None
    nic.assert_alive()


# -- receive buffers -----------------------------------------------------------------------------------------------


def test_hostile_28_head_buffers_in_ring_1(bare: RawNic) -> None:
    bare.arm(len=1024)
    for _ in range(31):
        bare.arm(1, btype=0)

    bare.feed(frame(1500))

    assert bare.rules.count("VMX-D-051") == 31
    (packet,) = bare.received()
    assert packet.comps[0]["err"] == 1
    assert packet.data == frame(1500)[:1024]
    assert bare.rx_stats()["pktsRxOutOfBuf"] == 1
    bare.assert_alive()


def test_hostile_28_body_buffers_before_the_first_head(bare: RawNic) -> None:
    for n in range(20):
        bare.arm(btype=1 if n < 19 else 0)

    bare.feed(frame())

    (packet,) = bare.received()
    assert packet.data == frame()
    assert [comp["rxdIdx"] for comp in packet.comps] == [19]
    bare.arm()
    bare.assert_traffic()


def test_hostile_28_nothing_but_body_buffers(bare: RawNic) -> None:
    bare.rx[0].rings[0].memory.view[:] = RX_DESC.encode(addr=bare.shared.address, len=64, btype=1, gen=1) * 64

    bare.feed(*[frame(seed=n) for n in range(10)])

    assert bare.received() == []
    assert bare.rx_stats()["pktsRxOutOfBuf"] == 10
    bare.assert_alive()


def test_hostile_28_ring_0_of_size_0(nic: RawNic) -> None:
    nic.tell_rx(rxRingSize=(0, 32))

    nic.assert_refused("VMX-D-018", "rx queue 0 ring 0 size", 0)


def test_hostile_29_head_buffer_of_no_bytes(bare: RawNic) -> None:
    bare.arm(len=0)
    bare.arm()
    bare.arm()

    bare.feed(frame(seed=1), frame(seed=2))

    packets = bare.received()
    assert bare.rules.count("VMX-D-050") >= 1
    assert bare.rx[0].buffers[0].view[:SLOT] == bytes(SLOT)
    assert [packet.data for packet in packets] == [frame(seed=1), frame(seed=2)]
    assert [comp["rxdIdx"] for packet in packets for comp in packet.comps] == [1, 2]  # passed over, no completion
    bare.assert_alive()


def test_hostile_29_receive_buffer_read_only(bare: RawNic) -> None:
    lent = bare.lend(NOWHERE, 4096, writable=False)
    bare.arm(addr=NOWHERE)

    bare.feed(frame())

    assert bare.seen("VMX-D-042") == [("rx queue 0 ring 0 descriptor 0", NOWHERE, 1)]
    (packet,) = bare.received()
    assert packet.comps[0]["err"] == 1
    assert lent == bytes(4096)
    assert bare.rx_stats()["pktsRxError"] == 1
    bare.arm()
    bare.assert_traffic()


def test_hostile_30_a_buffer_over_the_descriptors_that_follow(bare: RawNic) -> None:
    ring = bare.rx[0].rings[0].memory
    guard, target = bare.port.alloc(4096), bare.port.alloc(4096)
    guard.view[:] = b"\xee" * 4096
    for _ in range(3):
        bare.arm(addr=guard.address)
    ring.view[:CELL] = RX_DESC.encode(addr=ring.address + CELL - 14, len=SLOT, gen=1)
    rewrites = RX_DESC.encode(addr=target.address, len=200, gen=1) * 2
    first = MAC + PEER + b"\x88\xb5" + rewrites + bytes(30)

    bare.feed(first, frame(150, seed=1), frame(1500, seed=2))

    assert guard.view == b"\xee" * 4096
    assert target.view[:200] == frame(1500, seed=2)[:200]  # as far as the descriptor in force has room
    assert target.view[200:] == bytes(4096 - 200)
    stats = bare.rx_stats()
    assert (stats["ucastPktsRxOK"], stats["pktsRxOutOfBuf"]) == (2, 1)
    bare.assert_alive()


def test_hostile_31_receive_completion_ring_of_32(nic: RawNic) -> None:
    nic.prepare(size=64, ring1=64, rx_comp=32)
    nic.activate()
    nic.arm_all()

    nic.feed(*[frame(seed=n) for n in range(100)])

    assert len(nic.seen("VMX-D-019")) == 1
    comps = nic.rx[0].comp.memory.view
    assert [wire.RX_COMP.numbers(comps, CELL * n)["rxdIdx"] for n in range(32)] == list(range(32))
    assert nic.rx_stats()["pktsRxOutOfBuf"] == 68
    nic.assert_alive()


def test_hostile_31_transmit_completion_ring_of_32(nic: RawNic) -> None:
    nic.prepare(size=64, tx_comp=32)

    nic.assert_refused("VMX-D-019", "tx queue 0 completion ring size", 32)


# -- states --------------------------------------------------------------------------------------------------------


def test_hostile_32_activate_quiesce_reset_in_any_order(nic: RawNic) -> None:
    dice = random.Random(32)
    carried = 0

    for n in range(600):
        step = dice.choice(["activate", "again", "quiesce", "reset", "traffic"])
        active = nic.device.state is State.ACTIVE
        if step == "activate":
            nic.activate()
        elif step == "again":
            nic.command(Cmd.ACTIVATE_DEV)
        elif step in ("quiesce", "reset"):
            nic.command(Cmd.QUIESCE_DEV if step == "quiesce" else Cmd.RESET_DEV)
        else:
            nic.net.sent.clear()
            nic.send(frame(seed=n))
            nic.feed(frame(seed=n))
            carried += len(nic.net.sent)
            assert active or not nic.net.sent
    assert carried > 10

    nic.assert_alive()


def living_queues() -> int:
    """Transmit queues there are in this process."""
    gc.collect()
    return sum(isinstance(found, TxQueue) for found in gc.get_objects())


def test_hostile_32_activation_again_and_again_keeps_nothing(nic: RawNic) -> None:
    before = living_queues()

    for n in range(200):
        nic.tell_tx(intrIdx=n % 2 * 200)  # every other one is refused, late
        nic.activate()
        nic.command(Cmd.QUIESCE_DEV)

    assert living_queues() == before
    assert nic.rules.count("VMX-D-016") == 100
    nic.assert_alive()


def test_hostile_33_quiesce_in_the_middle_of_a_burst(active: RawNic) -> None:
    for n in range(60):
        active.post(frame(seed=n))
    active.device.pci.write(PT, wire.REG_TXPROD, 4, 60)
    active.device.service(10, 0)

    active.command(Cmd.QUIESCE_DEV)
    before = active.snapshot()
    more = active.device.service(64, 0)

    assert not more
    assert active.net.sent == [frame(seed=n) for n in range(10)]
    assert active.done() == list(range(10))
    assert active.snapshot() == before
    active.assert_alive()


@pytest.mark.parametrize("touch", ["IMR", "ICR"])
def test_hostile_34_interrupt_mode_switched_under_an_asserted_line(active: RawNic, touch: str) -> None:
    active.pt(wire.REG_IMR, 0)
    active.send(frame())
    asserted = active.device.pci.irq.line
    active.port.write(CONFIG_REGION, 0x9E, 0x8000, 2)  # MSI-X on

    active.pt(wire.REG_IMR, 1 if touch == "IMR" else 0)
    for _ in range(2):
        active.port.read(VD, wire.REG_ICR)
    active.port.write(CONFIG_REGION, 0x9E, 0, 2)

    assert asserted
    assert active.port.read(VD, wire.REG_ICR) == 0
    active.assert_traffic()


def test_hostile_35_events_before_there_is_a_shared_area() -> None:
    nic = RawNic()
    low = nic.lend(0, 4096)

    nic.vd(wire.REG_ECR, 0xFFFF_FFFF)
    nic.device.set_link(False)
    nic.device.set_link(True)
    nic.vd(wire.REG_ECR, 0)

    assert low == bytes(4096)  # 0x2B8 is where the events would be
    assert nic.port.read(VD, wire.REG_ECR) == 0
    assert nic.seen("VMX-D-057") == [("ECR", 0xFFFF_FFFF, 1)]
    nic.assert_alive()


@pytest.mark.parametrize("bar", [PT, VD])
@pytest.mark.parametrize("size", [1, 2, 8])
def test_hostile_38_accesses_of_every_width_and_place(active: RawNic, bar: int, size: int) -> None:
    values = [active.port.read(bar, offset, size) for offset in range(4096 - size + 1)]
    for offset in range(4096 - size + 1):
        active.port.write(bar, offset, 0, size)

    assert all(0 <= value < 1 << 8 * size for value in values)
    assert active.rules.count("VMX-D-001") >= 2 * (4096 - size + 1)
    active.assert_alive()


def test_hostile_38_the_msix_bar_at_every_place(active: RawNic) -> None:
    size = active.device.pci.region_size(wire.BAR_MSIX)
    for width in (1, 2, 4, 8):
        for offset in range(size - width + 1):
            assert 0 <= active.port.read(wire.BAR_MSIX, offset, width) < 1 << 8 * width
            active.port.write(wire.BAR_MSIX, offset, (1 << 8 * width) - 1, width)

    entry = [active.port.read(wire.BAR_MSIX, 16 * 24 + 4 * n) for n in range(4)]
    assert entry == [0xFFFF_FFFF] * 4
    assert active.port.read(wire.BAR_MSIX, 16 * 25) == 0
    assert active.port.read(wire.BAR_MSIX, 0x1000, 8) == 0  # nothing is pending, and it cannot be written
    active.assert_traffic()


def test_hostile_39_memory_taken_away_while_active() -> None:
    nic = RawNic(Queue(waits=False))
    nic.bring_up()
    arena = nic.port.arena

    nic.device.mem.unmap(arena.base, arena.block.size)
    nic.device.set_link(False)
    nic.device.set_link(True)
    nic.vd(wire.REG_ECR, 0xFFFF_FFFF)
    nic.pt(wire.REG_TXPROD, 5)
    nic.feed(frame())
    nic.command(Cmd.GET_STATS)

    assert [(place, count) for place, _, count in nic.seen("VMX-D-064")] == [("ring or table", 1)]
    assert nic.device.state is State.FAILED
    nic.device.mem.map(arena.base, arena.block.view)
    nic.assert_alive()


def test_hostile_39_memory_taken_away_and_given_back() -> None:
    nic = RawNic()
    nic.bring_up()
    arena = nic.port.arena
    nic.assert_traffic()

    nic.device.mem.unmap(arena.base, arena.block.size)
    nic.device.mem.map(arena.base, arena.block.view)

    nic.assert_traffic()
    assert not nic.rules


class Deaf:
    """Remote memory in `data` at `base` that answers until it is `gone`."""

    def __init__(self, base: int, data: memoryview) -> None:
        self.base, self.data, self.gone = base, data, False

    def read(self, address: int, length: int) -> bytes:
        if self.gone:
            raise DmaFault("MEM-01", "no answer", address)
        return bytes(self.data[address - self.base :][:length])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        if self.gone:
            raise DmaFault("MEM-01", "no answer", address)
        self.data[address - self.base :][: len(data)] = data


@pytest.mark.parametrize(
    "touch",
    [
        lambda nic: nic.kick(),
        lambda nic: nic.device.set_link(False),
        lambda nic: nic.vd(wire.REG_ECR, 0),
        lambda nic: nic.feed(frame()),
    ],
    ids=["doorbell", "link", "ECR", "receive"],
)
def test_hostile_39_remote_memory_that_stops_answering(touch: Callable[[RawNic], object]) -> None:
    nic = RawNic(Queue(waits=False))
    arena = nic.port.arena
    nic.prepare()
    nic.device.mem.unmap(arena.base, arena.block.size)
    remote = Deaf(arena.base, arena.block.view)
    nic.device.mem.map(arena.base, None, arena.block.size, remote=remote)
    assert nic.activate() == 0
    nic.arm_all()
    nic.assert_traffic()

    remote.gone = True
    touch(nic)

    assert [(place, count) for place, _, count in nic.seen("MEM-01")] == [("ring or table", 1)]
    assert nic.device.state is State.FAILED
    remote.gone = False
    nic.device.set_link(True)
    nic.assert_alive()


def test_hostile_39_remote_memory_gone_before_activate() -> None:
    nic = RawNic()
    nic.prepare()
    remote = Deaf(NOWHERE, memoryview(bytearray(4096)))
    remote.gone = True
    nic.device.mem.map(NOWHERE, None, 4096, remote=remote)

    answer = nic.activate(NOWHERE)

    assert answer == 1
    assert nic.seen("MEM-01") == [("ACTIVATE_DEV: no answer", NOWHERE, 1)]
    nic.assert_alive()


# -- what brought other devices down -------------------------------------------------------------------------------


def test_CVE_2013_4544_queue_counts_and_vectors_are_checked_before_use(nic: RawNic) -> None:
    nic.tell(numTxQueues=8, numRxQueues=16)  # the table holds one of each: the receive queue is taken for tx queue 1
    nic.lend(NOWHERE, 24 * 256)[: len(nic.table.view)] = nic.table.view
    nic.tell(queueDescPA=NOWHERE)

    nic.assert_refused("VMX-D-018", "tx queue 2 ring size", 0)


def test_CVE_2015_8567_8568_repeated_activation_keeps_nothing(nic: RawNic) -> None:
    nic.activate()
    before = living_queues()

    answers = {nic.command(Cmd.ACTIVATE_DEV) for _ in range(100)}

    assert answers == {0}
    assert living_queues() == before
    assert nic.seen("VMX-D-028") == [("ACTIVATE_DEV", 0, 100)]
    nic.assert_alive()


@pytest.mark.parametrize("size", [14, 15, 16, 17, 18, 21])
@pytest.mark.parametrize("kind", [0x0800, 0x86DD, 0x8100, 0x88B5])
def test_CVE_2015_8744_frames_shorter_than_their_headers(active: RawNic, size: int, kind: int) -> None:
    data = frame(size, kind=kind)
    active.tell(uptFeatures=wire.Feature.RXCSUM | wire.Feature.RXVLAN, vfTable=b"\xff" * 512)
    active.command(Cmd.UPDATE_FEATURE)
    active.command(Cmd.UPDATE_VLAN_FILTERS)

    active.send(data)
    active.send(data, om=OM_TSO, hlen=size, msscof=1)
    active.feed(data)

    assert active.net.sent == [data]
    assert active.done() == [0, 1]
    (packet,) = active.received()
    tagged = kind == 0x8100 and size >= 18
    assert packet.data == (data[:12] + data[16:] if tagged else data)
    assert (packet.comps[0]["ts"], packet.comps[0]["tuc"]) == (tagged, 0)
    active.assert_traffic()


def test_CVE_2015_8745_interrupt_masks_can_be_read(nic: RawNic) -> None:
    masks = [nic.port.read(PT, wire.REG_IMR + 8 * n) for n in range(wire.MAX_INTRS)]

    assert masks == [1] * wire.MAX_INTRS
    nic.assert_alive()


def test_CVE_2016_6833_doorbells_and_masks_while_inactive(active: RawNic) -> None:
    active.command(Cmd.QUIESCE_DEV)
    active.post(frame())

    for offset in range(0, 0x1000, 8):
        active.pt(offset, 0)

    assert active.net.sent == []
    assert active.rules.count("VMX-D-030") == wire.MAX_TX_QUEUES + 2 * wire.MAX_RX_QUEUES
    active.assert_alive()


def test_CVE_2016_6834_fragments_without_bytes_end_somewhere(bare: RawNic) -> None:
    bare.arm(len=128)
    for _ in range(31):
        bare.arm(1, len=0)

    bare.feed(frame(1500))

    assert bare.rules.count("VMX-D-050") == 31
    (packet,) = bare.received()
    assert packet.comps[-1]["err"] == 1
    assert bare.rx_stats()["pktsRxOutOfBuf"] == 1
    bare.assert_alive()


@pytest.mark.parametrize("first", range(0x40, 0x50))
def test_CVE_2016_6835_header_lengths_of_ipv4(active: RawNic, first: int) -> None:
    data = _patched(tcp(0)[:48], 14, first)
    whole = MAC + data[6:]

    active.feed(whole)
    active.send(data, om=OM_TSO, hlen=47, msscof=1)

    (packet,) = active.received()
    assert packet.data == whole
    assert packet.comps[0]["tuc"] == 0
    assert active.tx_stats()["pktsTxError"] == 1
    assert active.net.sent == []
    active.assert_traffic()


def test_CVE_2016_6836_completions_hold_nothing_but_what_they_say(nic: RawNic) -> None:
    nic.tx[0].comp.memory.view[:] = b"\xaa" * CELL * 64
    nic.rx[0].comp.memory.view[:] = b"\xaa" * CELL * 96
    nic.activate()
    nic.arm_all()

    nic.send(frame())
    nic.feed(frame(66))

    assert nic.tx[0].comp.memory.view == bytes(15) + b"\x80" + bytes(CELL * 63)
    word0 = (1 << 30 | 3 << 14).to_bytes(4, "little")  # cnc, sop, eop
    word3 = (1 << 31 | 3 << 24 | 1 << 23).to_bytes(4, "little")  # gen, type 3, fcs
    assert nic.rx[0].comp.memory.view == word0 + bytes(4) + bytes((66, 0, 0, 0)) + word3 + bytes(CELL * 95)
    nic.assert_alive()


def test_CVE_2016_6888_fragment_counts_are_bounded(active: RawNic) -> None:
    active.tell(maxNumRxSG=0xFFFF)
    active.command(Cmd.QUIESCE_DEV)
    active.bring_up()
    for _ in range(40):
        active.post(bytes(1), eop=0, cq=0)

    active.kick()

    assert active.seen("VMX-D-036") == [("tx queue 0 descriptor 31", 32, 1)]
    active.assert_alive()


def test_CVE_2020_16092_more_fragments_than_a_packet_may_have(active: RawNic) -> None:
    for n in range(32):
        active.post(frame(32)[n : n + 1], eop=n == 31, cq=n == 31)

    active.kick()

    assert active.seen("VMX-D-037") == [("tx queue 0 descriptor 31", 32, 1)]
    assert (active.net.sent, active.done()) == ([frame(32)], [31])
    active.assert_traffic()


@pytest.mark.parametrize("size", [0x1000_0000, 0x8000_0000, 0xFFFF_FFE0])
def test_CVE_2021_20203_ring_sizes_that_overflow(nic: RawNic, size: int) -> None:
    nic.tell_rx(rxRingSize=(size, size))

    nic.assert_refused("VMX-D-018", "rx queue 0 ring 0 size", size)


def test_CVE_2024_3567_checksum_of_any_protocol(active: RawNic) -> None:
    sctp = bytes(Ether(dst=PEER, src=MAC) / IP(src="192.0.2.1", dst="192.0.2.2", proto=132) / Raw(b"\1\2\3\4" * 5))

    active.send(sctp, om=OM_CSUM, hlen=34, msscof=42)

    assert active.net.sent == [sctp[:42] + checksum(sctp[34:]).to_bytes(2, "big") + sctp[44:]]
    assert active.done() == [0]
    active.assert_traffic()


def test_QEMU_issue_517_encapsulation_mode(active: RawNic) -> None:
    active.send(frame(), om=OM_ENCAP)

    assert active.status() == (1, QueueError.DESC_NOT_SPT)
    assert len(active.seen("VMX-D-041")) == 1
    active.assert_alive()


def test_CVE_2018_6981_2020_3971_statistics_and_status_are_written_whole(nic: RawNic) -> None:
    nic.tell_tx(stopped=0xAA, error=0xAAAA_AAAA, stats=[0xAAAA_AAAA_AAAA_AAAA] * 10)

    answer = nic.activate()

    assert answer == 0
    assert nic.table.view[80:168] == bytes(88)
    assert nic.status() == (0, 0)
    nic.arm_all()
    nic.assert_traffic()


def test_CVE_2025_41236_sizes_that_overflow_together(nic: RawNic) -> None:
    nic.tell(queueDescPA=2**64 - 2**7, queueDescLen=0xFFFF_FFFF, mfTableLen=0xFFFF, mfTablePA=2**64 - 1)

    nic.assert_refused("VMX-D-012", "queue table address", 2**64 - 2**7)
