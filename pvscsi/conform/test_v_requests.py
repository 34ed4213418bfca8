"""PVSCSI device rules 060 to 078: what a request moves, and how its completion says so."""

from random import Random
from typing import Any

import pytest

from pvscsi.conform.rig import Drive, MakeRig, Rig, pattern
from pvscsi.driver import Disk, Sense, Shape, cdb, even, spread
from pvscsi.wire import Flag, HostStatus

VENDOR_COMMAND = bytes((0xFF,)) + bytes(9)
SECOND_MIB = Drive(bad=((1 << 20, 512),))


def odd(size: int, pieces: int, seed: int = 0) -> tuple[int, ...]:
    """`size` bytes in so many pieces, no piece like the next."""
    random = Random(seed * 1000 + pieces)
    cuts = sorted(random.sample(range(1, size), pieces - 1))
    return tuple(high - low for low, high in zip([0, *cuts], [*cuts, size], strict=True))


def test_PVS_V_060_pad_and_status_of_every_outcome(make_rig: MakeRig) -> None:
    rig = make_rig({0: SECOND_MIB})
    disk = rig.disk()
    outcomes = [  # each is checked by the driver: pad 0, scsiStatus below 256
        disk.run(cdb.read(0, 1), read=512),
        disk.run(cdb.read(1 << 30, 1), read=512),
        disk.run(cdb.read(2048, 1), read=512),
        disk.run(cdb.read(0, 2), read=512),
        disk.run(cdb.read(0, 1), write=bytes(512)),
        disk.run(cdb.inquiry(), read=36, flags=Flag.CMD_OUT_OF_BAND_CDB | Flag.DIR_TOHOST),
        disk.driver.run(cdb.inquiry(), read=36, target=9),
    ]

    assert [request.status for request in outcomes] == [0, 2, 2, 0, 0, 0, 0]
    assert all(request.host in set(HostStatus) for request in outcomes)


MOVED: dict[str, tuple[bytes, dict[str, Any], HostStatus, int]] = {
    "read": (cdb.read(0, 4), {"read": 2048}, HostStatus.SUCCESS, 2048),
    "more room than the CDB moves": (cdb.read(0, 1), {"read": 4096}, HostStatus.SUCCESS, 512),
    "less room than the CDB moves": (cdb.read(0, 4), {"read": 1024}, HostStatus.DATARUN, 1024),
    "no room for a read": (cdb.read(0, 4), {}, HostStatus.DATARUN, 0),
    "room for half a block": (cdb.read(0, 1), {"read": 256}, HostStatus.DATARUN, 0),
    "write": (cdb.write(0, 2), {"write": bytes(1024)}, HostStatus.SUCCESS, 1024),
    "more data than the CDB moves": (cdb.write(0, 1), {"write": bytes(1024)}, HostStatus.SUCCESS, 512),
    "less data than the CDB moves": (cdb.write(0, 4), {"write": bytes(1024)}, HostStatus.DATARUN, 0),
    "no data for a write": (cdb.write(0, 4), {}, HostStatus.DATARUN, 0),
    "nothing to move": (cdb.read(0, 0), {"read": 512}, HostStatus.SUCCESS, 0),
    "allocation length clips": (cdb.inquiry(20), {"read": 36}, HostStatus.SUCCESS, 20),
    "buffer clips": (cdb.inquiry(36), {"read": 20}, HostStatus.SUCCESS, 20),
    "unknown command": (VENDOR_COMMAND, {"read": 512}, HostStatus.SUCCESS, 0),
    "out of range": (cdb.read(1 << 30, 1), {"read": 512}, HostStatus.SUCCESS, 0),
}


@pytest.mark.parametrize("case", MOVED)
def test_PVS_V_061_data_length_is_what_was_moved(rig: Rig, case: str) -> None:
    disk = rig.disk()
    command, how, host, moved = MOVED[case]

    request = disk.run(command, **how)

    assert (HostStatus(request.host), request.moved) == (host, moved)


def test_PVS_V_061_up_to_a_bad_block(make_rig: MakeRig) -> None:
    rig = make_rig({0: SECOND_MIB})
    disk = rig.disk()
    disk.write(2046, pattern(1024))

    request = disk.run(cdb.read(2046, 8), read=4096)

    assert (request.host, request.status, request.moved) == (HostStatus.SUCCESS, 2, 1024)
    assert request.data == pattern(1024)
    assert request.sense == Sense(3, 0x11, 0, 2048)


def test_PVS_V_061_a_short_write_writes_nothing(rig: Rig) -> None:
    disk = rig.disk()
    disk.write(0, pattern(4096, 1))

    disk.run(cdb.write(0, 8), write=pattern(2048, 2))

    assert disk.read(0, 8) == pattern(4096, 1)


SHORT = {
    "INQUIRY": (cdb.inquiry(255), 255),
    "VPD 83": (cdb.inquiry(255, 0x83), 255),
    "REPORT LUNS": (cdb.report_luns(4096), 4096),
    "MODE SENSE(6)": (cdb.mode_sense(0x3F), 255),
    "MODE SENSE(10)": (cdb.mode_sense(0x08, 512, size=10), 512),
    "READ CAPACITY(16)": (cdb.read_capacity_16(64), 64),
    "REQUEST SENSE": (cdb.request_sense(96), 96),
}


@pytest.mark.parametrize("name", SHORT)
def test_PVS_V_062_a_short_answer_is_a_success(rig: Rig, name: str) -> None:
    command, size = SHORT[name]

    request = rig.disk().run(command, read=size)

    assert (request.host, request.status) == (HostStatus.SUCCESS, 0)
    assert 0 < request.moved < size


@pytest.mark.parametrize(
    ("command", "how"),
    [
        (cdb.read(1 << 30, 1), {"read": 512}),
        (cdb.write(1 << 30, 1), {"write": bytes(512)}),
        (cdb.mode_select(24), {"write": bytes(24)}),
        (VENDOR_COMMAND, {}),
        (VENDOR_COMMAND, {"read": 100}),
        (VENDOR_COMMAND, {"write": bytes(100)}),
        (cdb.inquiry(36, 0x77), {"read": 36}),
    ],
)
def test_PVS_V_063_check_condition_with_success(rig: Rig, command: bytes, how: dict[str, Any]) -> None:
    request = rig.disk().run(command, **how)

    assert (request.host, request.status) == (HostStatus.SUCCESS, 2)
    assert request.sense is not None


@pytest.mark.parametrize("room", [1, 2, 7, 8, 13, 14, 17, 18, 19, 96, 252, 256])
def test_PVS_V_064_sense_length(rig: Rig, room: int) -> None:
    disk = rig.disk()

    request = disk.run(cdb.read(1 << 30, 1), read=512, sense=room)
    whole = disk.run(cdb.read(1 << 30, 1), read=512)

    assert len(whole.sense_raw) == 18
    assert request.sense_raw == whole.sense_raw[: min(room, 18)]


def test_PVS_V_064_untouched_when_good(rig: Rig) -> None:
    disk = rig.disk()

    for n in range(64):  # the driver looks at its sense buffers each time
        assert disk.run(cdb.read(n, 1), read=512).sense_raw == b""


def test_PVS_V_065_without_a_sense_buffer(rig: Rig) -> None:
    disk = rig.disk()

    failed = disk.run(cdb.read(1 << 30, 1), read=512, sense=0)
    told = disk.run(cdb.request_sense(), read=18)
    again = disk.run(cdb.request_sense(), read=18)

    assert (failed.host, failed.status, failed.sense_raw) == (HostStatus.SUCCESS, 2, b"")
    assert (told.data[2] & 15, told.data[12]) == (5, 0x21)
    assert (again.data[2] & 15, again.data[12]) == (0, 0)


def test_PVS_V_065_the_next_command_forgets_it(rig: Rig) -> None:
    disk = rig.disk()

    disk.run(cdb.read(1 << 30, 1), read=512, sense=0)
    disk.must(cdb.TEST_UNIT_READY)
    told = disk.run(cdb.request_sense(), read=18)

    assert told.data[2] & 15 == 0


@pytest.mark.parametrize("room", [1, 511, 513, 1000, 4096])
@pytest.mark.parametrize("shape", ["direct", "list"])
def test_PVS_V_066_nothing_beyond(rig: Rig, room: int, shape: str) -> None:
    disk = rig.disk()
    disk.write(0, pattern(512))
    how = Shape(offset=1) if shape == "direct" else spread(even(room, min(room, 5)))

    request = disk.run(cdb.read(0, 1), read=room, shape=how)  # the driver looks at every byte around

    assert request.data == (pattern(512) if room >= 512 else b"")


@pytest.mark.parametrize("pieces", [1, 2, 3, 5, 16, 64, 127, 128])
@pytest.mark.parametrize("blocks", [1, 8, 100])
def test_PVS_V_067_lists_of_odd_pieces(rig: Rig, pieces: int, blocks: int) -> None:
    disk, size = rig.disk(), 512 * blocks

    disk.write(5, pattern(size, pieces), shape=spread(odd(size, pieces, 1)))
    found = disk.read(5, blocks, shape=spread(odd(size, pieces, 2)))

    assert found == pattern(size, pieces)
    assert disk.read(5, blocks) == pattern(size, pieces)


def test_PVS_V_067_large_pieces(rig: Rig) -> None:
    disk, size = rig.disk(), 1 << 20

    disk.write(0, pattern(size), shape=spread((65536 * 15 + 7, 1, 65528)))

    assert disk.read(0, 2048, shape=spread((3, size - 3))) == pattern(size)


@pytest.mark.parametrize(
    ("pieces", "per_segment"), [(3, 2), (10, 3), (128, 127), (129, 128), (256, 128), (1000, 100), (129, 2), (2000, 128)]
)
def test_PVS_V_068_chains(rig: Rig, pieces: int, per_segment: int) -> None:
    disk, size = rig.disk(), 8192

    disk.write(0, pattern(size), shape=Shape(odd(size, pieces, 1), True, per_segment, 1))
    found = disk.read(0, 16, shape=Shape(odd(size, pieces, 2), True, per_segment, 3))

    assert found == pattern(size)


def test_PVS_V_068_as_long_as_a_chain_can_be(rig: Rig) -> None:
    disk, size, pieces = rig.disk(), 32768, 127 * 127 + 128

    disk.write(0, pattern(size), shape=Shape(even(size, pieces), True, 128, 0))

    assert disk.read(0, 64, shape=Shape(even(size, pieces), True, 128, 1)) == pattern(size)


def test_PVS_V_068_one_segment_too_many(rig: Rig) -> None:
    disk = rig.disk()

    request = disk.run(cdb.read(0, 8), read=4096, shape=Shape(even(4096, 130), True, 2))

    assert request.host == HostStatus.INVPARAM
    assert request.moved == 0


@pytest.mark.parametrize("pieces", [1, 4, 100])
def test_PVS_V_069_no_element_beyond_the_last_byte(rig: Rig, pieces: int) -> None:
    disk = rig.disk()
    shape = Shape(even(4096, pieces), True, 128, spare=20)  # those behind lead nowhere

    disk.write(0, pattern(4096), shape=shape)

    assert disk.read(0, 8, shape=shape) == pattern(4096)


def test_PVS_V_069_a_list_at_the_end_of_memory(rig: Rig) -> None:
    disk, port = rig.disk(), rig.port
    pieces = []
    while True:  # all there is: one of them ends where memory does
        try:
            pieces.append(port.alloc(4096, 4096))
        except MemoryError:
            break
    last = max(pieces, key=lambda piece: piece.address)
    end = last.address + 4096
    elements = b"".join((last.address + 1024 * n).to_bytes(8, "little") + (512).to_bytes(8, "little") for n in range(3))
    last.view[-48:] = elements

    flags = Flag.DIR_TOHOST | Flag.CMD_WITH_SG_LIST
    request = disk.run(cdb.read(0, 3), flags=flags, dataAddr=end - 48, dataLen=1536)
    for piece in pieces:
        port.free(piece)

    assert (request.host, request.status) == (HostStatus.SUCCESS, 0)


def test_PVS_V_070_direct_and_listed_are_the_same(rig: Rig) -> None:
    disk = rig.disk()
    disk.write(0, pattern(4096))
    ways: list[Shape] = [Shape(), Shape(listed=True), spread(even(4096, 8)), Shape(even(4096, 8), True, 3)]
    commands = [(cdb.read(0, 8), 4096), (cdb.inquiry(96), 96), (cdb.read(0, 9), 4096), (cdb.read(1 << 30, 8), 4096)]

    for command, size in commands:
        found = {
            (request.host, request.status, request.moved, request.sense_raw, request.data)
            for way in ways
            if (request := disk.run(command, read=size, shape=_fit(way, size))) is not None
        }
        assert len(found) == 1


def _fit(way: Shape, size: int) -> Shape:
    return Shape(even(size, len(way.pieces)) if way.pieces else (), way.listed, way.per_segment, way.offset)


@pytest.mark.parametrize("context", [0, 1, 0xFFFF_FFFF, 1 << 32, 0xDEAD_BEEF_0000_0000, (1 << 64) - 1])
def test_PVS_V_071_any_context(rig: Rig, context: int) -> None:
    disk = rig.disk()

    requests = [disk.submit(cdb.read(n, 1), read=512, context=context) for n in range(8)]
    disk.driver.wait(*requests)

    assert all(request.good for request in requests)


def test_PVS_V_072_longer_than_the_command(rig: Rig) -> None:
    disk = rig.disk()

    assert disk.run(cdb.inquiry(), read=36, cdbLen=16).good
    assert disk.run(cdb.read(0, 1), read=512, cdbLen=16).good


@pytest.mark.parametrize("length", [0, 1, 5, 6, 9, 17, 255])
def test_PVS_V_072_cut_short_is_not_executed(rig: Rig, length: int) -> None:
    disk = rig.disk()
    disk.write(0, pattern(512))

    request = disk.run(cdb.write(0, 1), write=bytes(512), cdbLen=length)

    if length <= 16:
        cut = (request.host, request.status, str(request.sense)) == (HostStatus.SUCCESS, 2, "05/24/00")
        assert cut or request.host == HostStatus.INVPARAM
        assert disk.read(0, 1) == pattern(512)
    else:
        assert request.good or request.host == HostStatus.INVPARAM
    assert disk.run(cdb.inquiry(), read=36).good


@pytest.mark.parametrize("fields", [{"vcpuHint": 0xFFFF}, {"unused": b"\xff" * 58}, {"vcpuHint": 3, "unused": b"\1"}])
def test_PVS_V_073_hints_change_nothing(rig: Rig, fields: dict[str, Any]) -> None:
    disk = rig.disk()

    disk.write(9, pattern(512), **fields)

    assert disk.read(9, 1, **fields) == pattern(512)


@pytest.mark.parametrize("target", [1, 7, 63, 64, 65, 128, 255])
@pytest.mark.parametrize(
    "command", [cdb.inquiry(), cdb.read(0, 1), cdb.TEST_UNIT_READY], ids=["inquiry", "read", "tur"]
)
def test_PVS_V_074_nobody_there(rig: Rig, target: int, command: bytes) -> None:
    driver = rig.driver()

    request = driver.run(command, read=512 if command[0] else 0, target=target)

    assert (request.host, request.status, request.moved) == (HostStatus.SELTIMEO, 0, 0)
    assert request.sense_raw == b""


def luns(disk: Disk) -> list[int]:
    data = disk.must(cdb.report_luns(1024), read=1024).data
    return [data[at + 1] for at in range(8, 8 + int.from_bytes(data[:4], "big"), 8)]


@pytest.mark.parametrize("units", [1, 3])
def test_PVS_V_075_lun_that_is_not_there(make_rig: MakeRig, units: int) -> None:
    rig = make_rig({0: Drive(luns=units)})
    disk = rig.disk()
    answers = {}

    for lun in (*range(8), 255):
        inquiry = disk.driver.run(cdb.inquiry(), read=36, target=0, lun=lun)
        answers[lun] = inquiry.host == HostStatus.SUCCESS and inquiry.data[0] >> 5 == 0
        assert answers[lun] or inquiry.host == HostStatus.SELTIMEO or inquiry.data[0] == 0x7F

    assert [lun for lun, there in answers.items() if there] == luns(disk) == list(range(units))


def test_PVS_V_075_commands_to_a_lun_that_is_not_there(rig: Rig) -> None:
    disk = rig.disk()
    first = disk.driver.run(cdb.inquiry(), read=36, lun=3)

    read = disk.driver.run(cdb.read(0, 1), read=512, lun=3)

    if first.host == HostStatus.SELTIMEO:
        assert read.host == HostStatus.SELTIMEO
    else:
        assert (read.host, str(read.sense)) == (HostStatus.SUCCESS, "05/25/00")


@pytest.mark.parametrize("units", [1, 2])
def test_PVS_V_075_luns_are_disks_of_their_own(make_rig: MakeRig, units: int) -> None:
    rig = make_rig({0: Drive(luns=units)})
    driver = rig.driver()
    disks = [Disk(driver, 0, lun) for lun in range(units)]

    for lun, disk in enumerate(disks):
        disk.settle()
        disk.write(0, pattern(512, lun))

    assert [disk.read(0, 1) for disk in disks] == [pattern(512, lun) for lun in range(units)]


@pytest.mark.parametrize("lun", ["0100000000000000", "0000010000000000", "0000000000000001", "ffffffffffffffff"])
def test_PVS_V_075_more_than_one_byte(rig: Rig, lun: str) -> None:
    request = rig.driver().run(cdb.inquiry(), read=36, lun=bytes.fromhex(lun))

    assert request.host == HostStatus.SELTIMEO or request.data[0] == 0x7F


@pytest.mark.parametrize("bus", [1, 255])
def test_PVS_V_076_only_bus_0(rig: Rig, bus: int) -> None:
    driver = rig.driver()

    request = driver.run(cdb.inquiry(), read=36, bus=bus)

    assert (request.host, request.moved) == (HostStatus.SELTIMEO, 0)


def test_PVS_V_077_a_write_sent_the_other_way(rig: Rig) -> None:
    disk = rig.disk()
    disk.write(0, pattern(512))

    request = disk.run(cdb.write(0, 1), read=512)

    assert (request.host, request.status, request.moved) == (HostStatus.BADMSG, 0, 0)
    assert disk.read(0, 1) == pattern(512)


@pytest.mark.parametrize("command", [cdb.read(0, 1), cdb.inquiry(36), cdb.report_luns(512)])
def test_PVS_V_077_a_read_sent_the_other_way(rig: Rig, command: bytes) -> None:
    disk = rig.disk()

    request = disk.run(command, write=bytes(512))

    assert (request.host, request.status, request.moved) == (HostStatus.BADMSG, 0, 0)
    disk.driver.reset_host()
    assert disk.run(cdb.inquiry(), read=36).good


def test_PVS_V_077_a_reset_right_behind_it(rig: Rig) -> None:
    disk = rig.disk()
    disk.submit(cdb.read(0, 1), write=bytes(512))

    disk.driver.reset_host()
    disk.settle()

    assert disk.run(cdb.inquiry(), read=36).good


def test_PVS_V_077_no_data_no_direction(rig: Rig) -> None:
    disk = rig.disk()

    for flags in (Flag(0), Flag.DIR_NONE, Flag.DIR_TOHOST, Flag.DIR_TODEVICE):
        assert disk.run(cdb.TEST_UNIT_READY, flags=flags).good


def test_PVS_V_078_cdb_somewhere_else(rig: Rig) -> None:
    disk = rig.disk()
    disk.write(0, pattern(512))

    request = disk.run(cdb.write(0, 1), write=bytes(512), flags=Flag.DIR_TODEVICE | Flag.CMD_OUT_OF_BAND_CDB)

    assert (request.host, request.status, request.moved) == (HostStatus.INVPARAM, 0, 0)
    assert disk.read(0, 1) == pattern(512)
