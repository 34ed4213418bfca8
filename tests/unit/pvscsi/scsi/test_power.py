import pytest

from pvscsi.block.backend import Fault, Op
from pvscsi.scsi import sense as s
from pvscsi.scsi.task import Status
from tests.unit.pvscsi.scsi.rig import BLOCK, TUR, Bytes, ask, cdrom, disk, pattern, read10, send, soothe, write10


def start_stop(
    *, start: bool = False, loej: bool = False, immed: bool = False, condition: int = 0, more: int = 0
) -> bytes:
    return bytes((0x1B, immed, 0, 0, condition << 4 | more | loej << 1 | start, 0))


STOP, START = start_stop(), start_stop(start=True)
EJECT, LOAD = start_stop(loej=True), start_stop(start=True, loej=True)
PREVENT, ALLOW = "1e 00 00 00 01 00", "1e 00 00 00 00 00"


def test_PVS_V_137_a_stop_flushes() -> None:
    """START STOP UNIT: stopping makes durable what was written, and a fixed disk needs a start then."""
    backend = Bytes()
    unit = disk(backend)
    send(unit, write10(0, 1), pattern(1, 1))

    assert send(unit, STOP).code == Status.GOOD
    backend.lose()

    assert bytes(backend.data[:BLOCK]) == pattern(1, 1)
    assert send(unit, read10(0, 1), room=BLOCK).code == s.NOT_READY_STOPPED
    assert send(unit, START).code == Status.GOOD
    assert ask(unit, read10(0, 1), BLOCK) == pattern(1, 1)


def test_no_flush_says_what_it_means() -> None:
    backend = Bytes()
    send(disk(backend), start_stop(more=0x04))

    assert backend.seen == []


def test_a_stop_that_cannot_flush_says_so() -> None:
    backend = Bytes()
    unit = disk(backend)
    backend.fails = lambda io: (0, Fault.WRITE) if io.op is Op.FLUSH else None

    assert send(unit, STOP).code == s.WRITE_ERROR
    assert send(unit, TUR).code == Status.GOOD


@pytest.mark.parametrize("kind", ["disk", "cd"])
def test_PVS_V_137_without_loej_nothing_leaves(kind: str) -> None:
    """START STOP UNIT without LOEJ ejects nothing, and a unit with a tray stays ready."""
    unit = disk(removable=True) if kind == "disk" else cdrom(Bytes())

    for cdb in (STOP, START, start_stop(immed=True), start_stop(more=4)):
        assert [send(unit, cdb).code, send(unit, TUR).code] == [Status.GOOD] * 2


@pytest.mark.parametrize("condition", range(1, 16))
def test_PVS_V_137_power_conditions_do_not_eject(condition: int) -> None:
    """START STOP UNIT with a power condition changes nothing, whatever LOEJ says."""
    unit = disk(removable=True)

    assert send(unit, start_stop(condition=condition, loej=True)).code == Status.GOOD
    assert send(unit, TUR).code == Status.GOOD


def test_PVS_V_137_eject_and_load() -> None:
    """START STOP UNIT with LOEJ takes the medium out of reach, and back; somebody outside hears of the eject."""
    unit = disk(removable=True)
    heard: list[str] = []
    unit.on_eject = lambda: heard.append("eject")
    send(unit, write10(0, 1), pattern(1, 1))

    assert [send(unit, EJECT).code for _ in range(2)] == [Status.GOOD] * 2
    assert (send(unit, TUR).code, heard, unit.backend) == (s.NO_MEDIUM, ["eject"], None)
    assert send(unit, LOAD).code == Status.GOOD
    assert ask(unit, read10(0, 1), BLOCK) == pattern(1, 1)


def test_who_loads_the_medium_is_not_told_that_it_may_have_changed() -> None:
    """Seen in: libiscsi's StartStopUnit and PreventAllow, which go on at once after their own load."""
    unit = disk(removable=True)
    soothe(unit, nexus=1)

    assert [send(unit, cdb).code for cdb in (EJECT, LOAD, TUR)] == [Status.GOOD] * 3
    assert [send(unit, TUR, nexus=1).code for _ in range(2)] == [s.MEDIUM_CHANGED, Status.GOOD]


def test_a_load_of_what_is_loaded_is_no_change() -> None:
    unit = disk(removable=True)

    assert [send(unit, cdb).code for cdb in (LOAD, TUR)] == [Status.GOOD] * 2


@pytest.mark.parametrize("cdb", [EJECT, LOAD])
def test_a_fixed_disk_has_no_tray(cdb: bytes) -> None:
    assert send(disk(), cdb).code == s.INVALID_FIELD_IN_CDB


def test_PVS_V_137_prevent() -> None:
    """PREVENT: an eject by whomever is 05/53/02 until allowed; a reset allows it."""
    unit = cdrom(Bytes())
    soothe(unit, nexus=1)
    assert send(unit, PREVENT).code == Status.GOOD
    assert [send(unit, EJECT, nexus=nexus).code for nexus in (0, 1)] == [s.REMOVAL_PREVENTED] * 2
    assert send(unit, ALLOW, nexus=1).code == Status.GOOD
    assert send(unit, EJECT).code == s.REMOVAL_PREVENTED

    unit.reset()
    soothe(unit)

    assert send(unit, EJECT).code == Status.GOOD


def test_prevented_without_a_medium() -> None:
    unit = cdrom(None)
    send(unit, PREVENT)

    assert send(unit, EJECT).code == s.NOT_READY_REMOVAL_PREVENTED
    assert [send(unit, cdb).code for cdb in (ALLOW, EJECT)] == [Status.GOOD] * 2


def test_prevent_means_nothing_to_a_fixed_disk() -> None:
    unit = disk()

    assert send(unit, PREVENT).code == Status.GOOD
    assert not unit.tray.locked_by
