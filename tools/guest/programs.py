"""The guest's own programs: `programs/*.c` compiled with the host's C compiler, static to run in any userland."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from guest.cache import KitError, new_file
from pvdev.qemu import cache_dir

SOURCES = Path(__file__).parent / "programs"
FLAGS = ("-std=gnu11", "-O2", "-static", "-Wall", "-Wextra", "-Werror")


def compile_program(name: str) -> Path:
    """The compiled program `name`; taken from the cache while source, headers and flags are the same.

    Raises KitError when there is no C compiler that can link statically.
    """
    source = SOURCES / f"{name}.c"
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in (source, *sorted(SOURCES.glob("*.h"))):
        digest.update(path.read_bytes())
    target = cache_dir() / "build" / f"{name}-{digest.hexdigest()[:16]}"
    return target if target.exists() else _compile(source, target)


def _compile(source: Path, target: Path) -> Path:
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        raise KitError("no C compiler for the guest's test programs: apt install gcc libc6-dev")
    with tempfile.TemporaryDirectory() as work:
        program = Path(work) / source.stem
        done = subprocess.run(
            [compiler, *FLAGS, "-o", str(program), str(source)], capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            why = next(
                (line for line in done.stderr.splitlines() if "error" in line or "cannot find" in line), done.stderr
            )
            raise KitError(
                f"{compiler} cannot build {source.name} statically ({why.strip()}): apt install gcc libc6-dev"
            )
        return new_file(target, program.read_bytes(), 0o755)


def program_names() -> list[str]:
    """Every program there is, sorted."""
    return sorted(path.stem for path in SOURCES.glob("*.c"))
