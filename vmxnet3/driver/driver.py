"""The VMXNET3 reference driver: brings any device up over a `Port`, moves frames, and checks the device's duties.

A second witness, independent of the model: it shares names and numbers (`wire`) with it and nothing else.
Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c; register sequences of other drivers in `profiles`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from pvdev import pci_driver
from pvdev.device import DmaBuffer, Port
from pvdev.errors import ConfigError
from pvdev.pci_driver import PciFacts
from vmxnet3 import wire
from vmxnet3.driver.common import Buffer, Sink
from vmxnet3.driver.config import Config
from vmxnet3.driver.offloads import Offload, TxD, cut, describe, segments
from vmxnet3.driver.pci import probe_pci
from vmxnet3.driver.profiles import PROFILES
from vmxnet3.driver.received import Received
from vmxnet3.driver.rx import RxQueue
from vmxnet3.driver.steps import DriverSteps
from vmxnet3.driver.tx import TxQueue
from vmxnet3.driver.wake import WakeFilter
from vmxnet3.wire import Cmd
from vmxnet3.wire_args import Wake


class Driver(DriverSteps):
    """One VMXNET3 seen from its driver. With `strict` a broken duty raises `DeviceBroke`, else `complaints` grows.

    Order: `probe`, `configure`, `activate`, traffic, `quiesce`, `reset`, `close`; `bring_up` does the first three the
    way a named driver does.
    """

    def __init__(self, port: Port, *, strict: bool = True) -> None:
        super().__init__(port, strict)

    # -- bring-up ---------------------------------------------------------------------------------------------------

    def bring_up(self, config: Config | None = None, *, profile: str = "plain", **overrides: Any) -> "Driver":
        """Probe, lay out memory and activate, with a named driver's order of accesses and its numbers.

        `overrides` are fields of `Config`; they win over the profile's, as does a whole `config`.
        Raises `ConfigError` when the device refuses ACTIVATE.
        """
        self.profile = PROFILES[profile]
        base = config if config is not None else Config(**self.profile.config)
        self.config = replace(base, **overrides)
        self._facts()
        self.run(self.profile.probe)
        self.open()
        return self

    def open(self) -> None:
        """`configure` again with the same numbers and activate, as the profile's driver does for "interface up"."""
        self.run(self.profile.sizes)
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

    def activate(self) -> int:
        """ACTIVATE_DEV; its result, 0 for success. Interrupts are set up before, the way `config.intr` says."""
        pci_driver.set_interrupts(self.port, self._facts(), self.config.intr, self._listened())
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
        self.forget()
        self.port.reset()

    # -- power --------------------------------------------------------------------------------------------------------

    def suspend(self, wake: Wake | None = None, filters: Sequence[WakeFilter] = ()) -> None:
        """To D3hot as Linux goes there: no QUIESCE; with `wake` the device may raise PME (`pme`)."""
        self.mask_all()
        self.set_wake(Wake(0) if wake is None else wake, filters)
        pci_driver.suspend(self.port, self._facts(), bool(wake))

    def pme(self) -> bool:
        """Whether the sleeping device asks to be woken."""
        return pci_driver.pme(self.port, self._facts())

    def resume(self) -> None:
        """Back to D0 and up, without a look at VRRS: QUIESCE, RESET, then all of `open`."""
        pci_driver.wake_up(self.port, self._facts())
        self.pci = probe_pci(self.port)
        self.active = False
        self.command_only(Cmd.QUIESCE_DEV)
        self.command_only(Cmd.RESET_DEV)
        self.open()

    def _facts(self) -> PciFacts:
        if self.pci is None:
            self.pci = probe_pci(self.port)
        return self.pci

    # -- interrupts -------------------------------------------------------------------------------------------------

    def interrupts(self) -> int:
        """Vectors signalled since the last call, a bit each."""
        return self.port.interrupts()

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
        the data ring. Neither: one descriptor, or as few as hold it. `doorbell=False` leaves the bell alone. Raises
        `ValueError` for a header longer than a slot.
        """
        ring = self.tx[queue]
        if ring.room < len(pieces or ()) + 4:
            ring.reap(self.port.free)
        parts: list[tuple[int, int]] = []
        memory: list[DmaBuffer] = []
        rest = memoryview(frame)
        if header:
            assert ring.data is not None
            if header > ring.data_slot:
                raise ValueError(f"a header of {header} bytes, data ring slots of {ring.data_slot}")
            at = ring.data_slot * ring.next
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
        self.port.write(wire.BAR_PT, self.bells[0] + 8 * queue, value)

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
        for reg, side in zip(self.bells[1:], ring.rings, strict=True):
            if side.size and (always or side.fill % 16 == 0):
                self.port.write(wire.BAR_PT, reg + 8 * ring.index, side.fill)
