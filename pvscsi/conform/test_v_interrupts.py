"""PVSCSI device rules 090 to 096: interrupts, and calls left out below the threshold."""

from random import Random

import pytest

from pvdev.pci_driver import line_up, mask_vector, pending
from pvscsi.conform.race import race
from pvscsi.conform.rig import Rig, pattern
from pvscsi.conform.target import Bench
from pvscsi.driver import Disk, Driver, cdb
from pvscsi.driver.rings import THRESHOLD, Rings
from pvscsi.wire import Intr


def rings_of(driver: Driver) -> Rings:
    assert driver.rings is not None
    return driver.rings


def one(rig: Rig, disk: Disk) -> None:
    """A request comes and is done; nobody looks at it."""
    disk.submit(cdb.read(0, 1), read=512)
    rig.settle()


@pytest.mark.parametrize("mask", [0, 4, 15])
@pytest.mark.parametrize("intr", ["intx", "msi", "msix"])
def test_PVS_V_090_status_whatever_the_mask(rig: Rig, mask: int, intr: str) -> None:
    disk = rig.disk(intr=intr)
    disk.driver.set_mask(mask)
    disk.driver.acknowledge()

    one(rig, disk)

    assert disk.driver.pending() == Intr.CMPL_0


@pytest.mark.parametrize("intr", ["msi", "msix"])
def test_PVS_V_091_a_message_for_every_batch(rig: Rig, intr: str) -> None:
    disk = rig.disk(intr=intr)
    rig.port.interrupts()
    found = []

    for n in range(20):  # CMPL_0 is never acknowledged
        if n % 2:
            disk.driver.reap()
        one(rig, disk)
        found.append(rig.port.interrupts())

    assert found == [1] * 20
    assert disk.driver.pending() & Intr.CMPL_0


@pytest.mark.parametrize("profile", ["linux", "freebsd", "netbsd", "openbsd", "illumos"])
@pytest.mark.parametrize("intr", ["intx", "msi", "msix"])
def test_PVS_V_091_drivers_that_only_look_when_told(rig: Rig, profile: str, intr: str) -> None:
    disk = rig.disk(profile=profile, intr=intr)
    random = Random(91)
    disk.write(0, pattern(512, 91))

    for _ in range(100):
        for n in range(random.randrange(1, 6)):
            disk.submit(cdb.read(n, 1), read=512)
        disk.driver.wait()

    assert disk.read(0, 1) == pattern(512, 91)


@pytest.mark.parametrize("intr", ["intx", "msi", "msix"])
def test_PVS_V_092_unmasking_what_is_pending(rig: Rig, intr: str) -> None:
    disk = rig.disk(intr=intr)
    disk.driver.acknowledge()
    disk.driver.set_mask(0)
    rig.port.interrupts()

    one(rig, disk)
    masked = rig.port.interrupts()
    disk.driver.set_mask(1)

    assert masked == 0
    assert rig.fired() == 1


def test_PVS_V_092_a_masked_vector_keeps_its_message(rig: Rig) -> None:
    disk = rig.disk(intr="msix")
    if disk.driver.intr != "msix":
        pytest.skip("this device has no MSI-X")
    facts = disk.driver.facts()
    rig.port.interrupts()
    mask_vector(rig.port, facts, 0, True)

    one(rig, disk)
    masked, kept = rig.port.interrupts(), pending(rig.port, facts)
    mask_vector(rig.port, facts, 0, False)

    assert (masked, kept) == (0, 1)
    assert rig.fired() == 1
    assert pending(rig.port, facts) == 0


def test_PVS_V_093_acknowledge_and_the_line(rig: Rig) -> None:
    disk = rig.disk(intr="intx")
    disk.driver.acknowledge()
    rig.port.interrupts()
    levels, edges = [], []

    for _ in range(5):
        one(rig, disk)
        levels.append(line_up(rig.port))
        edges.append(rig.port.interrupts())
        disk.driver.acknowledge()
        rig.fired()  # a transport may say it again as long as the line is up
        levels.append(line_up(rig.port))
        edges.append(rig.fired())

    assert levels == [True, False] * 5
    assert edges == [1, 0] * 5


@pytest.mark.parametrize("intr", ["intx", "msi", "msix"])
def test_PVS_V_094_masked_is_silent(rig: Rig, intr: str) -> None:
    disk = rig.disk(intr=intr)
    disk.driver.set_mask(0)
    disk.driver.acknowledge()
    rig.port.interrupts()

    for _ in range(10):
        one(rig, disk)

    assert rig.fired() == 0
    assert disk.driver.pending() == Intr.CMPL_0
    assert not line_up(rig.port)


@pytest.mark.parametrize("profile", ["ovmf", "seabios"])
def test_PVS_V_094_firmware_that_polls(rig: Rig, profile: str) -> None:
    driver = rig.driver(profile=profile)
    disk = Disk(driver)
    disk.run(cdb.TEST_UNIT_READY)

    for n in range(100):
        disk.write(n, bytes([n]) * 512, size=10)
    found = [disk.read(n, 1, size=10) for n in range(100)]

    assert found == [bytes([n]) * 512 for n in range(100)]
    assert rig.fired() == 0


def test_PVS_V_095_no_request_is_lost(rig: Rig, bench: Bench) -> None:
    disk = rig.disk(profile="linux")
    if not disk.driver.has_calls:
        pytest.skip("this device has no request call threshold")

    race(disk.driver, bench.race)

    assert rings_of(disk.driver).waiting == 0


def test_PVS_V_096_idle_means_call_me(rig: Rig) -> None:
    disk = rig.disk(profile="linux")
    state = rings_of(disk.driver).state

    for _ in range(10):
        one(rig, disk)
        assert rig.port.until(lambda: state[THRESHOLD] <= 1)
        disk.driver.wait()
