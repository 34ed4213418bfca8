"""Duties of the host, VMT-V-032 to 049: what it answers, what it asks, and what it makes of it."""

import base64
import json

import pytest

from tests.conformance.vmtools.rig import SECOND, Rig
from tests.conformance.vmtools.snapshots import QuiescedGuest
from vmtools import xdr
from vmtools.driver import clock
from vmtools.driver.rpc import Channel, Service
from vmtools.heartbeat import Pulse
from vmtools.nics import Address
from vmtools.power import Outcome as Powered
from vmtools.resources import STATISTICS
from vmtools.snapshot import Options, Outcome, State
from vmtools.tclo import Result
from vmtools.variables import KEY_MAX
from vmtools.wire import PROTO_RPCI, Cmd

NICS_V3 = (  # of a Linux guest with one NIC: 17 characters of MAC, 192.0.2.10/24
    xdr.u32(3, 1, 1)
    + xdr.opaque(b"a6:45:83:c2:73:04")
    + bytes.fromhex("00000002 00000001 00000004 c000020a 00000018 00000000 00000000")
    + bytes.fromhex("00000002 00000010 fe800000000000000000000000000001 00000040 00000001 00000005 00000000")
    + xdr.u32(0, 0, 0, 0)  # of the NIC: no DNS, WINS, DHCP
    + xdr.u32(0)  # routes
    + xdr.u32(1, 1)
    + xdr.opaque(b"web-1")
    + xdr.u32(1)
    + xdr.opaque(b"example.org")
    + bytes.fromhex("00000001 00000001 00000004 c0000201 00000000")
    + xdr.u32(0, 0, 0)
)


# -- RPCI --------------------------------------------------------------------------------------------------------------


def test_VMT_V_032_answers_begin_with_their_success(rig: Rig) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)
    answers = []
    for text in (
        b"info-set guestinfo.a b",
        b"info-get guestinfo.none",
        b"info-set guestinfo.a ",
        b"info-get guestinfo.a",
    ):
        channel.send(text)
        answers.append(channel.receive())

    assert answers == [b"1 ", b"0 No value found", b"1 ", b"1 "]


@pytest.mark.parametrize("text", ["foo", "foo bar", "Log x", "info-getx guestinfo.a", "tools.capabilityx y", "f\0"])
def test_VMT_V_033_unknown_requests(rig: Rig, text: str) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.send(text.encode())

    assert channel.receive() == b"0 Unknown command"


@pytest.mark.parametrize("end", ["", "\0", " ", " \0"])
def test_VMT_V_034_ends_of_requests(rig: Rig, end: str) -> None:
    rpc = rig.rpc()
    rig.host.variables["a"] = "b"

    assert rpc.call("tools.set.version 12448" + end)[0]
    assert rpc.call("vmx.capability.unified_loop" + end)[0]
    assert rpc.call("info-get guestinfo.a" + end) == (True, b"b")


@pytest.mark.parametrize("value", [b"", b" ", b"two words  and more", bytes(range(1, 256)), b"\n", b"x" * 60000])
def test_VMT_V_035_variables_keep_their_bytes(rig: Rig, value: bytes) -> None:
    rpc = rig.rpc()

    assert rpc.call(b"info-set guestinfo.key " + value) == (True, b"")
    assert rpc.call("info-get guestinfo.key") == (True, value)
    assert rig.host.variables["key"] == value


def test_VMT_V_035_variables_of_the_host(rig: Rig) -> None:
    rpc = rig.rpc()
    heard: list[tuple[str, bytes | None]] = []
    rig.host.variables.on_change.append(lambda key, value: heard.append((key, value)))
    rig.host.variables["fixed"] = "mine"
    rig.host.variables.lock("fixed")

    assert rpc.call("info-set guestinfo.fixed yours")[0] is False
    assert rpc.call("info-get guestinfo.fixed") == (True, b"mine")
    assert rpc.call("info-set guestinfo.theirs 1")[0]
    del rig.host.variables["fixed"]
    assert rpc.call("info-get guestinfo.fixed")[0] is False
    assert heard == [("fixed", b"mine"), ("theirs", b"1"), ("fixed", None)]
    assert rig.host.variables.size == len("theirs1")


def test_VMT_V_036_the_store_has_a_limit(rig: Rig) -> None:
    rpc, store = rig.rpc(), rig.host.variables
    store.limit = 10_000
    assert rpc.call(b"info-set guestinfo.a " + b"1" * 9000)[0]

    assert rpc.call(b"info-set guestinfo.b " + b"2" * 2000)[0] is False
    assert rpc.call(b"info-set guestinfo.a " + b"3" * 20000)[0] is False

    assert store["a"] == b"1" * 9000
    assert "b" not in store
    assert rpc.call(b"info-set guestinfo.a " + b"4" * 9999)[0]
    assert store.size == 10_000


def test_VMT_V_036_one_mebibyte_unless_said_otherwise(rig: Rig) -> None:
    rpc = rig.rpc()

    fits = [rpc.call(b"info-set guestinfo.%02d " % n + bytes(60_000))[0] for n in range(20)]

    assert fits == [True] * 17 + [False] * 3


def test_VMT_V_037_no_data_in_the_answer(rig: Rig) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)
    answers = []
    for text in (b"SetGuestInfo  1 web-1\0", b"SetGuestInfo  7 4242\0", b"SetGuestInfo  10 " + NICS_V3):
        channel.send(text)
        answers.append(channel.receive())

    assert answers == [b"1 "] * 3
    assert rig.host.info.hostname == "web-1"
    assert rig.host.info.uptime_s == 42.42


def test_VMT_V_037_what_a_guest_says_of_its_network(rig: Rig) -> None:
    rig.rpc().call(b"SetGuestInfo  10 " + NICS_V3)

    network = rig.host.info.network

    assert network.nics[0].mac == "a6:45:83:c2:73:04"
    assert network.nics[0].addresses == (Address("192.0.2.10", 24), Address("fe80::1", 64, "linklayer"))
    assert (network.name, network.domain, network.servers) == ("web-1", "example.org", ("192.0.2.1",))
    assert rig.host.info.addresses == ["192.0.2.10", "fe80::1"]
    assert "guestinfo.changed" in rig.trace.points()


V2 = (
    xdr.u32(2, 1, 1)
    + b"".join(xdr.u32(mark) for mark in b"a6:45:83:c2:73:04\0")
    + xdr.u32(1, 0, 1)
    + b"".join(xdr.u32(mark) for mark in b"192.0.2.10".ljust(64, b"\0"))
    + b"".join(xdr.u32(mark) for mark in b"255.255.255.0".ljust(64, b"\0"))
)
V1 = (1).to_bytes(4, "little") + (2).to_bytes(4, "little") + b"a6:45:83:c2:73:04\0\xff"
V1 = (V1 + b"192.0.2.10".ljust(16, b"\0") + b"192.0.2.11".ljust(16, b"\0")).ljust(2436, b"\xee")
OS = b"\1\0\0\0" + b"debian13-64".ljust(129, b"\0") + b"Debian GNU/Linux 13".ljust(515, b"\0")
OS += b"bitness='64' distroName='Debian GNU/Linux' kernelVersion='6.12.0'\0"
DISKS = {
    "version": "1",
    "disks": [
        {"name": base64.b64encode(b"/").decode(), "free": "5", "size": "9", "fstype": "ext4", "devices": ["scsi0:0"]}
    ],
}


def test_VMT_V_038_older_forms_when_newer_are_refused(rig: Rig) -> None:
    rpc, info = rig.rpc(), rig.host.info
    info.refuse, info.refuse_json = {10, 11}, True
    forms = {10: NICS_V3, 9: V2, 2: V1, 11: OS, 5: b"Debian 13\0", 6: b"debian13-64\0", 3: b"\0"}

    taken = {kind: rpc.call(b"SetGuestInfo  %d " % kind + data)[0] for kind, data in forms.items()}

    assert [kind for kind, ok in taken.items() if not ok] == [10, 11]
    assert rpc.call("SetGuestDiskInfo " + json.dumps(DISKS)) == (False, b"Unknown command")


def test_VMT_V_038_all_forms_say_the_same(rig: Rig) -> None:
    rpc, info = rig.rpc(), rig.host.info
    rpc.call(b"SetGuestInfo  9 " + V2)
    second = info.network.nics[0]
    rpc.call(b"SetGuestInfo  2 " + V1)
    first = info.network.nics[0]
    rpc.call(b"SetGuestInfo  11 " + OS)
    rpc.call("SetGuestDiskInfo " + json.dumps(DISKS))
    disks = info.disks
    rpc.call(b"SetGuestInfo  3 \1" + (5).to_bytes(8, "little") + (9).to_bytes(8, "little") + b"/".ljust(100, b"\0"))

    assert (second.mac, second.addresses) == ("a6:45:83:c2:73:04", (Address("192.0.2.10", 24, "dhcp"),))
    assert (first.mac, [a.ip for a in first.addresses]) == (second.mac, ["192.0.2.10", "192.0.2.11"])
    assert (info.os_name, info.os_full) == ("debian13-64", "Debian GNU/Linux 13")
    assert info.os_details["kernelVersion"] == "6.12.0"
    assert [(d.name, d.free, d.size) for d in disks] == [(d.name, d.free, d.size) for d in info.disks] == [("/", 5, 9)]
    assert disks[0].devices == ("scsi0:0",)
    rig.assert_clean()


def test_VMT_V_038_statistics(rig: Rig) -> None:
    head = (5).to_bytes(4, "little") + (0x401).to_bytes(4, "little") + bytes(104)
    first = b"\xae\0\0\0" + b"\x0a\0_tools/v1\0"[:2] + b"_tools/v1\0" + b"\1\0\x3c" + b"\1\0\x09" + b"\2\0\x03\x08"
    first += b"\3\0\x00\x00\x10"  # memTotal, 1 Mi of KiB
    zero = b"\xac\0\0\0" + b"\1\0\x09" + b"\1\0\x09" + b"\2\0\x03\x08" + b"\0\0"
    rate = b"\xac\0\0\0" + b"\1\0\x02" + b"\1\0\x0b" + b"\1\0\x42" + b"\x08\0" + bytes.fromhex("000000000000f83f")

    assert rig.rpc().call(b"SetGuestInfo  8 " + head + first + zero + rate) == (True, b"")

    assert rig.host.info.statistics == {"memTotal": 1 << 20, "swapSpaceRemaining": 0, "contextSwapRate": 1.5}


def test_VMT_V_038_changes_are_told_of_once(rig: Rig) -> None:
    rpc, heard = rig.rpc(), list[str]()
    rig.host.info.on_change.append(lambda what, now_ns: heard.append(what))
    for _ in range(2):
        rpc.call(b"SetGuestInfo  10 " + NICS_V3)
        rpc.call("SetGuestDiskInfo " + json.dumps(DISKS))
        rpc.call(b"SetGuestInfo  1 web-1")
        rpc.call(b"SetGuestInfo  11 " + OS)

    assert heard == ["network", "disks", "name", "os"]


@pytest.mark.parametrize("text", ["x", "1 2", "", "-5", "1" * 21])
def test_VMT_V_038_an_uptime_that_is_none(rig: Rig, text: str) -> None:
    assert rig.rpc().call(f"SetGuestInfo  7 {text}") == (False, b"Invalid data")
    assert rig.host.info.uptime_s is None


# -- TCLO --------------------------------------------------------------------------------------------------------------


def test_VMT_V_039_reset_comes_first(rig: Rig) -> None:
    service = Service(rig.ports)
    silent: list[bytes] = []
    service.on[b"reset"] = lambda rest: b"ERROR not yet"

    service.poll(6)
    silent += service.seen
    service.on[b"reset"] = lambda rest: b"OK ATR toolbox"
    service.settle()

    assert silent == [b"reset"] * 6
    assert service.seen[len(silent) : len(silent) + 2] == [b"reset", b"Capabilities_Register"]


def test_VMT_V_040_one_command_at_a_time(rig: Rig) -> None:
    service = rig.service()
    results: list[tuple[str, Result]] = []
    for name in ("one", "two"):
        rig.host.hub.ask(f"echo {name}", rig.ports.now_ns, lambda r, t, name=name: results.append((name, r)))  # type: ignore[misc]
    service.channel.send(b"")
    assert service.channel.receive() == b"echo one"
    assert service.channel.receive() is None

    service.channel.send(b"OK first")
    assert service.channel.receive() == b"echo two"
    service.channel.send(b"ERROR second")

    assert results == [("one", Result(True, b"first")), ("two", Result(False, b"second"))]


def test_VMT_V_040_a_result_that_comes_too_late(rig: Rig) -> None:
    """It is no longer waited for, and is not taken for another's."""
    service = rig.service()
    results: list[tuple[str, Result]] = []

    def ask(name: str) -> None:
        def heard(result: Result, now_ns: int) -> None:
            results.append((name, result))

        rig.host.hub.ask(name, rig.ports.now_ns, heard, patience_ns=5 * SECOND)

    ask("slow")
    ask("next")
    service.channel.send(b"")
    assert service.channel.receive() == b"slow"
    assert rig.host.tick(rig.ports.now_ns) is not None
    rig.pass_time(6 * SECOND)
    ask("third")

    service.channel.send(b"OK at last")
    assert service.channel.receive() == b"third"
    service.channel.send(b"OK ")

    assert results == [
        ("slow", Result(False, b"no answer in time", answered=False)),
        ("next", Result(False, b"not fetched in time", answered=False)),
        ("third", Result(True)),
    ]


def test_VMT_V_040_a_program_that_goes(rig: Rig) -> None:
    service = rig.service()
    results: list[Result] = []
    rig.host.heartbeat.ping(rig.ports.now_ns, lambda result, now_ns: results.append(result))
    service.close()
    rig.host.heartbeat.ping(rig.ports.now_ns, lambda result, now_ns: results.append(result))

    assert [(result.ok, result.answered) for result in results] == [(False, False), (False, False)]


def test_VMT_V_040_too_many_commands(rig: Rig) -> None:
    service, failed = rig.service(), list[bytes]()
    for _ in range(100):
        rig.host.heartbeat.ping(rig.ports.now_ns, lambda result, now_ns: failed.append(result.text))

    assert failed == [b"too many commands wait"] * 36
    service.settle()
    assert service.seen.count(b"ping") == 64


def test_VMT_V_041_requests_meanwhile(rig: Rig) -> None:
    service = rig.service()
    service.on[b"ask"] = lambda rest: b"OK " + service.rpc.call("info-get guestinfo.x")[1]
    rig.host.variables["x"] = "y"
    results: list[Result] = []
    rig.host.hub.ask("ask", rig.ports.now_ns, lambda result, now_ns: results.append(result))

    service.settle()

    assert results == [Result(True, b"y")]


def test_VMT_V_042_a_machine_that_goes_on_elsewhere(rig: Rig) -> None:
    service = rig.service()
    service.seen.clear()
    rig.host.capabilities.clear()

    rig.host.resume(rig.ports.now_ns)
    service.settle()

    assert service.seen[:2] == [b"reset", b"Capabilities_Register"]
    assert service.seen[-1] == b"OS_Resume"
    assert "hgfs_server" in rig.host.capabilities
    rig.assert_clean()


def test_VMT_V_042_a_program_that_comes_back_by_another_name(rig: Rig) -> None:
    """It has left its old one, which the next program may have."""
    service = rig.service()
    service.on[b"reset"] = lambda rest: b"OK ATR toolbox-dnd"
    rig.host.resume(rig.ports.now_ns)
    service.settle()
    assert set(rig.host.hub.names) == {"toolbox-dnd"}
    service.close()

    rig.service()

    assert set(rig.host.hub.names) == {"toolbox"}


def test_VMT_V_043_long_and_binary_commands(rig: Rig) -> None:
    service = rig.service()
    text = b"vmbackup.startWithOpts " + bytes(range(256)) * 40
    got: list[bytes] = []
    rig.host.hub.ask(text, rig.ports.now_ns)

    service.channel.send(b"")
    got.append(service.channel.receive() or b"")

    assert got == [text]


def test_VMT_V_044_heartbeat(rig: Rig) -> None:
    service, heart = rig.service(), rig.host.heartbeat
    heard: list[Pulse] = []
    heart.on_change.append(lambda pulse, now_ns: heard.append(pulse))
    rig.host.tick(rig.ports.now_ns)

    rig.pass_time(5 * SECOND)
    yellow = heart.state(rig.ports.now_ns)
    rig.pass_time(6 * SECOND)
    red = heart.state(rig.ports.now_ns)
    service.poll()
    green = heart.state(rig.ports.now_ns)
    service.close()

    assert (yellow, red, green, heart.state(rig.ports.now_ns)) == (Pulse.YELLOW, Pulse.RED, Pulse.GREEN, Pulse.GRAY)
    assert heard == [Pulse.GREEN, Pulse.YELLOW, Pulse.RED, Pulse.GREEN, Pulse.GRAY]


def test_VMT_V_044_beats_that_are_not_heard(rig: Rig) -> None:
    service, heart = rig.service(), rig.host.heartbeat
    heart.drop(15 * SECOND, rig.ports.now_ns)
    service.poll(120)
    deaf = heart.state(rig.ports.now_ns)
    service.poll(31)

    assert (deaf, heart.state(rig.ports.now_ns)) == (Pulse.RED, Pulse.GREEN)


def test_VMT_V_044_what_the_guest_says_of_itself(rig: Rig) -> None:
    rpc = rig.rpc()

    answers = [rpc.call(f"update.tools.health {word}")[0] for word in ("hung", "bored")]

    assert answers == [True, False]
    assert rig.host.heartbeat.health == "hung"


def test_VMT_V_045_power(rig: Rig) -> None:
    service, outcomes, moved = rig.service(), [], []
    rig.host.power.machine = lambda operation, now_ns: moved.append(operation)
    rig.scripts(service, ok=False)
    rig.host.power.request("suspend", rig.ports.now_ns, lambda outcome, now_ns: outcomes.append(outcome))
    assert rig.host.power.request("suspend", rig.ports.now_ns) is False
    service.settle()
    rig.scripts(service, ok=True)
    rig.host.power.request("suspend", rig.ports.now_ns, lambda outcome, now_ns: outcomes.append(outcome))
    service.settle()

    assert outcomes == [Powered("suspend", False, "its script failed"), Powered("suspend", True)]
    assert moved == ["suspend"]
    rig.assert_clean()


def test_VMT_V_045_a_script_that_hangs(rig: Rig) -> None:
    service = rig.service()
    service.on[b"OS_Halt"] = lambda rest: b"OK "
    rig.host.power.request("shutdown", rig.ports.now_ns)
    service.settle()
    assert rig.host.power.pending == "shutdown"

    rig.pass_time(301 * SECOND)

    assert rig.host.power.outcomes[-1] == Powered("shutdown", False, "no result in time")


@pytest.mark.parametrize(
    ("result", "why"),
    [(b"ERROR State change already in progress", "State change already in progress"), (b"ERROR ", "refused")],
)
def test_VMT_V_045_a_guest_that_will_not(rig: Rig, result: bytes, why: str) -> None:
    service = rig.service()
    service.on[b"OS_Reboot"] = lambda rest: result
    rig.host.power.request("reboot", rig.ports.now_ns)
    service.settle()

    assert rig.host.power.outcomes[-1] == Powered("reboot", False, why)


def test_VMT_V_045_no_guest_to_ask(rig: Rig) -> None:
    assert rig.host.power.request("shutdown", 0) is False
    assert rig.host.power.outcomes[-1].why == "no such program runs"


# -- snapshots ---------------------------------------------------------------------------------------------------------


def test_VMT_V_046_a_quiesced_snapshot(rig: Rig) -> None:
    """The copy is made while the guest is frozen."""
    guest = QuiescedGuest(rig)
    copies: list[bool] = []
    outcome = guest.run(take=lambda now_ns: copies.append(guest.frozen) or True)  # type: ignore[func-returns-value]

    assert copies == [True]
    assert outcome is not None
    assert (outcome.ok, outcome.copied, outcome.manifest) == (True, True, "/etc/vmware-tools/quiesce_manifest.xml")
    assert [name for name, _, _ in outcome.events if name != "req.keepAlive"] == [
        "reset",
        "prov.snapshotCommit",
        "req.genericManifest",
        "req.done",
    ]
    assert guest.service.seen.count(b"vmbackup.snapshotDone") == 1
    assert not guest.frozen
    rig.assert_clean()


def test_VMT_V_046_a_copy_that_takes_a_minute(rig: Rig) -> None:
    guest = QuiescedGuest(rig)
    guest.start(take=lambda now_ns: None)
    guest.turn(60)
    assert (guest.frozen, rig.host.snapshot.state) == (True, State.FROZEN)
    assert rig.host.heartbeat.state(rig.ports.now_ns + 5 * SECOND) is Pulse.FROZEN

    assert rig.host.snapshot.taken(True, rig.ports.now_ns)
    guest.turn(10)

    assert rig.host.snapshot.last is not None
    assert rig.host.snapshot.last.ok
    rig.assert_clean()


def test_VMT_V_046_a_copy_that_fails(rig: Rig) -> None:
    guest = QuiescedGuest(rig)
    outcome = guest.run(take=lambda now_ns: False)

    assert outcome is not None
    assert (outcome.ok, outcome.copied, outcome.why) == (False, False, "the copy failed")
    assert not guest.frozen


def test_VMT_V_046_with_options(rig: Rig) -> None:
    guest = QuiescedGuest(rig)
    options = Options(scripts=False, argument="nightly", timeout_s=60)
    outcome = guest.run(options=options, uuids=("uuid-1",))

    blob = guest.service.seen[-2].partition(b" ")[2]
    assert outcome is not None
    assert outcome.ok
    assert blob == options.encode(("uuid-1",))
    assert blob[:40] == xdr.u32(1, 1, 1, 0, 1, 0, 0, 7) + b"nightly\0"


def test_VMT_V_046_a_freeze_that_fails(rig: Rig) -> None:
    guest = QuiescedGuest(rig)
    guest.fails = "Error when enabling the sync provider."
    outcome = guest.run()

    assert outcome is not None
    assert (outcome.ok, outcome.why) == (False, "Error when enabling the sync provider.")
    rig.assert_clean()


def test_VMT_V_046_a_guest_that_will_not_begin(rig: Rig) -> None:
    guest = QuiescedGuest(rig)
    guest.service.on[b"vmbackup.start"] = lambda rest: b"ERROR Quiesce operation already in progress."
    outcome = guest.run()

    assert outcome == Outcome(why="Quiesce operation already in progress.")
    assert rig.host.snapshot.state is State.IDLE


def test_VMT_V_046_a_guest_that_had_thawed_before(rig: Rig) -> None:
    """It says so when it is told that the copy is made: what was copied is of no one moment."""
    guest = QuiescedGuest(rig)
    thaw = guest.service.on[b"vmbackup.snapshotDone"]

    def refused(rest: bytes) -> bytes:
        thaw(rest)
        return b"ERROR Error: unexpected state for quiesce done message."

    guest.service.on[b"vmbackup.snapshotDone"] = refused
    outcome = guest.run()

    assert outcome is not None
    assert (outcome.ok, outcome.copied) == (False, False)
    assert outcome.why == "Error: unexpected state for quiesce done message."


def test_VMT_V_046_a_copy_that_comes_too_late(rig: Rig) -> None:
    guest = QuiescedGuest(rig)
    guest.start(take=lambda now_ns: None)
    guest.turn(3)
    guest.service.rpc.call("vmbackup.eventSet req.error 5 thawed by itself")

    assert rig.host.snapshot.taken(True, rig.ports.now_ns) is False
    assert rig.host.snapshot.abort(rig.ports.now_ns)
    assert not rig.host.snapshot.abort(rig.ports.now_ns)


@pytest.mark.parametrize("second", [1, 3])
def test_VMT_V_047_a_guest_that_falls_silent(rig: Rig, second: int) -> None:
    """Before it is frozen, and while it is."""
    guest = QuiescedGuest(rig)
    guest.start(take=lambda now_ns: None)
    guest.turn(second)

    rig.pass_time(6 * SECOND)
    assert rig.host.snapshot.state is State.ABORTING
    guest.turn(3)

    last = rig.host.snapshot.last
    assert last is not None
    assert (last.ok, last.copied, last.why) == (False, False, "the guest fell silent")
    assert b"vmbackup.abort" in guest.service.seen


def test_VMT_V_047_a_guest_that_is_dead(rig: Rig) -> None:
    guest = QuiescedGuest(rig)
    guest.start(take=lambda now_ns: None)
    guest.turn(3)

    rig.pass_time(30 * SECOND)

    assert rig.host.snapshot.state is State.IDLE
    assert rig.host.snapshot.last is not None
    assert rig.host.snapshot.last.why == "the guest fell silent"


def test_VMT_V_048_abort(rig: Rig) -> None:
    guest = QuiescedGuest(rig)
    guest.start(take=lambda now_ns: None)
    guest.turn(1)
    rig.host.snapshot.abort(rig.ports.now_ns, "the user said so")
    guest.turn(3)

    last = rig.host.snapshot.last
    assert last is not None
    assert (last.ok, last.why) == (False, "the user said so")
    assert [event[:2] for event in last.events][-2:] == [("req.aborted", 4), ("req.done", 0)]
    assert rig.host.snapshot.state is State.IDLE


def test_VMT_V_048_one_at_a_time(rig: Rig) -> None:
    guest = QuiescedGuest(rig)
    guest.start()

    assert rig.host.snapshot.start(rig.ports.now_ns) is False
    assert guest.run_out() == Outcome(ok=True, copied=True, manifest=guest.manifest, events=guest.said)


# -- time --------------------------------------------------------------------------------------------------------------


def test_VMT_V_049_the_newest_command_first(rig: Rig) -> None:
    tried = []
    for broken in (None, Cmd.GETTIMEFULL_WITH_LAG, Cmd.GETTIMEFULL, Cmd.GETTIME):
        rig.host.clock.answers.discard(broken if broken is not None else 0)
        reading = clock.read(rig.ports)
        tried.append(reading.command if reading is not None else None)

    assert tried == [55, 46, 23, None]


def test_VMT_V_049_time_is_kept(rig: Rig) -> None:
    service, sync = rig.service(), rig.host.timesync

    def kept(rest: bytes) -> bytes:
        if rest == b"synctime 1":
            clock.read(rig.ports)
            clock.stepped(rig.ports)
        return b"OK "

    service.on[b"Set_Option"] = kept
    sync.keep(True, rig.ports.now_ns, period_s=10, slew=True, percent=40)
    service.settle()

    assert service.seen[-4:] == [
        b"Set_Option time.synchronize.tools.slewCorrection 1",
        b"Set_Option time.synchronize.tools.percentCorrection 40",
        b"Set_Option synctime.period 10",
        b"Set_Option synctime 1",
    ]
    assert (sync.periodic, sync.samples, sync.steps) == (True, 1, 1)
    assert rig.ports.low(Cmd.GETGUIOPTIONS).rax == 0x400


def test_VMT_V_049_a_program_asks_for_it(rig: Rig) -> None:
    service = rig.service()

    answers = [
        service.rpc.call(f"vmx.set_option {words}\0")[0] for words in ("synctime 0 1", "synctime 0", "other 0 1")
    ]
    service.settle()

    assert answers == [True, False, False]
    assert service.seen[-1] == b"Set_Option synctime 1"
    assert rig.host.timesync.periodic


def test_VMT_V_049_once(rig: Rig) -> None:
    service = rig.service()
    service.on[b"Time_Synchronize"] = lambda rest: b"OK " if rest == b"1" else b"ERROR Unable to sync time"
    results: list[Result] = []

    for backward in (True, False):
        rig.host.timesync.once(rig.ports.now_ns, backward=backward, then=lambda result, now_ns: results.append(result))
    service.settle()

    assert results == [Result(True), Result(False, b"Unable to sync time")]


# -- resolution, variables' keys ---------------------------------------------------------------------------------------


def test_the_guest_s_share_of_its_host(rig: Rig) -> None:
    """Head, count, then all statistics in order, each with its type."""
    rig.host.resources.values |= {"mem_limit_mib": 48, "cpu_used_ms": (5 << 32) + 6}
    rig.host.balloon_device.set_target(4096)
    rig.balloon().work()
    ok, data = rig.rpc().call("guestlib.info.get 3\0")
    reader = xdr.Reader(data[16:])
    words = dict(STATISTICS)
    found: dict[str, object] = {}
    assert reader.u32() == len(STATISTICS)
    for number, name in enumerate(words, 1):
        assert reader.u32() == number
        valid = reader.boolean()
        value = reader.text(512) if not words[name] else reader.u32() if words[name] == 1 else reader.u64()
        found |= {name: value} if valid else {}
    reader.end()

    assert ok
    assert data[:16] == (3).to_bytes(4, "little") + (1).to_bytes(8, "little") + (len(data) - 16).to_bytes(4, "little")
    assert found["mem_limit_mib"] == 48
    assert found["cpu_used_ms"] == (5 << 32) + 6
    assert (found["mem_ballooned_mib"], found["mem_used_mib"], found["mem_target_mib"]) == (16, 48, 48)
    assert found["resource_pool"] == "/"
    assert "mem_active_mib" not in found
    assert rig.rpc().call("guestlib.info.get 2") == (False, b"3:")


def test_a_size_for_the_screen(rig: Rig) -> None:
    service = rig.service()
    assert rig.host.resolution.resize(800, 600, rig.ports.now_ns) is False
    service.rpc.call("tools.capability.resolution_server toolbox 1")
    service.rpc.call("tools.capability.resolution_set 1")
    rig.host.resolution.resize(800, 600, rig.ports.now_ns)
    service.rpc.call("tools.capability.display_topology_set 2")
    rig.host.resolution.topology([(0, 0, 800, 600), (800, 0, 640, 480)], rig.ports.now_ns)
    service.settle()

    assert service.seen[-2:] == [b"Resolution_Set 800 600", b"DisplayTopology_Set 2 , 0 0 800 600 , 800 0 640 480"]


@pytest.mark.parametrize("key", ["", "two words", "x" * (KEY_MAX + 1), "nul\0"])
def test_keys_no_guest_could_ask_for(rig: Rig, key: str) -> None:
    with pytest.raises(ValueError, match="names no variable"):
        rig.host.variables[key] = "x"


def test_a_service_that_comes_again_before_its_old_one_is_missed(rig: Rig) -> None:
    """One that was killed leaves its channel open: it has the name for a second."""
    rig.service()
    rig.ports.caller = 3
    again = Service(rig.ports)
    again.settle()
    first = list(again.seen)
    rig.pass_time(0)
    rig.ports.now_ns += 2 * SECOND
    third = Service(rig.ports)
    third.settle()

    assert first == [b"reset"]
    assert b"Capabilities_Register" in third.seen
    assert rig.host.rules.numbers() == {"VMT-D-025"}
