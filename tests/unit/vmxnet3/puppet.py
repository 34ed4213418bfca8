"""A puppet: a `Port` with no device behind it. The test itself plays the device, byte by byte."""

from collections.abc import Callable

from pvdev.arena import Arena
from pvdev.device import DmaBuffer
from vmxnet3 import wire

BASE = 0x10_0000
PM, PCIE, MSI, MSIX = 0x40, 0x48, 0x84, 0x9C


class Puppet:
    """Registers that store, a config space with the four capabilities, an ACTIVATE that presets the queue table.

    `log` is every BAR0 and BAR1 access: ("R" or "W", BAR, offset, value).
    """

    def __init__(self, memory: int = 32 << 20) -> None:
        self.arena = Arena(memory, BASE)
        self.log: list[tuple[str, int, int, int]] = []
        self.bars: dict[tuple[int, int], int] = {(1, wire.REG_VRRS): 1, (1, wire.REG_UVRS): 1}
        self.answers: dict[int, int] = {wire.Cmd.GET_LINK: 10000 << 16 | 1}
        self.signalled = 0
        config = bytearray(4096)
        config[0:4], config[0x2C:0x30] = b"\xad\x15\xb0\x07", b"\xad\x15\xb0\x07"
        config[6], config[8:12], config[0x34], config[0x3D] = 0x10, b"\x01\x00\x00\x02", PM, 1
        for at, cap, link in ((PM, 1, PCIE), (PCIE, 0x10, MSI), (MSI, 5, MSIX), (MSIX, 0x11, 0)):
            config[at], config[at + 1] = cap, link
        config[MSIX + 2 : MSIX + 12] = b"\x18\x00\x02\x00\x00\x00\x02\x10\x00\x00"
        config[0x100:0x104] = b"\x03\x00\x01\x00"
        self.config = config

    def read(self, region: int, offset: int, size: int = 4) -> int:
        if region == 7:
            return int.from_bytes(self.config[offset : offset + size], "little")
        value = self.bars.get((region, offset), 0)
        if region < 2:
            self.log.append(("R", region, offset, value))
        return value

    def write(self, region: int, offset: int, value: int, size: int = 4) -> None:
        if region == 7:
            if 0x10 <= offset < 0x28:
                value &= {0x10: -0x1000, 0x14: -0x1000, 0x18: -0x2000}.get(offset, 0)
            self.config[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            return
        if region < 2:
            self.log.append(("W", region, offset, value))
        if (region, offset) == (1, wire.REG_VRRS):
            return
        self.bars[region, offset] = value
        if (region, offset) == (1, wire.REG_CMD):
            self.bars[1, wire.REG_CMD] = self.answers.get(value, 0)
            if value == wire.Cmd.ACTIVATE_DEV and not self.bars[1, wire.REG_CMD]:
                self._activate()

    def memory(self, address: int, size: int) -> memoryview:
        return self.arena.block.view[address - BASE : address - BASE + size]

    def _activate(self) -> None:
        dsa = self.bars[1, wire.REG_DSAL] | self.bars[1, wire.REG_DSAH] << 32
        shared = wire.DRIVER_SHARED.decode(self.memory(dsa, 720))
        table, ntx, nrx = shared["queueDescPA"], shared["numTxQueues"], shared["numRxQueues"]
        assert isinstance(table, int)
        assert isinstance(ntx, int)
        assert isinstance(nrx, int)
        for i in range(ntx + nrx):
            cell = self.memory(table + 256 * i, 256)
            cell[0:8] = b"\0\0\0\0\1\0\0\0" if i < ntx else bytes(8)
            cell[80] = 0

    def alloc(self, size: int, align: int = 4096) -> DmaBuffer:
        return self.arena.alloc(size, align)

    def free(self, buffer: DmaBuffer) -> None:
        self.arena.free(buffer)

    def interrupts(self) -> int:
        fired, self.signalled = self.signalled, 0
        return fired

    def until(self, done: Callable[[], bool], timeout_s: float = 5.0) -> bool:
        return done()

    def reset(self) -> None:
        self.log.append(("W", -1, 0, 0))

    def close(self) -> None:
        self.arena.close()
