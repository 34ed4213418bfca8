"""What is laid out for the device, and what it may not write."""

from typing import Any

import pytest

from tests.unit.vmxnet3.puppet import SMALL, Puppet
from vmxnet3 import wire
from vmxnet3.driver import Config, DeviceBroke, Driver
from vmxnet3.driver.common import GUARD


@pytest.mark.parametrize("what", ["shared", "table", "stamps", "tx ring", "rx ring", "behind"])
def test_audit_finds_a_stray_write(driver: Driver, what: str) -> None:
    driver.audit()
    places = {
        "shared": (driver._shared_buffer.view, 720),
        "table": (driver.tx_desc[0].view, 56),
        "stamps": (driver.tx_desc[0].view, 170),
        "tx ring": (driver.tx[0].desc.view, 5),
        "rx ring": (driver.rx[0].rings[1].view, 9),
        "behind": (driver._tails[1], 0),
    }
    view, at = places[what]

    view[at] ^= 1

    with pytest.raises(DeviceBroke, match="VMX-V-079"):
        driver.audit()


def test_all_memory_comes_back(puppet: Puppet) -> None:
    before = puppet.arena._free[:]
    for profile in ("linux", "freebsd", "ipxe"):
        driver = Driver(puppet).bring_up(profile=profile)
        driver.send(bytes(3000) if profile == "linux" else bytes(60))
        driver.close()

    assert puppet.arena._free == before


# -- later versions ------------------------------------------------------------------------------------------------

MANY: dict[str, Any] = {"tx_queues": 9, "rx_queues": 9, **SMALL, "body_size": 256}


@pytest.mark.parametrize(("version", "queues", "ext"), [(5, 9, False), (6, 8, False), (6, 9, True), (9, 32, True)])
def test_many_queues_use_the_extended_interrupt_configuration(
    newest: Puppet, version: int, queues: int, ext: bool
) -> None:
    config = {**MANY, "tx_queues": queues, "rx_queues": queues}
    driver = Driver(newest).bring_up(version=version, mod_level=3, **config)

    area = bytes(driver._shared_buffer.view[720:800])
    old = [driver.shared[name] for name in ("autoMask", "numIntrs", "eventIntrIdx", "intrCtrl")]
    if ext:
        found = wire.INTR_CONF_EXT.decode(area)
        assert (found["autoMask"], found["numIntrs"], found["eventIntrIdx"]) == (1, 2 * queues + 1, 2 * queues)
        assert found["modLevels"] == (3,) * (2 * queues + 1) + (0,) * (65 - 2 * queues - 1)
        assert old == [0, 0, 0, 0]
    else:
        assert area == bytes([GUARD]) * 80
        assert old == [1, 2 * queues + 1, 2 * queues, 0]


def test_the_bytes_behind_are_watched_again_when_the_area_shrinks(newest: Puppet) -> None:
    driver = Driver(newest).bring_up(version=6, **MANY)
    driver.configure(Config(**SMALL))

    driver.audit()
    driver._shared_buffer.view[730] = 0

    with pytest.raises(DeviceBroke, match="VMX-V-079"):
        driver.audit()


def test_disable_all_is_where_the_device_looks(newest: Puppet) -> None:
    driver = Driver(newest)
    driver.run(("R VRRS", "W VRRS"))
    driver.configure(Config(**MANY))

    before = driver.intr_conf["intrCtrl"]
    driver.run(("ENABLE",))

    assert (before, driver._shared_buffer.view[724]) == (1, 0)


def test_time_stamp_rings_are_described(newest: Puppet) -> None:
    driver = Driver(newest).bring_up(**SMALL)

    tx, rx = driver.tx[0].stamps, driver.rx[0].stamps
    assert tx is not None
    assert rx is not None
    assert [driver.tx_desc[0][name] for name in ("txTSRingBasePA", "txTSRingDescSize")] == [tx.address, 64]
    assert [driver.rx_desc[0][name] for name in ("rxTSRingBasePA", "rxTSRingDescSize")] == [rx.address, 128]


@pytest.mark.parametrize("version", [1, 8])
def test_versions_without_time_stamps_describe_none(newest: Puppet, version: int) -> None:
    driver = Driver(newest).bring_up(**SMALL, version=version)

    assert (driver.tx[0].stamps, driver.tx_desc[0]["txTSRingDescSize"]) == (None, 0)


def test_audit_finds_a_stray_time_stamp(newest: Puppet) -> None:
    driver = Driver(newest).bring_up(**SMALL)
    driver.audit()
    assert driver.rx[0].stamps is not None

    driver.rx[0].stamps._words[3] = 1

    with pytest.raises(DeviceBroke, match="VMX-V-079"):
        driver.audit()


@pytest.mark.parametrize(("version", "layout"), [(6, (288, 128, 3)), (7, (256, 64, 1))])
def test_jumbo_layout_as_linux_has_it(newest: Puppet, version: int, layout: tuple[int, int, int]) -> None:
    driver = Driver(newest).bring_up(profile="linux", version=version, mtu=9000, rx_ring0=256, rx_ring1=100)

    rings = driver.rx[0].rings
    assert (rings[0].size, rings[1].size, len(rings[0].kinds)) == layout
