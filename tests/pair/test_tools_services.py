"""Every service of the host with an unmodified vmtoolsd, under the supervisor: one run, looked at from all sides."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pvdev.pytest_plugin import Tools as Agents
from tests.netns import lack
from tests.pair.test_tools_supervisor import Tools
from vmtools.heartbeat import Pulse
from vmtools.scenario import Scenario, parse
from vmtools.snapshot import State
from vmtools.ways import processor

CONFIGURATION = """
[logging]
log = false
[guestinfo]
poll-interval = 2
stats-interval = 1
[vmbackup]
enableSyncDriver = false
"""
EVENING = """
[[step]]
ping = true

[[step]]
snapshot = true
within = "20s"

[[step]]
sync-time = "on"

[[step]]
at = "6s"
power = "suspend"
within = "30s"

[[step]]
at = "6s"
sync-time = "backward"
expect = "failure"                # no program of ours sets this machine's clock

[[step]]
at = "6s"
resolution = "800x600"
expect = "failure"                # it has no display
"""
GREEN_NS, RED_NS = 600_000_000, 1_500_000_000
AHEAD_NS = 60 * 10**9  # how far this machine is ahead of its host: with both at the same time there is nothing to set


@pytest.fixture(scope="module", autouse=True)
def _machine() -> None:
    if not shutil.which("vmtoolsd"):
        lack("no program vmtoolsd: apt install open-vm-tools")
    if not processor.can_fault():
        lack("this processor cannot make CPUID fault")


class Evening:
    """What `done` is asked: play the scenario, then stop the daemon until its host misses it, and let it go on."""

    def __init__(self, tools: Tools, scenario: Scenario) -> None:
        self.tools, self.scenario = tools, scenario
        self.pulses: list[Pulse] = []
        self.frozen: list[State] = []
        self._stopped = False
        tools.host.heartbeat.on_change.append(lambda pulse, now_ns: self.pulses.append(pulse))

    def copy(self, now_ns: int) -> bool:
        """The disks are copied."""
        self.frozen.append(self.tools.host.snapshot.state)
        return True

    def done(self, pid: int) -> bool:
        host = self.tools.host
        gathered = bool(host.info.network.nics) and bool(host.info.statistics)
        if self._stopped:
            if self.pulses[-1] is Pulse.RED:
                os.kill(pid, signal.SIGCONT)
            return self.pulses[-1] is Pulse.GREEN and Pulse.RED in self.pulses
        if self.scenario.done and gathered:
            self.pulses[:] = [Pulse.GREEN]
            self._stopped = True
            os.kill(pid, signal.SIGSTOP)
        return False


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Evening:
    folder = tmp_path_factory.mktemp("evening")
    (folder / "tools.conf").write_text(CONFIGURATION)
    tools, scenario = Tools(folder), parse(EVENING)
    tools.clock.set(time.time_ns() - AHEAD_NS, time.monotonic_ns())
    heart = tools.host.heartbeat
    heart.green_ns, heart.red_ns = GREEN_NS, RED_NS
    scenario.attach(tools.host)
    played = Evening(tools, scenario)
    tools.host.snapshot.copy = played.copy
    assert tools.run("vmtoolsd", "-c", str(folder / "tools.conf"), done=played.done) == 0
    return played


@pytest.mark.slow
def test_the_scenario_comes_about(evening: Evening) -> None:
    assert evening.scenario.ok, evening.scenario.report()


def test_the_daemon_breaks_no_rule(evening: Evening) -> None:
    """But that of polling, while it was stopped."""
    rules = evening.tools.host.rules

    assert rules.numbers() == {"VMT-D-027"}, [str(violation) for violation in rules]


def test_it_says_what_it_can(evening: Evening) -> None:
    host = evening.tools.host

    assert host.capabilities["hgfs_server"] == "toolbox 0"  # withdrawn at its end
    assert host.capabilities.keys() >= {"statechange", "softpowerop_retry", "features", "guest_conf_directory"}
    assert host.tools_version.endswith(" 4")
    assert host.variables["vmtools.description"].startswith(b"open-vm-tools")


def test_it_says_what_machine_it_runs_on(evening: Evening) -> None:
    info = evening.tools.host.info

    assert info.hostname == socket.gethostname()
    assert "Linux" in info.os_full
    assert info.build.startswith("build-")
    assert info.uptime_s is not None
    assert 0 <= float(Path("/proc/uptime").read_text().split()[0]) - info.uptime_s < 120
    assert any(disk.name == "/" and 0 < disk.free < disk.size for disk in info.disks)
    assert info.rejected == 0


def test_its_addresses_and_memory_are_this_machine_s(evening: Evening) -> None:
    info, host = evening.tools.host.info, evening.tools.host
    total = int(Path("/proc/meminfo").read_text().split()[1])

    assert {nic.mac for nic in info.network.nics} <= {
        path.read_text().strip() for path in Path("/sys/class/net").glob("*/address")
    }
    assert host.variables["ip"].decode() in info.addresses
    assert info.statistics["memTotal"] == total
    assert 0 < info.statistics["memAvailable"] < total


def test_disks_are_copied_while_it_is_frozen(evening: Evening) -> None:
    last = evening.tools.host.snapshot.last

    assert evening.frozen == [State.FROZEN]
    assert last is not None
    assert (last.ok, last.copied) == (True, True)
    assert [name for name, _, _ in last.events if name != "req.keepAlive"][:2] == ["reset", "prov.snapshotCommit"]


def test_power_scripts_run_and_tell(evening: Evening) -> None:
    outcomes = [(outcome.operation, outcome.ok) for outcome in evening.tools.host.power.outcomes]

    assert outcomes == [("power-on", True), ("suspend", True)]
    assert "Executing script for state change 'OS_Suspend'." in evening.tools.host.log


def test_it_reads_the_host_s_clock(evening: Evening) -> None:
    assert evening.tools.host.timesync.samples > 0
    assert set(evening.tools.clock.reads) == {55}


def test_a_daemon_that_is_stopped_is_missed_and_welcome_back(evening: Evening) -> None:
    assert evening.pulses[:4] == [Pulse.GREEN, Pulse.YELLOW, Pulse.RED, Pulse.GREEN]


@pytest.mark.parametrize(
    ("what", "shown"),
    [("memlimit", "48 MB"), ("memres", "16 MB"), ("cpulimit", "1500 MHz"), ("swap", "0 MB"), ("sessionid", "0x7")],
)
def test_toolbox_shows_what_share_of_the_host_it_has(tmp_path: Path, what: str, shown: str) -> None:
    tools = Tools(tmp_path)
    tools.host.resources.session = 7
    tools.host.resources.values |= {"mem_limit_mib": 48, "mem_reservation_mib": 16, "cpu_limit_mhz": 1500}

    assert tools.run("vmware-toolbox-cmd", "stat", what) == 0
    assert tools.out == f"{shown}\n"


def test_a_program_whose_scenario_fails_fails(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text("[[step]]\nping = true\n")
    words = ["tools", "run", "--quiet", "--scenario", str(path), "--", "/bin/true"]
    done = subprocess.run([sys.executable, "-m", "pvdev.cli", *words], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "pvdev: scenario failed: ping (not reached)\n")


def test_a_host_is_controlled_while_its_program_runs(tmp_path: Path) -> None:
    """The program is the one that asks."""
    path, pvdev = str(tmp_path / "control"), f"{sys.executable} -m pvdev.cli"
    words = ["tools", "run", "--quiet", "--control", path, "--keep", str(tmp_path / "kept"), "--", "/bin/sh", "-c"]
    script = f"{pvdev} control {path} set a b && {pvdev} control {path} ping; {pvdev} control {path} balloon 5"
    command = [sys.executable, "-m", "pvdev.cli", *words, script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (2, "ok: no\nwhy: no such program runs\n")
    assert done.stderr == 'pvdev: \'5\' is no amount of memory: write "60%" or "256M"\n'
    assert (tmp_path / "kept").read_text() == '{\n "a": "b"\n}\n'
    assert not Path(path).exists()


def test_each_service_has_a_command(tmp_path: Path) -> None:
    """`pvdev tools NAME SOCKET`, by the program itself; a wrong word is one line."""
    path, tools = str(tmp_path / "control"), f"{sys.executable} -m pvdev.cli tools"
    asks = (
        f"set {path} a b",
        f"get {path} guestinfo.a",
        f"variables {path}",
        f"balloon {path} 50% --json",
        f"heartbeat {path} 2",
        f"ping {path}",
        f"snapshot {path} thaw",
        f"status {tmp_path}/nobody",
    )
    script = "; ".join(f"{tools} {words}" for words in asks)
    command = [
        sys.executable,
        "-m",
        "pvdev.cli",
        "tools",
        "run",
        "--quiet",
        "--control",
        path,
        "--",
        "sh",
        "-c",
        script,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    out, half = done.stdout.splitlines(), (1 << 30) // 2
    assert out[:2] == ["b", "a"]
    assert json.loads("".join(out[2:-2]))["answer"] == {"target": half, "held": 0, "limit": 0}
    assert out[-2:] == ["ok: no", "why: no such program runs"]
    assert done.stderr.splitlines() == [
        "pvdev: the guest is not frozen but idle: begin with `snapshot freeze`",
        f"pvdev: {tmp_path}/nobody: nobody to ask there: No such file or directory; give the path of --control",
    ]
    assert done.returncode == 2


def test_the_fixture_runs_an_unmodified_agent(make_vmtools: Callable[..., Agents], tmp_path: Path) -> None:
    (tmp_path / "tools.conf").write_text(CONFIGURATION)
    tools = make_vmtools()
    scenario = tools.scenario(
        '[[step]]\nping = true\n[[step]]\nvariable = { x = "y" }\nexpect = "failure"\nwithin = "1s"'
    )

    code = tools.run("vmtoolsd", "-c", str(tmp_path / "tools.conf"), until=lambda: scenario.done)

    assert code == 0
    assert scenario.ok, scenario.report()
    assert tools.rpc().call("info-get guestinfo.vmtools.versionString")[0]
