"""Hostile drivers: requests, SG lists and buffers, by the number of the case.

Wherever a case ends, the adapter works after ADAPTER_RESET.
"""

from itertools import pairwise
from tracemalloc import get_traced_memory, start, stop
from typing import Any

import pytest

from pvscsi import wire
from pvscsi.conform.inside import ModelBench, ServedBench
from pvscsi.conform.rig import Drive, MakeRig, Rig, pattern
from pvscsi.driver import Disk, Request, Shape, cdb, even
from pvscsi.driver.memory import Piece
from pvscsi.wire import PAGE, REQUEST, Flag, HostStatus
from tests.conformance.pvscsi.told import NOWHERE, assert_alive, rings_of, seen

BENCHES = (ModelBench(), ServedBench())
IN, OUT, LIST = int(Flag.DIR_TOHOST), int(Flag.DIR_TODEVICE), int(Flag.CMD_WITH_SG_LIST)
Element = tuple[int, int, int]  # address, bytes, flags


@pytest.fixture
def disk(rig: Rig) -> Disk:
    """Its first 64 blocks are `pattern(…, 1)`."""
    found = rig.disk(driver=rig.driver(strict=False))
    found.write(0, pattern(32768, 1))
    return found


@pytest.fixture
def page(disk: Disk) -> Piece:
    found = disk.driver.memory.pages(1)[0]
    found.view[:] = bytes(PAGE)
    return found


@pytest.fixture
def buffer(disk: Disk) -> Piece:
    return disk.driver.memory.take(65536, PAGE)


def elements(piece: Piece, *rows: Element, at: int = 0) -> int:
    """Write a segment; its address."""
    data = b"".join(wire.SG_ELEMENT.struct.pack(*row) for row in rows)
    piece.view[at : at + len(data)] = data
    return piece.address + at


def listed(disk: Disk, address: int, size: int, *, write: bool = False) -> Request:
    """A READ or WRITE of so many bytes through an SG list at an address."""
    command = (cdb.write if write else cdb.read)(0, -(-size // 512))
    return disk.run(command, flags=(OUT if write else IN) | LIST, dataAddr=address, dataLen=size)


def unchanged(disk: Disk) -> bool:
    """The medium is as it was."""
    return disk.read(0, 64) == pattern(32768, 1)


# -- what changes under the device's eyes ------------------------------------------------------------------------------


def test_hostile_16_a_descriptor_rewritten_after_it_was_published(make_rig: MakeRig) -> None:
    rig = make_rig({0: Drive(held=True)})
    disk = rig.disk(driver=rig.driver(strict=False, req_pages=1, cmp_pages=1))
    disk.write(0, pattern(512))
    rig.target.hold(0, True)
    request = disk.submit(cdb.read(0, 1), read=512)
    rig.settle()

    ring = rings_of(disk.driver).requests.pages[0]
    ring.view[:] = REQUEST.encode(context=99, dataAddr=NOWHERE, dataLen=1 << 40, senseAddr=NOWHERE) * 32
    rig.go_on()
    disk.driver.wait(request)

    assert (request.good, request.data) == (True, pattern(512))
    assert_alive(rig)


@pytest.mark.parametrize("write", [False, True])
def test_hostile_17_a_list_rewritten_after_it_was_read(make_rig: MakeRig, write: bool) -> None:
    rig = make_rig({0: Drive(held=True)})
    disk = rig.disk(driver=rig.driver(strict=False))
    disk.write(0, pattern(4096, 1))
    rig.target.hold(0, True)
    shape = Shape(even(4096, 4), True)
    if write:
        request = disk.submit(cdb.write(0, 8), write=pattern(4096, 2), shape=shape)
    else:
        request = disk.submit(cdb.read(0, 8), read=4096, shape=shape)
    rig.settle()
    assert request.memory is not None
    segment, content = request.memory.segments[0]

    segment.view[:] = wire.SG_ELEMENT.struct.pack(NOWHERE, 1 << 31, 0) * 4
    rig.go_on()
    segment.view[:] = content
    disk.driver.wait(request)

    assert request.good
    assert disk.read(0, 8) == pattern(4096, 2 if write else 1)
    assert write or request.data == pattern(4096, 1)
    assert_alive(rig)


class Faces:
    """Remote memory that reads as `first` once and as `then` ever after; what is written there is gone."""

    def __init__(self, first: bytes, then: bytes) -> None:
        self.first, self.then = first, then
        self.reads = 0

    def read(self, address: int, length: int) -> bytes:
        self.reads += 1
        face = self.first if self.reads == 1 else self.then
        return face[address % PAGE :][:length].ljust(length, b"\0")

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        pass


def test_hostile_17_a_list_that_is_another_each_time(rig: Rig, disk: Disk, buffer: Piece) -> None:
    good = wire.SG_ELEMENT.struct.pack(buffer.address, 256, 0) + wire.SG_ELEMENT.struct.pack(
        buffer.address + 256, 256, 0
    )
    faces = Faces(good[:16], wire.SG_ELEMENT.struct.pack(NOWHERE + (1 << 20), 1 << 31, 0) * 2)
    rig.model.do(lambda: rig.device.mem.map(NOWHERE, None, PAGE, remote=faces))

    request = listed(disk, NOWHERE, 512)

    assert (request.host, request.moved) == (HostStatus.INVPARAM, 0)
    assert faces.reads == 2
    assert_alive(rig)


# -- lists without end -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [False, True])
def test_hostile_18_chains_in_circles(rig: Rig, disk: Disk, page: Piece, buffer: Piece, write: bool) -> None:
    other = disk.driver.memory.pages(1)[0]
    elements(other, (page.address, 0, 1))

    for rows in ([(page.address, 0, 1)], [(other.address, 0, 1)], [(buffer.address, 1, 0), (other.address, 0, 1)]):
        request = listed(disk, elements(page, *rows), 4096, write=write)
        assert (request.host, request.moved) == (HostStatus.INVPARAM, 0)

    assert [count for _, _, count in seen(rig, "PVS-D-042")] == [3]
    assert unchanged(disk)
    assert_alive(rig)


def test_hostile_18_a_chain_to_address_0(rig: Rig, disk: Disk, page: Piece) -> None:
    request = listed(disk, elements(page, (0, 0, 1)), 4096)

    assert (request.host, request.moved) == (HostStatus.INVPARAM, 0)
    assert seen(rig, "PVS-D-037") == [("target 0, opcode 0x28", 0, 1)]
    assert_alive(rig)


def test_hostile_19_elements_without_bytes(rig: Rig, disk: Disk, buffer: Piece) -> None:
    segments = disk.driver.memory.pages(128)
    for segment, following in pairwise(segments):
        elements(segment, *[(buffer.address, 0, 0)] * 255, (following.address, 0, 1))
    elements(segments[-1], *[(buffer.address, 0, 0)] * 256)

    request = listed(disk, segments[0].address, 4096, write=True)

    assert (request.host, request.moved) == (HostStatus.INVPARAM, 0)
    assert "PVS-D-042" in rig.broken()
    assert sum(count for _, _, count in seen(rig, "PVS-D-040")) <= 16384 + 256
    assert unchanged(disk)
    assert_alive(rig)


@pytest.mark.parametrize("short", ["at the end of the page", "in the middle", "at the end of memory"])
def test_hostile_20_lists_that_are_too_short(rig: Rig, disk: Disk, page: Piece, buffer: Piece, short: str) -> None:
    rows = [(buffer.address, 512, 0), (buffer.address + 512, 511, 0)]
    address = elements(page, *rows, at=PAGE - 32 if short == "at the end of the page" else 0)
    if short == "at the end of memory":
        memory = memoryview(bytearray(PAGE))
        memory[-32:] = page.view[:32]
        rig.model.do(lambda: rig.device.mem.map(NOWHERE, memory))
        address = NOWHERE + PAGE - 32

    requests = [listed(disk, address, 1024, write=True), listed(disk, address, 1024)]

    assert [(request.host, request.moved) for request in requests] == [(HostStatus.INVPARAM, 0)] * 2
    assert unchanged(disk)
    assert_alive(rig)


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x8000_0000])
def test_hostile_20_lengths_that_sum_beyond_32_and_64_bits(
    rig: Rig, disk: Disk, page: Piece, buffer: Piece, size: int
) -> None:
    """The first element is enough for what the CDB moves; those behind it lead out of the address space."""
    rows = [(buffer.address, 512, 0), *[((1 << 64) - 8, size, 0)] * 100]

    for data_length in (512, 1 << 33, (1 << 64) - 1):
        request = disk.run(cdb.read(0, 1), flags=IN | LIST, dataAddr=elements(page, *rows), dataLen=data_length)
        assert (request.good, request.moved) == (True, 512)
    request = listed(disk, page.address, 1024)

    assert (request.host, request.moved) == (HostStatus.INVPARAM, 0)
    assert bytes(buffer.view[:512]) == pattern(32768, 1)[:512]
    assert_alive(rig)


def test_hostile_22_a_chain_element_with_a_length(rig: Rig, disk: Disk, page: Piece, buffer: Piece) -> None:
    rest = elements(page, (buffer.address, 512, 0), at=2048)

    request = listed(disk, elements(page, (rest, 0xFFFF_FFFF, 1)), 512)

    assert (request.good, bytes(buffer.view[:512])) == (True, pattern(32768, 1)[:512])
    assert_alive(rig)


@pytest.mark.parametrize("flags", [2, 3, 0x8000_0000, 0xFFFF_FFFF])
def test_hostile_22_reserved_bits_of_an_element(rig: Rig, disk: Disk, page: Piece, buffer: Piece, flags: int) -> None:
    request = listed(disk, elements(page, (buffer.address, 512, flags), (buffer.address, 512, 0)), 512, write=True)

    assert (request.host, request.moved) == (HostStatus.INVPARAM, 0)
    assert unchanged(disk)
    assert_alive(rig)


# -- lengths and ranges ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1 << 32, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("write", [False, True])
def test_hostile_23_data_lengths(rig: Rig, disk: Disk, buffer: Piece, size: int, write: bool) -> None:
    buffer.view[:] = pattern(65536, 5)
    command = (cdb.write if write else cdb.read)(0, 1)

    start()
    request = disk.run(command, flags=OUT if write else IN, dataAddr=buffer.address, dataLen=size)
    most = get_traced_memory()[1]
    stop()

    moved = 512 if size else 0
    assert (request.host, request.moved) == (HostStatus.SUCCESS if size else HostStatus.DATARUN, moved)
    assert (
        bytes(buffer.view[512 if moved and not write else 0 :])
        == pattern(65536, 5)[512 if moved and not write else 0 :]
    )
    assert disk.read(1, 63) == pattern(32768, 1)[512:]  # no block more than the CDB names
    assert most < 4 << 20
    assert_alive(rig)


@pytest.mark.parametrize(
    "command",
    [
        cdb.read(0, 0xFFFF_FFFF, size=16),
        cdb.write(0, 0xFFFF_FFFF, size=16),
        cdb.verify(0, 0xFFFF_FFFF, size=16),
        cdb.write_same(0, 0xFFFF_FFFF, size=16),
        cdb.read((1 << 64) - 1, 2, size=16),
        cdb.write((1 << 64) - 1, 0xFFFF, size=16),
    ],
    ids=["READ", "WRITE", "VERIFY", "WRITE SAME", "READ that wraps", "WRITE that wraps"],
)
@pytest.mark.parametrize("size", [512, (1 << 64) - 1])
def test_hostile_24_25_counts_and_addresses(rig: Rig, disk: Disk, buffer: Piece, command: bytes, size: int) -> None:
    flags = IN if command[0] == 0x88 else OUT

    request = disk.run(command, flags=flags, dataAddr=buffer.address, dataLen=size)

    refused = request.host == HostStatus.INVPARAM  # the driver has no memory for what it names
    assert refused or (request.host == HostStatus.SUCCESS and str(request.sense)[:5] in ("05/21", "05/24"))
    assert request.moved == 0
    assert unchanged(disk)
    assert_alive(rig)


@pytest.mark.parametrize(
    ("room", "address"), [(0xFFFF_FFFF, 0), (96, NOWHERE), (0xFFFF_FFFF, NOWHERE), (96, (1 << 64) - 5), (1, NOWHERE)]
)
def test_hostile_26_sense_buffers(rig: Rig, disk: Disk, room: int, address: int) -> None:
    where = {"senseAddr": address} if address else {}

    request = disk.run(cdb.read(1 << 30, 1), read=512, senseLen=room, **where)

    assert request.host == (HostStatus.SENSFAILED if address else HostStatus.SUCCESS)
    assert len(request.sense_raw) == (0 if address else 18)
    assert_alive(rig)


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("chained", [False, True])
def test_hostile_27_the_second_half_is_a_hole(rig: Rig, disk: Disk, page: Piece, write: bool, chained: bool) -> None:
    memory = memoryview(bytearray(PAGE))
    rig.model.do(lambda: rig.device.mem.map(NOWHERE, memory))
    if chained:
        request = listed(disk, elements(page, (NOWHERE, 4096, 0), (NOWHERE + 4096, 4096, 0)), 8192, write=write)
    else:
        command = (cdb.write if write else cdb.read)(0, 16)
        request = disk.run(command, flags=OUT if write else IN, dataAddr=NOWHERE, dataLen=8192)

    assert (request.host, request.moved) == (HostStatus.INVPARAM, 0)
    assert memory == bytes(PAGE)
    assert unchanged(disk)
    assert_alive(rig)


WHERE = ["state page", "request ring", "completion ring", "SG list", "sense"]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("write", [False, True])
def test_hostile_28_buffers_over_what_the_device_uses(
    rig: Rig, disk: Disk, page: Piece, where: str, write: bool
) -> None:
    rings = rings_of(disk.driver)
    elements(page, (page.address, 512, 0), (page.address + 512, 3584, 0))
    address = {
        "state page": rings.page.address,
        "request ring": rings.requests.pages[0].address,
        "completion ring": rings.completions.pages[0].address,
    }.get(where, page.address)
    flags, extra = OUT if write else IN, {}
    if where == "SG list":
        flags |= LIST
    elif where == "sense":
        extra = {"senseAddr": address, "senseLen": 4096}
    command = (cdb.write if write else cdb.read)(100, 8)

    disk.submit(command, flags=flags, dataAddr=address, dataLen=4096, **extra)
    rig.settle()

    disk.driver.forsake()
    assert_alive(rig)


# -- the CDB, and where it goes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 5, 17, 255])
@pytest.mark.parametrize("command", [cdb.write(0, 1), cdb.write(0, 1, size=16), cdb.inquiry()], ids=["W10", "W16", "I"])
def test_hostile_29_cdb_lengths(rig: Rig, disk: Disk, command: bytes, length: int) -> None:
    write = command[0] != 0x12
    how: dict[str, Any] = {"write": bytes(512)} if write else {"read": 36}

    request = disk.run(command, cdbLen=length, **how)

    assert (request.host, request.moved) == (HostStatus.INVPARAM, 0)
    assert unchanged(disk)
    assert_alive(rig)


@pytest.mark.parametrize("opcode", [0x7E, 0x7F, 0xC0, 0xDF, 0xE0, 0xFF])
@pytest.mark.parametrize("length", [1, 6, 16])
def test_hostile_30_opcodes_of_no_length(rig: Rig, disk: Disk, opcode: int, length: int) -> None:
    command = bytes((opcode,)) + b"\xff" * 15

    for flags in (IN, OUT):
        request = disk.run(command, cdbLen=length, flags=flags, dataAddr=NOWHERE, dataLen=0)
        assert (request.host, str(request.sense)) == (HostStatus.SUCCESS, "05/20/00")
    assert_alive(rig)


@pytest.mark.parametrize(
    "fields", [{"target": 255}, {"bus": 255}, {"lun": b"\xff" * 8}, {"target": 255, "bus": 255, "lun": b"\xff" * 8}]
)
def test_hostile_31_targets_that_cannot_be(rig: Rig, disk: Disk, fields: dict[str, Any]) -> None:
    request = disk.driver.run(cdb.read(0, 1), read=512, **fields)

    assert (request.host, request.status, request.moved) == (HostStatus.SELTIMEO, 0, 0)
    assert_alive(rig)


@pytest.mark.parametrize("write", [False, True])
def test_hostile_32_the_wrong_direction_and_a_reset(rig: Rig, disk: Disk, write: bool) -> None:
    requests = [
        disk.submit(cdb.write(0, 1), read=512) if write else disk.submit(cdb.read(0, 1), write=bytes(512))
        for _ in range(100)
    ]
    disk.driver.kick_others()
    disk.driver.command_only(wire.Cmd.ADAPTER_RESET)
    disk.driver.reap()

    assert {(request.host, request.moved) for request in requests} == {(HostStatus.BADMSG, 0)}
    disk.driver.active = False
    assert_alive(rig)


# -- what units are asked, through the rings ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [65535, 1 << 20])
def test_hostile_45_an_unmap_list_longer_than_it_says(rig: Rig, disk: Disk, size: int) -> None:
    data = cdb.unmap_list((0, 1))

    for claimed in (len(data) - 1, 65535):
        request = disk.run(cdb.unmap(claimed), write=data.ljust(min(size, 65535), b"\xff"))
        assert request.sense is not None or request.good
    assert disk.read(1, 63) == pattern(32768, 1)[512:]
    assert_alive(rig)


@pytest.mark.parametrize("data", [bytes(4) + b"\x08\xff" + bytes(249), bytes((0, 0, 0, 0xF8)), b"\xff" * 255])
def test_hostile_46_mode_select_lists(rig: Rig, disk: Disk, data: bytes) -> None:
    before = disk.mode_page(8)

    request = disk.run(cdb.mode_select(len(data)), write=data)

    assert str(request.sense) in ("05/1A/00", "05/26/00")
    assert disk.mode_page(8) == before
    assert_alive(rig)


@pytest.mark.parametrize(
    "command",
    [cdb.inquiry(65535), cdb.report_luns(0xFFFF_FFFF), cdb.report_opcodes(0xFFFF_FFFF), cdb.persistent_in(0, 65535)],
    ids=["INQUIRY", "REPORT LUNS", "REPORT SUPPORTED OPCODES", "PERSISTENT RESERVE IN"],
)
def test_hostile_47_allocations_of_everything(rig: Rig, disk: Disk, buffer: Piece, command: bytes) -> None:
    buffer.view[:] = b"\xa5" * 65536

    start()
    request = disk.run(command, flags=IN, dataAddr=buffer.address, dataLen=65536)
    most = get_traced_memory()[1]
    stop()

    assert request.good
    assert bytes(buffer.view[request.moved :]) == b"\xa5" * (65536 - request.moved)
    assert most < 4 << 20
    assert_alive(rig)
