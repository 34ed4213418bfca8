"""`pvdev boot` as a user types it: QEMU, a kernel, a device of ours, the console on the terminal, the rule report."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from guest.kit import Kit
from guest.scripts import build_for

from svga.aim import TABLET_TOP, VMMOUSE_TOP, to_unit
from tests.clients import vncdo

pytestmark = [pytest.mark.guest, pytest.mark.slow]

SIZE = 640, 480  # of a display no driver has set a mode on
EV_KEY, EV_ABS, LEFT_BUTTON, KEY_A = 1, 3, 0x110, 30  # Linux input-event-codes.h


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


def used(command: Sequence[str], on_event: Mapping[str, Sequence[str]], limit_s: int) -> tuple[int, str]:
    """Run a `pvdev boot` that shows its display to VNC clients, and do with vncdotool what each event of the guest's
    calls for; its exit code, and all it said."""
    said, where = "", ""
    words = ["timeout", str(limit_s), *command]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            said += line
            if found := re.search(r"screen at (\S+)", line):
                where = found[1]
            if found := re.search(r"PVDEV-EVENT (\S+)", line):
                done = on_event.get(found[1])
                if done:
                    vncdo(where, *done)
    return running.returncode, said


def test_a_viewer_s_pointer_is_the_guest_s_vmmouse_while_its_driver_listens(guest_kit: Kit) -> None:
    """To the unit; QEMU's tablet has it before and after, and QEMU's keyboard the keys."""
    places = ((5, 3), (320, 240), (639, 479))
    moves = [word for x, y in places for word in ("move", str(x), str(y))]
    hands = {
        "tablet": ["move", "17", "401", "click", "1"],
        "vmmouse": [*moves, "click", "1", "key", "a"],
        "again": ["move", "300", "200"],
    }
    reports = {"tablet": 3, "vmmouse": len(places) + 2, "again": 1}
    command = [sys.executable, "-m", "pvdev.cli", "boot", "--tools", "--device", "svga", "--display", "rfb:127.0.0.1:0"]
    command += ["--kernel", str(guest_kit.kernel), "--initrd", str(build_for(guest_kit, ["hand"])), "--memory", "512M"]
    params = " ".join(f"pvdev.{name}={count}" for name, count in reports.items())
    command += ["--append", f"console=ttyS0 quiet pvdev.test=hand pvdev.timeout=100 {params}", "--strict"]

    code, said = used(command, hands, 150)

    def place(x: int, y: int, top: int) -> str:
        return f"{EV_ABS}:0:{to_unit(x, SIZE[0], top)} {EV_ABS}:1:{to_unit(y, SIZE[1], top)};"

    click = f"{EV_KEY}:{LEFT_BUTTON}:1;{EV_KEY}:{LEFT_BUTTON}:0;"
    facts = dict(re.findall(r"PVDEV-FACT (\S+) ([^\r\n]*)", said))
    assert code == 0, said
    assert "not ok" not in said
    assert facts == {
        "tablet": place(17, 401, TABLET_TOP) + click,
        "vmmouse": "".join(place(x, y, VMMOUSE_TOP) for x, y in places) + click,
        "keys": f"{EV_KEY}:{KEY_A}:1;{EV_KEY}:{KEY_A}:0;",
        "again": place(300, 200, TABLET_TOP),
    }
    assert "svga-0: rules broken: none" in said
    assert "tools: rules broken: none" in said


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
