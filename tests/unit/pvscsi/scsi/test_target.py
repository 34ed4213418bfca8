import pytest

from pvscsi.scsi import sense as s
from pvscsi.scsi.target import Target, lun_number
from pvscsi.scsi.task import Direction, Status
from tests.unit.pvscsi.scsi.rig import TUR, Sent, ask, disk, send

LUNS = "a0 00 00 000000 00000100 00 00"


@pytest.fixture
def target() -> Target:
    return Target({0: disk(), 3: disk()})


def test_units_by_number(target: Target) -> None:
    assert target.unit(3) is target.units[3]
    assert target.luns() == [0, 3]


def test_a_lun_where_nothing_is(target: Target) -> None:
    unit = target.unit(1)

    assert ask(unit, "12 00 00 00 ff 00").hex() == "7f0006025b000000" + "20" * 28 + "00" * 60
    assert s.parse(ask(unit, "03 00 0000 ff 00")).sense == s.NOT_SUPPORTED_LUN
    assert ask(unit, LUNS)[:4].hex() == "00000010"
    assert [send(unit, cdb).code for cdb in (TUR, "28" + "00" * 9, "c0" * 16)] == [s.NOT_SUPPORTED_LUN] * 3
    assert unit.backend is None


@pytest.mark.parametrize(
    ("cdb", "sense"),
    [
        ("12 01 00 00 ff 00", s.INVALID_FIELD_IN_CDB),
        ("12 00 80 00 ff 00", s.INVALID_FIELD_IN_CDB),
        ("12 00 80", s.INVALID_FIELD_IN_CDB),
        ("a0 00 03 000000 00000100 00 00", s.INVALID_FIELD_IN_CDB),
        ("", s.INVALID_OPCODE),
    ],
)
def test_what_it_is_not_asked_rightly(target: Target, cdb: str, sense: s.Sense) -> None:
    assert send(target.unit(1), cdb, room=64).code == sense


def test_it_says_where_data_go(target: Target) -> None:
    unit, inquiry = target.unit(1), bytes.fromhex("12 00 00 00 60 00")

    assert (unit.direction(inquiry), unit.expected(inquiry)) == (Direction.IN, 96)
    assert (unit.direction(bytes(6)), unit.expected(bytes(6))) == (Direction.NONE, 0)
    unit.reset()
    unit.keep(Sent(b""))
    assert ask(unit, inquiry)[0] == 0x7F


def test_units_come_and_go(target: Target) -> None:
    target.add(7, disk())
    assert send(target.unit(0), TUR).code == s.LUNS_CHANGED

    gone = target.remove(7)

    assert send(target.unit(0), TUR).code == s.LUNS_CHANGED
    assert ask(target.unit(0), LUNS)[:4].hex() == "00000010"
    assert ask(gone, LUNS)[:4].hex() == "00000008"
    assert ask(target.unit(7), "12 00 00 00 ff 00")[0] == 0x7F


def test_a_reset_is_of_every_unit(target: Target) -> None:
    target.reset(bus=True)

    assert [send(unit, TUR).code for unit in target.units.values()] == [s.BUS_RESET] * 2


@pytest.mark.parametrize("lun", [-1, 16384])
def test_numbers_there_are_not(target: Target, lun: int) -> None:
    with pytest.raises(ValueError, match="use 0 to 16383"):
        target.add(lun, disk())


def test_a_number_that_is_taken(target: Target) -> None:
    with pytest.raises(ValueError, match="LUN 3 is taken"):
        target.add(3, disk())
    with pytest.raises(KeyError):
        target.remove(4)


@pytest.mark.parametrize(
    ("lun", "number"),
    [
        ("0000000000000000", 0),
        ("0005000000000000", 5),
        ("4105000000000000", 0x105),
        ("0105000000000000", None),
        ("c101000000000000", None),
        ("0005000100000000", None),
        ("ffffffffffffffff", None),
        ("0005", None),
    ],
)
def test_eight_bytes_of_lun(lun: str, number: int | None) -> None:
    assert lun_number(bytes.fromhex(lun)) == number


def test_status_of_a_good_command_has_no_sense(target: Target) -> None:
    task = send(target.unit(0), TUR)

    assert (task.status, task.sense) == (Status.GOOD, b"")


def test_it_points_at_what_was_wrong_with_an_inquiry(target: Target) -> None:
    found = [send(target.unit(1), cdb, room=64).sense[15:18].hex() for cdb in ("120100000000", "120080000000")]

    assert found == ["c00001", "c00002"]
