"""Why the device interrupts: status, mask, and the line or message that follows from both.

An event that is masked leaves no trace: drivers look again after they have unmasked one (Linux vmwgfx_irq.c), and
nothing stale fires when a mask opens.
"""

from collections.abc import Callable
from typing import ClassVar

from pvdev.irq import Interrupts, Mode
from svga.wire import IRQ_ALL


class Causes:
    """`has_mask`: the device has IRQMASK; without it nothing is ever signalled."""

    STATE: ClassVar[tuple[str, ...]] = ("status", "mask")

    def __init__(self, irq: Interrupts, note: Callable[[str, str, int], None], *, has_mask: bool) -> None:
        self._irq, self._note, self._has_mask = irq, note, has_mask
        self.reset()

    def reset(self) -> None:
        self.status = self.mask = 0
        self._irq.drop()

    def signal(self, flags: int) -> None:
        """Something happened."""
        before = self.status & self.mask
        self.status |= flags & self.mask
        self._tell(before)

    def _tell(self, before: int) -> None:
        now = self.status & self.mask
        self._irq.set_line(bool(now))
        if now and not before and self._irq.mode is not Mode.INTX:
            self._irq.fire(0)

    def acknowledge(self, value: int) -> None:
        """A write of ones; what stays set is said again."""
        if value & ~IRQ_ALL:
            self._note("SVG-D-034", "IRQSTATUS", value)
        self.status &= ~value
        self._tell(0)

    def _read_IRQMASK(self) -> int:
        return self.mask

    def _write_IRQMASK(self, value: int) -> None:
        before = self.status & self.mask
        self.mask = value & IRQ_ALL
        self.status &= self.mask
        self._tell(before)

    def _read_IRQ_STATUS(self) -> int:
        return self.status

    def _write_IRQ_STATUS(self, value: int) -> None:
        self.acknowledge(value)
