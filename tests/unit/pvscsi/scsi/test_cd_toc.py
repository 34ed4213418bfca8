from struct import pack

import pytest

from pvscsi.scsi.cd_toc import msf
from pvscsi.scsi.cdrom import Cdrom
from pvscsi.scsi.sense import INVALID_FIELD_IN_CDB
from tests.unit.pvscsi.scsi.rig import Bytes, ask, cdrom, send


def toc(form: int = 0, *, time: bool = False, track: int = 0, alloc: int = 255, control: int = 0) -> bytes:
    return pack(">BBBxxxBHB", 0x43, time << 1, form, track, alloc, control)


@pytest.fixture
def unit() -> Cdrom:
    """One minute of blocks"""
    return cdrom(Bytes(4500 * 2048, read_only=True))


@pytest.mark.parametrize(
    ("lba", "found"), [(0, "000200"), (74, "00024a"), (4350, "010000"), (449_849, "633b4a"), (1 << 31, "ff3b4a")]
)
def test_minutes_seconds_frames(lba: int, found: str) -> None:
    assert msf(lba).hex() == found


def test_PVS_V_141_contents(unit: Cdrom) -> None:
    """READ TOC format 0: track 1 and the lead-out, by block or by time; a legacy host asks in the last byte."""
    assert ask(unit, toc()).hex() == "00120101" + "0014010000000000" + "0014aa0000001194"
    assert ask(unit, toc(time=True)).hex() == "00120101" + "0014010000000200" + "0014aa0000010200"
    assert ask(unit, toc(track=1)) == ask(unit, toc())
    assert ask(unit, toc(track=0xAA)).hex() == "000a0101" + "0014aa0000001194"
    assert ask(unit, toc(control=0x40)) == ask(unit, toc(1))
    assert ask(unit, toc(alloc=4)).hex() == "00120101"


def test_PVS_V_141_sessions(unit: Cdrom) -> None:
    """READ TOC format 1: one session, which begins with track 1."""
    assert ask(unit, toc(1)).hex() == "000a0101" + "0014010000000000"


def test_PVS_V_141_full_contents(unit: Cdrom) -> None:
    """READ TOC format 2: first and last track, lead-out, track 1."""
    data = ask(unit, toc(2))

    assert data[:4].hex() == "002e0101"
    assert [(data[i + 3], data[i + 8 : i + 11].hex()) for i in range(4, len(data), 11)] == [
        (0xA0, "010000"),
        (0xA1, "010000"),
        (0xA2, "010200"),
        (0x01, "000200"),
    ]


@pytest.mark.parametrize(
    "cdb", [toc(3), toc(4), toc(15), toc(track=2), toc(track=0xA9), toc(2, track=2), toc(control=0xC0)]
)
def test_PVS_V_141_formats_and_tracks_there_are_not(unit: Cdrom, cdb: bytes) -> None:
    """READ TOC of another format or track is an invalid field."""
    assert send(unit, cdb, room=255).code == INVALID_FIELD_IN_CDB
