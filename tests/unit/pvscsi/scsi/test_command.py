import pytest

from pvscsi.scsi.command import Command, CommandSet, blocks, length, nothing, number
from pvscsi.scsi.sense import INVALID_FIELD_IN_CDB, INVALID_OPCODE, Check
from pvscsi.scsi.task import Direction


def command(usage: str, action: int | None = None) -> Command:
    return Command(f"{usage}/{action}", bytes.fromhex(usage), lambda unit, task: None, action=action)


PLAIN, FIRST, SECOND = command("00 00000000 04"), command("9e 1f" + "00" * 14, 0x10), command("9e 1f" + "00" * 14, 0x12)
SET = CommandSet((SECOND, PLAIN, FIRST))


def test_a_row_knows_its_opcode_and_length() -> None:
    assert (FIRST.opcode, FIRST.cdb_length) == (0x9E, 16)


def test_rows_come_in_order() -> None:
    assert list(SET) == [PLAIN, FIRST, SECOND]


def test_found_by_opcode_and_service_action() -> None:
    assert SET.find(bytes(6)) is PLAIN
    assert SET.find(b"\x9e\xf2" + bytes(14)) is SECOND
    assert (SET.get(0x9E, 0x10), SET.get(0x9E), SET.get(0x9E, 0x11)) == (FIRST, None, None)
    assert (SET.has_actions(0x9E), SET.has_actions(0), SET.has_actions(0x55)) == (True, False, False)


@pytest.mark.parametrize(
    ("cdb", "sense", "pointer"),
    [
        (b"", INVALID_OPCODE, "000000"),
        (b"\x01" + bytes(15), INVALID_OPCODE, "000000"),
        (b"\x9e\x11" + bytes(14), INVALID_FIELD_IN_CDB, "cc0001"),
        (b"\x9e", INVALID_FIELD_IN_CDB, "cc0001"),
        (b"\x9e\x10" + bytes(13), INVALID_FIELD_IN_CDB, "c0000f"),
        (bytes(5), INVALID_FIELD_IN_CDB, "c00005"),
    ],
)
def test_what_is_not_found(cdb: bytes, sense: object, pointer: str) -> None:
    with pytest.raises(Check) as caught:
        SET.find(cdb)

    assert (caught.value.sense, caught.value.pointer.hex()) == (sense, pointer)


@pytest.mark.parametrize("second", [PLAIN, command("00 00000000 04", 1)])
def test_a_row_cannot_be_there_twice(second: Command) -> None:
    with pytest.raises(ValueError, match="opcode 00 is there already"):
        CommandSet((PLAIN, second))


def test_sizes_are_read_from_the_cdb() -> None:
    cdb = bytes(range(16))

    assert number(cdb, 2, 3) == 0x020304
    assert (nothing(cdb, 512), length(1, 2)(cdb, 512), blocks(1, 1)(cdb, 512), blocks(2, 1, 2)(cdb, 512)) == (
        0,
        0x0102,
        512,
        2048,
    )


def test_the_flow_may_depend_on_the_cdb() -> None:
    made = Command("x", bytes(6), lambda unit, task: None, flow=lambda cdb: Direction.OUT if cdb[1] else Direction.IN)

    assert (made.direction(bytes(6)), made.direction(b"\0\1")) == (Direction.IN, Direction.OUT)
