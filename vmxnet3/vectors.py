"""The interrupt vectors of one NIC: IMR masks, causes kept while masked, delivery.

Ref: Linux vmxnet3_intr_handler, vmxnet3_msix_* and vmxnet3_enable_all_intrs (what drivers do and in which order).
"""

from collections.abc import Callable

from pvdev.faults import FaultPlan
from pvdev.irq import Interrupts, Mode
from pvdev.trace import Sink

PATIENCE_NS = 2_000_000_000  # a vector delivered, masked, and with something new to say for so long is forgotten


class Vectors:
    """IMR and what waits behind it. `note` records broken rules.

    `auto_mask`: the device sets IMR when it delivers. `in_use` vectors were announced by ACTIVATE; 0 while inactive.
    """

    def __init__(self, irq: Interrupts, note: Callable[[str, str, int], None]) -> None:
        self._irq, self._note = irq, note
        self.trace: Sink | None = None
        self.faults: FaultPlan | None = None
        self.in_use, self.auto_mask = 0, False
        self.reset()

    def reset(self) -> None:
        """Everything masked, nothing pending."""
        self._imr = (1 << self._irq.vectors) - 1  # a bit per vector
        self._told = 0  # a bit per vector: masked by its own delivery
        self.stop()

    def start(self, in_use: int, auto_mask: bool) -> None:
        """ACTIVATE: masks stay as they are."""
        self.in_use, self.auto_mask = in_use, auto_mask

    def stop(self) -> None:
        """Nothing that was to be said is said any more; masks stay."""
        self._cause = 0  # a bit per vector: it was masked when something happened
        self._since: int | None = None  # when the first of them came, unless nobody has looked at the clock
        self._line_since: int | None = None
        self.in_use = 0
        self._irq.drop()

    def read(self, vector: int) -> int:
        return self._imr >> vector & 1

    def write(self, vector: int, value: int) -> None:
        """The driver writes IMR of `vector`: unmasking delivers what was kept."""
        if value & ~1 or (self.in_use and vector >= self.in_use and not value):
            self._note("VMX-D-054", f"IMR {vector}", value)
        bit = 1 << vector
        self._told &= ~bit
        if value & 1:
            self._imr |= bit
        else:
            self._imr &= ~bit
            if self._cause & bit:
                self.signal(vector)

    def signal(self, vector: int) -> None:
        """Everything bound to `vector` wants attention: deliver, or keep the cause while IMR masks it."""
        bit = 1 << vector
        if self._imr & bit:
            self._cause |= bit
            return
        self._cause &= ~bit
        irq = self._irq
        if self.faults is not None and self.faults.at("vmxnet3.interrupt"):
            return
        if irq.mode is Mode.INTX:
            if vector == 0:
                irq.set_line(True)
            return
        if self.in_use and self.auto_mask:
            self._imr |= bit
            self._told |= bit
        irq.fire(vector)
        if self.trace is not None:
            self.trace("vmxnet3.interrupt", vector=vector)

    def acknowledge_line(self) -> int:
        """ICR is read: whether this device pulled the line; it lets go."""
        asserted = self._irq.line
        if asserted:
            self._irq.set_line(False)
            self._line_since = None
            if self.in_use and self.auto_mask:
                self._imr |= 1
        return int(asserted)

    # -- patience -----------------------------------------------------------------------------------------------------

    def watch(self, now_ns: int) -> None:
        """Note a driver that never comes back to what it was told."""
        forgotten = self._cause & self._told
        if not forgotten:
            self._since = None
        elif self._since is None:
            self._since = now_ns
        elif now_ns - self._since >= PATIENCE_NS:
            vector = (forgotten & -forgotten).bit_length() - 1
            self._note("VMX-D-055", f"vector {vector}", forgotten)
            self._told, self._since = 0, None
        if not self._irq.line:
            self._line_since = None
        elif self._line_since is None:
            self._line_since = now_ns
        elif self._line_since >= 0 and now_ns - self._line_since >= PATIENCE_NS:
            self._note("VMX-D-056", "INTx", now_ns - self._line_since)
            self._line_since = -1  # said; not again until it is acknowledged

    def deadline(self) -> int | None:
        """When `watch` has something to say (ns)."""
        due = [since + PATIENCE_NS for since in (self._since, self._line_since) if since is not None and since >= 0]
        return min(due, default=None)
