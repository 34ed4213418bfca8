from struct import unpack_from

import pytest

from pvscsi.scsi import sense as s
from pvscsi.scsi.sense import Sense
from pvscsi.scsi.task import Status
from pvscsi.scsi.unit import LogicalUnit
from tests.unit.pvscsi.scsi.rig import BLOCK, BLOCKS, TUR, Bytes, ask, cdrom, disk, send, soothe


def sense6(code: int, *, control: int = 0, subpage: int = 0, alloc: int = 255, dbd: bool = False) -> bytes:
    return bytes((0x1A, dbd << 3, control << 6 | code, subpage, alloc, 0))


def sense10(
    code: int, *, control: int = 0, subpage: int = 0, alloc: int = 512, dbd: bool = False, wide: bool = False
) -> bytes:
    return bytes((0x5A, wide << 4 | dbd << 3, control << 6 | code, subpage, 0, 0, 0)) + alloc.to_bytes(2, "big") + b"\0"


def select6(data: bytes, flags: int = 0x10) -> tuple[bytes, bytes]:
    return bytes((0x15, flags, 0, 0, len(data), 0)), data


def select10(data: bytes, flags: int = 0x10) -> tuple[bytes, bytes]:
    return bytes((0x55, flags)) + bytes(5) + len(data).to_bytes(2, "big") + b"\0", data


def pages(data: bytes) -> dict[int, bytes]:
    """The pages behind the header and block descriptor of MODE SENSE(6)."""
    found, at = {}, 4 + data[3]
    while at < len(data):
        found[data[at]] = data[at : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return found


@pytest.fixture(params=["disk", "cd"])
def unit(request: pytest.FixtureRequest) -> LogicalUnit:
    return disk() if request.param == "disk" else cdrom(Bytes())


CODES = {0x00: [0x01, 0x08, 0x0A, 0x1C], 0x05: [0x01, 0x0A, 0x0E, 0x1C, 0x2A]}


@pytest.mark.parametrize("subpage", [0, 0xFF])
def test_PVS_V_125_all_pages_ascending(unit: LogicalUnit, subpage: int) -> None:
    """Page 3F is every page, ascending; each is the same when asked for alone."""
    every = pages(ask(unit, sense6(0x3F, subpage=subpage)))

    assert list(every) == CODES[unit.device_type]
    for code, page in every.items():
        assert pages(ask(unit, sense6(code))) == {code: page}


def test_PVS_V_125_lengths_are_consistent(unit: LogicalUnit) -> None:
    """Mode data length counts what is really there, in both forms, with and without block descriptors."""
    for dbd in (False, True):
        short, long = ask(unit, sense6(0x3F, dbd=dbd)), ask(unit, sense10(0x3F, dbd=dbd))
        assert short[0] == len(short) - 1
        assert unpack_from(">H", long)[0] == len(long) - 2
        assert unpack_from(">H", long, 6)[0] == short[3]
        assert long[8:] == short[4:]
        assert (long[2], long[3]) == (short[1], short[2])


def test_PVS_V_125_dbd_leaves_block_descriptors_out() -> None:
    """A disk has a block descriptor unless DBD says not; a wide one with LLBAA."""
    unit = disk()

    assert ask(unit, sense6(0x08))[3:12].hex() == "08" + "00000800" + "00000200"
    assert ask(unit, sense6(0x08, dbd=True))[3] == 0
    wide = ask(unit, sense10(0x08, wide=True))
    assert (wide[4] & 1, wide[6:8].hex(), wide[8:24].hex()) == (1, "0010", f"{BLOCKS:016x}" + "0" * 8 + f"{BLOCK:08x}")
    assert ask(cdrom(Bytes()), sense6(0x2A))[3] == 0


def test_PVS_V_125_page_controls_have_the_same_pages(unit: LogicalUnit) -> None:
    """Current, changeable and default values have the same pages of the same sizes."""
    shapes = [
        {code: len(page) for code, page in pages(ask(unit, sense6(0x3F, control=control))).items()}
        for control in (0, 1, 2)
    ]

    assert shapes[0] == shapes[1] == shapes[2]


def test_PVS_V_125_nothing_is_saved(unit: LogicalUnit) -> None:
    """Saved values: 05/39/00."""
    assert send(unit, sense6(0x3F, control=3), room=255).code == s.SAVING_NOT_SUPPORTED


@pytest.mark.parametrize(
    "cdb",
    [
        sense6(0x00),
        sense6(0x05),
        sense6(0x3E),
        sense10(0x0A, subpage=5),
        sense6(0x08, subpage=1),
        sense6(0x3F, subpage=7),
    ],
)
def test_PVS_V_125_pages_and_subpages_there_are_not(unit: LogicalUnit, cdb: bytes) -> None:
    """An unknown page or subpage is an invalid field, not some other page."""
    assert send(unit, cdb, room=512).code == s.INVALID_FIELD_IN_CDB


def test_PVS_V_126_the_header_alone(unit: LogicalUnit) -> None:
    """MODE SENSE with an allocation of 4 returns the header, with the length of all of it."""
    whole = ask(unit, sense6(0x3F))

    assert ask(unit, sense6(0x3F, alloc=4)) == whole[:4]
    assert whole[0] > 4


def test_what_linux_looks_at() -> None:
    unit = disk()
    data = ask(unit, sense6(0x08))

    assert data[2] == 0x10  # DPOFUA, no WP
    assert pages(data)[8][2] == 0x04  # WCE, no RCD
    assert pages(ask(disk(write_cache=False), sense6(0x08)))[8][2] == 0


@pytest.mark.parametrize(
    ("code", "byte", "bit"), [(0x08, 2, 0x04), (0x0A, 2, 0x04), (0x0A, 4, 0x08)], ids=["WCE", "D_SENSE", "SWP"]
)
@pytest.mark.parametrize("long", [False, True])
def test_PVS_V_127_what_may_be_changed(code: int, byte: int, bit: int, long: bool) -> None:
    """MODE SELECT toggles WCE, D_SENSE and SWP, in either form; a reset brings the defaults back."""
    unit = disk()
    before = pages(ask(unit, sense6(code)))[code]
    assert pages(ask(unit, sense6(code, control=1)))[code][byte] & bit
    wanted = bytearray(before)
    wanted[byte] ^= bit

    cdb = select10(bytes(8) + wanted) if long else select6(bytes(4) + wanted)
    assert send(unit, *cdb).code == Status.GOOD

    assert pages(ask(unit, sense6(code)))[code] == wanted
    assert pages(ask(unit, sense6(code, control=2)))[code] == before
    unit.reset()
    soothe(unit)
    assert pages(ask(unit, sense6(code)))[code] == before


def test_PVS_V_127_all_or_nothing() -> None:
    """MODE SELECT with one bit that may not be changed is 05/26/00, and changes nothing at all."""
    unit = disk()
    current = pages(ask(unit, sense6(0x3F)))
    caching, control = bytearray(current[0x08]), bytearray(current[0x0A])
    caching[2] ^= 0x04
    control[3] ^= 0x10

    task = send(unit, *select6(bytes(4) + caching + control))

    assert (task.code, task.sense[15:18].hex()) == (s.INVALID_FIELD_IN_LIST, f"8000{4 + 20 + 3:02x}")
    assert pages(ask(unit, sense6(0x3F))) == current


PAGE_8 = bytes.fromhex("0812040000000000000000000000000000000000")


@pytest.mark.parametrize(
    ("data", "sense"),
    [
        (bytes(1), s.PARAMETER_LIST_LENGTH_ERROR),
        (bytes(3), s.PARAMETER_LIST_LENGTH_ERROR),
        (bytes(4) + PAGE_8[:1], s.PARAMETER_LIST_LENGTH_ERROR),
        (bytes(4) + PAGE_8[:19], s.PARAMETER_LIST_LENGTH_ERROR),
        (bytes((0, 0, 0, 8)) + bytes(4), s.PARAMETER_LIST_LENGTH_ERROR),
        (bytes(4) + b"\x08\x11" + bytes(17), s.INVALID_FIELD_IN_LIST),
        (bytes(4) + b"\x05\x02" + bytes(2), s.INVALID_FIELD_IN_LIST),
        (bytes(4) + b"\x3f\x00", s.INVALID_FIELD_IN_LIST),
        (bytes(4) + b"\x48" + PAGE_8[1:], s.INVALID_FIELD_IN_LIST),
        (bytes((0, 0, 0, 7)) + bytes(7), s.INVALID_FIELD_IN_LIST),
        (bytes((0, 0, 0, 8)) + bytes(6) + b"\x01\x00", s.INVALID_FIELD_IN_LIST),
        (bytes((0, 0, 0, 8)) + b"\0\0\0\x09\0\0\x02\0", s.INVALID_FIELD_IN_LIST),
    ],
)
def test_PVS_V_127_lists_that_are_wrong(data: bytes, sense: Sense) -> None:
    """MODE SELECT: what is cut short is 05/1A/00, what says something else 05/26/00."""
    task = send(disk(), *select6(data))

    assert (task.code, task.moved) == (sense, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(4),
        bytes((99, 0, 0, 0)) + PAGE_8,
        bytes((0, 0, 0, 8)) + bytes(6) + b"\x02\x00" + PAGE_8,
        bytes((0, 0, 0, 8)) + BLOCKS.to_bytes(4, "big") + bytes(2) + b"\x02\x00" + PAGE_8,
        bytes(4) + PAGE_8 + PAGE_8,
    ],
)
def test_lists_that_are_right(data: bytes) -> None:
    assert send(disk(), *select6(data)).code == Status.GOOD


def test_a_wide_block_descriptor() -> None:
    unit = disk()
    right = bytes((0, 0, 0, 0, 1, 0, 0, 16)) + BLOCKS.to_bytes(8, "big") + bytes(4) + BLOCK.to_bytes(4, "big")
    wrong = right[:-4] + (4096).to_bytes(4, "big")

    assert send(unit, *select10(right + PAGE_8)).code == Status.GOOD
    assert send(unit, *select10(wrong + PAGE_8)).code == s.INVALID_FIELD_IN_LIST


@pytest.mark.parametrize("flags", [0x00, 0x11, 0x01])
def test_only_pages_that_are_not_saved(flags: int) -> None:
    assert send(disk(), *select6(bytes(4), flags)).code == s.INVALID_FIELD_IN_CDB


def test_fewer_bytes_than_the_cdb_says() -> None:
    assert send(disk(), bytes((0x15, 0x10, 0, 0, 24, 0)), bytes(4)).code == s.PARAMETER_LIST_LENGTH_ERROR


def test_other_initiators_are_told_of_a_change() -> None:
    unit = disk()
    soothe(unit, nexus=1)

    send(unit, *select6(bytes(4) + PAGE_8))
    assert send(unit, TUR, nexus=1).code == Status.GOOD
    send(unit, *select6(bytes(4) + PAGE_8[:2] + bytes(18)))

    assert (send(unit, TUR).code, send(unit, TUR, nexus=1).code) == (Status.GOOD, s.MODE_CHANGED)


def test_a_cd_drive_says_whether_its_door_is_locked() -> None:
    unit = cdrom(None)

    assert pages(ask(unit, sense6(0x2A)))[0x2A][6] == 0x29
    send(unit, "1e 00 00 00 01 00")
    assert pages(ask(unit, sense6(0x2A)))[0x2A][6] == 0x2B
    assert pages(ask(unit, sense6(0x2A, control=2)))[0x2A][6] == 0x29


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        (
            "disk",
            "010ac0000000000000000000 0812040000000000000000000000000000000000 0a0a02100000000000000000"
            "1c0a08000000000000000000",
        ),
        (
            "cd",
            "010a00010000000000000000 0a0a02100000000000000000 0e0e040000000 04b0000000000000000"
            "1c0a08000000000000000000 2a143b007000290015900000000215900000000000 00",
        ),
    ],
    indirect=["unit"],
)
def test_pages_byte_by_byte(unit: LogicalUnit, expected: str) -> None:
    assert ask(unit, sense6(0x3F, dbd=True))[4:].hex() == expected.replace(" ", "")


@pytest.mark.parametrize(("flags", "pointer"), [(0x00, "cc0001"), (0x11, "c80001")])
def test_it_points_at_pf_or_sp(flags: int, pointer: str) -> None:
    assert send(disk(), *select6(bytes(4), flags)).sense[15:18].hex() == pointer
