"""PVSCSI device rule 141: a CD drive."""

from struct import unpack_from

import pytest

from pvscsi.conform.rig import CD, Can, Drive, MakeRig, Rig, told
from pvscsi.driver import Disk, cdb

pytestmark = pytest.mark.unit
EMPTY = Drive("cdrom", 0)
BLOCK = 2048
BLOCKS = CD.size // BLOCK
DVD = Drive("cdrom", 1 << 30)
LEAD_OUT = 0xAA
NEW_MEDIA, REMOVAL = 2, 3


@pytest.fixture
def cd(make_rig: MakeRig) -> Disk:
    """A drive with a CD in it, with nothing left to tell."""
    return make_rig({0: CD}).disk()


@pytest.fixture
def empty(make_rig: MakeRig) -> Disk:
    """A drive with nothing in it."""
    return make_rig({0: EMPTY}).disk()


def msf(lba: int) -> bytes:
    frames = lba + 150
    return bytes((0, frames // 4500, frames // 75 % 60, frames % 75))


def event(disk: Disk) -> tuple[int, int]:
    """(media event, media status) by GET EVENT STATUS NOTIFICATION."""
    data = disk.must(cdb.event_status(), read=8).data
    assert unpack_from(">H", data)[0] in (4, 6)  # some leave out all of the header, not only this field
    assert data[2] & 7 == 4
    assert data[3] & 0x10
    return data[4] & 15, data[5] & 3


def test_PVS_V_141_identity(cd: Disk) -> None:
    data = cd.inquiry()

    assert data[0] == 0x05
    assert data[1] & 0x80


def test_PVS_V_141_blocks(cd: Disk) -> None:
    data = cd.must(cdb.read_capacity(), read=8).data

    assert unpack_from(">II", data) == (BLOCKS - 1, BLOCK)


@pytest.mark.parametrize("size", [10, 12])
def test_PVS_V_141_reading(cd: Disk, size: int) -> None:
    assert cd.must(cdb.read(0, 4, size=size), read=4 * BLOCK).data == bytes(4 * BLOCK)
    assert cd.must(cdb.read(BLOCKS - 1, 1, size=size), read=BLOCK).data == bytes(BLOCK)
    assert told(cd.run(cdb.read(BLOCKS, 1, size=size), read=BLOCK)) == "05/21/00"


def test_PVS_V_141_read_cd(cd: Disk) -> None:
    def read_cd(lba: int, count: int, fields: int, kind: int = 0) -> bytes:
        return bytes((0xBE, kind << 2)) + lba.to_bytes(4, "big") + count.to_bytes(3, "big") + bytes((fields, 0, 0))

    assert cd.must(read_cd(0, 2, 0x10), read=2 * BLOCK).data == bytes(2 * BLOCK)
    assert told(cd.run(read_cd(0, 1, 0xF8), read=4096)) == "05/24/00"
    assert told(cd.run(read_cd(0, 1, 0x10, kind=1), read=4096)) == "05/64/00"


@pytest.mark.parametrize("command", [cdb.write(0, 1), cdb.write(0, 1, size=12), cdb.write_same(0, 1)])
def test_PVS_V_141_is_not_written(cd: Disk, command: bytes) -> None:
    assert told(cd.run(command, write=bytes(BLOCK))) == "05/20/00"


@pytest.mark.parametrize("in_time", [0, 1])
@pytest.mark.parametrize("track", [0, 1, LEAD_OUT])
def test_PVS_V_141_table_of_contents(cd: Disk, in_time: int, track: int) -> None:
    data = cd.must(cdb.read_toc(msf=in_time, track=track), read=256).data

    length, first, last = unpack_from(">HBB", data)
    rows = [data[at : at + 8] for at in range(4, length + 2, 8)]
    assert (first, last) == (1, 1)
    assert [row[2] for row in rows] == ([LEAD_OUT] if track == LEAD_OUT else [1, LEAD_OUT])
    where = {1: 0, LEAD_OUT: BLOCKS}
    for row in rows:
        assert row[1] >> 4 == 1
        assert row[1] & 0x0C == 0x04  # a data track
        assert row[4:] == (msf(where[row[2]]) if in_time else where[row[2]].to_bytes(4, "big"))


@pytest.mark.parametrize("in_time", [0, 1])
def test_PVS_V_141_sessions(cd: Disk, in_time: int) -> None:
    data = cd.must(cdb.read_toc(form=1, msf=in_time), read=256).data

    assert unpack_from(">HBB", data) == (10, 1, 1)
    assert data[6] == 1
    assert data[8:12] == (msf(0) if in_time else bytes(4))


def test_PVS_V_141_raw_table_of_contents(cd: Disk) -> None:
    data = cd.must(cdb.read_toc(form=2, track=1, msf=1), read=256).data

    length = unpack_from(">H", data)[0]
    rows = {data[at + 3]: data[at : at + 11] for at in range(4, length + 2, 11)}
    assert set(rows) == {0xA0, 0xA1, 0xA2, 1}
    assert rows[0xA2][8:11] == msf(BLOCKS)[1:]
    assert rows[1][8:11] == msf(0)[1:]


@pytest.mark.parametrize(("form", "track"), [(0, 2), (0, 99), (3, 0), (6, 0), (15, 0)])
def test_PVS_V_141_tables_there_are_not(cd: Disk, form: int, track: int) -> None:
    assert told(cd.run(cdb.read_toc(form=form, track=track), read=256)) == "05/24/00"


def test_PVS_V_141_table_of_contents_clipped(cd: Disk) -> None:
    whole = cd.must(cdb.read_toc(), read=256).data

    for room in (0, 2, 4, 11, 12):
        assert cd.must(cdb.read_toc(room), read=room).data == whole[:room]


@pytest.mark.parametrize(("drive", "profile"), [(CD, 0x0008), (DVD, 0x0010), (EMPTY, 0)], ids=["cd", "dvd", "empty"])
def test_PVS_V_141_configuration(make_rig: MakeRig, drive: Drive, profile: int) -> None:
    data = make_rig({0: drive}).disk().must(cdb.get_configuration(1024), read=1024).data

    length, current = unpack_from(">IxxH", data)
    features, at = {}, 8
    while at < length + 4:
        code, flags, size = unpack_from(">HBB", data, at)
        features[code] = (flags & 1, data[at + 4 : at + 4 + size])
        at += 4 + size
    assert at == length + 4
    assert current == profile
    assert list(features) == sorted(features)
    assert {0, 1, 3} <= set(features)
    profiles = features[0][1]
    listed = {unpack_from(">H", profiles, at)[0]: profiles[at + 2] & 1 for at in range(0, len(profiles), 4)}
    assert {0x0008, 0x0010} <= set(listed)
    assert [code for code, on in listed.items() if on] == ([profile] if profile else [])


@pytest.mark.parametrize("rt", [1, 2])
def test_PVS_V_141_some_of_the_configuration(cd: Disk, rt: int) -> None:
    data = cd.must(cdb.get_configuration(1024, rt=rt, start=3), read=1024).data

    length = unpack_from(">I", data)[0]
    first = unpack_from(">H", data, 8)[0]
    assert length >= 8
    assert first == 3
    if rt == 2:
        assert length + 4 == 8 + 4 + data[11]


def test_PVS_V_141_nothing_happened(cd: Disk) -> None:
    event(cd)

    assert event(cd) == (0, 2)


def test_PVS_V_141_new_media_is_told_once(make_rig: MakeRig) -> None:
    rig = make_rig({0: EMPTY})
    rig.need(Can.MEDIA)
    disk = rig.disk()
    event(disk)

    rig.target.load(0, DVD)
    events = [event(disk), event(disk)]
    attentions = disk.settle()

    assert events == [(NEW_MEDIA, 2), (0, 2)]
    assert attentions == ["06/28/00"]
    assert unpack_from(">I", disk.must(cdb.read_capacity(), read=8).data)[0] == DVD.size // BLOCK - 1


def test_PVS_V_141_removal_is_told(make_rig: MakeRig) -> None:
    rig = make_rig({0: CD})
    rig.need(Can.MEDIA)
    disk = rig.disk()
    event(disk)

    rig.target.load(0, None)
    events = [event(disk), event(disk)]
    disk.settle()

    assert [kind for kind, _ in events] == [REMOVAL, 0]
    assert events[1][1] & 2 == 0
    assert told(disk.run(cdb.TEST_UNIT_READY))[:5] == "02/3A"


def test_PVS_V_141_only_polled(cd: Disk) -> None:
    assert told(cd.run(cdb.event_status(polled=0), read=8)) == "05/24/00"


def test_PVS_V_141_classes_it_has_not(cd: Disk) -> None:
    data = cd.must(cdb.event_status(classes=0x02), read=8).data

    assert data[2] & 0x80
    assert data[3] & 0x10


NEED_A_MEDIUM = {
    "READ": (cdb.read(0, 1), BLOCK),
    "READ CAPACITY": (cdb.read_capacity(), 8),
    "READ TOC": (cdb.read_toc(), 256),
    "READ DISC INFORMATION": (cdb.read_disc_information(), 34),
}
NEED_NONE = {
    "INQUIRY": (cdb.inquiry(), 36),
    "MODE SENSE": (cdb.mode_sense(0x2A, 250), 250),
    "GET CONFIGURATION": (cdb.get_configuration(), 256),
    "GET EVENT STATUS NOTIFICATION": (cdb.event_status(), 8),
    "MECHANISM STATUS": (bytes((0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0)), 8),
    "PREVENT": (cdb.prevent_removal(0), 0),
    "START": (cdb.start_stop(1), 0),
}


@pytest.mark.parametrize("name", NEED_A_MEDIUM)
def test_PVS_V_141_needs_a_medium(empty: Disk, name: str) -> None:
    command, size = NEED_A_MEDIUM[name]

    assert told(empty.run(command, read=size))[:5] == "02/3A"


@pytest.mark.parametrize("name", NEED_NONE)
def test_PVS_V_141_works_without_one(empty: Disk, name: str) -> None:
    command, size = NEED_NONE[name]

    assert told(empty.run(command, read=size)) == "status 00"


def test_PVS_V_141_disc_information(cd: Disk) -> None:
    data = cd.must(cdb.read_disc_information(), read=34).data

    assert len(data) == 34
    assert unpack_from(">H", data)[0] == 32
    assert data[2] & 0x0F == 0x0E  # finalized, last session complete
    assert data[3:7] == b"\1\1\1\1"


def test_PVS_V_141_track_information(cd: Disk) -> None:
    command = bytes((0x52, 1)) + (1).to_bytes(4, "big") + bytes((0, 0, 36, 0))

    data = cd.must(command, read=36).data

    assert unpack_from(">H", data)[0] == len(data) - 2
    assert data[2:4] == b"\1\1"
    assert unpack_from(">I", data, 24)[0] == BLOCKS


@pytest.mark.parametrize("form", [0x00, 0xFF])
def test_PVS_V_141_disc_structure_is_for_dvds(make_rig: MakeRig, form: int) -> None:
    command = bytes((0xAD, 0, 0, 0, 0, 0, 0, form, 0, 16, 0, 0))
    rig: Rig = make_rig({0: CD, 1: DVD})
    cd, dvd = rig.disk(0), Disk(rig.drivers[0], 1)
    dvd.settle()

    assert told(cd.run(command, read=16))[:5] == ("05/30" if form == 0 else "statu")
    assert told(dvd.run(command, read=16)) == "status 00"


def test_PVS_V_141_capabilities_page(cd: Disk) -> None:
    page = cd.mode_page(0x2A)
    cd.must(cdb.prevent_removal(1))
    locked = cd.mode_page(0x2A)
    cd.must(cdb.prevent_removal(0))

    assert page[0] & 0x3F == 0x2A
    assert page[1] >= 0x14
    assert page[6] >> 5 == 1  # a tray
    assert [page[6] & 2, locked[6] & 2] == [0, 2]
