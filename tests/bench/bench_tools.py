"""Calls of an unmodified program through the supervisor, against what stopping and resuming it costs in any case."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from statistics import median

from vmtools.host import Host
from vmtools.ways import processor, ptrace
from vmtools.ways.faults import MAGIC, Faults
from vmtools.ways.inject import Injector
from vmtools.ways.program import Program
from vmtools.ways.ptrace import RAX, RIP, Registers
from vmtools.ways.supervisor import Supervisor

CALLS, ROUNDS = 20_000, 5
FLOOD = str(Path(__file__).parent / "port_flood.py")


def bare(faulting: bool) -> float:
    """Stops per second when nothing is done but to fetch the registers, step over the instruction and resume.

    `faulting`: CPUID is made to fault, as the supervisor has it, which makes every switch to the program dearer.
    """
    program = Program([sys.executable, FLOOD, str(CALLS), "bare"], None, (), None)
    program.seize()
    registers, injector, stops, since, now = Registers(), Injector(), 0, 0, 0
    faults = Faults(Host(), time.monotonic_ns, contextlib.nullcontext())
    segv, exec_event = signal.SIGSEGV << 8 | 0x7F, ptrace.EVENT_EXEC << 16 | signal.SIGTRAP << 8 | 0x7F
    while True:
        pid, status = os.waitpid(-1, ptrace.WAIT_ALL)
        if status == segv:
            registers.fetch(pid)
            if registers.values[RAX] != MAGIC:
                assert faults.answer(pid, pid)  # the dynamic loader's CPUIDs
            else:
                registers.values[RIP] += 1
                registers.store(pid)
                stops, now = stops + 1, time.perf_counter_ns()
                since = since or now
            ptrace.resume(pid)
        elif status & 0xFF != 0x7F:
            program.close()
            return (stops - 1) * 1e9 / (now - since)
        else:
            if status == exec_event and faulting:
                injector.call(pid, processor.SYS_ARCH_PRCTL, processor.ARCH_SET_CPUID, 0)
            ptrace.resume(pid)


class Timed(Host):
    """Notes when the first and the last call came."""

    since = now = count = 0

    def low(self, frame, now_ns):  # type: ignore[no-untyped-def]
        self.count += 1
        self.now = time.perf_counter_ns()
        self.since = self.since or self.now
        super().low(frame, now_ns)


def supervised() -> float:
    """Calls per second of GETVERSION, answered by the model."""
    host = Timed()
    supervisor = Supervisor(host, time.monotonic_ns)
    assert supervisor.run([sys.executable, FLOOD, str(CALLS), "version"]) == 0
    assert host.count == CALLS
    return (host.count - 1) * 1e9 / (host.now - host.since)


def main() -> None:
    if not processor.can_fault():
        print("supervisor: not measured, this processor cannot make CPUID fault")
        return
    rounds = [(supervised(), bare(True), bare(False)) for _ in range(ROUNDS)]
    ours, least, without = (median(each) for each in zip(*rounds, strict=True))
    ratio = median(each[0] / each[1] for each in rounds)
    print(
        f"supervisor: {ours:,.0f} calls/s, a bare ptrace round trip {least:,.0f}/s, ratio {ratio:.2f} (0.7 wanted); "
        f"{without:,.0f}/s where CPUID does not fault"
    )


if __name__ == "__main__":
    main()
