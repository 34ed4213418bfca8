"""Any command at speed."""

import pytest

from pvscsi.driver import DeviceBroke, Driver, Slots, cdb
from pvscsi.wire import Flag, HostStatus
from tests.unit.pvscsi.driver.puppet import UNIT_ATTENTION, Puppet


@pytest.fixture
def slots(driver: Driver) -> Slots:
    return Slots(driver, 3, 4096)


def load(slots: Slots, command: bytes, length: int = 512, direction: Flag = Flag.DIR_TOHOST) -> int:
    slot = slots.take()
    slots.load(slot, command, length, direction)
    return slot


def test_commands_of_all_kinds_go_together(puppet: Puppet, driver: Driver, slots: Slots) -> None:
    reading = load(slots, cdb.read(7, 1))
    writing = load(slots, cdb.write(1 << 33, 1, size=16), 512, Flag.DIR_TODEVICE)
    slots.buffer(writing, 512)[:] = b"w" * 512
    flushing = load(slots, cdb.synchronize_cache(), 0, Flag.DIR_NONE)
    puppet.log.clear()
    slots.send([reading, writing, flushing], plain=False)
    sent = [puppet.request(driver, n) for n in range(3)]

    assert puppet.said() == ["W(KICK_NON_RW)=0x0"]
    assert (slots.out, slots.free) == (3, [])
    assert [(each["flags"], each["dataLen"], each["cdbLen"], each["target"]) for each in sent] == [
        (Flag.DIR_TOHOST, 512, 10, 0),
        (Flag.DIR_TODEVICE, 512, 16, 0),
        (Flag.DIR_NONE, 0, 10, 0),
    ]
    assert bytes(puppet.memory(sent[1]["dataAddr"], 512)) == b"w" * 512
    puppet.complete(driver, data=b"r" * 512, dataLen=512, context=sent[0]["context"])
    found = slots.reap()
    assert [(done.slot, done.good, done.moved) for done in found] == [(reading, True, 512)]
    assert bytes(slots.buffer(reading, 512)) == b"r" * 512
    assert (slots.out, slots.free) == (2, [reading])


def test_reads_and_writes_are_kicked_as_such(puppet: Puppet, slots: Slots) -> None:
    slot = load(slots, cdb.read(0, 1))
    puppet.log.clear()
    slots.send([slot], plain=True)

    assert puppet.said() == ["W(KICK_RW)=0x0"]


@pytest.mark.parametrize(
    ("sense", "fields", "outcome"),
    [
        (UNIT_ATTENTION, {}, "06/29/00"),
        (b"", {"scsiStatus": 8}, "status 08"),
        (b"", {"hostStatus": HostStatus.BUSRESET}, "BUSRESET"),
        (b"", {"hostStatus": 0x77}, "hostStatus 0x77"),
    ],
)
def test_why_it_is_not_good(
    puppet: Puppet, driver: Driver, slots: Slots, sense: bytes, fields: dict[str, int], outcome: str
) -> None:
    slots.send([load(slots, cdb.read(0, 1))], plain=True)
    puppet.complete(driver, sense, b"", **fields)

    (done,) = slots.reap()
    assert (done.good, done.outcome()) == (False, outcome)


@pytest.mark.parametrize(
    ("fields", "rule"), [({"context": 5}, "PVS-V-050"), ({"dataLen": 513}, "PVS-V-061")], ids=["stranger", "too much"]
)
def test_what_no_device_may_say(
    puppet: Puppet, driver: Driver, slots: Slots, fields: dict[str, int], rule: str
) -> None:
    slots.send([load(slots, cdb.read(0, 1))], plain=True)
    puppet.complete(driver, b"", b"", **fields)

    with pytest.raises(DeviceBroke, match=rule):
        slots.reap()


def test_a_completion_twice(puppet: Puppet, driver: Driver, slots: Slots) -> None:
    slots.send([load(slots, cdb.read(0, 1))], plain=True)
    puppet.complete(driver)
    puppet.complete(driver)

    with pytest.raises(DeviceBroke, match="PVS-V-050"):
        slots.reap()
