"""Find QEMU >= 10.1 with vfio-user, a Linux kernel with its modules and a small userland, or fetch them.

First what PVDEV_QEMU and PVDEV_KERNEL name, then what the machine has, then the distribution's packages unpacked into
the cache folder. `find_kit` is the only entry.
"""

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from guest.apt import SUITES, Apt, Package
from guest.cache import KitError, Say, locked, new_folder, quiet
from pvdev.errors import ConfigError
from pvdev.qemu import Qemu, Version, cache_dir, check, find_qemu, unpacked

QEMU_PACKAGES = ("qemu-system-x86", "seabios", "ipxe-qemu")
KERNEL_PACKAGE = "linux-image-amd64"
KERNEL_SERIES = "6.12."
PROGRAMS = ("busybox", "ethtool", "ip", "ping")
USERLAND_PACKAGES = ("busybox-static", "ethtool", "iproute2", "iputils-ping")
BIN_FOLDERS = ("usr/bin", "bin", "usr/sbin", "sbin")


@dataclass(frozen=True)
class Kit:
    """Everything a guest is made of."""

    qemu: tuple[str, ...]
    """The start of QEMU's command line."""
    qemu_version: Version
    kernel: Path
    release: str
    """The kernel's own name, as `uname -r` says it."""
    modules: Path
    """The folder of that release's modules."""
    userland: Path
    """The root the guest's programs are taken from."""

    @cached_property
    def kvm(self) -> bool:
        """KVM runs this kernel here. Found by booting it, once per machine start; /dev/kvm alone proves nothing."""
        from guest.accel import kvm_works

        return kvm_works(self)

    def describe(self) -> list[str]:
        """One line per part, for people."""
        return [
            f"QEMU {'.'.join(map(str, self.qemu_version))}: {shlex.join(self.qemu)}",
            f"kernel {self.release}: {self.kernel}",
            f"modules: {self.modules}",
            f"userland: {self.userland}",
        ]


def find_kit(fetch: bool = False, say: Say = quiet) -> Kit:
    """The kit of this machine; with `fetch` what is missing is unpacked into the cache first (about 150 MB to fetch).

    Raises KitError, one line with the mend.
    """
    qemu = _find_qemu(fetch, say)
    kernel, release, modules = _find_kernel(fetch, say)
    userland = _find_userland(fetch, say)
    if fetch:
        forget_lists()
    return Kit(qemu.command, qemu.version, kernel, release, modules, userland)


def forget_lists() -> None:
    """Remove what apt left behind: 100 MB of package lists nobody needs any more."""
    if (lists := cache_dir() / "apt").exists():
        with locked(cache_dir()):
            shutil.rmtree(lists, ignore_errors=True)


def find_program(root: Path, name: str) -> Path | None:
    """A program below a root folder, or None."""
    return next((path for folder in BIN_FOLDERS if (path := root / folder / name).is_file()), None)


def _find_qemu(fetch: bool, say: Say) -> Qemu:
    try:
        return find_qemu()
    except ConfigError as error:
        if not fetch or os.environ.get("PVDEV_QEMU"):
            raise KitError(str(error)) from None
        root = part("qemu", fetch, say, _unpack_qemu, str(error))
        return check(unpacked(root), str(root))


def _find_kernel(fetch: bool, say: Say) -> tuple[Path, str, Path]:
    if named := os.environ.get("PVDEV_KERNEL"):
        return _check_kernel(Path(named))
    for image in sorted(Path("/boot").glob(f"vmlinuz-{KERNEL_SERIES}*")):
        with suppress(KitError):
            return _check_kernel(image)
    root = part("kernel", fetch, say, _unpack_kernel, f"no Linux {KERNEL_SERIES[:-1]} kernel with modules")
    return _check_kernel(next((root / "boot").glob("vmlinuz-*")))


def kernel_release(image: bytes) -> str | None:
    """The release in the header of a bzImage, or None. Ref: Linux Documentation/arch/x86/boot.rst, kernel_version."""
    if image[0x202:0x206] != b"HdrS":
        return None
    at = int.from_bytes(image[0x20E:0x210], "little") + 0x200
    return image[at : at + 128].split(b"\0")[0].split(b" ")[0].decode("ascii", "replace")


def _check_kernel(image: Path) -> tuple[Path, str, Path]:
    try:
        with image.open("rb") as file:
            release = kernel_release(file.read(0x10000))
    except OSError as error:
        raise KitError(f"cannot read the kernel {image}: {error.strerror}") from None
    if release is None:
        raise KitError(f"{image} is no x86 Linux kernel (a bzImage was expected)")
    top = image.absolute().parent.parent
    for modules in (top / "usr/lib/modules" / release, top / "lib/modules" / release, Path("/lib/modules") / release):
        if (modules / "kernel").is_dir():
            return image.absolute(), release, modules
    raise KitError(
        f"no modules for kernel {image}: lib/modules/{release} was expected beside its boot folder or in /lib/modules"
    )


def _find_userland(fetch: bool, say: Say) -> Path:
    try:
        return part("userland", fetch, say, _unpack_userland, f"no guest programs ({', '.join(PROGRAMS)})")
    except KitError:
        if all(find_program(Path("/"), name) for name in PROGRAMS):
            return Path("/")
        raise


def part(name: str, fetch: bool, say: Say, unpack: Callable[[Apt, Path], list[Package]], missing: str) -> Path:
    """The root folder of one unpacked part; its `manifest.json` says which package versions it is made of."""
    cache = cache_dir()
    part = cache / name
    if (part / "manifest.json").exists():
        return part
    if not fetch:
        raise KitError(f"{missing} on this machine: run `python -m guest fetch` in tools/")
    if os.uname().machine != "x86_64":
        raise KitError(f"{missing} on this machine: packages are only fetched on x86_64")
    with locked(cache):
        if (part / "manifest.json").exists():  # another process was quicker
            return part
        apt = Apt(cache / "apt", say)
        apt.update()
        with new_folder(part) as work:
            packages = unpack(apt, work)
            say(f"unpacked {name}: {len(packages)} packages")
            versions = {package.name: package.version for package in packages}
            (work / "manifest.json").write_text(json.dumps({"suites": SUITES, "packages": versions}, indent=1) + "\n")
        for package in packages:
            (apt.archives / package.file).unlink(missing_ok=True)
    return part


def _unpack_qemu(apt: Apt, root: Path) -> list[Package]:
    packages = apt.closure(QEMU_PACKAGES, backports=True)
    apt.unpack(packages, root)
    return packages


def _unpack_kernel(apt: Apt, root: Path) -> list[Package]:
    packages = [apt.download(apt.dependency(KERNEL_PACKAGE, rf"linux-image-{re.escape(KERNEL_SERIES)}.*"))]
    apt.unpack(packages, root)
    return packages


def _unpack_userland(apt: Apt, root: Path) -> list[Package]:
    packages = apt.closure(USERLAND_PACKAGES, backports=False)
    apt.unpack(packages, root)
    return packages
