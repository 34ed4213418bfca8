"""The reference driver's registers and commands, each with what it carries and what its answer must look like.

Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c, vmxnet3_ethtool.c; DPDK drivers/net/vmxnet3/vmxnet3_ethdev.c.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from pvdev.device import Port
from pvdev.pci_driver import PciFacts
from vmxnet3 import wire, wire_args
from vmxnet3.driver.common import GUARD
from vmxnet3.driver.memory import DriverMemory
from vmxnet3.driver.wake import WakeFilter, pm_conf
from vmxnet3.wire import Cap, Cmd, Event, Feature, RssField, RxMode
from vmxnet3.wire_args import Wake

_BELLS = (wire.REG_TXPROD, wire.REG_RXPROD, wire.REG_RXPROD2)
_LARGE_BELLS = (wire.LB_REG_TXPROD, wire.LB_REG_RXPROD, wire.LB_REG_RXPROD2)
_FENCE = 64  # watched bytes behind what a command points at


@dataclass(frozen=True)
class Link:
    """What GET_LINK says; speed in Mbit/s."""

    up: bool
    mbps: int


class Scheme(NamedTuple):
    """CoalesceScheme: depths in completions; with RBC `tx_depth` is the rate, interrupts a second."""

    mode: int
    tx_depth: int = 0
    tx_comp_depth: int = 0
    rx_depth: int = 0


class MemRegion(NamedTuple):
    """Memory announced with REGISTER_MEMREGS; a bit per queue that uses it."""

    address: int
    length: int
    tx_queues: int
    rx_queues: int


class DriverCommands(DriverMemory):
    """What a driver can say to the device apart from its rings. SET commands return the device's result, 0 for done."""

    def __init__(self, port: Port, strict: bool) -> None:
        super().__init__(port, strict)
        self.pci: PciFacts | None = None
        self.mac = bytes(6)
        self.link = Link(False, 0)
        self.active = False
        self.offered = 0  # VRRS
        self.dcr = self.ptcr = Cap(0)  # version 7: what the device has, and has in passthrough
        self.asked = self.caps = Cap(0)  # what was asked for, and what there is since
        self.bells = _BELLS  # where TXPROD, RXPROD and RXPROD2 of queue 0 stand in BAR0

    def forget(self) -> None:
        """Nothing is negotiated: no capability, data ring slots of the usual size, no time stamps, every offload."""
        self.asked = self.caps = Cap(0)
        self.bells = _BELLS
        self.tx_slot_size = self.rx_slot_size = wire.TX_DATA_SLOT
        self.tx_stamp_size = self.rx_stamp_size = 0
        self.tso_disabled = self.lro_disabled = False

    # -- registers --------------------------------------------------------------------------------------------------

    def reg(self, offset: int, bar: int = wire.BAR_VD) -> int:
        return self.port.read(bar, offset)

    def set_reg(self, offset: int, value: int, bar: int = wire.BAR_VD) -> None:
        self.port.write(bar, offset, value)

    def command(self, cmd: int) -> int:
        """Run a command; its result."""
        self.port.write(wire.BAR_VD, wire.REG_CMD, cmd)
        return self.port.read(wire.BAR_VD, wire.REG_CMD)

    def command_only(self, cmd: int) -> None:
        """Run a command without asking how it went, as drivers do for UPDATE_* and QUIESCE."""
        self.port.write(wire.BAR_VD, wire.REG_CMD, cmd)

    def imr(self, vector: int) -> int:
        return self.port.read(wire.BAR_PT, wire.REG_IMR + 8 * vector)

    def set_imr(self, vector: int, value: int) -> None:
        self.port.write(wire.BAR_PT, wire.REG_IMR + 8 * vector, value)

    def mask_all(self) -> None:
        for vector in range(self.num_intrs):
            self.set_imr(vector, 1)

    def unmask_all(self) -> None:
        for vector in range(self.num_intrs):
            self.set_imr(vector, 0)

    def set_dsa(self, address: int | None = None) -> None:
        address = self.dsa if address is None else address
        self.set_reg(wire.REG_DSAL, address & 0xFFFF_FFFF)
        self.set_reg(wire.REG_DSAH, address >> 32)

    def get_mac(self) -> bytes:
        low, high = self.reg(wire.REG_MACL), self.reg(wire.REG_MACH)
        return low.to_bytes(4, "little") + (high & 0xFFFF).to_bytes(2, "little")

    def set_mac(self, mac: bytes) -> None:
        self.mac = mac
        self.set_reg(wire.REG_MACL, int.from_bytes(mac[:4], "little"))
        self.set_reg(wire.REG_MACH, int.from_bytes(mac[4:], "little"))

    def acknowledge_intx(self) -> bool:
        """Read ICR: whether this device pulled the line; it lets go."""
        return bool(self.reg(wire.REG_ICR))

    def events(self) -> Event:
        """What the shared area reports, without acknowledging."""
        return Event(self.shared["ecr"])

    def ack_events(self, which: Event | None = None) -> Event:
        """Acknowledge `which` (None: all that are set) and return them; they must be gone from memory at once."""
        bits = self.events() if which is None else which
        if bits:
            self.set_reg(wire.REG_ECR, int(bits))
            left = self.events() & bits
            if left:
                self._complain("VMX-V-069", f"events {left!r} still in memory after their acknowledgement")
        return bits

    # -- version 1 --------------------------------------------------------------------------------------------------

    def permanent_mac(self) -> bytes:
        low, high = self.command(Cmd.GET_PERM_MAC_LO), self.command(Cmd.GET_PERM_MAC_HI)
        return low.to_bytes(4, "little") + (high & 0xFFFF).to_bytes(2, "little")

    def get_link(self) -> Link:
        answer = self.command(Cmd.GET_LINK)
        self.link = Link(bool(answer & 1), answer >> 16)
        return self.link

    def set_rx_mode(self, mode: RxMode) -> None:
        self.shared["rxMode"] = int(mode)
        self.command_only(Cmd.UPDATE_RX_MODE)

    def set_features(self, features: Feature) -> None:
        """Change uptFeatures while active."""
        for queue in self.rx:
            queue.judge.features = int(features)
        self.shared["uptFeatures"] = int(features)
        self.command_only(Cmd.UPDATE_FEATURE)

    def set_multicast(self, addresses: Sequence[bytes]) -> None:
        """Write the table, tell the device, and wreck the table at once: the device has read it by then."""
        data = b"".join(addresses)
        table = self.port.alloc(max(len(data), 6), 8)
        table.view[: len(data)] = data
        self.shared["mfTablePA"] = table.address if data else 0
        self.shared["mfTableLen"] = len(data)
        self.command_only(Cmd.UPDATE_MAC_FILTERS)
        table.view[:] = b"\xff" * len(table.view)
        self.shared["mfTablePA"] = self.shared["mfTableLen"] = 0
        self.port.free(table)

    def set_vlans(self, ids: Iterable[int]) -> None:
        """Exactly these VLAN ids pass the filter (0 stands for untagged)."""
        words = [0] * 128
        for vid in ids:
            words[vid >> 5] |= 1 << (vid & 31)
        self.shared.view[136:648].cast("I")[:] = memoryview(b"".join(w.to_bytes(4, "little") for w in words)).cast("I")
        self.command_only(Cmd.UPDATE_VLAN_FILTERS)

    def set_wake(self, events: Wake, filters: Sequence[WakeFilter] = ()) -> None:
        """What shall wake the machine. The structure is wrecked at once: the device has read it by then."""
        data = pm_conf(events, filters)
        conf = self.port.alloc(len(data), 8)
        conf.view[: len(data)] = data
        self.shared["pmConfVer"], self.shared["pmConfLen"], self.shared["pmConfPA"] = 1, len(data), conf.address
        self.command_only(Cmd.UPDATE_PMCFG)
        conf.view[:] = b"\xff" * len(conf.view)
        self.shared["pmConfPA"] = self.shared["pmConfLen"] = 0
        self.port.free(conf)

    def stats(self) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
        """Counters by name of every transmit and every receive queue, fresh from the device."""
        self.command_only(Cmd.GET_STATS)
        return (
            [dict(zip(wire.TX_STATS, desc.all("stats"), strict=True)) for desc in self.tx_desc],
            [dict(zip(wire.RX_STATS, desc.all("stats"), strict=True)) for desc in self.rx_desc],
        )

    def queue_status(self) -> tuple[list[tuple[bool, int]], list[tuple[bool, int]]]:
        """(stopped, error) of every transmit and every receive queue."""
        self.command_only(Cmd.GET_QUEUE_STATUS)
        return (
            [(bool(desc["stopped"]), desc["error"]) for desc in self.tx_desc],
            [(bool(desc["stopped"]), desc["error"]) for desc in self.rx_desc],
        )

    # -- version 3 --------------------------------------------------------------------------------------------------

    def carry(self, data: bytes) -> None:
        """Store a command's argument."""
        self.shared.cell("cmdInfo")[:] = memoryview(data.ljust(16, b"\0"))

    @contextmanager
    def pointing(self, data: bytes) -> Iterator[memoryview]:
        """A structure in memory of its own that the command's argument points at, for as long as the command runs.

        What lies behind it is watched.
        """
        size = len(data)
        buffer = self.port.alloc(size + _FENCE, 64)
        buffer.view[: size + _FENCE] = data + bytes([GUARD]) * _FENCE
        self.carry(wire_args.CONF_DESC.encode(confVer=1, confLen=size, confPA=buffer.address))
        yield buffer.view[:size]
        if bytes(buffer.view[size : size + _FENCE]).strip(bytes([GUARD])):
            self._complain("VMX-V-079", "bytes behind what a command points at were written")
        self.carry(b"")
        self.port.free(buffer)

    def set_coalesce(self, scheme: Scheme) -> int:
        with self.pointing(wire_args.COALESCE_SCHEME.encode(**scheme._asdict())):
            return self.command(Cmd.SET_COALESCE)

    def get_coalesce(self) -> Scheme:
        """The scheme in force; the device fills it in."""
        with self.pointing(bytes([GUARD]) * wire_args.COALESCE_SCHEME.size) as view:
            self.command_only(Cmd.GET_COALESCE)
            return Scheme(**wire_args.COALESCE_SCHEME.numbers(view))

    def register_memregs(self, regions: Sequence[MemRegion] | None = None) -> int:
        """Announce memory; None: what is behind the transmit and receive rings."""
        with self.pointing(self.mem_regs(regions)):
            return self.command(Cmd.REGISTER_MEMREGS)

    def mem_regs(self, regions: Sequence[MemRegion] | None = None) -> bytes:
        """The structure REGISTER_MEMREGS points at."""
        if regions is None:
            regions = [MemRegion(each.pool.address, len(each.pool.view), 1 << each.index, 0) for each in self.tx]
            for queue in self.rx:
                for ring in queue.rings:
                    if ring.size:
                        regions.append(MemRegion(ring.pool.address, len(ring.pool.view), 0, 1 << queue.index))
        head = wire_args.MEM_REGS.encode(numRegs=len(regions))
        return head + b"".join(
            wire_args.MEM_REGION.encode(
                startPA=each.address,
                length=each.length,
                txQueueBits=each.tx_queues & 0xFFFF,
                rxQueueBits=each.rx_queues & 0xFFFF,
            )
            for each in regions
        )

    def set_polling(self, on: bool) -> int:
        self.carry(bytes([on]))
        return self.command(Cmd.SET_POLLING)

    # -- versions 4 to 9 --------------------------------------------------------------------------------------------

    def set_rss_fields(self, fields: RssField) -> int:
        """What is hashed beyond the addresses; from version 7 on the capabilities for it are switched first."""
        if self.version >= 7:
            wanted = self.asked & ~(Cap.UDP_RSS | Cap.ESP_RSS_IPV4 | Cap.ESP_RSS_IPV6)
            for field, cap in (
                (RssField.UDPIP4 | RssField.UDPIP6, Cap.UDP_RSS),
                (RssField.ESPIP4, Cap.ESP_RSS_IPV4),
                (RssField.ESPIP6, Cap.ESP_RSS_IPV6),
            ):
                if fields & field:
                    wanted |= cap & self.dcr
            if wanted != self.asked:
                self.request_caps(wanted)
        self.carry(int(fields).to_bytes(4, "little"))
        result = self.command(Cmd.SET_RSS_FIELDS)
        self.get_rss_fields()
        return result

    def get_rss_fields(self) -> RssField:
        """What is hashed now; from here on hashes of anything else are a complaint."""
        return self.know_fields(self.command(Cmd.GET_RSS_FIELDS))

    def know_fields(self, answer: int) -> RssField:
        if not answer & (RssField.TCPIP4 | RssField.TCPIP6):
            self._complain("VMX-V-072", f"hash fields {answer:#x}, without TCP")
        for queue in self.rx:
            queue.judge.fields = answer
        return RssField(answer)

    def max_queues(self) -> tuple[int, int]:
        """The most transmit and receive queues; 8 and 8 when the device does not say."""
        return self.know_queues(self.command(Cmd.GET_MAX_QUEUES_CONF))

    def know_queues(self, answer: int) -> tuple[int, int]:
        if not 0 < answer < 1 << 31:
            self._complain("VMX-V-073", f"{answer:#x} for the most queues")
            return wire.MAX_TX_QUEUES, wire.MAX_TX_QUEUES
        if not (answer & 0xFF and answer >> 8 & 0xFF):
            self._complain("VMX-V-073", f"most queues {answer & 0xFF} and {answer >> 8 & 0xFF}")
        return answer & 0xFF, answer >> 8 & 0xFF

    def request_caps(self, caps: Cap) -> Cap:
        """Ask for exactly these capabilities; what there is since."""
        self.ask_caps(caps)
        return self.know_caps(self.command(Cmd.GET_DCR0_REG))

    def ask_caps(self, caps: Cap) -> None:
        self.asked = caps
        self.set_reg(wire.REG_DCR, int(caps))

    def know_caps(self, answer: int) -> Cap:
        if answer & ~(int(self.asked) & int(self.dcr)):
            self._complain(
                "VMX-V-074", f"capabilities {answer:#x}, asked for {int(self.asked):#x} of {int(self.dcr):#x}"
            )
        self.caps = Cap(answer)
        self.bells = _LARGE_BELLS if self.caps & Cap.LARGE_BAR else _BELLS
        return self.caps

    def set_ring_buffer_size(self, head: int | None = None, body: int = 0, ring1: int | None = None) -> int:
        """Announce buffer sizes: HEADs and BODYs of ring 0, BODYs of ring 1. None: what is in the rings."""
        self.carry(self.ring_buffer_sizes(head, body, ring1))
        return self.command(Cmd.SET_RING_BUFFER_SIZE)

    def ring_buffer_sizes(self, head: int | None = None, body: int = 0, ring1: int | None = None) -> bytes:
        if head is None:
            head = self.rx[0].rings[0].kinds[0][1] if self.rx else 0
        return wire_args.RING_BUFFER_SIZE.encode(
            ring1BufSizeType0=head,
            ring1BufSizeType1=body,
            ring2BufSizeType1=self.config.body_size if ring1 is None else ring1,
        )

    def disabled_offloads(self) -> tuple[bool, bool]:
        """Whether the host wants no TSO, and no LRO."""
        return self.know_disabled(self.command(Cmd.GET_DISABLED_OFFLOADS))

    def know_disabled(self, answer: int) -> tuple[bool, bool]:
        self.tso_disabled, self.lro_disabled = bool(answer & 1), bool(answer & 2)
        return self.tso_disabled, self.lro_disabled

    def know_slots(self, answer: int) -> None:
        """Sizes of data ring slots, from the device's answer; what cannot be is 128."""
        tx, rx = answer & 0xFFFF, answer >> 16 if self.version >= 9 else wire.TX_DATA_SLOT
        good = not tx % wire.DATA_SLOT_ALIGN and wire.MIN_DATA_SLOT <= tx <= wire.MAX_DATA_SLOT
        if not good or rx % wire.DATA_SLOT_ALIGN or rx > wire.MAX_DATA_SLOT:
            self._complain("VMX-V-071", f"data ring slots of {tx} and {rx} bytes")
        self.tx_slot_size = tx if good else wire.TX_DATA_SLOT
        self.rx_slot_size = rx if not rx % wire.DATA_SLOT_ALIGN and rx <= wire.MAX_DATA_SLOT else wire.TX_DATA_SLOT

    def know_stamps(self, answer: int) -> None:
        """Sizes of time stamp slots, likewise; what cannot be is no ring."""
        sizes = [answer & 0xFF, answer >> 16 & 0xFF]
        if any(size % wire_args.TS_SLOT_ALIGN for size in sizes):
            self._complain("VMX-V-075", f"time stamp slots of {sizes} bytes")
        self.tx_stamp_size, self.rx_stamp_size = (0 if size % wire_args.TS_SLOT_ALIGN else size for size in sizes)
