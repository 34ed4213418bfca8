"""The reference driver: bring-up, doorbells, sleep."""

import pytest

from pvdev.errors import ConfigError
from tests.unit.vmxnet3.puppet import PM, SMALL, Puppet, commands
from vmxnet3 import wire
from vmxnet3.driver import Driver, station_filter
from vmxnet3.wire import Cap, Cmd
from vmxnet3.wire_args import Wake


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


def test_a_header_longer_than_its_slot_is_a_mistake_of_the_caller(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(**SMALL)

    with pytest.raises(ValueError, match="129 bytes, data ring slots of 128"):
        driver.send(bytes(200), header=129)


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
