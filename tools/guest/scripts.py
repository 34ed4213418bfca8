"""Test scripts, and what they ask for in their heads: kernel modules and programs beyond what every guest has.

    # modules: vmw_pvscsi sd_mod
    # programs: mkfs.ext4 e2fsck

So each boot carries only what its scripts use.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from guest.cache import KitError
from guest.initramfs import MODULES, ROOTFS, build
from guest.kit import Kit
from guest.storage import storage_files

ASKS = "modules", "programs"


def asked(script: str) -> dict[str, list[str]]:
    """The modules and the programs a script asks for."""
    return {
        what: [word for line in script.splitlines() if line.startswith(f"# {what}: ") for word in line.split()[2:]]
        for what in ASKS
    }


def build_for(
    kit: Kit, tests: Sequence[str], modules: Sequence[str] = MODULES, files: Mapping[str, bytes] | None = None
) -> Path:
    """The archive for a guest that runs these scripts, of rootfs/tests or among `files`. Raises KitError."""
    wanted = [asked(_script(test, files or {})) for test in tests]
    names = dict.fromkeys([*modules, *(name for each in wanted for name in each["modules"])])
    programs = dict.fromkeys(name for each in wanted for name in each["programs"])
    return build(kit, tuple(names), storage_files(programs) | dict(files or {}))


def _script(test: str, files: Mapping[str, bytes]) -> str:
    name = f"tests/{test}.sh"
    try:
        return files[name].decode() if name in files else (ROOTFS / name).read_text()
    except OSError:
        raise KitError(f"there is no test script {test}: write rootfs/{name}, or hand it over in files") from None
