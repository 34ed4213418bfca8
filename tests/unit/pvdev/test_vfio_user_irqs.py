"""SET_IRQS and where a device's interrupts go, with descriptors that are only numbers. One test per rule."""

import errno
from collections.abc import Iterator

import pytest

from pvdev.transport.vfio_user_wire import Command
from tests.pair.vfio_user_rig import FIRE, ICR, LINE, MSI_AT, MSIX_AT, ScratchDevice, Talk, irqs

EINVAL = errno.EINVAL
INTX, MSI, MSIX, ERR, REQ = range(5)
ASSIGN, DISABLE, TRIGGER_BOOL = 0x24, 0x21, 0x22
MASK, UNMASK, MASK_BOOL, UNMASK_BOOL, MASK_FD, UNMASK_FD = 0x09, 0x11, 0x0A, 0x12, 0x0C, 0x14


@pytest.fixture
def talk() -> Iterator[Talk]:
    device = ScratchDevice()
    made = Talk(device)
    made.hello()
    yield made
    device.close()


@pytest.fixture
def msix(talk: Talk) -> Talk:
    """MSI-X is on, vectors 0 to 3 have descriptors 60 to 63."""
    talk.write(7, MSIX_AT + 2, 0x8000, 2)
    talk.set_irqs(MSIX, ASSIGN, 0, 4, fds=[60, 61, 62, 63])
    return talk


@pytest.fixture
def intx(talk: Talk) -> Talk:
    """INTx has descriptor 60."""
    talk.set_irqs(INTX, ASSIGN, 0, 1, fds=[60])
    return talk


def fires(talk: Talk, *vectors: int) -> list[int]:
    """What is signalled when the device fires these."""
    talk.host.signalled.clear()
    for vector in vectors:
        talk.write(0, FIRE, vector)
    return talk.host.signalled


def test_VFU_S_050_cut_short(talk: Talk) -> None:
    assert talk.refused(Command.DEVICE_SET_IRQS, irqs(0, ASSIGN, 0, 1)[:19]) == EINVAL
    assert talk.refused(Command.DEVICE_SET_IRQS, b"\x13" + irqs(0, ASSIGN, 0, 1)[1:]) == EINVAL
    assert talk.log.numbers() == {"VFU-S-050"}


@pytest.mark.parametrize("flags", [0, 0x20, 0x01, 0x23, 0x25, 0x26, 0x31, 0x29, 0x39])
def test_VFU_S_051_one_kind_of_data_one_action(talk: Talk, flags: int) -> None:
    assert talk.refused(Command.DEVICE_SET_IRQS, irqs(MSIX, flags, 0, 1)) == EINVAL
    assert talk.log.numbers() == {"VFU-S-051"}


@pytest.mark.parametrize(
    ("index", "start", "count"), [(MSIX, 20, 1), (MSIX, 19, 2), (MSIX, 0, 21), (INTX, 1, 1), (MSIX, 0xFFFF_FFFF, 2)]
)
def test_VFU_S_052_vectors_that_are_none(talk: Talk, index: int, start: int, count: int) -> None:
    assert talk.refused(Command.DEVICE_SET_IRQS, irqs(index, DISABLE, start, count)) == EINVAL
    assert talk.log.numbers() == {"VFU-S-052"}


@pytest.mark.parametrize(("flags", "start"), [(ASSIGN, 0), (TRIGGER_BOOL, 0), (MASK, 0), (UNMASK, 0), (DISABLE, 1)])
def test_VFU_S_053_count_0_only_disables(talk: Talk, flags: int, start: int) -> None:
    assert talk.refused(Command.DEVICE_SET_IRQS, irqs(MSIX, flags, start, 0)) == EINVAL
    assert talk.log.numbers() == {"VFU-S-053"}


@pytest.mark.parametrize(("flags", "data"), [(DISABLE, b""), (TRIGGER_BOOL, b"\1")])
def test_VFU_S_054_descriptors_without_eventfd_data(talk: Talk, flags: int, data: bytes) -> None:
    assert talk.refused(Command.DEVICE_SET_IRQS, irqs(MSIX, flags, 0, 1, data), [60]) == EINVAL
    assert talk.host.closed == [60]
    assert talk.log.numbers() == {"VFU-S-054"}


@pytest.mark.parametrize("fds", [[60], [60, 61, 62]])
def test_VFU_S_055_number_of_descriptors(talk: Talk, fds: list[int]) -> None:
    assert talk.refused(Command.DEVICE_SET_IRQS, irqs(MSIX, ASSIGN, 0, 2), fds) == EINVAL
    assert talk.host.closed == fds
    assert talk.log.numbers() == {"VFU-S-055"}


@pytest.mark.parametrize("data", [b"", b"\1", b"\1\1\1"])
def test_VFU_S_056_number_of_booleans(talk: Talk, data: bytes) -> None:
    assert talk.refused(Command.DEVICE_SET_IRQS, irqs(MSIX, TRIGGER_BOOL, 0, 2, data)) == EINVAL
    assert talk.log.numbers() == {"VFU-S-056"}


@pytest.mark.parametrize("index", [ERR, REQ])
@pytest.mark.parametrize(("flags", "count"), [(MASK, 1), (UNMASK, 1), (DISABLE, 2)])
def test_VFU_S_057_error_and_request(talk: Talk, index: int, flags: int, count: int) -> None:
    assert talk.refused(Command.DEVICE_SET_IRQS, irqs(index, flags, 0, count)) == EINVAL
    assert talk.log.numbers() == {"VFU-S-057"}


def test_error_and_request_can_be_assigned_and_triggered(talk: Talk) -> None:
    for index, fd in ((ERR, 60), (REQ, 61)):
        talk.set_irqs(index, ASSIGN, 0, 1, fds=[fd])
        talk.set_irqs(index, DISABLE, 0, 1)

    assert talk.host.signalled == [60, 61]


def test_VFU_S_058_not_an_eventfd(talk: Talk) -> None:
    talk.host.others.add(60)
    talk.set_irqs(INTX, ASSIGN, 0, 1, fds=[60])

    assert talk.log.numbers() == {"VFU-S-058"}
    assert talk.host.closed == []


def test_VFU_S_058_strict_refuses() -> None:
    device = ScratchDevice()
    talk = Talk(device, strict=True)
    talk.hello()
    talk.host.others.add(60)

    assert talk.refused(Command.DEVICE_SET_IRQS, irqs(INTX, ASSIGN, 0, 1), [60]) == EINVAL
    assert talk.session.closing
    device.close()


def test_VFU_S_059_a_new_descriptor_replaces_the_old(msix: Talk) -> None:
    msix.set_irqs(MSIX, ASSIGN, 1, 2, fds=[71, 72])

    assert msix.host.closed == [61, 62]
    assert fires(msix, 0, 1, 2, 3) == [60, 71, 72, 63]


def test_VFU_S_060_switching_an_index_off(msix: Talk) -> None:
    msix.set_irqs(MSIX, ASSIGN, 10, 1, fds=[70])
    msix.set_irqs(MSIX, DISABLE, 0, 0)

    assert msix.host.closed == [60, 61, 62, 63, 70]
    assert fires(msix, 0, 10) == []


def test_an_absent_index_can_be_switched_off() -> None:
    device = ScratchDevice(pin=0)
    talk = Talk(device)
    talk.hello()
    talk.set_irqs(INTX, DISABLE, 0, 0)

    assert talk.refused(Command.DEVICE_SET_IRQS, irqs(INTX, ASSIGN, 0, 1), [60]) == EINVAL
    device.close()


def test_deassigning_a_range(msix: Talk) -> None:
    msix.set_irqs(MSIX, ASSIGN, 2, 2)

    assert msix.host.closed == [62, 63]
    assert fires(msix, 0, 1, 2, 3) == [60, 61]


def test_VFU_S_061_loopback(msix: Talk) -> None:
    msix.set_irqs(MSIX, DISABLE, 1, 2)
    msix.set_irqs(MSIX, TRIGGER_BOOL, 0, 4, b"\1\0\2\1")

    assert msix.host.signalled == [61, 62, 60, 63]
    assert msix.log.numbers() == {"VFU-S-061"}


def test_loopback_without_a_descriptor_does_nothing(msix: Talk) -> None:
    msix.set_irqs(MSIX, DISABLE, 5, 3)

    assert msix.host.signalled == []


def test_VFU_S_062_an_unmask_eventfd_samples_the_line(intx: Talk) -> None:
    intx.set_irqs(INTX, UNMASK_FD, 0, 1, fds=[61])
    intx.set_irqs(INTX, MASK, 0, 1)
    intx.write(0, LINE, 1)
    assert intx.host.signalled == []

    intx.host.watched[61]()

    assert intx.host.signalled == [60]


def test_a_mask_eventfd_masks(intx: Talk) -> None:
    intx.set_irqs(INTX, MASK_FD, 0, 1, fds=[61])
    intx.host.watched[61]()
    intx.write(0, LINE, 1)
    assert intx.host.signalled == []

    intx.set_irqs(INTX, UNMASK, 0, 1)
    assert intx.host.signalled == [60]


def test_control_eventfds_are_replaced_and_removed(intx: Talk) -> None:
    intx.set_irqs(INTX, UNMASK_FD, 0, 1, fds=[61])
    intx.set_irqs(INTX, UNMASK_FD, 0, 1, fds=[62])
    assert intx.host.closed == [61]

    intx.set_irqs(INTX, UNMASK_FD, 0, 1)
    assert intx.host.closed == [61, 62]
    assert intx.host.watched == {}


def test_VFU_S_063_a_full_descriptor_is_not_waited_for(intx: Talk) -> None:
    intx.host.full.add(60)
    intx.write(0, LINE, 1)

    assert intx.log.numbers() == {"VFU-S-063"}


# -- INTx: a level ---------------------------------------------------------------------------------------------------


def test_intx_is_signalled_when_the_line_rises(intx: Talk) -> None:
    intx.write(0, LINE, 1)
    intx.write(0, LINE, 1)

    assert intx.host.signalled == [60]


def test_intx_is_said_again_while_the_line_is_up(intx: Talk) -> None:
    intx.write(0, LINE, 1)
    intx.set_irqs(INTX, UNMASK, 0, 1)
    assert intx.host.signalled == [60, 60]

    intx.read(0, ICR)  # the line falls
    intx.set_irqs(INTX, UNMASK, 0, 1)
    assert intx.host.signalled == [60, 60]


def test_a_descriptor_that_comes_late_finds_the_line_up(talk: Talk) -> None:
    talk.write(0, LINE, 1)
    talk.set_irqs(INTX, ASSIGN, 0, 1, fds=[60])

    assert talk.host.signalled == [60]


def test_intx_masked_by_boolean(intx: Talk) -> None:
    intx.set_irqs(INTX, MASK_BOOL, 0, 1, b"\1")
    intx.write(0, LINE, 1)
    assert intx.host.signalled == []

    intx.set_irqs(INTX, UNMASK_BOOL, 0, 1, b"\0")
    assert intx.host.signalled == []
    intx.set_irqs(INTX, UNMASK_BOOL, 0, 1, b"\1")
    assert intx.host.signalled == [60]


# -- messages --------------------------------------------------------------------------------------------------------


def test_msix_reaches_its_vector(msix: Talk) -> None:
    assert fires(msix, 3, 0) == [63, 60]
    assert fires(msix, 7) == []


def test_msix_without_a_descriptor_stays_pending(msix: Talk) -> None:
    fires(msix, 7)
    assert msix.read(2, 0x1000) == 1 << 7

    msix.set_irqs(MSIX, ASSIGN, 7, 1, fds=[67])

    assert msix.host.signalled == [67]
    assert msix.read(2, 0x1000) == 0


def test_msix_masked_by_the_client_stays_pending(msix: Talk) -> None:
    msix.set_irqs(MSIX, MASK, 1, 1)
    assert fires(msix, 1) == []

    msix.set_irqs(MSIX, UNMASK, 1, 1)
    assert msix.host.signalled == [61]


def test_msi_before_its_descriptor_is_kept(talk: Talk) -> None:
    """QEMU writes the enable bit first and sends the descriptor after."""
    talk.write(7, MSI_AT + 2, 1, 2)
    talk.write(0, FIRE, 0)
    assert talk.host.signalled == []

    talk.set_irqs(MSI, ASSIGN, 0, 1, fds=[60])

    assert talk.host.signalled == [60]


def test_the_order_of_qemu_when_msix_is_switched_on(intx: Talk) -> None:
    intx.write(7, MSIX_AT + 2, 0x8000, 2)
    intx.set_irqs(INTX, DISABLE, 0, 0)
    intx.set_irqs(MSIX, ASSIGN, 0, 1)
    intx.set_irqs(MSIX, ASSIGN, 0, 8, fds=list(range(70, 78)))
    intx.set_irqs(MSIX, ASSIGN, 8, 12)  # a run of unused vectors

    assert intx.host.closed == [60]
    assert fires(intx, 5, 12) == [75]


def test_everything_is_adopted_before_it_is_signalled(msix: Talk) -> None:
    assert msix.host.adopted == [60, 61, 62, 63]
