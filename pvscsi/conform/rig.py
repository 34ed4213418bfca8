"""An adapter under test, the drives behind it and drivers of ours: the same test body on every target."""

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pvdev.device import Port
from pvscsi.conform.inside import ModelTarget
from pvscsi.conform.target import CD, DISK, Bench, Can, Drive, Drives, Target, cannot, need
from pvscsi.device import Pvscsi
from pvscsi.driver import DeviceBroke, Disk, Driver, Request
from pvscsi.wire import HostStatus

__all__ = ["CD", "DISK", "Can", "Drive", "MakeRig", "Rig", "build", "pattern", "told"]


def pattern(size: int, seed: int = 0) -> bytes:
    """`size` bytes that no two blocks, and no two seeds, have in common."""
    return array("Q", range(seed << 32, (seed << 32) + -(-size // 8))).tobytes()[:size]


def told(request: Request) -> str:
    """How a command ended on the target's part: its sense ("05/24/00") or its status. What hostStatus says of a failed
    command is the driver's to judge (PVS-V-063)."""
    assert request.done
    if request.sense is not None:
        return str(request.sense)
    return f"status {request.status:02X}" if request.host == HostStatus.SUCCESS else request.outcome()


class Rig:
    """One adapter with its driver side.

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
    def device(self) -> Pvscsi:
        """INSIDE: the model itself."""
        return self.model.device

    @property
    def model(self) -> ModelTarget:
        """INSIDE"""
        if not isinstance(self.target, ModelTarget):
            cannot(Can.INSIDE)
        return self.target

    def need(self, *wanted: Can) -> None:
        """End the test as not applicable unless the target can do all of `wanted`."""
        need(self.target, *wanted)

    def can(self, wanted: Can) -> bool:
        return wanted in self.target.can

    def driver(self, *, profile: str = "plain", strict: bool = True, **config: Any) -> Driver:
        """A driver of ours, up and running; at the end of the test its memory is audited."""
        return self.blank(strict=strict).bring_up(profile=profile, **config)

    def blank(self, *, strict: bool = True) -> Driver:
        """A driver that has not touched the device yet."""
        driver = Driver(self.port, strict=strict and self.judged is None)
        self.drivers.append(driver)
        return driver

    def disk(self, number: int = 0, driver: Driver | None = None, **config: Any) -> Disk:
        """The drive at a place, with nothing left to tell, through `driver` or a new one."""
        disk = Disk(driver if driver is not None else self.driver(**config), number)
        disk.settle()
        return disk

    def settle(self) -> None:
        """Let the device do all it can do now."""
        self.target.settle()

    def reaped(self, driver: Driver) -> list[Request]:
        """What is done once the device has done all it can do."""
        self.settle()
        return driver.reap()

    def held(self, disk: Disk, count: int = 1, **how: Any) -> list[Request]:
        """HOLD: so many reads of block 0 on that the drive does not finish."""
        self.need(Can.HOLD)
        self.target.hold(disk.target, True)
        out = [disk.submit(b"\x28" + bytes(7) + b"\x01\x00", read=512, **how) for _ in range(count)]
        self.settle()
        return out

    def go_on(self, number: int = 0) -> None:
        """HOLD: the drive finishes what it has, and keeps nothing any more."""
        self.target.hold(number, False)
        self.settle()

    def fired(self) -> int:
        """Vectors signalled so far, once the device has done all it can do."""
        self.settle()
        return self.port.interrupts()

    def broken(self) -> set[str]:
        """Numbers of the rules the device saw broken so far."""
        self.need(Can.RULES)
        return self.target.broken()

    def snapshot(self) -> bytes:
        """All memory the driver's side lends to the device, once the device has done all it can do."""
        self.settle()
        return self.target.memory()

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
    drives: Drives | None = None,
    *,
    judged: frozenset[str] | None = None,
    others: list[DeviceBroke] | None = None,
    **options: Any,
) -> Iterator[Rig]:
    """A rig on a fresh device; `options` are the device's. At the end `others` grows by what `Rig.finish` leaves."""
    with bench.connect(drives, **options) as target:
        rig = Rig(target, judged)
        yield rig
        seen = rig.finish()
        if others is not None:
            others += seen


MakeRig = Callable[..., Rig]
