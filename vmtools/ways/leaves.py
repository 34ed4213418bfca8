"""CPUID as a virtual machine of VMware's shows it. Pure: the processor's own answer comes in.

Ref: Linux arch/x86/include/asm/vmware.h, arch/x86/kernel/cpu/vmware.c; open-vm-tools lib/misc/hostinfoHV.c.
"""

from collections.abc import Callable

Quad = tuple[int, int, int, int]  # EAX, EBX, ECX, EDX
Native = Callable[[int, int], Quad]

FEATURES, SIGNATURE, TIMING, LAST = 1, 0x4000_0000, 0x4000_0010, 0x4000_00FF
HYPERVISOR = 1 << 31  # ECX of leaf 1
VENDOR = b"VMwareVMware"
TSC_KHZ, BUS_KHZ = 2_000_000, 66_000


def vendor(quad: Quad) -> bytes:
    """The signature in an answer to leaf `SIGNATURE`."""
    return b"".join(word.to_bytes(4, "little") for word in quad[1:])


def ours(leaf: int) -> bool:
    """Whether `answer` says anything else than the processor does."""
    return leaf == FEATURES or SIGNATURE <= leaf <= LAST


def answer(leaf: int, subleaf: int, native: Native, tsc_khz: int = TSC_KHZ, bus_khz: int = BUS_KHZ) -> Quad:
    """What CPUID says. Hypercalls are never offered in `TIMING`: only the port is carried."""
    if leaf == FEATURES:
        eax, ebx, ecx, edx = native(leaf, subleaf)
        return eax, ebx, ecx | HYPERVISOR, edx
    if leaf == SIGNATURE:
        first, second, third = (int.from_bytes(VENDOR[at : at + 4], "little") for at in (0, 4, 8))
        return TIMING, first, second, third
    if leaf == TIMING:
        return tsc_khz, bus_khz, 0, 0
    if SIGNATURE < leaf <= LAST:
        return 0, 0, 0, 0
    return native(leaf, subleaf)
