"""The interrupt vectors of one NIC: IMR masks, causes kept while masked, delivery.

Ref: Linux vmxnet3_intr_handler, vmxnet3_msix_* and vmxnet3_enable_all_intrs (what drivers do and in which order).
"""

from collections.abc import Callable

from pvdev.faults import FaultPlan
from pvdev.irq import Interrupts, Mode
from pvdev.trace import Sink

PATIENCE_NS = 2_000_000_000  # a vector delivered, masked, and with something new to say for so long is forgotten
LOOK_NS = (50_000, 1_000_000)  # between two looks at a mask nobody reports the clearing of: at first, and later
EAGER_NS = 20_000_000  # how long is "at first"


class Vectors:
    """IMR and what waits behind it. `note` records broken rules.

    `page` is where the masks stand, a word of eight bytes each, when the driver's side may map it: unmasking is then
    seen by looking, and only while there is something to say. `auto_mask`: the device sets IMR when it delivers.
    `in_use` vectors were announced by ACTIVATE; 0 while inactive.
    """

    def __init__(self, irq: Interrupts, note: Callable[[str, str, int], None], page: memoryview | None = None) -> None:
        self._irq, self._note, self._mapped = irq, note, page is not None
        self._masks = (page if page is not None else memoryview(bytearray(8 * irq.vectors))).cast("I")
        self.trace: Sink | None = None
        self.faults: FaultPlan | None = None
        self.in_use, self.auto_mask = 0, False
        self._now_ns = 0
        self.reset()

    def reset(self) -> None:
        """Everything masked, nothing pending."""
        for vector in range(self._irq.vectors):
            self._masks[2 * vector] = 1
        self._told = 0  # a bit per vector: masked by its own delivery
        self.stop()

    def start(self, in_use: int, auto_mask: bool) -> None:
        """ACTIVATE: masks stay as they are."""
        self.in_use, self.auto_mask = in_use, auto_mask

    def stop(self) -> None:
        """Nothing that was to be said is said any more; masks stay."""
        self._cause = 0  # a bit per vector: it was masked when something happened
        self._waits_ns = 0  # when the first of them came
        self._since: int | None = None  # when `look` first saw one that was told, and masked since
        self._silent = 0  # a bit per vector: was so then, and nothing has happened on it since
        self._line_since: int | None = None
        self.in_use = 0
        self._irq.drop()

    def read(self, vector: int) -> int:
        return self._masks[2 * vector] & 1

    def write(self, vector: int, value: int) -> None:
        """The driver writes IMR of `vector`: unmasking delivers what was kept."""
        if value & ~1 or (self.in_use and vector >= self.in_use and not value):
            self._note("VMX-D-054", f"IMR {vector}", value)
        self._told &= ~(1 << vector)
        self._masks[2 * vector] = value & 1
        if not value & 1 and self._cause >> vector & 1:
            self.signal(vector)

    def signal(self, vector: int) -> None:
        """Everything bound to `vector` wants attention: deliver, or keep the cause while IMR masks it."""
        bit = 1 << vector
        if self._masks[2 * vector] & 1:
            if not self._cause:
                self._waits_ns = self._now_ns
            self._cause |= bit
            self._silent &= ~bit
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
            self._masks[2 * vector] = 1
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
                self._masks[0] = 1
        return int(asserted)

    # -- looking ------------------------------------------------------------------------------------------------------

    def look(self, now_ns: int) -> None:
        """Deliver what was unmasked behind our back; note a driver that never comes back to what it was told."""
        self._now_ns = now_ns
        if self._mapped and self._cause:
            for vector in range(self.in_use):
                if self._cause >> vector & 1 and not self._masks[2 * vector] & 1:
                    self._told &= ~(1 << vector)
                    self.signal(vector)
        forgotten = self._cause & self._told
        if not forgotten:
            self._since = None
        elif self._since is None:
            self._since, self._silent = now_ns, forgotten
        elif now_ns - self._since >= PATIENCE_NS:
            if forgotten := forgotten & self._silent:  # where more happened, the driver takes it without being told
                vector = (forgotten & -forgotten).bit_length() - 1
                self._note("VMX-D-055", f"vector {vector}", forgotten)
                self._told &= ~forgotten
            self._since, self._silent = now_ns, self._cause & self._told
        irq = self._irq
        if not irq.line or irq.mode is not Mode.INTX or irq.intx_disabled:
            self._line_since = None
        elif self._line_since is None:
            self._line_since = now_ns
        elif self._line_since >= 0 and now_ns - self._line_since >= PATIENCE_NS:
            self._note("VMX-D-056", "INTx", now_ns - self._line_since)
            self._line_since = -1  # said; not again until it is acknowledged

    def deadline(self) -> int | None:
        """When `look` may find something (ns)."""
        due = [since + PATIENCE_NS for since in (self._since, self._line_since) if since is not None and since >= 0]
        if self._mapped and self._cause:
            due.append(self._now_ns + LOOK_NS[self._now_ns - self._waits_ns > EAGER_NS])
        return min(due, default=None)
