"""The VMXNET3 reference driver: brings any device up over a `Port`, moves frames, and checks the device's duties.

A second witness, independent of the model: it shares names and numbers (`wire`) with it and nothing else.
Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c; register sequences of other drivers in `profiles`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from pvdev.device import DmaBuffer, Port
from pvdev.errors import ConfigError
from vmxnet3 import wire
from vmxnet3.driver.common import Buffer, Sink
from vmxnet3.driver.memory import Config, DriverMemory
from vmxnet3.driver.pci import PciFacts, probe_pci, set_interrupts
from vmxnet3.driver.profiles import PROFILES
from vmxnet3.driver.rx import Received, RxQueue
from vmxnet3.driver.tx import Offload, TxD, TxQueue, cut, describe, segments
from vmxnet3.wire import Cmd, Event, Feature, RxMode

KNOWN_VERSIONS = (1,)


@dataclass(frozen=True)
class Link:
    """What GET_LINK says; speed in Mbit/s."""

    up: bool
    mbps: int


class Driver(DriverMemory):
    """One VMXNET3 seen from its driver. With `strict` a broken duty raises `DeviceBroke`, else `complaints` grows.

    Order: `probe`, `configure`, `activate`, traffic, `quiesce`, `reset`, `close`; `bring_up` does the first three the
    way a named driver does.
    """

    def __init__(self, port: Port, *, strict: bool = True) -> None:
        super().__init__(port, strict)
        self.pci: PciFacts | None = None
        self.mac = bytes(6)
        self.link = Link(False, 0)
        self.active = False
        self._offered = 0

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

    # -- bring-up ---------------------------------------------------------------------------------------------------

    def bring_up(self, config: Config | None = None, *, profile: str = "plain", **overrides: Any) -> "Driver":
        """Probe, lay out memory and activate, with a named driver's order of accesses and its numbers.

        `overrides` are fields of `Config`; they win over the profile's, as does a whole `config`.
        Raises `ConfigError` when the device refuses ACTIVATE.
        """
        self.profile = PROFILES[profile]
        base = config if config is not None else Config(**self.profile.config)
        self.config = replace(base, **overrides)
        if self.pci is None:
            self.pci = probe_pci(self.port)
        self.run(self.profile.probe)
        self.open()
        return self

    def open(self) -> None:
        """`configure` again with the same numbers and activate, as the profile's driver does for "interface up"."""
        self.configure(self.config)
        self.run(self.profile.before)
        result = self.activate()
        if result:
            self.port.write(wire.BAR_VD, wire.REG_DSAL, 0)
            self.port.write(wire.BAR_VD, wire.REG_DSAH, 0)
            raise ConfigError(f"the device refused ACTIVATE_DEV: {result:#x}")
        self.run(self.profile.after)

    def probe(self) -> PciFacts:
        """PCI set-up, then the profile's probe accesses."""
        self.pci = probe_pci(self.port)
        self.run(self.profile.probe)
        return self.pci

    def stop(self) -> None:
        """Interface down, the profile's way."""
        self.run(self.profile.close)
        self.active = False

    def close(self) -> None:
        """Stop the device and give all memory back."""
        if self.active:
            self.stop()
        self.release()

    def run(self, steps: Iterable[str]) -> None:
        """Do register accesses as `profiles` writes them down."""
        for step in steps:
            verb, _, rest = step.partition(" ")
            name, _, value = rest.partition(" ")
            self._verbs[verb](self, name, value)

    def _do_read(self, name: str, value: str) -> None:
        if name == "MAC":
            self.mac = self.get_mac()
        elif name == "VRRS":
            self._offered = self.reg(wire.REG_VRRS)
        else:
            self.reg({"UVRS": wire.REG_UVRS, "ICR": wire.REG_ICR, "ECR": wire.REG_ECR}[name])

    def _do_write(self, name: str, value: str) -> None:
        if name == "MAC":
            self.set_mac(self.mac)
        elif name == "DSA":
            self.set_dsa(0 if value else None)
        elif name == "RXPROD":
            for q, queue in enumerate(self.rx):
                for reg, ring in ((wire.REG_RXPROD, queue.rings[0]), (wire.REG_RXPROD2, queue.rings[1])):
                    self.set_reg(reg + 8 * q, 0 if value else ring.fill, wire.BAR_PT)
        elif name == "VRRS":
            self.version = self._choose()
            self.set_reg(wire.REG_VRRS, 1 << self.version - 1)
        else:
            self.set_reg(wire.REG_UVRS, 1)

    def _do_command(self, name: str, value: str) -> None:
        if name == "UPDATE_RX_MODE":
            self.shared["rxMode"] = int(self.config.rx_mode)
        self.command_only(Cmd[name])

    def _do_ask(self, name: str, value: str) -> None:
        answer = self.command(Cmd[name])
        if name == "GET_LINK":
            self.link = Link(bool(answer & 1), answer >> 16)
        elif name == "GET_PERM_MAC_LO":
            self.mac = answer.to_bytes(4, "little") + self.mac[4:]
        elif name == "GET_PERM_MAC_HI":
            self.mac = self.mac[:4] + (answer & 0xFFFF).to_bytes(2, "little")
        elif name in ("QUIESCE_DEV", "RESET_DEV") and answer:
            self._complain("VMX-V-006", f"{name} answered {answer:#x}")

    def _do_imr(self, name: str, value: str) -> None:
        (self.mask_all if name == "1" else self.unmask_all)()

    def _do_enable(self, name: str, value: str) -> None:
        self.shared["intrCtrl"] = 0

    def _do_disable(self, name: str, value: str) -> None:
        self.shared["intrCtrl"] = 1

    def _do_post(self, name: str, value: str) -> None:
        for queue in self.rx:
            queue.refill()

    _verbs: dict[str, Callable[["Driver", str, str], None]] = {
        "R": _do_read,
        "W": _do_write,
        "C": _do_command,
        "C+": _do_ask,
        "IMR": _do_imr,
        "ENABLE": _do_enable,
        "DISABLE": _do_disable,
        "RX": _do_post,
    }

    def _choose(self) -> int:
        """The highest version both sides know. Raises `ConfigError`."""
        if not self._offered & 1 or self._offered & self._offered + 1:
            self._complain("VMX-V-003", f"VRRS {self._offered:#x} is not a run of ones from bit 0")
        wanted = [self.config.version] if self.config.version else list(KNOWN_VERSIONS)
        common = [v for v in wanted if self._offered >> v - 1 & 1]
        if not common:
            raise ConfigError(f"the device offers versions {self._offered:#b}, this driver wants {wanted}")
        return max(common)

    # -- commands ---------------------------------------------------------------------------------------------------

    def set_dsa(self, address: int | None = None) -> None:
        address = self.dsa if address is None else address
        self.set_reg(wire.REG_DSAL, address & 0xFFFF_FFFF)
        self.set_reg(wire.REG_DSAH, address >> 32)

    def activate(self) -> int:
        """ACTIVATE_DEV; its result, 0 for success. Interrupts are set up before, the way `config.intr` says."""
        if self.pci is None:
            self.pci = probe_pci(self.port)
        set_interrupts(self.port, self.pci, self.config.intr, self._listened())
        result = self.command(Cmd.ACTIVATE_DEV)
        self.active = result == 0
        if self.active:
            self._check_active()
        return result

    def _listened(self) -> int:
        if self.config.vectors == "freebsd":
            return self.config.rx_queues + 1
        return self.num_intrs

    def _check_active(self) -> None:
        for q, desc in enumerate(self.tx_desc):
            if desc["stopped"] or desc["txThreshold"] < 1:
                self._complain("VMX-V-011", f"tx {q}: stopped={desc['stopped']} txThreshold={desc['txThreshold']}")
        for q, desc in enumerate(self.rx_desc):
            if desc["stopped"] or desc["updateRxProd"] > 1:
                self._complain("VMX-V-011", f"rx {q}: stopped={desc['stopped']} updateRxProd={desc['updateRxProd']}")

    def quiesce(self) -> int:
        self.active = False
        return self.command(Cmd.QUIESCE_DEV)

    def reset(self) -> int:
        """RESET_DEV."""
        self.active = False
        return self.command(Cmd.RESET_DEV)

    def reset_function(self) -> None:
        """PCI reset: config space, version and MAC are gone; `bring_up` starts over."""
        self.active, self.pci = False, None
        self.port.reset()

    def get_mac(self) -> bytes:
        low, high = self.reg(wire.REG_MACL), self.reg(wire.REG_MACH)
        return low.to_bytes(4, "little") + (high & 0xFFFF).to_bytes(2, "little")

    def set_mac(self, mac: bytes) -> None:
        self.mac = mac
        self.set_reg(wire.REG_MACL, int.from_bytes(mac[:4], "little"))
        self.set_reg(wire.REG_MACH, int.from_bytes(mac[4:], "little"))

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
            queue.features = features
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

    # -- interrupts and events --------------------------------------------------------------------------------------

    def interrupts(self) -> int:
        """Vectors signalled since the last call, a bit each."""
        return self.port.interrupts()

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

    # -- transmit ---------------------------------------------------------------------------------------------------

    def send(
        self,
        frame: Buffer,
        *,
        queue: int = 0,
        offload: Offload | None = None,
        vlan: int | None = None,
        pieces: Sequence[int] | None = None,
        header: int = 0,
        cq: bool = True,
        doorbell: bool = True,
    ) -> None:
        """Post one frame. Raises `RingFull`.

        `pieces`: bytes per descriptor, each at an odd address of its own; `header`: that many leading bytes go through
        the data ring. Neither: one descriptor, or as few as hold it. `doorbell=False` leaves the bell alone.
        """
        ring = self.tx[queue]
        if ring.room < len(pieces or ()) + 4:
            ring.reap(self.port.free)
        parts: list[tuple[int, int]] = []
        memory: list[DmaBuffer] = []
        rest = memoryview(frame)
        if header:
            assert ring.data is not None
            at = wire.TX_DATA_SLOT * ring.next
            ring.data.view[at : at + header] = rest[:header]
            parts.append((ring.data_address(ring.next), header))
            rest = rest[header:]
        if pieces is None and not header and len(rest) <= ring.slot:
            at = ring.slot * ring.next
            ring.pool.view[at : at + len(rest)] = rest
            parts.append((ring.slot_address(ring.next), len(rest)))
        elif len(rest):
            sizes = list(pieces) if pieces is not None else cut(len(rest))
            buffer = self.port.alloc(sum(sizes) + 64 * len(sizes), 64)
            memory.append(buffer)
            at = 1
            for start, size in zip(accumulate([0, *sizes[:-1]]), sizes, strict=True):
                buffer.view[at : at + size] = rest[start : start + size]
                parts.append((buffer.address + at, size))
                at += size + 3
        self.send_raw(
            describe(parts, offload, vlan, cq=cq),
            queue=queue,
            memory=tuple(memory),
            deferred=segments(len(frame), offload),
            doorbell=doorbell,
        )

    def send_raw(
        self,
        descs: Sequence[TxD],
        *,
        queue: int = 0,
        memory: tuple[DmaBuffer, ...] = (),
        deferred: int = 1,
        doorbell: bool = True,
        publish: bool = True,
        tracked: bool = True,
    ) -> Callable[[], None]:
        """Post descriptors as they are (`TxQueue.post`); `deferred` is what they add to txNumDeferred."""
        ring = self.tx[queue]
        flip = ring.post(descs, publish=publish, memory=memory, tracked=tracked)
        self._deferred(ring, deferred, doorbell)
        return flip

    def send_batch(self, frames: Sequence[Buffer], *, queue: int = 0, doorbell: bool = True) -> int:
        """Post as many of `frames` as there is room for, one bell for all; how many."""
        ring, taken = self.tx[queue], 0
        if ring.room < len(frames):
            ring.reap(self.port.free)
        while taken < len(frames):
            n = ring.batch(frames[taken:] if taken else frames)
            taken += n
            if taken < len(frames) and len(frames[taken]) > ring.slot and ring.room >= 8:
                self.send(frames[taken], queue=queue, doorbell=False)
                taken += 1
            elif taken < len(frames):
                break
        self._deferred(ring, taken, doorbell)
        return taken

    def _deferred(self, ring: TxQueue, packets: int, doorbell: bool) -> None:
        ctrl = ring.ctrl
        waiting = ctrl[0] + packets
        if doorbell and packets and (self.profile.tx_bell == "always" or waiting >= ctrl[1]):
            ctrl[0] = 0
            self.kick(ring.index)
        else:
            ctrl[0] = waiting

    def kick(self, queue: int = 0, value: int | None = None) -> None:
        """Ring TXPROD with the next fill index (or `value`), asked for or not."""
        value = self.tx[queue].next if value is None else value
        self.port.write(wire.BAR_PT, wire.REG_TXPROD + 8 * queue, value)

    def reap_tx(self, queue: int | None = None) -> int:
        """Take transmit completions (of one queue, or all); packets finished."""
        rings = self.tx if queue is None else [self.tx[queue]]
        return sum(ring.reap(self.port.free) for ring in rings)

    # -- receive ----------------------------------------------------------------------------------------------------

    def receive(self, queue: int | None = None, limit: int | None = None) -> list[Received]:
        """Every packet that is there, checked one by one; buffers go back to the device at once."""
        out: list[Received] = []
        for ring in self.rx if queue is None else [self.rx[queue]]:
            while limit is None or len(out) < limit:
                packet = ring.take()
                if packet is None:
                    break
                out.append(packet)
                self._ring_rx(ring)
        return out

    def drain(self, sink: Sink, limit: int = 1 << 30) -> int:
        """Hand every good frame to `sink(queue, frames)`, at speed (see `RxQueue.drain`); how many."""
        total = 0
        for ring in self.rx:
            if got := ring.drain(sink, limit - total):
                self._ring_rx(ring)
                total += got
        return total

    def refill(self, queue: int = 0) -> int:
        """Re-arm what `recycle = False` kept, by gen alone; how many descriptors."""
        return self.rx[queue].refill()

    def _ring_rx(self, ring: RxQueue) -> None:
        always = self.profile.rx_bell == "always"
        if not always and not self.rx_desc[ring.index].view[0]:
            return
        for reg, side in ((wire.REG_RXPROD, ring.rings[0]), (wire.REG_RXPROD2, ring.rings[1])):
            if side.size and (always or side.fill % 16 == 0):
                self.port.write(wire.BAR_PT, reg + 8 * ring.index, side.fill)
