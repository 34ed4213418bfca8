"""The two fronts of the register file: SVGA II's index and value ports, and SVGA3's flat BAR.

The ports overlap: VALUE is a dword at offset 1, BIOS one at offset 2. A VMM that cannot carry an access at an odd
offset sends VALUE as 1 byte at 1, 2 at 2, 1 at 4: put together here, with one access to the register behind it.
"""

from collections.abc import Callable
from typing import ClassVar

from svga.registers import Registers
from svga.wire import MASK32, PORT_BIOS, PORT_INDEX, PORT_IRQSTATUS, PORT_VALUE

BIOS = 0xCAFE  # what QEMU says there; nothing looks
NEXT = {(1, 1): (2, 2), (2, 2): (4, 1)}  # pieces of a dword at offset 1: which one follows


class Ports:
    """SVGA II, BAR 0. `status` answers and takes IRQSTATUS."""

    STATE: ClassVar[tuple[str, ...]] = ("_index", "_unused", "_lost", "_expected", "_reading", "_latch", "_have")

    def __init__(
        self,
        registers: Registers,
        status: Callable[[], int],
        acknowledge: Callable[[int], None],
        note: Callable[[str, str, int], None],
    ) -> None:
        self._registers, self._note = registers, note
        self._status, self._acknowledge = status, acknowledge
        self.reset()

    def reset(self) -> None:
        self._index = 0
        self._unused = self._lost = False  # INDEX was written and not used; one was written over before it was used
        self._drop()

    def _drop(self) -> None:
        self._expected: tuple[int, int] | None = None  # the next piece
        self._reading = False
        self._latch = self._have = 0  # a value in pieces, and how many bits of it have come

    def _choose(self, index: int) -> None:
        """INDEX was written."""
        self._index, self._lost, self._unused = index, self._unused, True

    def _use(self) -> int:
        """Which register VALUE is now. Two processors that do not wait for each other: INDEX, INDEX, VALUE, VALUE."""
        if self._lost and not self._unused:
            self._note("SVG-D-004", "VALUE", self._index)
            self._lost = False
        self._unused = False
        return self._index

    def _odd(self, way: str, offset: int) -> None:
        self._note("SVG-D-003", f"port {way}", offset)

    def read(self, offset: int, size: int) -> int:
        if size == 4:
            self._drop()
            return self._read_dword(offset)
        piece = offset, size
        if piece == (1, 1):
            self._drop()
            self._latch, self._reading = self._registers.read(self._use()), True
        elif not self._reading or piece != self._expected:
            self._drop()
            self._odd("read", offset)
            return BIOS if piece == (PORT_BIOS, 2) else (1 << 8 * size) - 1
        self._expected = NEXT.get(piece)
        value, self._latch = self._latch & (1 << 8 * size) - 1, self._latch >> 8 * size
        return value

    def _read_dword(self, offset: int) -> int:
        if offset == PORT_VALUE:
            return self._registers.read(self._use())
        if offset == PORT_INDEX:
            return self._index
        if offset == PORT_BIOS:
            return BIOS
        if offset == PORT_IRQSTATUS:
            return self._status()
        self._odd("read", offset)
        return MASK32

    def write(self, offset: int, size: int, value: int) -> None:
        if size == 4:
            self._drop()
            self._write_dword(offset, value)
            return
        piece = offset, size
        if piece == (1, 1):
            self._drop()
        elif self._reading or piece != self._expected:
            self._drop()
            self._odd("write", offset)
            return
        self._latch |= value << self._have
        self._have += 8 * size
        self._expected = NEXT.get(piece)
        if self._have == 32:
            whole = self._latch
            self._drop()
            self._registers.write(self._use(), whole)

    def _write_dword(self, offset: int, value: int) -> None:
        if offset == PORT_VALUE:
            self._registers.write(self._use(), value)
        elif offset == PORT_INDEX:
            self._choose(value)
        elif offset == PORT_IRQSTATUS:
            self._acknowledge(value)
        elif offset != PORT_BIOS:
            self._odd("write", offset)


class FlatRegisters:
    """SVGA3, BAR 0: register n is the dword at 4 n."""

    def __init__(self, registers: Registers, note: Callable[[str, str, int], None]) -> None:
        self._registers, self._note = registers, note

    def read(self, offset: int, size: int) -> int:
        if size != 4 or offset % 4:
            self._note("SVG-D-003", f"read of {size}", offset)
            return 0
        return self._registers.read(offset // 4)

    def write(self, offset: int, size: int, value: int) -> None:
        if size != 4 or offset % 4:
            self._note("SVG-D-003", f"write of {size}", offset)
        else:
            self._registers.write(offset // 4, value)


class MemoryBar:
    """A BAR that is memory: accesses that come as messages all the same."""

    def __init__(self, view: memoryview) -> None:
        self._view = view

    def read(self, offset: int, size: int) -> int:
        return int.from_bytes(self._view[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        part = self._view[offset : offset + size]
        part[:] = value.to_bytes(size, "little")[: len(part)]
