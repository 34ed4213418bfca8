"""Our own model as the target: called directly, or behind a vfio-user server in a thread."""

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from pvdev.attended import Attended
from pvdev.device import Port
from pvdev.transport.inproc import BUDGET, LocalPort
from pvdev.transport.vfio_user import RUNG, Polling, Server, VfioUserPort
from pvscsi.block.backend import Fault, Io
from pvscsi.block.faulty import FaultyDisk, Plan
from pvscsi.block.medium import Medium
from pvscsi.block.mem import MemDisk
from pvscsi.block.volatile import VolatileDisk
from pvscsi.block.wrapper import Wrapper
from pvscsi.conform.target import ARENA, DISK, Can, Drive, Drives
from pvscsi.device import Pvscsi
from pvscsi.scsi.cdrom import Cdrom
from pvscsi.scsi.disk import Disk
from pvscsi.scsi.identity import Identity
from pvscsi.scsi.target import Target
from pvscsi.scsi.task import Task
from pvscsi.scsi.unit import LogicalUnit

FEW = 5_000  # requests of a race where nobody asked for more


class HeldDisk(Wrapper):
    """`inner`, but while `holding` it keeps every transfer; they go on in the order they came, one by one reaped."""

    def __init__(self, inner: Medium) -> None:
        super().__init__("held", inner)
        self.holding = False
        self._kept: deque[Io] = deque()

    def submit(self, ios: Sequence[Io]) -> None:
        if self.holding or self._kept:
            self._kept.extend(ios)
        else:
            self.inner.submit(ios)

    def reap(self, now_ns: int) -> Sequence[Io]:
        if self.holding:
            return ()
        ios = list(self._kept)
        self._kept.clear()
        self.inner.submit(ios)
        return ios

    def cancel(self, ios: Sequence[Io]) -> None:
        unwanted = set(ios)
        self._kept = deque(io for io in self._kept if io not in unwanted)

    def deadline(self) -> int | None:
        return 0 if self._kept and not self.holding else None


def make_medium(name: str, drive: Drive) -> Medium:
    """What a drive's bytes are in."""
    medium: Medium = MemDisk(name, drive.size, read_only=drive.read_only)
    if drive.volatile:
        medium = VolatileDisk(medium)
    if drive.bad or drive.full:
        whole = ((0, drive.size),)
        plan = Plan(bad_write=whole, fault=Fault.FULL) if drive.full else Plan(bad_read=drive.bad, bad_write=drive.bad)
        medium = FaultyDisk(medium, plan)
    return HeldDisk(medium) if drive.held else medium


def make_unit(name: str, drive: Drive) -> LogicalUnit:
    identity = Identity.of(name)
    if drive.kind == "cdrom":
        return Cdrom(make_medium(name, drive) if drive.size else None, identity)
    medium = make_medium(name, drive) if drive.size else None
    return Disk(medium, identity, block=drive.block, removable=drive.removable, thin=drive.thin)


def make_target(number: int, drive: Drive) -> Target:
    return Target({lun: make_unit(f"{number}.{lun}", drive) for lun in range(drive.luns)})


class Served(Attended, Pvscsi):
    """An adapter in a server's thread."""


@dataclass
class ModelTarget:
    """The model in this process, and a port to it."""

    device: Pvscsi
    port: Port
    can: frozenset[Can] = frozenset(Can)

    def settle(self) -> None:
        if isinstance(self.device, Served):
            self.device.finish()
            self.port.read(7, 0)  # the answer comes behind the interrupts of that round
        else:
            self.port.until(lambda: True)

    def memory(self) -> bytes:
        return b"".join(bytes(region.view) for region in self.device.mem.regions() if region.view is not None)

    def broken(self) -> set[str]:
        return self.device.rules.numbers()

    def do(self, what: Callable[[], Any]) -> None:
        """Where the device is worked on: nothing else happens to it meanwhile."""
        if isinstance(self.device, Served):
            self.device.ask(what)
        else:
            what()
        self.settle()

    def unit(self, number: int, lun: int = 0) -> LogicalUnit:
        return self.device.targets[number].units[lun]

    def medium(self, number: int) -> Medium:
        medium = self.unit(number).medium
        assert isinstance(medium, Medium)
        return medium

    def other(self, number: int, command: bytes, data: bytes = b"") -> int:
        """A command that moves no blocks, by another initiator than the adapter; its status."""
        buffer = bytearray(data or bytes(256))
        task = Task(command, [memoryview(buffer)], len(buffer), nexus=1)
        self.do(lambda: self.unit(number).execute(task))
        return int(task.status)

    def plug(self, number: int, drive: Drive) -> None:
        target = make_target(number, drive)
        self.do(lambda: self.device.add(number, target))

    def unplug(self, number: int) -> None:
        self.do(lambda: self.device.remove(number))

    def hold(self, number: int, on: bool) -> None:
        disk = self.medium(number)
        assert isinstance(disk, HeldDisk)

        def turn() -> None:
            disk.holding = on

        self.do(turn)

    def resize(self, number: int, size: int) -> None:
        disk = self.medium(number)
        assert isinstance(disk, MemDisk)

        def grow() -> None:
            disk.resize(size)
            self.unit(number).grown()

        self.do(grow)

    def load(self, number: int, drive: Drive | None) -> None:
        unit = self.unit(number)
        medium = None if drive is None else make_medium("disc", drive)
        self.do(lambda: unit.load(medium))

    def power_cut(self, number: int) -> None:
        disk = self.medium(number)
        assert isinstance(disk, VolatileDisk)
        self.do(lambda: disk.cut(Random(number)))


@dataclass(frozen=True)
class ModelBench:
    """Models called directly, working off `budget` units in a round; `options` are those of every device made."""

    name: str = "local"
    budget: int = BUDGET
    race: int = FEW
    options: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def connect(self, drives: Drives | None, **options: Any) -> Iterator[ModelTarget]:
        device = Pvscsi(_targets(drives), **{**self.options, **options})
        port = LocalPort(device, memory=ARENA, budget=self.budget)
        yield ModelTarget(device, port)
        port.close()


@dataclass(frozen=True)
class ServedBench:
    """Models behind a vfio-user server each."""

    name: str = "vfio-user"
    race: int = FEW

    @contextmanager
    def connect(self, drives: Drives | None, **options: Any) -> Iterator[ModelTarget]:
        with served(drives, polling=RUNG, **options) as (device, port):
            yield ModelTarget(device, port)


@contextmanager
def served(
    drives: Drives | None, *, polling: Polling, share: bool = True, **options: Any
) -> Iterator[tuple[Served, VfioUserPort]]:
    """A device behind a vfio-user server in a thread, and a client's port to it."""
    device = Served(_targets(drives), **options)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(polling=polling)
        path = Path(folder) / "hba"
        server.add(device, path, watch=[device])
        with server.background():
            port = VfioUserPort(path, memory=ARENA, share=share)
            try:
                yield device, port
            finally:
                port.close()
    device.close()


def _targets(drives: Drives | None) -> dict[int, Target]:
    return {number: make_target(number, drive) for number, drive in ({0: DISK} if drives is None else drives).items()}


OURS = (ModelBench(), ModelBench("local-budget-1", budget=1), ServedBench())
FEWER = (OURS[0], OURS[2])
