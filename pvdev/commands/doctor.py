"""`pvdev doctor`: what this machine can do, and the one line that adds what is missing."""

import importlib.util
import os
import shutil
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import click

from pvdev import ui
from pvdev.errors import ConfigError
from pvdev.qemu import cache_dir, find_qemu, kvm_usable

GROUP = "pvdev.doctor"  # entry points: name -> what a package looks for on a machine, a function without arguments
EXTRAS = {"conform": ("pytest", "scapy"), "usb": ("usb",)}  # of pyproject.toml -> the modules they bring
CAP_NET_ADMIN, CAP_NET_RAW = 12, 13  # Linux include/uapi/linux/capability.h

Finding = tuple[bool, str, str]  # fine, what was found, the mend


def _qemu() -> Finding:
    try:
        return True, str(find_qemu()), ""
    except ConfigError as error:
        return False, str(error), "make guest"


def _kernel() -> Finding:
    found = sorted((cache_dir() / "kernel" / "boot").glob("vmlinuz-*"))
    if found:
        return True, str(found[-1]), ""
    return False, "no guest kernel in the cache", "make guest"


def _kvm() -> Finding:
    if kvm_usable():
        return True, "/dev/kvm can be opened, and the processor has its extension", ""
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False, "/dev/kvm is there, but the processor lacks its extension", "none: guests run under emulation"
    mend = "add yourself to the group kvm" if Path("/dev/kvm").exists() else "none: guests run under emulation"
    return False, "/dev/kvm cannot be opened", mend


def _tap() -> Finding:
    if not Path("/dev/net/tun").exists():
        return False, "no /dev/net/tun", "modprobe tun (as root)"
    if _capable(CAP_NET_ADMIN):
        return True, "/dev/net/tun, and the right to use it", ""
    return False, "no right to make a TAP", "sudo ip tuntap add NAME mode tap user $USER"


def _packet() -> Finding:
    if _capable(CAP_NET_RAW):
        return True, "packet sockets on the interfaces of this machine", ""
    return False, "no right to a packet socket (--port packet:INTERFACE)", "run as root, or with CAP_NET_RAW"


def _passt() -> Finding:
    found = shutil.which("passt")
    return (True, found, "") if found else (False, "no passt: a network without root", "apt install passt")


def _nft() -> Finding:
    found = shutil.which("nft")
    return (True, found, "") if found else (False, "no nft: examples/tap.sh needs it for NAT", "apt install nftables")


def _namespaces() -> Finding:
    limit = Path("/proc/sys/user/max_user_namespaces")
    if os.geteuid() == 0 or (limit.exists() and int(limit.read_text()) > 0):
        return True, "network namespaces can be made", ""
    return False, "no user namespaces", "sysctl -w user.max_user_namespaces=1024 (as root)"


def _compiler() -> Finding:
    found = shutil.which("cc") or shutil.which("gcc")
    return (
        (True, found, "")
        if found
        else (False, "no C compiler: test programs of guests and the QEMU plugin need one", "apt install gcc libc6-dev")
    )


def _extra(name: str) -> Finding:
    missing = [module for module in EXTRAS[name] if importlib.util.find_spec(module) is None]
    if missing:
        return False, f"no {', '.join(missing)}", f"pip install 'pvdev[{name}]'"
    return True, ", ".join(EXTRAS[name]), ""


def _capable(capability: int) -> bool:
    """Whether this process has the capability of that number."""
    status = Path("/proc/self/status").read_text().splitlines()
    mask = int(next(line for line in status if line.startswith("CapEff")).split()[1], 16)
    return bool(mask >> capability & 1)


CHECKS: dict[str, Callable[[], Finding]] = {
    "QEMU with vfio-user": _qemu,
    "guest kernel": _kernel,
    "KVM": _kvm,
    "TAP": _tap,
    "packet sockets": _packet,
    "passt": _passt,
    "nft": _nft,
    "namespaces": _namespaces,
    "C compiler": _compiler,
    **{f"pvdev[{name}]": partial(_extra, name) for name in EXTRAS},
}


@click.command("doctor", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="print the findings as JSON")
def command(as_json: bool) -> int:
    """What this machine can do, and how to add what is missing. Replay and the models need none of it."""
    announced = {point.name.replace("-", " "): point.load() for point in entry_points(group=GROUP)}
    findings = {name: find() for name, find in {**CHECKS, **announced}.items()}
    if as_json:
        ui.print_json({name: {"ok": ok, "found": found, "mend": mend} for name, (ok, found, mend) in findings.items()})
    else:
        for name, (ok, found, mend) in findings.items():
            print(f"{'ok     ' if ok else 'missing'} {name}: {found}" + (f"\n          mend: {mend}" if mend else ""))
    return 0
