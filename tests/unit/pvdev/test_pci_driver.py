"""A driver's look at a PCI function: BARs, capabilities, interrupts, power; our own functions as the other side."""

import struct
from itertools import pairwise

import pytest

from pvdev.errors import ConfigError
from pvdev.irq import Interrupts, Mode
from pvdev.pci import (
    CAP_MSI,
    CAP_MSIX,
    CAP_PCIE,
    CAP_PM,
    CMD_MASTER,
    COMMAND,
    CONFIG_REGION,
    EXT_CAP_DSN,
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
from pvdev.pci_driver import (
    best_interrupts,
    disable_intx,
    expect,
    line_up,
    mask_vector,
    pending,
    pme,
    probe,
    set_interrupts,
    set_master,
    suspend,
    wake_up,
)
from pvdev.transport.inproc import LocalPort

PM, PCIE, MSI, MSIX = 0x40, 0x48, 0x84, 0x9C
VECTORS = 65


class Cells:
    """A BAR handler that keeps what is written."""

    def __init__(self) -> None:
        self.values: dict[int, int] = {}

    def read(self, offset: int, size: int) -> int:
        return self.values.get(offset, 0)

    def write(self, offset: int, size: int, value: int) -> None:
        self.values[offset] = value


class Socket(LocalPort):
    """A port on a function without a device behind it: registers, and nothing else of a port."""

    def __init__(self, caps: list[Capability] | None = None) -> None:
        self.irq = Interrupts(VECTORS)
        self.function = PciFunction(
            Identity(0x1AF4, 0x1100, 0x020000, 3, 0x15AD, 0x0001),
            {
                0: Bar(0x1000, Cells()),
                1: Bar(0x100_0000, Cells(), wide=True, prefetch=True),
                3: Bar(0x2000, MsixBar(self.irq, 0x1000)),
                5: Bar(16, Cells(), io=True),
            },
            caps
            if caps is not None
            else [
                power_management(PM),
                pcie_endpoint(PCIE),
                msi(MSI),
                msix(MSIX, vectors=VECTORS, bar=3),
                serial_number(7),
            ],
            self.irq,
        )

    def read(self, region: int, offset: int, size: int = 4) -> int:
        return self.function.read(region, offset, size)

    def write(self, region: int, offset: int, value: int, size: int = 4) -> None:
        self.function.write(region, offset, size, value)


@pytest.fixture
def port() -> Socket:
    return Socket()


def test_what_config_space_said(port: Socket) -> None:
    facts = probe(port)

    assert facts.ids == (0x1AF4, 0x1100, 0x15AD, 0x0001)
    assert (facts.class_code, facts.revision, facts.pin) == (0x020000, 3, 1)
    assert facts.bars == {0: 0x1000, 1: 0x100_0000, 3: 0x2000, 5: 16}
    assert facts.bar_flags == {0: 0, 1: 0xC, 3: 0, 5: 1}
    assert facts.caps == {CAP_PM: PM, CAP_PCIE: PCIE, CAP_MSI: MSI, CAP_MSIX: MSIX}
    assert facts.ext_caps == {EXT_CAP_DSN: 0x100}
    assert (facts.msix_vectors, facts.msix_table, facts.msix_pba) == (VECTORS, (3, 0), (3, 0x1000))
    assert (facts.memory_bars(0x1001), facts.io_bars()) == ([1, 3], [5])


def test_bars_are_aligned_and_apart(port: Socket) -> None:
    facts = probe(port)

    places = [(port.read(CONFIG_REGION, 0x10 + 4 * bar), facts.bars[bar]) for bar in facts.memory_bars(0)]
    places = [(at & ~15, size) for at, size in places]
    assert [at % size for at, size in places] == [0] * 3
    assert all(lo + size <= hi for (lo, size), (hi, _) in pairwise(places))
    assert places[-1][0] + places[-1][1] <= 0xFEE0_0000  # messages go there
    assert port.read(CONFIG_REGION, 0x24) & ~3 == 0xC500
    assert port.read(CONFIG_REGION, COMMAND, 2) == 7


def test_a_look_that_leaves_all_as_it_was(port: Socket) -> None:
    probe(port)
    set_master(port, False)
    before = bytes(port.function.config.data)
    facts = probe(port, place=False)

    assert bytes(port.function.config.data) == before
    assert facts.bars[1] == 0x100_0000


def test_another_device_is_left_alone(port: Socket) -> None:
    before = bytes(port.function.config.data)
    with pytest.raises(ConfigError, match="no VMXNET3: the device says 1af4:1100"):
        expect(port, "VMXNET3", 0x15AD, 0x07B0)

    assert bytes(port.function.config.data) == before


def test_a_capability_list_without_end(port: Socket) -> None:
    port.function.config.data[MSIX + 1] = PM

    with pytest.raises(ConfigError, match="no end"):
        probe(port)


def test_no_capabilities() -> None:
    facts = probe(Socket(caps=[]))

    assert (facts.caps, facts.ext_caps, facts.msix_vectors, facts.msi_control) == ({}, {}, 0, 0)


@pytest.mark.parametrize(
    ("wanted", "mode", "off"), [("msix", Mode.MSIX, True), ("msi", Mode.MSI, True), ("intx", Mode.INTX, False)]
)
@pytest.mark.parametrize("before", ["msix", "msi", "intx"])
def test_every_kind_of_interrupt(port: Socket, before: str, wanted: str, mode: Mode, off: bool) -> None:
    facts = probe(port)
    set_interrupts(port, facts, before, VECTORS)
    set_interrupts(port, facts, best_interrupts(facts, wanted), 3)

    assert (port.irq.mode, port.irq.intx_disabled) == (mode, off)
    if wanted == "msix":
        assert [port.irq.masked(n) for n in range(5)] == [False] * 3 + [True] * 2


def test_the_next_best() -> None:
    plain = Socket(caps=[msi(MSI)])
    facts = probe(plain)

    assert [best_interrupts(facts, wanted) for wanted in ("msix", "msi", "intx")] == ["msi", "msi", "intx"]
    with pytest.raises(ConfigError, match="no msix"):
        set_interrupts(plain, facts, "msix")


def test_messages_of_32_bits() -> None:
    """The data stands where a wide one has its upper address."""
    port = Socket(
        caps=[Capability(CAP_MSI, MSI, struct.pack("<HIH", 0, 0, 0), struct.pack("<HIH", 1, 0xFFFF_FFFC, 0xFFFF))]
    )
    set_interrupts(port, probe(port), "msi")

    assert (port.read(CONFIG_REGION, MSI + 4), port.read(CONFIG_REGION, MSI + 8, 2)) == (0xFEE0_0000, 0x30)
    assert port.irq.mode is Mode.MSI


def test_a_vector_is_masked_while_its_message_changes(port: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    facts, masks = probe(port), []
    set_interrupts(port, facts, "msix", VECTORS)
    write = port.function.write

    def watched(region: int, offset: int, size: int, value: int) -> None:
        if region == 3 and offset % 16 < 12:
            masks.append(port.irq.masked(offset // 16))
        write(region, offset, size, value)

    monkeypatch.setattr(port.function, "write", watched)
    set_interrupts(port, facts, "msix", VECTORS)

    assert masks == [True] * 3 * VECTORS


def test_vectors_masked_and_pending(port: Socket) -> None:
    facts = probe(port)
    set_interrupts(port, facts, "msix", VECTORS)
    for vector in (0, 33, 64):
        mask_vector(port, facts, vector, True)
        port.irq.fire(vector)

    assert pending(port, facts) == 1 | 1 << 33 | 1 << 64
    mask_vector(port, facts, 33, False)
    assert (pending(port, facts), port.irq.take()) == (1 | 1 << 64, 1 << 33)


def test_single_bits(port: Socket) -> None:
    probe(port)
    set_master(port, False)
    disable_intx(port, True)
    port.irq.set_line(True)

    assert port.function.config.word(COMMAND) & CMD_MASTER == 0
    assert port.irq.intx_disabled
    assert line_up(port)


def test_asleep_and_awake(port: Socket) -> None:
    facts = probe(port)
    suspend(port, facts, wake=True)
    assert (port.function.power_state, port.function.bus_master, pme(port, facts)) == (3, False, False)
    assert port.function.raise_pme()
    assert pme(port, facts)

    wake_up(port, facts)
    assert (port.function.power_state, pme(port, facts)) == (0, False)
    with pytest.raises(ConfigError, match="no power management"):
        suspend(port, probe(Socket(caps=[])), wake=False)
