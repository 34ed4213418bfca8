"""QEMU as our devices' host: where it is, whether it is new enough, and the words of its command line.

Ref: QEMU documentation, "vfio-user" (system/devices/vfio-user) and "invocation".
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pvdev.errors import ConfigError

Version = tuple[int, int, int]

NAME = "qemu-system-x86_64"
DEVICE = "vfio-user-pci"
OLDEST: Version = (10, 1, 0)
LOADER = Path("usr/lib64/ld-linux-x86-64.so.2")
LIBRARIES = Path("usr/lib/x86_64-linux-gnu")


@dataclass(frozen=True)
class Qemu:
    """A QEMU that serves: the start of its command line, and its version."""

    command: tuple[str, ...]
    version: Version

    def __str__(self) -> str:
        return f"QEMU {'.'.join(map(str, self.version))}: {shlex.join(self.command)}"

    @property
    def environment(self) -> dict[str, str]:
        """What it needs beside: an unpacked QEMU does not know where its modules are; qtest is one."""
        root = cache_dir() / "qemu"
        return {"QEMU_MODULE_DIR": str(root / LIBRARIES / "qemu")} if str(root / LIBRARIES) in self.command else {}


def cache_dir() -> Path:
    """Where the guest kit unpacks to: below PVDEV_CACHE, XDG_CACHE_HOME or ~/.cache; perhaps not there yet."""
    if named := os.environ.get("PVDEV_CACHE"):
        base = Path(named)
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pvdev"
    return base.absolute() / "guest"


def named_qemu(command: str | None) -> Qemu:
    """The QEMU a command line starts; without one the one `find_qemu` finds. Raises `ConfigError`."""
    return check(tuple(shlex.split(command)), command) if command else find_qemu()


def find_qemu() -> Qemu:
    """What PVDEV_QEMU names, else the machine's own, else the guest kit's unpacked one.

    Raises `ConfigError`: what is missing, and the mend.
    """
    if named := os.environ.get("PVDEV_QEMU"):
        return check(tuple(shlex.split(named)), "PVDEV_QEMU")
    missing = f"no QEMU >= {_dotted(OLDEST)} with {DEVICE}"
    if found := shutil.which(NAME):
        try:
            return check((found,), found)
        except ConfigError as error:  # of no weight while another one serves
            missing += f" ({error})"
    root = cache_dir() / "qemu"
    if (root / "manifest.json").exists():
        return check(unpacked(root), str(root))
    raise ConfigError(f"{missing} on this machine: install one, name it in PVDEV_QEMU, or fetch one with `make guest`")


def unpacked(root: Path) -> tuple[str, ...]:
    """The command for a QEMU unpacked at `root`: its own dynamic loader, libraries and firmware folders."""
    firmware = [str(root / "usr" / folder) for folder in ("share/qemu", "share/seabios", "lib/ipxe/qemu")]
    return (
        str(root / LOADER),
        "--library-path",
        str(root / LIBRARIES),
        "--argv0",
        NAME,
        str(root / "usr/bin" / NAME),
        *(word for folder in firmware for word in ("-L", folder)),
    )


def check(command: tuple[str, ...], name: str) -> Qemu:
    """The QEMU that `command` starts. Raises `ConfigError` when it is none, too old, or cannot do vfio-user."""
    version = parse_version(_ask(command, "--version"))
    if version is None:
        raise ConfigError(f"{name} is no {NAME} that runs here")
    if version < OLDEST:
        raise ConfigError(f"{name} is QEMU {_dotted(version)}, too old: {_dotted(OLDEST)} or newer is needed")
    if f'"{DEVICE}"' not in _ask(command, "-device", "help"):
        raise ConfigError(f"{name} was built without {DEVICE}: another build of QEMU >= {_dotted(OLDEST)} is needed")
    return Qemu(command, version)


def parse_version(text: str) -> Version | None:
    """The version in the first line of `qemu --version`, or None."""
    found = re.search(r"QEMU emulator version (\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def _dotted(version: Version) -> str:
    return ".".join(map(str, version[:2] if version[2] == 0 else version))


def _ask(command: tuple[str, ...], *question: str) -> str:
    try:
        return subprocess.run(
            (*command, *question),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def kvm_usable(cpuinfo: str | None = None) -> bool:
    """Whether KVM is worth trying: its device opens, and the processor says it can.

    Some virtual hosts have a /dev/kvm without either extension, where a guest stops at its first odd instruction.
    """
    flags = Path("/proc/cpuinfo").read_text() if cpuinfo is None else cpuinfo
    return bool(re.search(r"\b(vmx|svm)\b", flags)) and os.access("/dev/kvm", os.R_OK | os.W_OK)


def machine_args(memory: str) -> list[str]:
    """A q35 machine with `memory` (QEMU's notation) of RAM that a device in another process can map."""
    backend = f"memory-backend-memfd,id=m,size={memory},share=on"
    return ["-machine", "q35,memory-backend=m", "-object", backend, "-m", memory]


def device_arg(socket: str | Path, properties: Mapping[str, object] | None = None) -> str:
    """The value of `-device` for a device served at `socket`. QEMU takes no other form than JSON for it."""
    value = {"driver": DEVICE, "socket": {"type": "unix", "path": str(socket)}, **(properties or {})}
    return json.dumps(value)
