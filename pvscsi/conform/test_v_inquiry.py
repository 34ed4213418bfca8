"""PVSCSI device rules 110 to 118 and 134 to 136: who a unit is, whether it is ready, what it can do."""

from typing import Any

import pytest

from pvscsi.conform.inside import make_unit
from pvscsi.conform.rig import CD, DISK, Can, Drive, MakeRig, Rig, told
from pvscsi.driver import Disk, cdb
from pvscsi.wire import HostStatus

pytestmark = pytest.mark.unit
DRIVES = {"disk": DISK, "cd": CD, "4k": Drive(block=4096), "thick": Drive(thin=False)}
EMPTY = Drive("cdrom", 0)


@pytest.fixture(params=list(DRIVES))
def disk(request: pytest.FixtureRequest, make_rig: MakeRig) -> Disk:
    """A drive of each kind."""
    return (make_rig({0: DRIVES[request.param]}) if request.param != "disk" else make_rig()).disk()


def test_PVS_V_110_standard_data(disk: Disk) -> None:
    data = disk.inquiry()

    assert len(data) >= 36
    assert data[0] in (0x00, 0x05)
    assert data[2] in (5, 6)
    assert data[3] & 15 == 2
    assert data[4] == len(data) - 5
    assert data[7] & 2
    assert data[8:36].decode("ascii").isprintable()


def test_PVS_V_110_length_byte_does_not_follow_the_request(disk: Disk) -> None:
    assert len({disk.inquiry(length=room)[4] for room in (5, 36, 40, 96, 255)}) == 1


def test_PVS_V_111_every_allocation_length(rig: Rig) -> None:
    disk = rig.disk()
    whole = disk.inquiry(length=512)
    assert len(whole) < 512

    for room in range(512):
        request = disk.run(cdb.inquiry(room), read=room)
        assert request.good
        assert request.data == whole[:room]


@pytest.mark.parametrize("page", [0x00, 0x80, 0x83])
def test_PVS_V_111_vital_pages_are_clipped(rig: Rig, page: int) -> None:
    disk = rig.disk()
    whole = disk.inquiry(page, length=512)

    for room in range(100):
        assert disk.run(cdb.inquiry(room, page), read=room).data == whole[:room]


@pytest.mark.parametrize("room", [256, 1024, 65535])
def test_PVS_V_111_sixteen_bits_of_length(rig: Rig, room: int) -> None:
    assert rig.disk().inquiry(length=room) == rig.disk().inquiry(length=255)


@pytest.mark.parametrize("evpd", [0, 1])
def test_PVS_V_112_bad_pages(disk: Disk, evpd: int) -> None:
    assert {told(disk.run(cdb.inquiry(255, page, evpd=evpd), read=255)) for page in (1, 0x7F, 0xFF)} == {"05/24/00"}


def test_PVS_V_112_no_command_data(disk: Disk) -> None:
    assert told(disk.run(cdb.inquiry(255, 0, evpd=2), read=255)) == "05/24/00"


def vital(disk: Disk, page: int) -> bytes:
    """A page of vital product data, as long as it says it is."""
    data = disk.inquiry(page, length=1024)
    return data[: 4 + int.from_bytes(data[2:4], "big")]


def test_PVS_V_113_vital_pages(disk: Disk) -> None:
    pages = list(vital(disk, 0)[4:])

    assert pages[0] == 0
    assert pages == sorted(set(pages))
    assert 0x83 in pages
    for page in pages:
        data = vital(disk, page)
        assert data[1] == page
        assert int.from_bytes(data[2:4], "big") == len(data) - 4
        assert data[0] == disk.inquiry()[0]
    if disk.inquiry()[0] == 0:
        assert len(vital(disk, 0xB0)) >= 4 + 0x3C


def test_PVS_V_113_pages_that_are_not_listed_do_not_answer(disk: Disk) -> None:
    pages = set(vital(disk, 0)[4:])

    for page in set(range(256)) - pages:
        assert told(disk.run(cdb.inquiry(255, page), read=255)) == "05/24/00"


def test_PVS_V_113_designators(disk: Disk) -> None:
    data, kinds = vital(disk, 0x83), set()
    at = 4

    while at < len(data):
        if data[at + 1] >> 4 & 3 == 0:
            kinds.add(data[at + 1] & 15)
        if data[at + 1] & 15 == 3:
            assert data[at + 3] in (8, 16)
        at += 4 + data[at + 3]

    assert at == len(data)
    assert kinds & {1, 3}


def test_PVS_V_114_one_attention_after_power_on(make_rig: MakeRig) -> None:
    disk = Disk(make_rig({0: DISK}).driver())

    first = disk.run(cdb.TEST_UNIT_READY)
    second = disk.run(cdb.TEST_UNIT_READY)

    assert first.sense is not None
    assert (first.sense.key, first.sense.asc) == (6, 0x29)
    assert second.good


def test_PVS_V_114_request_sense_tells_it_too(make_rig: MakeRig) -> None:
    disk = Disk(make_rig({0: DISK}).driver())

    found = disk.run(cdb.request_sense(), read=18)

    assert found.good
    assert (found.data[2] & 15, found.data[12]) == (6, 0x29)
    assert disk.run(cdb.TEST_UNIT_READY).good


def test_PVS_V_114_of_several_resets_one_is_told(rig: Rig) -> None:
    disk = rig.disk()

    disk.driver.reset_device(0)
    disk.driver.reset_bus()
    disk.driver.reset_device(0)

    assert [sense[:5] for sense in disk.settle()] == ["06/29"]


def test_PVS_V_115_commands_an_attention_does_not_stop(make_rig: MakeRig) -> None:
    disk = Disk(make_rig({0: DISK}).driver())

    assert disk.run(cdb.inquiry(), read=36).good
    assert disk.run(cdb.report_luns(), read=256).good
    assert told(disk.run(cdb.read(0, 1), read=512)).startswith("06/29/")
    assert disk.run(cdb.read(0, 1), read=512).good


def test_PVS_V_116_ready(rig: Rig) -> None:
    assert rig.disk().run(cdb.TEST_UNIT_READY).good


def test_PVS_V_116_no_medium(make_rig: MakeRig) -> None:
    disk = make_rig({0: EMPTY}).disk()

    assert told(disk.run(cdb.TEST_UNIT_READY))[:5] == "02/3A"
    assert told(disk.run(cdb.read_capacity(), read=8))[:5] == "02/3A"
    assert disk.run(cdb.inquiry(), read=36).good
    assert disk.run(cdb.mode_sense(0x2A), read=255).good


def test_PVS_V_116_stopped(rig: Rig) -> None:
    disk = rig.disk()
    disk.must(cdb.start_stop(0))

    stopped = told(disk.run(cdb.TEST_UNIT_READY))
    reading = told(disk.run(cdb.read(0, 1), read=512))
    disk.must(cdb.start_stop(1))

    assert stopped[:5] == reading[:5] == "02/04"
    assert disk.run(cdb.TEST_UNIT_READY).good


def test_PVS_V_117_request_sense(disk: Disk) -> None:
    found = disk.run(cdb.request_sense(96), read=96)

    assert found.good
    assert len(found.data) == 18
    assert found.data[0] & 0x7F == 0x70
    assert (found.data[2] & 15, found.data[12], found.data[13]) == (0, 0, 0)


def test_PVS_V_117_clipped(disk: Disk) -> None:
    whole = disk.must(cdb.request_sense(18), read=18).data

    for room in (0, 1, 8, 17, 18):
        assert disk.must(cdb.request_sense(room), read=room).data == whole[:room]


@pytest.mark.parametrize("block", [512, 4096])
def test_PVS_V_118_both_capacities_agree(make_rig: MakeRig, block: int) -> None:
    disk = make_rig({0: Drive(block=block)}).disk()

    short = disk.must(cdb.read_capacity(), read=8).data
    long = disk.must(cdb.read_capacity_16(), read=32).data

    assert len(long) == 32
    assert short == (DISK.size // block - 1).to_bytes(4, "big") + block.to_bytes(4, "big")
    assert long[:12] == (DISK.size // block - 1).to_bytes(8, "big") + block.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("size", "short"), [((1 << 32) - 1, 0xFFFF_FFFE), (1 << 32, 0xFFFF_FFFF), (1 << 33, 0xFFFF_FFFF)]
)
def test_PVS_V_118_large_disks(make_rig: MakeRig, size: int, short: int) -> None:
    disk = make_rig({0: Drive(size=size * 512)}).disk()

    found = int.from_bytes(disk.must(cdb.read_capacity(), read=8).data[:4], "big")

    assert found == short
    assert disk.read_capacity().last == size - 1


def test_PVS_V_118_every_allocation_length(rig: Rig) -> None:
    disk = rig.disk()
    whole = disk.must(cdb.read_capacity_16(), read=32).data

    for room in range(33):
        request = disk.run(cdb.read_capacity_16(room), read=room)
        assert request.good
        assert request.data == whole[:room]


def test_PVS_V_118_an_address_without_pmi(rig: Rig) -> None:
    assert told(rig.disk().run(cdb.read_capacity(lba=1), read=8)) == "05/24/00"


@pytest.mark.parametrize("units", [1, 2, 8])
@pytest.mark.parametrize("select", [0, 1, 2])
def test_PVS_V_134_report_luns(make_rig: MakeRig, units: int, select: int) -> None:
    disk = (make_rig() if units == 1 else make_rig({0: Drive(luns=units)})).disk()

    data = disk.must(cdb.report_luns(1024, select=select), read=1024).data
    short = disk.must(cdb.report_luns(16, select=select), read=1024).data

    wanted = range(units) if select != 1 else ()
    assert data[:8] == (8 * len(wanted)).to_bytes(4, "big") + bytes(4)
    assert data[8:] == b"".join(bytes((0, lun)) + bytes(6) for lun in wanted)
    assert short == data[:16]


def test_PVS_V_134_bad_requests(rig: Rig) -> None:
    disk = rig.disk()

    assert told(disk.run(cdb.report_luns(1024, select=3), read=1024)) == "05/24/00"
    assert told(disk.run(cdb.report_luns(15), read=1024)) == "05/24/00"


def test_PVS_V_134_clears_what_it_answers(rig: Rig) -> None:
    rig.need(Can.INSIDE)
    disk = rig.disk()

    rig.model.do(lambda: rig.device.targets[0].add(1, make_unit("spare", DISK)))
    luns = disk.must(cdb.report_luns(1024), read=1024).data

    assert int.from_bytes(luns[:4], "big") == 16
    assert disk.run(cdb.TEST_UNIT_READY).good


def test_PVS_V_134_changed_luns_are_told(rig: Rig) -> None:
    rig.need(Can.INSIDE)
    disk = rig.disk()

    rig.model.do(lambda: rig.device.targets[0].add(1, make_unit("spare", DISK)))

    assert disk.settle() == ["06/3F/0E"]


def commands(disk: Disk, rctd: int = 0) -> list[tuple[int, int | None, int, bytes]]:
    """(opcode, service action, bytes of the CDB, timeouts) of every command it says it has."""
    data = disk.must(cdb.report_opcodes(16384, rctd=rctd), read=16384).data
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    found, at = [], 4
    while at < len(data):
        row = data[at : at + 8]
        action = int.from_bytes(row[2:4], "big") if row[5] & 1 else None
        at += 8
        times = b""
        if row[5] & 2:
            times = data[at : at + 12]
            at += 12
        found.append((row[0], action, int.from_bytes(row[6:8], "big"), times))
    return found


def test_PVS_V_135_what_is_listed_is_known(disk: Disk) -> None:
    rows = commands(disk)

    assert len(rows) == len({row[:2] for row in rows})
    for opcode, action, length, _ in rows:
        assert length == (6, 10, 10, 0, 16, 12)[opcode >> 5]
        option = 1 if action is None else 2
        one = disk.must(cdb.report_opcodes(512, option=option, opcode=opcode, action=action or 0), read=512).data
        assert one[1] & 7 == 3
        assert int.from_bytes(one[2:4], "big") == length
        assert one[4] == opcode
        either = disk.must(cdb.report_opcodes(512, option=3, opcode=opcode, action=action or 0), read=512).data
        assert either[1] & 7 == 3


def test_PVS_V_135_reality_agrees(disk: Disk) -> None:
    listed = {row[0] for row in commands(disk)}
    skipped = {0x04, 0x1B}  # FORMAT, START STOP: known to be there, and would change what follows

    for opcode in set(range(256)) - skipped:
        request = disk.run(bytes((opcode,)) + bytes(15), read=0)
        assert request.host in (HostStatus.SUCCESS, HostStatus.DATARUN), f"{opcode:02X}: {request.outcome()}"
        assert (request.status == 2 and str(request.sense) == "05/20/00") == (opcode not in listed), f"{opcode:02X}"


def test_PVS_V_135_options(disk: Disk) -> None:
    def ask(option: int, opcode: int, action: int = 0) -> str:
        request = disk.run(cdb.report_opcodes(512, option=option, opcode=opcode, action=action), read=512)
        return f"support {request.data[1] & 7}" if request.good else told(request)

    assert ask(1, 0x12) == "support 3"
    assert ask(1, 0xA3) == "05/24/00"  # has service actions
    assert ask(2, 0xA3, 0x0C) == "support 3"
    assert ask(2, 0x12) == "05/24/00"  # has none
    assert ask(2, 0xA3, 0x1F) == "support 1"
    assert ask(1, 0xFF) == "support 1"
    assert ask(3, 0x12) == "support 3"
    assert ask(3, 0xA3, 0x1F) == "support 1"
    assert ask(4, 0x12) == "05/24/00"


def test_PVS_V_135_with_timeouts(disk: Disk) -> None:
    plain, timed = commands(disk), commands(disk, rctd=1)

    assert [row[:3] for row in plain] == [row[:3] for row in timed]
    assert all(row[3][:2] == b"\0\x0a" for row in timed)


@pytest.mark.parametrize("how", [{}, {"read": 512}, {"write": bytes(512)}], ids=["no data", "in", "out"])
def test_PVS_V_136_unknown_opcodes(disk: Disk, how: dict[str, Any]) -> None:
    opcodes = (0x02, 0x0F, 0x3C, 0x60, 0x7F, 0x83, 0x9F, 0xC0, 0xE0, 0xFF)

    found = {opcode: told(disk.run(bytes((opcode,)) + bytes(15), **how)) for opcode in opcodes}

    assert found == dict.fromkeys(opcodes, "05/20/00")


RESERVED = {
    "TEST UNIT READY": (cdb.TEST_UNIT_READY, 1, 0xFF, 0),
    "READ CAPACITY(10)": (cdb.read_capacity(), 1, 0xFE, 8),
    "REPORT LUNS": (cdb.report_luns(256), 1, 0xFF, 256),
    "READ(16) group": (cdb.read(0, 1, size=16), 14, 0x1F, 512),
}


@pytest.mark.parametrize("name", RESERVED)
def test_PVS_V_136_reserved_bits(rig: Rig, name: str) -> None:
    disk = rig.disk()
    command, byte, bits, size = RESERVED[name]
    answers = set()

    for bit in range(8):
        if bits >> bit & 1:
            changed = bytearray(command)
            changed[byte] |= 1 << bit
            answers.add(told(disk.run(bytes(changed), read=size)))

    assert answers in ({"status 00"}, {"05/24/00"})


@pytest.mark.parametrize("command", [cdb.TEST_UNIT_READY, cdb.inquiry(), cdb.read(0, 1), cdb.read(0, 1, size=16)])
def test_PVS_V_136_naca_is_not_offered(rig: Rig, command: bytes) -> None:
    changed = command[:-1] + b"\x04"

    assert told(rig.disk().run(changed, read=512 if command[0] else 0)) == "05/24/00"
