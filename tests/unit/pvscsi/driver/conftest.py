"""A puppet, and a driver up on it."""

from collections.abc import Iterator

import pytest

from pvscsi.driver import Driver
from tests.unit.pvscsi.driver.puppet import Puppet


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    puppet = Puppet()
    yield puppet
    puppet.close()


@pytest.fixture
def driver(puppet: Puppet) -> Driver:
    return Driver(puppet).bring_up(req_pages=1, cmp_pages=1)


@pytest.fixture
def lenient(puppet: Puppet) -> Driver:
    """A driver that writes down what the device breaks."""
    return Driver(puppet, strict=False).bring_up(req_pages=1, cmp_pages=1)
