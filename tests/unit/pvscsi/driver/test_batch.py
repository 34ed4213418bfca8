"""Plain transfers at speed."""

import pytest

from pvscsi.driver import Batch, DeviceBroke, Driver
from tests.unit.pvscsi.driver.puppet import Puppet


def test_reads(puppet: Puppet, driver: Driver) -> None:
    batch = Batch(driver, 4, blocks=8)
    puppet.log.clear()

    assert batch.submit([10, 20, 30]) == 3
    sent = [puppet.request(driver, n) for n in range(3)]
    for n in range(3):
        puppet.complete(driver, data=bytes([n]) * 4096)

    assert [request["cdb"][2:6] for request in sent] == [n.to_bytes(4, "big") for n in (10, 20, 30)]
    assert puppet.said() == ["W(KICK_RW)=0x0"]
    assert [bytes(batch.buffer(n)) for n in batch.reap()] == [bytes([n]) * 4096 for n in range(3)]
    assert batch.out == 0


def test_no_more_than_there_is_room_for(puppet: Puppet, driver: Driver) -> None:
    batch = Batch(driver, 100, write=True, blocks=1)

    assert batch.submit(range(100)) == 32
    assert batch.submit(range(100)) == 0
    for _ in range(32):
        puppet.complete(driver, dataLen=512)
    assert len(batch.reap()) == 32
    assert batch.submit(range(100)) == 32
    assert puppet.request(driver, 32)["flags"] == 16


@pytest.mark.parametrize("fields", [{"dataLen": 4095}, {"dataLen": 4096, "hostStatus": 1}, {"context": 9}], ids=str)
def test_anything_but_good_is_told(puppet: Puppet, driver: Driver, fields: dict[str, int]) -> None:
    batch = Batch(driver, 4)
    batch.submit([0])
    puppet.complete(driver, b"", b"", **fields)

    with pytest.raises(DeviceBroke, match="PVS-V-050"):
        batch.reap()


def test_the_same_twice(puppet: Puppet, driver: Driver) -> None:
    batch = Batch(driver, 4)
    batch.submit([0])
    puppet.complete(driver, dataLen=4096)
    puppet.complete(driver, dataLen=4096)

    with pytest.raises(DeviceBroke, match="PVS-V-050"):
        batch.reap()


def test_a_device_that_does_not_count(puppet: Puppet, driver: Driver) -> None:
    batch = Batch(driver, 4)
    batch.submit([0])
    puppet.complete(driver, data=b"d" * 4096, dataLen=0)

    with pytest.raises(DeviceBroke, match="PVS-V-061: 0 bytes moved of 4096"):
        batch.reap()


def test_a_device_that_does_not_count_is_put_up_with(puppet: Puppet, driver: Driver) -> None:
    driver.strict = False
    batch = Batch(driver, 4)
    batch.submit([0])
    puppet.complete(driver, data=b"d" * 4096, dataLen=0)

    assert [bytes(batch.buffer(n)) for n in batch.reap()] == [b"d" * 4096]
    assert [complaint.rule for complaint in driver.complaints] == ["PVS-V-061"]
