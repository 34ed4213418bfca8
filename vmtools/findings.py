"""What `pvdev doctor` looks for: whether this machine has the two ways in for unmodified programs."""

import os
import shutil
import signal

from pvdev.errors import ConfigError
from pvdev.qemu import find_qemu
from vmtools.ways import processor, ptrace
from vmtools.ways.plugin.build import api_for

Finding = tuple[bool, str, str]  # fine, what was found, the mend


def programs() -> Finding:
    """`pvdev tools run`."""
    try:
        processor.require_x86_64()
    except ConfigError as error:
        return False, str(error), "none: boot a guest"
    if not _traceable():
        return False, "no program may be traced", "allow ptrace in the container, or set kernel.yama.ptrace_scope to 1"
    if processor.can_fault():
        return True, "the processor makes CPUID fault", ""
    if not processor.mistaken():
        return True, "no other hypervisor misleads the tools", ""
    if shutil.which("objdump"):
        return True, "CPUID is replaced in the tools, by objdump", ""
    return False, "the processor cannot make CPUID fault, and there is no objdump", "apt install binutils"


def plugin() -> Finding:
    """`pvdev boot --tools`."""
    try:
        api = api_for(find_qemu())
    except ConfigError as error:
        return False, str(error), "make guest"
    if os.environ.get("CC") or any(map(shutil.which, ("cc", "gcc", "clang"))):
        return True, f"interface {api} of QEMU's, and a C compiler", ""
    return False, "no C compiler for it", "apt install gcc libc6-dev"


def _traceable() -> bool:
    """Whether a child of ours can be."""
    hold, let_go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(let_go)
        os.read(hold, 1)
        os._exit(0)
    os.close(hold)
    try:
        ptrace.seize(pid)
        return True
    except OSError:
        return False
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(let_go)
        os.waitpid(pid, 0)
