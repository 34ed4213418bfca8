"""This machine's processor: its CPUID, and whether the instruction can be made to fault.

Ref: Intel SDM volume 3, "CPUID faulting"; arch_prctl(2), ARCH_SET_CPUID.
"""

import ctypes
import mmap
import platform
from functools import cache

from pvdev.errors import ConfigError
from vmtools.ways.leaves import FEATURES, HYPERVISOR, SIGNATURE, Native, Quad, vendor

SYS_ARCH_PRCTL, ARCH_SET_CPUID = 158, 0x1012
MISTAKEN = (b"KVMKVMKVM\0\0\0", b"XenVMMXenVMM")  # signatures after which the tools look no further

# push rbx; mov eax,edi; mov ecx,esi; mov r8,rdx; cpuid; mov [r8],eax; +4 ebx; +8 ecx; +12 edx; pop rbx; ret
_CODE = bytes.fromhex("53 89f8 89f1 4989d0 0fa2 418900 41895804 41894808 4189500c 5b c3")


def require_x86_64() -> None:
    """Raises `ConfigError` where no x86-64 program runs."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        where = f"{platform.system()} on {platform.machine()}"
        raise ConfigError(f"programs can be supervised on Linux x86-64 only, this is {where}: boot a guest instead")


@cache
def native() -> Native:
    """The processor's own CPUID, as a function."""
    require_x86_64()
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(_CODE)
    code = ctypes.c_char.from_buffer(page)  # keeps the page
    call = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(ctypes.addressof(code))
    out = (ctypes.c_uint32 * 4)()
    at = ctypes.addressof(out)

    def cpuid(leaf: int, subleaf: int, _page: object = code) -> Quad:
        call(leaf, subleaf, at)
        return out[0], out[1], out[2], out[3]

    return cpuid


def can_fault() -> bool:
    """Whether programs can be made to stop at CPUID."""
    result: int = ctypes.CDLL(None).syscall(SYS_ARCH_PRCTL, ARCH_SET_CPUID, ctypes.c_long(1))
    return result == 0


def mistaken() -> bool:
    """Whether the tools take this machine for one of another hypervisor, and give up."""
    if not native()(FEATURES, 0)[2] & HYPERVISOR:
        return False
    return vendor(native()(SIGNATURE, 0)) in MISTAKEN
