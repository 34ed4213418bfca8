"""Make docs/images/console.png: Linux's console on our display, typed into by VNC, shot by `pvdev console`.

Usage: python tools/screenshots.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from guest.kit import find_kit
from guest.scripts import build_for

from pvdev.control import ask
from tests.clients import vncdo

ROOT = Path(__file__).resolve().parent.parent
SHOT = ROOT / "docs" / "images" / "console.png"
TYPED = (
    "clear",
    "uname -srm",
    "dmesg | grep -e SVGA -e vmwgfx ",
    "cat /sys/class/graphics/fb0/name /sys/class/graphics/fb0/virtual_size",
    "ls -l /dev/dri /dev/fb0",
    "grep ^N: /proc/bus/input/devices",
    "echo This was typed by a VNC client, and shot by pvdev console.",
)
LEAST_S = 3.0  # a guest without KVM is slow to answer


def main() -> int:
    kit = find_kit(fetch=True, say=print)
    with tempfile.TemporaryDirectory() as folder:
        control = f"{folder}/control"
        pvdev = [sys.executable, "-m", "pvdev.cli"]
        words = ["boot", "--device", "svga", "--display", "rfb:127.0.0.1:0", "--control", control]
        words += ["--kernel", str(kit.kernel), "--initrd", str(build_for(kit, ["shell"]))]
        words += ["--append", "console=ttyS0 quiet loglevel=4 pvdev.test=shell pvdev.timeout=120"]
        guest = subprocess.Popen([*pvdev, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert guest.stdout is not None
        for line in guest.stdout:
            if "PVDEV-EVENT shell" in line:
                break
        displays = ask(control, {"do": "displays"})["displays"]
        typed = [word for line in TYPED for word in ("pause", str(LEAST_S), "type", line, "key", "enter")]
        vncdo(displays["rfb:127.0.0.1:0"], *typed, "pause", str(2 * LEAST_S))
        SHOT.parent.mkdir(exist_ok=True)
        subprocess.run([*pvdev, "console", control, "--screenshot", str(SHOT)], cwd=ROOT, check=True)
        vncdo(displays["rfb:127.0.0.1:0"], "type", "exit", "key", "enter")
        print(guest.communicate(timeout=60)[0][-200:])
    return guest.returncode


if __name__ == "__main__":
    sys.exit(main())
