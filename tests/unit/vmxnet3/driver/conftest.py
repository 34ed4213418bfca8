"""A puppet of version 1, and a driver up on it."""

from collections.abc import Iterator

import pytest

from tests.unit.vmxnet3.puppet import SMALL, Puppet
from vmxnet3.driver import Driver


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    puppet = Puppet()
    yield puppet
    puppet.close()


@pytest.fixture
def newest() -> Iterator[Puppet]:
    """A puppet of version 9."""
    puppet = Puppet(version=9)
    yield puppet
    puppet.close()


@pytest.fixture
def driver(puppet: Puppet) -> Driver:
    return Driver(puppet).bring_up(**SMALL)
