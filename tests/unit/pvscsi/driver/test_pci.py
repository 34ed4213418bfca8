"""Config space: which adapters are taken, and which BAR."""

import pytest

from pvdev.errors import ConfigError
from pvscsi.driver.pci import probe_pci, registers, window
from tests.unit.pvscsi.driver.puppet import Puppet


@pytest.mark.parametrize(("wide", "at", "by", "bars"), [(False, 0, None, 1), (True, 1, 0, 2)])
def test_both_layouts(wide: bool, at: int, by: int | None, bars: int) -> None:
    puppet = Puppet(wide=wide)

    facts = probe_pci(puppet)

    assert (registers(facts), window(facts), len(facts.bars)) == (at, by, bars)
    assert facts.bars[at] == 0x8000
    assert facts.msix_table == (at, 0x6000)
    assert facts.msix_pba == (at, 0x7000)
    assert puppet.config[4] & 7 == (7 if wide else 6)  # memory, bus mastering, and ports where there are some
    puppet.close()


def test_no_pvscsi(puppet: Puppet) -> None:
    puppet.config[2] = 0xB0

    with pytest.raises(ConfigError, match="15ad:07b0"):
        probe_pci(puppet)


def test_no_bar_that_fits(puppet: Puppet) -> None:
    puppet.masks[0x10] = -0x1000

    with pytest.raises(ConfigError, match="no memory BAR"):
        probe_pci(puppet)
