"""`pvdev boot` as a user types it: QEMU, a kernel, a device of ours, the console on the terminal, the rule report."""

import subprocess
import sys
from pathlib import Path

import pytest
from guest.kit import Kit
from guest.scripts import build_for

pytestmark = [pytest.mark.guest, pytest.mark.slow]


def boot(kit: Kit, device: str, test: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pvdev.cli", "boot", "--device", device, "--accel", "tcg"]
    command += ["--kernel", str(kit.kernel), "--initrd", str(build_for(kit, [test]))]
    command += ["--append", f"console=ttyS0 quiet pvdev.test={test} pvdev.timeout=50", "--strict"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)


def test_boot_runs_a_guest_with_our_device_and_reports(guest_kit: Kit) -> None:
    done = boot(guest_kit, "vmxnet3 --port loopback", "nic_bind")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok 3 driver" in done.stdout
    assert "not ok" not in done.stdout
    assert "vmxnet3-0: rules broken: none" in done.stdout
    assert "vmxnet3-0: client connected: QEMU" in done.stderr


def test_boot_runs_a_guest_with_a_disk_of_ours(guest_kit: Kit, tmp_path: Path) -> None:
    disk = f"file:{tmp_path / 'x.img'},create=yes,size=16M"

    done = boot(guest_kit, f"pvscsi --disk {disk} --profile seabios --profile linux", "disk_bind")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok 8 round_trip" in done.stdout
    assert "not ok" not in done.stdout
    assert "pvscsi-0: client connected: QEMU" in done.stderr
    assert (tmp_path / "x.img").read_bytes()[1 << 20 : 2 << 20].count(0) < 1 << 16  # noise


def test_boot_runs_a_guest_that_finds_vmware_s_host(guest_kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text('start = "boot"\n[[step]]\nballoon = "10%"\n')
    script = b"""# modules: vmw_balloon
plan 2
check hypervisor sh -c "dmesg | grep -q 'Hypervisor detected: VMware'"
check balloon modprobe vmw_balloon
sleep 3
"""
    initrd = build_for(guest_kit, ["found"], files={"tests/found.sh": script})
    command = [sys.executable, "-m", "pvdev.cli", "boot", "--tools", "--tools-log", "-", "--strict"]
    command += ["--tools-scenario", str(tmp_path / "scenario.toml"), "--tools-keep", str(tmp_path / "variables")]
    command += ["--kernel", str(guest_kit.kernel), "--initrd", str(initrd), "--memory", "512M"]
    command += ["--append", "console=ttyS0 quiet pvdev.test=found pvdev.timeout=50"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok 2 balloon" in done.stdout
    assert "not ok" not in done.stdout
    assert "tools: rules broken: none" in done.stdout
    assert "balloon.start" in done.stderr
    assert "pvdev: scenario: 0.0 s  balloon 10%: ok" in done.stderr
    assert (tmp_path / "variables").read_text() == "{}\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--tools", "--accel", "kvm"], "--tools works with --accel tcg only, not with kvm: leave --accel out"),
        (["--tools-set", "guestinfo.x=y"], "options of --tools without --tools: give it too"),
        (["--tools", "--memory", "much"], "'much' is no size of memory; write it like 1G or 512M"),
    ],
)
def test_a_wrong_command_line_is_one_line(guest_kit: Kit, words: list[str], says: str) -> None:
    command = [sys.executable, "-m", "pvdev.cli", "boot", *words, "--kernel", str(guest_kit.kernel)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, f"pvdev: {says}\n")
