"""VMXNET3 device rules 001 to 010, 016, 019 and 076: identity, registers, commands outside of traffic."""

import pytest

from pvdev.device import Port
from pvdev.pci import CAP_MSI, CAP_MSIX, CAP_PCIE, CAP_PM, EXT_CAP_DSN
from vmxnet3 import wire
from vmxnet3.conform.rig import MAC, PEER, Rig, frame
from vmxnet3.driver import Driver
from vmxnet3.driver.pci import probe_pci
from vmxnet3.wire import Cmd

CONFIG = 7
UNDEFINED = [(0, 0x400), (0, 0x5F8), (0, 0xC00), (0, 0xFF8), (1, 0x48), (1, 0x88), (1, 0xF00), (1, 0xFF8)]
INACTIVE = [
    Cmd.UPDATE_RX_MODE,
    Cmd.UPDATE_MAC_FILTERS,
    Cmd.UPDATE_VLAN_FILTERS,
    Cmd.UPDATE_RSSIDT,
    Cmd.UPDATE_IML,
    Cmd.UPDATE_PMCFG,
    Cmd.UPDATE_FEATURE,
    Cmd.GET_STATS,
    Cmd.GET_QUEUE_STATUS,
]


def command(port: Port, value: int) -> int:
    port.write(wire.BAR_VD, wire.REG_CMD, value)
    return port.read(wire.BAR_VD, wire.REG_CMD)


def test_VMX_V_001_identity_and_bars(port: Port) -> None:
    facts = probe_pci(port)

    assert facts.ids == (0x15AD, 0x07B0, 0x15AD, 0x07B0)
    assert (facts.class_code, facts.revision, facts.pin) == (0x020000, 1, 1)
    assert facts.bars[0] in (4096, 16 << 20)  # large with the doorbell pages of version 7
    assert (facts.bars[1], facts.bars[2]) == (4096, 8192)
    assert [facts.bar_flags[bar] for bar in range(3)] == [0] * 3  # 32-bit memory, not prefetchable
    assert (facts.msix_table, facts.msix_pba) == ((2, 0), (2, 0x1000))


def test_VMX_V_002_capability_chain(port: Port) -> None:
    facts = probe_pci(port)

    assert {CAP_PCIE, CAP_MSI, CAP_MSIX} <= facts.caps.keys()
    assert facts.msix_vectors >= 25
    msi = port.read(CONFIG, facts.caps[CAP_MSI] + 2, 2)
    assert (msi & 0x0E, msi & 0x80, msi & 0x100) == (0, 0x80, 0)  # one vector, 64-bit, no per-vector mask


def test_VMX_V_002_capabilities_stand_where_vmware_has_them(port: Port) -> None:
    caps = probe_pci(port).caps

    assert (caps[CAP_PCIE], caps[CAP_MSI], caps[CAP_MSIX]) == (0x48, 0x84, 0x9C)


def test_VMX_V_002_power_management(port: Port) -> None:
    at = probe_pci(port).caps.get(CAP_PM)

    assert at == 0x40
    assert port.read(CONFIG, at + 2, 2) & 7 == 3


def test_VMX_V_002_serial_number_is_made_from_the_address(port: Port) -> None:
    at = probe_pci(port).ext_caps[EXT_CAP_DSN]

    number = port.read(CONFIG, at + 4) | port.read(CONFIG, at + 8) << 32

    assert number.to_bytes(8, "big") == MAC[:3] + b"\xff\xff" + MAC[3:]


def test_VMX_V_003_versions_are_a_run_of_ones_and_stay(port: Port) -> None:
    offered = port.read(wire.BAR_VD, wire.REG_VRRS)
    port.write(wire.BAR_VD, wire.REG_VRRS, 1)
    port.write(wire.BAR_VD, wire.REG_UVRS, 1)

    assert offered & 1
    assert offered & offered + 1 == 0
    assert [port.read(wire.BAR_VD, wire.REG_VRRS) for _ in range(2)] == [offered] * 2
    assert port.read(wire.BAR_VD, wire.REG_UVRS) & 1


def test_VMX_V_004_reset_values(port: Port) -> None:
    assert [port.read(wire.BAR_PT, wire.REG_IMR + 8 * n) for n in range(25)] == [1] * 25
    assert port.read(wire.BAR_VD, wire.REG_ICR) == 0
    assert port.read(wire.BAR_VD, wire.REG_ECR) == 0
    assert port.read(wire.BAR_VD, wire.REG_MACL) == int.from_bytes(MAC[:4], "little")
    assert port.read(wire.BAR_VD, wire.REG_MACH) == int.from_bytes(MAC[4:], "little")


def test_VMX_V_005_result_can_be_read_again(port: Port) -> None:
    first = command(port, Cmd.GET_LINK)

    assert first & 0xFFFF == 1
    assert first >> 16
    assert [port.read(wire.BAR_VD, wire.REG_CMD) for _ in range(3)] == [first] * 3


@pytest.mark.parametrize(("bar", "offset"), UNDEFINED)
def test_VMX_V_005_undefined_offsets_read_0_and_drop_writes(port: Port, bar: int, offset: int) -> None:
    before = port.read(bar, offset)
    port.write(bar, offset, 0xFFFF_FFFF)

    assert (before, port.read(bar, offset)) == (0, 0)
    assert port.read(wire.BAR_VD, wire.REG_MACL) == int.from_bytes(MAC[:4], "little")


@pytest.mark.parametrize("value", [0, 0xCAFE_00FF, 0xCAFE_0014, 0xF00D_00FF, 0xFFFF_FFFF])
def test_VMX_V_005_unknown_commands_have_no_effect(rig: Rig, value: int) -> None:
    driver = rig.driver()
    command(rig.port, Cmd.GET_LINK)

    assert driver.command(value) == 0
    assert rig.carried(driver, frame(seed=1)) == [frame(seed=1)]


@pytest.mark.parametrize("cmd", [Cmd.GET_RSS_FIELDS, Cmd.GET_MAX_QUEUES_CONF, Cmd.GET_DCR0_REG])
def test_VMX_V_005_commands_of_later_versions_have_no_effect(rig: Rig, cmd: Cmd) -> None:
    driver = rig.driver(version=1)
    command(rig.port, Cmd.GET_LINK)

    assert driver.command(cmd) == 0
    assert rig.carried(driver, frame(seed=1)) == [frame(seed=1)]


@pytest.mark.parametrize("cmd", [Cmd.QUIESCE_DEV, Cmd.RESET_DEV])
def test_VMX_V_006_quiesce_and_reset_before_anything_else(port: Port, cmd: Cmd) -> None:
    command(port, Cmd.GET_LINK)

    assert [command(port, cmd) for _ in range(2)] == [0, 0]


def test_VMX_V_007_version_survives_reset_and_quiesce(rig: Rig) -> None:
    driver = rig.driver()

    driver.quiesce()
    driver.reset()
    driver.configure(driver.config)
    driver.set_dsa()

    assert driver.activate() == 0
    assert rig.kept("VMX-D-002")  # "no version selected" was not seen


def test_VMX_V_008_permanent_address_is_constant(rig: Rig) -> None:
    driver = rig.driver()
    driver.set_mac(PEER)

    assert driver.permanent_mac() == MAC


def test_VMX_V_008_current_address_is_kept(rig: Rig) -> None:
    driver = rig.driver()
    driver.set_mac(PEER)
    written = driver.get_mac()
    driver.quiesce()
    quiesced = driver.get_mac()
    driver.configure(driver.config)
    driver.activate()

    assert [written, quiesced, driver.get_mac()] == [PEER] * 3
    assert rig.carried(driver, frame(dst=PEER), frame(dst=MAC)) == [frame(dst=PEER)]


def test_VMX_V_009_filter_follows_the_address_at_once(rig: Rig) -> None:
    driver = rig.driver()

    before = rig.carried(driver, frame(dst=PEER), frame(dst=MAC))
    driver.set_mac(PEER)
    after = rig.carried(driver, frame(dst=PEER), frame(dst=MAC))

    assert (before, after) == ([frame(dst=MAC)], [frame(dst=PEER)])


def test_VMX_V_010_get_commands_in_every_state(rig: Rig) -> None:
    driver = rig.blank()

    def answers() -> list[int]:
        return [driver.command(cmd) for cmd in (Cmd.GET_LINK, Cmd.GET_CONF_INTR, Cmd.GET_DID_LO)]

    fresh = answers()
    driver.bring_up()
    active = answers()
    driver.quiesce()
    quiesced = answers()
    driver.reset()

    assert fresh[0] & 0xFFFF == 1
    assert fresh[1] < 16  # a kind and a way of masking, nothing else
    assert fresh[2] == 0x07B0
    assert [active, quiesced, answers()] == [fresh] * 3


def test_VMX_V_016_shared_area_is_not_touched_before_activate(rig: Rig) -> None:
    driver = rig.blank()
    driver.probe()

    driver.set_dsa(0x6000_0000_0000)  # nothing is mapped there: any access would be seen
    results = [driver.command(cmd) for cmd in INACTIVE]
    driver.kick(0, value=0)

    assert results == [0] * len(INACTIVE)
    assert not {"MEM-01", "MEM-02"} & rig.broken()


@pytest.mark.parametrize("cmd", INACTIVE)
def test_VMX_V_019_commands_without_shared_area_touch_no_memory(rig: Rig, cmd: Cmd) -> None:
    page = rig.page_0()
    page[:] = b"\x5a" * 4096
    driver = rig.blank()
    driver.probe()

    assert driver.command(cmd) == 0
    assert bytes(page) == b"\x5a" * 4096
    assert rig.kept("MEM-01", "MEM-02")


def test_VMX_V_019_stats_after_quiesce_write_nothing(rig: Rig) -> None:
    driver = rig.driver()
    driver.quiesce()
    before = rig.snapshot()

    results = [driver.command(cmd) for cmd in INACTIVE]

    assert results == [0] * len(INACTIVE)
    assert rig.snapshot() == before


def test_VMX_V_076_function_reset_goes_back_to_reset_values(rig: Rig) -> None:
    driver = rig.driver()
    driver.set_mac(PEER)

    driver.reset_function()

    assert driver.get_mac() == MAC
    assert [driver.imr(n) for n in range(25)] == [1] * 25
    assert driver.reg(wire.REG_DSAL) == 0
    assert rig.port.read(CONFIG, 4, 2) & 4 == 0  # no bus mastering
    driver.bring_up()
    assert rig.carried(driver, frame(seed=9)) == [frame(seed=9)]


def test_VMX_V_076_version_survives_d3_and_back(rig: Rig) -> None:
    driver = rig.driver()
    driver.mask_all()

    rig.port.write(CONFIG, 0x44, 3, 2)  # Linux suspends without QUIESCE
    rig.port.write(CONFIG, 0x44, 0, 2)
    resumed(driver)

    assert rig.kept("VMX-D-002")
    assert rig.carried(driver, frame(seed=3)) == [frame(seed=3)]


def resumed(driver: Driver) -> None:
    """Linux's resume: QUIESCE, RESET, activate, without a look at VRRS."""
    driver.command_only(Cmd.QUIESCE_DEV)
    driver.command_only(Cmd.RESET_DEV)
    driver.configure(driver.config)
    driver.set_mac(driver.mac)
    driver.set_dsa()
    assert driver.activate() == 0
    driver.unmask_all()
