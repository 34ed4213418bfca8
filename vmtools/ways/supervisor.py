"""Unmodified programs of this machine as VMware's guests: their port instructions answered, without a hypervisor.

A program that touches a port gets a general protection fault, which Linux makes a SIGSEGV. A tracer sees it first: if
it is a backdoor call, a model answers, the instruction pointer moves on and the signal is forgotten. CPUID is made to
fault the same way, so the programs find VMware. Threads and children are followed.

Ref: ptrace(2); Intel SDM volume 1, "I/O permission"; open-vm-tools lib/backdoor, lib/vmCheck.
"""

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol

from pvdev.errors import ConfigError
from pvdev.trace import Sink
from vmtools.frame import Calls
from vmtools.ways import powers, processor, ptrace
from vmtools.ways.faults import Faults
from vmtools.ways.inject import Ended, Injector
from vmtools.ways.patches import Patches
from vmtools.ways.program import Program

_SEGV_STOP = signal.SIGSEGV << 8 | 0x7F
REFUSED_MOST = 32  # remembered one by one
_AT_EXECFN = 31  # in the auxiliary vector: the name given to execve


class Host(Calls, Protocol):
    """Whose calls are answered, and who hears when a program is no more."""

    def gone(self, caller: int, now_ns: int) -> None: ...


class Supervisor:
    """Runs one program, and what it starts, with its backdoor calls answered by `host`.

    `now_ns`: the model's clock. `turn` is held around every call of the model's: whoever else uses the host takes it
    too. `trace` hears of programs started (`ways.exec`), kept from what they wanted (`ways.refused`) and ended
    (`ways.exit`). `keep_powers`: nothing is dropped and nothing refused. `patch`: CPUID is replaced in programs rather
    than made to fault; None: where it must be. All of `run` happens in the thread that calls it. Raises `ConfigError`:
    not on this machine.
    """

    def __init__(
        self,
        host: Host,
        now_ns: Callable[[], int],
        *,
        turn: AbstractContextManager[object] | None = None,
        keep_powers: bool = False,
        patch: bool | None = None,
        trace: Sink | None = None,
    ) -> None:
        processor.require_x86_64()
        self.host, self.now_ns, self.trace, self.keep_powers = host, now_ns, trace, keep_powers
        self.turn = turn if turn is not None else threading.RLock()
        self.faults = Faults(host, now_ns, self.turn)
        self.programs = 0
        self.refused: list[str] = []  # commands not carried out
        self.pid = 0  # of the program while it runs
        self._faulting = processor.can_fault() and not patch
        patch = patch or (patch is None and not self._faulting and processor.mistaken())
        self._patches = Patches() if patch else None
        self._injector = Injector()
        self._tasks: dict[int, int] = {}  # thread -> its process

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        mask: Sequence[int] = (),
        started: Callable[[int], None] = lambda pid: None,
    ) -> int:
        """The exit code of `command`, when it and all it started have ended; 128 + N when signal N ended it.

        `mask`: the signals the program starts with blocked. `started` hears its number. Raises `ConfigError`: no such
        program, or this machine lets nobody trace.
        """
        program = Program(command, environment, mask, None if self.keep_powers else powers.drop)
        self._tasks = {program.pid: program.pid}
        try:
            program.seize()
            self.pid = program.pid
            started(self.pid)
            status = self._serve(program.pid)
        finally:
            self.pid = 0
            self._end()
            why = program.close()
        if why:
            raise ConfigError(why)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _serve(self, pid: int) -> int:
        """Until all have ended; how `pid` did. A child may be seen, and end, before its parent's fork is.

        The calling thread may have children of its own: they are nothing to wait for.
        """
        how, tasks, answer, resume = 0, self._tasks, self.faults.answer, ptrace.resume
        while True:
            try:
                tid, status = os.waitpid(-1, ptrace.WAIT_ALL if tasks else ptrace.WAIT_ALL | os.WNOHANG)
            except ChildProcessError:
                return how
            if not tid:
                return how
            if status & 0xFF == 0x7F:
                try:
                    if status == _SEGV_STOP:
                        known = answer(tid, tasks.get(tid, tid))
                        resume(tid, 0 if known else signal.SIGSEGV)
                    else:
                        self._stopped(tid, status)
                    continue
                except Ended as end:
                    tid, status = end.tid, end.status
                except ProcessLookupError:  # killed meanwhile: its end comes next
                    continue
            self._injector.forget(tid)
            if self._patches is not None:
                self._patches.forget(tid)
            if self._tasks.pop(tid, 0) == tid:
                self._gone(tid)
            if self.trace is not None:
                self.trace("ways.exit", pid=tid, status=os.waitstatus_to_exitcode(status))
            if tid == pid:
                how = status

    def _end(self) -> None:
        """Kill and reap what is left: after an exception, everything."""
        for tid in self._tasks:
            with suppress(ProcessLookupError):
                os.kill(tid, signal.SIGKILL)
        for tid in sorted(self._tasks, key=lambda tid: self._tasks[tid] == tid):  # a process ends after its threads
            with suppress(ChildProcessError):
                os.waitpid(tid, ptrace.WAIT_ALL)

    def _gone(self, pid: int) -> None:
        """A process has ended, or is another program now."""
        with self.turn:
            self.host.gone(pid, self.now_ns())

    # -- stops ------------------------------------------------------------------------------------------------------

    def _stopped(self, tid: int, status: int) -> None:
        if tid not in self._tasks:
            self._tasks[tid] = _process(tid)
        event, number = status >> 16, status >> 8 & 0xFF
        if event == 0:
            ptrace.resume(tid, 0 if self._patches is not None and self._patched(tid, number) else number)
        elif event == ptrace.EVENT_STOP and number != signal.SIGTRAP:
            ptrace.listen(tid)  # the whole process is stopped, as by SIGSTOP
        else:
            if event == ptrace.EVENT_EXEC:
                self._executed(tid)
            elif event in ptrace.EVENTS_OF_BIRTH:
                self._born(ptrace.event_message(tid))
            self._injector.resume(tid)

    def _born(self, tid: int) -> None:
        """There is one more to wait for, unless it has been seen to end already: its parent may not have waited yet."""
        if tid not in self._tasks and _status(tid, "TracerPid"):
            self._tasks[tid] = _process(tid)

    def _patched(self, tid: int, number: int) -> bool:
        """Whether a signal comes from what was put into a program; it is then done with."""
        assert self._patches is not None
        if number == signal.SIGILL:
            return self._patches.at(tid) and self.faults.replaced(tid)
        return number == signal.SIGTRAP and self._patches.begun(tid)

    def _executed(self, tid: int) -> None:
        """A program has just replaced another: `tid` is its only thread."""
        former = ptrace.event_message(tid)
        if former != tid:
            self._tasks.pop(former, None)
        if self.programs:
            self._gone(tid)
        self.programs += 1
        path, executable, words, auxiliary = _facts(tid)
        if self.trace is not None:
            self.trace("ways.exec", pid=tid, command=" ".join(words))
        if not self.keep_powers and powers.refused(path, executable, words):
            if len(self.refused) < REFUSED_MOST:
                self.refused.append(" ".join(words))
            if self.trace is not None:
                self.trace("ways.refused", pid=tid, command=" ".join(words))
            self._injector.exit(tid)
        elif self._faulting:
            self._injector.call(tid, processor.SYS_ARCH_PRCTL, processor.ARCH_SET_CPUID, 0)
        elif self._patches is not None:
            self._patches.begin(tid, auxiliary)


def _process(tid: int) -> int:
    """The process a thread belongs to; itself when it is no more."""
    return _status(tid, "Tgid") or tid


def _status(tid: int, name: str) -> int:
    """A number the kernel tells of a thread; 0 when there is no such thread."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{tid}/status").read_text().partition(f"\n{name}:")[2].split(None, 1)[0])
    return 0


def _facts(tid: int) -> tuple[str, str, list[str], dict[int, int]]:
    """What was started, what the kernel loaded for it, arguments and auxiliary vector; of a program just begun."""
    folder = Path(f"/proc/{tid}")
    try:
        words = memoryview((folder / "auxv").read_bytes()).cast("Q")
        auxiliary = dict(zip(words[::2], words[1::2], strict=True))
        name = ptrace.Memory().read(tid, auxiliary.get(_AT_EXECFN, 0), 4096).partition(b"\0")[0]
        line = (folder / "cmdline").read_bytes().split(b"\0")[:-1]
        return os.fsdecode(name), str((folder / "exe").readlink()), [os.fsdecode(word) for word in line], auxiliary
    except (OSError, ValueError, TypeError):
        return "", "", [], {}
