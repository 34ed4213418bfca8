"""cloud-init's data sources, unmodified, with the Python they are packed for: from the distribution's packages.

Unpacked alone and never installed: an installed cloud-init sets its machine up anew at the next boot.
"""

import re
from pathlib import Path

from guest.apt import Apt, Package
from guest.cache import KitError, Say, quiet
from guest.initramfs import LIBRARIES
from guest.kit import find_program, forget_lists, part

PACKAGE = "cloud-init"
NEEDED = re.compile(r"cloud-init(-base)?|python3.*|lib(?!perl).*|tzdata|media-types|netbase")


def find_cloud_init(fetch: bool = False, say: Say = quiet) -> Path:
    """The folder it is unpacked in. Raises KitError, one line with the mend."""
    root = part("cloudinit", fetch, say, _unpack, f"no {PACKAGE}")
    if fetch:
        forget_lists()
    return root


def python_of(root: Path) -> tuple[list[str], dict[str, str]]:
    """The words that run its Python, and what its environment has more. Raises KitError."""
    python = next((path for path in sorted((root / "usr/bin").glob("python3.*")) if path.name[8:].isdigit()), None)
    loader = find_program(root, "ld-linux-x86-64.so.2") or next(root.rglob("ld-linux-x86-64.so.2"), None)
    if python is None or loader is None:
        raise KitError(f"no Python below {root}: remove it and run `python -m guest fetch` in tools/")
    paths = ":".join(str(root / name) for name in LIBRARIES)
    home, own = root / "usr", root / "usr/lib/python3/dist-packages"
    environment = {"PYTHONHOME": str(home), "PYTHONPATH": str(own), "PYTHONDONTWRITEBYTECODE": "1"}
    return [str(loader), "--library-path", paths, str(python)], environment


def _unpack(apt: Apt, root: Path) -> list[Package]:
    packages = [each for each in apt.closure([PACKAGE], backports=False) if NEEDED.fullmatch(each.name)]
    apt.unpack(packages, root)
    return packages
