"""PCI: config space byte for byte, sizing, masks, capabilities, the way to interrupts; the VMXNET3 as an example."""

import struct

import pytest

from pvdev.irq import Interrupts, Mode
from pvdev.mem import SharedBlock
from pvdev.pci import (
    CAP_MSI,
    CAP_MSIX,
    CAP_PCIE,
    CAP_PM,
    CMD_IO,
    CMD_MASTER,
    CMD_MEMORY,
    COMMAND,
    CONFIG_REGION,
    Bar,
    Capability,
    Identity,
    MsixBar,
    PciFunction,
    msi,
    msix,
    pcie_endpoint,
    power_management,
    serial_number,
)
from vmxnet3.device import Vmxnet3

CONFIG = CONFIG_REGION
PM, PCIE, MSI, MSIX = 0x40, 0x48, 0x84, 0x9C


class Scratch:
    """A BAR handler that stores its last write and answers with the offset."""

    def __init__(self) -> None:
        self.wrote: tuple[int, int, int] | None = None

    def read(self, offset: int, size: int) -> int:
        return offset

    def write(self, offset: int, size: int, value: int) -> None:
        self.wrote = offset, size, value


def function(**options: object) -> PciFunction:
    """A device with a memory BAR of 4 KiB, a prefetchable one of 64 KiB, ports, an MSI-X BAR and every capability."""
    irq = Interrupts(5)
    return PciFunction(
        Identity(0x1AF4, 0x1100, 0x020000, 3, 0x15AD, 0x0001),
        {
            0: Bar(0x1000, Scratch()),
            1: Bar(0x10000, Scratch(), prefetch=True),
            2: Bar(0x2000, MsixBar(irq, 0x1000)),
            4: Bar(16, Scratch(), io=True),
        },
        [
            power_management(PM),
            pcie_endpoint(PCIE),
            msi(MSI),
            msix(MSIX, vectors=5, bar=2),
            serial_number(0x0123_4567_89AB_CDEF),
        ],
        irq,
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture
def pci() -> PciFunction:
    return function()


# -- the header ----------------------------------------------------------------------------------------------------

GOLDEN = {  # a VMXNET3's config space, by hand from the fields PCI and the vendor's dumps name
    0x00: "ad15 b007",  # vendor, device
    0x04: "0000 1000",  # command; status: capability list
    0x08: "01 000002",  # revision; class: Ethernet
    0x0C: "00 00 00 00",  # type 0, one function
    0x10: "00000000 00000000 00000000 00000000 00000000 00000000",  # BARs: memory, 32 bits, not prefetchable
    0x28: "00000000",
    0x2C: "ad15 b007",  # subsystem
    0x30: "00000000 40 000000 00000000",  # no ROM; first capability
    0x3C: "00 01 00 00",  # INTA
    0x40: "01 48 03fe 0000 0000",  # PM version 3; D1, D2; PME from every state
    0x48: "10 84 0200 00000000 0000 0000 02020000 0000 0202",  # PCIe 2 endpoint; no FLR; 5 GT/s x32
    0x84: "05 9c 8000 00000000 00000000 0000",  # MSI: one vector, 64 bits, no masks
    0x9C: "11 00 4000 02000000 02100000",  # MSI-X: 65 entries in BAR 2, pending bits at 0x1000
    0x100: "0300 0100",  # DSN, last extended capability
    0x104: "0d0c0bff ff0a0002".replace(" ", ""),  # EUI-64 of 02:00:0a:0b:0c:0d
}


@pytest.mark.parametrize(("offset", "expected"), GOLDEN.items(), ids=[f"{at:#x}" for at in GOLDEN])
def test_golden_bytes_of_a_vmxnet3(offset: int, expected: str) -> None:
    config = Vmxnet3(mac=bytes.fromhex("02000a0b0c0d")).pci.config

    golden = bytes.fromhex(expected)

    assert bytes(config.data[offset : offset + len(golden)]) == golden


def test_the_header_says_what_the_identity_is(pci: PciFunction) -> None:
    assert pci.read(CONFIG, 0, 4) == 0x1100_1AF4
    assert pci.read(CONFIG, 8, 4) == 0x0200_0003
    assert pci.read(CONFIG, 0x2C, 4) == 0x0001_15AD
    assert [pci.read(CONFIG, 0x3D, 1), pci.read(CONFIG, 0x0E, 1)] == [1, 0]


@pytest.mark.parametrize(
    ("bar", "size", "flags"), [(0, 0x1000, 0), (1, 0x10000, 8), (2, 0x2000, 0), (4, 16, 1)], ids=str
)
def test_a_bar_is_sized_by_writing_ones(pci: PciFunction, bar: int, size: int, flags: int) -> None:
    at = 0x10 + 4 * bar
    pci.write(CONFIG, at, 4, 0xFFFF_FFFF)
    answer = pci.read(CONFIG, at, 4)

    pci.write(CONFIG, at, 4, 0xFEB0_0000)

    assert answer & 0xF == flags
    assert (~(answer & ~(3 if flags & 1 else 15)) & 0xFFFF_FFFF) + 1 == size == pci.region_size(bar)
    assert pci.read(CONFIG, at, 4) == 0xFEB0_0000 | flags


@pytest.mark.parametrize("bar", [3, 5])
def test_a_bar_that_is_not_there(pci: PciFunction, bar: int) -> None:
    pci.write(CONFIG, 0x10 + 4 * bar, 4, 0xFFFF_FFFF)

    assert pci.read(CONFIG, 0x10 + 4 * bar, 4) == 0
    assert pci.region_size(bar) == 0


def test_sizing_in_single_bytes(pci: PciFunction) -> None:
    for n in range(4):
        pci.write(CONFIG, 0x10 + n, 1, 0xFF)

    assert pci.read(CONFIG, 0x10, 4) == 0xFFFF_F000


@pytest.mark.parametrize(
    ("offset", "writable"),
    [
        (0x00, 0),  # ids
        (0x04, CMD_IO | CMD_MEMORY | CMD_MASTER | 0x540),  # status keeps its bits
        (0x08, 0),
        (0x0C, 0xFF),  # cache line size
        (0x2C, 0),
        (0x30, 0),  # no ROM
        (0x34, 0),
        (0x3C, 0xFF),  # interrupt line
        (PM, 0),
        (PM + 4, 0x0103),  # power state, PME enable
        (PCIE, 0),
        (PCIE + 4, 0),  # device capabilities
        (MSI, 0x0071_0000),  # enable, multiple message enable
        (MSI + 4, 0xFFFF_FFFC),
        (MSI + 8, 0xFFFF_FFFF),
        (MSIX, 0xC000_0000),  # enable, function mask
        (MSIX + 4, 0),
        (0x100, 0),
        (0x104, 0),
        (0xFFC, 0),
    ],
    ids=hex,
)
def test_what_can_be_written(pci: PciFunction, offset: int, writable: int) -> None:
    before = pci.read(CONFIG, offset, 4)

    pci.write(CONFIG, offset, 4, 0xFFFF_FFFF)
    ones = pci.read(CONFIG, offset, 4)
    pci.write(CONFIG, offset, 4, 0)
    zeros = pci.read(CONFIG, offset, 4)

    assert ones == before | writable
    assert zeros == before & ~writable


def test_a_write_at_the_very_end_stays_inside(pci: PciFunction) -> None:
    pci.write(CONFIG, 4094, 4, 0xFFFF_FFFF)

    assert len(pci.config.data) == pci.region_size(CONFIG) == 4096


# -- capabilities --------------------------------------------------------------------------------------------------


def walk(pci: PciFunction) -> list[tuple[int, int]]:
    """(id, offset) along the chain, as a driver reads it."""
    found, at = list[tuple[int, int]](), pci.read(CONFIG, 0x34, 1)
    while at and len(found) < 48:
        found.append((pci.read(CONFIG, at, 1), at))
        at = pci.read(CONFIG, at + 1, 1)
    return found


def test_the_chain_is_what_was_declared(pci: PciFunction) -> None:
    assert walk(pci) == [(CAP_PM, PM), (CAP_PCIE, PCIE), (CAP_MSI, MSI), (CAP_MSIX, MSIX)]
    assert pci.config.caps == {CAP_PM: PM, CAP_PCIE: PCIE, CAP_MSI: MSI, CAP_MSIX: MSIX}
    assert pci.read(CONFIG, 6, 2) & 0x10


def test_without_capabilities_there_is_no_list() -> None:
    bare = PciFunction(Identity(1, 2, 0), {}, [], Interrupts(1))

    assert (walk(bare), bare.read(CONFIG, 6, 2)) == ([], 0)
    assert bare.power_state == 0
    assert not bare.raise_pme()


def test_extended_capabilities_are_chained_from_0x100() -> None:
    second = Capability(3, 0x200, struct.pack("<Q", 7))
    pci = PciFunction(Identity(1, 2, 0), {}, [serial_number(5), second], Interrupts(1))

    head = pci.read(CONFIG, 0x100, 4)

    assert (head & 0xFFFF, head >> 16 & 15, head >> 20) == (3, 1, 0x200)
    assert pci.read(CONFIG, 0x200, 4) == 3 | 1 << 16
    assert (pci.read(CONFIG, 0x104, 8), pci.read(CONFIG, 0x204, 8)) == (5, 7)
    assert pci.read(CONFIG, 0x34, 1) == 0


def test_pme_status_is_cleared_by_writing_one(pci: PciFunction) -> None:
    let_out = pci.raise_pme()
    raised = pci.read(CONFIG, PM + 4, 2)
    pci.write(CONFIG, PM + 4, 2, 0)
    kept = pci.read(CONFIG, PM + 4, 2)

    pci.write(CONFIG, PM + 4, 2, 0x8000)

    assert (let_out, raised, kept) == (False, 0x8000, 0x8000)
    assert pci.read(CONFIG, PM + 4, 2) == 0


def test_pme_gets_out_when_enabled(pci: PciFunction) -> None:
    pci.write(CONFIG, PM + 4, 2, 0x100)

    assert pci.raise_pme()
    assert pci.read(CONFIG, PM + 4, 2) == 0x8100


def test_power_states_are_told() -> None:
    heard: list[int] = []
    pci = function(on_power=heard.append)

    for state in (3, 3, 0, 1):
        pci.write(CONFIG, PM + 4, 2, state)

    assert heard == [3, 0, 1]
    assert pci.power_state == 1


def test_the_command_register_is_told_when_it_changes() -> None:
    heard: list[int] = []
    pci = function(on_command=heard.append)

    for value in (CMD_MEMORY, CMD_MEMORY, CMD_MEMORY | CMD_MASTER, 0):
        pci.write(CONFIG, COMMAND, 2, value)

    assert heard == [CMD_MEMORY, CMD_MEMORY | CMD_MASTER, 0]
    assert (pci.bus_master, pci.memory_enabled) == (False, False)


@pytest.mark.parametrize(("value", "master", "memory"), [(2, False, True), (4, True, False), (6, True, True)])
def test_decoding_and_bus_mastering(pci: PciFunction, value: int, master: bool, memory: bool) -> None:
    pci.write(CONFIG, COMMAND, 2, value)

    assert (pci.bus_master, pci.memory_enabled) == (master, memory)


# -- interrupts ----------------------------------------------------------------------------------------------------


def test_the_mode_follows_config_space(pci: PciFunction) -> None:
    modes = [pci.irq.mode]
    for at, value in ((MSI + 2, 1), (MSIX + 2, 0x8000), (MSI + 2, 0), (MSIX + 2, 0)):
        pci.write(CONFIG, at, 2, value)
        modes.append(pci.irq.mode)

    assert modes == [Mode.INTX, Mode.MSI, Mode.MSIX, Mode.MSIX, Mode.INTX]


def test_the_function_mask_follows_config_space(pci: PciFunction) -> None:
    pci.write(CONFIG, MSIX + 2, 2, 0xC000)
    masked = pci.irq.function_masked

    pci.write(CONFIG, MSIX + 2, 2, 0x8000)

    assert (masked, pci.irq.function_masked) == (True, False)


def test_intx_disable_follows_the_command_register(pci: PciFunction) -> None:
    pci.irq.set_line(True)
    pci.irq.take()
    pci.write(CONFIG, COMMAND, 2, 0x400)

    disabled = pci.irq.intx_disabled
    pci.write(CONFIG, COMMAND, 2, 0)

    assert disabled
    assert pci.irq.take() == 1


def test_the_status_register_shows_the_line(pci: PciFunction) -> None:
    low = pci.read(CONFIG, 6, 2)
    pci.irq.set_line(True)

    shown = [pci.read(CONFIG, 6, 1), pci.read(CONFIG, 6, 2), pci.read(CONFIG, 4, 4) >> 16, pci.read(CONFIG, 0, 8) >> 48]

    assert low == 0x10
    assert shown == [0x18] * 4
    assert pci.read(CONFIG, 7, 1) == 0
    assert pci.read(CONFIG, 4, 2) == 0


def test_the_msix_bar_is_the_table_and_the_pending_bits(pci: PciFunction) -> None:
    pci.write(CONFIG, MSIX + 2, 2, 0x8000)
    pci.write(2, 16, 8, 0xFEE0_0000)
    pci.write(2, 24, 4, 0x4041)
    pci.irq.fire(1)
    held = pci.read(2, 0x1000, 8)

    pci.write(2, 28, 4, 0)

    assert [pci.read(2, 16 + 4 * n, 4) for n in range(4)] == [0xFEE0_0000, 0, 0x4041, 0]
    assert (held, pci.read(2, 0x1000, 8), pci.irq.take()) == (2, 0, 2)


@pytest.mark.parametrize(("offset", "size"), [(80, 4), (76, 8), (0x800, 8), (0xFFC, 8), (0x1FF8, 8)])
def test_the_rest_of_the_msix_bar_reads_zero(pci: PciFunction, offset: int, size: int) -> None:
    pci.write(2, offset, size, (1 << 8 * size) - 1)

    assert pci.read(2, offset, size) == 0


def test_pending_bits_cannot_be_written(pci: PciFunction) -> None:
    pci.write(CONFIG, MSIX + 2, 2, 0x8000)

    pci.write(2, 0x1000, 8, 0xFF)

    assert (pci.read(2, 0x1000, 8), pci.irq.take()) == (0, 0)


def test_messages_rewritten_while_in_use_are_told() -> None:
    heard: list[int] = []
    irq = Interrupts(5)
    bar = MsixBar(irq, 0x1000, heard.append)
    bar.write(0, 4, 0)  # MSI-X is off
    irq.set_mode(Mode.MSIX)
    bar.write(16, 4, 0)  # vector 1 is masked
    for vector in (0, 2):
        bar.write(16 * vector + 12, 4, 0)

    for offset, size in ((0, 4), (4, 4), (32, 8), (12, 4), (16, 4), (0x1000, 4)):
        bar.write(offset, size, 0)

    assert heard == [0, 0, 2]


def test_only_25_vectors_below_version_6() -> None:
    assert [Vmxnet3(version=v).pci.config.word(0x9E) & 0x7FF for v in (1, 5, 6, 9)] == [24, 24, 64, 64]


# -- BARs and reset ------------------------------------------------------------------------------------------------


def test_accesses_reach_the_bar_s_handler(pci: PciFunction) -> None:
    pci.write(0, 0x123, 2, 0xABCD)

    handler = pci.bars[0].handler
    assert isinstance(handler, Scratch)
    assert handler.wrote == (0x123, 2, 0xABCD)
    assert pci.read(1, 0x456, 4) == 0x456


@pytest.mark.parametrize(("size", "io"), [(0, False), (8, False), (0x1800, False), (2, True), (12, True)])
def test_a_bar_is_a_power_of_two(size: int, io: bool) -> None:
    with pytest.raises(ValueError, match="a BAR of"):
        Bar(size, Scratch(), io=io)


@pytest.mark.parametrize("areas", [((0, 100),), ((100, 4096),), ((0x1000, 0x2000),), ((0, 0),)], ids=str)
def test_mappable_areas_are_pages_inside_the_bar(areas: tuple[tuple[int, int], ...]) -> None:
    block = SharedBlock(0x2000)

    with pytest.raises(ValueError, match="not pages inside a BAR"):
        Bar(0x2000, Scratch(), shared=block, areas=areas)

    block.close()


def test_reset_restores_every_byte(pci: PciFunction) -> None:
    before = bytes(pci.config.data)
    for offset in range(0, 4096, 4):
        pci.write(CONFIG, offset, 4, 0xFFFF_FFFF)
    pci.irq.set_line(True)
    assert bytes(pci.config.data) != before

    pci.reset()

    assert bytes(pci.config.data) == before
    assert (pci.irq.mode, pci.irq.line, pci.irq.take()) == (Mode.INTX, False, 0)
