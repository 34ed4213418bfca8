"""What tests of driver rules and of hostile drivers share: what was recorded, and that the adapter still works."""

from pvscsi.conform.rig import Rig, pattern
from pvscsi.driver import Disk, Driver
from pvscsi.driver.rings import Rings

NOWHERE = 0x4000_0000_0000  # nothing is ever mapped from here on


def seen(rig: Rig, number: str) -> list[tuple[str, int, int]]:
    """(place, last value, count) of every time rule `number` was broken."""
    return [(found.place, found.last, found.count) for found in rig.device.rules if found.rule.number == number]


def rings_of(driver: Driver) -> Rings:
    assert driver.rings is not None
    return driver.rings


def assert_alive(rig: Rig) -> None:
    """After ADAPTER_RESET a driver comes up, and writes and reads what it wrote."""
    driver = rig.blank()
    driver.facts()
    driver.adapter_reset()
    disk = Disk(driver.bring_up(), 0)
    disk.settle()
    disk.write(100, pattern(4096, 9))
    assert disk.read(100, 8) == pattern(4096, 9)
    driver.close()
