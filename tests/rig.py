"""A VMXNET3 driver's side written out by hand, over the in-process port: nothing in it keeps a test from doing wrong.

What the device is told stands in `area` and in `tx_area` and `rx_area` (a dict of wire fields per queue): right when
`prepare` is done, and open to change until `activate`.
"""

import gc
import weakref
from dataclasses import dataclass
from typing import Any

from pvdev.device import DmaBuffer
from pvdev.pci import CAP_MSIX, CMD_MASTER, CMD_MEMORY, COMMAND, CONFIG_REGION, MSIX_ENABLE
from pvdev.transport.inproc import LocalPort
from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.device import Vmxnet3
from vmxnet3.wire import DRIVER_SHARED, RX_COMP, RX_DESC, RX_QUEUE_DESC, TX_COMP, TX_DESC, TX_QUEUE_DESC, Cmd
from vmxnet3.wire_args import CONF_DESC

MAC = bytes.fromhex("02000a0b0c0d")
PEER = bytes.fromhex("020011223344")
BROADCAST = b"\xff" * 6

CELL = 16
SLOT = 2048  # bytes per buffer
NOWHERE = 0x7000_0000  # nothing is ever mapped from here on


def frame(size: int = 60, *, dst: bytes = MAC, src: bytes = PEER, kind: int = 0x88B5, seed: int = 0) -> bytes:
    """`size` bytes of an Ethernet frame of a type nobody parses; `seed` makes its bytes its own."""
    body = bytes((seed * 37 + i * 11 + (i >> 8)) & 0xFF for i in range(size - wire.ETH_HEADER))
    return dst + src + kind.to_bytes(2, "big") + body


def patched(data: bytes, at: int, value: int) -> bytes:
    """`data` with one byte changed."""
    return data[:at] + bytes((value,)) + data[at + 1 :]


def living(kind: type) -> int:
    """How many objects of this kind there are in this process."""
    gc.collect()
    return sum(isinstance(found, kind) for found in gc.get_objects())


@dataclass
class Ring:
    """One ring as its filler or its reader sees it: the next index, and the owner bit of this lap."""

    memory: DmaBuffer
    size: int
    next: int = 0
    gen: int = wire.INIT_GEN

    def step(self) -> int:
        """The index in turn, counted on."""
        at = self.next
        self.next += 1
        if self.next == self.size:
            self.next, self.gen = 0, self.gen ^ 1
        return at

    def put(self, cell: bytes) -> int:
        """Write one cell; returns its index."""
        at = self.step()
        self.memory.view[CELL * at : CELL * at + CELL] = cell
        return at

    def cell(self) -> bytes:
        """The bytes at the next index."""
        return bytes(self.memory.view[CELL * self.next : CELL * self.next + CELL])


@dataclass
class TxSide:
    ring: Ring
    comp: Ring
    buffers: DmaBuffer


@dataclass
class RxSide:
    rings: tuple[Ring, Ring]
    comp: Ring
    buffers: tuple[DmaBuffer, DmaBuffer]
    data: DmaBuffer | None = None  # the data ring, of slots of `slot` bytes
    slot: int = 0


@dataclass
class Packet:
    """A received packet: its bytes, and the completions it came in."""

    data: bytes
    comps: list[dict[str, int]]


class RawNic:
    """A device and a driver's port to it: powered, decoding and bus mastering on, nothing told yet.

    `version` is what the device offers at most, and what `activate` selects.
    """

    def __init__(
        self, net: Queue | None = None, *, version: int = 1, memory: int = 4 << 20, budget: int = 256, **options: Any
    ) -> None:
        self.net, self.version = net if net is not None else Queue(), version
        self.device = Vmxnet3(self.net, **{"mac": MAC, "version": version, **options})
        self.port = LocalPort(self.device, memory=memory, budget=budget)
        self.rules = self.device.rules
        weakref.finalize(self, self.port.arena.block.close)
        self.caps, self.bell = 0, wire.REG_TXPROD  # what `negotiate` asked for, and which doorbell `kick` rings
        self.power()

    # -- registers --------------------------------------------------------------------------------------------------

    def power(self) -> None:
        self.port.write(CONFIG_REGION, COMMAND, CMD_MEMORY | CMD_MASTER, 2)

    def vd(self, offset: int, value: int) -> None:
        self.port.write(wire.BAR_VD, offset, value)

    def pt(self, offset: int, value: int) -> None:
        self.port.write(wire.BAR_PT, offset, value)

    def command(self, value: int) -> int:
        """Write CMD, read its answer."""
        self.vd(wire.REG_CMD, value)
        return self.port.read(wire.BAR_VD, wire.REG_CMD)

    def negotiate(self, caps: int) -> int:
        """Version and DCR 0, now and with every `activate`; the capabilities in force. `kick` rings where they say."""
        self.caps = caps
        self.vd(wire.REG_VRRS, 1 << self.version - 1)
        self.vd(wire.REG_DCR, caps)
        found = self.command(Cmd.GET_DCR0_REG)
        self.bell = wire.LB_REG_TXPROD if found & wire.Cap.LARGE_BAR else wire.REG_TXPROD
        return found

    def use_msix(self) -> None:
        """MSI-X on, the table open, IMR of every announced vector 0."""
        vectors = self.area["numIntrs"]
        for vector in range(vectors):
            self.port.write(wire.BAR_MSIX, 16 * vector + 12, 0)
        self.port.write(CONFIG_REGION, self.device.pci.config.caps[CAP_MSIX] + 2, MSIX_ENABLE, 2)
        for vector in range(vectors):
            self.pt(wire.REG_IMR + 8 * vector, 0)

    def argue(self, data: bytes) -> None:
        """The argument of the next command, into cmdInfo."""
        at = DRIVER_SHARED.offset["cmdInfo"]
        self.shared.view[at : at + 16] = data.ljust(16, b"\0")

    def point_at(self, data: bytes, *, length: int | None = None, address: int | None = None) -> DmaBuffer:
        """`data` into memory, which is returned, and where it is into cmdInfo; `length` and `address` may lie."""
        buffer = self.port.alloc(max(len(data), 64), 64)
        buffer.view[: len(data)] = data
        where = buffer.address if address is None else address
        self.argue(CONF_DESC.encode(confVer=1, confLen=len(data) if length is None else length, confPA=where))
        return buffer

    def point(self, address: int) -> None:
        """DSAL and DSAH."""
        self.vd(wire.REG_DSAL, address & 0xFFFF_FFFF)
        self.vd(wire.REG_DSAH, address >> 32)

    def activate(self, address: int | None = None) -> int:
        """Version, shared area (unless given at `address`), ACTIVATE_DEV: its answer."""
        self.vd(wire.REG_VRRS, 1 << self.version - 1)
        self.vd(wire.REG_UVRS, 1)
        if self.caps:
            self.vd(wire.REG_DCR, self.caps)
        self.point(self.shared.address if address is None else address)
        return self.command(Cmd.ACTIVATE_DEV)

    # -- what is told to the device -----------------------------------------------------------------------------------

    def prepare(
        self, *, tx: int = 1, rx: int = 1, size: int = 64, ring1: int = 32, tx_comp: int = 0, rx_comp: int = 0
    ) -> None:
        """Rings of `size` (`ring1`: of that size), a queue table and a shared area, all as they should be."""
        alloc = self.port.alloc
        self.shared = alloc(DRIVER_SHARED.size)
        self.table = alloc(256 * (tx + rx))
        self.tx = [TxSide(self._ring(size), self._ring(tx_comp or size), alloc(SLOT * size)) for _ in range(tx)]
        self.rx = [
            RxSide(
                (self._ring(size), self._ring(ring1)),
                self._ring(rx_comp or size + ring1),
                (alloc(SLOT * size), alloc(SLOT * max(ring1, 1))),
            )
            for _ in range(rx)
        ]
        self.area: dict[str, Any] = {
            "magic": wire.MAGIC,
            "queueDescPA": self.table.address,
            "queueDescLen": 256 * (tx + rx),
            "mtu": 1500,
            "numTxQueues": tx,
            "numRxQueues": rx,
            "numIntrs": 2,
            "rxMode": wire.RxMode.UCAST | wire.RxMode.BCAST,
            "uptFeatures": wire.Feature.RXCSUM,
        }
        self.tx_area: list[dict[str, Any]] = [
            {
                "txRingBasePA": side.ring.memory.address,
                "txRingSize": side.ring.size,
                "compRingBasePA": side.comp.memory.address,
                "compRingSize": side.comp.size,
            }
            for side in self.tx
        ]
        self.rx_area: list[dict[str, Any]] = [
            {
                "rxRingBasePA": tuple(ring.memory.address if ring.size else 0 for ring in side.rings),
                "rxRingSize": tuple(ring.size for ring in side.rings),
                "compRingBasePA": side.comp.memory.address,
                "compRingSize": side.comp.size,
            }
            for side in self.rx
        ]
        self.tell()

    def _ring(self, size: int) -> Ring:
        return Ring(self.port.alloc(CELL * max(size, 1), 512), size)

    def tell(self, **fields: Any) -> None:
        """Write the shared area and the queue table, with these fields of the shared area changed."""
        self.area.update(fields)
        self.shared.view[:] = DRIVER_SHARED.encode(**self.area)
        self.table.view[:] = b"".join(
            [TX_QUEUE_DESC.encode(**area) for area in self.tx_area]
            + [RX_QUEUE_DESC.encode(**area) for area in self.rx_area]
        )

    def tell_tx(self, queue: int = 0, **fields: Any) -> None:
        self.tx_area[queue].update(fields)
        self.tell()

    def tell_rx(self, queue: int = 0, **fields: Any) -> None:
        self.rx_area[queue].update(fields)
        self.tell()

    def give_data_rings(self, slot: int) -> None:
        """Receive data rings of `slot` bytes a slot (version 3), for every queue."""
        for queue, side in enumerate(self.rx):
            side.data, side.slot = self.port.alloc(slot * side.rings[0].size, 512), slot
            self.tell_rx(queue, rxDataRingBasePA=side.data.address, rxDataRingDescSize=slot)

    def bring_up(self, **sizes: int) -> None:
        """`prepare`, `activate` and buffers in every receive ring but one cell."""
        self.prepare(**sizes)
        assert self.activate() == 0
        self.arm_all()

    # -- transmit -----------------------------------------------------------------------------------------------------

    def post(self, data: bytes = b"", *, queue: int = 0, **fields: int) -> int:
        """One descriptor into the transmit ring, its buffer filled with `data`: a whole packet by itself."""
        side = self.tx[queue]
        at = SLOT * side.ring.next
        side.buffers.view[at : at + len(data)] = data
        values = {"addr": side.buffers.address + at, "len": len(data), "gen": side.ring.gen, "eop": 1, "cq": 1}
        return side.ring.put(TX_DESC.encode(**{**values, **fields}))

    def kick(self, queue: int = 0) -> None:
        self.pt(self.bell + 8 * queue, self.tx[queue].ring.next)

    def send(self, data: bytes, *, queue: int = 0, **fields: int) -> None:
        self.post(data, queue=queue, **fields)
        self.kick(queue)

    def done(self, queue: int = 0) -> list[int]:
        """The descriptor indices the device completed since the last look."""
        comp, out = self.tx[queue].comp, []
        while (found := TX_COMP.numbers(comp.cell()))["gen"] == comp.gen:
            assert (found["type"], found["ext1"], found["ext2"], found["ext3"], found["rsvd"]) == (0, 0, 0, 0, 0)
            out.append(found["txdIdx"])
            comp.step()
        return out

    def tx_stats(self, queue: int = 0) -> dict[str, int]:
        """The counters GET_STATS stores, by name."""
        self.command(Cmd.GET_STATS)
        found = TX_QUEUE_DESC.numbers(self.table.view, 256 * queue)
        return {name: found[f"stats{i}"] for i, name in enumerate(wire.TX_STATS)}

    def status(self, queue: int = 0) -> tuple[int, int]:
        """(stopped, error) of a queue, numbered as in the queue table."""
        self.command(Cmd.GET_QUEUE_STATUS)
        found = TX_QUEUE_DESC.numbers(self.table.view, 256 * queue)
        return found["stopped"], found["error"]

    # -- receive ------------------------------------------------------------------------------------------------------

    def arm(self, ring: int = 0, *, queue: int = 0, **fields: int) -> int:
        """One buffer into a receive ring: HEAD in ring 0, BODY in ring 1 unless told otherwise."""
        side = self.rx[queue]
        target = side.rings[ring]
        address = side.buffers[ring].address + SLOT * target.next
        values = {"addr": address, "len": SLOT, "btype": ring, "gen": target.gen}
        return target.put(RX_DESC.encode(**{**values, **fields}))

    def arm_all(self) -> None:
        for queue, side in enumerate(self.rx):
            for n, ring in enumerate(side.rings):
                for _ in range(ring.size - 1):
                    self.arm(n, queue=queue)

    def feed(self, *frames: bytes) -> None:
        """The wire brings `frames`, and the device works until it can do no more."""
        self.net.inbound.extend(frames)
        self.port.run()

    def received(self, queue: int = 0) -> list[Packet]:
        """The packets completed since the last look; nothing is armed again."""
        side, out = self.rx[queue], []
        data, comps = b"", []
        while (found := RX_COMP.numbers(side.comp.cell()))["gen"] == side.comp.gen:
            side.comp.step()
            ring, rest = divmod(found["rqID"], len(self.rx))
            assert rest == queue
            if ring == 2:
                assert side.data is not None
                address = side.data.address + side.slot * found["rxdIdx"]
            else:
                address = RX_DESC.numbers(side.rings[ring].memory.view, CELL * found["rxdIdx"])["addr"]
            mem = self.device.mem
            data += mem.read(address, found["len"]) if mem.reachable(address, found["len"]) else b""
            comps.append(found)
            if found["eop"]:
                out.append(Packet(data, comps))
                data, comps = b"", []
        assert not comps, "a packet without its end"
        return out

    def rx_stats(self, queue: int = 0) -> dict[str, int]:
        """The counters GET_STATS stores, by name."""
        self.command(Cmd.GET_STATS)
        found = RX_QUEUE_DESC.numbers(self.table.view, 256 * (len(self.tx) + queue))
        return {name: found[f"stats{i}"] for i, name in enumerate(wire.RX_STATS)}

    # -- judging ------------------------------------------------------------------------------------------------------

    def seen(self, number: str) -> list[tuple[str, int, int]]:
        """(place, last value, count) of every violation of rule `number`."""
        return [(v.place, v.last, v.count) for v in self.rules if v.rule.number == number]

    def snapshot(self) -> list[bytes]:
        """All mapped guest memory."""
        return [bytes(region.view) for region in self.device.mem.regions() if region.view is not None]

    def lend(self, address: int, size: int, *, writable: bool = True) -> memoryview:
        """Another region of guest memory."""
        view = memoryview(bytearray(size))
        self.device.mem.map(address, view, writable=writable)
        return view

    def assert_traffic(self) -> None:
        """A frame each way passes on the rings as they are, unchanged, and breaks no rule."""
        out, back, broken = frame(100, seed=201), frame(120, seed=202), self.rules.count()
        self.net.sent.clear()
        self.net.inbound.clear()
        self.done()
        self.received()

        index = self.post(out)
        self.kick()
        self.feed(back)

        assert self.net.sent == [out]
        assert self.done() == [index]
        assert [packet.data for packet in self.received()] == [back]
        assert self.rules.count() == broken

    def assert_alive(self) -> None:
        """After a PCI reset and a new start normal traffic passes both ways."""
        self.port.reset()
        self.caps, self.bell = 0, wire.REG_TXPROD
        self.power()
        self.bring_up()
        self.assert_traffic()

    def assert_refused(self, number: str, what: str, value: int, *, address: int | None = None) -> None:
        """ACTIVATE_DEV fails, records the rule once and stores nothing; after a reset all is well."""
        before = self.snapshot()

        answer = self.activate(address)

        assert answer == 1
        assert self.seen(number) == [(f"ACTIVATE_DEV: {what}", value, 1)]
        assert self.snapshot() == before
        self.assert_silent()
        self.assert_alive()

    def assert_silent(self) -> None:
        """An inactive device answers doorbells and arriving frames with nothing at all."""
        before = self.snapshot()
        self.pt(wire.REG_TXPROD, 1)
        self.net.inbound.append(frame(dst=BROADCAST))
        self.port.run()
        assert self.snapshot() == before
        assert self.port.interrupts() == 0
        assert self.net.sent == []
        self.net.inbound.clear()
