from struct import unpack_from

import pytest

from pvscsi.scsi.cdrom import Cdrom
from pvscsi.scsi.disk import Disk
from pvscsi.scsi.sense import INVALID_FIELD_IN_CDB
from pvscsi.scsi.unit import LogicalUnit
from tests.unit.pvscsi.scsi.rig import Bytes, ask, cdrom, disk, read16, send, unmap


def inquiry(alloc: int = 0x1000, page: int | None = None) -> bytes:
    return bytes((0x12, page is not None, page or 0)) + alloc.to_bytes(2, "big") + b"\0"


@pytest.fixture(params=["disk", "thick", "removable", "cd"])
def unit(request: pytest.FixtureRequest) -> LogicalUnit:
    made: dict[str, LogicalUnit] = {
        "disk": disk(),
        "thick": disk(thin=False),
        "removable": disk(removable=True),
        "cd": cdrom(Bytes()),
    }
    return made[request.param]


def test_PVS_V_110_standard_data(unit: LogicalUnit) -> None:
    """INQUIRY data: format 2, SPC-4, command queuing, an additional length that does not depend on the allocation."""
    data = ask(unit, inquiry())

    assert len(data) == data[4] + 5 == 96
    assert (data[2], data[3] & 0xF, data[7] & 2) == (6, 2, 2)
    assert data[0] == (5 if isinstance(unit, Cdrom) else 0)
    assert bool(data[1] & 0x80) == unit.removable
    assert ask(unit, inquiry(5)) == data[:5]


def test_a_disk_is_who_vmware_says_it_is() -> None:
    assert ask(disk(), inquiry())[8:36] == b"VMware  Virtual disk    2.0 "


def test_version_descriptors_name_the_standards() -> None:
    assert unpack_from(">4H", ask(disk(), inquiry()), 58) == (0x00A0, 0x0460, 0x04C0, 0)
    assert unpack_from(">4H", ask(cdrom(None), inquiry()), 58) == (0x00A0, 0x0460, 0x04E0, 0)


def test_PVS_V_111_allocation_lengths_clip_and_nothing_else() -> None:
    """INQUIRY returns exactly the smaller of allocation length and what there is."""
    unit = disk()
    whole = ask(unit, inquiry())

    assert [ask(unit, inquiry(alloc)) for alloc in range(512)] == [whole[:alloc] for alloc in range(512)]
    assert ask(unit, inquiry(0x0100)) == whole


@pytest.mark.parametrize("cdb", ["12 00 80 00 ff 00", "12 01 7f 00 ff 00", "12 01 b9 00 ff 00", "12 02 00 00 ff 00"])
def test_PVS_V_112_pages_there_are_not(unit: LogicalUnit, cdb: str) -> None:
    """INQUIRY: a page without EVPD, an unknown page or CMDDT is an invalid field."""
    assert send(unit, cdb, room=255).code == INVALID_FIELD_IN_CDB


def test_PVS_V_113_every_listed_page_answers(unit: LogicalUnit) -> None:
    """VPD 00 begins with 00 and ascends; every page it lists answers under its own number; 83 is there."""
    data = ask(unit, inquiry(page=0))
    pages = list(data[4:])

    assert pages[0] == 0
    assert pages == sorted(set(pages))
    assert 0x83 in pages
    for code in pages:
        found = ask(unit, inquiry(page=code))
        assert found[:2] == bytes((unit.device_type, code))
        assert len(found) == 4 + unpack_from(">H", found, 2)[0]


def test_serial_and_names_agree() -> None:
    unit = disk()
    serial = ask(unit, inquiry(page=0x80))[4:]
    names = ask(unit, inquiry(page=0x83))[4:]

    assert names[:4] + names[12:16] == bytes.fromhex("01030008") + bytes((2, 1, 0, 24 + len(serial)))
    assert names[4:12].hex() == serial.decode()
    assert names[16:] == b"VMware  Virtual disk    " + serial


def test_extended_data_name_kinds_of_tasks_and_a_volatile_cache() -> None:
    assert ask(disk(), inquiry(page=0x86))[:8].hex() == "0086003c00070100"


def test_block_limits_are_those_that_are_held_to() -> None:
    unit = disk(block=512, physical=4096)
    found = unpack_from(">BBHIIIIIIIQ", ask(unit, inquiry(page=0xB0)), 4)

    assert found == (0, 128, 8, 0x1_0000, 0, 0, 0x10_0000, 256, 8, 0x8000_0000, 0x80_0000)
    assert len(ask(unit, inquiry(page=0xB0))) == 64


def test_without_thin_provisioning_nothing_speaks_of_it() -> None:
    unit = disk(thin=False)

    assert unpack_from(">IIII", ask(unit, inquiry(page=0xB0)), 20) == (0, 0, 0, 0)
    assert ask(unit, inquiry(page=0xB2))[4:] == bytes(4)
    assert unpack_from(">H", ask(unit, "9e 10 0000000000000000 00000020 00 00"), 14)[0] == 0
    assert str(send(unit, *unmap((0, 1))).code) == "05/20/00"


@pytest.mark.parametrize(("zeroes", "flags", "capacity"), [(True, 0xE4, 0xC000), (False, 0xE0, 0x8000)])
def test_provisioning_tells_the_truth_about_zeros(zeroes: bool, flags: int, capacity: int) -> None:
    unit = disk(Bytes(zeroes=zeroes))

    assert ask(unit, inquiry(page=0xB2))[4:] == bytes((0, flags, 2, 0))
    assert unpack_from(">H", ask(unit, "9e 10 0000000000000000 00000020 00 00"), 14)[0] == capacity


@pytest.mark.parametrize(("rotational", "rate"), [(False, 1), (True, 7200)])
def test_characteristics_say_whether_it_turns(rotational: bool, rate: int) -> None:
    backend = Bytes()
    backend.rotational = rotational

    assert unpack_from(">H", ask(disk(backend), inquiry(page=0xB1)), 4)[0] == rate


def test_limits_reject_what_is_beyond_them() -> None:
    big: Disk = disk(Bytes(1 << 42))

    assert send(big, read16(0, 0x1_0001)).code == INVALID_FIELD_IN_CDB
    assert send(big, read16(0, 0x1_0000)).short
