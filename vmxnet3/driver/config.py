"""What the reference driver can be told before it starts: queues, rings, buffers, version, capabilities."""

from dataclasses import dataclass
from typing import Literal

from vmxnet3 import wire
from vmxnet3.wire import Cap, Feature, RssField, RxMode


@dataclass(frozen=True)
class Rss:
    """UPT1_RSSConf: `table` names a receive queue per entry."""

    table: bytes
    key: bytes
    hash_type: int = wire.HashType.IPV4 | wire.HashType.TCP_IPV4 | wire.HashType.IPV6 | wire.HashType.TCP_IPV6
    hash_func: int = wire.HASH_FUNC_TOEPLITZ


@dataclass(frozen=True)
class Config:
    """What is laid out in memory before ACTIVATE. Ring sizes in descriptors, buffer and slot sizes in bytes.

    `bodies`: BODY descriptors after each HEAD in ring 0; None: as Linux, by MTU and version, with ring sizes to match.
    `guard`: watched bytes behind each receive buffer. A None of the others: worked out from the MTU, the rings, the
    version, the profile or the device's answers.
    """

    tx_queues: int = 1
    rx_queues: int = 1
    tx_ring: int = 512
    rx_ring0: int = 256
    rx_ring1: int = 256
    tx_comp: int | None = None
    rx_comp: int | None = None
    mtu: int = 1500
    config_mtu: int | None = None  # what the shared area says, when that differs
    max_rx_sg: int = 0
    features: Feature = Feature.RXCSUM | Feature.RXVLAN
    rx_mode: RxMode = RxMode.UCAST | RxMode.MCAST | RxMode.BCAST
    intr: Literal["msix", "msi", "intx"] = "msix"
    vectors: Literal["own", "buddy", "event_first", "freebsd"] = "own"
    auto_mask: bool = True
    disable_all: bool = True
    mod_level: int = 0
    head_size: int | None = None
    body_size: int = 4096
    bodies: int | None = 0
    guard: int = 0
    fill: int | None = None
    tx_slot: int | None = None  # the buffer behind each transmit descriptor
    tx_data_ring: bool = True
    tx_data_slot: int | None = None
    rx_data_slot: int | None = None  # 0: no receive data ring
    rss: Rss | None = None
    rss_fields: RssField | None = None  # version 4; None: whatever the device starts with
    version: int | None = None  # None: the highest both sides know
    caps: Cap | None = None  # version 7: what to ask for; None: what the profile's driver asks for
    ext_intr: bool | None = None  # version 6: interrupts in the extended shared area; None: with very many queues


def linux_bodies(mtu: int, version: int) -> int:
    """BODY descriptors behind each HEAD in ring 0, as Linux posts them: none from version 7 on."""
    if version >= 7 or mtu <= 3050:
        return 0
    return -(-(mtu + 22 - 3072) // 4096)


def linux_ring(size: int, per_packet: int, version: int) -> int:
    """A ring size Linux would take for the one asked for: whole packets, from version 7 on a power of two."""
    if version >= 7:
        return 1 << size.bit_length() - 1
    step = wire.RING_SIZE_ALIGN * per_packet
    return min(-(-size // step) * step, wire.RX_RING_MAX_SIZE // step * step)
