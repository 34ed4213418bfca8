"""PVSCSI device rules 097 to 100: drives that come and go."""

import pytest

from pvscsi import wire
from pvscsi.conform.rig import DISK, Can, Drive, MakeRig, Rig
from pvscsi.driver import Disk, Driver, Message, cdb
from pvscsi.driver.rings import MSG_PROD, Rings
from pvscsi.wire import HostStatus, Intr

HELD = Drive(held=True)


def rings_of(driver: Driver) -> Rings:
    assert driver.rings is not None
    return driver.rings


def there(driver: Driver, number: int) -> bool:
    """Whether a drive answers."""
    return driver.run(cdb.inquiry(), read=36, target=number).host == HostStatus.SUCCESS


def test_PVS_V_097_added_and_removed(rig: Rig) -> None:
    rig.need(Can.PLUG)
    driver = rig.driver()
    driver.acknowledge()

    rig.target.plug(5, DISK)
    told = driver.pending()
    added = driver.messages()  # the driver checks bus, LUN and pad
    rig.target.unplug(5)

    assert told & (Intr.MSG_0 | Intr.MSG_1) == Intr.MSG_0
    assert added == [Message(True, 5, 0)]
    assert driver.messages() == [Message(False, 5, 0)]


@pytest.mark.parametrize("intr", ["msi", "msix"])
def test_PVS_V_097_an_interrupt_for_each(rig: Rig, intr: str) -> None:
    rig.need(Can.PLUG)
    driver = rig.driver(intr=intr)
    rig.fired()
    found = []

    for number in (3, 4, 64):
        rig.target.plug(number, DISK)
        found.append(rig.fired())
        rig.target.unplug(number)
        found.append(rig.fired())

    assert found == [1] * 6
    assert len(driver.messages()) == 6


def test_PVS_V_097_only_messages_that_are_listened_to(rig: Rig) -> None:
    rig.need(Can.PLUG)
    driver = rig.driver(intr="msi")
    driver.set_mask(3)
    rig.fired()

    rig.target.plug(3, DISK)

    assert rig.fired() == 0
    assert driver.pending() & Intr.MSG_0
    driver.set_mask(15)
    assert rig.fired() == 1


def test_PVS_V_098_usable_when_told(rig: Rig) -> None:
    rig.need(Can.PLUG)
    driver = rig.driver()
    before = there(driver, 2)

    rig.target.plug(2, DISK)
    assert driver.messages() == [Message(True, 2, 0)]
    disk = Disk(driver, 2)
    inquiry = disk.run(cdb.inquiry(), read=36)
    told = disk.settle()
    disk.write(0, b"n" * 512)

    assert not before
    assert inquiry.good
    assert [sense[:5] for sense in told] == ["06/29"]
    assert disk.read(0, 1) == b"n" * 512


def test_PVS_V_098_gone_when_told(make_rig: MakeRig) -> None:
    rig = make_rig({0: DISK, 1: HELD})
    rig.need(Can.PLUG)
    driver = rig.driver()
    disk = rig.disk(1, driver)
    waiting = rig.held(disk, 10)

    rig.target.unplug(1)
    ended = rig.reaped(driver)

    assert driver.messages() == [Message(False, 1, 0)]
    assert set(ended) == set(waiting)
    assert {request.host for request in ended} <= {HostStatus.BUSRESET, HostStatus.ABORTQUEUE, HostStatus.SUCCESS}
    assert not there(driver, 1)
    assert there(driver, 0)


def test_PVS_V_098_under_load(make_rig: MakeRig) -> None:
    rig = make_rig({0: DISK})
    rig.need(Can.PLUG)
    driver = rig.driver()
    steady = rig.disk(0, driver)

    for n in range(30):
        rig.target.plug(1, DISK)
        coming = Disk(driver, 1)
        sent = [coming.submit(cdb.read(k, 8), read=4096) for k in range(10)]
        sent += [steady.submit(cdb.write(k, 1), write=bytes([n]) * 512) for k in range(10)]
        rig.target.unplug(1)
        sent += [coming.submit(cdb.read(0, 1), read=512)]
        driver.wait(*sent)
        assert sent[-1].host == HostStatus.SELTIMEO
        assert all(request.good for request in sent[10:20])
        assert driver.messages() == [Message(True, 1, 0), Message(False, 1, 0)]

    assert driver.outstanding == 0


def test_PVS_V_099_a_full_message_ring(rig: Rig) -> None:
    rig.need(Can.PLUG)
    driver = rig.driver(msg_pages=1)
    rings = rings_of(driver)
    assert rings.messages is not None

    for number in range(1, 50):
        rig.target.plug(number, DISK)
    posted = rings.state[MSG_PROD]
    full = rings.messages.read(0, 32)
    rig.target.plug(60, DISK)

    assert posted == 32
    assert rings.messages.read(0, 32) == full
    found: list[Message] = []

    def look() -> bool:
        found.extend(driver.messages())
        return len(found) >= 50

    assert rig.port.until(look)
    assert found == [Message(True, number, 0) for number in [*range(1, 50), 60]]


def test_PVS_V_099_what_nobody_reads_does_not_pile_up(rig: Rig) -> None:
    rig.need(Can.PLUG)
    driver = rig.driver(msg_pages=1)
    for _ in range(200):
        rig.target.plug(1, DISK)
        rig.target.unplug(1)
    rig.target.plug(1, DISK)
    rings, found = rings_of(driver), driver.messages()
    while rig.port.until(lambda: rings.state[MSG_PROD] != rings.msg_cons, 0.2):
        found += driver.messages()

    assert len(found) <= 36
    assert found[-1] == Message(True, 1, 0)


@pytest.mark.parametrize("how", ["no ring", "revision 1"])
def test_PVS_V_100_without_a_message_ring(make_rig: MakeRig, how: str) -> None:
    rig = make_rig(revision=1) if how == "revision 1" else make_rig()
    rig.need(Can.PLUG)
    driver = rig.driver(msg_pages=0)
    driver.acknowledge()
    before = rig.snapshot()

    rig.target.plug(9, DISK)
    plugged = driver.pending()
    same = rig.snapshot() == before
    found = [there(driver, 9)]
    rig.target.unplug(9)
    found.append(there(driver, 9))

    assert same
    assert plugged == 0
    assert driver.reg(wire.REG_INTR_STATUS) & int(Intr.MSG_0 | Intr.MSG_1) == 0
    assert found == [True, False]


def test_PVS_V_100_before_the_rings(rig: Rig) -> None:
    rig.need(Can.PLUG)
    driver = rig.blank()

    rig.target.plug(9, DISK)
    driver.bring_up()

    assert driver.messages() == []
    assert there(driver, 9)
