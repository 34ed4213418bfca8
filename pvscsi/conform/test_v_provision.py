"""PVSCSI device rules 129, 130, 132 and 133: UNMAP, WRITE SAME, COMPARE AND WRITE, GET LBA STATUS."""

from itertools import pairwise
from struct import unpack_from
from typing import NamedTuple

import pytest

from pvscsi.conform.rig import DISK, Drive, MakeRig, Rig, pattern, told
from pvscsi.driver import Disk, Request, cdb

pytestmark = pytest.mark.unit
BLOCKS = {512: DISK, 4096: Drive(block=4096)}
THICK = Drive(thin=False)
LARGE = Drive(size=64 << 30)
EXTENT = 64 << 10  # bytes; whatever the granularity is, it divides this


class Limits(NamedTuple):
    """Of VPD page B0, in logical blocks; 0: none is told."""

    wsnz: int
    compare: int
    unmap_blocks: int
    unmap_ranges: int
    same: int


@pytest.fixture(params=BLOCKS)
def disk(request: pytest.FixtureRequest, make_rig: MakeRig) -> Disk:
    """A thin disk of each block size; it knows its own."""
    found = (make_rig() if request.param == 512 else make_rig({0: BLOCKS[request.param]})).disk()
    found.read_capacity()
    return found


def limits(disk: Disk) -> Limits:
    page = disk.inquiry(0xB0)
    blocks, ranges = unpack_from(">II", page, 20)
    return Limits(page[4] & 1, page[5], blocks, ranges, int.from_bytes(page[36:44], "big"))


def extent(disk: Disk) -> int:
    """Blocks of one."""
    return EXTENT // disk.block


def unmap(disk: Disk, *ranges: tuple[int, int]) -> str:
    """How it ended."""
    data = cdb.unmap_list(*ranges)
    return told(disk.run(cdb.unmap(len(data)), write=data))


# -- UNMAP -------------------------------------------------------------------------------------------------------------


def test_PVS_V_129_what_the_pages_say_of_it(make_rig: MakeRig) -> None:
    disk = make_rig({0: DISK, 1: THICK}).disk()
    other = Disk(disk.driver, 1)
    other.settle()

    assert disk.read_capacity().thin
    assert disk.inquiry(0xB2)[5] & 0x80
    assert limits(disk).unmap_blocks > 0
    assert limits(disk).unmap_ranges > 0
    assert not other.read_capacity().thin
    assert not other.inquiry(0xB2)[5] & 0xE0
    assert unmap(other, (0, 8)) == "05/20/00"


def test_PVS_V_129_nothing_to_do(disk: Disk) -> None:
    disk.write(0, pattern(disk.block))

    assert disk.run(cdb.unmap(0)).good
    assert unmap(disk) == "status 00"
    assert unmap(disk, (0, 0), (5, 0)) == "status 00"
    assert disk.read(0, 1) == pattern(disk.block)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_PVS_V_129_not_even_a_header(rig: Rig, length: int) -> None:
    assert told(rig.disk().run(cdb.unmap(length), write=bytes(length))) == "05/1A/00"


def test_PVS_V_129_more_descriptors_than_the_list_has(rig: Rig) -> None:
    disk = rig.disk()
    data = bytearray(cdb.unmap_list((0, 8)))
    data[2:4] = (64).to_bytes(2, "big")
    disk.write(0, pattern(512))

    request = disk.run(cdb.unmap(len(data)), write=data)

    assert told(request) in ("05/1A/00", "05/26/00")
    assert disk.read(0, 1) == pattern(512)


def test_PVS_V_129_only_what_is_named(disk: Disk) -> None:
    step = extent(disk)
    data = pattern(5 * EXTENT, 129)
    disk.write(0, data)

    assert unmap(disk, (step, step), (3 * step, step)) == "status 00"

    for n in (0, 2, 4):
        assert disk.read(n * step, step) == data[n * EXTENT : (n + 1) * EXTENT]


def test_PVS_V_129_what_reads_as_zeros(disk: Disk) -> None:
    step = extent(disk)
    disk.write(0, pattern(EXTENT, 129))
    disk.write(step, pattern(EXTENT, 130))

    unmap(disk, (0, 2 * step))
    found = [disk.read(0, 2 * step) for _ in range(2)]

    assert found[0] == found[1]
    assert found[0] == bytes(2 * EXTENT) or not disk.read_capacity().reads_zeros
    assert disk.read_capacity().reads_zeros == bool(disk.inquiry(0xB2)[5] & 0x1C)


def test_PVS_V_129_written_again(disk: Disk) -> None:
    unmap(disk, (0, extent(disk)))

    disk.write(3, pattern(disk.block, 129))

    assert disk.read(3, 1) == pattern(disk.block, 129)


def test_PVS_V_129_ranges_that_overlap(disk: Disk) -> None:
    step = extent(disk)
    disk.write(0, pattern(EXTENT))

    assert unmap(disk, (0, step), (step // 2, step), (0, 1)) == "status 00"


def test_PVS_V_129_as_many_ranges_as_are_told(rig: Rig) -> None:
    disk = rig.disk()
    most = limits(disk).unmap_ranges

    assert unmap(disk, *((n, 1) for n in range(min(most, 4094)))) == "status 00"
    if most < 4095:
        assert unmap(disk, *((n, 1) for n in range(most + 1))) == "05/26/00"


def test_PVS_V_129_as_many_blocks_as_are_told(make_rig: MakeRig) -> None:
    disk = make_rig({0: LARGE}).disk()
    most = limits(disk).unmap_blocks

    assert unmap(disk, (0, most)) == "status 00"
    assert unmap(disk, (0, most), (most, 1)) == "05/26/00"


@pytest.mark.parametrize("case", ["behind the last", "across the last", "overflow"])
def test_PVS_V_129_outside(disk: Disk, case: str) -> None:
    blocks = disk.read_capacity().blocks
    disk.write(blocks - 1, pattern(disk.block))
    bad = {"behind the last": (blocks, 1), "across the last": (blocks - 1, 2), "overflow": ((1 << 64) - 1, 2)}[case]

    assert unmap(disk, bad) == "05/21/00"
    assert disk.read(blocks - 1, 1) == pattern(disk.block)


def test_PVS_V_129_a_bad_range_behind_a_good_one(disk: Disk) -> None:
    step, blocks = extent(disk), disk.read_capacity().blocks
    disk.write(0, pattern(2 * EXTENT))

    answer = unmap(disk, (0, step), (blocks, 1))

    assert answer == "05/21/00"
    assert disk.read(0, step) in (pattern(EXTENT), bytes(EXTENT))
    assert disk.read(step, step) == pattern(2 * EXTENT)[EXTENT:]


def test_PVS_V_129_no_anchors(rig: Rig) -> None:
    data = cdb.unmap_list((0, 8))

    assert told(rig.disk().run(cdb.unmap(len(data), anchor=1), write=data)) == "05/24/00"


# -- WRITE SAME --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 16])
@pytest.mark.parametrize("count", [1, 7, 1000])
def test_PVS_V_130_one_block_over_and_over(disk: Disk, size: int, count: int) -> None:
    block = disk.block
    disk.write(0, pattern(8 * block, 1))
    disk.write(5 + count, pattern(block, 2))

    disk.must(cdb.write_same(5, count, size=size), write=pattern(block, 130))

    assert disk.read(0, 5) == pattern(8 * block, 1)[: 5 * block]
    assert disk.read(5, count) == pattern(block, 130) * count
    assert disk.read(5 + count, 1) == pattern(block, 2)


@pytest.mark.parametrize("size", [10, 16])
@pytest.mark.parametrize("data", ["zeros", "pattern"])
def test_PVS_V_130_with_unmap(disk: Disk, size: int, data: str) -> None:
    step = extent(disk)
    disk.write(0, pattern(3 * EXTENT))
    sent = bytes(disk.block) if data == "zeros" else pattern(disk.block, 130)

    disk.must(cdb.write_same(step, step, size=size, unmap=1), write=sent)

    assert disk.read(step, step) == sent * step
    assert disk.read(0, step) == pattern(3 * EXTENT)[:EXTENT]
    assert disk.read(2 * step, step) == pattern(3 * EXTENT)[2 * EXTENT :]


@pytest.mark.parametrize("with_unmap", [0, 1])
def test_PVS_V_130_without_data(disk: Disk, with_unmap: int) -> None:
    step = extent(disk)
    disk.write(0, pattern(EXTENT))

    request = disk.run(cdb.write_same(0, step, size=16, unmap=with_unmap, ndob=1))

    if told(request) == "05/24/00":
        pytest.skip("this device has no NDOB")
    assert told(request) == "status 00"
    assert disk.read(0, step) == bytes(EXTENT)


def test_PVS_V_130_without_unmap_on_a_disk_that_has_none(make_rig: MakeRig) -> None:
    disk = make_rig({0: THICK}).disk()

    assert disk.run(cdb.write_same(0, 8), write=pattern(512)).good
    assert told(disk.run(cdb.write_same(0, 8, unmap=1), write=bytes(512))) == "05/24/00"


@pytest.mark.parametrize("size", [10, 16])
def test_PVS_V_130_to_the_end(disk: Disk, size: int) -> None:
    blocks = disk.read_capacity().blocks
    disk.write(blocks - 20, pattern(20 * disk.block))
    refused = limits(disk).wsnz == 1

    request = disk.run(cdb.write_same(blocks - 16, 0, size=size), write=pattern(disk.block, 130))

    assert told(request) == ("05/24/00" if refused else "status 00")
    assert disk.read(blocks - 20, 4) == pattern(20 * disk.block)[: 4 * disk.block]
    assert refused or disk.read(blocks - 16, 16) == pattern(disk.block, 130) * 16


def test_PVS_V_130_as_many_blocks_as_are_told(make_rig: MakeRig) -> None:
    disk = make_rig({0: LARGE}).disk()
    most = limits(disk).same
    if not most:
        pytest.skip("this device tells no limit")

    assert told(disk.run(cdb.write_same(0, most + 1, size=16), write=bytes(512))) == "05/24/00"
    assert told(disk.run(cdb.write_same(0, min(most, 1 << 16), size=16), write=bytes(512))) == "status 00"


@pytest.mark.parametrize("size", [10, 16])
def test_PVS_V_130_outside(disk: Disk, size: int) -> None:
    blocks = disk.read_capacity().blocks
    disk.write(blocks - 1, pattern(disk.block))

    for lba, count in ((blocks, 1), (blocks - 1, 2)):
        assert told(disk.run(cdb.write_same(lba, count, size=size), write=bytes(disk.block))) == "05/21/00"

    assert disk.read(blocks - 1, 1) == pattern(disk.block)


@pytest.mark.parametrize("size", [10, 16])
@pytest.mark.parametrize("with_unmap", [0, 1])
def test_PVS_V_130_no_anchors(rig: Rig, size: int, with_unmap: int) -> None:
    request = rig.disk().run(cdb.write_same(0, 8, size=size, unmap=with_unmap, anchor=1), write=bytes(512))

    assert told(request) == "05/24/00"


@pytest.mark.parametrize("length", [8, 1024, 4096])
def test_PVS_V_130_data_of_another_size(rig: Rig, length: int) -> None:
    disk = rig.disk()
    disk.write(0, pattern(4096))

    request = disk.run(cdb.write_same(0, 8), write=b"z" * length)

    assert told(request).startswith("05/")
    assert disk.read(0, 8) == pattern(4096)


# -- COMPARE AND WRITE -------------------------------------------------------------------------------------------------


def swap(disk: Disk, lba: int, old: bytes, new: bytes) -> Request:
    return disk.run(cdb.compare_and_write(lba, len(old) // disk.block), write=old + new)


@pytest.mark.parametrize("count", [1, 2, 16])
def test_PVS_V_132_as_it_was(disk: Disk, count: int) -> None:
    old, new = pattern(count * disk.block, 1), pattern(count * disk.block, 2)
    disk.write(0, pattern(disk.block, 3))
    disk.write(1, old + pattern(disk.block, 4))

    request = swap(disk, 1, old, new)

    assert told(request) == "status 00"
    assert disk.read(0, count + 2) == pattern(disk.block, 3) + new + pattern(disk.block, 4)


def test_PVS_V_132_not_as_it_was(rig: Rig) -> None:
    disk = rig.disk()
    disk.write(1, pattern(1024, 1))

    for wrong in (0, 1, 511, 512, 1023):
        old = bytearray(pattern(1024, 1))
        old[wrong] ^= 1
        request = swap(disk, 1, bytes(old), pattern(1024, 2))
        assert told(request) == "0E/1D/00"
        assert request.sense is not None
        assert request.sense.information == wrong

    assert disk.read(1, 2) == pattern(1024, 1)


def test_PVS_V_132_no_blocks(rig: Rig) -> None:
    assert told(rig.disk().run(cdb.compare_and_write(0, 0))) == "status 00"


def test_PVS_V_132_as_many_blocks_as_are_told(rig: Rig) -> None:
    disk = rig.disk()
    most = limits(disk).compare
    disk.write(0, pattern(512 * most, 1))

    assert told(swap(disk, 0, pattern(512 * most, 1), pattern(512 * most, 2))) == "status 00"
    assert disk.read(0, most) == pattern(512 * most, 2)
    if most < 255:
        assert told(swap(disk, 0, bytes(512 * (most + 1)), bytes(512 * (most + 1)))) == "05/24/00"


def test_PVS_V_132_outside(disk: Disk) -> None:
    last = disk.read_capacity().last
    disk.write(last, pattern(disk.block))

    assert told(swap(disk, last, pattern(disk.block) * 2, bytes(2 * disk.block))) == "05/21/00"
    assert told(swap(disk, last + 1, bytes(disk.block), bytes(disk.block))) == "05/21/00"
    assert disk.read(last, 1) == pattern(disk.block)


@pytest.mark.parametrize("held", [False, True])
def test_PVS_V_132_one_of_many_wins(make_rig: MakeRig, held: bool) -> None:
    rig = make_rig({0: Drive(held=True)}) if held else make_rig()
    disk = rig.disk()
    was = pattern(512, 0)
    disk.write(9, was)

    for turn in range(1, 6):
        if held:
            rig.target.hold(0, True)
        sent = [
            disk.submit(cdb.compare_and_write(9, 1), write=was + pattern(512, 100 * turn + n), kick=n == 15)
            for n in range(16)
        ]
        if held:
            rig.go_on()
        disk.driver.wait(*sent)
        found = [told(request) for request in sent]
        assert sorted(found) == ["0E/1D/00"] * 15 + ["status 00"]
        was = pattern(512, 100 * turn + found.index("status 00"))
        assert disk.read(9, 1) == was


def test_PVS_V_132_writes_come_before_or_after(rig: Rig) -> None:
    disk = rig.disk()
    old, new = pattern(4096, 1), pattern(4096, 2)

    for turn in range(20):
        disk.write(0, old)
        swapped = disk.submit(cdb.compare_and_write(0, 8), write=old + new, kick=False)
        written = disk.submit(cdb.write(turn % 8, 1), write=pattern(512, 3))
        disk.driver.wait(swapped, written)

        assert written.good
        if told(swapped) == "status 00":
            found, at = disk.read(0, 8), 512 * (turn % 8)
            rest = (found[:at] + found[at + 512 :], found[at : at + 512])
            assert rest[0] == new[:at] + new[at + 512 :]
            assert rest[1] in (pattern(512, 3), new[at : at + 512])
        else:
            assert told(swapped) == "0E/1D/00"
            assert disk.read(turn % 8, 1) == pattern(512, 3)


# -- GET LBA STATUS ----------------------------------------------------------------------------------------------------


def stretches(disk: Disk, lba: int, room: int = 4096) -> list[tuple[int, int, int]]:
    """(LBA, blocks, status) of each; they lie one behind the other, from the LBA on."""
    data = disk.must(cdb.get_lba_status(lba, room), read=room).data
    length = int.from_bytes(data[:4], "big") + 4
    found = [unpack_from(">QIB", data, at) for at in range(8, min(length, len(data)), 16)]
    assert (length - 8) % 16 == 0
    for (first, count, _), (following, _, _) in pairwise(found):
        assert first + count == following
    return found


def test_PVS_V_133_mapped_and_not(disk: Disk) -> None:
    step = extent(disk)
    disk.write(0, pattern(4 * EXTENT))
    unmap(disk, (step, step))
    known = {lba + n: status for lba, count, status in stretches(disk, 0) for n in range(min(count, 4 * step))}

    assert [known[n * step] for n in (0, 2, 3)] == [0, 0, 0]
    assert known[step] in (0, 1)
    assert disk.read(step, step) == bytes(EXTENT) or not disk.read_capacity().reads_zeros


@pytest.mark.parametrize("lba", [0, 1, 777, -1])
def test_PVS_V_133_the_block_that_was_asked_for_comes_first(disk: Disk, lba: int) -> None:
    blocks = disk.read_capacity().blocks
    disk.write(0, pattern(EXTENT))

    found = stretches(disk, lba % blocks)

    first, count, status = found[0]
    assert first <= lba % blocks < first + count
    assert status in (0, 1, 2)
    assert all(first + count <= blocks for first, count, _ in found)


def test_PVS_V_133_clipped(disk: Disk) -> None:
    step = extent(disk)
    disk.write(0, pattern(3 * EXTENT))
    unmap(disk, (step, step))

    for room in (8, 24, 40):
        request = disk.run(cdb.get_lba_status(0, room), read=4096)
        assert told(request) == "status 00"
        assert len(request.data) <= room


def test_PVS_V_133_outside(disk: Disk) -> None:
    blocks = disk.read_capacity().blocks

    for lba in (blocks, blocks + 1, (1 << 64) - 1):
        assert told(disk.run(cdb.get_lba_status(lba, 24), read=24)) == "05/21/00"
