"""Hostile drivers: the shared area, tables and receive buffers. The numbered cases that apply to any version.

Wherever a case ends, it ends with normal traffic.
"""

from collections.abc import Callable

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pvdev.pci import CONFIG_REGION
from tests.rig import BROADCAST, CELL, MAC, NOWHERE, PEER, SLOT, RawNic, frame
from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.device import State
from vmxnet3.wire import RSS_CONF, RX_DESC, Cmd

PT = wire.BAR_PT


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
