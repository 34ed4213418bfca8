"""PVSCSI driver rules 017 to 021, 055 and 063: the indices of both sides, and what was told through a ring."""

from collections.abc import Callable

import pytest

from pvscsi.conform.rig import Drive, MakeRig, Rig
from pvscsi.driver import Disk, Driver, cdb
from pvscsi.driver.rings import (
    CMP_CONS,
    CMP_LOG2,
    CMP_PROD,
    MSG_CONS,
    MSG_LOG2,
    MSG_PROD,
    REQ_CONS,
    REQ_LOG2,
    REQ_PROD,
    THRESHOLD,
)
from pvscsi.queue import PATIENCE_NS
from pvscsi.wire import REQUEST
from tests.conformance.pvscsi.told import assert_alive, rings_of, seen


@pytest.fixture
def disk(rig: Rig) -> Disk:
    """Behind rings of one page each."""
    return rig.disk(driver=rig.driver(strict=False, req_pages=1, cmp_pages=1))


def poke(driver: Driver, word: int, value: int) -> None:
    """The driver stores into the state page, and kicks."""
    rings_of(driver).state[word] = value & 0xFFFF_FFFF
    driver.kick_others()


@pytest.mark.parametrize("step", [33, 0x7FFF_FFFF, -1, -100])
def test_PVS_D_017_beyond_the_ring(rig: Rig, disk: Disk, step: int) -> None:
    rings = rings_of(disk.driver)
    index = rings.req_prod + step & 0xFFFF_FFFF

    poke(disk.driver, REQ_PROD, index)
    poke(disk.driver, REQ_PROD, index)  # told once

    assert seen(rig, "PVS-D-017") == [("reqProdIdx", index, 1)]
    rings.publish()
    assert disk.run(cdb.inquiry(), read=36).good


def test_PVS_D_017_taking_back_what_was_published(make_rig: MakeRig) -> None:
    rig = make_rig()
    disk = rig.disk(driver=rig.driver(strict=False))
    rings, device = rings_of(disk.driver), rig.device
    for n in range(4):
        disk.submit(cdb.read(n, 1), read=512, kick=False)
    device.service(2, 0)

    rings.state[REQ_PROD] -= 1
    device.service(1, 0)
    rings.publish()
    disk.driver.wait()

    assert seen(rig, "PVS-D-017") == [("reqProdIdx", rings.req_prod - 1, 1)]


def test_PVS_D_018_more_out_than_the_ring_holds(rig: Rig, disk: Disk) -> None:
    driver, rings = disk.driver, rings_of(disk.driver)
    for n in range(32):
        disk.submit(cdb.read(n, 1), read=512)
    rig.settle()

    rings.put(REQUEST.encode(context=99, cdb=cdb.TEST_UNIT_READY, cdbLen=6, tag=0x20, flags=4))
    rings.publish()
    driver.kick_others()

    assert [(place, count) for place, _, count in seen(rig, "PVS-D-018")] == [("reqProdIdx", 1)]


@pytest.mark.parametrize("step", [200, -3, -0x7FFF_FFFF])
def test_PVS_D_019_cmpConsIdx(rig: Rig, disk: Disk, step: int) -> None:
    rings = rings_of(disk.driver)
    index = rings.cmp_cons + step & 0xFFFF_FFFF
    rings.state[CMP_CONS] = index

    disk.submit(cdb.inquiry(), read=36)
    rig.settle()

    assert seen(rig, "PVS-D-019")[0][:2] == ("cmpConsIdx", index)
    assert_alive(rig)


def test_PVS_D_019_past_what_is_posted(rig: Rig, disk: Disk) -> None:
    rings = rings_of(disk.driver)
    index = rings.cmp_cons + 3

    rings.state[CMP_CONS] = index
    disk.submit(cdb.inquiry(), read=36)  # posting it does not make the index right
    rig.settle()

    assert seen(rig, "PVS-D-019")[0][:2] == ("cmpConsIdx", index)
    assert rings.state[CMP_PROD] == rings.cmp_cons


def test_PVS_D_019_msgConsIdx(rig: Rig) -> None:
    driver = rig.driver(strict=False, msg_pages=1)
    rings_of(driver).state[MSG_CONS] = 7

    rig.model.plug(3, Drive())

    assert seen(rig, "PVS-D-019")[0][:2] == ("msgConsIdx", 7)
    assert rings_of(driver).state[MSG_PROD] == 0


OWNED = {
    "reqConsIdx": REQ_CONS,
    "reqNumEntriesLog2": REQ_LOG2,
    "cmpProdIdx": CMP_PROD,
    "cmpNumEntriesLog2": CMP_LOG2,
    "reqCallThreshold": THRESHOLD,
    "msgProdIdx": MSG_PROD,
    "msgNumEntriesLog2": MSG_LOG2,
}


@pytest.mark.parametrize("name", OWNED)
def test_PVS_D_020_the_devices_own_fields(rig: Rig, name: str) -> None:
    disk = rig.disk(driver=rig.driver(strict=False, msg_pages=1))
    driver, word, rings = disk.driver, OWNED[name], rings_of(disk.driver)
    was = rings.state[word]
    wrong = rings.state[word] = 0xFF if name.endswith("Log2") else was + 77

    driver.submit(cdb.inquiry(), read=36)
    rig.settle()

    moved = name in ("reqConsIdx", "cmpProdIdx")  # stored anew before anybody looks
    assert seen(rig, "PVS-D-020") == ([] if moved else [(f"state page offset {4 * word:#x}", wrong, 1)])
    assert rings.state[word] == was + moved
    driver.wait()


@pytest.mark.parametrize("word", [REQ_CONS, CMP_PROD], ids=["reqConsIdx", "cmpProdIdx"])
def test_PVS_D_020_an_index_while_nothing_moves_it(make_rig: MakeRig, word: int) -> None:
    rig = make_rig({0: Drive(held=True), 1: Drive()})
    disk = rig.disk(driver=rig.driver(strict=False))
    rings = rings_of(disk.driver)
    rig.held(disk)
    was = rings.state[word]
    rings.state[word] = was + 100

    rig.model.plug(3, Drive())  # a message is posted, nothing else

    assert seen(rig, "PVS-D-020") == [(f"state page offset {4 * word:#x}", was + 100, 1)]
    assert rings.state[word] == was
    rig.go_on()
    disk.driver.wait()


def test_PVS_D_021_published_before_it_was_written(rig: Rig, disk: Disk) -> None:
    rings = rings_of(disk.driver)

    rings.put(bytes(REQUEST.size))
    rings.publish()
    disk.driver.kick_others()

    assert seen(rig, "PVS-D-021") == [("requests", 0, 1)]
    assert rig.broken() == {"PVS-D-021"}


def test_PVS_D_021_says_nothing_of_firmwares_test_unit_ready(rig: Rig) -> None:
    driver = rig.driver(profile="ovmf")

    driver.run(cdb.TEST_UNIT_READY)

    assert seen(rig, "PVS-D-021") == []


def test_PVS_D_055_a_full_completion_ring(make_rig: MakeRig) -> None:
    rig = make_rig()
    driver = rig.driver(strict=False, req_pages=8, cmp_pages=1)
    for n in range(130):
        driver.submit(cdb.inquiry(), read=36, target=n % 2)

    rig.settle()

    assert seen(rig, "PVS-D-055")[0][:2] == ("completion ring", 128)
    driver.wait()


def test_PVS_D_055_completions_left_lying(rig: Rig) -> None:
    driver = rig.driver(profile="linux")
    driver.submit(cdb.inquiry(), read=36)
    rig.settle()

    rig.port.until(lambda: False, 10 * PATIENCE_NS / 1e9)

    assert seen(rig, "PVS-D-055") == [("cmpConsIdx", 1, 1)]
    driver.wait()


@pytest.mark.parametrize("take", ["all at once", "one now and then"])
def test_PVS_D_055_says_nothing_of_slow_drivers(rig: Rig, take: str) -> None:
    driver = rig.driver()
    for _ in range(4):
        driver.submit(cdb.inquiry(), read=36)
    rig.settle()

    for _ in range(4):
        driver.reap(1 if take == "one now and then" else None)
        rig.port.until(lambda: False, 0.9 * PATIENCE_NS / 1e9)

    assert not rig.broken()


TAKEN: dict[str, Callable[[Driver], object]] = {"read": Driver.messages, "not read": lambda driver: None}


@pytest.mark.parametrize("message", TAKEN)
def test_PVS_D_063_requests_to_what_is_gone(make_rig: MakeRig, message: str) -> None:
    rig = make_rig({0: Drive(), 3: Drive()})
    driver = rig.driver()
    rig.disk(3, driver)
    rig.model.unplug(3)
    TAKEN[message](driver)

    driver.run(cdb.inquiry(), target=3, read=36)  # looking whether something is there is always right
    assert seen(rig, "PVS-D-063") == []
    driver.run(cdb.TEST_UNIT_READY, target=3)

    assert [place for place, _, _ in seen(rig, "PVS-D-063")] == (["target 3, opcode 0x00"] if message == "read" else [])


def test_PVS_D_063_says_nothing_when_it_is_back(make_rig: MakeRig) -> None:
    rig = make_rig({0: Drive(), 3: Drive()})
    driver = rig.driver()
    rig.model.unplug(3)
    rig.model.plug(3, Drive())
    rig.model.unplug(3)
    driver.messages()
    rig.model.plug(3, Drive())

    rig.disk(3, driver)

    assert not rig.broken()
