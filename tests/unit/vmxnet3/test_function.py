"""The NIC on its bus: which registers and BARs each version has, and where capabilities stand."""

import pytest

from pvdev.irq import Interrupts
from pvdev.mem import SharedBlock
from pvdev.pci import CAP_MSI, CAP_MSIX, CAP_PCIE, CAP_PM, CONFIG_REGION
from pvdev.regs import RegBlock
from vmxnet3.function import pci_function, pt_regs, vd_regs
from vmxnet3.versions import limits
from vmxnet3.wire import LARGE_PT_SIZE, PAGE

MAC = bytes.fromhex("02000a0b0c0d")


def block(name: str, version: int) -> RegBlock:
    return RegBlock(name, pt_regs(version) if name == "BAR0" else vd_regs(version), (), lambda *note: None, "")


@pytest.mark.parametrize("version", range(1, 10))
def test_registers_do_not_overlap_and_lie_on_their_stride(version: int) -> None:
    for table, end in ((pt_regs(version), 0x2000 if version >= 7 else PAGE), (vd_regs(version), PAGE)):
        places = [reg.offset + n * reg.stride for reg in table for n in range(reg.count)]
        assert len(places) == len(set(places))
        assert all(place % 8 == 0 and place + 4 <= end for place in places)


@pytest.mark.parametrize(
    ("version", "imr", "tx", "rx", "large"),
    [(1, 25, 8, 16, False), (5, 25, 8, 16, False), (6, 65, 32, 32, False), (7, 65, 32, 32, True)],
)
def test_BAR0_by_version(version: int, imr: int, tx: int, rx: int, large: bool) -> None:
    counts = {reg.name: reg.count for reg in pt_regs(version)}

    assert counts == {
        "IMR": imr,
        "TXPROD": tx,
        "RXPROD": rx,
        "RXPROD2": rx,
        **({"LB_TXPROD": tx, "LB_RXPROD": rx, "LB_RXPROD2": rx} if large else {}),
    }
    assert {reg.reset for reg in pt_regs(version) if reg.name == "IMR"} == {1}


@pytest.mark.parametrize("version", [1, 6, 7, 9])
def test_capability_registers_come_with_version_7(version: int) -> None:
    names = {reg.name: reg.count for reg in vd_regs(version)}

    assert ("DCR" in names) is ("PTCR" in names) is (version >= 7)
    if version >= 7:
        assert (names["DCR"], names["PTCR"]) == (8, 6)


@pytest.mark.parametrize("version", range(1, 10))
def test_the_function_of_each_version(version: int) -> None:
    irq = Interrupts(limits(version).intrs)
    pci = pci_function(MAC, version, block("BAR0", version), block("BAR1", version), irq)

    sizes = [pci.region_size(region) for region in range(6)]
    assert sizes == [LARGE_PT_SIZE if version >= 7 else PAGE, PAGE, 2 * PAGE, 0, 0, 0]

    def read(at: int, size: int) -> int:
        return pci.read(CONFIG_REGION, at, size)

    assert (read(0, 4), read(8, 4), read(0x2C, 4), read(0x3D, 1)) == (0x07B0_15AD, 0x0200_0001, 0x07B0_15AD, 1)
    assert pci.config.caps == {CAP_PM: 0x40, CAP_PCIE: 0x48, CAP_MSI: 0x84, CAP_MSIX: 0x9C}
    assert (read(0x9E, 2), read(0xA0, 4), read(0xA4, 4)) == (irq.vectors - 1, 2, PAGE | 2)
    assert 16 * irq.vectors <= PAGE
    assert (read(0x100, 4), read(0x104, 8)) == (0x0001_0003, 0x02000AFFFF0B0C0D)


def test_a_driver_that_sizes_the_bars_finds_memory_of_32_bits() -> None:
    pci = pci_function(MAC, 9, block("BAR0", 9), block("BAR1", 9), Interrupts(65))
    found = []
    for bar in range(6):
        pci.write(CONFIG_REGION, 0x10 + 4 * bar, 4, 0xFFFF_FFFF)
        found.append(pci.read(CONFIG_REGION, 0x10 + 4 * bar, 4))

    assert found == [0xFF00_0000, 0xFFFF_F000, 0xFFFF_E000, 0, 0, 0]


def test_the_page_of_masks_may_be_mapped() -> None:
    page = SharedBlock(PAGE)
    pci = pci_function(MAC, 9, block("BAR0", 9), block("BAR1", 9), Interrupts(65), None, page)

    assert (pci.bars[0].shared, pci.bars[0].areas) == (page, ((0, PAGE),))
    page.close()


def test_messages_written_while_open_are_told() -> None:
    heard: list[int] = []
    irq = Interrupts(25)
    pci = pci_function(MAC, 1, block("BAR0", 1), block("BAR1", 1), irq, heard.append)
    pci.write(CONFIG_REGION, 0x9E, 2, 0x8000)
    pci.write(2, 16 * 3, 4, 1)
    pci.write(2, 16 * 3 + 12, 4, 0)

    pci.write(2, 16 * 3, 4, 2)
    pci.write(2, 16 * 3 + 12, 4, 1)

    assert heard == [3]
