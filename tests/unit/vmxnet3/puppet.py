"""A puppet: a `Port` with no device behind it. The test itself plays the device, byte by byte."""

from collections.abc import Callable
from typing import Any

from pvdev.arena import Arena
from pvdev.device import DmaBuffer
from vmxnet3 import wire
from vmxnet3.driver import Driver
from vmxnet3.wire import Cap, Cmd, RssField

BASE = 0x10_0000
SMALL: dict[str, Any] = {"tx_ring": 32, "rx_ring0": 32, "rx_ring1": 32}
GOOD = {"sop": 1, "eop": 1, "fcs": 1, "cnc": 1, "type": 3, "gen": 1, "len": 60}
PM, PCIE, MSI, MSIX = 0x40, 0x48, 0x84, 0x9C
PME_STATUS = 0x8000


class Puppet:
    """Registers that store, a config space with the four capabilities, an ACTIVATE that presets the queue table.

    `version` is the highest it offers, `caps` what it has of version 7's. `log` is every BAR0 and BAR1 access: ("R" or
    "W", BAR, offset, value).
    """

    def __init__(self, memory: int = 32 << 20, *, version: int = 1, caps: Cap = Cap.UDP_RSS | Cap.GENEVE_TSO) -> None:
        self.arena = Arena(memory, BASE)
        self.log: list[tuple[str, int, int, int]] = []
        self.bars: dict[tuple[int, int], int] = {
            (1, wire.REG_VRRS): (1 << version) - 1,
            (1, wire.REG_UVRS): 1,
            (1, wire.REG_DCR): int(caps),
            (1, wire.REG_PTCR): int(Cap.ERROR),
        }
        self.answers: dict[int, int] = {
            Cmd.GET_LINK: 10000 << 16 | 1,
            Cmd.GET_TXDATA_DESC_SIZE: 256 << 16 | 192,
            Cmd.GET_RSS_FIELDS: int(RssField.TCPIP4 | RssField.TCPIP6),
            Cmd.GET_MAX_QUEUES_CONF: 32 << 8 | 32,
            Cmd.GET_TSRING_DESC_SIZE: 128 << 16 | 64,
        }
        self.signalled = 0
        self.activated = b""  # the queue table when ACTIVATE was last told
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
            if offset == PM + 4:  # the status bit stays until 1 is written to it
                kept = self.config[PM + 5] << 8 & PME_STATUS & ~value
                value = value & ~PME_STATUS | kept
            self.config[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            return
        if region < 2:
            self.log.append(("W", region, offset, value))
        if (region, offset) == (1, wire.REG_VRRS):
            return
        if (region, offset) == (1, wire.REG_DCR):
            self.answers[Cmd.GET_DCR0_REG] = value & self.bars[region, offset]
            return
        self.bars[region, offset] = value
        if (region, offset) == (1, wire.REG_CMD):
            self.bars[1, wire.REG_CMD] = self.answers.get(value, 0)
            if value == Cmd.ACTIVATE_DEV and not self.bars[1, wire.REG_CMD]:
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
        self.activated = bytes(self.memory(table, 256 * (ntx + nrx)))

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


def complete_tx(driver: Driver, at: int, **fields: int) -> None:
    """Write one completion of transmit queue 0."""
    driver.tx[0].comp.view[16 * at : 16 * at + 16] = wire.TX_COMP.encode(**fields)


def complete_rx(driver: Driver, at: int, **fields: int) -> None:
    """Write one completion of receive queue 0."""
    driver.rx[0].comp.view[16 * at : 16 * at + 16] = wire.RX_COMP.encode(**fields)


def complete_lro(driver: Driver, at: int, **fields: int) -> None:
    """Write one type 4 completion of receive queue 0."""
    driver.rx[0].comp.view[16 * at : 16 * at + 16] = wire.RX_COMP_LRO.encode(**{"type": 4, **fields})


def descriptor(driver: Driver, index: int) -> dict[str, Any]:
    """A descriptor of transmit queue 0."""
    return dict(wire.TX_DESC.decode(driver.tx[0].desc.view, 16 * index))


def commands(puppet: Puppet) -> list[str]:
    """What was written to CMD so far, by name."""
    return [Cmd(value).name for verb, bar, offset, value in puppet.log if (verb, bar, offset) == ("W", 1, wire.REG_CMD)]
