"""The PCI side: where BARs go, which vectors pend."""

from itertools import pairwise

import pytest

from pvdev.errors import ConfigError
from tests.unit.vmxnet3.puppet import MSIX, SMALL, Puppet
from vmxnet3.driver import Driver
from vmxnet3.driver.pci import pending, probe_pci, set_interrupts


class LargeBar(Puppet):
    """BAR0 has 16 MiB."""

    def write(self, region: int, offset: int, value: int, size: int = 4) -> None:
        if (region, offset) == (7, 0x10):
            self.config[0x10:0x14] = (value & -0x100_0000 & 0xFFFF_FFFF).to_bytes(4, "little")
        else:
            super().write(region, offset, value, size)


def test_bars_are_aligned_and_apart() -> None:
    for puppet, first in ((Puppet(), 0x1000), (LargeBar(), 0x100_0000)):
        facts = probe_pci(puppet)

        places = [(puppet.read(7, 0x10 + 4 * bar), size) for bar, size in sorted(facts.bars.items())]
        assert [size for _, size in places] == [first, 0x1000, 0x2000]
        assert [at % size for at, size in places] == [0, 0, 0]
        assert all(lo + size <= hi for (lo, size), (hi, _) in pairwise(places))
        assert places[-1][0] + 0x2000 <= 0xFEE0_0000  # messages go there
        puppet.close()


def test_all_vectors_pend() -> None:
    puppet = Puppet()
    puppet.config[MSIX + 2] = 64  # 65 vectors
    facts = probe_pci(puppet)
    puppet.bars.update({(2, 0x1000): 1, (2, 0x1004): 2, (2, 0x1008): 1})

    assert pending(puppet, facts) == 1 | 1 << 33 | 1 << 64
    puppet.close()


def test_another_device_is_refused(puppet: Puppet) -> None:
    puppet.config[2] = 0xB1

    with pytest.raises(ConfigError, match="15ad:07b1"):
        Driver(puppet).bring_up()


def test_a_vector_is_masked_while_its_message_changes(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(**SMALL)
    assert driver.pci is not None
    masks: list[int] = []
    table = puppet.bars

    class Watched(dict[tuple[int, int], int]):
        def __setitem__(self, key: tuple[int, int], value: int) -> None:
            if key[0] == 2 and key[1] % 16 < 12:
                masks.append(self[2, key[1] // 16 * 16 + 12])
            super().__setitem__(key, value)

    puppet.bars = Watched(table)
    set_interrupts(puppet, driver.pci, "msix", 3)

    assert masks == [1] * 3 * 25
    assert [puppet.bars[2, 16 * n + 12] for n in range(4)] == [0, 0, 0, 1]
