"""The tables of commands, as a whole."""

import pytest

from pvscsi.scsi.command import Access, Command
from pvscsi.scsi.opcodes import absent_commands, cd_commands, disk_commands
from pvscsi.scsi.task import Direction
from tests.unit.pvscsi.scsi.rig import Bytes, Sent, cdrom, disk

ALL = {id(row): row for made in (disk_commands(thin=True), cd_commands()) for row in made}.values()
_LENGTHS = (6, 10, 10, None, 16, 12, None, None)


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_a_cdb_is_as_long_as_its_group_says(row: Command) -> None:
    assert row.cdb_length == _LENGTHS[row.opcode >> 5]
    assert row.usage[-1] == (0xC4 if row.opcode == 0x43 else 0x04)  # the control byte: NACA is looked at


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_a_service_action_is_in_byte_1(row: Command) -> None:
    assert row.action is None or row.usage[1] & 0x1F == 0x1F


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_what_writes_needs_a_medium_and_no_reservation_of_another(row: Command) -> None:
    assert not row.writes or (row.medium and row.access is Access.WRITE)


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_data_have_a_size_exactly_when_they_have_a_direction(row: Command) -> None:
    cdb = bytearray(b"\xff" * row.cdb_length)
    cdb[0] = row.opcode
    moves = row.direction(bytes(cdb)) is not Direction.NONE

    assert moves == bool(row.size(bytes(cdb), 512)) or row.name == "FORMAT UNIT"


def test_only_a_thin_disk_has_unmap() -> None:
    names = {row.name for row in disk_commands(thin=True)}

    assert names - {row.name for row in disk_commands(thin=False)} == {"UNMAP"}


def test_a_cd_drive_does_not_write() -> None:
    assert [row.name for row in cd_commands() if row.writes] == []


def test_where_nothing_is_three_commands_are_answered() -> None:
    assert [row.name for row in absent_commands()] == ["REQUEST SENSE", "INQUIRY", "REPORT LUNS"]


@pytest.mark.parametrize("opcode", [0xA4, 0x83, 0x84, 0x48, 0xA2, 0xB5, 0x8B, 0x7F, 0x9C])
def test_what_is_left_out(opcode: int) -> None:
    for unit in (disk(), cdrom(Bytes())):
        task = Sent(bytes((opcode,)).ljust(16, b"\0"))
        assert unit.execute(task) is None
        assert str(task.code) == "05/20/00"
