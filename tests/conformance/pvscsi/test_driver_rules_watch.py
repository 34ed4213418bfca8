"""PVSCSI driver rules 022 to 025, 030, 036, 043 to 046, 058 and 066: seen by the close look only."""

from collections.abc import Iterator
from typing import Any

import pytest

from pvscsi.conform.rig import Drive, MakeRig, Rig
from pvscsi.driver import Disk, Driver, Request, Shape, cdb, even
from pvscsi.watch import KICK_WITHIN_NS
from pvscsi.wire import Cmd, Flag
from tests.conformance.pvscsi.told import NOWHERE, assert_alive, rings_of, seen

PLACE = "target 0, opcode 0x28"
LATE_S = 2 * KICK_WITHIN_NS / 1e9


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """An adapter that looks closely, with a disk that can be told to keep its commands."""
    return make_rig({0: Drive(held=True)}, watch=True)


@pytest.fixture
def disk(rig: Rig) -> Disk:
    return rig.disk(driver=rig.driver(strict=False))


@pytest.fixture
def held(rig: Rig, disk: Disk) -> Iterator[Disk]:
    """The disk while it keeps its commands; in the end all are done, and the adapter works."""
    rig.target.hold(0, True)
    yield disk
    rig.go_on()
    disk.driver.wait()
    assert_alive(rig)


def ask(disk: Disk, lba: int = 0, **how: Any) -> Request:
    """A READ of one block."""
    return disk.submit(cdb.read(lba, 1), read=512, **how)


def test_nothing_is_seen_without_the_close_look(make_rig: MakeRig) -> None:
    rig = make_rig({0: Drive()})
    disk = rig.disk()

    requests = [ask(disk, context=7), ask(disk, context=7, senseLen=8)]
    disk.driver.wait(*requests)

    assert not rig.broken()


# -- 022: what is lent to the device -----------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["data", "list", "nothing"])
def test_PVS_D_022_changed_under_way(rig: Rig, held: Disk, change: str) -> None:
    request = held.submit(cdb.write(0, 8), write=bytes(4096), shape=Shape(even(4096, 4), True))
    rig.settle()
    memory = request.memory
    assert memory is not None
    segment, content = memory.segments[0]

    if change == "data":
        memory.views[3][-1] = 1
    elif change == "list":
        segment.view[8] ^= 1  # the length of the first element
    rig.go_on()
    segment.view[:] = content

    assert seen(rig, "PVS-D-022") == ([] if change == "nothing" else [("target 0, opcode 0x2a", request.context, 1)])


def test_PVS_D_022_a_list_that_can_be_read_no_more(rig: Rig, held: Disk) -> None:
    request = held.submit(cdb.read(0, 8), read=4096, shape=Shape(even(4096, 4), True))
    rig.settle()
    assert request.memory is not None
    segment, content = request.memory.segments[0]

    segment.view[12] = 2  # a reserved flag
    rig.go_on()
    segment.view[:] = content

    assert seen(rig, "PVS-D-022") == [(PLACE, request.context, 1)]


# -- 023 to 025: kicks -------------------------------------------------------------------------------------------------


def late(rig: Rig) -> None:
    rig.port.until(lambda: False, LATE_S)


def test_PVS_D_023_no_kick(rig: Rig, disk: Disk) -> None:
    ask(disk, kick=False)

    late(rig)

    assert seen(rig, "PVS-D-023") == [("kicks", 0, 1)]


def test_PVS_D_023_a_kick_a_little_later(rig: Rig, disk: Disk) -> None:
    for n in range(3):
        ask(disk, n, kick=False)
        rig.settle()
        disk.driver.kick_io()
        disk.driver.reap()
        late(rig)

    assert not rig.broken()


def test_PVS_D_024_silence_for_what_is_no_read(rig: Rig, disk: Disk) -> None:
    """With a threshold in force only READ and WRITE may go without a kick."""
    rig.device.polled = True
    ask(disk, kick=False)
    late(rig)
    assert not rig.broken()

    disk.submit(cdb.inquiry(), read=36, kick=False)
    late(rig)

    assert seen(rig, "PVS-D-024") == [("kicks", 0x12, 1)]


@pytest.mark.parametrize("loud", [True, False])
def test_PVS_D_025_the_other_kick(rig: Rig, disk: Disk, loud: bool) -> None:
    disk.submit(cdb.inquiry(), read=36, kick=False)
    (disk.driver.kick_others if loud else disk.driver.kick_io)()
    ask(disk)

    late(rig)

    assert seen(rig, "PVS-D-025") == ([] if loud else [("kicks", 0x12, 1)])


@pytest.mark.parametrize("name", ["ovmf", "seabios"])
def test_PVS_D_025_firmware(rig: Rig, name: str) -> None:
    driver = rig.driver(profile=name)
    driver.run(cdb.inquiry(), read=36)

    late(rig)

    assert seen(rig, "PVS-D-025") == [("kicks", 0x12, 1)]


# -- requests and their memory -----------------------------------------------------------------------------------------


def test_PVS_D_030_the_same_context_twice(rig: Rig, held: Disk) -> None:
    ask(held, context=7)
    ask(held, context=8)
    ask(held, context=7)
    rig.settle()

    assert seen(rig, "PVS-D-030") == [("requests", 7, 1)]


def test_PVS_D_030_says_nothing_of_one_after_the_other(rig: Rig, disk: Disk) -> None:
    for _ in range(3):
        disk.driver.wait(ask(disk, context=7))

    assert not rig.broken()


@pytest.mark.parametrize(
    ("command", "size", "right"),
    [
        (cdb.read(0, 2), 512, False),
        (cdb.read(0, 1), 1024, False),
        (cdb.read(0, 2), 1024, True),
        (cdb.inquiry(255), 36, False),
        (cdb.inquiry(36), 36, True),
        (cdb.inquiry(4), 36, False),
        (b"\xff" + bytes(9), 36, True),
    ],
)
def test_PVS_D_036_other_than_the_cdb_says(rig: Rig, disk: Disk, command: bytes, size: int, right: bool) -> None:
    disk.run(command, read=size)

    place = f"target 0, opcode {command[0]:#04x}"
    assert seen(rig, "PVS-D-036") == ([] if right else [(place, size, 1)])


@pytest.mark.parametrize("size", [1, 17, 256])
def test_PVS_D_043_odd_sizes(rig: Rig, disk: Disk, size: int) -> None:
    disk.driver.wait(ask(disk, sense=size))

    assert seen(rig, "PVS-D-043") == [(PLACE, size, 1)]


@pytest.mark.parametrize("size", [0, 18, 96, 252, 255])
def test_PVS_D_043_says_nothing_of_what_drivers_have(rig: Rig, disk: Disk, size: int) -> None:
    disk.driver.wait(ask(disk, sense=size))

    assert not rig.broken()


def test_PVS_D_043_out_of_reach_although_nothing_fails(rig: Rig, disk: Disk) -> None:
    disk.driver.wait(ask(disk, senseAddr=NOWHERE))

    assert seen(rig, "PVS-D-043") == [(PLACE, 96, 1)]


@pytest.mark.parametrize("by", [0, 511, 512, -512])
def test_PVS_D_044_two_requests_one_buffer(rig: Rig, held: Disk, by: int) -> None:
    buffer = held.driver.memory.take(2048)
    flags = int(Flag.DIR_TOHOST)

    for at in (512, 512 + by):
        held.submit(cdb.read(0, 1), flags=flags, dataAddr=buffer.address + at, dataLen=512)
    rig.settle()

    overlap = abs(by) < 512
    assert seen(rig, "PVS-D-044") == ([(PLACE, buffer.address + 512 + by, 1)] if overlap else [])


def test_PVS_D_044_sense_where_others_read(rig: Rig, held: Disk) -> None:
    first = ask(held)
    assert first.memory is not None
    ask(held, senseAddr=first.memory.address + 100)
    rig.settle()

    assert [place for place, _, _ in seen(rig, "PVS-D-044")] == [PLACE]


def test_PVS_D_044_says_nothing_of_writing_from_one_buffer(rig: Rig, held: Disk) -> None:
    buffer = held.driver.memory.take(512)

    for lba in range(3):
        held.submit(cdb.write(lba, 1), flags=int(Flag.DIR_TODEVICE), dataAddr=buffer.address, dataLen=512)
    rig.settle()

    assert not rig.broken()


WHERE = ["state page", "request ring", "completion ring", "message ring"]


@pytest.mark.parametrize("where", WHERE)
def test_PVS_D_045_reading_into_rings(rig: Rig, disk: Disk, where: str) -> None:
    rings = rings_of(disk.driver)
    assert rings.messages is not None
    page = [rings.page, rings.requests.pages[-1], rings.completions.pages[-1], rings.messages.pages[0]][
        WHERE.index(where)
    ]

    request = disk.submit(cdb.read(0, 1), flags=int(Flag.DIR_TOHOST), dataAddr=page.address + 2048, dataLen=512)
    rig.settle()

    assert seen(rig, "PVS-D-045") == [(PLACE, page.address + 2048, 1)]
    disk.driver.reap()
    assert request.done


def test_PVS_D_045_reading_into_a_list(rig: Rig, held: Disk) -> None:
    first = held.submit(cdb.read(0, 8), read=4096, shape=Shape(even(4096, 4), True))
    rig.settle()
    assert first.memory is not None
    address = first.memory.address

    second = held.submit(cdb.read(0, 1), flags=int(Flag.DIR_TOHOST), dataAddr=address - 500, dataLen=512)
    rig.settle()

    assert seen(rig, "PVS-D-045") == [(PLACE, address - 500, 1)]
    held.driver.abort(second)  # or it would fill the list


def test_PVS_D_046_bytes_behind_the_cdb(rig: Rig, disk: Disk) -> None:
    assert disk.run(cdb.inquiry() + b"\0\0\1", read=36, cdbLen=6).good

    assert seen(rig, "PVS-D-046") == [("behind the CDB", 0x12, 1)]


# -- 058 and 066 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [True, False])
def test_PVS_D_058_an_aborted_context_again(rig: Rig, held: Disk, taken: bool) -> None:
    driver = held.driver
    request = ask(held, context=7)
    driver.abort(request)
    if taken:
        driver.reap()

    ask(held, context=7)
    rig.settle()

    assert seen(rig, "PVS-D-058") == ([] if taken else [("requests", 7, 1)])


def stop(driver: Driver) -> None:
    driver.set_mask(0)
    driver.command_only(Cmd.ADAPTER_RESET)
    driver.active = False


def test_PVS_D_066_reset_with_writes_in_the_cache(rig: Rig, disk: Disk) -> None:
    disk.write(0, bytes(512), size=10)

    stop(disk.driver)

    assert seen(rig, "PVS-D-066") == [("target 0, LUN 0", 0x2A, 1)]


@pytest.mark.parametrize("how", ["flushed", "FUA", "stopped", "no cache", "nothing written"])
def test_PVS_D_066_says_nothing_of_what_is_durable(rig: Rig, disk: Disk, how: str) -> None:
    if how == "no cache":
        page = bytearray(disk.mode_page(8))
        page[0] &= 0x3F
        page[2] &= ~4
        disk.must(cdb.mode_select(4 + len(page)), write=bytes(4) + bytes(page))
    if how != "nothing written":
        disk.write(0, bytes(512), fua=how == "FUA")
    if how == "flushed":
        disk.flush()
    elif how == "stopped":
        disk.must(cdb.start_stop(0))

    stop(disk.driver)

    assert seen(rig, "PVS-D-066") == []
