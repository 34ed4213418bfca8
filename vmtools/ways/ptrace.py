"""The requests of ptrace(2) a supervisor needs, by ctypes, for x86-64; and a stopped program's memory.

Every request is made by the thread that seized the program. One that names a program which has just been killed
raises `ProcessLookupError`.

Ref: ptrace(2), process_vm_readv(2); Linux arch/x86/include/asm/user_64.h, include/uapi/linux/ptrace.h.
"""

import ctypes
import os

# fmt: off
(R15, R14, R13, R12, RBP, RBX, R11, R10, R9, R8, RAX, RCX, RDX, RSI, RDI, ORIG_RAX, RIP, CS, EFLAGS, RSP, SS,
 FS_BASE, GS_BASE, DS, ES, FS, GS) = range(27)  # places in `Registers`
# fmt: on
USER_CS = 0x33  # the code segment of a 64-bit program
DIRECTION = 1 << 10  # in EFLAGS: strings go downwards

_CONT, _SINGLESTEP, _GETREGS, _SETREGS = 7, 9, 12, 13
_GETEVENTMSG, _GETSIGINFO, _SETSIGINFO, _SEIZE, _LISTEN = 0x4201, 0x4202, 0x4203, 0x4206, 0x4208
_TRACEFORK, _TRACEVFORK, _TRACECLONE, _TRACEEXEC, _EXITKILL = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 20
FOLLOW = _TRACEFORK | _TRACEVFORK | _TRACECLONE | _TRACEEXEC | _EXITKILL

EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_STOP = 1, 2, 3, 4, 128
EVENTS_OF_BIRTH = (EVENT_FORK, EVENT_VFORK, EVENT_CLONE)  # the message is the new thread

WAIT_ALL = 0x4000_0000 | 0x2000_0000  # __WALL: threads too; __WNOTHREAD: what this very thread started or traces
SEGV_ACCERR = 2  # si_code of a page fault

_libc = ctypes.PyDLL(None, use_errno=True)  # none of these calls waits: the interpreter need not be let go for them
_ptrace = _libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_readv, _writev = _libc.process_vm_readv, _libc.process_vm_writev
for _function in (_readv, _writev):
    _function.restype = ctypes.c_ssize_t
    _function.argtypes = (
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_ulong,
    )


def _request(request: int, tid: int, address: int | None, data: int | None) -> None:
    if _ptrace(request, tid, address, data) == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class Registers:
    """A stopped thread's registers, `values[RAX]` and so on, 64-bit unsigned."""

    def __init__(self) -> None:
        self._words = (ctypes.c_uint64 * 27)()
        self._at = ctypes.addressof(self._words)
        self.values = memoryview(self._words).cast("B").cast("Q")

    def fetch(self, tid: int) -> None:
        _request(_GETREGS, tid, None, self._at)

    def store(self, tid: int) -> None:
        _request(_SETREGS, tid, None, self._at)


class SignalInfo:
    """What came with the signal a thread is stopped by (siginfo_t, 128 bytes)."""

    def __init__(self) -> None:
        self._words = (ctypes.c_int32 * 32)()
        self._at = ctypes.addressof(self._words)

    def fault(self, tid: int, code: int, address: int) -> None:
        """Make of the SIGSEGV at hand a page fault at `address`."""
        _request(_GETSIGINFO, tid, None, self._at)
        self._words[2] = code
        ctypes.c_uint64.from_buffer(self._words, 16).value = address
        _request(_SETSIGINFO, tid, None, self._at)


def seize(pid: int) -> None:
    """Trace `pid` from now on, its threads and children with it; they die with the tracer. Raises `OSError`."""
    _request(_SEIZE, pid, None, FOLLOW)


def resume(tid: int, signal: int = 0) -> None:
    """Let a stopped thread run, with `signal` delivered first."""
    _request(_CONT, tid, None, signal)


def step(tid: int) -> None:
    """Let it run one instruction."""
    _request(_SINGLESTEP, tid, None, None)


def listen(tid: int) -> None:
    """Leave a thread of a stopped process stopped, until SIGCONT."""
    _request(_LISTEN, tid, None, None)


def event_message(tid: int) -> int:
    """What an event is about: the new thread's number, or the one a program had before exec."""
    message = ctypes.c_ulong()
    _request(_GETEVENTMSG, tid, None, ctypes.addressof(message))
    return message.value


class Code:
    """Looks at the instructions where stopped programs are."""

    def __init__(self) -> None:
        self._words = (ctypes.c_uint16 * 1)()
        self._vectors = (ctypes.c_uint64 * 4)(ctypes.addressof(self._words), 2, 0, 2)
        self._at = ctypes.addressof(self._vectors)

    def at(self, tid: int, address: int) -> int:
        """The two bytes at `address`, the first in the lower half; of what cannot be read, zeros."""
        self._vectors[2] = address
        self._words[0] = 0
        _readv(tid, self._at, 1, self._at + 16, 1, 0)
        return self._words[0]


class Memory:
    """Reads and writes the memory of stopped programs by the permissions of its pages."""

    def __init__(self) -> None:
        self._vectors = (ctypes.c_uint64 * 4)()  # iovec here, iovec there
        self._at = ctypes.addressof(self._vectors)

    def _move(self, call: "ctypes._NamedFuncPointer", tid: int, buffer: int, address: int, count: int) -> int:
        vectors = self._vectors
        vectors[0], vectors[1], vectors[2], vectors[3] = buffer, count, address, count
        done = call(tid, self._at, 1, self._at + 16, 1, 0)
        if done < 0:
            if ctypes.get_errno() == 3:  # ESRCH
                raise ProcessLookupError(tid)
            return 0
        return int(done)

    def read(self, tid: int, address: int, count: int) -> bytes:
        """`count` bytes, or those before the first that cannot be read."""
        buffer = ctypes.create_string_buffer(count)
        done = self._move(_readv, tid, ctypes.addressof(buffer), address, count)
        return buffer.raw[:done]

    def write(self, tid: int, address: int, data: bytes) -> int:
        """How many bytes were written: all, or those before the first that cannot be."""
        buffer = ctypes.create_string_buffer(data, len(data))
        return self._move(_writev, tid, ctypes.addressof(buffer), address, len(data))


def patch(tid: int, address: int, data: bytes) -> bytes:
    """Put `data` over a stopped program's code, whatever its pages say; returns what was there. Raises `OSError`."""
    fd = os.open(f"/proc/{tid}/mem", os.O_RDWR)
    try:
        before = os.pread(fd, len(data), address)
        os.pwrite(fd, data, address)
    finally:
        os.close(fd)
    return before
