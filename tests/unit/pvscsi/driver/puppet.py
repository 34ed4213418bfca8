"""A puppet: a `Port` with no device behind it. The test itself plays the device, byte by byte."""

from collections.abc import Callable
from typing import Any

from pvdev.arena import Arena
from pvdev.device import DmaBuffer
from pvscsi import wire
from pvscsi.driver import Driver
from pvscsi.driver.rings import CMP_PROD, MSG_PROD, REQ_CONS
from pvscsi.wire import ARGUMENTS, Cmd

BASE = 0x10_0000
PM, PCIE, MSI, MSIX = 0x94, 0x40, 0x7C, 0x9C
UNIT_ATTENTION = bytes.fromhex("700006000000000a000000002900") + bytes(4)
_STATE = {name: at // 4 for name, at in wire.RINGS_STATE.offset.items()}


class Puppet:
    """Registers, a config space with four capabilities, the two-step command protocol; no request is ever run.

    `log` is every register access: ("R" or "W", offset, value). `answers`: COMMAND_STATUS after a whole command;
    `refused`: commands it does not know; `phys`: numPhys of the controller page, or None to refuse it.
    `log2_more`: how much too large it says its rings are.
    """

    def __init__(self, *, wide: bool = False, refused: tuple[int, ...] = (), phys: int | None = 65) -> None:
        self.arena = Arena(32 << 20, BASE)
        self.log: list[tuple[str, int, int]] = []
        self.refused, self.phys, self.log2_more = refused, phys, 0
        self.registers = 1 if wide else 0
        self.values: dict[int, int] = {}
        self.answers: dict[int, int] = {
            Cmd.SETUP_MSG_RING: 34,
            Cmd.SETUP_REQCALLTHRESHOLD: 1,
            Cmd.GET_MAX_TARGETS: 65,
        }
        self.commands: list[tuple[int, bytes]] = []  # whole ones
        self._command, self._argument, self._status = 0, b"", 0
        self.state: memoryview | None = None
        self.signalled = 0
        self.acts: list[Callable[[], None]] = []  # what the device does when it is waited for
        self.config = bytearray(4096)
        self.masks = {0x10: -0x8000} if not wide else {0x10: -8, 0x14: -0x8000, 0x18: 0xFFFF_FFFF}
        self.low = {} if not wide else {0x10: 1, 0x14: 4}
        config = self.config
        config[0:4], config[0x2C:0x30] = b"\xad\x15\xc0\x07", b"\xad\x15\xc0\x07"
        config[6], config[8:12], config[0x34], config[0x3D] = 0x10, b"\x02\x00\x07\x01", PCIE, 1
        for at, cap, link in ((PCIE, 0x10, MSI), (MSI, 5, PM), (PM, 1, MSIX), (MSIX, 0x11, 0)):
            config[at], config[at + 1] = cap, link
        config[MSI + 2] = 0x80
        config[MSIX + 2] = 23
        config[MSIX + 4 : MSIX + 12] = bytes((self.registers, 0x60, 0, 0, self.registers, 0x70, 0, 0))

    # -- the port ------------------------------------------------------------------------------------------------------

    def read(self, region: int, offset: int, size: int = 4) -> int:
        if region == 7:
            return int.from_bytes(self.config[offset : offset + size], "little")
        assert region == self.registers
        value = self._status if offset == wire.REG_COMMAND_STATUS else self.values.get(offset, 0)
        self.log.append(("R", offset, value))
        return value

    def write(self, region: int, offset: int, value: int, size: int = 4) -> None:
        if region == 7:
            if 0x10 <= offset < 0x28:
                value = value & self.masks.get(offset, 0) | self.low.get(offset, 0)
            self.config[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
            return
        assert region == self.registers
        self.log.append(("W", offset, value))
        if offset == wire.REG_COMMAND:
            self._begin(value)
        elif offset == wire.REG_COMMAND_DATA:
            self._argument += value.to_bytes(4, "little")
            if len(self._argument) == 4 * ARGUMENTS[Cmd(self._command)]:
                self._execute()
        elif offset == wire.REG_INTR_STATUS:
            self.values[offset] = self.values.get(offset, 0) & ~value
        else:
            self.values[offset] = value

    def _begin(self, command: int) -> None:
        self._command, self._argument = command, b""
        if command in self.refused:
            self._status = wire.STATUS_FAILED
        else:
            self._status = ARGUMENTS[Cmd(command)]
            if not self._status:
                self._execute()

    def _execute(self) -> None:
        command, argument = self._command, self._argument
        self.commands.append((command, argument))
        self._status = self.answers.get(command, 0)
        if command == Cmd.SETUP_RINGS:
            values = wire.SETUP_RINGS.numbers(argument)
            self.state = self.page(values["ringsStatePPN"]).cast("I")
            self.state[_STATE["reqNumEntriesLog2"]] = (32 * values["reqRingNumPages"]).bit_length() - 1 + self.log2_more
            self.state[_STATE["cmpNumEntriesLog2"]] = (128 * values["cmpRingNumPages"]).bit_length() - 1
        elif command == Cmd.SETUP_MSG_RING and self.state is not None:
            pages = wire.SETUP_MSG_RING.numbers(argument)["numPages"]
            self.state[_STATE["msgNumEntriesLog2"]] = (32 * pages).bit_length() - 1
        elif command == Cmd.CONFIG and self.phys is not None:
            at = wire.CONFIG.numbers(argument)["cmpAddr"]
            header = wire.CONFIG_HEADER.encode(pageNum=wire.CONFIG_PAGE_CONTROLLER, numDwords=120)
            self.memory(at, 480)[:] = wire.CONFIG_CONTROLLER.encode(header=header, numPhys=self.phys)

    def alloc(self, size: int, align: int = 4096) -> DmaBuffer:
        return self.arena.alloc(size, align)

    def free(self, buffer: DmaBuffer) -> None:
        self.arena.free(buffer)

    def interrupts(self) -> int:
        fired, self.signalled = self.signalled, 0
        return fired

    def until(self, done: Callable[[], bool], timeout_s: float = 5.0) -> bool:
        for act in self.acts:
            act()
        self.acts.clear()
        return done()

    def reset(self) -> None:
        self.log.append(("W", -1, 0))

    def close(self) -> None:
        self.arena.close()

    # -- the strings ---------------------------------------------------------------------------------------------------

    def memory(self, address: int, size: int) -> memoryview:
        return self.arena.block.view[address - BASE : address - BASE + size]

    def page(self, ppn: int) -> memoryview:
        return self.memory(ppn * 4096, 4096)

    def request(self, driver: Driver, index: int) -> dict[str, Any]:
        """A descriptor as the device finds it."""
        assert driver.rings is not None
        return dict(wire.REQUEST.decode(driver.rings.requests.read(index, 1)))

    def fetch(self, driver: Driver, count: int = 1) -> None:
        """The device says that it has copied so many more requests."""
        assert driver.rings is not None
        driver.rings.state[REQ_CONS] += count

    def complete(self, driver: Driver, sense: bytes = b"", data: bytes = b"", **fields: int) -> None:
        """Fetch the oldest request that is not, do what the arguments say of it, publish one completion."""
        rings = driver.rings
        assert rings is not None
        index = rings.state[REQ_CONS]
        asked = self.request(driver, index)
        if rings.req_prod != index:
            self.fetch(driver)
        if sense:
            self.memory(asked["senseAddr"], len(sense))[:] = sense
            fields = {"senseLen": len(sense), "scsiStatus": 2, **fields}
        if data:
            self.memory(asked["dataAddr"], len(data))[:] = data
            fields = {"dataLen": len(data), **fields}
        self.publish(driver, wire.COMPLETION.encode(**{"context": asked["context"], **fields}))

    def publish(self, driver: Driver, completion: bytes) -> None:
        rings = driver.rings
        assert rings is not None
        rings.completions.write(rings.state[CMP_PROD], completion)
        rings.state[CMP_PROD] = rings.state[CMP_PROD] + 1 & 0xFFFF_FFFF
        self.values[wire.REG_INTR_STATUS] = 1
        self.signalled |= 1

    def tell(self, driver: Driver, **fields: int | bytes) -> None:
        """One message."""
        rings = driver.rings
        assert rings is not None
        assert rings.messages is not None
        rings.messages.write(rings.state[MSG_PROD], wire.MSG_DEV.encode(**fields))
        rings.state[MSG_PROD] += 1

    # -- what was said -------------------------------------------------------------------------------------------------

    def said(self, *, before: int | None = None) -> list[str]:
        """The register accesses as the sheet of drivers' sequences writes them: C(n,+words), R(name), W(name)=v."""
        names = {
            wire.REG_COMMAND_STATUS: "STATUS",
            wire.REG_INTR_STATUS: "INTR_STATUS",
            wire.REG_INTR_MASK: "INTR_MASK",
            wire.REG_KICK_RW_IO: "KICK_RW",
            wire.REG_KICK_NON_RW_IO: "KICK_NON_RW",
        }
        out: list[str] = []
        words = 0
        for verb, offset, value in self.log[:before]:
            if offset == wire.REG_COMMAND:
                words = 0
                out.append(f"C({value},+0)")
            elif offset == wire.REG_COMMAND_DATA:
                words += 1
                out[-1] = f"{out[-1].partition('+')[0]}+{words})"
            elif offset in names:
                out.append(f"R({names[offset]})" if verb == "R" else f"W({names[offset]})={value:#x}")
        return out
