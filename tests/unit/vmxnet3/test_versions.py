"""What each device version has."""

import pytest

from vmxnet3.versions import CAPABILITIES, DEFAULT_FIELDS, NEWEST, features, limits, max_capabilities, rss_fields
from vmxnet3.wire import Cap, Feature, RssField

ALL = sum(RssField)


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_limits_grow_once(version: int) -> None:
    assert limits(version) == ((32, 32, 65, 9190) if version >= 6 else (8, 16, 25, 9000))


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_inner_offloads_come_with_version_4(version: int) -> None:
    assert bool(features(version) & Feature.RXINNEROFLD) is (version >= 4)
    assert features(version) | Feature.RXINNEROFLD == sum(Feature)


@pytest.mark.parametrize(
    ("version", "caps", "fields"),
    [
        (1, CAPABILITIES, DEFAULT_FIELDS),
        (3, CAPABILITIES, DEFAULT_FIELDS),
        (4, Cap(0), ALL & ~RssField.ESPIP6),
        (5, Cap(0), ALL & ~RssField.ESPIP6),
        (6, Cap(0), ALL),
        (7, Cap(0), DEFAULT_FIELDS),
        (7, Cap.UDP_RSS, DEFAULT_FIELDS | RssField.UDPIP4 | RssField.UDPIP6),
        (9, Cap.ESP_RSS_IPV4, DEFAULT_FIELDS | RssField.ESPIP4),
        (9, Cap.ESP_RSS_IPV6, DEFAULT_FIELDS | RssField.ESPIP6),
        (9, CAPABILITIES, ALL),
    ],
)
def test_hash_fields_by_version_then_by_capability(version: int, caps: Cap, fields: int) -> None:
    assert rss_fields(version, caps) == fields


@pytest.mark.parametrize(("version", "highest"), [(7, Cap.OOORX_COMP), (8, Cap.PKT_STEERING_IPV6)])
def test_capabilities_are_counted_up_to_the_highest_named(version: int, highest: Cap) -> None:
    assert max_capabilities(version) == highest.bit_length()
    assert int(CAPABILITIES) < 1 << max_capabilities(version)


def test_nothing_is_offered_that_is_not_done() -> None:
    absent = Cap.OOORX_COMP | Cap.PKT_STEERING_IPV4 | Cap.PKT_STEERING_IPV6 | Cap.ESP_QS | Cap.INNER_RSS | Cap.ERROR
    assert not CAPABILITIES & absent
