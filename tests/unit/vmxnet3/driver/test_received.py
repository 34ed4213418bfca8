"""What completions of versions 2 to 9 say, and what of it is believed."""

from typing import Any

import pytest

from tests.unit.vmxnet3.puppet import GOOD, SMALL, Puppet, complete_lro, complete_rx
from vmxnet3.driver import DeviceBroke, Driver, Lro
from vmxnet3.driver.config import Rss
from vmxnet3.wire import Feature, RssField

FEATURES = Feature.RXCSUM | Feature.RXVLAN
RSS = Rss(table=b"\0" * 4, key=bytes(40))
MERGED = {"sop": 1, "eop": 1, "fcs": 1, "cnc": 1, "gen": 1, "len": 60, "segCnt": 3, "mss": 1448}


def up(puppet: Puppet, **config: Any) -> Driver:
    return Driver(puppet).bring_up(**{**SMALL, **config})


def test_a_merged_packet_in_one_buffer(newest: Puppet) -> None:
    driver = up(newest, version=2, features=FEATURES | Feature.LRO)

    complete_lro(driver, 0, **MERGED, dupAckCnt=2, tsDelta=9, tuc=1, tcp=1, v4=1, ipc=1)
    packet = driver.receive()[0]

    assert packet.lro == Lro(segments=3, mss=1448, dup_acks=2, ts_delta=9)
    assert (packet.rss_hash, packet.type, packet.tuc) == (0, 4, True)


def test_a_merged_packet_in_two_buffers_has_its_hash_at_the_end(newest: Puppet) -> None:
    driver = up(newest, version=2, features=FEATURES | Feature.LRO, rss=RSS)

    complete_lro(driver, 0, **{**MERGED, "eop": 0})
    complete_rx(driver, 1, **{**GOOD, "sop": 0, "rqID": 1, "rssType": 2, "rssHash": 77})
    packet = driver.receive()[0]

    assert (packet.lro, packet.rss_hash, packet.rss_type) == (Lro(3, 1448, 0, 0), 77, 2)


BAD_LRO: dict[str, tuple[Feature, dict[str, int]]] = {
    "not asked for": (FEATURES, MERGED),
    "no segments": (FEATURES | Feature.LRO, {**MERGED, "segCnt": 0}),
    "hash where the count is": (FEATURES | Feature.LRO, {**MERGED, "rssType": 2}),
}


@pytest.mark.parametrize("name", BAD_LRO)
def test_bad_merged_packets_are_caught(newest: Puppet, name: str) -> None:
    features, fields = BAD_LRO[name]
    driver = up(newest, version=2, features=features)

    complete_lro(driver, 0, **fields)

    with pytest.raises(DeviceBroke, match="VMX-V-056"):
        driver.receive()


def test_type_4_inside_a_packet_is_caught(newest: Puppet) -> None:
    driver = up(newest, version=2, features=FEATURES | Feature.LRO)

    complete_rx(driver, 0, **{**GOOD, "eop": 0})
    complete_lro(driver, 1, **{**MERGED, "sop": 0, "rqID": 1})

    with pytest.raises(DeviceBroke, match="VMX-V-056"):
        driver.receive()


def test_a_packet_above_the_mtu_is_caught_unless_merged(newest: Puppet) -> None:
    driver = up(newest, version=2, mtu=100, head_size=512, features=FEATURES | Feature.LRO)

    complete_lro(driver, 0, **{**MERGED, "len": 400})
    merged = driver.receive()
    complete_rx(driver, 1, **{**GOOD, "rxdIdx": 1, "len": 400})

    assert len(merged[0].data) == 400
    with pytest.raises(DeviceBroke, match="VMX-V-049"):
        driver.receive()


@pytest.mark.parametrize(
    ("version", "features", "rule"),
    [(3, FEATURES, "VMX-V-041"), (4, FEATURES, "VMX-V-053"), (4, FEATURES | Feature.RXINNEROFLD, None)],
)
def test_inner_bit(newest: Puppet, version: int, features: Feature, rule: str | None) -> None:
    driver = up(newest, version=version, features=features)

    complete_rx(driver, 0, **{**GOOD, "ext1": 2})

    if rule is None:
        assert (driver.receive()[0].inner, driver.complaints) == (True, [])
    else:
        with pytest.raises(DeviceBroke, match=rule):
            driver.receive()


@pytest.mark.parametrize(("version", "rule"), [(8, "VMX-V-041"), (9, "VMX-V-075")])
def test_a_stamp_asked_for_without_a_ring_is_caught(newest: Puppet, version: int, rule: str) -> None:
    newest.answers[0xF00D_0013] = 0
    driver = up(newest, version=version)

    complete_rx(driver, 0, **{**GOOD, "ext2": 1})

    with pytest.raises(DeviceBroke, match=rule):
        driver.receive()


TYPES = [
    (3, RssField(3), 5, False),
    (4, RssField(3), 5, False),
    (4, RssField(7), 5, True),
    (6, RssField(0x23), 8, True),
]


@pytest.mark.parametrize(("version", "fields", "kind", "good"), TYPES)
def test_hash_types_are_those_asked_for(newest: Puppet, version: int, fields: RssField, kind: int, good: bool) -> None:
    newest.answers[0xF00D_000C] = int(fields)
    driver = up(newest, version=version, rss=RSS)

    complete_rx(driver, 0, **{**GOOD, "rssType": kind, "rssHash": 5})

    if good:
        assert driver.receive()[0].rss_type == kind
    else:
        with pytest.raises(DeviceBroke, match="VMX-V-058"):
            driver.receive()
