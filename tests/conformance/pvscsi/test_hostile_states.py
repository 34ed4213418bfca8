"""Hostile drivers, and machines: memory that goes, remote memory, what waits for what. The numbered cases that change
the memory map, and others that need the model at hand.

Wherever a case ends, the adapter works after ADAPTER_RESET.
"""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from pvdev.irq import Pace
from pvdev.mem import DmaFault
from pvdev.transport.inproc import LocalPort
from pvscsi.conform.rig import Drive, MakeRig, Rig, pattern
from pvscsi.driver import Disk, Request, Shape, cdb, even
from pvscsi.wire import PAGE, TAG_HEAD, TAG_ORDERED, Flag, HostStatus
from tests.conformance.pvscsi.told import NOWHERE, assert_alive, rings_of, seen

HELD = Drive(held=True)
IN, OUT, LIST = int(Flag.DIR_TOHOST), int(Flag.DIR_TODEVICE), int(Flag.CMD_WITH_SG_LIST)


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """Its disk can be told to keep its commands; it keeps none yet."""
    return make_rig({0: HELD})


@pytest.fixture
def disk(rig: Rig) -> Disk:
    return rig.disk(driver=rig.driver(strict=False))


def local(rig: Rig) -> LocalPort:
    assert isinstance(rig.port, LocalPort)
    return rig.port


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("polled", [False, True])
def test_hostile_38_a_threshold_and_nobody_produces(rig: Rig, polled: bool) -> None:
    rig.device.polled = polled
    driver = rig.driver()
    driver.run(cdb.inquiry(), read=36)
    device, port = rig.device, local(rig)

    device.rest()
    rounds = 0
    while (due := device.deadline()) is not None:
        port.now_ns = max(due, port.now_ns)
        assert not device.service(256, port.now_ns)
        rounds += 1

    assert driver.calls
    assert rounds <= 2  # two looks, and then it sleeps
    assert driver.run(cdb.inquiry(), read=36).good
    assert_alive(rig)


# -- memory that goes --------------------------------------------------------------------------------------------------


def moved_away(rig: Rig, address: int, size: int) -> memoryview:
    """The machine takes a region of its memory back; nothing holds a view of it any more."""
    memory = rig.device.mem
    region = memory.unmap(address, size)
    assert region is not None
    assert region.view is not None
    view, region.view = region.view, None
    gc.collect()
    return view


def lent(rig: Rig, size: int = PAGE, address: int = NOWHERE) -> bytearray:
    memory = bytearray(size)
    rig.device.mem.map(address, memoryview(memory))
    return memory


Ask = Callable[[Disk], Request]
ASKED: dict[str, Ask] = {
    "a read": lambda disk: disk.submit(cdb.read(0, 1), flags=IN, dataAddr=NOWHERE, dataLen=512),
    "a write": lambda disk: disk.submit(cdb.write(0, 1), flags=OUT, dataAddr=NOWHERE, dataLen=512),
    "a longer work": lambda disk: disk.submit(
        cdb.write_and_verify(0, 1, bytchk=1), flags=OUT, dataAddr=NOWHERE, dataLen=512
    ),
    "half of it": lambda disk: disk.submit(cdb.read(0, 16), flags=IN, dataAddr=NOWHERE - PAGE, dataLen=2 * PAGE),
}


@pytest.mark.parametrize("what", ASKED)
def test_hostile_42_data_go_under_way(rig: Rig, disk: Disk, what: str) -> None:
    lent(rig, address=NOWHERE - PAGE)
    memory = lent(rig)
    rig.target.hold(0, True)
    request, other = ASKED[what](disk), disk.submit(cdb.read(1, 1), read=512)
    rig.settle()

    view = moved_away(rig, NOWHERE, PAGE)
    view.release()
    memory.clear()  # `BufferError` when anybody had a view
    rig.go_on()
    disk.driver.wait(request, other)

    assert (request.host, request.moved, other.good) == (HostStatus.INVPARAM, 0, True)
    assert "PVS-D-037" in rig.broken()
    assert_alive(rig)


def test_hostile_42_data_of_one_that_waits_for_another(rig: Rig, disk: Disk) -> None:
    """COMPARE AND WRITE behind one of the same block: nothing of it is with the medium."""
    memory = lent(rig)
    rig.target.hold(0, True)
    first = disk.submit(cdb.compare_and_write(0, 1), write=bytes(1024))
    second = disk.submit(cdb.compare_and_write(0, 1), flags=OUT, dataAddr=NOWHERE, dataLen=1024)
    rig.settle()

    moved_away(rig, NOWHERE, PAGE).release()
    memory.clear()
    rig.go_on()
    disk.driver.wait(first, second)

    assert (first.good, second.host, second.moved) == (True, HostStatus.INVPARAM, 0)
    assert_alive(rig)


def test_hostile_42_sense_and_the_list_go_under_way(rig: Rig, disk: Disk) -> None:
    """The list was read, and is not needed any more; sense has nowhere to go."""
    memory = lent(rig)
    shape = Shape(even(1024, 2), True)
    rig.target.hold(0, True)
    request = disk.submit(cdb.read(0, 2), read=1024, shape=shape)
    assert request.memory is not None
    memory[:32] = request.memory.segments[0][1]
    moved = disk.submit(cdb.read(0, 2), flags=IN | LIST, dataAddr=NOWHERE, dataLen=1024)
    rig.settle()

    moved_away(rig, NOWHERE, PAGE).release()
    memory.clear()
    rig.go_on()
    disk.driver.wait(request, moved)

    assert request.good
    assert moved.good
    assert disk.run(cdb.read(1 << 30, 1), read=512, senseAddr=NOWHERE).host == HostStatus.SENSFAILED
    assert_alive(rig)


@pytest.mark.parametrize("back", [True, False])
def test_hostile_42_rings_go_with_requests_out(rig: Rig, disk: Disk, back: bool) -> None:
    """They may come back: machines move memory about. Nothing is stored while they are gone."""
    arena = local(rig).arena
    out = rig.held(disk, 10)
    before = bytes(arena.block.view)
    rig.device.mem.unmap(arena.base, arena.block.size)

    rig.go_on()
    unchanged = arena.block.view == before
    if not back:
        disk.driver.kick_others()
    rig.device.mem.map(arena.base, arena.block.view)

    assert unchanged
    if back:
        disk.driver.kick_others()
        disk.driver.wait()
        assert {request.host for request in out} == {HostStatus.INVPARAM}
    else:
        assert seen(rig, "PVS-D-061")
        assert not rig.device.active
        disk.driver.forsake()
    assert_alive(rig)


# -- remote memory: every access is a message --------------------------------------------------------------------------


class Far:
    """Remote memory; after `life` accesses it is gone."""

    def __init__(self, size: int, life: int = 1 << 30) -> None:
        self.data, self.life = bytearray(size), life

    def _live(self, address: int) -> None:
        self.life -= 1
        if self.life < 0:
            raise DmaFault("MEM-01", "the other side does not answer", address)

    def read(self, address: int, length: int) -> bytes:
        self._live(address)
        return bytes(self.data[address - NOWHERE :][:length])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self._live(address)
        self.data[address - NOWHERE : address - NOWHERE + len(data)] = data


def far(rig: Rig, size: int = PAGE, **how: Any) -> Far:
    memory = Far(size, **how)
    rig.device.mem.map(NOWHERE, None, size, remote=memory)
    return memory


def test_data_in_remote_memory(rig: Rig, disk: Disk) -> None:
    memory = far(rig)
    memory.data[:512] = pattern(512, 3)

    wrote = disk.run(cdb.write(0, 1), flags=OUT, dataAddr=NOWHERE, dataLen=512)
    read = disk.run(cdb.read(0, 1), flags=IN, dataAddr=NOWHERE + 1000, dataLen=2000)

    assert (wrote.good, read.good, read.moved) == (True, True, 512)
    assert bytes(memory.data) == pattern(512, 3) + bytes(488) + pattern(512, 3) + bytes(PAGE - 1512)
    assert_alive(rig)


@pytest.mark.parametrize("life", [0, 1, 2, 3])
def test_remote_memory_that_stops_answering(rig: Rig, disk: Disk, life: int) -> None:
    """What was read and cannot be stored is INVPARAM, and not a failure of sense."""
    memory = far(rig)
    listed = far_list(disk)
    memory.life = life

    read = disk.run(cdb.read(0, 1), flags=IN, dataAddr=NOWHERE, dataLen=512)
    wrote = disk.run(cdb.write(0, 1), flags=OUT, dataAddr=NOWHERE, dataLen=512)
    spread = disk.run(cdb.read(0, 1), flags=IN | LIST, dataAddr=listed, dataLen=512)

    answers = [read, wrote, spread]
    assert [request.good for request in answers] == [True] * min(life, 2) + [False] * (3 - min(life, 2))
    assert {request.host for request in answers if not request.good} == {HostStatus.INVPARAM}
    assert rig.broken() <= {"PVS-D-037", "PVS-D-038"}
    assert_alive(rig)


def far_list(disk: Disk) -> int:
    """An SG list in near memory, of two pieces of far memory."""
    page = disk.driver.memory.pages(1)[0]
    row = (256).to_bytes(4, "little") + bytes(4)
    page.view[:32] = NOWHERE.to_bytes(8, "little") + row + (NOWHERE + 256).to_bytes(8, "little") + row
    return page.address


def test_copies_of_remote_memory_are_bounded(rig: Rig, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that would be one too many comes again: its unit says that its task set is full."""
    monkeypatch.setattr("pvscsi.requests.COPIES_MAX", 8192)
    far(rig, 1 << 20)
    rig.target.hold(0, True)
    out = [disk.submit(cdb.read(0, 8), flags=IN, dataAddr=NOWHERE, dataLen=1 << 20) for _ in range(5)]
    rig.settle()

    full = disk.driver.reap()
    rig.go_on()
    disk.driver.wait()
    again = disk.run(cdb.read(0, 8), flags=IN, dataAddr=NOWHERE, dataLen=4096)

    assert [(request.host, request.status, request.moved) for request in full] == [(0, 0x28, 0)] * 3
    assert [request.good for request in out] == [True, True, False, False, False]
    assert again.good
    assert_alive(rig)


# -- what waits for what -----------------------------------------------------------------------------------------------


def test_a_thousand_commands_behind_an_ordered_one(make_rig: MakeRig) -> None:
    """One after the other they are let go, not one inside the other."""
    rig = make_rig({0: HELD})
    disk = rig.disk(driver=rig.driver(strict=False, req_pages=32, cmp_pages=32))
    rig.target.hold(0, True)
    first = disk.submit(cdb.read(0, 1), read=512)
    rest = [disk.submit(cdb.TEST_UNIT_READY, tag=TAG_ORDERED) for _ in range(1000)]
    rig.settle()

    assert not disk.driver.reap()
    rig.go_on()
    disk.driver.wait()

    assert first.good
    assert all(request.good for request in rest)
    assert_alive(rig)


def test_nothing_passes_an_ordered_command_but_one_at_the_head(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk()
    rig.target.hold(0, True)
    ordered = disk.submit(cdb.read(0, 1), read=512, tag=TAG_ORDERED)
    simple = [disk.submit(cdb.read(8, 8), read=4096), disk.submit(cdb.TEST_UNIT_READY)]
    head = disk.submit(cdb.TEST_UNIT_READY, tag=TAG_HEAD)
    rig.settle()

    passed = list(disk.driver.reap())
    rig.go_on()
    disk.driver.wait()

    assert passed == [head]
    assert all(request.good for request in (ordered, *simple, head))


def test_a_thousand_writes_that_wait_for_each_other(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk(driver=rig.driver(strict=False, req_pages=32, cmp_pages=32))
    rig.target.hold(0, True)
    out = [disk.submit(cdb.compare_and_write(0, 1), write=bytes(1024)) for _ in range(1000)]
    rig.settle()

    rig.go_on()
    disk.driver.wait()

    assert all(request.good for request in out)
    assert_alive(rig)


@pytest.mark.parametrize("how", ["abort", "device", "bus", "adapter"])
def test_what_waits_for_what_is_aborted_does_not_begin(rig: Rig, disk: Disk, how: str) -> None:
    rig.target.hold(0, True)
    data = bytes(512) + pattern(512, 5)
    first = disk.submit(cdb.compare_and_write(0, 1), write=data)
    rest = [disk.submit(cdb.compare_and_write(0, 1), write=data) for _ in range(20)]
    rig.settle()
    driver = disk.driver

    if how == "abort":
        for request in [first, *rest]:
            driver.abort(request)
    else:
        {"device": lambda: driver.reset_device(0), "bus": driver.reset_bus, "adapter": driver.reset_host}[how]()
    driver.reap()
    rig.go_on()
    disk.settle()

    assert disk.read(0, 1) == bytes(512)
    assert_alive(rig)


def test_completions_that_wait_are_forgotten_by_a_reset(make_rig: MakeRig) -> None:
    """An interrupt that waits for company does not come with the next driver's."""
    rig = make_rig({0: HELD}, moderation=Pace(frames=1, ns=0, lazy_frames=16, lazy_ns=300_000))
    disk = rig.disk(driver=rig.driver(strict=False))
    rig.held(disk, 1)
    disk.submit(cdb.inquiry(), read=36)
    rig.settle()
    disk.driver.reap()
    rig.fired()

    disk.driver.reset_host()
    state = rings_of(disk.driver)
    local(rig).advance(10_000_000)

    assert rig.fired() == 0
    assert not state.done
    rig.go_on()
    assert_alive(rig)
