from struct import pack

import pytest

from pvscsi.scsi import sense as s
from pvscsi.scsi.task import Status
from tests.unit.pvscsi.scsi.rig import Bytes, ask, cdrom, pattern, send

BLOCK = 2048


def read_cd(lba: int, count: int, fields: int = 0x10, kind: int = 0, sub: int = 0) -> bytes:
    return pack(">BBI", 0xBE, kind << 2, lba) + count.to_bytes(3, "big") + bytes((fields, sub, 0))


def drive() -> Bytes:
    made = Bytes(64 * BLOCK, read_only=True)
    made.data[:] = pattern(1, 64, BLOCK)
    return made


@pytest.mark.parametrize("kind", [0, 2])
def test_user_data(kind: int) -> None:
    assert ask(cdrom(drive()), read_cd(3, 2, kind=kind)) == pattern(1, 64, BLOCK)[3 * BLOCK : 5 * BLOCK]


def test_nothing_asked_for() -> None:
    backend = drive()
    unit = cdrom(backend)

    assert [send(unit, cdb).code for cdb in (read_cd(3, 2, 0), read_cd(3, 0))] == [Status.GOOD] * 2
    assert backend.seen == []
    assert (unit.expected(read_cd(3, 2, 0)), unit.expected(read_cd(3, 2))) == (0, 2 * BLOCK)


@pytest.mark.parametrize(
    ("cdb", "sense"),
    [
        (read_cd(0, 1, 0xF8), s.INVALID_FIELD_IN_CDB),
        (read_cd(0, 1, 0x12), s.INVALID_FIELD_IN_CDB),
        (read_cd(0, 1, sub=1), s.INVALID_FIELD_IN_CDB),
        (read_cd(0, 1, kind=6), s.INVALID_FIELD_IN_CDB),
        (read_cd(0, 1, kind=1), s.ILLEGAL_MODE_FOR_TRACK),
        (read_cd(0, 1, kind=4), s.ILLEGAL_MODE_FOR_TRACK),
        (read_cd(64, 1), s.LBA_OUT_OF_RANGE),
        (read_cd(0xFFFF_FFFF, 1), s.LBA_OUT_OF_RANGE),
        (read_cd(0, 0xFFFFFF), s.INVALID_FIELD_IN_CDB),
    ],
)
def test_what_there_is_not(cdb: bytes, sense: s.Sense) -> None:
    assert send(cdrom(drive()), cdb, room=4 * BLOCK).code == sense


def test_a_memory_too_small() -> None:
    task = send(cdrom(drive()), read_cd(0, 3), room=BLOCK + 1)

    assert (task.short, task.answer) == (True, pattern(1, 1, BLOCK))
