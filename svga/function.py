"""The display on its bus: SVGA II with ports, VRAM and FIFO, or SVGA3 with registers in memory and VRAM.

Ref: Linux vmwgfx_drv.c (what it maps), boot logs of VMware's and VirtualBox's devices (sizes). MSI is our addition to
SVGA II: a VMM that emulates INTx by unmapping BARs then does not have to.
"""

from pvdev.irq import Interrupts
from pvdev.mem import SharedBlock
from pvdev.pci import Bar, Handler, Identity, PciFunction, msi
from svga.planes import Flat
from svga.ports import MemoryBar
from svga.wire import (
    BAR_FB,
    BAR_FB3,
    BAR_FIFO,
    BAR_PORTS,
    BAR_REGS,
    CLASS_OTHER,
    CLASS_VGA,
    DEVICE_SVGA2,
    DEVICE_SVGA3,
    PAGE,
    PORTS_SIZE,
    REGS_SIZE,
    VENDOR_ID,
)


class Video:
    """Memory a BAR shows: a block both sides map, or, without one, private memory (a driver in this process)."""

    def __init__(self, size: int, block: SharedBlock | None) -> None:
        if size < PAGE or size & size - 1:
            raise ValueError(f"video memory of {size} bytes: not a power of two of at least {PAGE}")
        if block is not None and block.size != size:
            raise ValueError(f"video memory of {size} bytes in a block of {block.size}")
        self.size, self.block = size, block
        self.view = block.view if block is not None else memoryview(bytearray(size))
        self.memory = Flat(self.view)

    def bar(self) -> Bar:
        return Bar(self.size, MemoryBar(self.view), prefetch=True, shared=self.block)


def pci_function(
    front: Handler, irq: Interrupts, vram: Video, fifo: Video | None, *, svga3: bool, vga: bool
) -> PciFunction:
    """`front`: what answers at BAR 0. `vga`: of class VGA, for guests that look for it; nothing is behind that."""
    device = DEVICE_SVGA3 if svga3 else DEVICE_SVGA2
    bars = {BAR_REGS: Bar(REGS_SIZE, front), BAR_FB3: vram.bar()} if svga3 else {}
    if not svga3:
        assert fifo is not None
        bars = {BAR_PORTS: Bar(PORTS_SIZE, front, io=True), BAR_FB: vram.bar(), BAR_FIFO: fifo.bar()}
    identity = Identity(VENDOR_ID, device, CLASS_VGA if vga else CLASS_OTHER, 0, VENDOR_ID, device)
    return PciFunction(identity, bars, [msi(0x40)], irq, config_size=256)
