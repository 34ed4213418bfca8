"""The reference driver's shared memory: what is laid out for the device before ACTIVATE, and watched afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pvdev.device import DmaBuffer, Port
from pvdev.layout import Layout
from vmxnet3 import wire
from vmxnet3.driver.common import GUARD, DeviceBroke
from vmxnet3.driver.profiles import PROFILES, Profile
from vmxnet3.driver.rx import RxQueue, RxRing
from vmxnet3.driver.tx import TxQueue
from vmxnet3.wire import Feature, RxMode

_TAIL = 256  # watched bytes behind every piece of memory we hand out
_CELLS: dict[str, tuple[Literal["B", "H", "I", "Q"], int]] = {
    "s": ("B", 1),
    "B": ("B", 1),
    "H": ("H", 2),
    "I": ("I", 4),
    "Q": ("Q", 8),
}
_GOS = 2 | 1 << 2  # 64-bit, Linux
_MAX_FRAME_SLACK = wire.ETH_HEADER + 2 * wire.VLAN_TAG


@dataclass(frozen=True)
class Rss:
    """UPT1_RSSConf: `table` names a receive queue per entry."""

    table: bytes
    key: bytes
    hash_type: int = wire.HashType.IPV4 | wire.HashType.TCP_IPV4 | wire.HashType.IPV6 | wire.HashType.TCP_IPV6
    hash_func: int = wire.HASH_FUNC_TOEPLITZ


@dataclass(frozen=True)
class Config:
    """What is laid out in memory before ACTIVATE. Ring sizes in descriptors, buffer sizes in bytes.

    `bodies`: BODY descriptors after each HEAD in ring 0 (Linux with a large MTU). `guard`: watched bytes behind each
    receive buffer. None: worked out from the MTU or the rings.
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
    bodies: int = 0
    guard: int = 0
    fill: int | None = None
    tx_slot: int | None = None
    tx_data_ring: bool = True
    rss: Rss | None = None
    version: int | None = None  # None: the highest both sides know


class Record:
    """A structure in shared memory, field by field: `record["mtu"] = 1500`. Stores are single and aligned."""

    def __init__(self, layout: Layout, view: memoryview) -> None:
        self.layout, self.view = layout, view
        self._codes = {spec[0]: spec[1] for spec in layout.fields}

    def _cell(self, name: str) -> memoryview:
        at, code = self.layout.offset[name], self._codes[name]
        cast, size = _CELLS[code[-1]]
        return self.view[at : at + int(code[:-1] or 1) * size].cast(cast)

    def __getitem__(self, name: str) -> int:
        return int(self._cell(name)[0])

    def __setitem__(self, name: str, value: int) -> None:
        self._cell(name)[0] = value

    def all(self, name: str) -> list[int]:
        """Every element of an array field."""
        return self._cell(name).tolist()

    def put(self, name: str, values: Sequence[int]) -> None:
        """The first elements of an array field."""
        cell = self._cell(name)
        for i, value in enumerate(values):
            cell[i] = value

    def fill(self, **values: int | bytes | Sequence[int]) -> None:
        """The whole structure anew; fields not given are zero."""
        self.view[: self.layout.size] = self.layout.encode(**values)


@dataclass(frozen=True)
class _Piece:
    """DMA memory without the watched bytes behind it."""

    address: int
    view: memoryview


class DriverMemory:
    """Shared area, queue descriptors, rings and buffers of one driver.

    The shared area stays where it is for as long as the driver lives, as OpenBSD's does; `configure` makes all the
    rest anew.
    """

    def __init__(self, port: Port, strict: bool) -> None:
        self.port, self.strict = port, strict
        self.complaints: list[DeviceBroke] = []
        self.profile: Profile = PROFILES["plain"]
        self.config, self.version = Config(), 1
        self.tx: list[TxQueue] = []
        self.rx: list[RxQueue] = []
        self.tx_desc: list[Record] = []
        self.rx_desc: list[Record] = []
        self.num_intrs, self.event_vector = 1, 0
        self.tx_vectors: list[int] = []
        self.rx_vectors: list[int] = []
        self._buffers: list[DmaBuffer] = []
        self._tails: list[memoryview] = []
        self._frozen: list[tuple[str, memoryview, bytes]] = []
        self._rss_buffer: DmaBuffer | None = None
        self._table = memoryview(b"")
        self._shared_buffer = port.alloc(wire.PAGE, wire.PAGE)
        size = wire.DRIVER_SHARED.size
        self._shared_buffer.view[size:] = bytes([GUARD]) * (wire.PAGE - size)
        self.shared = Record(wire.DRIVER_SHARED, self._shared_buffer.view[:size])

    @property
    def dsa(self) -> int:
        """Address of the shared area."""
        return self._shared_buffer.address

    def _take(self, size: int, align: int) -> DmaBuffer:
        buffer = self.port.alloc(size + _TAIL, align)
        tail = buffer.view[size:]
        tail[:] = bytes([GUARD]) * _TAIL
        self._buffers.append(buffer)
        self._tails.append(tail)
        return _Piece(buffer.address, buffer.view[:size])

    def release(self) -> None:
        """Give back all memory, the shared area included."""
        self._release()
        self.port.free(self._shared_buffer)

    def _release(self) -> None:
        for ring in self.tx:
            ring.abandon(self.port.free)
        for buffer in self._buffers:
            self.port.free(buffer)
        self._buffers, self._tails, self._frozen = [], [], []
        self.tx, self.rx, self.tx_desc, self.rx_desc = [], [], [], []
        self._rss_buffer = None

    def configure(self, config: Config) -> None:
        """Allocate and fill the shared area, queue descriptors, rings and buffers. The device is not touched."""
        self._release()
        self.config = config
        ntx, nrx, profile = config.tx_queues, config.rx_queues, self.profile
        self._assign_vectors(config)
        table = self._take(256 * (ntx + nrx), 128)
        cells = [table.view[256 * i : 256 * (i + 1)] for i in range(ntx + nrx)]
        self.tx_desc = [Record(wire.TX_QUEUE_DESC, cell) for cell in cells[:ntx]]
        self.rx_desc = [Record(wire.RX_QUEUE_DESC, cell) for cell in cells[ntx:]]
        head = config.head_size or max(wire.MIN_T0_BUF_SIZE, min(config.mtu + 22, 3072))
        slot = config.tx_slot or min(wire.TXD_LEN_MAX, -(-(config.mtu + 22) // 128) * 128)
        pattern = [(0, head)] + [(1, config.body_size)] * config.bodies
        for q in range(ntx):
            self.tx.append(
                TxQueue(
                    q,
                    self._take,
                    self._complain,
                    size=config.tx_ring,
                    comp=config.tx_comp or config.tx_ring,
                    slot=slot,
                    data_slots=config.tx_ring if config.tx_data_ring else 0,
                )
            )
            self._describe_tx(q)
        for q in range(nrx):
            rings = (
                RxRing(self._take, config.rx_ring0, pattern, config.guard),
                RxRing(self._take, config.rx_ring1, [(1, config.body_size)], config.guard),
            )
            queue = RxQueue(
                q,
                nrx,
                self._take,
                self._complain,
                rings,
                comp=config.rx_comp or config.rx_ring0 + config.rx_ring1,
                max_frame=max(config.mtu, config.config_mtu or 0) + _MAX_FRAME_SLACK,
                features=config.features,
                version=self.version,
            )
            fill = config.fill if config.fill is not None else profile.fill
            for ring in rings:
                ring.target = max(ring.size - 1, 0) if fill is None else min(fill, ring.size)
            if not profile.posts_late:
                queue.refill()
            self.rx.append(queue)
            self._describe_rx(q)
        if config.rss is not None:
            self._rss_buffer = self._take(wire.RSS_CONF.size, 64)
            self.write_rss(config.rss)
        self._describe_shared(table)
        self._table = table.view
        self.freeze()

    def _assign_vectors(self, config: Config) -> None:
        ntx, nrx = config.tx_queues, config.rx_queues
        if config.intr != "msix":
            layout = (1, [0] * ntx, [0] * nrx, 0)
        elif config.vectors == "own":
            layout = (ntx + nrx + 1, list(range(ntx)), list(range(ntx, ntx + nrx)), ntx + nrx)
        elif config.vectors == "buddy":
            pairs = max(ntx, nrx)
            layout = (pairs + 1, list(range(ntx)), list(range(nrx)), pairs)
        elif config.vectors == "event_first":
            layout = (max(ntx, nrx) + 1, list(range(1, ntx + 1)), list(range(1, nrx + 1)), 0)
        else:  # FreeBSD binds transmit queues to vectors nobody listens to
            layout = (nrx + ntx + 1, list(range(nrx + 1, nrx + 1 + ntx)), list(range(nrx)), nrx)
        self.num_intrs, self.tx_vectors, self.rx_vectors, self.event_vector = layout

    def _describe_tx(self, q: int) -> None:
        queue, config = self.tx[q], self.config
        self.tx_desc[q].fill(
            txRingBasePA=queue.desc.address,
            dataRingBasePA=queue.data.address if queue.data else 0,
            compRingBasePA=queue.comp.address,
            ddPA=0xFFFF_FFFF_FFFF_FFFF,  # as Linux: nobody may follow it
            txRingSize=queue.size,
            dataRingSize=config.tx_ring if queue.data else 0,
            compRingSize=queue.comp_size,
            intrIdx=self.tx_vectors[q],
            stopped=1,
        )
        queue.ctrl = self.tx_desc[q].view[:8].cast("I")

    def _describe_rx(self, q: int) -> None:
        queue = self.rx[q]
        self.rx_desc[q].fill(
            updateRxProd=0xEE,  # whatever was there: the device writes it
            rxRingBasePA=[ring.address for ring in queue.rings],
            compRingBasePA=queue.comp.address,
            ddPA=0xFFFF_FFFF_FFFF_FFFF,
            rxRingSize=[ring.size for ring in queue.rings],
            compRingSize=queue.comp_size,
            intrIdx=self.rx_vectors[q],
            stopped=1,
        )

    def _describe_shared(self, table: DmaBuffer) -> None:
        config = self.config
        features = config.features | (Feature.RSS if config.rss else Feature(0))
        for queue in self.rx:
            queue.features = features
        rss = self._rss_buffer
        self.shared.fill(
            magic=wire.MAGIC,
            version=0x0001_0900,
            gosBits=_GOS & 3,
            gosType=_GOS >> 2,
            vmxnet3RevSpt=1,
            uptVerSpt=1,
            uptFeatures=int(features),
            ddPA=0xFFFF_FFFF_FFFF_FFFF,
            queueDescPA=table.address,
            queueDescLen=256 * (config.tx_queues + config.rx_queues),
            mtu=config.config_mtu or config.mtu,
            maxNumRxSG=config.max_rx_sg,
            numTxQueues=config.tx_queues,
            numRxQueues=config.rx_queues,
            autoMask=int(config.auto_mask),
            numIntrs=self.num_intrs,
            eventIntrIdx=self.event_vector,
            modLevels=[config.mod_level] * self.num_intrs,
            intrCtrl=int(config.disable_all),
            rxMode=0 if self.profile.late_mode else int(config.rx_mode),
            vfTable=b"\x01",
            rssConfVer=int(rss is not None),
            rssConfLen=wire.RSS_CONF.size if rss else 0,
            rssConfPA=rss.address if rss else 0,
        )

    def write_rss(self, rss: Rss) -> None:
        """Store an RSS configuration where the device was told to look; `Cmd.UPDATE_RSSIDT` makes it read again."""
        assert self._rss_buffer is not None
        self._rss_buffer.view[: wire.RSS_CONF.size] = wire.RSS_CONF.encode(
            hashType=int(rss.hash_type),
            hashFunc=rss.hash_func,
            hashKeySize=len(rss.key),
            indTableSize=len(rss.table),
            hashKey=rss.key,
            indTable=rss.table,
        )

    # -- what the device must leave alone --------------------------------------------------------------------------

    def freeze(self) -> None:
        """What the queue table holds now as configuration is ours: the device has no business writing there."""
        parts = [self._table[256 * k + 8 : 256 * k + 80] for k in range(len(self._table) // 256)]
        self._frozen = [(f"queue descriptor {i} conf", view, bytes(view)) for i, view in enumerate(parts)]

    def audit(self) -> None:
        """Look at everything the device may not write: command rings, configuration, what lies behind each piece."""
        tails = [*self._tails, self._shared_buffer.view[wire.DRIVER_SHARED.size :]]
        for i, tail in enumerate(tails):
            if bytes(tail).strip(bytes([GUARD])):
                self._complain("VMX-V-079", f"bytes behind piece {i} of memory were written")
        for name, view, before in self._frozen:
            if view != before:
                self._complain("VMX-V-079", f"{name} was written")
        for ring in self.tx:
            if ring.desc.view != ring.shadow:
                self._complain("VMX-V-079", f"descriptors of tx queue {ring.index} were written")
        for queue in self.rx:
            for side, rx_ring in enumerate(queue.rings):
                if rx_ring.size and rx_ring.view != rx_ring.shadow:
                    self._complain("VMX-V-079", f"descriptors of rx queue {queue.index} ring {side} were written")

    def _complain(self, rule: str, what: str) -> None:
        complaint = DeviceBroke(rule, what)
        if self.strict:
            raise complaint
        if len(self.complaints) < 1000:
            self.complaints.append(complaint)
