"""A driver's `Port` on a PCI device of QEMU's own, over the qtest protocol.

Ref: Intel 82Q35 datasheet, PCIEXBAR (where config space is mapped); PCI Local Bus 3.0 §6.8 (MSI, MSI-X).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from pvdev.arena import Arena
from pvdev.device import DmaBuffer
from pvdev.pci import (
    CAP_MSI,
    CAP_MSIX,
    CAP_POINTER,
    CMD_INTX_DISABLE,
    CMD_IO,
    CMD_MEMORY,
    COMMAND,
    CONFIG_REGION,
    MSIX_ENABLE,
    STATUS,
    STATUS_INTX,
)
from pvdev.transport.qtest import QtestMachine

RESERVED = 1 << 20  # the first MiB of a PC is not all RAM
WINDOW = 0xB000_0000  # where config space is mapped: 4 KiB per function
PCIEXBAR = 0x60
MEMORY_WINDOW, PORT_WINDOW = 0xE000_0000, 0xC000  # where BARs are put
SLOTS = 2048  # words a message can be sent to
ROUNDS = 200  # answers from QEMU before waiting for something counts as long enough
PATIENCE_S = 0.25  # nor less than this
_SIZES = {1: "b", 2: "w", 4: "l", 8: "q"}


class Machine(Protocol):
    """What a port asks of a machine (`qtest.QtestMachine`)."""

    def ask(self, line: str) -> int: ...

    def monitor(self, command: str, **arguments: Any) -> Any: ...

    def event(self, name: str) -> None: ...

    def close(self) -> None: ...


class QtestPort:
    """The `Port` of the function in slot `slot` of bus 0 of `machine`, whose RAM is the block of `arena`.

    Messages (MSI, MSI-X) go to words of RAM instead of the interrupt controller: whatever address a driver writes, the
    device is given that of a word per vector; the driver reads back its own. INTx is read from the status register
    after every access.
    """

    def __init__(self, machine: Machine, arena: Arena, slot: int) -> None:
        self.machine, self.arena, self._config = machine, arena, WINDOW + (slot << 15)
        arena.alloc(RESERVED, 1)
        self._words = arena.alloc(4 * SLOTS)
        self._mail = self._words.view.cast("I")
        self._told: dict[tuple[int, int], int] = {}  # (region, offset) of a message field -> what the driver wrote
        self._signalled = 0
        self._line = self._messages = False  # INTx is up; MSI or MSI-X is on
        self._bars: dict[int, tuple[int, bool]] = {}  # region -> address, whether of ports
        self._map_config()
        self._find_capabilities()
        self._place_bars()

    def _map_config(self) -> None:
        for register, value in ((PCIEXBAR + 4, 0), (PCIEXBAR, WINDOW | 1)):
            self.machine.ask(f"outl 0xcf8 {0x8000_0000 | register:#x}")
            self.machine.ask(f"outl 0xcfc {value:#x}")

    def _find_capabilities(self) -> None:
        caps: dict[int, int] = {}
        at = self._raw_config(CAP_POINTER, 1) & 0xFC
        while at and len(caps) < 48:
            caps[self._raw_config(at, 1)] = at
            at = self._raw_config(at + 1, 1) & 0xFC
        self._msi, self._msix = caps.get(CAP_MSI, 0), caps.get(CAP_MSIX, 0)
        self._table, self._vectors = (-1, 0), 0
        if self._msix:
            where = self._raw_config(self._msix + 4, 4)
            self._table = where & 7, where & ~7
            self._vectors = (self._raw_config(self._msix + 2, 2) & 0x7FF) + 1
        self._data = self._msi + 12 if self._msi and self._raw_config(self._msi + 2, 2) & 0x80 else self._msi + 8

    def _place_bars(self) -> None:
        """Addresses for the BARs, and decoding on: what firmware does before a driver comes."""
        at, ports = MEMORY_WINDOW, PORT_WINDOW
        for bar in range(6):
            self.write(CONFIG_REGION, 0x10 + 4 * bar, 0xFFFF_FFFF)
            found = self._raw_config(0x10 + 4 * bar, 4)
            size = -(found & ~15) & 0xFFFF_FFFF
            if found and not found & 1:
                at = -(-at // size) * size
                self.write(CONFIG_REGION, 0x10 + 4 * bar, at)
                at += size
            elif found:
                self.write(CONFIG_REGION, 0x10 + 4 * bar, ports)
                ports += max(-(found & ~3) & 0xFFFF, 0x100)
        self.write(CONFIG_REGION, COMMAND, CMD_IO | CMD_MEMORY, 2)

    # -- accesses -----------------------------------------------------------------------------------------------------

    def _raw_config(self, offset: int, size: int) -> int:
        return self.machine.ask(f"read{_SIZES[size]} {self._config + offset:#x}")

    def _place(self, region: int, offset: int) -> tuple[int, bool]:
        """The address of a byte of a region, and whether that is a port."""
        if region == CONFIG_REGION:
            return self._config + offset, False
        if region not in self._bars:
            found = self._raw_config(0x10 + 4 * region, 4)
            self._bars[region] = (found & ~3, True) if found & 1 else (found & ~15, False)
        start, port = self._bars[region]
        return start + offset, port

    def read(self, region: int, offset: int, size: int = 4) -> int:
        address, port = self._place(region, offset)
        value = self.machine.ask(f"{'in' if port else 'read'}{_SIZES[size]} {address:#x}")
        told = self._told.get((region, offset))
        self._look()
        return value if told is None else told

    def write(self, region: int, offset: int, value: int, size: int = 4) -> None:
        if (word := self._message_field(region, offset)) is not None:
            self._told[region, offset] = value
            value = word
        address, port = self._place(region, offset)
        self.machine.ask(f"{'out' if port else 'write'}{_SIZES[size]} {address:#x} {value:#x}")
        if region == CONFIG_REGION:
            self._follow(offset)
        self._look()

    def _follow(self, offset: int) -> None:
        """The driver wrote config space: BARs may have moved, messages been switched."""
        if 0x10 <= offset < 0x28:
            self._bars.clear()
        elif offset >= 0x40:
            on = bool(self._msix) and bool(self._raw_config(self._msix + 2, 2) & MSIX_ENABLE)
            self._messages = on or (bool(self._msi) and bool(self._raw_config(self._msi + 2, 2) & 1))

    def _message_field(self, region: int, offset: int) -> int | None:
        """What to store instead in a field of a message: the word of its vector, no upper half, 1 as data."""
        bar, start = self._table
        if region == bar and 0 <= offset - start < 16 * self._vectors:
            vector, field = divmod(offset - start, 16)
            return {0: self._words.address + 4 * vector, 4: 0, 8: 1}.get(field)
        if region == CONFIG_REGION and self._msi:
            if offset == self._data:
                return 1
            return {self._msi + 4: self._words.address, self._msi + 8: 0}.get(offset)
        return None

    # -- memory -------------------------------------------------------------------------------------------------------

    def alloc(self, size: int, align: int = 4096) -> DmaBuffer:
        return self.arena.alloc(size, align)

    def free(self, buffer: DmaBuffer) -> None:
        self.arena.free(buffer)

    # -- interrupts ---------------------------------------------------------------------------------------------------

    def interrupts(self) -> int:
        self.machine.ask(f"readw {self._config:#x}")  # whatever was on its way is there when this is answered
        self._look()
        fired, self._signalled = self._signalled, 0
        return fired

    def _look(self) -> None:
        """Take in the messages that came, or the line when it went up."""
        if self._messages:
            mail = self._mail[: max(self._vectors, 1)]
            for vector, word in enumerate(mail.tolist()):
                if word:
                    mail[vector] = 0
                    self._signalled |= 1 << vector
            self._line = False
        else:
            up = bool(self._raw_config(STATUS, 2) & STATUS_INTX)
            up = up and not self._raw_config(COMMAND, 2) & CMD_INTX_DISABLE
            self._signalled |= int(up and not self._line)
            self._line = up

    def until(self, done: Callable[[], bool], timeout_s: float = PATIENCE_S) -> bool:
        """Real time; but QEMU has then answered `ROUNDS` times, and looked at all its descriptors as often."""
        end, rounds = time.monotonic() + min(timeout_s, PATIENCE_S), 0
        while not done():
            if rounds >= ROUNDS and time.monotonic() >= end:
                return False
            self.machine.ask(f"readw {self._config:#x}")
            rounds += 1
        return True

    # -- the end ------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """The whole machine is reset, as QEMU has no other way; then it is as firmware leaves it."""
        self.machine.monitor("system_reset")
        self.machine.event("RESET")
        self._told.clear()
        self._bars.clear()
        self._words.view[:] = bytes(4 * SLOTS)
        self._line = self._messages = False
        self._map_config()
        self._place_bars()
        self._signalled = 0

    def close(self) -> None:
        self._mail.release()
        self.machine.close()
        self.arena.close()


@contextmanager
def qtest_port(
    command: Sequence[str],
    words: Sequence[str],
    *,
    slot: int,
    memory: int,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
) -> Iterator[QtestPort]:
    """A QEMU that `command` and `words` start, and the port of its function in `slot`, with `memory` bytes to lend.

    One that is silent for `timeout_s` is given up. Raises `ConfigError` when it does not start.
    """
    with ExitStack() as stack:
        arena = Arena(memory + RESERVED, 0)
        stack.callback(arena.close)
        machine = QtestMachine(command, words, arena.block, env=env, timeout_s=timeout_s)
        stack.callback(machine.close)
        yield QtestPort(machine, arena, slot)
