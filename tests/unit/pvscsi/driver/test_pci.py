"""Config space: which BAR, which capabilities, which interrupt."""

import pytest

from pvdev.errors import ConfigError
from pvscsi.driver.pci import best_interrupts, disable_intx, line_up, mask_vector, probe_pci, set_interrupts, set_master
from tests.unit.pvscsi.driver.puppet import MSI, MSIX, Puppet


@pytest.mark.parametrize(("wide", "registers", "window", "bars"), [(False, 0, None, 1), (True, 1, 0, 2)])
def test_both_layouts(wide: bool, registers: int, window: int | None, bars: int) -> None:
    puppet = Puppet(wide=wide)

    facts = probe_pci(puppet)

    assert (facts.registers, facts.window, len(facts.bars)) == (registers, window, bars)
    assert facts.bars[registers] == 0x8000
    assert facts.msix_table == (registers, 0x6000)
    assert facts.msix_pba == (registers, 0x7000)
    assert puppet.config[4] & 7 == 7
    puppet.close()


def test_no_pvscsi(puppet: Puppet) -> None:
    puppet.config[2] = 0xB0

    with pytest.raises(ConfigError, match="15ad:07b0"):
        probe_pci(puppet)


def test_no_bar_that_fits(puppet: Puppet) -> None:
    puppet.masks[0x10] = -0x1000

    with pytest.raises(ConfigError, match="no memory BAR"):
        probe_pci(puppet)


def test_a_capability_list_without_end(puppet: Puppet) -> None:
    puppet.config[MSIX + 1] = MSI

    with pytest.raises(ConfigError, match="no end"):
        probe_pci(puppet)


@pytest.mark.parametrize(("wanted", "got"), [("msix", "msix"), ("msi", "msi"), ("intx", "intx")])
def test_interrupts(puppet: Puppet, wanted: str, got: str) -> None:
    facts = probe_pci(puppet)

    set_interrupts(puppet, facts, best_interrupts(facts, wanted))

    assert bool(puppet.config[MSIX + 3] & 0x80) == (got == "msix")
    assert bool(puppet.config[MSI + 2] & 1) == (got == "msi")
    assert bool(puppet.config[5] & 4) == (got != "intx")


def test_the_next_best(puppet: Puppet) -> None:
    puppet.config[0x95] = 0  # PM is the last capability: no MSI-X

    assert best_interrupts(probe_pci(puppet), "msix") == "msi"
    with pytest.raises(ConfigError, match="no msix"):
        set_interrupts(puppet, probe_pci(puppet), "msix")


def test_single_bits(puppet: Puppet) -> None:
    facts = probe_pci(puppet)

    set_master(puppet, False)
    disable_intx(puppet, True)
    puppet.config[6] |= 8
    mask_vector(puppet, facts, 3, True)

    assert (puppet.config[4] & 4, puppet.config[5] & 4) == (0, 4)
    assert line_up(puppet)
    assert puppet.values[0x6000 + 16 * 3 + 12] == 1
