"""PVSCSI driver rules 028 to 051 and 065: what one request says, and where its data lies."""

from itertools import pairwise
from typing import Any

import pytest

from pvscsi import wire
from pvscsi.conform.rig import CD, Drive, MakeRig, Rig
from pvscsi.driver import Disk, Request, Shape, cdb, even
from pvscsi.driver.memory import Piece
from pvscsi.wire import Flag, HostStatus
from tests.conformance.pvscsi.told import NOWHERE, assert_alive, seen

PLACE = "target 0, opcode 0x28"
IN, OUT = int(Flag.DIR_TOHOST), int(Flag.DIR_TODEVICE)


@pytest.fixture
def disk(rig: Rig) -> Disk:
    return rig.disk(driver=rig.driver(strict=False))


def read(disk: Disk, **fields: Any) -> Request:
    """A READ of one block, some of its fields changed."""
    return disk.run(cdb.read(0, 1), read=512, **fields)


# -- fields of the descriptor ------------------------------------------------------------------------------------------

FIELDS: dict[str, tuple[str, dict[str, Any], str, int]] = {
    "context 0": ("PVS-D-028", {"context": 0}, "requests", 0),
    "context of 33 bits": ("PVS-D-029", {"context": 1 << 32 | 5}, "requests", 1 << 32 | 5),
    "no direction": ("PVS-D-031", {"flags": 0}, "requests", 0),
    "both directions": ("PVS-D-031", {"flags": IN | OUT}, "requests", IN | OUT),
    "all directions": ("PVS-D-031", {"flags": IN | OUT | Flag.DIR_NONE}, "requests", IN | OUT | Flag.DIR_NONE),
    "data and DIR_NONE": ("PVS-D-034", {"flags": int(Flag.DIR_NONE)}, "requests", Flag.DIR_NONE),
    "reserved flags": ("PVS-D-032", {"flags": IN | 0x20}, PLACE, IN | 0x20),
    "cdbLen 17": ("PVS-D-046", {"cdbLen": 17}, PLACE, 17),
    "cdbLen 6 of 10": ("PVS-D-046", {"cdbLen": 6}, PLACE, 6),
    "cdbLen 16 of 10": ("PVS-D-046", {"cdbLen": 16}, "requests", 16),
    "bus 1": ("PVS-D-048", {"bus": 1}, PLACE, 1),
    "tag 0": ("PVS-D-050", {"tag": 0}, "requests", 0),
    "tag ACA": ("PVS-D-050", {"tag": 0x24}, "requests", 0x24),
    "unused bytes": ("PVS-D-051", {"unused": b"\7"}, "requests", 7),
    "out-of-band CDB": ("PVS-D-033", {"flags": IN | Flag.CMD_OUT_OF_BAND_CDB}, PLACE, IN | 2),
    "the last unused byte": ("PVS-D-051", {"unused": bytes(57) + b"\1"}, "requests", 0),
}


@pytest.mark.parametrize("case", FIELDS)
def test_PVS_D_028_029_031_032_033_034_046_048_050_051_fields(rig: Rig, disk: Disk, case: str) -> None:
    rule, fields, place, value = FIELDS[case]

    for _ in range(2):
        assert read(disk, **fields).done

    assert seen(rig, rule) == [(place, value, 2)]
    assert rig.broken() == {rule}
    assert_alive(rig)


def test_PVS_D_034_a_direction_without_data(rig: Rig, disk: Disk) -> None:
    disk.run(cdb.TEST_UNIT_READY, flags=Flag.DIR_TODEVICE)

    assert rig.broken() == {"PVS-D-034"}


@pytest.mark.parametrize("lun", ["0100000000000000", "0000000000000001", "ffffffffffffffff"])
def test_PVS_D_047_more_than_one_byte(rig: Rig, disk: Disk, lun: str) -> None:
    request = disk.driver.run(cdb.inquiry(), read=36, lun=bytes.fromhex(lun))

    assert request.host == HostStatus.SELTIMEO
    assert seen(rig, "PVS-D-047") == [("target 0, opcode 0x12", int(lun, 16), 1)]


def test_PVS_D_047_a_lun_nobody_named(rig: Rig, disk: Disk) -> None:
    driver = disk.driver

    driver.run(cdb.inquiry(), read=36, lun=3)
    driver.run(cdb.report_luns(256), read=256, lun=3)
    driver.run(cdb.request_sense(), read=18, lun=3)
    assert not rig.broken()  # it may ask
    driver.run(cdb.read(0, 1), read=512, lun=3)

    assert seen(rig, "PVS-D-047") == [(PLACE, 3, 1)]


@pytest.mark.parametrize("target", [65, 255])
def test_PVS_D_049_more_targets_than_there_are(rig: Rig, disk: Disk, target: int) -> None:
    disk.driver.run(cdb.inquiry(), read=36, target=64)
    assert not rig.broken()

    disk.driver.run(cdb.inquiry(), read=36, target=target)

    assert seen(rig, "PVS-D-049") == [("requests", target, 1)]


# -- data --------------------------------------------------------------------------------------------------------------


def test_PVS_D_035_the_wrong_direction(rig: Rig, disk: Disk) -> None:
    assert read(disk, flags=OUT).host == HostStatus.BADMSG

    assert seen(rig, "PVS-D-035") == [(PLACE, OUT, 1)]


@pytest.mark.parametrize("address", [NOWHERE, (1 << 64) - 256])
@pytest.mark.parametrize(("command", "flags"), [(cdb.read(0, 1), IN), (cdb.write(0, 1), OUT)], ids=["read", "write"])
def test_PVS_D_037_data_out_of_reach(rig: Rig, disk: Disk, command: bytes, flags: int, address: int) -> None:
    request = disk.run(command, flags=flags, dataAddr=address, dataLen=512)

    assert (request.host, request.moved) == (HostStatus.INVPARAM, 0)
    assert [(place, value) for place, value, _ in seen(rig, "PVS-D-037")] == [
        (f"target 0, opcode {command[0]:#04x}", address)
    ]


def test_PVS_D_037_data_in_memory_that_is_only_read(rig: Rig, disk: Disk) -> None:
    """As a guest's ROM is lent: to be written from it, not to be read into."""
    rom = memoryview(bytes(range(256)) * 16)
    rig.device.mem.map(NOWHERE, rom, writable=False)

    into = disk.run(cdb.read(0, 1), flags=IN, dataAddr=NOWHERE, dataLen=512)
    out = disk.run(cdb.write(0, 1), flags=OUT, dataAddr=NOWHERE, dataLen=512)
    disk.run(cdb.read(1 << 30, 1), senseAddr=NOWHERE, flags=int(Flag.DIR_NONE))

    assert (into.host, out.good) == (HostStatus.INVPARAM, True)
    assert disk.read(0, 1) == bytes(rom[:512])
    assert (seen(rig, "PVS-D-037"), seen(rig, "PVS-D-043")) == ([(PLACE, NOWHERE, 1)], [(PLACE, NOWHERE, 1)])
    assert bytes(rom) == bytes(range(256)) * 16


def test_PVS_D_038_a_list_of_one(rig: Rig, disk: Disk) -> None:
    assert read(disk, shape=Shape(listed=True)).good

    assert seen(rig, "PVS-D-038") == [(PLACE, 1, 1)]


def test_PVS_D_038_a_list_and_no_data(rig: Rig, disk: Disk) -> None:
    assert disk.run(cdb.TEST_UNIT_READY, flags=Flag.DIR_NONE | Flag.CMD_WITH_SG_LIST).good

    assert seen(rig, "PVS-D-038") == [("target 0, opcode 0x00", 0, 1)]


# -- lists -------------------------------------------------------------------------------------------------------------

Element = tuple[int, int, int]  # address, bytes, flags


def elements(piece: Piece, *rows: Element, at: int = 0) -> int:
    """Write a segment; its address."""
    data = b"".join(wire.SG_ELEMENT.struct.pack(*row) for row in rows)
    piece.view[at : at + len(data)] = data
    return piece.address + at


def listed(disk: Disk, address: int, size: int = 512) -> Request:
    """A READ of so many bytes through an SG list at an address."""
    return disk.run(cdb.read(0, size // 512), flags=IN | Flag.CMD_WITH_SG_LIST, dataAddr=address, dataLen=size)


@pytest.fixture
def page(disk: Disk) -> Piece:
    return disk.driver.memory.pages(1)[0]


@pytest.fixture
def buffer(disk: Disk) -> Piece:
    return disk.driver.memory.take(8192, 4096)


def test_PVS_D_039_not_aligned(rig: Rig, disk: Disk, page: Piece, buffer: Piece) -> None:
    address = elements(page, (buffer.address, 256, 0), (buffer.address + 256, 256, 0), at=8)

    assert listed(disk, address).good

    assert seen(rig, "PVS-D-039") == [(PLACE, address, 1)]


def test_PVS_D_039_over_the_end_of_a_page(rig: Rig, disk: Disk, page: Piece, buffer: Piece) -> None:
    address = elements(page, (buffer.address, 256, 0), at=4096 - 24)  # the second one has eight bytes of room

    assert listed(disk, address).host == HostStatus.INVPARAM

    assert seen(rig, "PVS-D-039") == [(PLACE, address, 1)]
    assert seen(rig, "PVS-D-041") == [(PLACE, 256, 1)]


@pytest.mark.parametrize("count", [128, 129, 256])
def test_PVS_D_039_more_elements_than_a_segment_has(
    rig: Rig, disk: Disk, page: Piece, buffer: Piece, count: int
) -> None:
    rows = [(buffer.address + 32 * n, 32, 0) for n in range(count)]

    assert listed(disk, elements(page, *rows), 32 * count // 512 * 512).good

    assert seen(rig, "PVS-D-039") == ([(PLACE, count, 1)] if count == 256 else [])


BAD_ELEMENTS: dict[str, tuple[tuple[int, int], HostStatus, int]] = {
    "reserved flags": ((256, 2), HostStatus.INVPARAM, 2),
    "an empty element": ((0, 0), HostStatus.SUCCESS, 0),
    "a chain element with a length": ((77, 1), HostStatus.SUCCESS, 77),
}


@pytest.mark.parametrize("case", BAD_ELEMENTS)
def test_PVS_D_040_elements(rig: Rig, disk: Disk, page: Piece, buffer: Piece, case: str) -> None:
    (size, flags), host, value = BAD_ELEMENTS[case]
    rest = elements(page, (buffer.address, 256, 0), (buffer.address + 256, 256, 0), at=1024)
    bad = (rest if flags & 1 else buffer.address, size, flags)
    follow = () if flags & 1 else ((buffer.address, 256, 0), (buffer.address + 256, 256, 0))

    assert listed(disk, elements(page, bad, *follow)).host == host

    assert seen(rig, "PVS-D-040") == [(PLACE, value, 1)]


def test_PVS_D_041_too_short_a_list(rig: Rig, disk: Disk, page: Piece, buffer: Piece) -> None:
    page.view[:] = bytes(4096)

    assert (
        listed(disk, elements(page, (buffer.address, 256, 0), (buffer.address + 256, 128, 0), at=4096 - 32)).moved == 0
    )

    assert seen(rig, "PVS-D-041") == [(PLACE, 384, 1)]


def test_PVS_D_042_a_chain_in_a_circle(rig: Rig, disk: Disk, page: Piece) -> None:
    assert listed(disk, elements(page, (page.address, 0, 1))).host == HostStatus.INVPARAM

    assert seen(rig, "PVS-D-042") == [(PLACE, page.address, 1)]
    assert_alive(rig)


def test_PVS_D_042_as_many_segments_as_may_be_and_one_more(rig: Rig, disk: Disk) -> None:
    assert disk.run(cdb.read(0, 8), read=4096, shape=Shape(even(4096, 129), True, 2)).good
    assert disk.run(cdb.read(0, 8), read=4096, shape=Shape(even(4096, 130), True, 2)).host == HostStatus.INVPARAM

    assert [count for _, _, count in seen(rig, "PVS-D-042")] == [1]


def test_PVS_D_042_as_many_elements_as_may_be_and_more(rig: Rig, disk: Disk, buffer: Piece) -> None:
    segments = disk.driver.memory.pages(66)
    for segment, following in pairwise(segments):
        elements(segment, *[(buffer.address, 1, 0)] * 255, (following.address, 0, 1))
    elements(segments[-1], *[(buffer.address, 1, 0)] * 256)

    assert listed(disk, segments[0].address, 16384).good
    assert listed(disk, segments[0].address, 16896).host == HostStatus.INVPARAM
    assert [count for _, _, count in seen(rig, "PVS-D-042")] == [1]


# -- sense, and what a unit says of a command --------------------------------------------------------------------------


def test_PVS_D_043_sense_out_of_reach(rig: Rig, disk: Disk) -> None:
    request = disk.run(cdb.read(1 << 30, 1), read=512, senseAddr=NOWHERE)
    told = disk.run(cdb.request_sense(), read=18)

    assert (request.host, request.sense_raw) == (HostStatus.SENSFAILED, b"")
    assert (told.data[2], told.data[12]) == (5, 0x21)  # it is not lost
    assert seen(rig, "PVS-D-043") == [(PLACE, NOWHERE, 1)]


def test_PVS_D_065_beyond_the_medium(rig: Rig, disk: Disk) -> None:
    disk.run(cdb.read(1 << 30, 1), read=512)

    assert seen(rig, "PVS-D-065") == [(PLACE, 0x21, 1)]


@pytest.mark.parametrize(
    "command",
    [cdb.unmap(24), cdb.write_same(0, 1, unmap=1)],
    ids=["UNMAP", "WRITE SAME with UNMAP"],
)
def test_PVS_D_065_what_the_unit_does_not_offer(make_rig: MakeRig, command: bytes) -> None:
    rig = make_rig({0: Drive(thin=False)})
    disk = rig.disk()

    request = disk.run(command, write=bytes(512) if command[0] != 0x42 else cdb.unmap_list((0, 1)))

    assert request.sense is not None
    assert request.sense.key == 5
    assert [place for place, _, _ in seen(rig, "PVS-D-065")] == [f"target 0, opcode {command[0]:#04x}"]


def test_PVS_D_065_says_nothing_of_a_driver_that_finds_out(make_rig: MakeRig) -> None:
    """Commands a drive does not know are how drivers learn what it is."""
    rig = make_rig({0: CD})
    driver = rig.driver()

    for command in (b"\xff" + bytes(9), cdb.inquiry(255, 0x77), cdb.report_opcodes(), cdb.read_capacity_16()):
        driver.run(command, read=255)

    assert not rig.broken()
