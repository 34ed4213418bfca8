"""The PCI side: which functions are taken."""

import pytest

from pvdev.errors import ConfigError
from tests.unit.vmxnet3.puppet import Puppet
from vmxnet3.driver import Driver
from vmxnet3.driver.pci import probe_pci


def test_another_device_is_refused(puppet: Puppet) -> None:
    puppet.config[2] = 0xB1

    with pytest.raises(ConfigError, match="15ad:07b1"):
        Driver(puppet).bring_up()


@pytest.mark.parametrize(("bar", "at"), [(0, 0x10), (1, 0x14)])
def test_registers_that_are_not_there(puppet: Puppet, bar: int, at: int) -> None:
    """The BAR stays 0, whatever is written."""
    write = puppet.write

    def without(region: int, offset: int, value: int, size: int = 4) -> None:
        write(region, offset, 0 if (region, offset) == (7, at) else value, size)

    puppet.write = without  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=f"BAR{bar} is not a page of memory: 0 bytes"):
        probe_pci(puppet)
