"""The plugin for the QEMU at hand: compiled once from the C file beside this one, kept in the user's cache.

Ref: QEMU include/plugins/qemu-plugin.h (which interface version came when).
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from pvdev.errors import ConfigError
from pvdev.qemu import Qemu, cache_dir

SOURCE = Path(__file__).parent / "pvdev_plugin.c"
FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread")
APIS = {(11, 0): 6}  # QEMU's version -> the plugin interface's; from 11.1 on it is 7
NEWEST_API = 7
TIMEOUT_S = 120


def api_for(qemu: Qemu) -> int:
    """The plugin interface of a QEMU. Raises `ConfigError`: it cannot set the program counter from a plugin."""
    if qemu.version < (11, 0, 0):
        version = ".".join(map(str, qemu.version))
        raise ConfigError(f"this is QEMU {version}; its plugins can carry port instructions from 11.0 on: install one")
    return APIS.get(qemu.version[:2], NEWEST_API)


def plugin_for(qemu: Qemu) -> Path:
    """The compiled plugin. Raises `ConfigError`: QEMU is too old, or there is no C compiler."""
    api = api_for(qemu)
    source = SOURCE.read_bytes()
    digest = hashlib.sha256(b"%d %s " % (api, " ".join(FLAGS).encode()) + source).hexdigest()[:16]
    target = cache_dir().parent / "plugin" / f"pvdev-{digest}.so"
    if not target.exists():
        _compile(api, target)
    return target


def _compile(api: int, target: Path) -> None:
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        raise ConfigError("no C compiler for the QEMU plugin: apt install gcc libc6-dev")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        made = Path(work) / target.name
        command = [*compiler.split(), *FLAGS, f"-DPLUGIN_API={api}", "-o", str(made), str(SOURCE)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"{compiler} does not run ({error}): name a C compiler in CC") from error
        if done.returncode:
            lines = done.stderr.splitlines() or ["no reason given"]
            why = next((line for line in lines if "error" in line), lines[-1])
            raise ConfigError(f"{compiler} cannot build the QEMU plugin ({why.strip()}): apt install gcc libc6-dev")
        made.rename(target)
