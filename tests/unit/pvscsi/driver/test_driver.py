"""Requests, completions, recovery: what the driver tells the device, and what it makes of the answer."""

import pytest

from pvscsi.driver import DeviceBroke, Driver, Message, RingFull, Shape, cdb
from pvscsi.driver.rings import REQ_CONS, THRESHOLD
from pvscsi.wire import Cmd, Flag, HostStatus
from tests.unit.pvscsi.driver.puppet import UNIT_ATTENTION, Puppet


def test_a_read(puppet: Puppet, driver: Driver) -> None:
    request = driver.submit(cdb.read(7, 1), read=512, target=3, lun=1)
    sent = puppet.request(driver, 0)
    puppet.complete(driver, data=b"\x11" * 512)

    assert (sent["target"], sent["lun"], sent["bus"], sent["tag"]) == (3, bytes((0, 1, 0, 0, 0, 0, 0, 0)), 0, 0x20)
    assert (sent["dataLen"], sent["flags"], sent["senseLen"], sent["cdbLen"]) == (512, Flag.DIR_TOHOST, 96, 10)
    assert driver.reap() == [request]
    assert (request.good, request.moved, request.data) == (True, 512, b"\x11" * 512)


def test_a_write_and_a_command_without_data(puppet: Puppet, driver: Driver) -> None:
    driver.submit(cdb.write(0, 1), write=b"w" * 512)
    driver.submit(cdb.TEST_UNIT_READY)
    write, ready = puppet.request(driver, 0), puppet.request(driver, 1)

    assert bytes(puppet.memory(write["dataAddr"], 512)) == b"w" * 512
    assert write["flags"] == Flag.DIR_TODEVICE
    assert (ready["flags"], ready["dataLen"], ready["dataAddr"]) == (Flag.DIR_NONE, 0, 0)


def test_fields_as_they_are_to_stand_there(puppet: Puppet, driver: Driver) -> None:
    driver.submit(cdb.inquiry(), read=36, flags=0, bus=1, vcpuHint=7, context=1 << 63, tag=0x22, sense=18)
    sent = puppet.request(driver, 0)

    assert (sent["bus"], sent["vcpuHint"], sent["context"], sent["tag"]) == (1, 7, 1 << 63, 0x22)
    assert (sent["flags"], sent["senseLen"]) == (0, 18)


def test_sense(puppet: Puppet, driver: Driver) -> None:
    request = driver.submit(cdb.TEST_UNIT_READY)
    puppet.complete(driver, UNIT_ATTENTION)

    driver.wait(request)

    assert str(request.sense) == "06/29/00"
    assert request.outcome() == "SUCCESS 02 06/29/00"


def test_completions_in_any_order(puppet: Puppet, driver: Driver) -> None:
    first, second = driver.submit(cdb.TEST_UNIT_READY), driver.submit(cdb.TEST_UNIT_READY)
    puppet.complete(driver, context=second.context)
    puppet.complete(driver, context=first.context, hostStatus=HostStatus.SELTIMEO)

    assert driver.reap(1) == [second]
    assert driver.reap() == [first]
    assert first.outcome() == "SELTIMEO 00"


def test_the_same_context_goes_to_the_oldest(puppet: Puppet, driver: Driver) -> None:
    first, second = (driver.submit(cdb.TEST_UNIT_READY, context=5) for _ in range(2))
    puppet.complete(driver)

    assert driver.reap() == [first]
    assert not second.done


def test_a_full_ring(puppet: Puppet, driver: Driver) -> None:
    for _ in range(32):
        driver.submit(cdb.TEST_UNIT_READY)

    with pytest.raises(RingFull, match="32 requests are out"):
        driver.submit(cdb.TEST_UNIT_READY)
    puppet.complete(driver)
    driver.submit(cdb.TEST_UNIT_READY)  # takes what is done by itself
    assert driver.outstanding == 32


def test_three_laps(puppet: Puppet, driver: Driver) -> None:
    for n in range(100):
        request = driver.submit(cdb.read(n, 1), read=512)
        puppet.complete(driver, data=bytes([n]) * 512)
        assert driver.reap() == [request]
        assert request.data == bytes([n]) * 512
    driver.audit()


def test_memory_goes_back(puppet: Puppet, driver: Driver) -> None:
    for _ in range(10):
        driver.submit(cdb.read(0, 8), read=4096, shape=Shape((1000, 3096), offset=1))
        puppet.complete(driver)
        driver.reap()
    waiting = driver.submit(cdb.TEST_UNIT_READY)
    driver.close()

    assert waiting.dropped
    assert puppet.arena.alloc(32 << 20).address == 0x10_0000  # all of it is free again


@pytest.mark.parametrize(
    ("threshold", "waiting", "kicks"), [(0, 1, True), (1, 1, True), (2, 1, False), (2, 2, True), (100, 31, False)]
)
def test_calls_below_the_threshold_are_left_out(
    puppet: Puppet, driver: Driver, threshold: int, waiting: int, kicks: bool
) -> None:
    assert driver.rings is not None
    driver.rings.state[THRESHOLD] = threshold
    for _ in range(waiting - 1):
        driver.submit(cdb.read(0, 1), read=512, kick=False)
    puppet.log.clear()

    driver.submit(cdb.read(0, 1), read=512)

    assert (puppet.said() == ["W(KICK_RW)=0x0"]) == kicks


def test_others_are_always_kicked(puppet: Puppet, driver: Driver) -> None:
    assert driver.rings is not None
    driver.rings.state[THRESHOLD] = 100
    puppet.log.clear()

    driver.submit(cdb.synchronize_cache())

    assert puppet.said() == ["W(KICK_NON_RW)=0x0"]


def test_published_with_the_next(puppet: Puppet, driver: Driver) -> None:
    assert driver.rings is not None
    driver.submit(cdb.TEST_UNIT_READY, publish=False)
    unseen = driver.rings.state[0]
    driver.submit(cdb.TEST_UNIT_READY)

    assert (unseen, driver.rings.state[0]) == (0, 2)


def test_recovery(puppet: Puppet, driver: Driver) -> None:
    request = driver.submit(cdb.read(0, 1), read=512, target=2, context=0x1_0000_0001)
    puppet.commands.clear()

    driver.abort(request)
    driver.reset_device(2)
    driver.reset_bus()

    abort = (0x1_0000_0001).to_bytes(8, "little") + (2).to_bytes(4, "little") + bytes(4)
    assert puppet.commands == [
        (Cmd.ABORT_CMD, abort),
        (Cmd.RESET_DEVICE, (2).to_bytes(4, "little") + bytes(8)),
        (Cmd.RESET_BUS, b""),
    ]


def test_messages(puppet: Puppet, driver: Driver) -> None:
    puppet.tell(driver, type=0, target=3, lun=bytes((0, 1, 0, 0, 0, 0, 0, 0)))
    puppet.tell(driver, type=1, target=4)

    assert driver.messages() == [Message(True, 3, 1), Message(False, 4, 0)]
    assert driver.messages() == []


def test_what_is_never_done(driver: Driver) -> None:
    driver.submit(cdb.TEST_UNIT_READY)

    with pytest.raises(DeviceBroke, match="PVS-V-050: never completed: 1 requests"):
        driver.wait()


def test_without_an_interrupt_linux_does_not_look(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(profile="linux")
    driver.submit(cdb.TEST_UNIT_READY)
    puppet.complete(driver)
    puppet.signalled = 0

    assert driver.look() == []
    puppet.signalled = 1
    assert len(driver.look()) == 1


def test_an_intx_of_another_device(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(profile="linux", intr="intx")
    driver.submit(cdb.TEST_UNIT_READY)
    puppet.complete(driver)
    puppet.values.clear()

    assert driver.look() == []  # INTR_STATUS says it was not ours


def test_cons_index_is_followed(puppet: Puppet, lenient: Driver) -> None:
    assert lenient.rings is not None
    lenient.submit(cdb.TEST_UNIT_READY)
    puppet.fetch(lenient)
    lenient.reap()
    lenient.rings.state[REQ_CONS] = 0
    lenient.reap()

    assert [complaint.rule for complaint in lenient.complaints] == ["PVS-V-051"]
