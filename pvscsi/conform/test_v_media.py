"""PVSCSI device rules 119 to 124, 128 and 131: reading, writing, verifying and flushing blocks."""

from typing import Any

import pytest

from pvscsi.conform.rig import Drive, MakeRig, Rig, pattern, told
from pvscsi.driver import Disk, cdb
from pvscsi.driver.scsi import Capacity

pytestmark = pytest.mark.unit
SIZES = (6, 10, 12, 16)
LONG = (10, 12, 16)
BLOCKS = {512: Drive(), 4096: Drive(block=4096)}
READ_ONLY = Drive(read_only=True)
VOLATILE = Drive(volatile=True)
DPOFUA, WP = 0x10, 0x80


@pytest.fixture(params=BLOCKS)
def disk(request: pytest.FixtureRequest, make_rig: MakeRig) -> Disk:
    """A disk of each block size; it knows its own."""
    found = (make_rig() if request.param == 512 else make_rig({0: BLOCKS[request.param]})).disk()
    found.read_capacity()
    return found


def device_specific(disk: Disk) -> int:
    """The device-specific parameter of the mode header."""
    return disk.must(cdb.mode_sense(0x3F), read=255).data[2]


# -- what is where -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_PVS_V_119_first_middle_and_last_block(disk: Disk, size: int) -> None:
    last = disk.read_capacity().last
    places = (0, last // 2, last)
    for lba in places:
        disk.write(lba, pattern(disk.block, lba + size), size=size)

    assert [disk.read(lba, 1, size=size) for lba in places] == [pattern(disk.block, lba + size) for lba in places]


@pytest.mark.parametrize("size", SIZES)
def test_PVS_V_119_only_the_blocks_that_are_named(disk: Disk, size: int) -> None:
    block = disk.block
    disk.write(0, pattern(20 * block, 1))

    disk.write(5, pattern(9 * block, 2), size=size)

    assert (
        disk.read(0, 20)
        == pattern(20 * block, 1)[: 5 * block] + pattern(9 * block, 2) + pattern(20 * block, 1)[-6 * block :]
    )


@pytest.mark.parametrize("size", SIZES)
def test_PVS_V_119_all_sizes_mean_the_same_blocks(disk: Disk, size: int) -> None:
    disk.write(0x123, pattern(4 * disk.block, size))

    assert disk.read(0x123, 4, size=size) == pattern(4 * disk.block, size)


def test_PVS_V_119_six_bytes_with_length_0(disk: Disk) -> None:
    disk.write(3, pattern(256 * disk.block, 6))

    found = disk.must(cdb.read(3, 0, size=6), read=256 * disk.block).data
    disk.must(cdb.write(400, 0, size=6), write=found)

    assert found == pattern(256 * disk.block, 6)
    assert disk.read(400, 256) == found


@pytest.mark.parametrize("size", [10, 16])
def test_PVS_V_119_far_up(make_rig: MakeRig, size: int) -> None:
    disk = make_rig({0: Drive(size=3 << 40)}).disk()
    lba = 0xFFFF_FF00 if size == 10 else 0x1_0000_0005

    disk.write(lba, pattern(512, size), size=size)

    assert disk.read(lba, 1) == pattern(512, size)
    assert disk.read(lba & 0xFFFF, 1) != pattern(512, size)


OUTSIDE: dict[str, tuple[int, int]] = {  # (LBA from the end, blocks)
    "one block behind the last": (0, 1),
    "two, one of them there": (-1, 2),
    "far behind": (1 << 20, 1),
    "up to the last address": (0xF000_0000, 8),
}


@pytest.mark.parametrize("size", LONG)
@pytest.mark.parametrize("case", OUTSIDE)
def test_PVS_V_120_outside(rig: Rig, size: int, case: str) -> None:
    disk = rig.disk()
    capacity, block = disk.read_capacity(), disk.block
    disk.write(capacity.last, pattern(block, 120))
    distance, blocks = OUTSIDE[case]
    lba = capacity.blocks + distance

    read = disk.run(cdb.read(lba, blocks, size=size), read=blocks * block)
    write = disk.run(cdb.write(lba, blocks, size=size), write=bytes(blocks * block))

    assert [told(read), told(write)] == ["05/21/00"] * 2
    assert [read.moved, write.moved] == [0, 0]
    assert disk.read(capacity.last, 1) == pattern(block, 120)


@pytest.mark.parametrize("lba", [(1 << 64) - 1, (1 << 64) - 2, 1 << 63])
def test_PVS_V_120_sums_that_overflow(disk: Disk, lba: int) -> None:
    disk.write(0, pattern(disk.block, 120))

    read = disk.run(cdb.read(lba, 2, size=16), read=2 * disk.block)
    write = disk.run(cdb.write(lba, 2, size=16), write=bytes(2 * disk.block))

    assert [told(read), told(write)] == ["05/21/00"] * 2
    assert disk.read(0, 1) == pattern(disk.block, 120)


@pytest.mark.parametrize("make", [cdb.read, cdb.write, cdb.verify])
@pytest.mark.parametrize("behind", [0, 1])
def test_PVS_V_121_no_blocks(disk: Disk, make: Any, behind: int) -> None:
    blocks = disk.read_capacity().blocks

    for size in LONG:
        found = [told(disk.run(make(lba, 0, size=size))) for lba in (0, blocks - 1, blocks + behind)]
        assert found == ["status 00", "status 00", "05/21/00"]


# -- fields of the CDB -------------------------------------------------------------------------------------------------

PROTECTED: dict[str, bytes] = {
    **{f"READ({size})": cdb.read(0, 1, size=size) for size in LONG},
    **{f"WRITE({size})": cdb.write(0, 1, size=size) for size in LONG},
    **{f"WRITE AND VERIFY({size})": cdb.write_and_verify(0, 1, size=size) for size in LONG},
    **{f"VERIFY({size})": cdb.verify(0, 1, size=size, bytchk=1) for size in LONG},
    "WRITE SAME(10)": cdb.write_same(0, 1),
    "WRITE SAME(16)": cdb.write_same(0, 1, size=16),
}


@pytest.mark.parametrize("name", PROTECTED)
def test_PVS_V_122_protection_there_is_not(rig: Rig, name: str) -> None:
    disk = rig.disk()
    disk.write(0, pattern(512, 122))
    how: dict[str, Any] = {"read": 512} if name.startswith("READ") else {"write": bytes(512)}
    plain = PROTECTED[name]

    found = {told(disk.run(bytes((plain[0], plain[1] | bits << 5)) + plain[2:], **how)) for bits in (1, 3, 4, 7)}

    assert found == {"05/24/00"}
    assert disk.read(0, 1) == pattern(512, 122)


@pytest.mark.parametrize("size", LONG)
@pytest.mark.parametrize("bits", ["fua", "dpo"])
def test_PVS_V_123_accepted_as_the_mode_header_says(rig: Rig, size: int, bits: str) -> None:
    disk = rig.disk()
    wanted = "status 00" if device_specific(disk) & DPOFUA else "05/24/00"

    write = disk.run(cdb.write(1, 1, size=size, **{bits: 1}), write=pattern(512))
    read = disk.run(cdb.read(1, 1, size=size, **{bits: 1}), read=512)

    assert [told(write), told(read)] == [wanted] * 2


@pytest.mark.parametrize("size", LONG)
def test_PVS_V_123_survives_a_power_cut(make_rig: MakeRig, size: int) -> None:
    rig = make_rig({0: VOLATILE})
    disk = rig.disk()
    for n in range(0, 64, 2):
        disk.write(n, pattern(512, n), size=size, fua=1)
        disk.write(n + 1, pattern(512, n + 1), size=size)

    rig.target.power_cut(0)

    assert [disk.read(n, 1) for n in range(0, 64, 2)] == [pattern(512, n) for n in range(0, 64, 2)]


def test_PVS_V_123_without_a_write_cache_every_write_does(make_rig: MakeRig) -> None:
    rig = make_rig({0: VOLATILE})
    disk = rig.disk()
    page = bytearray(disk.mode_page(8))
    page[2] &= ~0x04
    disk.must(cdb.mode_select(4 + len(page)), write=bytes(4) + bytes((page[0] & 0x3F,)) + page[1:])

    disk.write(0, pattern(64 * 512, 123))
    rig.target.power_cut(0)

    assert disk.read(0, 64) == pattern(64 * 512, 123)


WRITES: dict[str, tuple[bytes, bytes]] = {
    "WRITE(6)": (cdb.write(0, 1, size=6), bytes(512)),
    "WRITE(10)": (cdb.write(0, 1), bytes(512)),
    "WRITE(12)": (cdb.write(0, 1, size=12), bytes(512)),
    "WRITE(16)": (cdb.write(0, 1, size=16), bytes(512)),
    "WRITE AND VERIFY(10)": (cdb.write_and_verify(0, 1), bytes(512)),
    "WRITE AND VERIFY(16)": (cdb.write_and_verify(0, 1, size=16), bytes(512)),
    "WRITE SAME(10)": (cdb.write_same(0, 1), bytes(512)),
    "WRITE SAME(16)": (cdb.write_same(0, 1, size=16), bytes(512)),
    "UNMAP": (cdb.unmap(24), cdb.unmap_list((0, 8))),
    "COMPARE AND WRITE": (cdb.compare_and_write(0, 1), bytes(1024)),
    "FORMAT UNIT": (bytes((0x04, 0, 0, 0, 0, 0)), b""),
}


@pytest.mark.parametrize("name", WRITES)
def test_PVS_V_124_a_read_only_unit(make_rig: MakeRig, name: str) -> None:
    disk = make_rig({0: READ_ONLY}).disk()
    command, data = WRITES[name]

    request = disk.run(command, write=data)

    assert told(request) == "07/27/00"
    assert disk.read(0, 8) == bytes(4096)


def test_PVS_V_124_says_so(make_rig: MakeRig) -> None:
    disk = make_rig({0: READ_ONLY, 1: Drive()}).disk()
    other = Disk(disk.driver, 1)
    other.settle()

    assert device_specific(disk) & WP
    assert not device_specific(other) & WP


def test_PVS_V_124_is_read_and_flushed_all_the_same(make_rig: MakeRig) -> None:
    disk = make_rig({0: READ_ONLY}).disk()

    assert disk.run(cdb.synchronize_cache()).good
    assert disk.run(cdb.verify(0, 8)).good
    assert disk.read(100, 8) == bytes(4096)


# -- flushing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 16])
@pytest.mark.parametrize("immed", [0, 1])
def test_PVS_V_128_flush(disk: Disk, size: int, immed: int) -> None:
    blocks = disk.read_capacity().blocks
    disk.write(0, pattern(disk.block))

    for lba, count in ((0, 0), (0, 8), (5, 0), (blocks - 1, 1)):
        assert disk.run(cdb.synchronize_cache(lba, count, size=size, immed=immed)).good

    assert disk.read(0, 1) == pattern(disk.block)


@pytest.mark.parametrize("size", [10, 16])
def test_PVS_V_128_what_was_flushed_survives(make_rig: MakeRig, size: int) -> None:
    rig = make_rig({0: VOLATILE})
    disk = rig.disk()
    for n in range(64):
        disk.write(n, pattern(512, n), size=size)

    disk.must(cdb.synchronize_cache(size=size))
    for n in range(64, 128):
        disk.write(n, pattern(512, n), size=size)
    rig.target.power_cut(0)

    assert [disk.read(n, 1) for n in range(64)] == [pattern(512, n) for n in range(64)]


@pytest.mark.parametrize("size", [10, 16])
def test_PVS_V_128_outside(disk: Disk, size: int) -> None:
    blocks = disk.read_capacity().blocks

    assert told(disk.run(cdb.synchronize_cache(blocks, 1, size=size))) == "05/21/00"
    assert told(disk.run(cdb.synchronize_cache(blocks - 1, 2, size=size))) == "05/21/00"


# -- verifying ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", LONG)
def test_PVS_V_131_the_medium_alone(disk: Disk, size: int) -> None:
    capacity: Capacity = disk.read_capacity()

    assert disk.run(cdb.verify(0, 64, size=size)).good
    assert disk.run(cdb.verify(capacity.last, 1, size=size)).good
    assert told(disk.run(cdb.verify(capacity.last, 2, size=size))) == "05/21/00"


@pytest.mark.parametrize("size", LONG)
def test_PVS_V_131_against_data(rig: Rig, size: int) -> None:
    disk = rig.disk()
    disk.write(7, pattern(4096, 131))

    assert told(disk.run(cdb.verify(7, 8, size=size, bytchk=1), write=pattern(4096, 131))) == "status 00"
    for wrong in (0, 511, 700, 4095):
        data = bytearray(pattern(4096, 131))
        data[wrong] ^= 0xFF
        request = disk.run(cdb.verify(7, 8, size=size, bytchk=1), write=data)
        assert told(request) == "0E/1D/00"
        assert request.sense is not None
        assert request.sense.information == wrong


@pytest.mark.parametrize("size", LONG)
def test_PVS_V_131_one_block_for_all(rig: Rig, size: int) -> None:
    disk = rig.disk()
    disk.write(7, pattern(512, 131) * 8)
    same = disk.run(cdb.verify(7, 8, size=size, bytchk=3), write=pattern(512, 131))
    disk.write(12, pattern(512, 132))

    other = disk.run(cdb.verify(7, 8, size=size, bytchk=3), write=pattern(512, 131))

    assert [told(same), told(other)] == ["status 00", "0E/1D/00"]


@pytest.mark.parametrize("size", LONG)
@pytest.mark.parametrize("make", [cdb.verify, cdb.write_and_verify])
def test_PVS_V_131_the_reserved_way(rig: Rig, size: int, make: Any) -> None:
    disk = rig.disk()
    disk.write(0, pattern(512, 131))

    request = disk.run(make(0, 1, size=size, bytchk=2), write=bytes(512))

    assert told(request) == "05/24/00"
    assert disk.read(0, 1) == pattern(512, 131)


@pytest.mark.parametrize("size", LONG)
@pytest.mark.parametrize("bytchk", [0, 1])
def test_PVS_V_131_write_and_verify(disk: Disk, size: int, bytchk: int) -> None:
    data = pattern(8 * disk.block, size + bytchk)

    disk.must(cdb.write_and_verify(9, 8, size=size, bytchk=bytchk), write=data)

    assert disk.read(9, 8) == data


def test_PVS_V_131_write_and_verify_is_durable(make_rig: MakeRig) -> None:
    rig = make_rig({0: VOLATILE})
    disk = rig.disk()

    disk.must(cdb.write_and_verify(0, 64), write=pattern(64 * 512, 131))
    rig.target.power_cut(0)

    assert disk.read(0, 64) == pattern(64 * 512, 131)
