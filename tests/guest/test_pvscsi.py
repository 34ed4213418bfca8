"""An unmodified Linux 6.12 with its own vmw_pvscsi driver on our adapter, over vfio-user."""

from pathlib import Path

import pytest
from guest.kit import Kit

from tests.guest.disks import Served, broken

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.usefixtures("storage")]


def test_files_are_there_after_a_reboot(guest_kit: Kit, tmp_path: Path) -> None:
    disk = f"file:{tmp_path / 'disk.img'},create=yes,size=256M"
    with Served(tmp_path, "--disk", disk) as served:
        served.do("attach", "mem:1M", target=63)
        first = served.boot(guest_kit, "disk_files").check()
        again = served.boot(guest_kit, "disk_files", params={"digest": first.facts["digest"]}).check()
        report = served.end()

    assert (first.dmesg, again.dmesg) == ([], [])
    assert (broken(report), report["fault"]) == ([], None)
