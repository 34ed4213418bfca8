"""INTR_STATUS and INTR_MASK: what was posted, who wants to hear of it, and when.

A status bit is set whatever the mask says, and stays until it is acknowledged: drivers that poll look at nothing else.
With messages every batch is signalled although the bit is set already: Linux and OpenBSD never acknowledge then.
Ref: Linux pvscsi_isr and pvscsi_msix_isr, FreeBSD pvscsi_intr.
"""

from collections.abc import Callable

from pvdev.faults import FaultPlan
from pvdev.irq import Interrupts, Mode, Moderator, Pace
from pvdev.trace import Sink
from pvscsi.wire import INTR_ALL, Intr

PATIENCE_NS = 2_000_000_000  # an INTx is acknowledged within this time
_COMPLETIONS = int(Intr.CMPL_0 | Intr.CMPL_1)
COMPLETED, MESSAGE = int(Intr.CMPL_0), int(Intr.MSG_0)  # members of an Enum are slow to combine


class Signals:
    """The interrupt side of one adapter. `note` records broken rules.

    `rings`: whether they are set up, and whether there is a message ring; both are looked at when the mask is written.
    """

    def __init__(
        self,
        irq: Interrupts,
        note: Callable[[str, str, int], None],
        pace: Pace | None,
        rings: Callable[[], tuple[bool, bool]],
    ) -> None:
        self._irq, self._note, self._rings = irq, note, rings
        self._moderator = Moderator(pace)
        self.trace: Sink | None = None
        self.faults: FaultPlan | None = None
        self.reset()

    def reset(self) -> None:
        """Nothing posted, everything masked."""
        self.status = self.mask = 0
        self.forget()

    def drop(self) -> None:
        """Nothing that was to be said is said any more; the mask stays."""
        self.status = 0
        self.forget()
        self._irq.drop()

    def forget(self) -> None:
        """What waited for company does not come any more."""
        self._moderator.clear()
        self._ahead = 1  # requests the driver sends without having heard of the first, as far as was seen
        self._raised_ns: int | None = None  # when the INTx line was first seen up; -1: that was told

    # -- registers -----------------------------------------------------------------------------------------------------

    def _read_INTR_STATUS(self) -> int:
        return self.status

    def _write_INTR_STATUS(self, value: int) -> None:
        if value & ~self.status:
            self._note("PVS-D-053", "INTR_STATUS", value)
        self.status &= ~value
        self._line()

    def _read_INTR_MASK(self) -> int:
        return self.mask

    def _write_INTR_MASK(self, value: int) -> None:
        active, messages = self._rings()
        if value & ~INTR_ALL or (value and not active) or (value & ~_COMPLETIONS and not messages):
            self._note("PVS-D-052", "INTR_MASK", value)
        opened = value & ~self.mask & self.status
        self.mask = value & INTR_ALL
        if opened:
            self._fire()
        self._line()

    # -- delivery ------------------------------------------------------------------------------------------------------

    def completed(self, count: int, now_ns: int, *, out: int, ahead: int = 0) -> None:
        """`count` completions were posted: say so, unless more are on their way and the driver can wait.

        `out`: requests under way. Where every one is done at once there never are any; then `ahead`, how many requests
        the driver has sent beyond the completions it has taken, tells how many it sends before it needs to hear.
        """
        moderator = self._moderator
        if ahead > self._ahead:
            self._ahead = ahead
        due = moderator.cause(count, now_ns, urgent=False)
        if due or not (out or (ahead and moderator.held < self._ahead)):
            moderator.clear()
            self.say(COMPLETED)

    def say(self, bit: int) -> None:
        """Something was posted."""
        self.status |= bit
        if self.mask & bit:
            self._fire()
        self._line()

    def work(self, now_ns: int) -> None:
        """Say what has waited long enough; note an INTx nobody acknowledges."""
        held = self._moderator.held
        if held and self._moderator.due(now_ns):
            self._ahead = held  # more than these it does not send
            self.say(COMPLETED)
        if not self._irq.line or self._irq.mode is not Mode.INTX:
            self._raised_ns = None
        elif self._raised_ns is None:
            self._raised_ns = now_ns
        elif self._raised_ns >= 0 and now_ns - self._raised_ns >= PATIENCE_NS:
            self._note("PVS-D-054", "INTx", now_ns - self._raised_ns)
            self._raised_ns = -1

    def deadline(self) -> int | None:
        """When `work` has something to do (ns), or None."""
        due = self._moderator.deadline()
        if self._raised_ns is None or self._raised_ns < 0:
            return due
        late = self._raised_ns + PATIENCE_NS
        return late if due is None else min(due, late)

    def _fire(self) -> None:
        if self._irq.mode is not Mode.INTX:
            if self.faults is not None and self.faults.at("pvscsi.interrupt"):
                return
            self._irq.fire(0)
            if self.trace is not None:
                self.trace("pvscsi.interrupt", status=self.status)

    def _line(self) -> None:
        up = bool(self.status & self.mask)
        self._irq.set_line(up)
        if not up:
            self._raised_ns = None
