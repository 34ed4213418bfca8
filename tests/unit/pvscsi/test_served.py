"""A served adapter: what its options make of it."""

import click
import pytest

from pvdev.transport.inproc import LocalPort
from pvscsi.device import Pvscsi
from pvscsi.driver import Driver, cdb
from pvscsi.profiles import PROFILES
from pvscsi.served import PARAMS, build


def options(*words: str) -> dict[str, object]:
    return click.Command("pvscsi", params=list(PARAMS)).make_context("pvscsi", list(words)).params


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_excuses_what_its_driver_is_known_for(name: str) -> None:
    built = build(options("--profile", name))

    with built.owns:
        assert built.device.rules.known == PROFILES[name].known


def test_firmware_and_an_operating_system_are_excused_together() -> None:
    built = build(options("--profile", "seabios", "--profile", "openbsd"))

    with built.owns:
        assert built.device.rules.known.keys() == PROFILES["seabios"].known.keys() | PROFILES["openbsd"].known.keys()


@pytest.mark.parametrize("watch", [True, False])
def test_a_close_look_is_taken_when_asked_for(watch: bool) -> None:
    built = build(options("--disk", "mem:1M", *(["--watch"] if watch else [])))
    device = built.device
    assert isinstance(device, Pvscsi)

    with built.owns:
        port = LocalPort(device)
        driver = Driver(port).bring_up()
        driver.run(cdb.inquiry(36), read=96)
        driver.close()
        port.close()

    assert device.rules.numbers() == ({"PVS-D-036"} if watch else set())
