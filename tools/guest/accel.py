"""Does KVM work here? Only a boot tells: some virtual hosts have a /dev/kvm that stops at the first odd instruction."""

from pathlib import Path

from guest.cache import new_file
from guest.kit import Kit
from guest.ktap import GuestFailed
from pvdev.qemu import cache_dir, kvm_usable

TRIAL_S = 10.0


def kvm_works(kit: Kit) -> bool:
    """True when the kit's kernel boots under KVM. Tried once per start of this machine and kit, then remembered."""
    if not kvm_usable():
        return False
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    question = f"{boot} {kit.qemu} {kit.release}"
    memory = cache_dir() / "build" / "kvm"
    if memory.exists() and memory.read_text().rpartition("\n")[0] == question:
        return memory.read_text().endswith("yes")
    answer = _try(kit)
    new_file(memory, f"{question}\n{'yes' if answer else 'no'}".encode())
    return answer


def _try(kit: Kit) -> bool:
    from guest.vm import Vm

    try:
        return not Vm(kit, ["boot"], accel="kvm", memory="256M", deadline_s=TRIAL_S).run().problems
    except GuestFailed:
        return False
