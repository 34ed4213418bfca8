"""A program stopped at a general protection fault: whether it made a backdoor call or asked CPUID, and the answer.

Ref: Intel SDM volume 2, IN, INS, OUTS, CPUID; open-vm-tools lib/backdoor/backdoorGcc64.c.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from vmtools.frame import PORT_BALLOON, PORT_HIGH, PORT_LOW, Calls, Frame
from vmtools.ways import leaves, processor
from vmtools.ways.ptrace import (
    CS,
    DIRECTION,
    EFLAGS,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RIP,
    RSI,
    SEGV_ACCERR,
    USER_CS,
    Code,
    Memory,
    Registers,
    SignalInfo,
)

MAGIC, BALLOON_MAGIC = 0x564D5868, 0x456C6D6F
_IN, _OUT = 0xED, 0xEF  # IN EAX,DX and OUT DX,EAX: one byte long, everything else here two
_REP_OUTSB, _REP_INSB, _CPUID = 0x6EF3, 0x6CF3, 0xA20F
_LOW32 = 0xFFFF_FFFF
_LOW64 = (1 << 64) - 1


class Faults:
    """Answers the faults of stopped threads. `calls` and `cpuids` count the answers.

    What a thread is stopped at tells enough: none of these instructions gets as far as a page fault. A SIGSEGV that
    another program sends in just that moment is lost.
    """

    def __init__(self, host: Calls, now_ns: Callable[[], int], turn: AbstractContextManager[object]) -> None:
        self.host, self.now_ns, self.turn = host, now_ns, turn
        self.calls = self.cpuids = 0
        self._native = processor.native()
        self._registers, self._info, self._memory, self._code = Registers(), SignalInfo(), Memory(), Code()
        self._frame = Frame()  # of the call at hand; a host keeps none

    def answer(self, tid: int, caller: int) -> bool:
        """Whether the SIGSEGV that thread `tid` is stopped by was a call, now done; otherwise it is the program's.

        `caller`: its process, to the model.
        """
        registers = self._registers
        registers.fetch(tid)
        r = registers.values
        magic = r[RAX] & _LOW32
        if magic == MAGIC or magic == BALLOON_MAGIC:  # noqa: SIM109 (the quicker way)
            if r[CS] != USER_CS:
                return False
        elif self._code.at(tid, r[RIP]) == _CPUID:
            return self.cpuid(tid)
        else:
            return False
        code, port, length, frame = self._code.at(tid, r[RIP]), r[RDX] & 0xFFFF, 1, self._frame
        frame.rax, frame.rbx, frame.rcx, frame.rdx = r[RAX], r[RBX], r[RCX], r[RDX]
        frame.rsi, frame.rdi, frame.rbp, frame.caller = r[RSI], r[RDI], r[RBP], caller
        if magic == BALLOON_MAGIC:
            if port != PORT_BALLOON or code & 0xFF != _IN:
                return False
            with self.turn:
                self.host.balloon(frame, self.now_ns())
        elif port == PORT_LOW and code & 0xFF in (_IN, _OUT):
            with self.turn:
                self.host.low(frame, self.now_ns())
        elif port == PORT_HIGH and code in (_REP_OUTSB, _REP_INSB) and not r[EFLAGS] & DIRECTION:
            if not (self._out(tid, frame) if code == _REP_OUTSB else self._in(tid, frame)):
                return False
            length = 2
        else:
            return code == _CPUID and self.cpuid(tid)
        r[RAX], r[RBX], r[RCX], r[RDX] = frame.rax, frame.rbx, frame.rcx, frame.rdx
        r[RSI], r[RDI], r[RBP] = frame.rsi, frame.rdi, frame.rbp
        r[RIP] += length
        registers.store(tid)
        self.calls += 1
        return True

    def replaced(self, tid: int) -> bool:
        """Answer a CPUID that was replaced by another instruction as long."""
        self._registers.fetch(tid)
        return self.cpuid(tid)

    def cpuid(self, tid: int) -> bool:
        """Answer a CPUID at which `tid` is stopped, its registers fetched, in place of the processor."""
        r = self._registers.values
        r[RAX], r[RBX], r[RCX], r[RDX] = leaves.answer(r[RAX] & _LOW32, r[RCX] & _LOW32, self._native)
        r[RIP] += 2
        self._registers.store(tid)
        self.cpuids += 1
        return True

    def _out(self, tid: int, frame: Frame) -> bool:
        """Guest to host. False: its buffer cannot be read; that is the program's page fault."""
        with self.turn:
            count = self.host.accepts(frame)
        data = self._memory.read(tid, frame.rsi, count) if count else b""
        if len(data) < count:
            self._info.fault(tid, SEGV_ACCERR, (frame.rsi + len(data)) & _LOW64)
            return False
        with self.turn:
            self.host.high_out(frame, data, self.now_ns())
        return True

    def _in(self, tid: int, frame: Frame) -> bool:
        """Host to guest. False: its buffer cannot be written; the message is still there for another try."""
        address = frame.rdi
        with self.turn:
            data = self.host.high_in(frame, self.now_ns())
        written = self._memory.write(tid, address, data) if data else 0
        if written < len(data):
            self._info.fault(tid, SEGV_ACCERR, (address + written) & _LOW64)
            return False
        return True
