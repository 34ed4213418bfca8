"""The reference driver's shared memory: what is laid out for the device before ACTIVATE, and watched afterwards."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

from pvdev.device import DmaBuffer, Port
from vmxnet3 import wire
from vmxnet3.driver.common import GUARD, DeviceBroke
from vmxnet3.driver.config import Config, Rss, linux_bodies, linux_ring
from vmxnet3.driver.profiles import PROFILES, Profile
from vmxnet3.driver.received import Judge
from vmxnet3.driver.record import Record
from vmxnet3.driver.rx import DataRing, RxQueue, RxRing
from vmxnet3.driver.stamps import Stamps
from vmxnet3.driver.tx import TxQueue
from vmxnet3.wire import Feature

_TAIL = 256  # watched bytes behind every piece of memory we hand out
_GOS = 2 | 1 << 2  # 64-bit, Linux
_MAX_FRAME_SLACK = wire.ETH_HEADER + 2 * wire.VLAN_TAG


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
        self.tx_slot_size = self.rx_slot_size = wire.TX_DATA_SLOT  # data ring slots, as the device answered
        self.tx_stamp_size = self.rx_stamp_size = 0  # time stamp slots, likewise
        self.tso_disabled = self.lro_disabled = False  # the host wants none; so this driver asks for no LRO
        self.num_intrs, self.event_vector, self.extended = 1, 0, False
        self.tx_vectors: list[int] = []
        self.rx_vectors: list[int] = []
        self._buffers: list[DmaBuffer] = []
        self._tails: list[memoryview] = []
        self._frozen: list[tuple[str, memoryview, bytes]] = []
        self._rss_buffer: DmaBuffer | None = None
        self._shared_buffer = port.alloc(wire.PAGE, wire.PAGE)
        self.shared = Record(wire.DRIVER_SHARED, self._shared_buffer.view)
        self._intr_ext = Record(wire.INTR_CONF_EXT, self._shared_buffer.view[wire.DRIVER_SHARED.size :])
        self._clock = count(1)  # what time stamps say: nobody compares them with anything
        self._fence()

    @property
    def dsa(self) -> int:
        """Address of the shared area."""
        return self._shared_buffer.address

    @property
    def intr_conf(self) -> Record:
        """Where the interrupt configuration stands: the extended one is used instead of the other."""
        return self._intr_ext if self.extended else self.shared

    def _behind(self) -> memoryview:
        """The bytes behind the shared area, which is longer with the extended interrupt configuration."""
        return self._shared_buffer.view[wire.DRIVER_SHARED_EXT_SIZE if self.extended else wire.DRIVER_SHARED.size :]

    def _fence(self) -> None:
        behind = self._behind()
        behind[:] = bytes([GUARD]) * len(behind)

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
        config = self._as_linux(config) if config.bodies is None else config
        self.config = config
        ntx, nrx = config.tx_queues, config.rx_queues
        self._assign_vectors(config)
        table = self._take(256 * (ntx + nrx), 128)
        cells = [table.view[256 * i : 256 * (i + 1)] for i in range(ntx + nrx)]
        self.tx_desc = [Record(wire.TX_QUEUE_DESC, cell) for cell in cells[:ntx]]
        self.rx_desc = [Record(wire.RX_QUEUE_DESC, cell) for cell in cells[ntx:]]
        for q in range(ntx):
            self.tx.append(self._make_tx(q))
            self._describe_tx(q)
        for q in range(nrx):
            self.rx.append(self._make_rx(q))
            self._describe_rx(q)
        for stamps in self._stamps():
            stamps.rate = self.tx_desc[0].cell("sampleRate")
        if config.rss is not None:
            self._rss_buffer = self._take(wire.RSS_CONF.size, 64)
            self.write_rss(config.rss)
        self._describe_shared(table)
        self.freeze()

    def _as_linux(self, config: Config) -> Config:
        """Ring 0's pattern and the ring sizes Linux would take."""
        bodies, version = linux_bodies(config.mtu, self.version), self.version
        return replace(
            config,
            bodies=bodies,
            rx_ring0=linux_ring(config.rx_ring0, 1 + bodies, version),
            rx_ring1=linux_ring(config.rx_ring1, 1, version),
            tx_ring=linux_ring(config.tx_ring, 1, version),
        )

    def _stamps(self) -> Iterator[Stamps]:
        queues: list[TxQueue | RxQueue] = [*self.tx, *self.rx]
        for queue in queues:
            if queue.stamps is not None:
                yield queue.stamps

    def _make_tx(self, q: int) -> TxQueue:
        config, stamp = self.config, self.tx_stamp_size if self.version >= 9 else 0
        return TxQueue(
            q,
            self._take,
            self._complain,
            size=config.tx_ring,
            comp=config.tx_comp or config.tx_ring,
            slot=config.tx_slot or min(wire.TXD_LEN_MAX, -(-(config.mtu + 22) // 128) * 128),
            data_slot=(config.tx_data_slot or self.tx_slot_size) if config.tx_data_ring else 0,
            stamps=Stamps(self._take, config.tx_ring, stamp, self._next_time) if stamp else None,
        )

    def _make_rx(self, q: int) -> RxQueue:
        config, profile = self.config, self.profile
        head = config.head_size or max(wire.MIN_T0_BUF_SIZE, min(config.mtu + 22, 3072))
        pattern = [(0, head)] + [(1, config.body_size)] * (config.bodies or 0)
        rings = (
            RxRing(self._take, config.rx_ring0, pattern, config.guard),
            RxRing(self._take, config.rx_ring1, [(1, config.body_size)], config.guard),
        )
        max_frame = max(config.mtu, config.config_mtu or 0) + _MAX_FRAME_SLACK
        slot, stamp = self._rx_slot(config), self.rx_stamp_size if self.version >= 9 else 0
        queue = RxQueue(
            q,
            config.rx_queues,
            self._take,
            Judge(self._complain, int(config.features), self.version, max_frame),
            rings,
            comp=config.rx_comp or config.rx_ring0 + config.rx_ring1,
            data=DataRing(self._take, config.rx_ring0, slot, bool(config.guard)) if slot else None,
            stamps=Stamps(self._take, config.rx_ring0, stamp, self._next_time) if stamp else None,
        )
        fill = config.fill if config.fill is not None else profile.fill
        for ring in rings:
            ring.target = max(ring.size - 1, 0) if fill is None else min(fill, ring.size)
        if not profile.posts_late:
            queue.refill()
        return queue

    def _rx_slot(self, config: Config) -> int:
        if config.rx_data_slot is not None:
            return config.rx_data_slot
        return self.rx_slot_size if self.profile.rx_data_ring and self.version >= 3 else 0

    def _next_time(self) -> int:
        return next(self._clock)

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
        many = ntx > wire.MAX_TX_QUEUES or nrx > wire.MAX_RX_QUEUES
        self.extended = self.version >= 6 and many if config.ext_intr is None else config.ext_intr

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
            txDataRingDescSize=queue.data_slot if self.version >= 3 or config.tx_data_slot else 0,
            stopped=1,
            txTSRingBasePA=queue.stamps.address if queue.stamps else 0,
            txTSRingDescSize=queue.stamps.slot if queue.stamps else 0,
        )
        queue.ctrl = self.tx_desc[q].view[:8].cast("I")

    def _describe_rx(self, q: int) -> None:
        queue = self.rx[q]
        self.rx_desc[q].fill(
            updateRxProd=0xEE,  # whatever was there: the device writes it
            rxRingBasePA=[ring.address for ring in queue.rings],
            compRingBasePA=queue.comp.address,
            ddPA=0xFFFF_FFFF_FFFF_FFFF,
            rxDataRingBasePA=queue.data.address if queue.data else 0,
            rxRingSize=[ring.size for ring in queue.rings],
            compRingSize=queue.comp_size,
            intrIdx=self.rx_vectors[q],
            rxDataRingDescSize=queue.data.slot if queue.data else 0,
            stopped=1,
            rxTSRingBasePA=queue.stamps.address if queue.stamps else 0,
            rxTSRingDescSize=queue.stamps.slot if queue.stamps else 0,
        )

    def _describe_shared(self, table: DmaBuffer) -> None:
        config = self.config
        features = config.features | (Feature.RSS if config.rss else Feature(0))
        if self.lro_disabled:
            features &= ~Feature.LRO
        for queue in self.rx:
            queue.judge.features = int(features)
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
            rxMode=0 if self.profile.late_mode else int(config.rx_mode),
            vfTable=b"\x01",
            rssConfVer=int(rss is not None),
            rssConfLen=wire.RSS_CONF.size if rss else 0,
            rssConfPA=rss.address if rss else 0,
        )
        self._fence()
        if self.extended:
            self._intr_ext.fill()
        conf = self.intr_conf
        conf["autoMask"], conf["numIntrs"], conf["eventIntrIdx"] = config.auto_mask, self.num_intrs, self.event_vector
        conf["intrCtrl"] = config.disable_all
        levels = conf.all("modLevels")
        conf.put("modLevels", [config.mod_level] * min(self.num_intrs, len(levels)))

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
        self._frozen = [
            (f"queue descriptor {i} conf", desc.view[lo:hi], bytes(desc.view[lo:hi]))
            for i, desc in enumerate((*self.tx_desc, *self.rx_desc))
            for lo, hi in ((8, 80), (168, 180))  # ctrl before, status and stats between, sampleRate behind
        ]

    def audit(self) -> None:
        """Look at everything the device may not write: command rings, configuration, what lies behind each piece."""
        tails = [*self._tails, self._behind()]
        for i, tail in enumerate(tails):
            if bytes(tail).strip(bytes([GUARD])):
                self._complain("VMX-V-079", f"bytes behind piece {i} of memory were written")
        for name, view, before in self._frozen:
            if view != before:
                self._complain("VMX-V-079", f"{name} was written")
        if not all(stamps.intact() for stamps in self._stamps()):
            self._complain("VMX-V-079", "time stamps were written")
        for ring in self.tx:
            if ring.desc.view != ring.shadow:
                self._complain("VMX-V-079", f"descriptors of tx queue {ring.index} were written")
        for queue in self.rx:
            if queue.data is not None and not queue.data.intact():
                self._complain("VMX-V-079", f"bytes before the data ring of rx queue {queue.index} were written")
            for side, rx_ring in enumerate(queue.rings):
                if rx_ring.size and rx_ring.view != rx_ring.shadow:
                    self._complain("VMX-V-079", f"descriptors of rx queue {queue.index} ring {side} were written")

    def _complain(self, rule: str, what: str) -> None:
        complaint = DeviceBroke(rule, what)
        if self.strict:
            raise complaint
        if len(self.complaints) < 1000:
            self.complaints.append(complaint)
