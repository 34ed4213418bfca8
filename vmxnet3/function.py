"""The NIC on its bus: register tables, BARs, capabilities, identity.

Ref: Linux vmxnet3_defs.h (register offsets); config-space dumps of VMware virtual hardware (where capabilities stand).
"""

from collections.abc import Callable

from pvdev.irq import Interrupts
from pvdev.mem import SharedBlock
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
from vmxnet3.versions import limits
from vmxnet3.wire import (
    BAR_MSIX,
    BAR_PT,
    BAR_VD,
    DEVICE_ID,
    LARGE_PT_SIZE,
    LB_REG_RXPROD,
    LB_REG_RXPROD2,
    LB_REG_TXPROD,
    NUM_DCR,
    NUM_PTCR,
    PAGE,
    REG_CMD,
    REG_DCR,
    REG_DSAH,
    REG_DSAL,
    REG_ECR,
    REG_ICR,
    REG_IMR,
    REG_MACH,
    REG_MACL,
    REG_PTCR,
    REG_RXPROD,
    REG_RXPROD2,
    REG_TXPROD,
    REG_UVRS,
    REG_VRRS,
    REVISION,
    VENDOR_ID,
)


def pt_regs(version: int) -> tuple[Reg, ...]:
    """BAR0 of a device that offers versions up to this one: masks and doorbells."""
    most = limits(version)
    regs = (
        Reg(REG_IMR, "IMR", reset=1, count=most.intrs),
        Reg(REG_TXPROD, "TXPROD", count=most.tx_queues),
        Reg(REG_RXPROD, "RXPROD", count=most.rx_queues),
        Reg(REG_RXPROD2, "RXPROD2", count=most.rx_queues),
    )
    if version < 7:
        return regs
    return (
        *regs,
        Reg(LB_REG_TXPROD, "LB_TXPROD", count=most.tx_queues),
        Reg(LB_REG_RXPROD, "LB_RXPROD", count=most.rx_queues),
        Reg(LB_REG_RXPROD2, "LB_RXPROD2", count=most.rx_queues),
    )


def vd_regs(version: int) -> tuple[Reg, ...]:
    """BAR1: the control plane."""
    regs = (
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
    if version < 7:
        return regs
    return (*regs, Reg(REG_DCR, "DCR", count=NUM_DCR), Reg(REG_PTCR, "PTCR", count=NUM_PTCR))


def pci_function(
    mac: bytes,
    version: int,
    pt: Handler,
    vd: Handler,
    irq: Interrupts,
    rewritten: Callable[[int], None] | None = None,
    mask_page: SharedBlock | None = None,
) -> PciFunction:
    """The PCI function of a NIC with this permanent address that offers versions up to this one.

    `pt` and `vd` answer for BAR0 and BAR1; `rewritten` hears of MSI-X vectors changed while they are in use;
    `mask_page` is memory the driver's side may map in place of the first page of BAR0. From version 7 on BAR0 has room
    for the doorbell page of LARGE_BAR, negotiated or not.
    """
    pt_bar = Bar(
        PAGE if version < 7 else LARGE_PT_SIZE,
        pt,
        shared=mask_page,
        areas=((REG_IMR, PAGE),) if mask_page is not None else (),
    )
    return PciFunction(
        Identity(VENDOR_ID, DEVICE_ID, 0x020000, REVISION, VENDOR_ID, DEVICE_ID),
        {BAR_PT: pt_bar, BAR_VD: Bar(PAGE, vd), BAR_MSIX: Bar(2 * PAGE, MsixBar(irq, PAGE, rewritten))},
        [
            power_management(0x40),
            pcie_endpoint(0x48),
            msi(0x84),
            msix(0x9C, vectors=irq.vectors, bar=BAR_MSIX, pba=PAGE),
            serial_number(int.from_bytes(mac[:3] + b"\xff\xff" + mac[3:], "big")),
        ],
        irq,
    )
