"""CPUID without the processor's help: where it cannot be made to fault, the instruction is replaced in the program.

Only files that look for hypervisors are touched, and only in the program's memory: at its first instruction all its
libraries are there, and each CPUID in them becomes UD2, which stops the program by SIGILL. objdump finds them, as their
bytes may also be part of other instructions.

Ref: elf(5); getauxval(3), AT_ENTRY; open-vm-tools lib/misc/hostinfoHV.c (what it looks for).
"""

import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from pvdev.errors import ConfigError
from vmtools.ways import ptrace
from vmtools.ways.ptrace import RIP, Registers

_CPUID, _UD2, _INT3 = b"\x0f\xa2", b"\x0f\x0b", b"\xcc"
_LOOKS = (b"VMwareVMware", b"KVMKVMKVM")  # in files that ask which hypervisor there is
_AT_ENTRY = 9
_TIMEOUT_S = 120
_SITE = re.compile(r"^\s*([0-9a-f]+):\s+0f a2\s+cpuid", re.MULTILINE)
_SEGMENT = re.compile(r"^\s+LOAD\s+off\s+(0x[0-9a-f]+) vaddr (0x[0-9a-f]+) .*\n\s+filesz (0x[0-9a-f]+)", re.MULTILINE)


class Patches:
    """The files' CPUIDs, as they are met. Raises `ConfigError`: there is no objdump."""

    def __init__(self) -> None:
        objdump = shutil.which("objdump")
        if objdump is None:
            raise ConfigError(
                "this processor cannot make CPUID fault, and without objdump its place in programs cannot be found: "
                "apt install binutils, or boot a guest"
            )
        self._objdump = objdump
        self._registers = Registers()
        self._entries: dict[int, tuple[int, bytes]] = {}  # process -> where it begins, and the code there
        self._sites: dict[tuple[str, int, int], frozenset[int]] = {}  # file -> offsets

    def begin(self, pid: int, auxiliary: dict[int, int]) -> None:
        """A program was started: have it stop at its own first instruction, when its libraries are there."""
        if entry := auxiliary.get(_AT_ENTRY):
            with suppress(OSError):
                self._entries[pid] = entry, ptrace.patch(pid, entry, _INT3)

    def begun(self, pid: int) -> bool:
        """Whether the SIGTRAP it is stopped by is that one; then all is in place and the program may go on."""
        if pid not in self._entries:
            return False
        entry, code = self._entries[pid]
        self._registers.fetch(pid)
        if self._registers.values[RIP] != entry + 1:
            return False
        del self._entries[pid]
        ptrace.patch(pid, entry, code)
        self._registers.values[RIP] = entry
        self._registers.store(pid)
        for low, high, offset, path in _code(pid):
            for site in self._of(path):
                at = low + site - offset
                if low <= at < high and ptrace.Memory().read(pid, at, 2) == _CPUID:
                    ptrace.patch(pid, at, _UD2)
        return True

    def at(self, tid: int) -> bool:
        """Whether the SIGILL it is stopped by comes from an instruction replaced here."""
        self._registers.fetch(tid)
        address = self._registers.values[RIP]
        for low, high, offset, path in _code(tid):
            if low <= address < high:
                return address - low + offset in self._of(path)
        return False

    def forget(self, pid: int) -> None:
        self._entries.pop(pid, None)

    def _of(self, path: str) -> frozenset[int]:
        """Where in a file CPUIDs stand."""
        try:
            facts = Path(path).stat()
            key = path, facts.st_mtime_ns, facts.st_size
            if key not in self._sites:
                self._sites[key] = self._find(path)
            return self._sites[key]
        except (OSError, subprocess.SubprocessError):
            return frozenset()

    def _find(self, path: str) -> frozenset[int]:
        content = Path(path).read_bytes()
        if _CPUID not in content or not any(word in content for word in _LOOKS):
            return frozenset()
        listed = [self._ask("-d", path), self._ask("-p", path)]
        found = {int(address, 16) for address in _SITE.findall(listed[0])}
        segments = [tuple(int(word, 16) for word in words) for words in _SEGMENT.findall(listed[1])]
        return frozenset(
            address - start + offset
            for address in found
            for offset, start, size in segments
            if start <= address < start + size
        )

    def _ask(self, option: str, path: str) -> str:
        done = subprocess.run([self._objdump, option, "--", path], capture_output=True, text=True, timeout=_TIMEOUT_S)
        return done.stdout


def _code(tid: int) -> list[tuple[int, int, int, str]]:
    """(first address, end, offset in the file, file) of each mapping with code of a file."""
    found = []
    with suppress(OSError):
        for line in Path(f"/proc/{tid}/maps").read_text(errors="replace").splitlines():
            words = line.split(None, 5)
            if len(words) == 6 and "x" in words[1] and words[5].startswith("/"):
                low, _, high = words[0].partition("-")
                found.append((int(low, 16), int(high, 16), int(words[2], 16), words[5]))
    return found
