"""A device model, the network behind it and a driver's port to it: the same test body on every transport."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pvdev.device import Port
from pvdev.mem import Region
from pvdev.transport.inproc import BUDGET, LocalPort
from pvdev.transport.vfio_user import RUNG, Polling, Server, VfioUserPort
from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.device import Vmxnet3
from vmxnet3.driver import Driver, Received

MAC = bytes.fromhex("02000a0b0c0d")
PEER = bytes.fromhex("020011223344")
BROADCAST = b"\xff" * 6

ARENA = 16 << 20  # bytes the driver's side lends

TRANSPORTS = ("local", "local-budget-1", "vfio-user")
PATIENCE_S = 5.0


def frame(size: int = 60, *, dst: bytes = MAC, src: bytes = PEER, kind: int = 0x88B5, seed: int = 0) -> bytes:
    """`size` bytes of an Ethernet frame of a type nobody parses; `seed` makes its bytes its own."""
    body = bytes((seed * 37 + i * 11 + (i >> 8)) & 0xFF for i in range(size - wire.ETH_HEADER))
    return dst + src + kind.to_bytes(2, "big") + body


class Served(Vmxnet3):
    """A device in a server's thread that can be asked to finish what there is to do."""

    def __init__(self, net: Queue, **options: Any) -> None:
        self._round_lock = threading.Condition()
        self._rounds_begun = self._round_idle = 0  # rounds of service, and the last one that found nothing to do
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        super().__init__(net, **options)

    def fileno(self) -> int:
        """Turns readable when `finish` wants a round."""
        return self._wake_fd

    def service(self, budget: int, now_ns: int) -> bool:
        with self._round_lock:
            self._rounds_begun += 1
        worked = super().service(budget, now_ns)
        with self._round_lock:
            if not worked:
                self._round_idle = self._rounds_begun
                self._round_lock.notify_all()
        return worked

    def wake(self) -> None:
        """Have the server look at the device."""
        os.eventfd_write(self._wake_fd, 1)

    def finish(self) -> None:
        """Wait until a round of service that began after this call had nothing to do."""
        with self._round_lock:
            mark = self._rounds_begun
            self.wake()
            assert self._round_lock.wait_for(lambda: self._round_idle > mark, PATIENCE_S), "the server does not serve"

    def close(self) -> None:
        os.close(self._wake_fd)


@dataclass
class Rig:
    """One device with its driver side. `net.inbound` is what the wire brings, `net.sent` what the guest sent."""

    device: Vmxnet3
    net: Queue
    port: Port
    drivers: list[Driver] = field(default_factory=list)
    _region: Region | None = None

    def driver(self, *, profile: str = "plain", strict: bool = True, **config: Any) -> Driver:
        """A driver of ours, up and running; at the end of the test its memory is audited."""
        driver = self.blank(strict=strict)
        return driver.bring_up(profile=profile, **config)

    def blank(self, *, strict: bool = True) -> Driver:
        """A driver that has not touched the device yet."""
        driver = Driver(self.port, strict=strict)
        self.drivers.append(driver)
        return driver

    def settle(self) -> None:
        """Let the device do all it can do now."""
        if isinstance(self.device, Served):
            self.device.finish()
            self.port.read(7, 0)  # the answer comes behind the interrupts of that round
        else:
            self.port.until(lambda: True)

    def feed(self, *frames: bytes) -> None:
        """The wire brings `frames`; the device has taken what it can when this returns."""
        self.net.inbound.extend(frames)
        self.settle()

    def push(self, driver: Driver, frames: list[bytes], at_once: int = 64) -> None:
        """Send all of `frames`, in batches, as the ring has room for them."""
        done = 0
        for _ in range(100 * len(frames)):
            done += driver.send_batch(frames[done : done + at_once])
            if done == len(frames):
                return
            self.settle()
        raise AssertionError(f"{done} of {len(frames)} frames went into the ring")

    def sent(self, count: int) -> list[bytes]:
        """Wait for `count` frames on the wire, see that there are no more, and take them."""
        assert self.port.until(lambda: len(self.net.sent) >= count)
        self.settle()
        sent, self.net.sent[:] = self.net.sent[:], []
        assert len(sent) == count
        return sent

    def reap(self, driver: Driver, count: int) -> None:
        """Wait for transmit completions of exactly `count` more packets."""
        done = 0

        def look() -> bool:
            nonlocal done
            done += driver.reap_tx()
            return done >= count

        assert self.port.until(look)
        self.settle()
        assert done + driver.reap_tx() == count

    def got(self, driver: Driver, count: int) -> list[Received]:
        """Wait for exactly `count` packets in the driver."""
        packets: list[Received] = []

        def look() -> bool:
            packets.extend(driver.receive())
            return len(packets) >= count

        assert self.port.until(look)
        self.settle()
        packets += driver.receive()
        assert len(packets) == count
        return packets

    def carried(self, driver: Driver, *frames: bytes) -> list[bytes]:
        """Offer `frames` one by one, then a broadcast: what of it the driver got, without the broadcast."""
        last = frame(64, dst=BROADCAST, seed=251)
        self.feed(*frames, last)
        out: list[bytes] = []

        def look() -> bool:
            out.extend(packet.data for packet in driver.receive())
            return last in out

        assert self.port.until(look)
        out.remove(last)
        return out

    def interrupts(self, expected: int) -> int:
        """Wait until all vectors of `expected` (a bit each) fired; everything that fired."""
        fired = 0

        def look() -> bool:
            nonlocal fired
            fired |= self.port.interrupts()
            return fired & expected == expected

        assert self.port.until(look), f"vectors {fired:#b} fired, expected {expected:#b}"
        self.settle()
        return fired | self.port.interrupts()

    def quiet(self) -> bool:
        """No vector fires any more."""
        self.settle()
        return self.port.interrupts() == 0

    def set_link(self, up: bool, mbps: int | None = None) -> None:
        """Plug the cable in or out."""
        self.device.set_link(up, mbps)
        self.settle()

    def broken(self) -> set[str]:
        """Numbers of the rules the device saw broken so far."""
        return self.device.rules.numbers()

    def unplug(self) -> memoryview:
        """Take away all memory the device was lent, as a hot-unplug behind the driver's back."""
        self.settle()
        region = self.device.mem.regions()[0]
        view = region.view
        assert view is not None
        self._region = self.device.mem.unmap(region.lo, region.hi - region.lo)
        return view

    def plug(self, view: memoryview) -> None:
        """Lend it again."""
        assert self._region is not None
        self.device.mem.map(self._region.lo, view, token=self._region.token)
        self.settle()

    def memory(self) -> bytes:
        """All memory the driver's side lends to the device, as it is."""
        return b"".join(bytes(region.view) for region in self.device.mem.regions() if region.view is not None)

    def snapshot(self) -> bytes:
        """All memory the driver's side lends to the device, once the device has done all it can do."""
        self.settle()
        return self.memory()


@contextmanager
def build(transport: str, net: Queue, **options: Any) -> Iterator[Rig]:
    """A rig on one of `TRANSPORTS`; `options` are the device's. Drivers are audited and closed at the end."""
    with _connect(transport, net, {"mac": MAC, **options}) as (device, port):
        rig = Rig(device, net, port)
        yield rig
        rig.settle()
        for driver in rig.drivers:
            driver.audit()
            driver.close()


@contextmanager
def _connect(transport: str, net: Queue, options: dict[str, Any]) -> Iterator[tuple[Vmxnet3, Port]]:
    if transport == "vfio-user":
        with served(net, polling=RUNG, **options) as both:
            yield both
    else:
        device = Vmxnet3(net, **options)
        port = LocalPort(device, memory=ARENA, budget=1 if transport == "local-budget-1" else BUDGET)
        yield device, port
        port.close()


@contextmanager
def served(
    net: Queue, *, polling: Polling, share: bool = True, **options: Any
) -> Iterator[tuple[Served, VfioUserPort]]:
    """A device behind a vfio-user server in a thread, and a client's port to it."""
    device = Served(net, **options)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(polling=polling)
        path = Path(folder) / "nic"
        server.add(device, path, watch=[device])
        with server.background():
            port = VfioUserPort(path, memory=ARENA, share=share)
            try:
                yield device, port
            finally:
                port.close()
    device.close()


MakeRig = Callable[..., Rig]
