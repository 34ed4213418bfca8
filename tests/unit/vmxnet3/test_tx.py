"""The transmit ring loop: budgets, wraps, counters; the same end whichever way the doorbell is rung."""

from collections.abc import Callable, Sequence

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.rig import BROADCAST, CELL, MAC, NOWHERE, PEER, RawNic, frame
from vmxnet3.backend import Queue
from vmxnet3.tx import Buffer, TxQueue
from vmxnet3.wire import OM_CSUM, OM_TSO, TX_COMP, QueueError

Frames = list[Sequence[Buffer]]

GROUP = bytes.fromhex("01005e000001")
TSO_FRAME = bytes(Ether(dst=PEER, src=MAC) / IP(src="192.0.2.1", dst="192.0.2.2") / TCP() / Raw(bytes(1800)))
CSUM_FRAME = bytes(Ether(dst=PEER, src=MAC) / IP(src="192.0.2.1", dst="192.0.2.2") / UDP() / Raw(b"data" * 9))


@pytest.fixture
def nic() -> RawNic:
    """Active, a ring of 32."""
    made = RawNic()
    made.bring_up(size=32)
    return made


@pytest.fixture
def notes() -> list[tuple[str, str, int]]:
    return []


@pytest.fixture
def queue(nic: RawNic, notes: list[tuple[str, str, int]]) -> TxQueue:
    """A queue by itself, on the rings of an inactive device."""
    nic.device.reset()
    side = nic.tx[0]
    return TxQueue(
        3,
        nic.device.mem,
        lambda rule, place, value: notes.append((rule, place, value)),
        ring=side.ring.memory.address,
        size=32,
        comp=side.comp.memory.address,
        comp_size=32,
        mtu=1500,
    )


def sent(frames: Frames) -> list[bytes]:
    return [b"".join(frame) for frame in frames]


# -- one round -----------------------------------------------------------------------------------------------------


def test_an_empty_ring(queue: TxQueue) -> None:
    frames: Frames = []

    assert queue.service(64, frames) == (0, 0)
    assert (frames, queue.done, queue.next, queue.gen) == ([], [], 0, 1)


def test_a_round_takes_what_is_there(nic: RawNic, queue: TxQueue) -> None:
    for n in range(5):
        nic.post(frame(60 + n, seed=n))
    frames: Frames = []

    assert queue.service(64, frames) == (5, 5)

    assert sent(frames) == [frame(60 + n, seed=n) for n in range(5)]
    assert (queue.done, queue.next) == ([0, 1, 2, 3, 4], 5)
    assert nic.done() == []  # nothing is completed before it was sent
    queue.complete()
    assert nic.done() == [0, 1, 2, 3, 4]


def test_a_round_takes_no_more_than_its_budget(nic: RawNic, queue: TxQueue) -> None:
    for n in range(5):
        nic.post(frame(seed=n))
    first: Frames = []
    second: Frames = []

    assert queue.service(3, first) == (3, 3)
    assert queue.service(3, second) == (2, 2)

    assert sent(first + second) == [frame(seed=n) for n in range(5)]


def test_a_round_ends_where_the_ring_ends(nic: RawNic, queue: TxQueue) -> None:
    for n in range(31):
        nic.post(frame(seed=n))
    queue.service(64, [])
    for n in range(3):
        nic.post(frame(seed=n))
    frames: Frames = []

    assert queue.service(64, frames) == (1, 1)
    assert (queue.next, queue.gen) == (0, 0)
    assert queue.service(64, frames) == (2, 2)

    assert sent(frames) == [frame(seed=n) for n in range(3)]


def test_a_packet_goes_on_behind_the_budget_and_the_wrap(nic: RawNic, queue: TxQueue) -> None:
    for n in range(30):
        nic.post(frame(seed=n))
    queue.service(64, [])
    data = frame(80)
    for n in range(4):
        nic.post(data[20 * n : 20 * n + 20], eop=n == 3, cq=n == 3)
    frames: Frames = []

    rounds = [queue.service(1, frames) for _ in range(5)]

    assert rounds == [(1, 0), (1, 0), (1, 0), (1, 1), (0, 0)]
    assert sent(frames) == [data]
    assert queue.done == []
    assert queue.next == 2


def test_frames_are_views_of_guest_memory(nic: RawNic, queue: TxQueue) -> None:
    nic.post(frame(60))
    frames: Frames = []
    queue.service(64, frames)

    nic.tx[0].buffers.view[:60] = frame(60, seed=1)

    assert sent(frames) == [frame(60, seed=1)]


def test_a_failed_queue_takes_nothing_more(nic: RawNic, queue: TxQueue, notes: list[tuple[str, str, int]]) -> None:
    nic.post(frame(seed=1))
    nic.post(frame(seed=2), dtype=1)
    nic.post(frame(seed=3))
    frames: Frames = []

    rounds = [queue.service(64, frames) for _ in range(3)]

    assert rounds == [(1, 1), (0, 0), (0, 0)]
    assert sent(frames) == [frame(seed=1)]
    assert (queue.failed, queue.next) == (QueueError.DESC_NOT_SPT, 1)
    assert notes == [("VMX-D-040", "tx queue 3 descriptor 1", 1 << 16 | 1 << 14 | 60)]


def test_completions_wrap_with_their_own_owner_bit(nic: RawNic, queue: TxQueue) -> None:
    for lap in range(3):
        for n in range(32):
            nic.post(frame(seed=n))
        while queue.service(7, [])[0]:
            queue.complete()
        comps = nic.tx[0].comp.memory.view

        assert [TX_COMP.numbers(comps, CELL * n)["txdIdx"] for n in range(32)] == list(range(32))
        assert {TX_COMP.numbers(comps, CELL * n)["gen"] for n in range(32)} == {1 ^ lap & 1}


def test_start_clears_the_completion_ring(nic: RawNic, queue: TxQueue) -> None:
    nic.tx[0].comp.memory.view[:] = b"\xff" * (32 * CELL)

    queue.comp.clear()

    assert nic.tx[0].comp.memory.view == bytes(32 * CELL)


def test_released_rings_are_found_again(nic: RawNic, queue: TxQueue) -> None:
    nic.post(frame(seed=1))
    queue.service(64, [])
    queue.complete()

    queue.release()
    queue.bind()
    nic.post(frame(seed=2))
    frames: Frames = []
    queue.service(64, frames)
    queue.complete()

    assert sent(frames) == [frame(seed=2)]
    assert nic.done() == [0, 1]


# -- the same whichever way --------------------------------------------------------------------------------------------


def _traffic(nic: RawNic, after: Callable[[RawNic], None]) -> None:
    """Packets of every shape, more than two laps; `after` every descriptor."""
    for n in range(24):
        nic.post(frame(60 + n, seed=n))
        after(nic)
        data = frame(90, seed=n)
        for at, end in ((0, 0), (30, 0), (60, 1)):
            nic.post(data[at : at + 30], eop=end, cq=end)
            after(nic)
        if n % 8 == 7:
            nic.post(CSUM_FRAME, om=OM_CSUM, hlen=34, msscof=40)
            after(nic)
            nic.post(TSO_FRAME, om=OM_TSO, hlen=54, msscof=700, ti=1, tci=5)
            after(nic)
            nic.post(bytes(13))
            after(nic)
            nic.post(frame(), addr=NOWHERE)
            after(nic)
        if n % 6 == 5:
            nic.kick()
            nic.done()


WAYS: dict[str, tuple[int, Callable[[RawNic], None]]] = {
    "a kick per descriptor": (256, RawNic.kick),
    "a kick for many": (256, lambda nic: None),
    "a budget of 1": (1, lambda nic: None),
}


def _ran(budget: int, after: Callable[[RawNic], None]) -> tuple[list[bytes], bytes, bytes, dict[str, int]]:
    """What was sent, the completion ring, the queue table and the counters at the end."""
    nic = RawNic(budget=budget)
    nic.prepare(size=32)
    assert nic.activate() == 0
    _traffic(nic, after)
    nic.kick()
    stats = nic.tx_stats()
    return nic.net.sent, bytes(nic.tx[0].comp.memory.view), bytes(nic.table.view), stats


def test_the_end_is_the_same_whichever_way_the_bell_is_rung() -> None:
    one, many, single = (_ran(*way) for way in WAYS.values())

    assert one == many == single
    assert one[3] == {
        "TSOPktsTxOK": 9,  # 1800 bytes in pieces of 700, three times
        "TSOBytesTxOK": 3 * (1800 + 3 * 58),
        "ucastPktsTxOK": 48 + 3 + 9,
        "ucastBytesTxOK": sum(range(60, 84)) + 24 * 90 + 3 * len(CSUM_FRAME) + 3 * (1800 + 3 * 58),
        "mcastPktsTxOK": 0,
        "mcastBytesTxOK": 0,
        "bcastPktsTxOK": 0,
        "bcastBytesTxOK": 0,
        "pktsTxError": 6,
        "pktsTxDiscard": 0,
    }


# -- counters ------------------------------------------------------------------------------------------------------


def test_frames_are_counted_by_their_target(nic: RawNic) -> None:
    for dst, size in ((PEER, 60), (GROUP, 70), (BROADCAST, 80), (BROADCAST, 90)):
        nic.post(frame(size, dst=dst))
    nic.post(frame(100, dst=GROUP)[:3], eop=0, cq=0)  # the target across two buffers
    nic.post(frame(100, dst=GROUP)[3:])

    nic.kick()

    stats = nic.tx_stats()
    assert [stats[f"{kind}PktsTxOK"] for kind in ("ucast", "mcast", "bcast")] == [1, 2, 2]
    assert [stats[f"{kind}BytesTxOK"] for kind in ("ucast", "mcast", "bcast")] == [60, 170, 170]


def test_without_a_link_frames_are_completed_and_discarded(nic: RawNic) -> None:
    nic.device.set_link(False)
    for n in range(3):
        nic.post(frame(seed=n))
    nic.post(bytes(5))

    nic.kick()

    stats = nic.tx_stats()
    assert (nic.net.sent, nic.done()) == ([], [0, 1, 2, 3])
    assert (stats["pktsTxDiscard"], stats["pktsTxError"], stats["ucastPktsTxOK"]) == (3, 1, 0)


def test_what_a_full_port_does_not_take_waits_in_order() -> None:
    nic = RawNic(Queue(room=2))
    nic.bring_up(size=32)
    for n in range(5):
        nic.post(frame(seed=n))
    nic.kick()
    taken, completed = list(nic.net.sent), nic.done()
    nic.send(frame(seed=5))
    nic.net.room = None

    nic.port.advance(1_000_000)

    assert taken == [frame(seed=0), frame(seed=1)]
    assert completed == [0, 1, 2, 3, 4]  # the device keeps a copy
    assert nic.net.sent == [frame(seed=n) for n in range(6)]
    assert nic.done() == [5]
