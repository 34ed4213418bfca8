"""Wake-on-LAN orders as Linux writes them."""

from vmxnet3 import wire_args
from vmxnet3.driver import WakeFilter, arp_filter, station_filter
from vmxnet3.driver.wake import pm_conf
from vmxnet3.wire_args import Wake

MAC = bytes.fromhex("02000a0b0c0d")


def masked(each: WakeFilter) -> dict[int, int]:
    """The bytes a filter compares, by place."""
    return {n: byte for n, byte in enumerate(each.pattern) if each.mask[n // 8] >> n % 8 & 1}


def test_the_station_is_compared_whole() -> None:
    assert masked(station_filter(MAC)) == dict(enumerate(MAC))


def test_an_arp_request_is_known_by_type_operation_and_target() -> None:
    found = masked(arp_filter(bytes([192, 0, 2, 7])))

    assert found == {12: 8, 13: 6, 20: 0, 21: 1, 38: 192, 39: 0, 40: 2, 41: 7}


def test_the_structure() -> None:
    data = pm_conf(Wake.MAGIC | Wake.FILTER, [station_filter(MAC), arp_filter(bytes(4))])

    assert (len(data), data[:3]) == (920, b"\x03\x00\x02")
    second = wire_args.PM_FILTER.decode(data, 8 + 152)
    assert (second["maskSize"], second["patternSize"]) == (6, 42)
