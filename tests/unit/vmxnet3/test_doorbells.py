"""BAR0: two places for each doorbell, masks in between, and what is remembered of both."""

import pytest

from tests.rig import RawNic, frame
from vmxnet3 import wire
from vmxnet3.wire import Cap

PT = wire.BAR_PT
PLACES = [("TXPROD", wire.REG_TXPROD), ("RXPROD", wire.REG_RXPROD), ("RXPROD2", wire.REG_RXPROD2)]
LARGE = [("TXPROD", wire.LB_REG_TXPROD), ("RXPROD", wire.LB_REG_RXPROD), ("RXPROD2", wire.LB_REG_RXPROD2)]


def active(version: int = 9, caps: int = 0, queues: int = 3) -> RawNic:
    nic = RawNic(version=version)
    nic.prepare(tx=queues, rx=queues, size=32)
    if version >= 7:
        nic.negotiate(caps)
    assert nic.activate() == 0
    return nic


@pytest.mark.parametrize(("caps", "places"), [(0, PLACES), (int(Cap.LARGE_BAR), LARGE)], ids=["small", "large"])
@pytest.mark.parametrize("queue", [0, 2])
def test_a_bell_reads_as_it_was_written(caps: int, places: list[tuple[str, int]], queue: int) -> None:
    nic = active(caps=caps)

    for n, (_, base) in enumerate(places):
        nic.pt(base + 8 * queue, n)

    assert [nic.port.read(PT, base + 8 * queue) for _, base in places] == [0, 1, 2]


@pytest.mark.parametrize("queue", range(3))
@pytest.mark.parametrize("caps", [0, int(Cap.LARGE_BAR)], ids=["small", "large"])
def test_a_transmit_bell_is_its_queues(caps: int, queue: int) -> None:
    nic = active(caps=caps)
    nic.device.pci.write(PT, nic.bell + 8 * queue, 4, 0)
    kicked = nic.device.kicked
    nic.send(frame(seed=queue), queue=queue)

    assert kicked
    assert nic.net.sent == [frame(seed=queue)]
    assert nic.done(queue) == [0]
    assert nic.rules.count() == 0


@pytest.mark.parametrize(("name", "base"), PLACES)
def test_a_bell_of_no_queue_wakes_nobody(name: str, base: int) -> None:
    nic = active()
    nic.device.kicked = False

    nic.device.pci.write(PT, base + 8 * 3, 4, 1)

    assert not nic.device.kicked
    assert nic.seen("VMX-D-031") == [(f"{name} 3", 1, 1)]


@pytest.mark.parametrize(("name", "base"), LARGE)
def test_the_large_page_is_deaf_until_it_is_negotiated(name: str, base: int) -> None:
    nic = active()
    nic.device.kicked = False

    nic.device.pci.write(PT, base, 4, 1)

    assert not nic.device.kicked
    assert nic.port.read(PT, base) == 0
    assert nic.seen("VMX-D-034") == [(f"{name} 0 of LARGE_BAR", 1, 1)]


def test_a_device_of_an_old_version_has_no_large_page() -> None:
    nic = active(6)

    assert all(base not in nic.device._bells.block._writes for _, base in LARGE)


@pytest.mark.parametrize("vector", [0, 24, 64])
def test_masks_stand_between_the_bells(vector: int) -> None:
    nic = RawNic(version=9)

    nic.pt(wire.REG_IMR + 8 * vector, 0)

    assert nic.port.read(PT, wire.REG_IMR + 8 * vector) == 0
    assert nic.rules.count() == 0


def test_a_pci_reset_forgets_every_bell() -> None:
    nic = active()
    nic.pt(wire.REG_TXPROD, 5)

    nic.port.reset()

    assert nic.port.read(PT, wire.REG_TXPROD) == 0
    assert (nic.device._bells.kicked, nic.device._bells.unread, nic.device._bells.stopped_ns) == (False, False, None)
