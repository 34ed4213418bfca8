"""From the shared area to running queues: everything a driver hands over with ACTIVATE, checked before it is used.

One private copy of each structure decides; guest memory is not read twice. A fatal mistake raises `GuestFault` with its
rule before anything was stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from pvdev.errors import GuestFault
from pvdev.mem import DmaFault, GuestMemory
from vmxnet3.rx import RxLayout, RxQueue
from vmxnet3.tx import TxQueue
from vmxnet3.versions import features, limits
from vmxnet3.wire import (
    DATA_SLOT_ALIGN,
    DRIVER_SHARED,
    INTR_CONF_EXT,
    MAGIC,
    MAX_DATA_SLOT,
    MAX_INTRS,
    MIN_DATA_SLOT,
    MIN_MTU,
    RC_RING_MAX_SIZE,
    RING_BASE_ALIGN,
    RING_SIZE_ALIGN,
    RX_QUEUE_DESC,
    RX_RING_MAX_SIZE,
    TC_RING_MAX_SIZE,
    TX_DATA_SLOT,
    TX_DESC,
    TX_QUEUE_DESC,
    TX_RING_MAX_SIZE,
    Cap,
)

Area = Mapping[str, int]  # a decoded structure, its integer fields
Note = Callable[[str, str, int], None]
QUEUE_DESC = 256  # bytes per entry of the queue table
MAX_LEVEL = 8  # of moderation: adaptive


@dataclass(frozen=True)
class Config:
    """What the shared area says, decoded once. Addresses guest physical, lengths in bytes.

    `shared_size`: how much of the shared area is the driver's; `levels`: a moderation level per vector.
    """

    version: int
    shared_at: int
    shared_size: int
    features: int
    table_at: int
    mtu: int
    max_sg: int
    tx_queues: int
    rx_queues: int
    auto_mask: bool
    intrs: int
    event_intr: int
    levels: tuple[int, ...]

    @property
    def table_size(self) -> int:
        return QUEUE_DESC * (self.tx_queues + self.rx_queues)


def read_config(mem: GuestMemory, shared_at: int, version: int, note: Note) -> Config:
    """Read and check the shared area. Raises `GuestFault` for what is fatal, notes the rest."""
    if not shared_at or shared_at % 8 or not mem.reachable(shared_at, DRIVER_SHARED.size, write=True):
        raise GuestFault("VMX-D-008", "shared area address", shared_at)
    data = mem.read(shared_at, DRIVER_SHARED.size)
    if not any(data):
        note("MEM-03", "shared area", shared_at)
    area, most = DRIVER_SHARED.numbers(data), limits(version)
    _require("VMX-D-010", "magic", area["magic"], area["magic"] == MAGIC)
    ntx, nrx = area["numTxQueues"], area["numRxQueues"]
    _require("VMX-D-011", "number of transmit queues", ntx, 1 <= ntx <= most.tx_queues)
    _require("VMX-D-011", "number of receive queues", nrx, 1 <= nrx <= most.rx_queues)
    _require("VMX-D-013", "mtu", area["mtu"], MIN_MTU <= area["mtu"] <= most.mtu)
    intr, size = _interrupts(mem, shared_at, version, area)
    intrs = intr["numIntrs"]
    room = most.intrs if size > DRIVER_SHARED.size else MAX_INTRS  # the old place never held more levels
    _require("VMX-D-014", "number of interrupts", intrs, 1 <= intrs <= room)
    levels = tuple(intr[f"modLevels{i}"] for i in range(intrs))
    for i, level in enumerate(levels):
        if level > MAX_LEVEL:
            note("VMX-D-014", f"moderation level {i}", level)
    _require("VMX-D-015", "event interrupt index", intr["eventIntrIdx"], intr["eventIntrIdx"] < intrs)
    table, length = area["queueDescPA"], QUEUE_DESC * (ntx + nrx)
    good = not table % 128 and mem.reachable(table, length, write=True)
    _require("VMX-D-012", "queue table address", table, bool(table) and good)
    if area["queueDescLen"] < length:
        note("VMX-D-012", "queue table length", area["queueDescLen"])
    return Config(
        version=version,
        shared_at=shared_at,
        shared_size=size,
        features=check_features(area["uptFeatures"], version, note),
        table_at=table,
        mtu=area["mtu"],
        max_sg=area["maxNumRxSG"],
        tx_queues=ntx,
        rx_queues=nrx,
        auto_mask=bool(intr["autoMask"]),
        intrs=intrs,
        event_intr=intr["eventIntrIdx"],
        levels=levels,
    )


def _interrupts(mem: GuestMemory, shared_at: int, version: int, area: Area) -> tuple[Area, int]:
    """The interrupt configuration that counts, and how long the shared area is with it.

    From version 6 on a driver with many queues fills only the extension behind the area, and leaves the old place
    empty; a driver that does not may have allocated no more than the old length.
    """
    if version < 6 or area["numIntrs"]:
        return area, DRIVER_SHARED.size
    at = shared_at + DRIVER_SHARED.size
    if not mem.reachable(at, INTR_CONF_EXT.size, write=True):
        return area, DRIVER_SHARED.size
    return INTR_CONF_EXT.numbers(mem.read(at, INTR_CONF_EXT.size)), DRIVER_SHARED.size + INTR_CONF_EXT.size


def check_features(value: int, version: int, note: Note) -> int:
    """`uptFeatures` without the bits this version does not know, which are noted."""
    known = int(features(version))  # an int: its complement has every bit
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


def build_queues(mem: GuestMemory, config: Config, caps: Cap, note: Note) -> Queues:
    """Check the queue table and build the queues. Stores nothing. Raises `GuestFault`."""
    table = mem.read(config.table_at, config.table_size)
    build = _Builder(mem, config, caps, note)
    queues = Queues([], [], [], [])
    try:
        for i in range(config.tx_queues):
            area = TX_QUEUE_DESC.numbers(table, QUEUE_DESC * i)
            queues.tx.append(build.tx_queue(i, area))
            queues.tx_intr.append(_vector(area, config, f"tx queue {i}"))
        for i in range(config.rx_queues):
            area = RX_QUEUE_DESC.numbers(table, QUEUE_DESC * (config.tx_queues + i))
            queues.rx.append(build.rx_queue(i, area))
            queues.rx_intr.append(_vector(area, config, f"rx queue {i}"))
    except DmaFault as fault:
        raise GuestFault("VMX-D-017", "ring in unmapped memory", fault.value) from fault
    build.check_overlaps()
    return queues


class _Builder:
    """Checks and builds one queue after another, and remembers what memory they take."""

    def __init__(self, mem: GuestMemory, config: Config, caps: Cap, note: Note) -> None:
        self._mem, self._config, self._caps, self._note = mem, config, caps, note
        self._taken = [
            (config.shared_at, config.shared_size, "shared area"),
            (config.table_at, config.table_size, "queue table"),
        ]

    def tx_queue(self, i: int, area: Area) -> TxQueue:
        place = f"tx queue {i}"
        size, comp_size = area["txRingSize"], area["compRingSize"]
        self._ring(area["txRingBasePA"], size, TX_RING_MAX_SIZE, f"{place} ring")
        self._ring(area["compRingBasePA"], comp_size, TC_RING_MAX_SIZE, f"{place} completion ring")
        _require("VMX-D-019", f"{place} completion ring size", comp_size, comp_size >= size)
        self._even(size, f"{place} ring size")
        slot = area["txDataRingDescSize"] if self._config.version >= 3 else 0
        self._tx_data_ring(area["dataRingBasePA"], area["dataRingSize"], slot or TX_DATA_SLOT, size, place)
        return TxQueue(
            i,
            self._mem,
            self._note,
            ring=area["txRingBasePA"],
            size=size,
            comp=area["compRingBasePA"],
            comp_size=comp_size,
            mtu=self._config.mtu,
            version=self._config.version,
            caps=int(self._caps),
        )

    def _tx_data_ring(self, base: int, slots: int, slot: int, size: int, place: str) -> None:
        """Only checked: a descriptor that points into it is an ordinary one."""
        if slots and (
            base % RING_BASE_ALIGN
            or slots < size
            or slot % DATA_SLOT_ALIGN
            or not MIN_DATA_SLOT <= slot <= MAX_DATA_SLOT
            or not self._mem.reachable(base, slots * slot)
        ):
            self._note("VMX-D-020", f"{place} data ring", base)

    def rx_queue(self, i: int, area: Area) -> RxQueue:
        place, config = f"rx queue {i}", self._config
        rings = tuple((area[f"rxRingBasePA{n}"], area[f"rxRingSize{n}"]) for n in range(2))
        comp_size = area["compRingSize"]
        for n, (base, size) in enumerate(rings):
            if n == 0 or size:
                self._ring(base, size, RX_RING_MAX_SIZE, f"{place} ring {n}")
                self._even(size, f"{place} ring {n} size")
        self._ring(area["compRingBasePA"], comp_size, RC_RING_MAX_SIZE, f"{place} completion ring")
        if comp_size < sum(size for _, size in rings):
            self._note("VMX-D-019", f"{place} completion ring size", comp_size)
        base, slot = self._rx_data_ring(area["rxDataRingBasePA"], area["rxDataRingDescSize"], rings[0][1], place)
        stamped = config.version >= 9 and bool(area["rxTSRingBasePA"] and area["rxTSRingDescSize"])
        layout = RxLayout(rings, area["compRingBasePA"], comp_size, base, slot, stamped)
        return RxQueue(
            i,
            config.rx_queues,
            self._mem,
            self._note,
            layout,
            mtu=config.mtu,
            max_sg=config.max_sg,
            version=config.version,
        )

    def _rx_data_ring(self, base: int, slot: int, slots: int, place: str) -> tuple[int, int]:
        """(address, bytes per slot) of the receive data ring; (0, 0) for none, or for one that cannot be used."""
        if not slot and (not base or self._config.version >= 3):
            return 0, 0
        if (
            self._config.version < 3
            or base % RING_BASE_ALIGN
            or slot % DATA_SLOT_ALIGN
            or slot > MAX_DATA_SLOT
            or not self._mem.reachable(base, slots * slot, write=True)
        ):
            self._note("VMX-D-021", f"{place} data ring", base or slot)
            return 0, 0
        self._taken.append((base, slots * slot, f"{place} data ring"))
        return base, slot

    def _ring(self, base: int, size: int, most: int, place: str) -> None:
        _require("VMX-D-018", f"{place} size", size, bool(size) and not size % RING_SIZE_ALIGN and size <= most)
        length = size * TX_DESC.size
        _require("VMX-D-017", f"{place} base", base, bool(base) and not base % RING_BASE_ALIGN)
        _require("VMX-D-017", f"{place} base", base, self._mem.reachable(base, length))
        self._taken.append((base, length, place))

    def _even(self, size: int, place: str) -> None:
        """Command rings of version 7 and newer are powers of two; a completion ring may be their sum."""
        if self._config.version >= 7 and size & size - 1:
            self._note("VMX-D-018", f"{place}, no power of two", size)

    def check_overlaps(self) -> None:
        self._taken.sort()
        for (base, size, name), (other, _, other_name) in pairwise(self._taken):
            if base + size > other:
                self._note("VMX-D-022", f"{name} and {other_name}", other)


def _vector(area: Area, config: Config, place: str) -> int:
    _require("VMX-D-016", f"{place} interrupt index", area["intrIdx"], area["intrIdx"] < config.intrs)
    return area["intrIdx"]


def _require(rule: str, what: str, value: int, good: bool) -> None:
    if not good:
        raise GuestFault(rule, what, value)
