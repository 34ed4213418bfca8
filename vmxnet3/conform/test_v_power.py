"""VMXNET3 device rule 077: what wakes a sleeping machine."""

from typing import Any

import pytest

from vmxnet3.conform.rig import BROADCAST, MAC, PEER, Rig, frame
from vmxnet3.driver import WakeFilter, arp_filter, station_filter
from vmxnet3.wire_args import Wake

SMALL: dict[str, Any] = {"tx_ring": 32, "rx_ring0": 32, "rx_ring1": 32}


def magic(mac: bytes) -> bytes:
    """A magic packet for `mac`, to everybody."""
    return BROADCAST + PEER + b"\x08\x42" + b"\xff" * 6 + mac * 16


ARP_FOR_US = (
    BROADCAST + PEER + b"\x08\x06" + bytes.fromhex("0001080006040001") + PEER + bytes(10) + bytes([10, 0, 0, 7])
)
ADDRESS = bytes([10, 0, 0, 7])
WAKING: dict[str, tuple[Wake, list[WakeFilter], bytes]] = {
    "magic": (Wake.MAGIC, [], magic(MAC)),
    "magic deep inside": (Wake.MAGIC, [], frame(100, dst=BROADCAST) + b"\xff" * 6 + MAC * 16 + b"end"),
    "station": (Wake.FILTER, [station_filter(MAC)], frame(60)),
    "arp": (Wake.FILTER, [station_filter(MAC), arp_filter(ADDRESS)], ARP_FOR_US.ljust(60, b"\0")),
    "either": (Wake.MAGIC | Wake.FILTER, [arp_filter(ADDRESS)], magic(MAC)),
}
SLEEPING: dict[str, tuple[Wake, list[WakeFilter], bytes]] = {
    "nothing to wake for": (Wake(0), [], magic(MAC)),
    "magic for another": (Wake.MAGIC, [], magic(PEER)),
    "magic not asked for": (Wake.FILTER, [arp_filter(ADDRESS)], magic(MAC)),
    "patterns not asked for": (Wake.MAGIC, [station_filter(MAC)], frame(60)),
    "arp for another": (Wake.FILTER, [arp_filter(bytes([10, 0, 0, 8]))], ARP_FOR_US.ljust(60, b"\0")),
    "shorter than the pattern": (Wake.FILTER, [arp_filter(ADDRESS)], ARP_FOR_US[:41]),
}


@pytest.mark.parametrize("version", [1, 9])
@pytest.mark.parametrize("name", WAKING)
def test_VMX_V_077_wakes(rig: Rig, version: int, name: str) -> None:
    events, filters, data = WAKING[name]
    driver = rig.driver(profile="linux", version=version, **SMALL)

    driver.suspend(events, filters)
    before = driver.pme()
    rig.feed(frame(60, dst=PEER), data)

    assert not before
    assert driver.pme()
    driver.resume()
    assert not driver.pme()
    assert rig.carried(driver, frame(seed=3)) == [frame(seed=3)]


@pytest.mark.parametrize("name", SLEEPING)
def test_VMX_V_077_sleeps_on(rig: Rig, name: str) -> None:
    events, filters, data = SLEEPING[name]
    driver = rig.driver(profile="linux", version=9, **SMALL)

    driver.suspend(events, filters)
    rig.feed(data)

    assert not driver.pme()
    driver.resume()
    assert rig.carried(driver, frame(seed=3)) == [frame(seed=3)]


def test_VMX_V_077_asleep_it_writes_nothing(rig: Rig) -> None:
    driver = rig.driver(profile="linux", **SMALL)
    driver.suspend(Wake.MAGIC)
    before = rig.snapshot()

    rig.feed(*[frame(seed=n) for n in range(20)], magic(MAC))

    assert rig.snapshot() == before
    assert rig.quiet()


def test_VMX_V_077_an_awake_device_asks_for_nothing(rig: Rig) -> None:
    driver = rig.driver(profile="linux", **SMALL)
    driver.set_wake(Wake.MAGIC)

    rig.feed(magic(MAC))

    assert len(rig.got(driver, 1)) == 1
    assert not driver.pme()
