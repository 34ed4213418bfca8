from struct import unpack_from

import pytest

from pvscsi.scsi import sense as s
from pvscsi.scsi.cdrom import Cdrom
from tests.unit.pvscsi.scsi.rig import Bytes, ask, cdrom, send

CD, DVD = 4500, 2_000_000


def drive(blocks: int) -> Cdrom:
    return cdrom(Bytes(blocks * 2048, read_only=True) if blocks else None)


def features(unit: Cdrom, asked: int = 0, start: int = 0) -> dict[int, tuple[bool, bytes]]:
    """(current, data) by feature"""
    data = ask(unit, bytes((0x46, asked)) + start.to_bytes(2, "big") + bytes(3) + b"\x01\x00\0")
    assert unpack_from(">I", data)[0] == len(data) - 4
    found, at = {}, 8
    while at < len(data):
        code, flags, more = unpack_from(">HBB", data, at)
        found[code] = bool(flags & 1), data[at + 4 : at + 4 + more]
        at += 4 + more
    return found


@pytest.mark.parametrize(("blocks", "profile"), [(0, 0), (CD, 0x08), (449_850, 0x08), (449_851, 0x10), (DVD, 0x10)])
def test_PVS_V_141_the_profile_follows_the_disc(blocks: int, profile: int) -> None:
    """GET CONFIGURATION: the current profile is CD-ROM or DVD-ROM by the size of the disc, none without."""
    unit = drive(blocks)

    assert unpack_from(">H", ask(unit, "46 00 0000 000000 0008 00"), 6)[0] == profile
    assert features(unit)[0x0000][1].hex() == f"0010{profile == 0x10:02x}00" + f"0008{profile == 0x08:02x}00"


def test_PVS_V_141_features() -> None:
    """GET CONFIGURATION: all features, the current ones, one of them, from one on."""
    unit = drive(CD)
    every = features(unit)

    assert list(every) == [0x0000, 0x0001, 0x0003, 0x0010, 0x001E, 0x001F, 0x0105]
    assert features(unit, 1) == {code: each for code, each in every.items() if each[0]}
    assert 0x001F not in features(unit, 1)
    assert features(unit, 2, 0x1F) == {0x1F: every[0x1F]}
    assert list(features(unit, 0, 0x11)) == [0x001E, 0x001F, 0x0105]
    assert features(unit, 2, 0x99) == {}
    assert send(unit, "46 03 0000 000000 00ff 00", room=255).code == s.INVALID_FIELD_IN_CDB


def test_PVS_V_141_events_are_polled() -> None:
    """GET EVENT STATUS NOTIFICATION: media events, polled only; other classes there are not."""
    unit = drive(CD)

    assert send(unit, "4a 00 0000 10 0000 0008 00", room=8).code == s.INVALID_FIELD_IN_CDB
    assert ask(unit, "4a 01 0000 04 0000 0008 00").hex() == "00028010"
    assert ask(unit, "4a 01 0000 7e 0000 0008 00").hex() == "0006041000020000"


def test_PVS_V_141_an_event_is_told_only_where_it_fits() -> None:
    """GET EVENT STATUS NOTIFICATION with room for the header alone leaves the event for the next."""
    unit = drive(CD)
    unit.open_tray()

    assert ask(unit, "4a 01 0000 10 0000 0004 00").hex() == "00060410"
    assert ask(unit, "4a 01 0000 10 0000 0008 00")[4] == 3


def test_disc_information() -> None:
    unit = drive(CD)

    data = ask(unit, "51 00 0000000000 00ff 00")

    assert (len(data), data[:7].hex()) == (34, "00200e01010101")
    assert send(unit, "51 01 0000000000 00ff 00", room=34).code == s.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize("cdb", ["52 00 00000000 00 00ff 00", "52 01 00000001 00 00ff 00", "52 02 00000001 00 00ff 00"])
def test_track_information(cdb: str) -> None:
    data = ask(drive(CD), cdb)

    assert (len(data), data[:7].hex()) == (36, "00220101000401")
    assert unpack_from(">I", data, 24)[0] == CD


@pytest.mark.parametrize(
    ("cdb", "sense"),
    [
        ("52 00 00001194 00 00ff 00", s.LBA_OUT_OF_RANGE),
        ("52 01 00000002 00 00ff 00", s.INVALID_FIELD_IN_CDB),
        ("52 03 00000000 00 00ff 00", s.INVALID_FIELD_IN_CDB),
    ],
)
def test_tracks_there_are_not(cdb: str, sense: s.Sense) -> None:
    assert send(drive(CD), cdb, room=64).code == sense


def structure(form: int, *, layer: int = 0, media: int = 0) -> bytes:
    return bytes((0xAD, media, 0, 0, 0, 0, layer, form, 0x10, 0, 0, 0))


def test_structure_of_a_dvd() -> None:
    unit = drive(DVD)

    physical = ask(unit, structure(0))
    assert (len(physical), physical[:2].hex()) == (2052, "0802")
    assert unpack_from(">II", physical, 8) == (0x03_0000, 0x03_0000 + DVD - 1)
    assert ask(unit, structure(1)).hex() == "0006000000000000"
    assert ask(unit, structure(0xFF)).hex() == "000a0000" + "00400804" + "01400008"


@pytest.mark.parametrize(
    ("blocks", "cdb", "sense"),
    [
        (0, structure(0), s.NO_MEDIUM_TRAY_CLOSED),
        (CD, structure(0), s.INCOMPATIBLE_FORMAT),
        (DVD, structure(0, layer=1), s.INVALID_FIELD_IN_CDB),
        (DVD, structure(7), s.INVALID_FIELD_IN_CDB),
        (DVD, structure(0, media=1), s.INVALID_FIELD_IN_CDB),
    ],
)
def test_structures_there_are_not(blocks: int, cdb: bytes, sense: s.Sense) -> None:
    assert send(drive(blocks), cdb, room=64).code == sense


def test_mechanism_and_performance() -> None:
    unit = drive(CD)
    unit.open_tray()

    assert ask(unit, "bd 00 000000000000 0008 00 00").hex() == "0010000000000000"
    assert ask(unit, "ac 00 00000000 0000 0001 00 00").hex() == "0000000400000000"


def test_features_byte_by_byte() -> None:
    """Worked out from the feature descriptors of MMC-6, a DVD being in the drive."""
    data = ask(drive(DVD), "46 00 0000 000000 0100 00")

    assert data.hex(" ", 4) == bytes.fromhex(
        "00000044 00000010"
        "00000308 0010010000080000"  # profiles: DVD-ROM is current, CD-ROM is not
        "00010b08 0000000101000000"  # core: SCSI, device busy events
        "00030704 29000000"  # removable: tray, eject, lock
        "00100108 0000080000010100"  # random readable: 2048 bytes, 1 block
        "001e0804 00000000"  # CD read
        "001f0504 01000000"  # DVD read
        "01050300"  # timeout
    ).hex(" ", 4)
