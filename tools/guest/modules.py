"""Kernel modules: which files a driver needs, without depmod.

A package's module tree comes without `modules.dep`, which its installation would have made; each module names what it
needs in its own `.modinfo` section, and that is all that is read here.
"""

import gzip
import lzma
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from guest.cache import KitError


@dataclass(frozen=True)
class Module:
    """A loadable module: `name` with underscores, `image` uncompressed, `needs` names of modules to load before it."""

    name: str
    image: bytes
    needs: tuple[str, ...]


def module_name(path: str) -> str:
    """`kernel/net/8021q/8021q.ko.xz` is module `8021q`; dashes count as underscores, as for the kernel."""
    return path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")


def needs(image: bytes) -> tuple[str, ...]:
    """The `depends=` entry of a module image."""
    found = re.search(rb"\0depends=([^\0]*)\0", image)
    return tuple(name.replace("-", "_") for name in found[1].decode().split(",") if name) if found else ()


def decompress(data: bytes) -> bytes:
    """A module or kernel image as it was before packing: xz, gzip or zstd (needs the zstd program), or as it is."""
    if data[:6] == b"\xfd7zXZ\0":
        return lzma.decompress(data)
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        if shutil.which("zstd") is None:
            raise KitError("kernel modules are packed with zstd and there is no zstd program: apt install zstd")
        return subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, check=True, timeout=120).stdout
    return data


class ModuleTree:
    """The modules of one kernel release; `folder` is its lib/modules/RELEASE."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {module_name(path.name): path for path in sorted((folder / "kernel").rglob("*.ko*"))}
        builtin = folder / "modules.builtin"
        self.builtin = {module_name(line) for line in builtin.read_text().split()} if builtin.exists() else set()

    def closure(self, names: Iterable[str]) -> list[Module]:
        """The named modules and all they need, each after what it needs; what is built in is left out.

        Raises KitError for a name this kernel does not have.
        """
        return resolve((name.replace("-", "_") for name in names), self._load)

    def _load(self, name: str) -> Module | None:
        if (path := self.files.get(name)) is not None:
            image = decompress(path.read_bytes())
            return Module(name, image, needs(image))
        if name in self.builtin:
            return None
        raise KitError(f"kernel {self.folder.name} has no module {name}; name another kernel in PVDEV_KERNEL")


def resolve(names: Iterable[str], load: Callable[[str], Module | None]) -> list[Module]:
    """Depth first, each module once. `load` gives None for a name that needs no loading."""
    done: dict[str, Module | None] = {}

    def visit(name: str) -> None:
        if name in done:
            return
        module = load(name)
        done[name] = None  # a loop in `needs` would be the kernel's own bug; do not follow it for ever
        for needed in module.needs if module else ():
            visit(needed)
        del done[name]  # keep the order of completion
        done[name] = module

    for name in names:
        visit(name)
    return [module for module in done.values() if module]


def modules_dep(modules: Iterable[Module]) -> str:
    """The text of modules.dep for modules lying flat as NAME.ko, given each after what it needs.

    modprobe wants every level listed, and loads from the end: what a module needs stands behind it.
    """
    table = {module.name: module for module in modules}

    def below(name: str) -> set[str]:
        direct = {needed for needed in table[name].needs if needed in table}
        return direct.union(*map(below, direct))

    def line(name: str) -> str:
        needed = below(name)
        return f"{name}.ko:{''.join(f' {other}.ko' for other in reversed(table) if other in needed)}\n"

    return "".join(map(line, table))
