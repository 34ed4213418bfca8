"""The services of an unmodified vmtoolsd in a guest with our disk and our NIC: one boot, looked at from all sides."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from guest.kit import Kit
from guest.ktap import GuestReport
from guest.openvmtools import tools_files
from guest.vm import vfio_user

from tests.guest.disks import Served
from tests.guest.served import GUEST_MAC, Host
from tests.guest.tooled import Tooled
from vmtools.heartbeat import Pulse
from vmtools.snapshot import Outcome, State
from vmtools.wire import IN_SIZE_MAX, Cmd

pytestmark = [pytest.mark.guest, pytest.mark.slow]

SIZE = 384 << 20
OTHER_MAC = "02:00:00:00:00:77"
LARGE = Random(6).randbytes(IN_SIZE_MAX // 2).hex()
BACK = IN_SIZE_MAX - len("info-set guestinfo.back ")
GREEN_NS, RED_NS = 1_500_000_000, 4_000_000_000
HANG_NS = 4_000_000_000  # after which a snapshot's script has hung
SKEW_NS = 400_000_000


def needs_recovery(image: Path) -> bool:
    """Whether its journal is to be replayed. Ref: Linux Documentation/filesystems/ext4/super.rst, incompat 4."""
    with image.open("rb") as file:
        file.seek(1024)
        block = file.read(1024)
    assert int.from_bytes(block[0x38:0x3A], "little") == 0xEF53
    return bool(int.from_bytes(block[0x60:0x64], "little") & 4)


@dataclass
class Day:
    """What the guest is asked, by the names of its events, and what came of it."""

    tooled: Tooled
    disk: Served
    image: Path
    report: GuestReport = field(init=False)
    pulses: list[tuple[Pulse, int | None]] = field(default_factory=list)  # with the age of the last beat, ns
    addresses: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    snapshots: list[Outcome] = field(default_factory=list)
    dirty: bool = False
    steps: list[int] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        host = self.tooled.host
        host.power.machine = lambda operation, now_ns: self.moved.append(operation)
        heart = host.heartbeat
        heart.green_ns, heart.red_ns = GREEN_NS, RED_NS
        heart.on_change.append(lambda pulse, now_ns: self.pulses.append((pulse, heart.age_ns(now_ns))))
        self.steps_of: dict[str, Callable[[], object]] = {
            "started": lambda: self.outcome("power-on", True),
            "addresses": lambda: self.gathered("before", "192.0.2.1", "198.51.100.1"),
            "moved-addresses": lambda: self.gathered("after", "192.0.2.77", "198.51.100.1"),
            "snapshot": self.snapshot,
            "attach": lambda: self.disk.do("attach", f"file:{self.copy},readonly=yes", target=1),
            "hang": self.hang,
            "suspend": lambda: self.power("suspend"),
            "resume": self.resume,
            "refused-reboot": lambda: self.power("reboot", ok=False),
            "reboot": lambda: self.power("reboot"),
            "stopped": self.stopped,
            "continued": lambda: self.tooled.until(lambda: self.pulses[-1][0] is Pulse.GREEN),
            "behind": lambda: self.step(backward=False),
            "ahead": lambda: self.step(backward=True),
            "skew": self.skew,
            "halt": lambda: self.power("shutdown"),
        }

    @property
    def copy(self) -> Path:
        return self.image.with_name("copy.img")

    # -- rows ----------------------------------------------------------------------------------------------------------

    def gathered(self, when: str, *wanted: str) -> None:
        """Both NICs' addresses, those among them."""
        info = self.tooled.host.info
        self.tooled.until(lambda: set(wanted) <= set(info.addresses))
        self.addresses[when] = {nic.mac: {address.ip for address in nic.addresses} for nic in info.network.nics}

    def outcome(self, operation: str, ok: bool) -> None:
        outcomes = self.tooled.host.power.outcomes
        self.tooled.until(lambda: outcomes and (outcomes[-1].operation, outcomes[-1].ok) == (operation, ok))

    def power(self, operation: str, *, ok: bool = True) -> None:
        assert self.tooled.do(lambda now_ns: self.tooled.host.power.request(operation, now_ns))
        self.outcome(operation, ok)

    def resume(self) -> None:
        self.tooled.do(self.tooled.host.resume)
        self.outcome("resume", True)

    def snapshot(self) -> None:
        def take(now_ns: int) -> bool:
            assert self.tooled.host.snapshot.state is State.FROZEN
            shutil.copyfile(self.image, self.copy)
            return True

        self.dirty = needs_recovery(self.image)
        self.quiesced(take)

    def hang(self) -> None:
        self.tooled.host.snapshot.limit_ns = HANG_NS
        self.quiesced(lambda now_ns: True)

    def quiesced(self, take: Callable[[int], bool]) -> None:
        snapshot, count = self.tooled.host.snapshot, len(self.snapshots)

        def then(outcome: Outcome, now_ns: int) -> None:
            self.snapshots.append(outcome)

        assert self.tooled.do(lambda now_ns: snapshot.start(now_ns, take, then))
        self.tooled.until(lambda: len(self.snapshots) > count)

    def stopped(self) -> None:
        self.tooled.do(lambda now_ns: self.pulses.clear())
        self.tooled.until(lambda: self.pulses and self.pulses[-1][0] is Pulse.RED)

    def step(self, *, backward: bool) -> None:
        clock, timesync = self.tooled.clock, self.tooled.host.timesync
        before = clock.catch_ups_stopped
        assert self.tooled.do(lambda now_ns: timesync.once(now_ns, backward=backward))
        self.tooled.until(lambda: clock.catch_ups_stopped > before)
        self.steps.append(clock.catch_ups_stopped - before)

    def skew(self) -> None:
        """The guest is ahead, and is to lose that by and by."""
        self.tooled.do(lambda now_ns: self.tooled.clock.skew(-SKEW_NS))
        self.tooled.do(lambda now_ns: self.tooled.host.timesync.keep(True, now_ns, period_s=1, slew=True, percent=50))

    def on_event(self, name: str) -> None:
        self.steps_of[name]()
        self.vm.send(name)

    def run(self, kit: Kit, files: dict[str, bytes], devices: list[Path]) -> None:
        other = f"e1000e,mac={OTHER_MAC},romfile="
        self.vm = self.tooled.vm(
            kit,
            "tools_services",
            devices=[*map(vfio_user, devices), other],
            params={"ours": GUEST_MAC, "other": OTHER_MAC, "back": BACK},
            files=files,
            smp=2,
            on_event=self.on_event,
            deadline_s=200.0,
        )
        self.report = self.vm.run()


@pytest.fixture(scope="module")
def day(guest_kit: Kit, storage: Path, open_vm_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Day:
    folder = tmp_path_factory.mktemp("services")
    image = folder / "disk.img"
    with ExitStack() as owns:
        served = Host(folder, owns)
        served.add("null")
        tooled = Tooled(guest_kit, served.server, folder, SIZE, large=LARGE)
        owns.callback(tooled.close)
        disk = owns.enter_context(Served(folder / "scsi", "--disk", f"file:{image},create=yes,size=64M"))
        day = Day(tooled, disk, image)
        with served.server.background():
            day.run(guest_kit, tools_files(open_vm_tools), [folder / "nic0", disk.socket])
        assert served.broken_rules() == []
    return day


def test_all_of_it_comes_about(day: Day) -> None:
    day.report.check()


def test_the_daemon_breaks_no_rule(day: Day) -> None:
    """But those of time: it was stopped, and this machine may be slow."""
    rules = day.tooled.host.rules

    assert rules.numbers() <= {"VMT-D-027", "VMT-D-035"}, [str(violation) for violation in rules]


def test_addresses_of_both_nics_appear_and_follow_changes(day: Day) -> None:
    other = {"198.51.100.1", "fd00:2::1"}

    assert day.addresses["before"][GUEST_MAC] >= {"192.0.2.1", "fd00:1::1"}
    assert day.addresses["before"][OTHER_MAC] >= other
    assert day.addresses["after"][GUEST_MAC] >= {"192.0.2.77", "fd00:1::77"}
    assert not day.addresses["after"][GUEST_MAC] & {"192.0.2.1", "fd00:1::1"}
    assert day.addresses["after"][OTHER_MAC] >= other


def test_a_variable_of_64_kib_passes_both_ways(day: Day) -> None:
    """With its name, on the way back: a message ends there."""
    assert len(LARGE) == 64 << 10
    assert day.tooled.host.variables["back"] == LARGE[:BACK].encode()


def test_a_copy_of_the_disk_while_it_is_frozen_needs_no_journal(day: Day) -> None:
    """The guest finds the copy clean, and the marker whole, which it had written and not flushed."""
    outcome = day.snapshots[0]

    assert (outcome.ok, outcome.copied, outcome.why) == (True, True, "")
    assert day.dirty  # as any other copy would be
    assert not needs_recovery(day.copy)
    assert day.report.facts["backup"] == "freeze thaw"
    assert [name for name, _, _ in outcome.events if name in ("prov.snapshotCommit", "req.done")] == [
        "prov.snapshotCommit",
        "req.done",
    ]


def test_a_snapshot_whose_script_hangs_is_given_up(day: Day) -> None:
    """The guest ends the script, and writes on."""
    outcome = day.snapshots[1]

    assert (outcome.ok, outcome.copied, outcome.why) == (False, False, "it took too long")
    assert outcome.events[-1][0] == "req.done"


def test_scripts_of_power_operations_run_and_their_results_come(day: Day) -> None:
    outcomes = [(outcome.operation, outcome.ok) for outcome in day.tooled.host.power.outcomes]

    assert outcomes == [
        *(("power-on", True), ("suspend", True), ("resume", True)),
        *(("reboot", False), ("reboot", True), ("shutdown", True)),
    ]
    ran = ("poweron-vm", "suspend-vm", "resume-vm", "poweroff-vm", "poweroff-vm", "poweroff-vm")
    assert day.report.facts["power"].split() == list(ran)
    assert day.moved == ["suspend"]


def test_a_soft_shutdown_ends_the_guest(day: Day) -> None:
    """The last the guest waited for was the daemon's call of its shutdown program, and QEMU has ended."""
    assert "Initiating halt." in [line.strip() for line in day.tooled.host.log]
    assert [result.ok for result in day.report.results if result.name.endswith("halted")] == [True]


def test_a_daemon_that_is_stopped_is_yellow_then_red_then_green(day: Day) -> None:
    (yellow, late), (red, lost), (green, _) = day.pulses[:3]

    assert (yellow, red, green) == (Pulse.YELLOW, Pulse.RED, Pulse.GREEN)
    assert late is not None
    assert lost is not None
    assert GREEN_NS < late <= RED_NS < lost < 2 * RED_NS


def test_a_clock_off_by_an_hour_is_set(day: Day) -> None:
    """Forward and back; the guest compares its clock with ours."""
    assert [steps >= 1 for steps in day.steps] == [True, True]


def test_a_clock_that_is_a_little_off_is_slewed(day: Day) -> None:
    clock = day.tooled.clock

    assert day.report.values["skewed_ns"] > SKEW_NS // 2
    assert abs(day.report.values["slewed_ns"]) < SKEW_NS // 3
    assert clock.catch_ups_stopped == sum(day.steps)  # it never jumped
    assert clock.reads[Cmd.GETTIMEFULL_WITH_LAG] > 0
