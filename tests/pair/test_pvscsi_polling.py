"""The call threshold where it counts: a served adapter that looks at its rings by itself while it is busy."""

from collections.abc import Iterator

import pytest

from pvdev.transport.vfio_user import Polling
from pvscsi.conform.inside import served
from pvscsi.conform.race import race
from pvscsi.driver import Disk, Driver
from pvscsi.driver.rings import REQ_CONS, THRESHOLD

RACE = 50_000

pytestmark = pytest.mark.slow


@pytest.fixture
def driver() -> Iterator[Driver]:
    with served(None, polling=Polling()) as (_, port):
        driver = Driver(port).bring_up(profile="linux")
        Disk(driver).settle()
        yield driver
        driver.close()


def test_PVS_V_095_no_request_is_lost_while_the_device_polls(driver: Driver) -> None:
    kicks = race(driver, RACE)

    assert kicks < RACE // 10  # the threshold saves most of them


def test_PVS_V_096_idle_after_polling(driver: Driver) -> None:
    disk = Disk(driver)
    assert driver.rings is not None
    state, seen = driver.rings.state, 0

    for n in range(20):
        for _ in range(50):
            disk.read(n, 1)
            seen = max(seen, state[THRESHOLD])
        assert driver.port.until(lambda: state[THRESHOLD] <= 1)
        assert state[REQ_CONS] == driver.rings.req_prod

    assert seen > 1
