"""open-vm-tools for a guest, unmodified, of its own release: from the distribution's packages, as the kit is.

The daemon with its plugins, the programs beside it, and the scripts it runs when the power state changes.
"""

import re
from pathlib import Path

from guest.apt import Apt, Package
from guest.cache import KitError, Say, quiet
from guest.initramfs import libraries
from guest.kit import find_program, forget_lists, part

PACKAGE = "open-vm-tools"
PROGRAMS = ("vmtoolsd", "vmware-checkvm", "vmware-rpctool", "vmware-toolbox-cmd")
PLUGINS = "usr/lib/x86_64-linux-gnu/open-vm-tools/plugins"
SCRIPTS = "etc/vmware-tools"
ENDS_THREADS = "libgcc_s.so.1"  # loaded by the C library when a thread is cancelled; no program names it


def find_tools(fetch: bool = False, say: Say = quiet) -> Path:
    """The folder they are unpacked in. Raises KitError, one line with the mend."""
    root = part("tools", fetch, say, _unpack, f"no {PACKAGE} for guests")
    if fetch:
        forget_lists()
    return root


def tools_files(root: Path) -> dict[str, bytes]:
    """What goes into the guest: bin/NAME, the plugins where the daemon looks for them, lib/ with all they load."""
    files: dict[str, bytes] = {}
    loaders = []
    for name in PROGRAMS:
        program = find_program(root, name)
        if program is None:
            raise KitError(f"{PACKAGE} has no program {name}: remove {root} and run `python -m guest fetch` in tools/")
        files[f"bin/{name}"] = program.read_bytes()
        loaders.append(program)
    plugins = [path for path in sorted((root / PLUGINS).rglob("*.so")) if path.parent.name in ("common", "vmsvc")]
    for path in plugins:
        files[path.relative_to(root).as_posix()] = path.read_bytes()
    for path in (*loaders, *plugins):
        for library in libraries(root, path):
            files.setdefault(f"lib/{library.name}", library.read_bytes())
    files[f"lib/{ENDS_THREADS}"] = next(root.rglob(ENDS_THREADS)).read_bytes()
    for path in (*sorted((root / SCRIPTS).glob("*-default")), root / SCRIPTS / "statechange.subr"):
        files[path.relative_to(root).as_posix()] = path.read_bytes()
    return files


def _unpack(apt: Apt, root: Path) -> list[Package]:
    found = apt.closure([PACKAGE], backports=False)
    packages = [each for each in found if each.name == PACKAGE or re.match("lib(?!python|perl)", each.name)]
    apt.unpack(packages, root)
    return packages
