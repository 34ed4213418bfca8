"""System calls made on behalf of a program that has just been started, before its first instruction.

Ref: ptrace(2); syscall(2).
"""

import os
import signal
from contextlib import suppress

from vmtools.ways import ptrace
from vmtools.ways.ptrace import CS, ORIG_RAX, R8, R10, RAX, RDI, RDX, RIP, RSI, USER_CS, Registers

SYS_EXIT_GROUP = 231
_SYSCALL = b"\x0f\x05"
_NONE = (1 << 64) - 1  # ORIG_RAX: no system call is under way
_ARGUMENTS = (RDI, RSI, RDX, R10, R8)


class Ended(ProcessLookupError):
    """A thread was killed, and its end already waited for. `status`: as waitpid has it."""

    def __init__(self, tid: int, status: int) -> None:
        super().__init__(tid)
        self.tid, self.status = tid, status


class Injector:
    """Makes calls in threads that stopped at exec. Signals that come meanwhile are kept, and sent after. Any may raise
    `Ended`."""

    def __init__(self) -> None:
        self._registers = Registers()
        self._kept: dict[int, list[int]] = {}

    def call(self, tid: int, number: int, *arguments: int) -> int | None:
        """The result of a system call, negative for an error. None: not a 64-bit program, nothing was done."""
        r = self._registers.values
        if not self._outside(tid):
            return None
        before = r.tobytes()
        code = self._enter(tid, number, arguments)
        self._step(tid)
        self._registers.fetch(tid)
        result = r[RAX]
        r.cast("B")[:] = before
        ptrace.patch(tid, r[RIP], code)
        self._registers.store(tid)
        return result - (1 << 64) if result >> 63 else result

    def exit(self, tid: int) -> None:
        """Make it end with success as soon as it is resumed; one that is no 64-bit program is killed."""
        if self._outside(tid):
            self._enter(tid, SYS_EXIT_GROUP, (0,))
        else:
            os.kill(tid, signal.SIGKILL)

    def resume(self, tid: int) -> None:
        """Let it run, and have the signals that came meanwhile."""
        ptrace.resume(tid)
        for number in self._kept.pop(tid, ()):
            with suppress(ProcessLookupError):
                os.kill(tid, number)

    def forget(self, tid: int) -> None:
        self._kept.pop(tid, None)

    def _outside(self, tid: int) -> bool:
        """Out of the execve it is still in, where a result would be overwritten; whether the program is 64-bit."""
        self._step(tid)
        self._registers.fetch(tid)
        return self._registers.values[CS] == USER_CS

    def _enter(self, tid: int, number: int, arguments: tuple[int, ...]) -> bytes:
        """Registers and code for a call at the next instruction; returns the code that was there."""
        r = self._registers.values
        code = ptrace.patch(tid, r[RIP], _SYSCALL)
        r[RAX], r[ORIG_RAX] = number, _NONE
        for place, value in zip(_ARGUMENTS, arguments, strict=False):
            r[place] = value
        self._registers.store(tid)
        return code

    def _step(self, tid: int) -> None:
        """One instruction on. Raises `Ended`."""
        while True:
            ptrace.step(tid)
            _, status = os.waitpid(tid, ptrace.WAIT_ALL)
            if status & 0xFF != 0x7F:
                raise Ended(tid, status)
            number = status >> 8 & 0xFF
            if number == signal.SIGTRAP:
                return
            self._kept.setdefault(tid, []).append(number)
