"""An unmodified Linux 6.12 with its own vmw_pvscsi driver on our adapter, over vfio-user."""

import re
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from random import Random
from resource import RLIMIT_FSIZE, prlimit

import pytest
from guest.kit import Kit
from pycdlib import PyCdlib

from pvdev.errors import ConfigError
from tests.guest.disks import POWER_ON, WATCH, Served, broken

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.usefixtures("storage")]

ODD = ("--layout", "vmware", "--block", "4096", "--no-write-cache", "--no-moderation")


def test_linux_binds_and_loads_in_every_way(guest_kit: Kit, tmp_path: Path) -> None:
    """All of the driver's parameters, on an adapter as it is by default and on one that is otherwise in all it can."""
    with Served(tmp_path / "0", WATCH, "--disk", "mem:64M") as plain, Served(tmp_path / "1", WATCH, *ODD) as odd:
        odd.do("attach", f"file:{tmp_path / 'disk.img'},create=yes,size=64M", target=1)
        report = plain.boot(guest_kit, "disk_bind", "disk_ways", beside=[odd], smp=2, deadline_s=120.0).check()
        ends = [plain.end(), odd.end()]

    assert [line for line in report.dmesg if not line.endswith(f"1:0:1:0: {POWER_ON}")] == []
    assert report.facts["name"].split() == ["VMware", "Virtual", "disk", "2.0"]
    assert int(report.facts["blocks"]) == (64 << 20) // 512
    assert [broken(end) for end in ends] == [[], []]


def test_files_are_there_after_a_reboot(guest_kit: Kit, tmp_path: Path) -> None:
    disk = f"file:{tmp_path / 'disk.img'},create=yes,size=256M"
    with Served(tmp_path, WATCH, "--disk", disk) as served:
        served.do("attach", "mem:1M", target=63)
        first = served.boot(guest_kit, "disk_files").check()
        again = served.boot(guest_kit, "disk_files", params={"digest": first.facts["digest"]}).check()
        report = served.end()

    assert (first.dmesg, again.dmesg) == ([], [])
    assert (broken(report), report["fault"]) == ([], None)


def test_what_fio_writes_it_reads_back(guest_kit: Kit, tmp_path: Path) -> None:
    """A minute of the guest's own time; without KVM that is a minute here."""
    disk = f"file:{tmp_path / 'disk.img'},create=yes,size=256M"
    with Served(tmp_path, "--disk", disk) as served:
        report = served.boot(guest_kit, "disk_fio", smp=2, deadline_s=150.0).check()
        end = served.end()

    assert report.dmesg == []
    assert min(report.values[what] for what in ("reads", "writes", "trims")) > 500
    assert (broken(end), end["fault"]) == ([], None)


def test_sg3_utils_find_a_disk_as_it_should_be(guest_kit: Kit, tmp_path: Path) -> None:
    with Served(tmp_path, WATCH, "--disk", f"file:{tmp_path / 'disk.img'},create=yes,size=64M") as served:
        report = served.boot(guest_kit, "disk_sg", params={"blocks": (64 << 20) // 512}, deadline_s=120.0).check()
        end = served.end()

    asked_too_much = "PVS-D-036", "PVS-D-065"  # of room, sg_requests; beyond the end, and on purpose, the script
    assert [line for line in report.dmesg if not line.endswith(POWER_ON)] == []  # after resets
    assert (broken(end, *asked_too_much), end["fault"]) == ([], None)


def make_disc(path: Path, text: str) -> str:
    """A CD image with file HELLO, which says `text`, and a MiB of noise with its sum; the notation of a disk."""
    noise = Random(text).randbytes(1 << 20)
    sums = f"{sha256(noise).hexdigest()}  NOISE\n"
    disc = PyCdlib()
    disc.new(rock_ridge="1.09")
    for name, data in (("HELLO", f"{text}\n".encode()), ("NOISE", noise), ("SUMS", sums.encode())):
        disc.add_fp(BytesIO(data), len(data), f"/{name}.;1", rr_name=name)
    disc.write(str(path))
    disc.close()
    return f"file:{path},readonly=yes"


def test_discs_are_mounted_ejected_and_changed(guest_kit: Kit, tmp_path: Path) -> None:
    discs = {name: make_disc(tmp_path / f"{name}.iso", name) for name in ("alpha", "beta")}
    refused: list[str] = []

    with Served(tmp_path, WATCH, "--disk", "mem:1M", "--cdrom", discs["alpha"], "--cdrom", "") as served:

        def press_locked() -> None:
            with pytest.raises(ConfigError) as caught:
                served.do("eject", 1)
            refused.append(str(caught.value))

        does: dict[str, Callable[[], object]] = {
            "press-locked": press_locked,
            "press": lambda: served.do("eject", 1),
            "load-b": lambda: served.do("load", 1, discs["beta"]),
            "load-a": lambda: served.do("load", 1, discs["alpha"]),
        }

        def on_event(name: str) -> None:
            does[name]()
            vm.send("done")

        vm = served.vm(guest_kit, "disk_cd", params={"a": "alpha", "b": "beta"}, on_event=on_event)
        report = vm.run().check()
        end = served.end()

    assert refused == ["target 1: the guest has locked the door; eject it there"]
    assert (report.dmesg, broken(end), end["fault"]) == ([], [], None)


AFTER_PULL = re.compile(r"0:0:5:0|dev sd[b-z]|callbacks suppressed", re.IGNORECASE)  # of what is complained
ROUNDS, WARM, LEAK_MOST = 50, 5, 4 << 20


def test_a_disk_comes_and_goes_under_load(guest_kit: Kit, tmp_path: Path) -> None:
    """What the server holds after the last round is what it held after the first few."""
    disk = f"file:{tmp_path / 'disk.img'},create=yes,size=16M"
    held: list[tuple[int, int, int]] = []

    with Served(tmp_path, WATCH, "--disk", "mem:16M") as served:

        def on_event(name: str) -> None:
            if name == "plug":
                held.append((served.descriptors(), served.threads(), served.resident()))
                served.do("attach", disk, target=5)
            else:
                served.do("detach", 5)

        params = {"plugged": 5, "times": ROUNDS}
        report = served.boot(guest_kit, "disk_plug", params=params, smp=2, deadline_s=180.0, on_event=on_event).check()
        end = served.end()

    descriptors, threads, resident = zip(*held[WARM:], strict=True)
    assert len(held) == ROUNDS
    assert set(descriptors) == {descriptors[0]}
    assert set(threads) == {threads[0]}
    assert resident[-1] - resident[0] < LEAK_MOST
    assert [line for line in report.dmesg if not AFTER_PULL.search(line)] == []
    assert (broken(end), end["fault"]) == ([], None)


BACKENDS = (  # targets 0 to 5 of disk_faults.sh; 2 is a file
    *("mem:16M", "faulty,bad=1M+4K,of=mem:16M", "file:{},create=yes,size=32M"),
    *("faulty,hang=40,of=mem:16M", "slow,write=3600s,of=mem:16M", "faulty,gone=60,of=mem:16M"),
)
FULL = 8 << 20


def test_disks_fail_each_in_its_own_way(guest_kit: Kit, tmp_path: Path) -> None:
    """The host's file system is full, to that process, where its limit of a file's size is."""
    image = tmp_path / "disk.img"
    words = [word for backend in BACKENDS for word in ("--disk", backend.format(image))]

    with Served(tmp_path, WATCH, *words) as served:
        pid = served.process.pid
        _, most = prlimit(pid, RLIMIT_FSIZE)
        prlimit(pid, RLIMIT_FSIZE, (FULL, most))

        def on_event(name: str) -> None:
            prlimit(pid, RLIMIT_FSIZE, (most, most))
            vm.send("done")

        vm = served.vm(guest_kit, "disk_faults", smp=2, deadline_s=150.0, on_event=on_event)
        vm.run().check()
        targets = served.do("status")["targets"]
        end = served.end()

    full = f"file {image}: write: File too large; make room on the host"
    gone = "faulty mem:16M: gone after 60 transfers, as asked for; start again"
    assert [targets[str(number)]["fault"] for number in range(6)] == [None, None, full, None, None, gone]
    assert (broken(end, "PVS-D-066"), end["fault"]) == ([], full)  # Linux flushes nothing before it resets a host
    assert served.said().splitlines()[-1] == full
