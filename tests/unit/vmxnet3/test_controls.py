from collections.abc import Generator
from typing import Any

import pytest

from pvdev.control import call
from pvdev.errors import ConfigError
from pvdev.kinds import load
from vmxnet3.controls import controls
from vmxnet3.device import Vmxnet3
from vmxnet3.ports.port import LoopbackPort


class Nic:
    """A device, its port, and a way to say to it what a command line says."""

    def __init__(self) -> None:
        self.port = LoopbackPort("loopback")
        self.device = Vmxnet3(self.port)
        self.controls = controls(self.device, self.port)

    def say(self, name: str, *args: object, **options: object) -> Any:
        return call(name, self.controls[name], args, options)


@pytest.fixture
def nic() -> Nic:
    return Nic()


def test_the_cable_goes_out_and_in(nic: Nic) -> None:
    assert nic.say("link", "down") == {"up": False, "mbps": 10_000}
    assert not nic.device.link_up
    assert nic.say("link", "up", speed="2500") == {"up": True, "mbps": 2500}
    assert (nic.device.link_up, nic.device.link_mbps) == (True, 2500)


def test_flapping_is_down_and_up_in_turn(nic: Nic) -> None:
    steps = nic.say("link", "flap", times=3, interval="0.25", speed=1000)
    assert isinstance(steps, Generator)
    seen = []
    facts = None
    while facts is None:
        try:
            seen.append((next(steps), nic.device.link_up))
        except StopIteration as end:
            facts = end.value

    assert seen == [(0.25, False), (0.25, True), (0.25, False), (0.25, True), (0.25, False)]
    assert facts == {"up": True, "mbps": 1000}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"speed": 0}, "link: speed 0: give 1 to 65535"),
        ({"speed": 65536}, "link: speed 65536: give 1 to 65535"),
        ({"times": 0}, "link: times 0: give 1 to 1e+06"),
        ({"interval": -1}, "link: interval -1.0: give 0 to 3600"),
    ],
)
def test_what_no_cable_can(nic: Nic, options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        nic.say("link", "up", **options)
    assert str(caught.value) == says
    assert nic.device.link_up


def test_status_tells_what_is_known(nic: Nic) -> None:
    nic.port.send([[bytes(60)]])
    nic.device.rules.note("VMX-D-006", "CMD", 0xBAD)

    found = nic.say("status")

    assert (found["state"], found["version"], found["mac"]) == ("reset", 0, "02:00:00:00:00:01")
    assert found["link"] == {"up": True, "mbps": 10_000}
    assert found["port"]["frames_out"] == 1
    assert found["wakes"] == {}
    assert [each["rule"] for each in found["violations"]] == ["VMX-D-006"]


def test_the_kind_announces_them_and_can_begin_without_a_cable() -> None:
    import click

    kind = load("vmxnet3")
    values = click.Command("x", params=list(kind.params)).make_context("x", ["--link", "down"]).params

    built = kind.build(values)

    with built.owns:
        assert sorted(built.controls) == ["link", "status"]
        assert call("status", built.controls["status"], [], {})["link"]["up"] is False  # type: ignore[index]
