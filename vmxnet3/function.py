"""The NIC on its bus: register tables, BARs, capabilities, identity.

Ref: Linux vmxnet3_defs.h (register offsets); config-space dumps of VMware virtual hardware (where capabilities stand).
"""

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
    serial_number,
)
from pvdev.regs import Reg
from vmxnet3.wire import (
    BAR_MSIX,
    BAR_PT,
    BAR_VD,
    DEVICE_ID,
    MAX_INTRS,
    MAX_RX_QUEUES,
    MAX_TX_QUEUES,
    PAGE,
    REG_CMD,
    REG_DSAH,
    REG_DSAL,
    REG_ECR,
    REG_ICR,
    REG_IMR,
    REG_MACH,
    REG_MACL,
    REG_RXPROD,
    REG_RXPROD2,
    REG_TXPROD,
    REG_UVRS,
    REG_VRRS,
    REVISION,
    VENDOR_ID,
)

PT_REGS = (
    Reg(REG_IMR, "IMR", reset=1, count=MAX_INTRS),
    Reg(REG_TXPROD, "TXPROD", count=MAX_TX_QUEUES),
    Reg(REG_RXPROD, "RXPROD", count=MAX_RX_QUEUES),
    Reg(REG_RXPROD2, "RXPROD2", count=MAX_RX_QUEUES),
)
VD_REGS = (
    Reg(REG_VRRS, "VRRS"),
    Reg(REG_UVRS, "UVRS"),
    Reg(REG_DSAL, "DSAL"),
    Reg(REG_DSAH, "DSAH"),
    Reg(REG_CMD, "CMD"),
    Reg(REG_MACL, "MACL"),
    Reg(REG_MACH, "MACH"),
    Reg(REG_ICR, "ICR", "ro"),
    Reg(REG_ECR, "ECR"),
)


def pci_function(mac: bytes, pt: Handler, vd: Handler) -> PciFunction:
    """The PCI function of a NIC with this permanent address; `pt` and `vd` answer for BAR0 and BAR1."""
    irq = Interrupts(MAX_INTRS)
    return PciFunction(
        Identity(VENDOR_ID, DEVICE_ID, 0x020000, REVISION, VENDOR_ID, DEVICE_ID),
        {BAR_PT: Bar(PAGE, pt), BAR_VD: Bar(PAGE, vd), BAR_MSIX: Bar(2 * PAGE, MsixBar(irq, PAGE))},
        [
            power_management(0x40),
            pcie_endpoint(0x48),
            msi(0x84),
            msix(0x9C, vectors=MAX_INTRS, bar=BAR_MSIX, pba=PAGE),
            serial_number(int.from_bytes(mac[:3] + b"\xff\xff" + mac[3:], "big")),
        ],
        irq,
    )
