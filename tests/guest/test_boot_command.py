"""`pvdev boot` as a user types it: QEMU, a kernel, a device of ours, the console on the terminal, the rule report."""

import subprocess
import sys

import pytest
from guest.initramfs import build
from guest.kit import Kit

pytestmark = [pytest.mark.guest, pytest.mark.slow]


def test_boot_runs_a_guest_with_our_device_and_reports(guest_kit: Kit) -> None:
    command = [sys.executable, "-m", "pvdev.cli", "boot", "--device", "vmxnet3 --port loopback", "--accel", "tcg"]
    command += ["--kernel", str(guest_kit.kernel), "--initrd", str(build(guest_kit))]
    command += ["--append", "console=ttyS0 quiet pvdev.test=nic_bind pvdev.timeout=50", "--strict"]

    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok 3 driver" in done.stdout
    assert "not ok" not in done.stdout
    assert "vmxnet3-0: rules broken: none" in done.stdout
    assert "vmxnet3-0: client connected: QEMU" in done.stderr
