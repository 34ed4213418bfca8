"""PVSCSI device rules 001 to 011: PCI, registers."""

from random import Random

import pytest

from pvdev.pci import CAP_MSI, CAP_MSIX, CAP_PCIE
from pvdev.pci_driver import disable_intx, line_up, set_interrupts, set_master
from pvscsi import wire
from pvscsi.conform.rig import MakeRig, Rig
from pvscsi.driver import cdb
from pvscsi.driver.pci import probe_pci, registers, window
from pvscsi.wire import Cmd, Intr

NAMED = {
    wire.REG_COMMAND,
    wire.REG_COMMAND_DATA,
    wire.REG_COMMAND_STATUS,
    wire.REG_INTR_STATUS,
    wire.REG_INTR_MASK,
    wire.REG_KICK_NON_RW_IO,
    wire.REG_DEBUG,
    wire.REG_KICK_RW_IO,
    *(wire.REG_LAST_STS + 4 * n for n in range(4)),
}
PCIE_FACTS, OFFERS_FLR = 4, 1 << 28
PCIE_CONTROL, FLR = 8, 1 << 15


def test_PVS_V_001_identity(rig: Rig) -> None:
    facts = probe_pci(rig.port)

    assert facts.ids == (0x15AD, 0x07C0, 0x15AD, 0x07C0)
    assert facts.revision >= 1
    assert facts.class_code >> 8 in (0x0100, 0x0107)
    assert facts.pin == 1


@pytest.mark.parametrize("layout", ["flat", "vmware"])
def test_PVS_V_002_one_bar_has_all_registers(make_rig: MakeRig, layout: str) -> None:
    facts = probe_pci(make_rig(layout=layout).port)

    memory = {bar: size for bar, size in facts.bars.items() if not facts.bar_flags[bar] & 1}
    assert memory == {registers(facts): 0x8000}
    assert registers(facts) == (0 if layout == "flat" else 1)
    assert window(facts) == (None if layout == "flat" else 0)
    assert all(facts.bars[bar] == 8 for bar in facts.bars if facts.bar_flags[bar] & 1)


def test_PVS_V_002_the_io_window_leads_to_the_same_registers(make_rig: MakeRig) -> None:
    rig = make_rig(layout="vmware")
    driver = rig.blank()
    ports = window(driver.facts())
    assert ports is not None

    rig.port.write(ports, 0, wire.REG_INTR_MASK)
    rig.port.write(ports, 4, 5)

    assert rig.port.read(ports, 4) == 5
    assert driver.reg(wire.REG_INTR_MASK) == 5


def test_PVS_V_003_without_bus_mastering_nothing_is_touched(rig: Rig) -> None:
    driver = rig.driver(intr="msi")
    set_master(rig.port, False)
    driver.submit(cdb.TEST_UNIT_READY, kick=False)
    before = rig.snapshot()
    rig.port.interrupts()

    driver.kick_others()
    driver.kick_io()

    assert rig.snapshot() == before
    assert rig.port.interrupts() == 0
    set_master(rig.port, True)
    driver.kick_others()
    driver.wait()


@pytest.mark.parametrize("command", [Cmd.SETUP_RINGS, Cmd.CONFIG, Cmd.SETUP_MSG_RING])
def test_PVS_V_003_commands_need_bus_mastering_too(rig: Rig, command: Cmd) -> None:
    driver = rig.driver()
    set_master(rig.port, False)
    piece = driver.memory.take(512, 4096)
    assert driver.rings is not None
    argument = {
        Cmd.SETUP_RINGS: driver.rings.arguments(),
        Cmd.SETUP_MSG_RING: driver.rings.message_arguments(),
        Cmd.CONFIG: wire.CONFIG.encode(
            cmpAddr=piece.address,
            configPageAddress=wire.ADDRESS_CONTROLLER << 32,
            configPageNum=wire.CONFIG_PAGE_CONTROLLER,
        ),
    }[command]
    before = rig.snapshot()

    driver.command_only(command, argument)

    assert rig.snapshot() == before
    set_master(rig.port, True)


def test_PVS_V_004_message_capabilities(rig: Rig) -> None:
    facts = probe_pci(rig.port)

    assert CAP_MSI in facts.caps
    assert facts.msi_control >> 1 & 7 == 0  # one vector
    assert facts.msi_control & 0x80  # 64 bits of address
    if CAP_MSIX in facts.caps:
        assert facts.msix_table == (registers(facts), 0x6000)
        assert facts.msix_pba == (registers(facts), 0x7000)
        assert facts.msix_vectors <= 256


def test_PVS_V_005_reset_values(rig: Rig) -> None:
    driver = rig.blank()

    assert [driver.reg(at) for at in (wire.REG_INTR_STATUS, wire.REG_INTR_MASK, wire.REG_COMMAND_STATUS)] == [0, 0, 0]


def test_PVS_V_006_mask_reads_back(rig: Rig) -> None:
    driver = rig.blank()
    found = []

    for value in (*range(16), 0xFFFF_FFFF):
        driver.set_mask(value)
        found.append(driver.reg(wire.REG_INTR_MASK))

    assert found == [*range(16), 15]


def test_PVS_V_007_status_is_cleared_by_ones(rig: Rig) -> None:
    driver = rig.driver()
    driver.set_mask(0)
    driver.acknowledge()
    driver.submit(cdb.TEST_UNIT_READY)
    rig.reaped(driver)
    found = [driver.pending()]

    for value in (0, 0xFFFF_FFFC, 1):
        driver.set_reg(wire.REG_INTR_STATUS, value)
        found.append(driver.pending())

    assert found == [Intr.CMPL_0, Intr.CMPL_0, Intr.CMPL_0, Intr(0)]


def test_PVS_V_008_write_only_and_unknown_registers_read_zero(rig: Rig) -> None:
    driver = rig.driver()
    driver.command_only(Cmd.SETUP_MSG_RING)
    driver.set_reg(wire.REG_DEBUG, 0x1234)

    values = {at: driver.reg(at) for at in range(0, wire.MSIX_TABLE, 4) if at != wire.REG_INTR_STATUS}

    assert {at: value for at, value in values.items() if value} == {wire.REG_COMMAND_STATUS: 34, wire.REG_INTR_MASK: 15}


def test_PVS_V_008_writes_elsewhere_change_nothing(rig: Rig) -> None:
    driver, random = rig.driver(), Random(8)
    watched = (wire.REG_INTR_STATUS, wire.REG_INTR_MASK, wire.REG_COMMAND_STATUS)
    before = [driver.reg(at) for at in watched]
    memory = rig.snapshot()

    for at in range(0, wire.MSIX_TABLE, 4):
        if at not in NAMED:
            driver.set_reg(at, random.getrandbits(32))

    assert [driver.reg(at) for at in watched] == before
    assert rig.snapshot() == memory


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_PVS_V_008_accesses_of_odd_size_or_place(rig: Rig, size: int) -> None:
    driver = rig.driver()
    memory = rig.snapshot()
    mask = driver.reg(wire.REG_INTR_MASK)

    for register in sorted(NAMED):
        for at in range(register, register + 4):
            if (size, at % 4) != (4, 0) and at + size <= wire.BAR_SIZE:
                driver.reg(at, size)
                driver.set_reg(at, (1 << 8 * size) - 1, size)

    assert rig.snapshot() == memory
    assert driver.reg(wire.REG_INTR_MASK) == mask
    assert rig.disk(driver=driver).read(0, 1) is not None


def function_level_reset(rig: Rig) -> None:
    at = probe_pci(rig.port).caps.get(CAP_PCIE, 0)
    if not at or not rig.port.read(7, at + PCIE_FACTS) & OFFERS_FLR:
        pytest.skip("this device offers no function level reset")
    rig.port.write(7, at + PCIE_CONTROL, rig.port.read(7, at + PCIE_CONTROL, 2) | FLR, 2)


@pytest.mark.parametrize("how", ["function", "system"])
def test_PVS_V_010_reset_forgets_all(rig: Rig, how: str) -> None:
    driver = rig.driver(intr="msi")
    driver.submit(cdb.TEST_UNIT_READY)
    driver.submit(cdb.TEST_UNIT_READY, kick=False)
    rig.settle()
    if how == "function":
        function_level_reset(rig)
    else:
        rig.port.reset()
    driver.active = False
    before = rig.snapshot()
    rig.port.interrupts()

    again = rig.blank()
    registers = [again.reg(at) for at in (wire.REG_INTR_STATUS, wire.REG_INTR_MASK, wire.REG_COMMAND_STATUS)]
    again.kick_others()
    again.kick_io()

    assert registers == [0, 0, 0]
    assert rig.snapshot() == before
    assert rig.port.interrupts() == 0


@pytest.mark.parametrize("how", ["function", "system"])
def test_PVS_V_010_it_comes_up_again(rig: Rig, how: str) -> None:
    first = rig.driver()
    rig.disk(driver=first).write(3, bytes(512))
    if how == "function":
        function_level_reset(rig)
    else:
        rig.port.reset()
    first.active = False

    disk = rig.disk()

    assert disk.read(3, 1) == bytes(512)


def test_PVS_V_011_the_pin_follows_status_and_mask(rig: Rig) -> None:
    driver = rig.driver(intr="intx")
    driver.acknowledge()
    found = [line_up(rig.port)]

    driver.submit(cdb.TEST_UNIT_READY)
    rig.settle()
    found.append(line_up(rig.port))
    driver.set_mask(0)
    found.append(line_up(rig.port))
    driver.set_mask(1)
    found.append(line_up(rig.port))
    driver.set_reg(wire.REG_INTR_STATUS, 1)
    found.append(line_up(rig.port))

    assert found == [False, True, False, True, False]


def test_PVS_V_011_interrupt_disable(rig: Rig) -> None:
    driver = rig.driver(intr="intx")
    driver.acknowledge()
    rig.port.interrupts()
    disable_intx(rig.port, True)

    driver.submit(cdb.TEST_UNIT_READY)
    silent = rig.fired()
    disable_intx(rig.port, False)

    assert silent == 0
    assert rig.fired() == 1


def test_PVS_V_011_messages_leave_the_pin_alone(rig: Rig) -> None:
    driver = rig.driver(intr="msi")

    driver.submit(cdb.TEST_UNIT_READY)
    rig.settle()

    assert rig.port.interrupts() == 1
    set_interrupts(rig.port, driver.facts(), "intx")
