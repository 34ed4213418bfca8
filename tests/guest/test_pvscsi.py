"""An unmodified Linux 6.12 with its own vmw_pvscsi driver on our adapter, over vfio-user."""

from pathlib import Path

import pytest
from guest.kit import Kit

from tests.guest.disks import POWER_ON, Served, broken

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.usefixtures("storage")]

PLAIN = ()
ODD = ("--layout", "vmware", "--block", "4096", "--no-write-cache", "--no-moderation")


def test_linux_binds_and_loads_in_every_way(guest_kit: Kit, tmp_path: Path) -> None:
    """All of the driver's parameters, on an adapter as it is by default and on one that is otherwise in all it can."""
    with Served(tmp_path / "0", "--disk", "mem:64M") as plain, Served(tmp_path / "1", *ODD) as odd:
        odd.do("attach", f"file:{tmp_path / 'disk.img'},create=yes,size=64M", target=1)
        report = plain.boot(guest_kit, "disk_bind", "disk_ways", beside=[odd], smp=2, deadline_s=120.0).check()
        ends = [plain.end(), odd.end()]

    assert [line for line in report.dmesg if not line.endswith(f"1:0:1:0: {POWER_ON}")] == []
    assert report.facts["name"].split() == ["VMware", "Virtual", "disk", "2.0"]
    assert int(report.facts["blocks"]) == (64 << 20) // 512
    assert [broken(end) for end in ends] == [[], []]


def test_files_are_there_after_a_reboot(guest_kit: Kit, tmp_path: Path) -> None:
    disk = f"file:{tmp_path / 'disk.img'},create=yes,size=256M"
    with Served(tmp_path, "--disk", disk) as served:
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
