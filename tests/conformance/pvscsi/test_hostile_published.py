"""What brought other adapters down: published faults of QEMU and VMware, each as a driver would set it off.

Wherever a case ends, the adapter works after ADAPTER_RESET.
"""

from itertools import pairwise

import pytest

from pvscsi import wire
from pvscsi.conform.inside import ModelBench, ServedBench
from pvscsi.conform.rig import Drive, MakeRig, Rig, pattern
from pvscsi.driver import Disk, cdb
from pvscsi.driver.memory import Piece, addresses
from pvscsi.driver.rings import CMP_PROD, MSG_PROD, REQ_CONS, REQ_PROD
from pvscsi.wire import PAGE, STATUS_FAILED, Cmd, Flag, HostStatus
from tests.conformance.pvscsi.told import assert_alive, rings_of, seen

BENCHES = (ModelBench(), ServedBench())
IN, OUT, LIST = int(Flag.DIR_TOHOST), int(Flag.DIR_TODEVICE), int(Flag.CMD_WITH_SG_LIST)
COUNTS = [0, 3, 33, 1023, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]


@pytest.fixture
def disk(rig: Rig) -> Disk:
    return rig.disk(driver=rig.driver(strict=False))


def setup(disk: Disk, requests: int, completions: int) -> int:
    """SETUP_RINGS with so many pages, every slot filled; COMMAND_STATUS."""
    pages = addresses(disk.driver.memory.pages(3))
    argument = wire.SETUP_RINGS.encode(
        reqRingNumPages=requests,
        cmpRingNumPages=completions,
        ringsStatePPN=pages[0],
        reqRingPPNs=[pages[1]] * 32,
        cmpRingPPNs=[pages[2]] * 32,
    )
    return disk.driver.command(Cmd.SETUP_RINGS, argument)


@pytest.mark.parametrize("count", COUNTS)
def test_CVE_2016_4952_7155_ring_pages_are_counted_before_use(rig: Rig, disk: Disk, count: int) -> None:
    """Counts used as an index into 32 page numbers, and rounded to a power of two in a loop without end."""
    assert [setup(disk, count, 1), setup(disk, 1, count)] == [STATUS_FAILED] * 2

    assert disk.run(cdb.inquiry(), read=36).good
    assert_alive(rig)


@pytest.mark.parametrize("count", [*COUNTS, 17, 32])
def test_CVE_2016_4952_2017_8112_message_pages_are_counted_before_use(rig: Rig, disk: Disk, count: int) -> None:
    (ppn,) = addresses(disk.driver.memory.pages(1))

    answer = disk.driver.command(Cmd.SETUP_MSG_RING, wire.SETUP_MSG_RING.encode(numPages=count, ringPPNs=[ppn] * 16))
    rig.model.plug(3, Drive())

    assert answer == STATUS_FAILED
    assert rings_of(disk.driver).state[MSG_PROD] == 1  # the ring there was goes on
    assert_alive(rig)


@pytest.mark.parametrize("size", [1 << 32, (1 << 32) + 512, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("rows", [[(512, 0)], [(512, 0), (0, 0)], [(0xFFFF_FFFF, 0)] * 4])
def test_CVE_2016_7156_data_lengths_of_64_bits(rig: Rig, disk: Disk, size: int, rows: list[tuple[int, int]]) -> None:
    """A length cut to 32 bits is 0, and a loop that waits for it to shrink never ends."""
    page, buffer = disk.driver.memory.pages(2)
    page.view[:] = bytes(PAGE)
    data = b"".join(wire.SG_ELEMENT.struct.pack(buffer.address, *row) for row in rows)
    page.view[: len(data)] = data

    request = disk.run(cdb.read(0, 1), flags=IN | LIST, dataAddr=page.address, dataLen=size)

    assert (request.good, request.moved) == (True, 512)
    assert_alive(rig)


@pytest.mark.parametrize("ahead", [33, 1024, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_CVE_2016_7421_no_more_requests_than_the_ring_holds(make_rig: MakeRig, ahead: int) -> None:
    rig = make_rig()
    disk = rig.disk(driver=rig.driver(strict=False, req_pages=1, cmp_pages=1))
    rings = rings_of(disk.driver)
    before = rings.state[REQ_CONS], rings.state[CMP_PROD]

    rings.state[REQ_PROD] = rings.req_prod + ahead & 0xFFFF_FFFF
    disk.driver.kick_others()
    rig.settle()

    assert (rings.state[REQ_CONS], rings.state[CMP_PROD]) == before
    assert_alive(rig)


@pytest.mark.parametrize("opcode", [0x60, 0x61, 0x7E, 0x7F, 0xC0, 0xC1, 0xDF, 0xE0, 0xFE, 0xFF])
@pytest.mark.parametrize("length", [0, 1, 16, 17, 255])
def test_CVE_2015_5158_cdbs_of_no_known_group(rig: Rig, disk: Disk, opcode: int, length: int) -> None:
    request = disk.run(bytes((opcode,)) * 16, read=512, cdbLen=length)

    refused = (request.host, request.moved) == (HostStatus.INVPARAM, 0)
    assert refused or (request.host == HostStatus.SUCCESS and request.status == 2)
    assert_alive(rig)


@pytest.mark.parametrize("size", [16, 4096])
def test_CVE_2013_4344_as_many_units_as_there_can_be(make_rig: MakeRig, size: int) -> None:
    """256 units of one target are more than the fixed buffer of REPORT LUNS had room for."""
    rig = make_rig({0: Drive(size=1 << 20, luns=256)})
    disk = rig.disk()

    request = disk.run(cdb.report_luns(size), read=size)

    assert int.from_bytes(request.data[:4], "big") == 8 * 256
    assert request.moved == min(size, 8 + 8 * 256)
    assert [request.data[at + 1] for at in range(8, request.moved, 8)] == list(range((request.moved - 8) // 8))
    assert_alive(rig)


@pytest.mark.parametrize("size", [6, 10])
@pytest.mark.parametrize("page", [0x3F, 0x3E, 0x7F])
def test_CVE_2021_3930_mode_select_of_all_pages(rig: Rig, disk: Disk, size: int, page: int) -> None:
    data = bytes(4 if size == 6 else 8) + bytes((page, 10)) + bytes(10)

    request = disk.run(cdb.mode_select(len(data), size=size), write=data)

    assert str(request.sense) == "05/26/00"
    assert_alive(rig)


@pytest.mark.parametrize("block", [0, 1, 256, 513, 0xFF_FFFF])
def test_CVE_2023_42467_block_sizes_that_divide_by_zero(rig: Rig, disk: Disk, block: int) -> None:
    data = bytes((0, 0, 0, 8)) + bytes(5) + block.to_bytes(3, "big")

    request = disk.run(cdb.mode_select(len(data)), write=data)
    disk.driver.reset_device(0)
    disk.settle()

    assert request.good or request.sense is not None
    assert disk.read_capacity().block == 512
    assert_alive(rig)


def chain(disk: Disk, buffer: Piece, count: int, size: int) -> int:
    """A list of `count` elements of `size` bytes, one behind the other in the buffer; its address."""
    rows = [(buffer.address + size * n, size, 0) for n in range(count)]
    runs = [rows[at : at + 127] for at in range(0, count, 127)]
    if len(runs) > 1 and len(runs[-1]) == 1:  # the last one needs no chain element
        runs[-2] += runs.pop()
    pages = disk.driver.memory.pages(len(runs))
    for page, run in zip(pages, runs, strict=True):
        data = b"".join(wire.SG_ELEMENT.struct.pack(*row) for row in run)
        page.view[: len(data)] = data
    for (page, run), (following, _) in pairwise(zip(pages, runs, strict=True)):
        page.view[16 * len(run) : 16 * len(run) + 16] = wire.SG_ELEMENT.struct.pack(following.address, 0, 1)
    return pages[0].address


@pytest.mark.parametrize("count", [1023, 1024, 1025, 2048, 127 * 128 + 1])
@pytest.mark.parametrize("write", [False, True])
def test_CVE_2025_41238_lists_of_many_elements(rig: Rig, disk: Disk, count: int, write: bool) -> None:
    """More than 1024 elements overran a list made for so many."""
    blocks, size = -(-count // 512), 1
    buffer = disk.driver.memory.take(512 * blocks, PAGE)
    buffer.view[:] = pattern(512 * blocks, 8)
    disk.write(0, pattern(512 * blocks, 9))
    address = chain(disk, buffer, count, size)
    whole = count // 512

    request = disk.run(
        (cdb.write if write else cdb.read)(0, whole),
        flags=(OUT if write else IN) | LIST,
        dataAddr=address,
        dataLen=512 * whole,
    )

    assert (request.good, request.moved) == (True, 512 * whole)
    found = disk.read(0, whole) if write else bytes(buffer.view[: 512 * whole])
    assert found == pattern(512 * blocks, 8 if write else 9)[: 512 * whole]
    assert_alive(rig)


@pytest.mark.parametrize("write", [False, True])
def test_CVE_2025_41238_lists_of_more_than_may_be(rig: Rig, disk: Disk, write: bool) -> None:
    buffer = disk.driver.memory.take(32768, PAGE)
    disk.write(0, pattern(32768, 9))
    address = chain(disk, buffer, 127 * 128 + 127, 1)

    request = disk.run(
        (cdb.write if write else cdb.read)(0, 32),
        flags=(OUT if write else IN) | LIST,
        dataAddr=address,
        dataLen=16384,
    )

    assert (request.host, request.moved) == (HostStatus.INVPARAM, 0)
    assert [count for _, _, count in seen(rig, "PVS-D-042")] == [1]
    assert disk.read(0, 64) == pattern(32768, 9)
    assert_alive(rig)
