"""The reference driver: the commands of each profile and version, doorbells, sleep."""

import pytest

from pvdev.errors import ConfigError
from tests.unit.vmxnet3.puppet import PM, SMALL, Puppet
from vmxnet3 import wire
from vmxnet3.driver import DeviceBroke, Driver, station_filter
from vmxnet3.wire import Cap, Cmd
from vmxnet3.wire_args import Wake


def commands(puppet: Puppet) -> list[str]:
    """What was written to CMD, by name."""
    return [Cmd(value).name for verb, bar, offset, value in puppet.log if (verb, bar, offset) == ("W", 1, wire.REG_CMD)]


COMMANDS = {
    "linux": "GET_CONF_INTR GET_LINK ACTIVATE_DEV UPDATE_RX_MODE UPDATE_VLAN_FILTERS UPDATE_MAC_FILTERS GET_LINK",
    "dpdk": "QUIESCE_DEV GET_CONF_INTR GET_STATS UPDATE_FEATURE UPDATE_VLAN_FILTERS ACTIVATE_DEV REGISTER_MEMREGS "
    "UPDATE_RX_MODE GET_LINK",
    "freebsd": "GET_CONF_INTR GET_PERM_MAC_LO GET_PERM_MAC_HI ACTIVATE_DEV UPDATE_MAC_FILTERS UPDATE_RX_MODE "
    "UPDATE_VLAN_FILTERS GET_LINK",
    "openbsd": "GET_CONF_INTR GET_PERM_MAC_LO GET_PERM_MAC_HI GET_LINK QUIESCE_DEV ACTIVATE_DEV UPDATE_FEATURE "
    "UPDATE_MAC_FILTERS UPDATE_RX_MODE GET_LINK",
    "ipxe": "RESET_DEV GET_PERM_MAC_LO GET_PERM_MAC_HI GET_LINK ACTIVATE_DEV",
    "vpp": "QUIESCE_DEV RESET_DEV GET_LINK ACTIVATE_DEV GET_LINK",
}


@pytest.mark.parametrize("profile", COMMANDS)
def test_profiles_give_their_commands_in_order(puppet: Puppet, profile: str) -> None:
    Driver(puppet).bring_up(profile=profile)

    assert commands(puppet) == COMMANDS[profile].split()


def test_linux_masks_are_lifted_before_disable_all_and_nothing_follows(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(profile="linux")

    assert [entry[:3] for entry in puppet.log[-driver.num_intrs :]] == [
        ("W", 0, 8 * n) for n in range(driver.num_intrs)
    ]
    assert driver.shared["intrCtrl"] == 0


def test_interrupts_are_switched_on_with_every_entry_filled(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up()

    table = [[puppet.bars[2, 16 * n + at] for at in (0, 4, 8, 12)] for n in range(25)]
    assert table == [[0xFEE0_0000, 0, 0x40 + n, int(n >= driver.num_intrs)] for n in range(25)]
    assert puppet.config[0x9C + 3] == 0x80
    assert puppet.config[4] & 6 == 6


def test_refused_activation_clears_the_address(puppet: Puppet) -> None:
    puppet.answers[Cmd.ACTIVATE_DEV] = 1

    with pytest.raises(ConfigError, match="refused"):
        Driver(puppet).bring_up()

    assert [entry[2:] for entry in puppet.log[-2:]] == [(wire.REG_DSAL, 0), (wire.REG_DSAH, 0)]


@pytest.mark.parametrize("offered", [0, 2, 0b101])
def test_versions_with_holes_are_a_complaint(puppet: Puppet, offered: int) -> None:
    puppet.bars[1, wire.REG_VRRS] = offered

    with pytest.raises(DeviceBroke, match="VMX-V-003"):
        Driver(puppet).bring_up()


def test_another_device_is_refused(puppet: Puppet) -> None:
    puppet.config[2] = 0xB1

    with pytest.raises(ConfigError, match="15ad:07b1"):
        Driver(puppet).bring_up()


# -- later versions ------------------------------------------------------------------------------------------------

LINUX = {
    3: "GET_CONF_INTR GET_LINK GET_TXDATA_DESC_SIZE ACTIVATE_DEV GET_COALESCE",
    4: "GET_CONF_INTR GET_LINK GET_TXDATA_DESC_SIZE ACTIVATE_DEV GET_COALESCE GET_RSS_FIELDS",
    6: "GET_MAX_QUEUES_CONF GET_CONF_INTR GET_LINK GET_TXDATA_DESC_SIZE ACTIVATE_DEV GET_COALESCE GET_RSS_FIELDS",
    7: "GET_DCR0_REG GET_MAX_QUEUES_CONF GET_DCR0_REG GET_CONF_INTR GET_LINK GET_TXDATA_DESC_SIZE ACTIVATE_DEV "
    "SET_RING_BUFFER_SIZE GET_COALESCE GET_RSS_FIELDS",
    9: "GET_DCR0_REG GET_MAX_QUEUES_CONF GET_DISABLED_OFFLOADS GET_DCR0_REG GET_CONF_INTR GET_LINK "
    "GET_TXDATA_DESC_SIZE GET_TSRING_DESC_SIZE ACTIVATE_DEV SET_RING_BUFFER_SIZE GET_COALESCE GET_RSS_FIELDS",
}


@pytest.mark.parametrize("version", LINUX)
def test_linux_says_more_to_later_versions(newest: Puppet, version: int) -> None:
    Driver(newest).bring_up(profile="linux", version=version, **SMALL)

    same = COMMANDS["linux"].partition("ACTIVATE_DEV")[2].split()
    assert commands(newest) == LINUX[version].split() + same


DPDK = {
    7: "GET_MAX_CAPABILITIES GET_DCR0_REG GET_MAX_QUEUES_CONF QUIESCE_DEV GET_TXDATA_DESC_SIZE GET_CONF_INTR GET_STATS "
    "UPDATE_FEATURE UPDATE_VLAN_FILTERS ACTIVATE_DEV REGISTER_MEMREGS SET_RING_BUFFER_SIZE UPDATE_RX_MODE GET_LINK",
}


@pytest.mark.parametrize("version", DPDK)
def test_dpdk_says_more_to_later_versions(newest: Puppet, version: int) -> None:
    Driver(newest).bring_up(profile="dpdk", version=version, **SMALL)

    assert commands(newest) == DPDK[version].split()


NEWEST = {"plain": 9, "linux": 9, "dpdk": 7, "vpp": 3, "openbsd": 2, "freebsd": 1, "ipxe": 1}


@pytest.mark.parametrize("profile", NEWEST)
def test_each_driver_takes_the_newest_version_it_knows(newest: Puppet, profile: str) -> None:
    driver = Driver(newest).bring_up(profile=profile)

    chosen = [value for verb, bar, offset, value in newest.log if (verb, bar, offset) == ("W", 1, wire.REG_VRRS)]
    assert (driver.version, chosen) == (NEWEST[profile], [1 << NEWEST[profile] - 1])


def test_bells_move_with_the_large_bar() -> None:
    puppet = Puppet(version=7, caps=Cap.LARGE_BAR)
    driver = Driver(puppet).bring_up(tx_queues=2, **SMALL)
    puppet.log.clear()

    driver.send(bytes(60), queue=1)
    driver.reset_function()
    driver.bring_up(version=6, tx_queues=2, **SMALL)
    driver.send(bytes(60), queue=1)

    bells = [(bar, offset) for verb, bar, offset, _ in puppet.log if verb == "W" and bar == 0 and offset >= 0x600]
    assert bells == [(0, wire.LB_REG_TXPROD + 8), (0, wire.REG_TXPROD + 8)]
    puppet.close()


def test_dpdk_leaves_the_bells_where_they_are() -> None:
    puppet = Puppet(version=7, caps=Cap.LARGE_BAR | Cap.UDP_RSS | Cap.OOORX_COMP)

    driver = Driver(puppet).bring_up(profile="dpdk", **SMALL)

    assert (driver.caps, driver.bells[0]) == (Cap.UDP_RSS, wire.REG_TXPROD)
    puppet.close()


# -- sleep ---------------------------------------------------------------------------------------------------------


def test_suspend_leaves_orders_and_sleeps(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(profile="linux", **SMALL)
    puppet.log.clear()

    driver.suspend(Wake.MAGIC | Wake.FILTER, [station_filter(driver.mac)])

    assert [entry for entry in puppet.log if entry[1] == 1] == [("W", 1, wire.REG_CMD, Cmd.UPDATE_PMCFG)]
    assert {entry for entry in puppet.log if entry[1] == 0} == {("W", 0, 8 * n, 1) for n in range(driver.num_intrs)}
    assert puppet.config[PM + 4 : PM + 6] == b"\x03\x01"  # D3hot, PME enabled
    assert puppet.config[4] & 4 == 0  # no bus mastering


def test_suspend_without_anything_to_wake_for_leaves_pme_off(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(**SMALL)

    driver.suspend()

    assert puppet.config[PM + 4 : PM + 6] == b"\x03\x00"


def test_pme_is_seen_and_taken_back_at_resume(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(**SMALL)
    driver.suspend(Wake.MAGIC)
    before = driver.pme()
    puppet.config[PM + 5] |= 0x80

    seen = driver.pme()
    driver.resume()

    assert (before, seen, driver.pme()) == (False, True, False)
    assert puppet.config[PM + 4 : PM + 6] == b"\x00\x00"


def test_resume_starts_over_without_a_look_at_the_version(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(**SMALL)
    driver.suspend()
    puppet.log.clear()

    driver.resume()

    assert commands(puppet) == ["QUIESCE_DEV", "RESET_DEV", "ACTIVATE_DEV"]
    assert not [entry for entry in puppet.log if entry[1:3] == (1, wire.REG_VRRS)]
    assert (driver.active, puppet.config[4] & 4) == (True, 4)


def test_sleep_needs_the_capability(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(**SMALL)
    assert driver.pci is not None
    driver.pci.caps.pop(1)

    with pytest.raises(ConfigError, match="power management"):
        driver.suspend()
