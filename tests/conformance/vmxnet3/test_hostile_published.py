"""What brought other devices down: published faults of QEMU and VMware, each as a driver would set it off.

Wherever a case ends, it ends with normal traffic.
"""

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import checksum

from tests.rig import CELL, MAC, NOWHERE, PEER, RawNic, frame, living, patched
from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.tx import TxQueue
from vmxnet3.wire import OM_CSUM, OM_ENCAP, OM_TSO, Cmd, QueueError

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


def tcp(size: int) -> bytes:
    """A TCP frame with `size` bytes of payload behind 54 bytes of headers."""
    return bytes(Ether(dst=PEER, src=MAC) / IP(src="192.0.2.1", dst="192.0.2.2") / TCP() / Raw(bytes(size)))


# -- what brought other devices down -------------------------------------------------------------------------------


def test_CVE_2013_4544_queue_counts_and_vectors_are_checked_before_use(nic: RawNic) -> None:
    nic.tell(numTxQueues=8, numRxQueues=16)  # the table holds one of each: the receive queue is taken for tx queue 1
    nic.lend(NOWHERE, 24 * 256)[: len(nic.table.view)] = nic.table.view
    nic.tell(queueDescPA=NOWHERE)

    nic.assert_refused("VMX-D-018", "tx queue 2 ring size", 0)


def test_CVE_2015_8567_8568_repeated_activation_keeps_nothing(nic: RawNic) -> None:
    nic.activate()
    before = living(TxQueue)

    answers = {nic.command(Cmd.ACTIVATE_DEV) for _ in range(100)}

    assert answers == {0}
    assert living(TxQueue) == before
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
    data = patched(tcp(0)[:48], 14, first)
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
