"""Hostile drivers: doorbells, transmit rings and what is in them. The numbered cases that apply to any version.

Wherever a case ends, it ends with normal traffic.
"""

from collections.abc import Callable, Sequence

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.rig import CELL, MAC, NOWHERE, PEER, RawNic, Ring, frame, patched
from vmxnet3 import wire
from vmxnet3.backend import Frame, Null, Queue
from vmxnet3.wire import OM_CSUM, OM_ENCAP, OM_TSO, TX_DESC, QueueError


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


def tcp(size: int) -> bytes:
    """A TCP frame with `size` bytes of payload behind 54 bytes of headers."""
    return bytes(Ether(dst=PEER, src=MAC) / IP(src="192.0.2.1", dst="192.0.2.2") / TCP() / Raw(bytes(size)))


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


@pytest.mark.parametrize(
    ("data", "hlen"),
    [
        (patched(tcp(100), 14, 0x4F), 54),  # 60 bytes of IP header in 54 of headers
        (patched(tcp(100), 46, 0xF0), 54),  # 60 bytes of TCP header
        (patched(tcp(100), 14, 0x4F), 73),
        (patched(tcp(100), 46, 0x40), 54),  # 16 bytes of TCP header
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
