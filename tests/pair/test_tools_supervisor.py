"""Unmodified programs of open-vm-tools under the supervisor, and what it does for any program. No virtual machine."""

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pvdev.trace import Recorder
from tests.netns import lack
from vmtools.clock import Clock
from vmtools.frame import Frame
from vmtools.host import Host
from vmtools.variables import Variables
from vmtools.ways import processor
from vmtools.ways.herald import Herald
from vmtools.ways.supervisor import Supervisor

PORT_CALLS = str(Path(__file__).parent / "port_calls.py")
MAGIC = "564d5868"
UPPER = 0x1234_5678_0000_0000
PATIENCE_NS = 60_000_000_000  # then a daemon is given up
STATUS_FIELDS = ("CapPrm", "CapEff", "CapInh", "NoNewPrivs")


@pytest.fixture(autouse=True)
def _machine() -> None:
    if not shutil.which("vmtoolsd"):
        lack("no program vmtoolsd: apt install open-vm-tools")
    if not (processor.can_fault() or shutil.which("objdump")) and processor.mistaken():
        lack("this processor cannot make CPUID fault, and there is no objdump: apt install binutils")


class Tools:
    """A host, and how programs are run in its guest: `run` returns the exit code, `out` is what was printed."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.host = Host(clock=self.clock, variables=Variables({"x": "from the host"}))
        self.host.trace = self.trace = Recorder()
        self._out = folder / "out"

    def run(
        self,
        *command: str,
        done: Callable[[int], bool] | None = None,
        end: int = signal.SIGTERM,
        keep_powers: bool = False,
        patch: bool | None = None,
        host: Host | None = None,
    ) -> int:
        """`done(pid)` is asked now and then, once it says yes the program is sent the signal `end`."""
        self.supervisor = Supervisor(
            host or self.host, time.monotonic_ns, keep_powers=keep_powers, patch=patch, trace=self.trace
        )
        self._asked, self._end, self._since = done, end, time.monotonic_ns()
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        before = os.dup(1)
        with self._out.open("wb") as out, Herald(self._tick, lambda: self.supervisor.pid) as herald:
            os.dup2(out.fileno(), 1)
            try:
                return self.supervisor.run(
                    command, environment=environment, mask=herald.mask, started=lambda pid: herald.start()
                )
            finally:
                os.dup2(before, 1)
                os.close(before)

    def _tick(self) -> None:
        now, pid = time.monotonic_ns(), self.supervisor.pid
        with self.supervisor.turn:
            self.host.tick(now)
            end = self._asked is not None and pid and self._asked(pid)
        if pid and now - self._since > PATIENCE_NS:
            os.kill(pid, signal.SIGKILL)
        elif end:
            self._asked = None
            os.kill(pid, self._end)

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    def calls(self, *calls: str, host: Host | None = None) -> list[list[int]]:
        """Registers, and then the buffer, after each call of `port_calls`."""
        self.code = self.run(sys.executable, PORT_CALLS, *calls, host=host)
        return [[int(word, 16) for word in line.split()] for line in self.out.splitlines()]


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path)


# -- the tools --------------------------------------------------------------------------------------------------------


def test_checkvm_finds_a_virtual_machine(tools: Tools) -> None:
    assert tools.run("vmware-checkvm") == 0
    assert "VMware software version 6 (good)" in tools.out


def test_rpctool_reads_and_writes_variables(tools: Tools) -> None:
    long = "".join(chr(ord("a") + i % 26) for i in range(60_000))

    assert tools.run("vmware-rpctool", "info-get guestinfo.x") == 0
    assert tools.out == "from the host\n"
    assert tools.run("vmware-rpctool", f"info-set guestinfo.long {long}") == 0
    assert tools.host.variables["long"] == long.encode()
    assert tools.run("vmware-rpctool", "info-get guestinfo.long") == 0
    assert tools.out == f"{long}\n"
    assert not tools.host.rules, [str(violation) for violation in tools.host.rules]


def test_rpctool_without_the_high_bandwidth_port_says_the_same(tools: Tools) -> None:
    slow = Host(variables=Variables({"x": "word by word"}), high_bandwidth=False)

    assert tools.run("vmware-rpctool", "info-get guestinfo.x", host=slow) == 0

    assert tools.out == "word by word\n"
    assert tools.supervisor.faults.calls > 12


def test_an_unknown_request_fails_with_the_host_s_text(tools: Tools) -> None:
    assert tools.run("vmware-rpctool", "frobnicate") == 1


def test_toolbox_shows_the_host_s_time_and_speed(tools: Tools) -> None:
    tools.clock.set(1_700_000_000_000_000_000, time.monotonic_ns())  # 14 November 2023, 22:13:20

    assert tools.run("vmware-toolbox-cmd", "stat", "hosttime") == 0
    assert "Nov 2023" in tools.out
    assert tools.run("vmware-toolbox-cmd", "stat", "speed") == 0
    assert tools.out.endswith(" MHz\n")
    assert tools.run("vmware-toolbox-cmd", "timesync", "status") == os.EX_UNAVAILABLE
    assert tools.out == "Disabled\n"
    assert tools.run("vmware-toolbox-cmd", "info", "update", "network") in (0, 1)
    assert tools.run("vmware-toolbox-cmd", "-v") == 0


def test_vmtoolsd_registers_runs_its_script_and_leaves_cleanly(tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "tools.conf").write_text("[logging]\nlog = false\n")

    def script_done(pid: int) -> bool:
        return any("Script exit code" in line for line in tools.host.log)

    assert tools.run("vmtoolsd", "-c", str(tmp_path / "tools.conf"), done=script_done) == 0

    assert tools.host.capabilities["hgfs_server"] == "toolbox 0"  # said at its end
    assert tools.host.tools_version
    assert "Script exit code: 0, success = 1" in tools.host.log
    assert not len(list(tools.host.channels))
    assert not tools.host.rules, [str(violation) for violation in tools.host.rules]


def test_vmtoolsd_killed_in_the_middle_leaves_no_channel_open(tools: Tools) -> None:
    def registered(pid: int) -> bool:
        return bool(tools.host.tools_version)

    assert tools.run("vmtoolsd", done=registered, end=signal.SIGKILL) == 128 + signal.SIGKILL
    assert not len(list(tools.host.channels))


def test_a_stopped_vmtoolsd_polls_no_more_and_goes_on_when_continued(tools: Tools) -> None:
    seen: list[int] = []
    ticks = 0

    def stop_for_a_while(pid: int) -> bool:
        nonlocal ticks
        if not any("Script exit code" in line for line in tools.host.log):  # its script makes calls of its own
            return False
        ticks += 1
        if ticks == 1:
            os.kill(pid, signal.SIGSTOP)
        seen.append(tools.supervisor.faults.calls)
        if ticks == 20:
            os.kill(pid, signal.SIGCONT)
        return ticks == 40

    assert tools.run("vmtoolsd", done=stop_for_a_while) == 0
    assert seen[10] == seen[19]
    assert seen[-1] > seen[19]


# -- any program ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("(exit 3)", 3), ("sh -c 'exit 4' & wait $!", 4)]
)
def test_the_exit_code_is_the_program_s(tools: Tools, script: str, code: int) -> None:
    assert tools.run("sh", "-c", script) == code


def test_what_outlives_the_program_is_looked_after_to_its_end(tools: Tools) -> None:
    assert tools.run("sh", "-c", "(sleep 0.2; vmware-rpctool 'info-set guestinfo.late yes') & exit 5") == 5
    assert tools.host.variables["late"] == b"yes"


def test_threads_and_children_are_followed(tools: Tools) -> None:
    program = (
        "import subprocess, threading\n"
        "each = [threading.Thread(target=subprocess.run, args=(['vmware-rpctool', f'info-set guestinfo.t{i} {i}'],))"
        " for i in range(8)]\n"
        "[thread.start() for thread in each]\n"
        "[thread.join() for thread in each]\n"
    )
    assert tools.run(sys.executable, "-c", program) == 0
    assert [tools.host.variables[f"t{i}"] for i in range(8)] == [b"%d" % i for i in range(8)]


def test_another_thread_than_the_first_may_start_a_program(tools: Tools) -> None:
    program = (
        "import os, threading\n"
        "idle = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(4)]\n"
        "[thread.start() for thread in idle]\n"
        "words = ['vmware-rpctool', 'info-get guestinfo.x']\n"
        "threading.Thread(target=os.execvp, args=(words[0], words)).start()\n"
    )
    assert tools.run(sys.executable, "-c", program) == 0
    assert tools.out == "from the host\n"


def test_many_short_children_at_once_are_all_waited_for(tools: Tools) -> None:
    script = "for i in $(seq 60); do (exit 0) & done; wait; for i in $(seq 9); do sh -c 'kill -9 $$' & done; wait"
    assert tools.run("sh", "-c", script) == 0
    assert tools.supervisor._tasks == {}


def test_a_program_s_own_faults_reach_it(tools: Tools) -> None:
    crash = "import ctypes; ctypes.string_at(8)"
    assert tools.run(sys.executable, "-c", crash) == 128 + signal.SIGSEGV
    tools.calls("byte 0 0 0 70 0 0 0")  # another port than ours
    assert tools.code == 128 + signal.SIGSEGV
    tools.calls("in 0 0 a 5658 0 0 0")  # ours, without the magic
    assert tools.code == 128 + signal.SIGSEGV


def test_registers_that_are_no_output_keep_all_their_bits(tools: Tools) -> None:
    words = [f"{UPPER | low:x}" for low in (0x1111, 0x2222, 0x3333)]
    (found,) = tools.calls(f"in {MAGIC} {UPPER:x} {UPPER | 10:x} {UPPER | 0x5658:x} {' '.join(words)}")
    rax, rbx, rcx, rdx, rsi, rdi, rbp, _ = found

    assert (rax & 0xFFFF_FFFF, rbx & 0xFFFF_FFFF, rcx & 0xFFFF_FFFF) == (6, 0x564D5868, 2)
    assert (rdx, rsi, rdi, rbp) == (UPPER | 0x5658, UPPER | 0x1111, UPPER | 0x2222, UPPER | 0x3333)


def test_out_at_the_port_is_a_call_too(tools: Tools) -> None:
    ((rax, rbx, *_),) = tools.calls(f"out {MAGIC} 0 a 5658 0 0 0")
    assert (rax, rbx) == (6, 0x564D5868)


def test_where_cpuid_cannot_fault_it_is_replaced_in_programs(tools: Tools) -> None:
    assert tools.run("vmware-checkvm", patch=True) == 0
    assert "(good)" in tools.out
    assert 0 < tools.supervisor.faults.cpuids < 30  # the dynamic loader's are the processor's own
    assert tools.run("sh", "-c", "vmware-rpctool 'info-get guestinfo.x'", patch=True) == 0
    assert tools.out == "from the host\n"
    assert tools.run("sh", "-c", "kill -ILL $$", patch=True) == 128 + signal.SIGILL
    assert tools.run("sh", "-c", "kill -TRAP $$", patch=True) == 128 + signal.SIGTRAP


@pytest.mark.skipif(not processor.can_fault(), reason="CPUID cannot be made to fault here")
def test_cpuid_is_vmware_s(tools: Tools) -> None:
    found = tools.calls("cpuid 40000000 0 0 0 0 0 0", "cpuid 40000010 0 0 0 0 0 0", "cpuid 1 0 0 0 0 0 0")
    signature = b"".join(word.to_bytes(4, "little") for word in found[0][1:4])
    assert signature == b"VMwareVMware"
    assert found[1][2] == 0  # no hypercalls are offered
    assert found[2][2] & 1 << 31


class Taking(Host):
    """Takes and gives a hundred bytes at the high-bandwidth port, from anybody."""

    taken = b""

    def accepts(self, frame: Frame) -> int:
        return 100

    def high_out(self, frame: Frame, data: bytes, now_ns: int) -> None:
        self.taken = data

    def high_in(self, frame: Frame, now_ns: int) -> bytes:
        return bytes(range(100))


def test_strings_go_by_the_program_s_page_permissions(tools: Tools) -> None:
    host = Taking()
    inside = f"insb {MAGIC} 10000 64 5659 0 @0 0"
    found = tools.calls(inside, f"outsb {MAGIC} 10000 64 5659 @0 0 0", host=host)
    assert host.taken == bytes(range(100))
    assert found[0][-1] == int.from_bytes(bytes(range(16)), "big")

    for beyond in (f"outsb {MAGIC} 10000 64 5659 @fc0 0 0", f"outsb {MAGIC} 10000 64 5659 8000000000000000 0 0"):
        host.taken = b""
        assert tools.calls(beyond, host=host) == []
        assert tools.code == 128 + signal.SIGSEGV
        assert host.taken == b""
    assert tools.calls(f"insb {MAGIC} 10000 64 5659 0 @fc0 0", host=host) == []
    assert tools.code == 128 + signal.SIGSEGV


def test_signals_sent_to_the_program_arrive(tools: Tools) -> None:
    script = "trap 'echo had one; exit 9' USR1; kill -USR1 $$; sleep 10"
    assert tools.run("sh", "-c", script) == 9
    assert tools.out == "had one\n"


# -- powers -----------------------------------------------------------------------------------------------------------


def _powers(status: str) -> dict[str, int]:
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {name: int(fields[name], 16) for name in STATUS_FIELDS}


def test_dangerous_powers_are_dropped_for_good(tools: Tools) -> None:
    dangerous = sum(1 << number for number in (12, 16, 17, 19, 21, 22, 25))  # net admin, modules, ports, ptrace,
    # system administration, reboot, time

    assert tools.run("cat", "/proc/self/status") == 0
    held = _powers(tools.out)
    assert held["NoNewPrivs"] == 1
    assert not (held["CapPrm"] | held["CapEff"] | held["CapInh"]) & dangerous

    assert tools.run("cat", "/proc/self/status", keep_powers=True) == 0
    mine = _powers(Path("/proc/self/status").read_text())
    assert _powers(tools.out)["CapPrm"] == mine["CapPrm"]


@pytest.mark.parametrize("name", ["shutdown", "poweroff", "reboot"])
def test_programs_that_shut_the_machine_down_are_kept_from_it(tools: Tools, tmp_path: Path, name: str) -> None:
    program, proof = tmp_path / name, tmp_path / "proof"
    program.write_text(f"#!/bin/sh\ntouch {proof}\n")
    program.chmod(0o755)

    assert tools.run("sh", "-c", f"{program} -h now && echo believed") == 0
    assert tools.out == "believed\n"
    assert not proof.exists()
    assert tools.supervisor.refused == [f"/bin/sh {program} -h now"]

    assert tools.run("sh", "-c", f"{program} -h now", keep_powers=True) == 0
    assert proof.exists()


# -- the command ------------------------------------------------------------------------------------------------------


def pvdev(*words: str, send: int | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        (sys.executable, "-m", "pvdev.cli", "tools", "run", *words), capture_output=True, text=True, timeout=60
    )


def test_the_command_reports_and_logs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ran = pvdev("--set", "guestinfo.x=y z", "--log", str(log), "--", "vmware-rpctool", "info-get guestinfo.x")

    assert (ran.returncode, ran.stdout) == (0, "y z\n")
    assert "rules broken: none" in ran.stderr
    assert "rpci.request text=b'info-get guestinfo.x'" in log.read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--", "no-such-program"], "pvdev: no-such-program: no such program\n"),
        (["--", "/etc/passwd"], "pvdev: /etc/passwd: not a program that may be run\n"),
        (["--set", "x", "--", "true"], "pvdev: --set 'x': write it like guestinfo.x=y\n"),
        ([], "pvdev: run what? write: pvdev tools run -- vmware-rpctool 'info-get guestinfo.x'\n"),
        (["--log", "/no/such/place", "--", "true"], "pvdev: --log /no/such/place: No such file or directory\n"),
    ],
)
def test_a_wrong_command_line_is_one_line(words: Sequence[str], says: str) -> None:
    ran = pvdev(*words)
    assert (ran.returncode, ran.stderr) == (2, says)


def test_a_signal_to_the_command_goes_to_the_program() -> None:
    command = [sys.executable, "-m", "pvdev.cli", "tools", "run", "--quiet", "--", "sh", "-c"]
    script = "trap 'echo told; exit 4' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([*command, script], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGTERM)
        assert running.stdout.read() == "told\n"
    assert running.returncode == 4


def test_a_child_of_the_caller_s_own_is_not_waited_for(tools: Tools) -> None:
    with subprocess.Popen(["sleep", "1000"]) as other:
        try:
            assert tools.run("sh", "-c", "(sleep 0.2; vmware-rpctool 'info-set guestinfo.late yes') & exit 5") == 5
            assert tools.host.variables["late"] == b"yes"
            assert other.poll() is None
        finally:
            other.kill()


def test_the_program_ends_with_the_command() -> None:
    command = [sys.executable, "-m", "pvdev.cli", "tools", "run", "--quiet", "--", "sh", "-c", "echo $$; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        program = os.pidfd_open(int(running.stdout.readline()))
        running.kill()
    ended, _, _ = select.select([program], [], [], 10)
    os.close(program)
    assert ended


def test_ctrl_c_at_a_terminal_reaches_the_program_once() -> None:
    script = (
        "import signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n"
        "print('ready', flush=True)\n"
        "signal.sigwait([signal.SIGINT])\n"
        "print('twice' if signal.sigtimedwait([signal.SIGINT], 0.4) else 'once', flush=True)\n"
    )
    words = [sys.executable, "-m", "pvdev.cli", "tools", "run", "--quiet", "--", sys.executable, "-c", script]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, words)
    said = b""
    with contextlib.suppress(OSError):  # the terminal has gone: the command has ended
        while select.select([terminal], [], [], 30)[0] and (data := os.read(terminal, 1000)):
            said += data
            if said.endswith(b"ready\r\n"):
                os.write(terminal, b"\x03")
    os.close(terminal)  # which ends one that hangs
    assert os.waitpid(pid, 0)[1] == 0
    assert b"once" in said
