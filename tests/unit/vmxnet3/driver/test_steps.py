"""The step language: what is read, written and skipped."""

import pytest

from pvdev.errors import ConfigError
from tests.unit.vmxnet3.puppet import SMALL, Puppet
from vmxnet3 import wire
from vmxnet3.driver import DeviceBroke, Driver
from vmxnet3.driver.config import Config, Rss
from vmxnet3.wire import Cap, Cmd, RssField

RSS = Rss(table=b"\0" * 4, key=bytes(40))


@pytest.mark.parametrize(
    ("config", "done"),
    [
        ({}, ["GET_LINK"]),
        ({"rss": RSS}, ["GET_LINK", "GET_STATS"]),
        ({"rss_fields": RssField.TCPIP4}, ["GET_LINK", "GET_RSS_FIELDS"]),
    ],
)
def test_conditions(newest: Puppet, config: dict[str, object], done: list[str]) -> None:
    driver = Driver(newest)
    driver.config = Config(version=6, **config)  # type: ignore[arg-type]
    driver.run(("R VRRS", "W VRRS"))
    newest.log.clear()

    driver.run(("v6: C GET_LINK", "v7: C GET_DCR0_REG", "v4 rss: C GET_STATS", "fields: C GET_RSS_FIELDS"))

    assert [Cmd(entry[3]).name for entry in newest.log] == done


@pytest.mark.parametrize("offered", [0, 2, 0b101])
def test_versions_with_holes_are_a_complaint(puppet: Puppet, offered: int) -> None:
    puppet.bars[1, wire.REG_VRRS] = offered

    with pytest.raises(DeviceBroke, match="VMX-V-003"):
        Driver(puppet).bring_up()


def test_a_version_the_device_has_not_is_refused(puppet: Puppet) -> None:
    with pytest.raises(ConfigError, match=r"offers versions 0b1, this driver wants \[3\]"):
        Driver(puppet).bring_up(version=3)


CAPS = Cap.UDP_RSS | Cap.GENEVE_TSO | Cap.LARGE_BAR


@pytest.mark.parametrize(
    ("profile", "caps", "ptcr", "written"),
    [
        ("plain", None, Cap.ERROR, [CAPS]),
        ("plain", None, Cap.GENEVE_TSO, [Cap.GENEVE_TSO]),
        ("plain", Cap.UDP_RSS | Cap.INNER_RSS, Cap.ERROR, [Cap.UDP_RSS | Cap.INNER_RSS]),
        ("linux", None, Cap.ERROR, [Cap.LARGE_BAR, Cap.LARGE_BAR | Cap.GENEVE_TSO]),
        ("linux", Cap(0), Cap.ERROR, [Cap(0)]),
        ("dpdk", None, Cap.ERROR, [Cap.UDP_RSS | Cap.GENEVE_TSO]),
    ],
)
def test_capabilities_asked_for(profile: str, caps: Cap | None, ptcr: Cap, written: list[Cap]) -> None:
    puppet = Puppet(version=7, caps=CAPS)
    puppet.bars[1, wire.REG_PTCR] = int(ptcr)

    driver = Driver(puppet).bring_up(profile=profile, caps=caps, **SMALL)

    assert [entry[3] for entry in puppet.log if entry[:3] == ("W", 1, wire.REG_DCR)] == written
    assert driver.caps == written[-1] & CAPS
    puppet.close()


def test_linux_sets_the_hash_fields_it_was_told(newest: Puppet) -> None:
    driver = Driver(newest).bring_up(profile="linux", version=6, rss_fields=RssField(0xF), **SMALL)

    commands = [entry[3] for entry in newest.log if entry[:3] == ("W", 1, wire.REG_CMD)]
    at = commands.index(Cmd.SET_RSS_FIELDS)
    assert commands[at + 1] == Cmd.GET_RSS_FIELDS
    assert driver.rx[0].judge.fields == 3  # what the device says counts
