"""What drivers in the field say: the commands of each profile and version, in order."""

import pytest

from tests.unit.vmxnet3.puppet import SMALL, Puppet, commands
from vmxnet3 import wire
from vmxnet3.driver import Driver
from vmxnet3.wire import Cap

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


def test_dpdk_leaves_the_bells_where_they_are() -> None:
    puppet = Puppet(version=7, caps=Cap.LARGE_BAR | Cap.UDP_RSS | Cap.OOORX_COMP)

    driver = Driver(puppet).bring_up(profile="dpdk", **SMALL)

    assert (driver.caps, driver.bells[0]) == (Cap.UDP_RSS, wire.REG_TXPROD)
    puppet.close()
