from struct import unpack_from

import pytest

from pvscsi.block.backend import Fault, Op
from pvscsi.scsi.sense import INVALID_FIELD_IN_CDB
from tests.unit.pvscsi.scsi.rig import BLOCK, Bytes, ask, disk, read10, send, write10


def log(
    code: int, *, control: int = 1, subpage: int = 0, start: int = 0, saved: bool = False, alloc: int = 512
) -> bytes:
    return (
        bytes((0x4D, saved, control << 6 | code, subpage, 0))
        + start.to_bytes(2, "big")
        + alloc.to_bytes(2, "big")
        + b"\0"
    )


def test_every_listed_page_answers() -> None:
    unit = disk()
    data = ask(unit, log(0))

    assert list(data[4:]) == [0x00, 0x02, 0x03, 0x2F]
    for code in data[4:]:
        found = ask(unit, log(code))
        assert unpack_from(">BBH", found) == (code, 0, len(found) - 4)


def test_errors_of_the_medium_are_counted() -> None:
    backend = Bytes()
    unit = disk(backend)
    backend.fails = lambda io: (0, Fault.READ if io.op is Op.READ else Fault.WRITE)
    for cdb in (read10(0, 1), read10(0, 1), write10(0, 1)):
        send(unit, cdb, bytes(BLOCK))

    counts = [unpack_from(">HBBQ", ask(unit, log(code)), 4) for code in (2, 3)]

    assert counts == [(6, 0, 8, 1), (6, 0, 8, 2)]


@pytest.mark.parametrize(
    "cdb",
    [log(1), log(0x3F), log(0, subpage=0xFF), log(2, saved=True), log(2, control=2), log(2, start=7), log(0, start=1)],
)
def test_what_there_is_not(cdb: bytes) -> None:
    assert send(disk(), cdb, room=64).code == INVALID_FIELD_IN_CDB
