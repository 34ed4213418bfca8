"""PVSCSI device rules 125 to 127: mode pages."""

from struct import unpack_from

import pytest

from pvscsi.conform.rig import CD, DISK, Drive, MakeRig, Rig, pattern, told
from pvscsi.driver import Disk, cdb

pytestmark = pytest.mark.unit
DRIVES = {"disk": DISK, "cd": CD}
ALL, CACHING, CONTROL = 0x3F, 0x08, 0x0A
WCE, D_SENSE, SWP = 0x04, 0x04, 0x08  # bytes 2, 2 and 4 of their pages


@pytest.fixture(params=DRIVES)
def disk(request: pytest.FixtureRequest, make_rig: MakeRig) -> Disk:
    """A drive of each kind."""
    return (make_rig() if request.param == "disk" else make_rig({0: DRIVES[request.param]})).disk()


def sensed(disk: Disk, page: int, size: int = 6, **how: int) -> tuple[bytes, bytes, bytes]:
    """(header, block descriptor, pages) of MODE SENSE, with its lengths looked at."""
    data = disk.must(cdb.mode_sense(page, 250, size=size, **how), read=250).data
    head = 4 if size == 6 else 8
    length, described = (data[0] + 1, data[3]) if size == 6 else (unpack_from(">H", data)[0] + 2, data[7])
    assert length <= 250
    return data[:head], data[head : head + described], data[head + described : length]


def split(pages: bytes) -> dict[int, bytes]:
    """Page code -> the page, in the order they came."""
    found: dict[int, bytes] = {}
    while pages:
        length = pages[1] + 2
        assert not pages[0] & 0x40  # no subpage format
        assert len(pages) >= length
        found[pages[0] & 0x3F] = pages[:length]
        pages = pages[length:]
    return found


def select(disk: Disk, *pages: bytes, size: int = 6) -> str:
    """MODE SELECT of these pages; how it ended."""
    data = bytes(4 if size == 6 else 8) + b"".join(bytes((page[0] & 0x3F,)) + page[1:] for page in pages)
    return told(disk.run(cdb.mode_select(len(data), size=size), write=data))


def with_bit(page: bytes, byte: int, bit: int, on: bool) -> bytes:
    """The page with one bit set or clear."""
    return page[:byte] + bytes((page[byte] | bit if on else page[byte] & ~bit,)) + page[byte + 1 :]


@pytest.mark.parametrize("size", [6, 10])
@pytest.mark.parametrize("control", [0, 1, 2])
def test_PVS_V_125_all_pages_ascending(disk: Disk, size: int, control: int) -> None:
    _, _, pages = sensed(disk, ALL, size, control=control)

    codes = list(split(pages))
    assert codes
    assert codes == sorted(set(codes))


@pytest.mark.parametrize("size", [6, 10])
@pytest.mark.parametrize("control", [0, 1, 2])
def test_PVS_V_125_each_page_is_as_in_all_of_them(disk: Disk, size: int, control: int) -> None:
    whole = split(sensed(disk, ALL, size, control=control)[2])

    for code, page in whole.items():
        assert sensed(disk, code, size, control=control)[2] == page


def test_PVS_V_125_same_sizes_whatever_is_asked_of_them(disk: Disk) -> None:
    sizes = [
        {code: len(page) for code, page in split(sensed(disk, ALL, control=control)[2]).items()}
        for control in (0, 1, 2)
    ]

    assert sizes[0] == sizes[1] == sizes[2]


def test_PVS_V_125_current_is_default_where_nothing_was_changed(disk: Disk) -> None:
    disk.driver.reset_device(0)
    disk.settle()

    assert sensed(disk, ALL, control=0)[2] == sensed(disk, ALL, control=2)[2]


@pytest.mark.parametrize("size", [6, 10])
def test_PVS_V_125_block_descriptor(disk: Disk, size: int) -> None:
    with_one, without = sensed(disk, ALL, size), sensed(disk, ALL, size, dbd=1)

    assert len(with_one[1]) in (0, 8)
    assert without[1] == b""
    assert with_one[2] == without[2]


@pytest.mark.parametrize("size", [6, 10])
@pytest.mark.parametrize("block", [512, 4096])
def test_PVS_V_125_block_descriptor_of_a_disk(make_rig: MakeRig, size: int, block: int) -> None:
    disk = make_rig({0: Drive(block=block)}).disk()

    descriptor = sensed(disk, CACHING, size)[1]

    assert int.from_bytes(descriptor[5:8], "big") == block
    assert int.from_bytes(descriptor[1:4], "big") in (0, DISK.size // block)


def test_PVS_V_125_long_block_descriptor(rig: Rig) -> None:
    disk = rig.disk()

    data = disk.run(cdb.mode_sense(CACHING, 250, size=10, llbaa=1), read=250).data

    described = data[7]
    assert described in (8, 16)
    assert data[4] & 1 == (described == 16)
    assert data[8 + described] & 0x3F == CACHING
    assert int.from_bytes(data[8 + described - 3 : 8 + described], "big") == 512


@pytest.mark.parametrize("size", [6, 10])
@pytest.mark.parametrize("page", [ALL, CONTROL])
def test_PVS_V_125_nothing_is_saved(disk: Disk, size: int, page: int) -> None:
    assert told(disk.run(cdb.mode_sense(page, size=size, control=3), read=255)) == "05/39/00"


@pytest.mark.parametrize("size", [6, 10])
def test_PVS_V_125_pages_there_are_not(disk: Disk, size: int) -> None:
    there = split(sensed(disk, ALL)[2])

    for code in range(1, ALL):
        if code not in there:
            assert told(disk.run(cdb.mode_sense(code, size=size), read=255)) == "05/24/00"


@pytest.mark.parametrize(("page", "subpage"), [(CONTROL, 5), (CONTROL, 1), (CACHING, 1), (0x19, 1)])
def test_PVS_V_125_subpages_there_are_not(rig: Rig, page: int, subpage: int) -> None:
    disk = rig.disk()

    for size in (6, 10):
        request = disk.run(cdb.mode_sense(page, 255, size=size, subpage=subpage, dbd=1), read=255)
        assert told(request) == "05/24/00"


def test_PVS_V_125_control_page(disk: Disk) -> None:
    assert CONTROL in split(sensed(disk, ALL)[2])


@pytest.mark.parametrize("size", [6, 10])
def test_PVS_V_125_pages_and_subpages(disk: Disk, size: int) -> None:
    assert split(sensed(disk, ALL, size, subpage=0xFF)[2]) == split(sensed(disk, ALL, size)[2])


@pytest.mark.parametrize("size", [6, 10])
@pytest.mark.parametrize("page", ["first", "all"])
def test_PVS_V_126_clipped(disk: Disk, size: int, page: str) -> None:
    code = ALL if page == "all" else next(iter(split(sensed(disk, ALL)[2])))
    whole = b"".join(sensed(disk, code, size))

    for room in range(min(len(whole), 20) + 1):
        request = disk.run(cdb.mode_sense(code, room, size=size), read=room)
        assert told(request) == "status 00"
        assert request.data == whole[:room]


@pytest.mark.parametrize("size", [6, 10])
@pytest.mark.parametrize("on", [False, True])
def test_PVS_V_127_write_cache(rig: Rig, size: int, on: bool) -> None:
    disk = rig.disk()
    assert disk.mode_page(CACHING, control=1)[2] & WCE
    before = disk.mode_page(CACHING)

    answer = select(disk, with_bit(before, 2, WCE, on), size=size)

    assert answer == "status 00"
    assert disk.mode_page(CACHING) == with_bit(before, 2, WCE, on)
    disk.write(0, pattern(512, size))
    assert disk.read(0, 1) == pattern(512, size)
    assert select(disk, before, size=size) == "status 00"


def test_PVS_V_127_what_was_written_before_is_flushed(make_rig: MakeRig) -> None:
    rig = make_rig({0: Drive(volatile=True)})
    disk = rig.disk()
    disk.write(0, pattern(32768))

    select(disk, with_bit(disk.mode_page(CACHING), 2, WCE, False))
    rig.target.power_cut(0)

    assert disk.read(0, 64) == pattern(32768)


def test_PVS_V_127_sense_format(rig: Rig) -> None:
    disk = rig.disk()
    if not disk.mode_page(CONTROL, control=1)[2] & D_SENSE:
        pytest.skip("this device's D_SENSE cannot be changed")

    select(disk, with_bit(disk.mode_page(CONTROL), 2, D_SENSE, True))
    changed = disk.run(cdb.read(1 << 30, 1), read=512).sense
    select(disk, with_bit(disk.mode_page(CONTROL), 2, D_SENSE, False))
    again = disk.run(cdb.read(1 << 30, 1), read=512).sense

    assert changed is not None
    assert again is not None
    assert [str(changed), str(again)] == ["05/21/00"] * 2
    assert [changed.fixed, again.fixed] == [False, True]


def test_PVS_V_127_software_write_protection(rig: Rig) -> None:
    disk = rig.disk()
    if not disk.mode_page(CONTROL, control=1)[4] & SWP:
        pytest.skip("this device's SWP cannot be changed")
    disk.write(0, pattern(512))

    select(disk, with_bit(disk.mode_page(CONTROL), 4, SWP, True))
    header = sensed(disk, ALL)[0]
    refused = told(disk.run(cdb.write(0, 1), write=bytes(512)))
    kept = disk.read(0, 1)
    select(disk, with_bit(disk.mode_page(CONTROL), 4, SWP, False))

    assert header[2] & 0x80
    assert refused in ("07/27/00", "07/27/02")
    assert kept == pattern(512)
    disk.write(0, bytes(512))


def test_PVS_V_127_bits_that_do_not_change(rig: Rig) -> None:
    disk = rig.disk()
    pages, free = split(sensed(disk, ALL, control=0)[2]), split(sensed(disk, ALL, control=1)[2])

    for code, page in pages.items():
        for at in range(2, len(page)):
            bit = next((1 << n for n in range(8) if not free[code][at] >> n & 1), None)
            if bit is not None:
                assert select(disk, with_bit(page, at, bit, not page[at] & bit)) == "05/26/00", f"{code:02X} {at}"

    assert split(sensed(disk, ALL)[2]) == pages


def test_PVS_V_127_all_of_it_or_nothing(rig: Rig) -> None:
    disk = rig.disk()
    caching, control = disk.mode_page(CACHING), disk.mode_page(CONTROL)
    good = with_bit(caching, 2, WCE, not caching[2] & WCE)
    bad = with_bit(control, 5, 0xFF, on=not control[5])

    answer = select(disk, good, bad)

    assert answer == "05/26/00"
    assert disk.mode_page(CACHING) == caching


@pytest.mark.parametrize("size", [6, 10])
def test_PVS_V_127_truncated(rig: Rig, size: int) -> None:
    disk = rig.disk()
    page = disk.mode_page(CACHING)
    data = bytes(4 if size == 6 else 8) + with_bit(page, 2, WCE, not page[2] & WCE)

    for cut in range(1, len(page)):
        request = disk.run(cdb.mode_select(len(data) - cut, size=size), write=data[:-cut])
        assert told(request) == "05/1A/00"

    assert disk.mode_page(CACHING) == page


@pytest.mark.parametrize("size", [6, 10])
def test_PVS_V_127_not_even_a_header(rig: Rig, size: int) -> None:
    disk = rig.disk()

    for length in range(1, 4):
        assert told(disk.run(cdb.mode_select(length, size=size), write=bytes(length))) == "05/1A/00"


BAD_LISTS = {
    "page 3F": bytes((ALL, 10)) + bytes(10),
    "page there is not": bytes((0x31, 10)) + bytes(10),
    "page too short": bytes((CACHING, 10)) + bytes(10),
    "page too long": bytes((CACHING, 255)) + bytes(200),
    "subpage format": bytes((0x40 | CONTROL, 1, 0, 8)) + bytes(8),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_PVS_V_127_pages_that_may_not_be(rig: Rig, name: str) -> None:
    disk = rig.disk()
    before = sensed(disk, ALL)

    answer = select(disk, BAD_LISTS[name])
    raw = told(disk.run(cdb.mode_select(4 + len(BAD_LISTS[name])), write=bytes(4) + BAD_LISTS[name]))

    assert {answer, raw} <= {"05/26/00", "05/1A/00"}
    assert sensed(disk, ALL) == before


@pytest.mark.parametrize("block", [0, 256, 513, 1 << 20])
def test_PVS_V_127_block_sizes_that_may_not_be(rig: Rig, block: int) -> None:
    disk = rig.disk()
    data = bytes((0, 0, 0, 8)) + bytes(5) + block.to_bytes(3, "big")

    request = disk.run(cdb.mode_select(len(data)), write=data)
    disk.driver.reset_device(0)
    disk.settle()

    assert told(request) in ("05/26/00", "status 00")
    assert disk.read_capacity().block == 512


def test_PVS_V_127_what_was_read_can_be_selected(disk: Disk) -> None:
    data = bytearray(disk.must(cdb.mode_sense(ALL, 255), read=255).data)
    data = data[: data[0] + 1]
    data[:3] = bytes(3)

    request = disk.run(cdb.mode_select(len(data)), write=data)

    assert told(request) == "status 00"


@pytest.mark.parametrize("size", [6, 10])
def test_PVS_V_127_an_empty_list(disk: Disk, size: int) -> None:
    before = sensed(disk, ALL)

    assert disk.run(cdb.mode_select(0, size=size)).good
    assert sensed(disk, ALL) == before


@pytest.mark.parametrize("size", [6, 10])
def test_PVS_V_127_pages_are_not_saved(rig: Rig, size: int) -> None:
    disk = rig.disk()
    page = disk.mode_page(CACHING)
    data = bytes(4 if size == 6 else 8) + page

    assert told(disk.run(cdb.mode_select(len(data), size=size, sp=1), write=data)) == "05/24/00"
