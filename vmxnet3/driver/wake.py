"""Wake-on-LAN: the PMConf a driver leaves with the device before it lets it sleep.

Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c vmxnet3_suspend.
"""

from collections.abc import Sequence
from typing import NamedTuple

from vmxnet3 import wire_args
from vmxnet3.wire_args import Wake


class WakeFilter(NamedTuple):
    """A frame wakes when it begins with `pattern`, where `mask` has a bit (lowest first) for a byte."""

    pattern: bytes
    mask: bytes


def station_filter(mac: bytes) -> WakeFilter:
    """Linux's filter for frames to this station."""
    return WakeFilter(mac, b"\x3f")


def arp_filter(address: bytes) -> WakeFilter:
    """Linux's filter for ARP requests for an IPv4 address: EtherType, operation, target."""
    pattern = bytes(12) + b"\x08\x06" + bytes(6) + b"\x00\x01" + bytes(16) + address
    return WakeFilter(pattern, bytes.fromhex("00303000c003"))


def pm_conf(events: Wake, filters: Sequence[WakeFilter]) -> bytes:
    """The whole structure."""
    cells = [
        wire_args.PM_FILTER.encode(
            maskSize=len(each.mask), patternSize=len(each.pattern), mask=each.mask, pattern=each.pattern
        )
        for each in filters
    ]
    return wire_args.PM_CONF.encode(wakeUpEvents=int(events), numFilters=len(cells), filters=b"".join(cells))
