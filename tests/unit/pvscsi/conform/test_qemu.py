"""What QEMU is told of a drive: block nodes and the device upon them."""

from pathlib import Path

import pytest

from pvscsi.conform.qemu import device, nodes
from pvscsi.conform.target import CD, DISK, Drive


def test_a_disk_is_a_sparse_file(tmp_path: Path) -> None:
    (node,) = nodes("d0", DISK, tmp_path)

    assert (node["driver"], node["filename"], node["read-only"]) == ("file", str(tmp_path / "d0"), False)
    assert (tmp_path / "d0").stat().st_size == DISK.size
    assert (tmp_path / "d0").stat().st_blocks == 0


def test_an_empty_drive_has_none(tmp_path: Path) -> None:
    assert nodes("d0", Drive("cdrom", 0), tmp_path) == []
    assert device("d0", 3, Drive("cdrom", 0), None) == {
        "driver": "scsi-cd",
        "id": "d0",
        "bus": "hba.0",
        "scsi-id": 3,
        "lun": 0,
        "serial": "pvdev-3",
        "wwn": 0x3000_0000_0000_0003,
    }


def test_filters_stand_on_one_another(tmp_path: Path) -> None:
    made = nodes("d0", Drive(held=True, bad=((1024, 1024),)), tmp_path)

    assert [node["driver"] for node in made] == ["file", "blkdebug", "throttle"]
    assert made[1]["image"] == made[0]["node-name"]
    assert made[2]["file"] == made[1]["node-name"]
    assert {(error["iotype"], error["sector"]) for error in made[1]["inject-error"]} == {
        (kind, at) for kind in ("read", "write") for at in (2, 3)
    }


def test_a_full_disk_only_fails_writes(tmp_path: Path) -> None:
    (error,) = nodes("d0", Drive(full=True), tmp_path)[1]["inject-error"]

    assert (error["iotype"], error["errno"]) == ("write", 28)


@pytest.mark.parametrize(
    ("drive", "wanted"),
    [
        (Drive(block=4096), {"logical_block_size": 4096, "physical_block_size": 4096}),
        (Drive(removable=True), {"removable": True}),
        (Drive(thin=False), {"discard_granularity": 0}),
        (CD, {"driver": "scsi-cd"}),
    ],
    ids=str,
)
def test_the_device(drive: Drive, wanted: dict[str, object]) -> None:
    found = device("d0", 0, drive, "n")

    assert found["drive"] == "n"
    assert found | wanted == found


@pytest.mark.parametrize("drive", [Drive(read_only=True), CD], ids=["disk", "CD"])
def test_what_is_only_read(tmp_path: Path, drive: Drive) -> None:
    assert nodes("d0", drive, tmp_path)[0]["read-only"]
