"""Scenarios: read, played, told of."""

from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from tests.conformance.vmtools.rig import SECOND, Rig
from tests.conformance.vmtools.snapshots import QuiescedGuest
from vmtools.scenario import Scenario, parse
from vmtools.steps import ACTIONS, duration

EVENING = Path(__file__).parents[3] / "examples" / "evening.toml"


def play(rig: Rig, guest: QuiescedGuest, scenario: Scenario, seconds: int) -> None:
    """A guest with all services, and its host, for so long."""
    driver = rig.balloon()
    for _ in range(seconds):
        guest.turn(1)
        rig.kernel.now_ns = rig.ports.now_ns
        driver.work()
        rig.host.tick(rig.ports.now_ns)
        if scenario.done:
            return


def test_an_evening_with_a_good_guest() -> None:
    rig = Rig()
    scenario = parse(EVENING.read_text(encoding="utf-8"))
    scenario.attach(rig.host)
    guest = QuiescedGuest(rig)

    play(rig, guest, scenario, 200)

    assert scenario.done
    assert scenario.ok, scenario.report()
    assert rig.host.variables["task"] == b"night shift"
    assert [step.began_ns // SECOND for step in scenario.steps] == [1, 5, 20, 40, 45, 60, 70, 90]
    assert b"OS_Halt" in guest.service.seen
    rig.assert_clean()


def test_a_guest_that_does_not_do_what_it_should() -> None:
    rig = Rig()
    scenario = parse(
        """
        [[step]]
        snapshot = true

        [[step]]
        at = "5s"
        snapshot = true
        expect = "failure"

        [[step]]
        at = 10
        variable = { ready = "yes" }
        within = "3s"

        [[step]]
        at = "20s"
        ping = true
        expect = "failure"
        """
    )
    scenario.attach(rig.host)
    guest = QuiescedGuest(rig)
    guest.fails = "a script failed"

    play(rig, guest, scenario, 60)

    assert scenario.done
    assert not scenario.ok
    assert [(step.ok, step.why) for step in scenario.steps] == [
        (False, "a script failed"),
        (True, ""),
        (False, "not in time"),
        (False, "it worked"),
    ]
    assert scenario.report()[0] == "    0.0 s  snapshot: FAILED: a script failed, 2.0 s"


def test_from_boot_on_a_guest_needs_no_service() -> None:
    rig = Rig()
    scenario = parse('start = "boot"\n[[step]]\nat = "1s"\nballoon = "16M"\n[[step]]\nat = "2s"\npower = "reboot"\n')
    scenario.attach(rig.host)
    driver = rig.balloon()
    rig.pass_time(1 * SECOND)
    driver.work()
    rig.pass_time(5 * SECOND)

    assert [(step.ok, step.why) for step in scenario.steps] == [(True, ""), (False, "no such program runs")]
    assert rig.host.balloon_device.current == 4096


def test_what_cannot_be_at_once() -> None:
    rig = Rig()
    words = ("snapshot = true", "snapshot = true", 'power = "suspend"', 'power = "reboot"')
    scenario = parse("".join(f'[[step]]\nat = "5s"\n{each}\n' for each in words))
    scenario.attach(rig.host)
    guest = QuiescedGuest(rig)
    rig.scripts(guest.service)

    play(rig, guest, scenario, 60)

    assert [step.why for step in scenario.steps] == [
        "",
        "another snapshot is under way",
        "",
        "suspend is under way",
    ]
    assert scenario.report()[1] == "    5.0 s  snapshot: FAILED: another snapshot is under way, 0.0 s"
    assert scenario.fault is not None
    assert "power reboot (suspend is under way)" in scenario.fault


STEPS = {
    "balloon": '"40%"',
    "balloon-reset": "true",
    "snapshot": "true",
    "power": '"suspend"',
    "shutdown": "true",
    "force": '"reset"',
    "drop-heartbeats": '"1s"',
    "heartbeat": '"green"',
    "ping": "true",
    "set": '{ a = "b" }',
    "variable": '{ alive = "yes" }',
    "option": '{ copypaste = "1" }',
    "clock": '"-1h"',
    "sync-time": '"on"',
    "resolution": '"800x600"',
    "address": '"192.0.2.10"',
}


@pytest.mark.parametrize("what", ACTIONS)
def test_every_step_works(what: str) -> None:
    rig = Rig()
    scenario = parse(f"[[step]]\n{what} = {STEPS[what]}\n")
    scenario.attach(rig.host)
    guest = QuiescedGuest(rig)
    rig.host.variables["alive"] = "yes"
    guest.service.rpc.call("tools.capability.resolution_server toolbox 1")
    guest.service.on[b"Resolution_Set"] = lambda rest: b"OK "
    nics = "00000003 00000001 00000001 00000000 00000001 00000001 00000004 c000020a 00000018 00000000 00000000"
    guest.service.rpc.call(b"SetGuestInfo  10 " + bytes.fromhex(nics) + bytes(16 + 4 + 16))

    play(rig, guest, scenario, 30)

    assert scenario.ok, scenario.report()
    assert "scenario.ended" in rig.trace.points()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("=", "scenario: "),
        ("", "1 to 1000 steps"),
        ('stop = "x"', "'stop' is not known"),
        ('start = "noon"\n[[step]]\nping = true', '"service" or "boot"'),
        ("step = 5", "1 to 1000 steps"),
        ("[[step]]", "step 1: one thing to do"),
        ("[[step]]\nping = true\nshutdown = true", "step 1: one thing to do, not 2"),
        ("[[step]]\ndance = true", "step 1: 'dance' is not known"),
        ("[[step]]\nping = false", "step 1: False: write true"),
        ('[[step]]\nballoon = "101%"', "no amount of memory"),
        ("[[step]]\nballoon = 60", "no amount of memory"),
        ('[[step]]\nat = "soon"\nping = true', "'soon' is no time"),
        ('[[step]]\nping = true\n[[step]]\npower = "on"', "step 2: power = 'on'"),
        ('[[step]]\nping = true\nexpect = "luck"', '"success" or "failure"'),
        ("[[step]]\nset = { a = 5 }", "names and texts"),
        ('[[step]]\nclock = "1h"', "by how much it jumps"),
        ('[[step]]\nresolution = "big"', 'write "1024x768"'),
        ('[[step]]\nheartbeat = "blue"', "one of "),
        ('[[step]]\nforce = "up"', '"off" or "reset"'),
        ('[[step]]\nsync-time = "often"', "sync-time"),
        ("[[step]]\naddress = 5", "address"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)

    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "ns"), [("5s", 5 * SECOND), ("1.5m", 90 * SECOND), ("3ms", 3_000_000), (2, 2 * SECOND)]
)
def test_times(text: object, ns: int) -> None:
    assert duration(text) == ns


@pytest.mark.parametrize("text", ["", "5", "-1s", True, -1, None, [], "1e9s"])
def test_what_is_no_time(text: object) -> None:
    with pytest.raises(ValueError, match="is no time"):
        duration(text)
