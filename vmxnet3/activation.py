"""From the shared area to running queues: everything a driver hands over with ACTIVATE, checked before it is used.

One private copy of each structure decides; guest memory is not read twice. A fatal mistake raises `GuestFault` with its
rule before anything was stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from pvdev.errors import GuestFault
from pvdev.mem import DmaFault, GuestMemory
from vmxnet3.rx import RxQueue
from vmxnet3.tx import TxQueue
from vmxnet3.wire import (
    DRIVER_SHARED,
    HASH_FUNC_TOEPLITZ,
    MAGIC,
    MAX_INTRS,
    MAX_MTU,
    MAX_RX_QUEUES,
    MAX_TX_QUEUES,
    MIN_MTU,
    RC_RING_MAX_SIZE,
    RING_BASE_ALIGN,
    RING_SIZE_ALIGN,
    RSS_CONF,
    RX_QUEUE_DESC,
    RX_RING_MAX_SIZE,
    TC_RING_MAX_SIZE,
    TX_DATA_SLOT,
    TX_DESC,
    TX_QUEUE_DESC,
    TX_RING_MAX_SIZE,
    Feature,
)

Note = Callable[[str, str, int], None]
QUEUE_DESC = 256  # bytes per entry of the queue table


@dataclass(frozen=True)
class Config:
    """What the shared area says, decoded once. Addresses guest physical, lengths in bytes."""

    shared_at: int
    features: int
    table_at: int
    mtu: int
    max_sg: int
    tx_queues: int
    rx_queues: int
    auto_mask: bool
    intrs: int
    event_intr: int

    @property
    def table_size(self) -> int:
        return QUEUE_DESC * (self.tx_queues + self.rx_queues)


Area = Mapping[str, int]  # a decoded structure, its integer fields


def read_config(mem: GuestMemory, shared_at: int, note: Note) -> Config:
    """Read and check the shared area. Raises `GuestFault` for what is fatal, notes the rest."""
    if not shared_at or shared_at % 8 or not mem.reachable(shared_at, DRIVER_SHARED.size, write=True):
        raise GuestFault("VMX-D-008", "shared area address", shared_at)
    data = mem.read(shared_at, DRIVER_SHARED.size)
    if not any(data):
        note("MEM-03", "shared area", shared_at)
    area = DRIVER_SHARED.numbers(data)
    _require("VMX-D-010", "magic", area["magic"], area["magic"] == MAGIC)
    ntx, nrx, intrs = area["numTxQueues"], area["numRxQueues"], area["numIntrs"]
    _require("VMX-D-011", "number of transmit queues", ntx, 1 <= ntx <= MAX_TX_QUEUES)
    _require("VMX-D-011", "number of receive queues", nrx, 1 <= nrx <= MAX_RX_QUEUES)
    _require("VMX-D-013", "mtu", area["mtu"], MIN_MTU <= area["mtu"] <= MAX_MTU)
    _require("VMX-D-014", "number of interrupts", intrs, 1 <= intrs <= MAX_INTRS)
    for i in range(intrs):
        if area[f"modLevels{i}"] > 8:
            note("VMX-D-014", f"moderation level {i}", area[f"modLevels{i}"])
    _require("VMX-D-015", "event interrupt index", area["eventIntrIdx"], area["eventIntrIdx"] < intrs)
    table, size = area["queueDescPA"], QUEUE_DESC * (ntx + nrx)
    good = not table % 128 and mem.reachable(table, size, write=True)
    _require("VMX-D-012", "queue table address", table, bool(table) and good)
    if area["queueDescLen"] < size:
        note("VMX-D-012", "queue table length", area["queueDescLen"])
    return Config(
        shared_at=shared_at,
        features=check_features(area["uptFeatures"], note),
        table_at=table,
        mtu=area["mtu"],
        max_sg=area["maxNumRxSG"],
        tx_queues=ntx,
        rx_queues=nrx,
        auto_mask=bool(area["autoMask"]),
        intrs=intrs,
        event_intr=area["eventIntrIdx"],
    )


def check_features(value: int, note: Note) -> int:
    """`uptFeatures` without the bits version 1 does not know, which are noted."""
    known = int(Feature.RXCSUM | Feature.RSS | Feature.RXVLAN | Feature.LRO)  # an int: its complement has every bit
    if value & ~known:
        note("VMX-D-024", "uptFeatures", value)
    return value & known


@dataclass
class Queues:
    """The queues of an active device and the vector of each."""

    tx: list[TxQueue]
    rx: list[RxQueue]
    tx_intr: list[int]
    rx_intr: list[int]

    def all(self) -> tuple[TxQueue | RxQueue, ...]:
        """In the order of the queue table."""
        return (*self.tx, *self.rx)


def build_queues(mem: GuestMemory, config: Config, note: Note) -> Queues:
    """Check the queue table and build the queues. Stores nothing. Raises `GuestFault`."""
    table = mem.read(config.table_at, config.table_size)
    taken = [
        (config.shared_at, DRIVER_SHARED.size, "shared area"),
        (config.table_at, config.table_size, "queue table"),
    ]
    queues = Queues([], [], [], [])
    try:
        for i in range(config.tx_queues):
            area = TX_QUEUE_DESC.numbers(table, QUEUE_DESC * i)
            queues.tx.append(_tx_queue(mem, i, area, config, note, taken))
            queues.tx_intr.append(_vector(area, config, f"tx queue {i}"))
        for i in range(config.rx_queues):
            area = RX_QUEUE_DESC.numbers(table, QUEUE_DESC * (config.tx_queues + i))
            queues.rx.append(_rx_queue(mem, i, area, config, note, taken))
            queues.rx_intr.append(_vector(area, config, f"rx queue {i}"))
    except DmaFault as fault:
        raise GuestFault("VMX-D-017", "ring in unmapped memory", fault.value) from fault
    _check_overlaps(taken, note)
    return queues


Taken = list[tuple[int, int, str]]


def _tx_queue(mem: GuestMemory, i: int, area: Area, config: Config, note: Note, taken: Taken) -> TxQueue:
    place = f"tx queue {i}"
    size, comp_size = area["txRingSize"], area["compRingSize"]
    _ring(mem, area["txRingBasePA"], size, TX_RING_MAX_SIZE, f"{place} ring", taken)
    _ring(mem, area["compRingBasePA"], comp_size, TC_RING_MAX_SIZE, f"{place} completion ring", taken)
    _require("VMX-D-019", f"{place} completion ring size", comp_size, comp_size >= size)
    data, slots = area["dataRingBasePA"], area["dataRingSize"]
    if slots and (data % RING_BASE_ALIGN or slots < size or not mem.reachable(data, slots * TX_DATA_SLOT)):
        note("VMX-D-020", f"{place} data ring", data)
    return TxQueue(
        i,
        mem,
        note,
        ring=area["txRingBasePA"],
        size=size,
        comp=area["compRingBasePA"],
        comp_size=comp_size,
        mtu=config.mtu,
    )


def _rx_queue(mem: GuestMemory, i: int, area: Area, config: Config, note: Note, taken: Taken) -> RxQueue:
    place = f"rx queue {i}"
    rings = tuple((area[f"rxRingBasePA{n}"], area[f"rxRingSize{n}"]) for n in range(2))
    comp_size = area["compRingSize"]
    for n, (base, size) in enumerate(rings):
        if n == 0 or size:
            _ring(mem, base, size, RX_RING_MAX_SIZE, f"{place} ring {n}", taken)
    _ring(mem, area["compRingBasePA"], comp_size, RC_RING_MAX_SIZE, f"{place} completion ring", taken)
    if comp_size < sum(size for _, size in rings):
        note("VMX-D-019", f"{place} completion ring size", comp_size)
    return RxQueue(
        i,
        config.rx_queues,
        mem,
        note,
        rings=rings,
        comp=area["compRingBasePA"],
        comp_size=comp_size,
        mtu=config.mtu,
        max_sg=config.max_sg,
    )


def _ring(mem: GuestMemory, base: int, size: int, most: int, place: str, taken: Taken) -> None:
    _require("VMX-D-018", f"{place} size", size, bool(size) and not size % RING_SIZE_ALIGN and size <= most)
    length = size * TX_DESC.size
    _require("VMX-D-017", f"{place} base", base, bool(base) and not base % RING_BASE_ALIGN)
    _require("VMX-D-017", f"{place} base", base, mem.reachable(base, length))
    taken.append((base, length, place))


def _vector(area: Area, config: Config, place: str) -> int:
    _require("VMX-D-016", f"{place} interrupt index", area["intrIdx"], area["intrIdx"] < config.intrs)
    return area["intrIdx"]


def _check_overlaps(taken: Taken, note: Note) -> None:
    taken.sort()
    for (base, size, name), (other, _, other_name) in pairwise(taken):
        if base + size > other:
            note("VMX-D-022", f"{name} and {other_name}", other)


@dataclass(frozen=True)
class RssConfig:
    """A checked UPT1_RSSConf."""

    hash_type: int
    key: bytes
    table: bytes


def read_rss(mem: GuestMemory, config: Config, length: int, address: int, note: Note) -> RssConfig | None:
    """The RSS configuration at `address`, or None when it cannot be used (noted)."""
    if config.rx_queues < 2 or length < RSS_CONF.size - 128 or not address:
        note("VMX-D-025", "RSS configuration", address)
        return None
    try:
        data = mem.read(address, min(length, RSS_CONF.size)).ljust(RSS_CONF.size, b"\0")
    except DmaFault as fault:
        note("VMX-D-025", "RSS configuration", fault.value)
        return None
    area = RSS_CONF.numbers(data)
    key, table = (data[RSS_CONF.offset[name] :] for name in ("hashKey", "indTable"))
    func, key_size, entries = area["hashFunc"], area["hashKeySize"], area["indTableSize"]
    if func != HASH_FUNC_TOEPLITZ or not 16 <= key_size <= 40 or not 1 <= entries <= 128:
        note("VMX-D-026", "hash function, key size, table size", key_size << 16 | entries)
        return None
    if any(entry >= config.rx_queues for entry in table[:entries]):
        note("VMX-D-026", "indirection table entry", max(table[:entries]))
    return RssConfig(area["hashType"], key[:40], table[:entries])


def _require(rule: str, what: str, value: int, good: bool) -> None:
    if not good:
        raise GuestFault(rule, what, value)
