"""The adapter on its bus: register table, BARs, capabilities, in two layouts.

Ref: Linux vmw_pvscsi.h (register offsets); config-space dumps of VMware virtual hardware (layout "vmware"); SeaBIOS and
OVMF, which want memory at BAR0 (layout "flat").
"""

from collections.abc import Callable

from pvdev.irq import Interrupts
from pvdev.pci import (
    Bar,
    Handler,
    Identity,
    MsixBar,
    PciFunction,
    msi,
    msix,
    pcie_endpoint,
    power_management,
)
from pvdev.regs import Reg
from pvscsi.wire import (
    BAR_SIZE,
    CLASS_CODE,
    DEVICE_ID,
    MSIX_PBA,
    MSIX_TABLE,
    REG_COMMAND,
    REG_COMMAND_DATA,
    REG_COMMAND_STATUS,
    REG_DEBUG,
    REG_INTR_MASK,
    REG_INTR_STATUS,
    REG_KICK_NON_RW_IO,
    REG_KICK_RW_IO,
    REG_LAST_STS,
    VENDOR_ID,
)

LAYOUTS = ("flat", "vmware")
REGISTERS = (
    Reg(REG_COMMAND, "COMMAND", "wo", stride=4),
    Reg(REG_COMMAND_DATA, "COMMAND_DATA", "wo", stride=4),
    Reg(REG_COMMAND_STATUS, "COMMAND_STATUS", "ro", stride=4),
    Reg(REG_LAST_STS, "LAST_STS", "ro", count=4, stride=4),
    Reg(REG_INTR_STATUS, "INTR_STATUS", stride=4),
    Reg(REG_INTR_MASK, "INTR_MASK", stride=4),
    Reg(REG_KICK_NON_RW_IO, "KICK_NON_RW_IO", "wo", stride=4),
    Reg(REG_DEBUG, "DEBUG", "wo", stride=4),
    Reg(REG_KICK_RW_IO, "KICK_RW_IO", "wo", stride=4),
)


class _RegisterBar:
    """The one BAR that has everything: registers, then the MSI-X table, then its pending bits."""

    def __init__(self, registers: Handler, irq: Interrupts) -> None:
        self._registers, self._msix = registers, MsixBar(irq, MSIX_PBA - MSIX_TABLE)

    def read(self, offset: int, size: int) -> int:
        if offset >= MSIX_TABLE:
            return self._msix.read(offset - MSIX_TABLE, size)
        return self._registers.read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if offset >= MSIX_TABLE:
            self._msix.write(offset - MSIX_TABLE, size, value)
        else:
            self._registers.write(offset, size, value)


class _IndexWindow:
    """Two ports onto the same registers: an offset, and the data there."""

    def __init__(self, bar: _RegisterBar) -> None:
        self._bar, self._offset = bar, 0

    def read(self, offset: int, size: int) -> int:
        if size != 4 or offset % 4:
            return 0
        return self._offset if offset == 0 else self._bar.read(self._offset, 4)

    def write(self, offset: int, size: int, value: int) -> None:
        if size == 4 and offset == 0:
            self._offset = value % BAR_SIZE & ~3
        elif size == 4 and offset == 4:
            self._bar.write(self._offset, 4, value)


def pci_function(
    registers: Handler, irq: Interrupts, *, layout: str, revision: int, reset: Callable[[], None]
) -> PciFunction:
    """The PCI function, its registers at BAR0 ("flat") or at the 64-bit BAR1 behind an I/O window ("vmware").

    `reset` is what a function level reset does.
    """
    bar = _RegisterBar(registers, irq)
    index = 0 if layout == "flat" else 1
    bars = {index: Bar(BAR_SIZE, bar, wide=index == 1)}
    if index:
        bars[0] = Bar(8, _IndexWindow(bar), io=True)
    return PciFunction(
        Identity(VENDOR_ID, DEVICE_ID, CLASS_CODE, revision, VENDOR_ID, DEVICE_ID),
        bars,
        [
            pcie_endpoint(0x40, flr=True),
            msi(0x7C),
            power_management(0x94),
            msix(0x9C, vectors=irq.vectors, bar=index, table=MSIX_TABLE, pba=MSIX_PBA),
        ],
        irq,
        on_reset=reset,
    )
