"""Case 50: a device that lies to its driver. Whatever it says, the driver stays inside its own memory and says which
duty was broken."""

from collections.abc import Callable

import pytest

from pvscsi import wire
from pvscsi.driver import DeviceBroke, Driver, cdb, even, spread
from pvscsi.driver.rings import CMP_CONS, CMP_PROD, MSG_LOG2, MSG_PROD, REQ_CONS
from pvscsi.wire import HostStatus
from tests.unit.pvscsi.driver.puppet import UNIT_ATTENTION, Puppet

Lie = Callable[[Puppet, Driver], None]


def completed(**fields: int) -> Lie:
    return lambda puppet, driver: puppet.complete(driver, b"", b"", **fields)


def twice(puppet: Puppet, driver: Driver) -> None:
    puppet.complete(driver)
    puppet.complete(driver, context=1)


def state(word: int, value: int) -> Lie:
    def lie(puppet: Puppet, driver: Driver) -> None:
        assert driver.rings is not None
        driver.rings.state[word] = value

    return lie


def unwritten(puppet: Puppet, driver: Driver) -> None:
    assert driver.rings is not None
    driver.rings.state[CMP_PROD] += 1


def long_sense(puppet: Puppet, driver: Driver) -> None:
    puppet.complete(driver, UNIT_ATTENTION, senseLen=10_000)


def spilt_sense(puppet: Puppet, driver: Driver) -> None:
    puppet.complete(driver, UNIT_ATTENTION + bytes(8), senseLen=18)


def silent_sense(puppet: Puppet, driver: Driver) -> None:
    puppet.memory(puppet.request(driver, 0)["senseAddr"], 1)[0] = 0
    puppet.complete(driver)


def more_data(puppet: Puppet, driver: Driver) -> None:
    puppet.complete(driver, data=bytes(36), dataLen=20)


def spilt_data(puppet: Puppet, driver: Driver) -> None:
    puppet.complete(driver, data=bytes(37), dataLen=36)


LIES: dict[str, Lie] = {
    "PVS-V-050 context 0": completed(context=0),
    "PVS-V-050 context out of range": completed(context=0xFFFF_FFFF_FFFF_FFFF),
    "PVS-V-050 only the low half fits": completed(context=1 << 32 | 1),
    "PVS-V-050 the same twice": twice,
    "PVS-V-058 cmpProdIdx jumps": state(CMP_PROD, 0x7FFF_FFFF),
    "PVS-V-058 cmpProdIdx goes back": state(CMP_PROD, 0xFFFF_FFFF),
    "PVS-V-059 nothing in the slot": unwritten,
    "PVS-V-051 reqConsIdx runs ahead": state(REQ_CONS, 2),
    "PVS-V-052 cmpConsIdx is written": state(CMP_CONS, 1),
    "PVS-V-060 scsiStatus": completed(scsiStatus=0x1FF),
    "PVS-V-060 pad": completed(pad=1),
    "PVS-V-061 dataLen": completed(dataLen=1 << 40),
    "PVS-V-061 more than it says": more_data,
    "PVS-V-066 behind the buffer": spilt_data,
    "PVS-V-062 underrun": completed(hostStatus=HostStatus.DATA_UNDERRUN),
    "PVS-V-063 check condition lost": completed(hostStatus=HostStatus.DATARUN, scsiStatus=2),
    "PVS-V-064 senseLen": long_sense,
    "PVS-V-064 more than it says": spilt_sense,
    "PVS-V-064 without CHECK CONDITION": silent_sense,
    "PVS-V-064 none": completed(scsiStatus=2),
}


@pytest.mark.parametrize("name", LIES)
def test_hostile_50_lies_about_a_request(puppet: Puppet, driver: Driver, name: str) -> None:
    driver.submit(cdb.inquiry(), read=36)

    LIES[name](puppet, driver)

    with pytest.raises(DeviceBroke, match=name[:9]):
        driver.reap()


@pytest.mark.parametrize("name", LIES)
def test_hostile_50_lies_are_lived_through(puppet: Puppet, lenient: Driver, name: str) -> None:
    lenient.submit(cdb.inquiry(), read=36)

    LIES[name](puppet, lenient)
    lenient.reap()

    assert lenient.complaints[0].rule == name[:9]
    lenient.close()


def test_hostile_50_a_whole_ring_of_lies(puppet: Puppet, lenient: Driver) -> None:
    for n in range(1000):
        puppet.publish(lenient, wire.COMPLETION.encode(context=n % 3, dataLen=n, senseLen=n, scsiStatus=n, pad=n))
        lenient.reap()

    assert {complaint.rule for complaint in lenient.complaints} == {"PVS-V-050"}
    assert len(lenient.complaints) == 1000


def test_hostile_50_a_log2_that_cannot_be(puppet: Puppet) -> None:
    puppet.log2_more = 26

    with pytest.raises(DeviceBroke, match="PVS-V-024"):
        Driver(puppet).bring_up()
    lenient = Driver(puppet, strict=False).bring_up(req_pages=1, cmp_pages=1)
    assert lenient.rings is not None
    assert lenient.rings.requests.entries == 32  # what it lent, not what it was told


@pytest.mark.parametrize(
    "fields",
    [{"type": 7}, {"type": 2}, {"bus": 1}, {"target": 70_000}, {"lun": b"\1" + bytes(7)}, {"pad": b"\1"}],
    ids=str,
)
def test_hostile_50_bad_messages(puppet: Puppet, lenient: Driver, fields: dict[str, int | bytes]) -> None:
    puppet.tell(lenient, **fields)

    assert lenient.messages() == []
    assert [complaint.rule for complaint in lenient.complaints] == ["PVS-V-097"]


def test_hostile_50_a_message_index_that_jumps(puppet: Puppet, lenient: Driver) -> None:
    state(MSG_PROD, 33)(puppet, lenient)

    assert lenient.messages() == []
    assert [complaint.rule for complaint in lenient.complaints] == ["PVS-V-099"]


def test_hostile_50_stray_writes_are_found(puppet: Puppet, lenient: Driver) -> None:
    rings = lenient.rings
    assert rings is not None
    lenient.submit(cdb.write(0, 8), write=bytes(4096), shape=spread(even(4096, 4)))
    lists = puppet.memory(puppet.request(lenient, 0)["dataAddr"], 64)

    rings.requests.pages[0].view[200] = 1
    rings.state[MSG_LOG2 + 1] = 1
    puppet.page(rings.page.ppn + 1)[0] = 0
    lists[15] = 1
    puppet.complete(lenient, dataLen=4096)
    lenient.reap()
    lenient.audit()

    assert [complaint.rule for complaint in lenient.complaints] == ["PVS-V-066", "PVS-V-052", "PVS-V-052", "PVS-V-054"]


@pytest.mark.parametrize("phys", [0, 1 << 20])
def test_hostile_50_a_number_of_targets_that_cannot_be(puppet: Puppet, phys: int) -> None:
    puppet.phys = phys

    driver = Driver(puppet, strict=False).bring_up(profile="linux")

    assert driver.targets == 16
    assert driver.complaints[0].rule == "PVS-V-039"


@pytest.mark.parametrize(("command", "answer", "rule"), [(3, 0xFFFFFFFF, "PVS-V-024"), (8, 0, "PVS-V-028")])
def test_hostile_50_answers_that_may_not_be(puppet: Puppet, command: int, answer: int, rule: str) -> None:
    puppet.answers[command] = answer

    with pytest.raises(DeviceBroke, match=rule):
        Driver(puppet).bring_up()
