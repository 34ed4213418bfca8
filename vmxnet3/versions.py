"""What each device version has: limits, features, hash fields, capabilities.

Ref: Linux drivers/net/vmxnet3 (what its driver asks of each version); open-vm-tools vmxnet3_defs.h.
"""

from typing import NamedTuple

from vmxnet3.wire import (
    EXT_MAX_INTRS,
    EXT_MAX_MTU,
    EXT_MAX_RX_QUEUES,
    EXT_MAX_TX_QUEUES,
    MAX_INTRS,
    MAX_MTU,
    MAX_RX_QUEUES,
    MAX_TX_QUEUES,
    Cap,
    Feature,
    RssField,
)

NEWEST = 9

CAPABILITIES = (  # what this model offers in DCR0: what it does
    Cap.UDP_RSS
    | Cap.ESP_RSS_IPV4
    | Cap.ESP_RSS_IPV6
    | Cap.GENEVE_CHECKSUM_OFFLOAD
    | Cap.GENEVE_TSO
    | Cap.VXLAN_CHECKSUM_OFFLOAD
    | Cap.VXLAN_TSO
    | Cap.GENEVE_OUTER_CHECKSUM_OFFLOAD
    | Cap.VXLAN_OUTER_CHECKSUM_OFFLOAD
    | Cap.LARGE_BAR
)
LIVE_CAPS = Cap((1 << 10) - 1)  # Linux switches these while active, with `ethtool -K` and `-N`
_RSS_CAPS = {
    RssField.UDPIP4: Cap.UDP_RSS,
    RssField.UDPIP6: Cap.UDP_RSS,
    RssField.ESPIP4: Cap.ESP_RSS_IPV4,
    RssField.ESPIP6: Cap.ESP_RSS_IPV6,
}
DEFAULT_FIELDS = RssField.TCPIP4 | RssField.TCPIP6


class Limits(NamedTuple):
    """The most queues and vectors, and the longest MTU (bytes)."""

    tx_queues: int
    rx_queues: int
    intrs: int
    mtu: int


def limits(version: int) -> Limits:
    if version >= 6:
        return Limits(EXT_MAX_TX_QUEUES, EXT_MAX_RX_QUEUES, EXT_MAX_INTRS, EXT_MAX_MTU)
    return Limits(MAX_TX_QUEUES, MAX_RX_QUEUES, MAX_INTRS, MAX_MTU)


def features(version: int) -> Feature:
    """The uptFeatures bits a version knows."""
    known = Feature.RXCSUM | Feature.RSS | Feature.RXVLAN | Feature.LRO
    return known | Feature.RXINNEROFLD if version >= 4 else known


def rss_fields(version: int, caps: Cap) -> RssField:
    """The hash fields that may be switched on. Up to version 6 by version, then by negotiated capability."""
    if version < 4:
        return DEFAULT_FIELDS
    fields = DEFAULT_FIELDS
    for field, cap in _RSS_CAPS.items():
        if caps & cap if version >= 7 else version >= 6 or field is not RssField.ESPIP6:
            fields |= field
    return fields


def max_capabilities(version: int) -> int:
    """How many capability bits a version has names for."""
    return 19 if version >= 8 else 18
