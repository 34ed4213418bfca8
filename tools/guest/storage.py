"""Programs for disks in a guest, taken from the distribution's packages, as the kit is: fio, e2fsprogs, sg3-utils.

51 MB to fetch, as fio is linked with clients of several network file systems; what is none of these programs' libraries
is left packed.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from guest.apt import Apt, Package
from guest.cache import KitError, Say, quiet
from guest.initramfs import libraries
from guest.kit import find_program, forget_lists, part

PACKAGES = ("e2fsprogs", "fio", "sg3-utils")
ENDS_THREADS = "libgcc_s.so.1"  # loaded by the C library when a thread is cancelled; no program names it


def find_storage(fetch: bool = False, say: Say = quiet) -> Path:
    """The folder the programs are unpacked in. Raises KitError, one line with the mend."""
    root = part("storage", fetch, say, _unpack, f"no programs for disks ({', '.join(PACKAGES)})")
    if fetch:
        forget_lists()
    return root


def storage_files(names: Iterable[str]) -> dict[str, bytes]:
    """What goes into the guest for these programs: bin/NAME, and lib/ with all they load. Raises KitError."""
    files: dict[str, bytes] = {}
    for name in names:
        root = find_storage()
        program = find_program(root, name)
        if program is None:
            raise KitError(f"{', '.join(PACKAGES)} have no program {name}")
        files[f"bin/{name}"] = program.read_bytes()
        for library in (*libraries(root, program), next(root.rglob(ENDS_THREADS))):
            files.setdefault(f"lib/{library.name}", library.read_bytes())
    return files


def _unpack(apt: Apt, root: Path) -> list[Package]:
    found = apt.closure(PACKAGES, backports=False)
    packages = [each for each in found if each.name in PACKAGES or re.match("lib(?!python|perl)", each.name)]
    apt.unpack(packages, root)
    return packages
