"""A device under test, the network behind it and drivers of ours: the same test body on every target."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pvdev.device import Port
from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.conform.inside import ModelTarget
from vmxnet3.conform.target import MAC, Bench, Can, Target, cannot, need
from vmxnet3.device import Vmxnet3
from vmxnet3.driver import DeviceBroke, Driver, Received

__all__ = ["BROADCAST", "MAC", "PEER", "Can", "MakeRig", "Rig", "build", "frame"]

PEER = bytes.fromhex("020011223344")
BROADCAST = b"\xff" * 6


def frame(size: int = 60, *, dst: bytes = MAC, src: bytes = PEER, kind: int = 0x88B5, seed: int = 0) -> bytes:
    """`size` bytes of an Ethernet frame of a type nobody parses; `seed` makes its bytes its own."""
    body = bytes((seed * 37 + i * 11 + (i >> 8)) & 0xFF for i in range(size - wire.ETH_HEADER))
    return dst + src + kind.to_bytes(2, "big") + body


class Rig:
    """One device with its driver side. `net.inbound` is what the wire brings, `net.sent` what the guest sent.

    What the target cannot do ends the test as not applicable. `judged`: the rules the test is about. A duty the drivers
    see broken fails the test when it is one of these (None: whichever it is); the others are left in `finish`.
    """

    def __init__(self, target: Target, judged: frozenset[str] | None = None) -> None:
        self.target, self.judged = target, judged
        self.drivers: list[Driver] = []

    @property
    def port(self) -> Port:
        """The driver's side."""
        return self.target.port

    @property
    def net(self) -> Queue:
        return self.target.net

    @property
    def device(self) -> Vmxnet3:
        """INSIDE: the model itself."""
        if not isinstance(self.target, ModelTarget):
            cannot(Can.INSIDE)
        return self.target.device

    def need(self, *wanted: Can) -> None:
        """End the test as not applicable unless the target can do all of `wanted`."""
        need(self.target, *wanted)

    def can(self, wanted: Can) -> bool:
        return wanted in self.target.can

    def offered(self) -> int:
        """The highest version the device offers."""
        return self.port.read(wire.BAR_VD, wire.REG_VRRS).bit_length()

    def need_version(self, version: int) -> None:
        """End the test as not applicable on a device that does not offer `version`."""
        if version > self.offered():
            pytest.skip(f"needs device version {version}")

    def driver(self, *, profile: str = "plain", strict: bool = True, **config: Any) -> Driver:
        """A driver of ours, up and running; at the end of the test its memory is audited."""
        if (version := config.get("version")) is not None:
            self.need_version(version)
        driver = self.blank(strict=strict)
        return driver.bring_up(profile=profile, **config)

    def blank(self, *, strict: bool = True) -> Driver:
        """A driver that has not touched the device yet."""
        driver = Driver(self.port, strict=strict and self.judged is None)
        self.drivers.append(driver)
        return driver

    def settle(self) -> None:
        """Let the device do all it can do now."""
        self.target.settle()

    def until(self, done: Callable[[], bool]) -> bool:
        """Let the device work until `done()`; False when it has not come true in time."""

        def look() -> bool:
            self.target.pump()
            return done()

        return self.port.until(look)

    def feed(self, *frames: bytes) -> None:
        """The wire brings `frames`; the device has taken what it can when this returns."""
        self.need(Can.WIRE)
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
        self.need(Can.WIRE)
        assert self.until(lambda: len(self.net.sent) >= count), f"{len(self.net.sent)} of {count} frames were sent"
        self.settle()
        sent, self.net.sent[:] = self.net.sent[:], []
        assert len(sent) == count, f"{len(sent)} frames were sent, {count} expected"
        return sent

    def reap(self, driver: Driver, count: int) -> None:
        """Wait for transmit completions of exactly `count` more packets."""
        done = 0

        def look() -> bool:
            nonlocal done
            done += driver.reap_tx()
            return done >= count

        assert self.until(look), f"{done} of {count} packets were completed"
        self.settle()
        done += driver.reap_tx()
        assert done == count, f"{done} packets were completed, {count} expected"

    def got(self, driver: Driver, count: int) -> list[Received]:
        """Wait for exactly `count` packets in the driver."""
        packets: list[Received] = []

        def look() -> bool:
            packets.extend(driver.receive())
            return len(packets) >= count

        assert self.until(look), f"{len(packets)} of {count} packets came"
        self.settle()
        packets += driver.receive()
        assert len(packets) == count, f"{len(packets)} packets came, {count} expected"
        return packets

    def carried(self, driver: Driver, *frames: bytes) -> list[bytes]:
        """Offer `frames` one by one, then a broadcast: what of it the driver got, without the broadcast."""
        last = frame(64, dst=BROADCAST, seed=251)
        self.feed(*frames, last)
        out: list[bytes] = []

        def look() -> bool:
            out.extend(packet.data for packet in driver.receive())
            return last in out

        assert self.until(look), f"the broadcast behind did not come; {len(out)} other frames did"
        out.remove(last)
        return out

    def interrupts(self, expected: int) -> int:
        """Wait until all vectors of `expected` (a bit each) fired; everything that fired."""
        fired = 0

        def look() -> bool:
            nonlocal fired
            fired |= self.port.interrupts()
            return fired & expected == expected

        assert self.until(look), f"vectors {fired:#b} fired, expected {expected:#b}"
        self.settle()
        return fired | self.port.interrupts()

    def quiet(self) -> bool:
        """No vector fires any more."""
        self.settle()
        return self.port.interrupts() == 0

    def set_link(self, up: bool, mbps: int | None = None) -> None:
        """Plug the cable in or out."""
        self.need(Can.LINK, *([Can.SPEED] if mbps is not None else []))
        self.target.set_link(up, mbps)
        self.settle()

    def broken(self) -> set[str]:
        """Numbers of the rules the device saw broken so far."""
        self.need(Can.RULES)
        return self.target.broken()

    def kept(self, *numbers: str) -> bool:
        """Whether the device saw none of these rules broken; true when it is one that does not tell."""
        return not self.can(Can.RULES) or not set(numbers) & self.target.broken()

    def unplug(self) -> memoryview:
        """Take away all memory the device was lent, as a hot-unplug behind the driver's back."""
        self.need(Can.UNPLUG)
        self.settle()
        return self.target.unplug()

    def plug(self, view: memoryview) -> None:
        """Lend it again."""
        self.target.plug(view)
        self.settle()

    def page_0(self) -> memoryview:
        """4096 bytes at address 0, where no driver ever put anything."""
        self.need(Can.PAGE_0)
        return self.target.page_0()

    def memory(self) -> bytes:
        """All memory the driver's side lends to the device, as it is."""
        return self.target.memory()

    def snapshot(self) -> bytes:
        """All memory the driver's side lends to the device, once the device has done all it can do."""
        self.settle()
        return self.memory()

    def finish(self) -> list[DeviceBroke]:
        """The end of the test: every driver's memory is looked at and given back. The broken duties that are none of
        this test's; raises the first of its own."""
        self.settle()
        seen: list[DeviceBroke] = []
        for driver in self.drivers:
            driver.audit()
            driver.close()
            seen += driver.complaints
        for complaint in seen:
            if self.judged is not None and complaint.rule in self.judged:
                raise complaint
        return seen if self.judged is not None else []


@contextmanager
def build(
    bench: Bench,
    net: Queue,
    *,
    judged: frozenset[str] | None = None,
    others: list[DeviceBroke] | None = None,
    **options: Any,
) -> Iterator[Rig]:
    """A rig on a fresh device; `options` are the device's. At the end `others` grows by what `Rig.finish` leaves."""
    with bench.connect(net, **options) as target:
        rig = Rig(target, judged)
        yield rig
        seen = rig.finish()
        if others is not None:
            others += seen


MakeRig = Callable[..., Rig]
