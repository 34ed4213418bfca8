"""What a device model is to a transport, and what a device is to a driver. Protocols only: no behaviour."""

from collections.abc import Callable
from typing import Protocol

from pvdev.mem import GuestMemory
from pvdev.pci import PciFunction
from pvdev.rules import RuleLog
from pvdev.trace import Sink


class Device(Protocol):
    """A pure state machine: no socket, thread, file or clock. Memory and time come in, register values and
    interrupts (`pci.irq`) come out.

    One transport drives it: it applies each register access to `pci` (the access is done when that returns), calls
    `service` when `kicked` or a deadline says so, and drains `pci.irq.take()` after either.
    """

    name: str
    pci: PciFunction
    mem: GuestMemory
    rules: RuleLog
    trace: Sink | None

    polled: bool
    """Set by a transport that keeps calling `service` while it returns True: the device may then tell the driver not to
    ring, until `rest`."""

    gathers: bool
    """Whether its work is better left to gather while there is much of it: what a driver has in flight stays in its
    rings meanwhile, and is answered by one interrupt. Not where somebody waits for a short queue to be emptied."""

    kicked: bool
    """A doorbell was rung since the last `service`."""

    def service(self, budget: int, now_ns: int) -> bool:
        """Do at most about `budget` units of work per queue. True: something was done, or can be done at once."""
        ...

    def deadline(self) -> int | None:
        """When `service` has something to do although nobody rings (ns), or None."""
        ...

    def rest(self) -> bool:
        """Nothing was to be done for a while: arm the doorbells and look again. True: there is work after all."""
        ...

    def reset(self) -> None:
        """PCI reset: exactly the state of a new object; memory and who is connected stay."""
        ...


class HasFileno(Protocol):
    """Something with a descriptor that turns readable when it has work for a device."""

    def fileno(self) -> int: ...


class DmaBuffer(Protocol):
    """Memory both sides see: `address` is what the device is told, `view` what the driver touches."""

    @property
    def address(self) -> int: ...

    @property
    def view(self) -> memoryview: ...


class Port(Protocol):
    """A driver's side of one device: the same driver runs on any transport behind this.

    `region` is 0 to 5 for a BAR, 7 for config space; offsets and sizes in bytes. Raises `PeerError` when the
    device's side is gone.
    """

    def read(self, region: int, offset: int, size: int = 4) -> int: ...

    def write(self, region: int, offset: int, value: int, size: int = 4) -> None: ...

    def alloc(self, size: int, align: int = 4096) -> DmaBuffer:
        """Zeroed memory for DMA, mapped for the device. Raises `MemoryError` when the port's arena is full."""
        ...

    def free(self, buffer: DmaBuffer) -> None: ...

    def interrupts(self) -> int:
        """Vectors signalled since the last call, a bit each (INTx is bit 0)."""
        ...

    def until(self, done: Callable[[], bool], timeout_s: float = 5.0) -> bool:
        """Let the device work until `done()`; False when it has not come true in time."""
        ...

    def reset(self) -> None:
        """Reset the function (the transport's device reset)."""
        ...

    def close(self) -> None: ...
