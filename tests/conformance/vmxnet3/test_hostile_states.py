"""Hostile drivers: states in any order, registers of any width, memory that goes away.

Wherever a case ends, it ends with normal traffic.
"""

import random
from collections.abc import Callable

import pytest

from pvdev.mem import DmaFault
from pvdev.pci import CONFIG_REGION
from tests.rig import NOWHERE, RawNic, frame, living
from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.device import State
from vmxnet3.tx import TxQueue
from vmxnet3.wire import Cmd

VD, PT = wire.BAR_VD, wire.BAR_PT


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


def test_hostile_32_activation_again_and_again_keeps_nothing(nic: RawNic) -> None:
    before = living(TxQueue)

    for n in range(200):
        nic.tell_tx(intrIdx=n % 2 * 200)  # every other one is refused, late
        nic.activate()
        nic.command(Cmd.QUIESCE_DEV)

    assert living(TxQueue) == before
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
