"""VMXNET3 driver rules 055 to 058 and 067: what a driver is told, and whether it ever comes back to it."""

from collections.abc import Callable

import pytest

from pvdev.pci import (
    CAP_MSIX,
    CMD_INTX_DISABLE,
    CMD_MASTER,
    CMD_MEMORY,
    COMMAND,
    CONFIG_REGION,
    MSIX_ENABLE,
    MSIX_FUNCTION_MASK,
)
from tests.rig import RawNic, frame
from vmxnet3 import wire
from vmxnet3.vectors import PATIENCE_NS
from vmxnet3.wire import Cmd, Event, QueueError

VD = wire.BAR_VD
SECOND = 1_000_000_000


@pytest.fixture
def active() -> RawNic:
    """Active, receive buffers posted."""
    made = RawNic()
    made.bring_up()
    return made


# -- 055, 056: interrupts nobody comes back to -----------------------------------------------------------------------


def masking(*, vectors: int = 2) -> RawNic:
    """Active, MSI-X on and unmasked; the device masks a vector when it delivers. Transmit and receive on vector 0."""
    nic = RawNic()
    nic.prepare()
    nic.tell(autoMask=1, numIntrs=vectors, eventIntrIdx=vectors - 1)
    assert nic.activate() == 0
    nic.arm_all()
    nic.use_msix()
    return nic


def take(nic: RawNic, count: int) -> None:
    """Read what was received and post as many buffers again."""
    assert len(nic.received()) == count
    for _ in range(count):
        nic.arm()


def test_VMX_D_055_a_vector_masked_by_its_delivery_and_forgotten() -> None:
    nic = masking()
    nic.feed(frame(seed=1))
    assert nic.port.interrupts() == 1
    nic.feed(frame(seed=2))

    nic.port.advance(PATIENCE_NS - 1)
    early = nic.seen("VMX-D-055")
    nic.port.advance(1)

    assert early == []
    assert nic.seen("VMX-D-055") == [("vector 0", 1, 1)]
    nic.port.advance(10 * SECOND)
    assert nic.rules.count() == 1  # said once
    nic.pt(wire.REG_IMR, 0)
    assert nic.port.interrupts() == 1
    nic.received()
    nic.assert_traffic()


def test_VMX_D_055_the_device_asks_to_be_called_for_it() -> None:
    nic = masking()
    nic.feed(frame(seed=1), frame(seed=2))
    assert nic.device.deadline() is None  # nothing new since the delivery
    nic.feed(frame(seed=3))

    assert nic.device.deadline() == PATIENCE_NS


def test_VMX_D_055_says_nothing_when_there_is_nothing_new() -> None:
    nic = masking()
    nic.feed(frame())
    nic.port.advance(10 * SECOND)

    assert nic.rules.count() == 0


def test_VMX_D_055_says_nothing_of_a_driver_that_keeps_polling() -> None:
    """Linux under a flood: the poll goes on for many seconds, takes what it finds, and unmasks when it is over."""
    nic = masking()
    for n in range(300):
        nic.feed(frame(seed=n))
        take(nic, 1)
        nic.port.advance(SECOND // 10)

    assert nic.rules.count() == 0
    nic.pt(wire.REG_IMR, 0)
    nic.assert_traffic()


def test_VMX_D_055_says_nothing_of_a_driver_that_answers_late() -> None:
    nic = masking()
    for n in range(10):
        nic.feed(frame(seed=n))
        nic.feed(frame(seed=n + 1))
        nic.port.advance(PATIENCE_NS - 1)
        take(nic, 2)
        nic.pt(wire.REG_IMR, 0)
        nic.port.interrupts()
        nic.pt(wire.REG_IMR, 0)

    assert nic.rules.count() == 0


@pytest.mark.parametrize("auto_mask", [0, 1])
def test_VMX_D_055_says_nothing_of_a_vector_the_driver_masked_itself(auto_mask: int) -> None:
    nic = RawNic()
    nic.prepare()
    nic.tell(autoMask=auto_mask)
    assert nic.activate() == 0
    nic.arm_all()
    nic.use_msix()
    nic.pt(wire.REG_IMR, 1)

    nic.feed(frame(seed=1), frame(seed=2))
    nic.port.advance(10 * SECOND)

    assert nic.rules.count() == 0


def test_VMX_D_055_says_nothing_after_quiesce() -> None:
    nic = masking()
    nic.feed(frame(seed=1))
    nic.feed(frame(seed=2))

    nic.command(Cmd.QUIESCE_DEV)
    nic.port.advance(10 * SECOND)

    assert nic.rules.count() == 0


def asserted() -> RawNic:
    """Active with INTx, and the line is up."""
    nic = RawNic()
    nic.bring_up()
    nic.pt(wire.REG_IMR, 0)
    nic.feed(frame())
    assert nic.device.pci.irq.line
    return nic


def test_VMX_D_056_an_intx_nobody_acknowledges() -> None:
    nic = asserted()

    nic.port.advance(PATIENCE_NS - 1)
    early = nic.seen("VMX-D-056")
    nic.port.advance(1)
    nic.port.advance(10 * SECOND)

    assert early == []
    assert nic.seen("VMX-D-056") == [("INTx", PATIENCE_NS, 1)]
    assert nic.port.read(VD, wire.REG_ICR) == 1
    nic.received()
    nic.assert_traffic()


@pytest.mark.parametrize(
    "answer",
    [
        lambda nic: nic.port.read(VD, wire.REG_ICR),
        lambda nic: nic.command(Cmd.QUIESCE_DEV),
        lambda nic: nic.port.write(CONFIG_REGION, COMMAND, CMD_MEMORY | CMD_MASTER | CMD_INTX_DISABLE, 2),
        lambda nic: nic.port.write(CONFIG_REGION, nic.device.pci.config.caps[CAP_MSIX] + 2, MSIX_ENABLE, 2),
    ],
    ids=["ICR", "QUIESCE", "INTx disabled", "MSI-X"],
)
def test_VMX_D_056_says_nothing_of_a_driver_that(answer: Callable[[RawNic], object]) -> None:
    nic = asserted()
    nic.port.advance(PATIENCE_NS - 1)

    answer(nic)
    nic.port.advance(10 * SECOND)

    assert nic.rules.count() == 0


def test_VMX_D_056_says_nothing_of_many_interrupts() -> None:
    nic = asserted()
    for n in range(100):
        assert nic.port.read(VD, wire.REG_ICR) == 1
        nic.received()
        nic.feed(frame(seed=n))
        nic.port.advance(SECOND)
        nic.received()
        nic.arm()

    assert nic.rules.count() == 0


# -- 058: which queue stopped ----------------------------------------------------------------------------------------


def stopped() -> RawNic:
    """Active; transmit queue 0 of two has stopped, and the driver was told."""
    nic = RawNic()
    nic.bring_up(tx=2)
    nic.send(frame(), dtype=1)
    assert nic.port.read(VD, wire.REG_ECR) == Event.TQERR
    return nic


def test_VMX_D_058_ringing_a_stopped_queue_without_asking() -> None:
    nic = stopped()
    nic.vd(wire.REG_ECR, Event.TQERR)

    nic.port.advance(PATIENCE_NS)
    nic.send(frame(seed=1))
    nic.send(frame(seed=2), queue=1)

    assert nic.seen("VMX-D-058") == [("TXPROD 0", 2, 1)]
    assert nic.net.sent == [frame(seed=2)]
    nic.assert_alive()


def test_VMX_D_058_says_nothing_of_frames_already_on_their_way() -> None:
    """The event is delivered on one processor while another fills the ring to its end."""
    nic = stopped()
    for n in range(60):
        nic.send(frame(seed=n))
        nic.port.advance(PATIENCE_NS // 100)
    assert nic.status() == (1, QueueError.DESC_NOT_SPT)
    nic.port.advance(10 * SECOND)
    nic.kick()

    assert nic.seen("VMX-D-058") == []


@pytest.mark.parametrize("answer", [Cmd.QUIESCE_DEV, Cmd.RESET_DEV], ids=lambda command: command.name)
def test_VMX_D_058_says_nothing_of_a_driver_that_starts_anew(answer: Cmd) -> None:
    nic = stopped()
    nic.command(answer)
    nic.port.advance(10 * SECOND)

    nic.bring_up(tx=2)
    nic.assert_traffic()

    assert nic.seen("VMX-D-058") == []


# -- 067: the MSI-X table --------------------------------------------------------------------------------------------


def msix(nic: RawNic, *, control: int = MSIX_ENABLE) -> None:
    nic.port.write(CONFIG_REGION, nic.device.pci.config.caps[CAP_MSIX] + 2, control, 2)


@pytest.mark.parametrize(("at", "size"), [(0, 4), (4, 4), (8, 4), (0, 8), (8, 8)])
def test_VMX_D_067_a_message_written_while_its_vector_is_open(active: RawNic, at: int, size: int) -> None:
    active.use_msix()

    active.port.write(wire.BAR_MSIX, 16 + at, 0xFEE0_0000, size)

    assert active.seen("VMX-D-067") == [("MSI-X vector 1", 1, 1)]
    assert active.port.read(wire.BAR_MSIX, 16 + at) == 0xFEE0_0000
    active.port.interrupts()
    active.assert_traffic()


def test_VMX_D_067_says_nothing_of_linux_moving_a_vector(active: RawNic) -> None:
    active.use_msix()

    active.port.write(wire.BAR_MSIX, 12, 1)
    for at in (0, 4, 8):
        active.port.write(wire.BAR_MSIX, at, 0xFEE0_1000 + at)
    active.port.write(wire.BAR_MSIX, 12, 0)

    assert active.rules.count() == 0


@pytest.mark.parametrize("control", [0, MSIX_ENABLE | MSIX_FUNCTION_MASK], ids=["off", "function masked"])
def test_VMX_D_067_says_nothing_while_no_message_can_go_out(active: RawNic, control: int) -> None:
    for vector in range(25):
        active.port.write(wire.BAR_MSIX, 16 * vector + 12, 0)
    msix(active, control=control)

    for vector in range(25):
        for at in (0, 4, 8):
            active.port.write(wire.BAR_MSIX, 16 * vector + at, 0xFEE0_0000)

    assert active.rules.count() == 0
