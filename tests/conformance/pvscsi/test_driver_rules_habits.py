"""A PVSCSI driver that is right is never accused, however closely it is looked at; known drivers of what is known."""

from collections.abc import Callable
from random import Random

import pytest

from pvscsi.conform.inside import ModelBench, ServedBench
from pvscsi.conform.rig import CD, Drive, MakeRig, Rig, pattern
from pvscsi.driver import Disk, Driver, Request, RingFull, cdb, even, spread
from pvscsi.profiles import PROFILES

BENCHES = (ModelBench(), ModelBench("local-budget-1", budget=1), ServedBench())
DRIVERS = ("plain", "linux", "freebsd", "netbsd", "openbsd", "illumos", "ovmf", "seabios")
SCAN = (cdb.inquiry(), cdb.TEST_UNIT_READY, cdb.report_luns(512), cdb.read_capacity(), cdb.mode_sense(0x3F, 4))


def work(driver: Driver, *, depth: int) -> None:
    """Look for targets as a driver does that starts, then read and write, `depth` at a time; flush in the end."""
    for target in range(driver.targets):
        for command in SCAN:
            room = {0x12: 36, 0xA0: 512, 0x25: 8, 0x1A: 4}.get(command[0], 0)
            if driver.run(command, target=target, read=room).host:
                break  # nobody there
    disk, random = Disk(driver, 0), Random(depth)
    disk.settle()
    out = 0
    for n in range(200):
        lba, blocks = random.randrange(1000), random.randrange(1, 9)
        shape = spread(even(512 * blocks, random.choice([2, 5, 9])))
        try:
            if n % 2:
                disk.submit(cdb.write(lba, blocks), write=pattern(512 * blocks, n), shape=shape)
            else:
                disk.submit(cdb.read(lba, blocks), read=512 * blocks, shape=shape)
        except RingFull:
            driver.wait()
        out += 1
        if out >= depth:
            driver.wait()
            out = 0
    driver.wait()
    disk.flush()


@pytest.mark.parametrize("name", DRIVERS)
def test_a_known_driver_breaks_what_it_is_known_for(make_rig: MakeRig, name: str) -> None:
    rig = make_rig({0: Drive(), 3: CD}, watch=True)
    driver = rig.driver(profile=name)

    work(driver, depth=1 if driver.profile.listens == "status" else 60)
    driver.close()
    rig.settle()

    known = PROFILES["letter" if name == "plain" else name].known
    assert rig.broken() <= set(known)


@pytest.mark.parametrize("name", ["plain", "linux"])
def test_recovery_breaks_nothing(make_rig: MakeRig, name: str) -> None:
    """Abort, device, bus and host reset, as Linux' error handler climbs them, with requests out all the time."""
    rig = make_rig({0: Drive(held=True)}, watch=True)
    disk = rig.disk(profile=name)
    driver = disk.driver

    climb: tuple[Callable[[Request], object], ...] = (
        driver.abort,
        lambda request: driver.reset_device(request.target),
        lambda request: driver.reset_bus(),
        lambda request: driver.reset_host(),
    )
    for step in climb:
        step(rig.held(disk, 5)[2])
        rig.reaped(driver)
        rig.go_on()
        driver.wait()
        disk.settle()

    assert rig.broken() == set()
    assert disk.read(0, 1) == bytes(512)


def test_a_race_that_the_request_wins_breaks_nothing(rig: Rig) -> None:
    disk = rig.disk()
    request = disk.submit(cdb.read(0, 1), read=512)
    rig.settle()

    disk.driver.abort(request)
    disk.driver.wait()

    assert request.good
    assert rig.broken() == set()
