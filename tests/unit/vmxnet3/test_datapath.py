"""The running half: bells and thresholds, moderation, many queues, what is waited for and how long."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from pvdev.irq import Pace
from tests.rig import RawNic, frame
from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.datapath import BELLS_OFF, LEVEL_NS, RELOOK_NS, RETRY_NS, Datapath
from vmxnet3.rx import RxQueue
from vmxnet3.shape import Shape, Shaped
from vmxnet3.tx import TxQueue
from vmxnet3.wire import DRIVER_SHARED, RX_QUEUE_DESC, TX_QUEUE_DESC, Cmd
from vmxnet3.wire_args import COALESCE_SCHEME, Coalesce

MS = 1_000_000
PACE = Pace(frames=4, ns=100_000, lazy_frames=8, lazy_ns=200_000)


def nic_of(version: int = 1, *, tx: int = 1, rx: int = 1, size: int = 64, waits: bool = True, **options: Any) -> RawNic:
    """Everything in memory, a vector for each queue: transmit first."""
    nic = RawNic(Queue(waits=waits), version=version, memory=16 << 20, **options)
    nic.prepare(tx=tx, rx=rx, size=size)
    nic.tell(numIntrs=min(tx + rx + 1, 25), eventIntrIdx=0)
    for queue in range(tx):
        nic.tell_tx(queue, intrIdx=queue % 25)
    for queue in range(rx):
        nic.tell_rx(queue, intrIdx=(tx + queue) % 25)
    return nic


def start(nic: RawNic) -> RawNic:
    assert nic.activate() == 0
    nic.arm_all()
    nic.use_msix()
    return nic


def path_of(nic: RawNic) -> Datapath:
    path = nic.device._path
    assert path is not None
    return path


def threshold(nic: RawNic, queue: int = 0) -> int:
    return TX_QUEUE_DESC.numbers(nic.table.view, 256 * queue)["txThreshold"]


# -- what ACTIVATE stores ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "rate"), [(8, 0), (9, 5)])
def test_the_queue_table_after_activation(version: int, rate: int) -> None:
    nic = nic_of(version, tx=2, rx=2, timestamp_rate=5)
    for n in range(4):  # as DPDK presets, and worse
        nic.table.view[256 * n : 256 * n + 16] = b"\xff" * 8 + bytes(8)
        nic.table.view[256 * n + 80 : 256 * n + 168] = b"\xff" * 88

    start(nic)

    tx = [TX_QUEUE_DESC.numbers(nic.table.view, 256 * n) for n in range(2)]
    rx = [RX_QUEUE_DESC.numbers(nic.table.view, 256 * n) for n in (2, 3)]
    assert [(one["txNumDeferred"], one["txThreshold"]) for one in tx] == [(0, 1), (0, 1)]
    assert [one["updateRxProd"] for one in rx] == [0, 0]
    assert {one[name] for one in tx + rx for name in ("stopped", "error", *(f"stats{i}" for i in range(10)))} == {0}
    assert tx[0]["sampleRate"] == rate


# -- bells ---------------------------------------------------------------------------------------------------------


def test_bells_of_every_queue_go_off_and_on_together() -> None:
    nic = start(nic_of(tx=3))
    nic.device.polled = True
    nic.send(frame(), queue=1)
    polled = [threshold(nic, n) for n in range(3)]

    again = nic.device.rest()

    assert polled == [BELLS_OFF] * 3
    assert [threshold(nic, n) for n in range(3)] == [1] * 3
    assert not again


@pytest.mark.parametrize("queue", [0, 2])
def test_a_frame_that_came_while_the_bells_were_armed_is_found(queue: int) -> None:
    nic = start(nic_of(tx=3))
    nic.device.polled = True
    nic.send(frame())
    nic.post(frame(seed=1), queue=queue)

    assert nic.device.rest()
    nic.port.run()
    assert nic.net.sent == [frame(), frame(seed=1)]


def test_after_arming_the_rings_are_looked_at_twice_more() -> None:
    nic = start(nic_of())
    nic.device.polled = True
    nic.send(frame())
    nic.device.rest()
    looks = []

    while (due := nic.device.deadline()) is not None:
        looks.append(due)
        nic.device.service(64, due)

    assert tuple(looks) == RELOOK_NS


# -- moderation ----------------------------------------------------------------------------------------------------


def interrupts_of(nic: RawNic, frames: int, gap_ns: int) -> list[int]:
    """Feed so many frames so far apart; when (ns) interrupts came, `RX` vector only."""
    begin, found = nic.port.now_ns, []
    for n in range(frames):
        nic.feed(frame(seed=n))
        step = 0
        while step < gap_ns:
            if nic.port.interrupts():
                found.append(nic.port.now_ns - begin)
            nic.port.advance(gap_ns // 10)
            step += gap_ns // 10
        assert len(nic.received()) == 1
        nic.arm()
    return found


@pytest.mark.parametrize("level", range(1, 8))
def test_a_level_is_the_time_between_interrupts(level: int) -> None:
    nic = nic_of()
    nic.tell(modLevels=(level,) * 3)
    start(nic)

    found = interrupts_of(nic, 100, 10_000)

    gaps = {later - earlier for earlier, later in pairwise(found)}
    assert found[0] == 0  # a lone frame is never late
    assert gaps == {level * LEVEL_NS}


@pytest.mark.parametrize(("level", "count"), [(0, 40), (8, 40), (1, 8)])
def test_level_0_is_every_batch_and_8_the_devices_own(level: int, count: int) -> None:
    nic = nic_of()
    nic.tell(modLevels=(level,) * 3)
    start(nic)

    assert len(interrupts_of(nic, 40, 10_000)) == count


def test_adaptive_is_the_pace_the_device_was_given() -> None:
    nic = nic_of(moderation=PACE)
    nic.tell(modLevels=(8,) * 3)
    start(nic)

    assert len(interrupts_of(nic, 40, 10_000)) == 10  # four frames each


def test_each_vector_has_its_level() -> None:
    nic = nic_of(rx=2)
    nic.tell(modLevels=(0, 0, 7))
    start(nic)
    nic.feed(*[Shaped(frame(seed=n), Shape(queue=n)) for n in (0, 1)])
    nic.port.interrupts()

    nic.feed(*[Shaped(frame(seed=n), Shape(queue=n)) for n in (0, 1)])
    at_once = nic.port.interrupts()
    nic.port.advance(7 * LEVEL_NS)

    assert (at_once, nic.port.interrupts()) == (0b010, 0b100)


def test_a_scheme_overrules_levels_until_the_next_activation() -> None:
    nic = nic_of(3)
    nic.tell(modLevels=(7,) * 3)
    start(nic)
    nic.point_at(COALESCE_SCHEME.encode(mode=Coalesce.DISABLED))
    assert nic.command(Cmd.SET_COALESCE) == 0
    nic.command(Cmd.UPDATE_IML)

    with_scheme = len(interrupts_of(nic, 20, 10_000))
    nic.command(Cmd.QUIESCE_DEV)
    nic.prepare()
    nic.tell(modLevels=(7,) * 3, numIntrs=3)
    nic.tell_rx(intrIdx=1)
    start(nic)

    assert with_scheme == 20
    assert len(interrupts_of(nic, 20, 10_000)) == 1


def test_rates_are_interrupts_a_second() -> None:
    nic = start(nic_of(3))
    nic.point_at(COALESCE_SCHEME.encode(mode=Coalesce.RBC, tx_depth=10_000))
    nic.command(Cmd.SET_COALESCE)

    found = interrupts_of(nic, 100, 10_000)

    assert len(found) == 10
    assert {later - earlier for earlier, later in pairwise(found)} == {100_000}


# -- many queues ---------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each queue was served, "tx 3" or "rx 0"."""
    counted: Counter[str] = Counter()
    for kind, cls in (("tx", TxQueue), ("rx", RxQueue)):

        def count(self: Any, *args: Any, _kind: str = kind, _served: Any = cls.service, **named: Any) -> Any:
            counted[f"{_kind} {self.index}"] += 1
            return _served(self, *args, **named)

        monkeypatch.setattr(cls, "service", count)
    return counted


@pytest.mark.parametrize("queues", [1, 8, 32])
def test_only_queues_with_work_are_served(calls: Counter[str], queues: int) -> None:
    nic = start(nic_of(6, tx=queues, rx=queues, size=32))
    calls.clear()
    last = queues - 1

    for n in range(10):
        nic.send(frame(seed=n), queue=last)
        nic.feed(Shaped(frame(seed=n), Shape(queue=last)))
        nic.received(last), nic.arm(queue=last), nic.done(last)
    for n in range(100):
        nic.device.service(64, n)

    assert calls == {f"tx {last}": 10, f"rx {last}": 10}
    assert nic.net.sent == [frame(seed=n) for n in range(10)]
    assert nic.rules.count() == 0


def test_every_queue_carries_its_own(calls: Counter[str]) -> None:
    nic = start(nic_of(6, tx=32, rx=32, size=32))

    for queue in range(32):
        nic.post(frame(seed=queue), queue=queue)
    nic.kick(31)
    nic.feed(*[Shaped(frame(seed=queue), Shape(queue=queue)) for queue in range(32)])

    assert nic.net.sent == [frame(seed=queue) for queue in range(32)]
    found = [[packet.data for packet in nic.received(queue)] for queue in range(32)]
    assert found == [[frame(seed=queue)] for queue in range(32)]
    assert [nic.done(queue) for queue in range(32)] == [[0]] * 32
    assert nic.port.interrupts() == (1 << 25) - 1
    assert set(calls.values()) == {1}


def test_an_idle_queue_asks_for_nothing() -> None:
    nic = start(nic_of(6, tx=32, rx=32, size=32))

    assert not nic.device.service(64, 0)
    assert nic.device.deadline() is None


# -- waiting -------------------------------------------------------------------------------------------------------


def test_looks_for_buffers_grow_rarer_and_are_often_again_after_success() -> None:
    nic = nic_of()
    assert nic.activate() == 0
    nic.feed(frame(seed=1), frame(seed=2))
    waits = []
    for _ in range(9):
        due = nic.device.deadline()
        assert due is not None
        waits.append(due - nic.port.now_ns)
        nic.port.now_ns = due
        nic.port.run()
    nic.arm()
    due = nic.device.deadline()
    assert due is not None
    nic.port.now_ns = due
    nic.port.run()

    first, most = RETRY_NS
    assert waits == [min(first << n, most) for n in range(9)]
    assert [packet.data for packet in nic.received()] == [frame(seed=1)]
    assert nic.device.deadline() == due + 2 * first  # one more look in vain


def test_a_queue_without_buffers_keeps_its_frames_in_order() -> None:
    nic = start(nic_of(rx=2, waits=True))
    for _ in range(63):
        nic.feed(Shaped(frame(), Shape(queue=1)))
    nic.received(1)

    nic.feed(*[Shaped(frame(seed=n), Shape(queue=n & 1)) for n in range(6)])
    others = [packet.data for packet in nic.received(0)]
    for _ in range(3):
        nic.arm(queue=1)
    nic.port.advance(10 * MS)

    assert others == [frame(seed=n) for n in (0, 2, 4)]
    assert [packet.data for packet in nic.received(1)] == [frame(seed=n) for n in (1, 3, 5)]


def test_without_a_link_frames_wait_in_the_port() -> None:
    nic = start(nic_of())
    nic.device.set_link(False)

    nic.feed(frame())

    assert (len(nic.net.inbound), nic.device.deadline()) == (1, None)


def test_a_ring_let_go_of_names_every_place() -> None:
    nic = nic_of(3, tx=2, rx=2)
    nic.give_data_rings(128)
    start(nic)
    path = path_of(nic)
    places = [nic.shared, nic.table]
    for tx in nic.tx:
        places += [tx.ring.memory, tx.comp.memory]
    for rx in nic.rx:
        assert rx.data is not None
        places += [rx.rings[0].memory, rx.rings[1].memory, rx.comp.memory, rx.data]

    assert all(path.uses(place.address, place.address + 1) for place in places)
    assert not path.uses(nic.tx[0].buffers.address, nic.tx[0].buffers.address + 64)
    path.release()
    path.bind()
    nic.assert_traffic()


def test_offsets_of_these_tests_stand_where_the_header_has_them() -> None:
    assert TX_QUEUE_DESC.offset["stopped"] == RX_QUEUE_DESC.offset["stopped"] == 80
    assert DRIVER_SHARED.offset["modLevels"] == 83
    assert wire.REG_IMR == 0
