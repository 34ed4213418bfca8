"""What can be asked of a running host from outside."""

from collections.abc import Generator
from typing import Any

import pytest

from pvdev.control import call, describe
from pvdev.errors import ConfigError
from tests.conformance.vmtools.rig import SECOND, Rig
from tests.conformance.vmtools.snapshots import QuiescedGuest
from vmtools.controls import controls
from vmtools.heartbeat import Pulse


class Asked:
    """A guest, and somebody outside of its host."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.guest = QuiescedGuest(self.rig)
        self.service = self.guest.service
        self.controls = controls(self.rig.host, lambda: self.rig.ports.now_ns)

    def __call__(self, name: str, *args: object, **options: object) -> Any:
        """A control's answer; while it waits the guest goes on."""
        answer = call(name, self.controls[name], args, options)
        if not isinstance(answer, Generator):
            return answer
        for _ in range(100):
            try:
                next(answer)
            except StopIteration as end:
                return end.value
            self.guest.turn(1)
        raise AssertionError(f"{name} has no end")


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_how_it_does(asked: Asked) -> None:
    asked.service.rpc.call("SetGuestInfo  1 web-1")
    asked.service.rpc.call("info-set wrong x")

    status = asked("status")

    assert (status["heartbeat"], status["hostname"], status["tools"]) == ("green", "web-1", "12448 4")
    assert status["balloon"] == {"target": 0, "held": 0, "limit": 0}
    assert [each["rule"] for each in status["violations"]] == ["VMT-D-032"]
    assert asked("info")["capabilities"]["hgfs_server"] == "toolbox 1"


@pytest.mark.parametrize(("amount", "mib"), [("50%", 32), ("16M", 16), ("0", 0)])
def test_the_balloon(asked: Asked, amount: str, mib: int) -> None:
    driver = asked.rig.balloon()

    assert asked("balloon", amount)["target"] == mib << 20
    driver.work()
    assert asked("status")["balloon"]["held"] == mib << 20


def test_variables(asked: Asked) -> None:
    asked("set", "guestinfo.a", "1")
    asked("set", "b", "2")

    assert asked.service.rpc.call("info-get guestinfo.b") == (True, b"2")
    assert (asked("get", "a"), asked("get", "guestinfo.none"), asked("variables")) == ("1", None, ["a", "b"])
    asked("unset", "a")
    assert asked("variables") == ["b"]


def test_power(asked: Asked) -> None:
    good = asked("power", "suspend")
    asked.rig.scripts(asked.service, ok=False)

    assert good == {"ok": True, "why": ""}
    assert asked("power", "reboot") == {"ok": False, "why": "its script failed"}


def test_a_snapshot_that_somebody_else_takes(asked: Asked) -> None:
    assert asked("snapshot", "freeze") == {"frozen": True, "why": ""}
    assert asked.guest.frozen
    with pytest.raises(ConfigError, match="under way"):
        asked("snapshot", "freeze")

    assert asked("snapshot", "thaw") == {"ok": True, "why": ""}
    assert not asked.guest.frozen


def test_one_that_is_given_up(asked: Asked) -> None:
    asked("snapshot", "freeze")

    assert asked("snapshot", "abort") == {"ok": False, "why": "aborted"}
    with pytest.raises(ConfigError, match="idle: begin with"):
        asked("snapshot", "thaw")


def test_one_that_fails(asked: Asked) -> None:
    asked.guest.fails = "a script failed"

    assert asked("snapshot", "freeze") == {"frozen": False, "why": "a script failed"}


def test_heartbeats_and_pings(asked: Asked) -> None:
    assert asked("ping") == {"ok": True, "why": ""}
    asked("heartbeat", 60)
    asked.guest.turn(20)

    assert asked.rig.host.heartbeat.state(asked.rig.ports.now_ns) is Pulse.RED


def test_time(asked: Asked) -> None:
    asked.service.on[b"Time_Synchronize"] = lambda rest: b"ERROR Unable to sync time"
    before = asked.rig.host.clock.wall_ns(0)
    asked("clock", -1.5)

    assert asked.rig.host.clock.wall_ns(0) - before == -1.5 * SECOND
    assert asked("time", "once") == {"ok": False, "why": "Unable to sync time"}
    assert asked("time", "on") == {"ok": True, "why": ""}
    assert asked.rig.host.timesync.periodic


def test_options_and_sizes(asked: Asked) -> None:
    asked("option", "copypaste", "1")
    assert asked("resize", 800, 600) == {"ok": False, "why": "no program sets resolutions"}
    asked.guest.turn(1)

    assert asked.service.seen[-1] == b"Set_Option copypaste 1"


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("balloon", ["much"]),
        ("balloon", ["512"]),
        ("balloon", ["1G"]),
        ("set", ["two words", "x"]),
        ("unset", ["none"]),
        ("option", ["a b", "x"]),
        ("heartbeat", [0]),
        ("resize", [0, 600]),
        ("power", ["sleep"]),
    ],
)
def test_what_cannot_be_is_told_in_a_line(asked: Asked, name: str, args: list[object]) -> None:
    with pytest.raises(ConfigError) as caught:
        asked(name, *args)

    assert "\n" not in str(caught.value)


def test_each_has_its_usage(asked: Asked) -> None:
    shown = [describe(name, do) for name, do in asked.controls.items()]

    assert "snapshot freeze|thaw|abort" in shown
    assert "balloon TEXT" in shown
