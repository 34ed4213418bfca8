"""A PCI function: config space with a real capability list, BARs, and the interrupts that hang on both.

Ref: PCI Local Bus 3.0 §6 (header, BAR sizing, MSI, MSI-X), PCI Power Management 1.2 §3, PCI Express Base 5.0 §7.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from pvdev.irq import ENTRY_SIZE, Interrupts, Mode
from pvdev.mem import SharedBlock

CONFIG_REGION = 7  # the region index config space has everywhere in VFIO

COMMAND, STATUS, CAP_POINTER, INT_LINE, INT_PIN = 0x04, 0x06, 0x34, 0x3C, 0x3D
CMD_IO, CMD_MEMORY, CMD_MASTER, CMD_INTX_DISABLE = 0x1, 0x2, 0x4, 0x400
STATUS_INTX, STATUS_CAP_LIST = 0x08, 0x10

CAP_PM, CAP_MSI, CAP_PCIE, CAP_MSIX = 0x01, 0x05, 0x10, 0x11
EXT_CAP_DSN = 0x0003
MSIX_ENABLE, MSIX_FUNCTION_MASK = 0x8000, 0x4000


class Handler(Protocol):
    """What answers accesses to a BAR. Offsets and sizes in bytes, sizes 1, 2, 4 or 8."""

    def read(self, offset: int, size: int) -> int: ...

    def write(self, offset: int, size: int, value: int) -> None: ...


@dataclass(frozen=True)
class Bar:
    """One base address register. `size` in bytes, a power of two; `wide`: 64 bits, it takes the next register too.

    `shared` with `areas` (offset, size; page multiples) is memory the other side may map; accesses that still come as
    messages go to the handler.
    """

    size: int
    handler: Handler
    io: bool = False
    prefetch: bool = False
    wide: bool = False
    shared: SharedBlock | None = None
    areas: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.size < (4 if self.io else 16) or self.size & self.size - 1:
            raise ValueError(f"a BAR of {self.size:#x} bytes: not a power of two of at least 16 (4 for ports)")
        if any(at % 4096 or size % 4096 or size <= 0 or at + size > self.size for at, size in self.areas):
            raise ValueError(f"mappable areas {self.areas} are not pages inside a BAR of {self.size:#x} bytes")


@dataclass
class Capability:
    """One entry of a capability list: `body` after the id and next bytes; `writable` masks the same bytes.

    `w1c` marks bits that are cleared by writing 1. `at` is its place in config space.
    """

    id: int
    at: int
    body: bytes
    writable: bytes = b""
    w1c: bytes = b""


def power_management(at: int, *, pme: int = 0x1F, d1: bool = True, d2: bool = True) -> Capability:
    """PM version 3. `pme`: bit per state D0, D1, D2, D3hot, D3cold from which PME can be raised."""
    pmc = 3 | d1 << 9 | d2 << 10 | pme << 11
    return Capability(
        CAP_PM, at, struct.pack("<HHH", pmc, 0, 0), struct.pack("<HHH", 0, 0x0103, 0), struct.pack("<HHH", 0, 0x8000, 0)
    )


def msi(at: int) -> Capability:
    """MSI, one vector, 64-bit address, no per-vector mask."""
    return Capability(
        CAP_MSI, at, struct.pack("<HIIH", 0x80, 0, 0, 0), struct.pack("<HIIH", 0x71, 0xFFFF_FFFC, 0xFFFF_FFFF, 0xFFFF)
    )


def msix(at: int, *, vectors: int, bar: int, table: int = 0, pba: int = 0x1000) -> Capability:
    """MSI-X: table and pending bits in BAR `bar` at these offsets (bytes)."""
    return Capability(
        CAP_MSIX,
        at,
        struct.pack("<HII", vectors - 1, table | bar, pba | bar),
        struct.pack("<H", MSIX_ENABLE | MSIX_FUNCTION_MASK),
    )


def pcie_endpoint(at: int, *, flr: bool = False) -> Capability:
    """PCI Express version 2 endpoint: payload 128, 5 GT/s x32 link; `flr`: with a function level reset."""
    link_caps, link_status = 32 << 4 | 2, 32 << 4 | 2
    body = struct.pack("<HIHHIHH", 2, flr << 28, 0, 0, link_caps, 0, link_status)
    writable = struct.pack("<HIHHIH", 0, 0, 0x7FFF, 0, 0, 0x0FFB)
    return Capability(CAP_PCIE, at, body.ljust(0x3A, b"\0"), writable)


def serial_number(number: int) -> Capability:
    """Device Serial Number, an extended capability: EUI-64 as one 64-bit number."""
    return Capability(EXT_CAP_DSN, 0x100, struct.pack("<Q", number))


@dataclass(frozen=True)
class Identity:
    """What the header says: ids, class code (24 bits), revision, INTx pin (0: none, 1: INTA)."""

    vendor: int
    device: int
    class_code: int
    revision: int = 0
    subsystem_vendor: int = 0
    subsystem: int = 0
    pin: int = 1


class ConfigSpace:
    """Config space as bytes with a writable mask and a write-1-to-clear mask; sizing of BARs included."""

    STATE: ClassVar[tuple[str, ...]] = ("data",)

    def __init__(self, identity: Identity, bars: dict[int, Bar], caps: list[Capability], size: int = 4096) -> None:
        self.size, self._bars = size, bars
        self.data, self._writable, self._w1c = bytearray(size), bytearray(size), bytearray(size)
        ident = identity
        struct.pack_into(
            "<HHHHBBBB",
            self.data,
            0,
            ident.vendor,
            ident.device,
            0,
            0,
            ident.revision,
            *ident.class_code.to_bytes(3, "little"),
        )
        struct.pack_into("<HH", self.data, 0x2C, ident.subsystem_vendor, ident.subsystem)
        self.data[INT_PIN] = ident.pin
        self._writable[INT_LINE] = 0xFF
        self._writable[0x0C] = 0xFF  # cache line size
        decode = CMD_MASTER | CMD_INTX_DISABLE | 0x140  # parity and SERR enables are kept, they do nothing
        for index, bar in bars.items():
            at = 0x10 + 4 * index
            self.data[at] = 1 if bar.io else 8 * bar.prefetch + 4 * bar.wide
            if bar.wide:
                struct.pack_into("<I", self._writable, at + 4, 0xFFFF_FFFF)
            mask = -bar.size & 0xFFFF_FFFF
            struct.pack_into("<I", self._writable, at, mask & (~3 if bar.io else ~15))
            decode |= CMD_IO if bar.io else CMD_MEMORY
        struct.pack_into("<H", self._writable, COMMAND, decode)
        self._link(caps)
        self._reset = bytes(self.data)

    def _link(self, caps: list[Capability]) -> None:
        self.caps: dict[int, int] = {}  # id of a plain capability -> its place
        pointer, ext = CAP_POINTER, -1
        for cap in caps:
            if cap.id == EXT_CAP_DSN and cap.at >= 0x100:
                head = cap.at + 4
                struct.pack_into("<I", self.data, cap.at, cap.id | 1 << 16)
                if ext >= 0:
                    self.data[ext + 2 : ext + 4] = struct.pack("<H", cap.at << 4 | 1)
                ext = cap.at
            else:
                head = cap.at + 2
                self.data[pointer], pointer = cap.at, cap.at + 1
                self.data[cap.at] = cap.id
                self.data[STATUS] |= STATUS_CAP_LIST
                self.caps[cap.id] = cap.at
            for target, source in ((self.data, cap.body), (self._writable, cap.writable), (self._w1c, cap.w1c)):
                target[head : head + len(source)] = source

    def reset(self) -> None:
        """As after a PCI reset: BARs and command cleared, capability controls off."""
        self.data[:] = self._reset

    def read(self, offset: int, size: int) -> int:
        return int.from_bytes(self.data[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """Read-only bits keep their value, silently, as on hardware."""
        end = min(offset + size, self.size)
        for at, new in zip(range(offset, end), value.to_bytes(size, "little"), strict=False):
            writable = self._writable[at]
            kept = self.data[at] & ~writable & ~(new & self._w1c[at])
            self.data[at] = kept | new & writable

    def word(self, offset: int) -> int:
        return self.data[offset] | self.data[offset + 1] << 8


class MsixBar:
    """The BAR that shows the MSI-X table at 0 and the pending bits at `pba` (bytes).

    `rewritten(vector)` hears of an address or data written to a vector in use: enabled, and not masked.
    """

    def __init__(self, irq: Interrupts, pba: int, rewritten: Callable[[int], None] | None = None) -> None:
        self._irq, self._pba, self._rewritten = irq, pba, rewritten
        self._table_end = ENTRY_SIZE * irq.vectors

    def read(self, offset: int, size: int) -> int:
        if offset + size <= self._table_end:
            return self._irq.read_table(offset, size)
        return self._irq.read_pba(offset - self._pba, size) if offset >= self._pba else 0

    def write(self, offset: int, size: int, value: int) -> None:
        if offset + size <= self._table_end:
            irq, (vector, at) = self._irq, divmod(offset, ENTRY_SIZE)
            if self._rewritten is not None and at < 12 and irq.mode is Mode.MSIX and not irq.masked(vector):
                self._rewritten(vector)
            irq.write_table(offset, size, value)


@dataclass
class PciFunction:
    """Config space, BARs and interrupts of one device, and the one place where an access finds its handler."""

    identity: Identity
    bars: dict[int, Bar]
    caps: list[Capability]
    irq: Interrupts
    config_size: int = 4096
    on_command: Callable[[int], None] | None = None  # hears the new command register
    on_power: Callable[[int], None] | None = None  # hears the new power state, 0 to 3
    on_reset: Callable[[], None] | None = None  # does a function level reset
    config: ConfigSpace = field(init=False)

    def __post_init__(self) -> None:
        self.config = ConfigSpace(self.identity, self.bars, self.caps, self.config_size)

    def region_size(self, region: int) -> int:
        """Size in bytes of BAR `region` or of config space; 0: there is none."""
        if region == CONFIG_REGION:
            return self.config.size
        bar = self.bars.get(region)
        return bar.size if bar is not None else 0

    def read(self, region: int, offset: int, size: int) -> int:
        """`size` bytes (1, 2, 4, 8) at `offset` of a BAR or config space, as a number. The caller checks the range."""
        if region != CONFIG_REGION:
            return self.bars[region].handler.read(offset, size)
        if self.irq.line and self.irq.mode is Mode.INTX and offset <= STATUS < offset + size:
            return self.config.read(offset, size) | STATUS_INTX << 8 * (STATUS - offset)
        return self.config.read(offset, size)

    def write(self, region: int, offset: int, size: int, value: int) -> None:
        """The write is done when this returns."""
        if region != CONFIG_REGION:
            self.bars[region].handler.write(offset, size, value)
            return
        if self.on_reset is not None and self._asks_for_reset(offset, size, value):
            self.on_reset()
            return
        before, state = self.config.word(COMMAND), self.power_state
        self.config.write(offset, size, value)
        self._follow()
        command = self.config.word(COMMAND)
        if command != before and self.on_command is not None:
            self.on_command(command)
        if self.power_state != state and self.on_power is not None:
            self.on_power(self.power_state)

    def _asks_for_reset(self, offset: int, size: int, value: int) -> bool:
        """Whether this write sets Initiate Function Level Reset, bit 15 of PCI Express Device Control."""
        at = self.config.caps.get(CAP_PCIE, -10) + 9
        return offset <= at < offset + size and bool(value >> 8 * (at - offset) & 0x80)

    def _follow(self) -> None:
        config, caps = self.config, self.config.caps
        self.irq.disable_intx(bool(config.word(COMMAND) & CMD_INTX_DISABLE))
        mode, masked = Mode.INTX, False
        if CAP_MSIX in caps and (control := config.word(caps[CAP_MSIX] + 2)) & MSIX_ENABLE:
            mode, masked = Mode.MSIX, bool(control & MSIX_FUNCTION_MASK)
        elif CAP_MSI in caps and config.word(caps[CAP_MSI] + 2) & 1:
            mode = Mode.MSI
        self.irq.set_mode(mode, function_masked=masked)

    @property
    def bus_master(self) -> bool:
        return bool(self.config.word(COMMAND) & CMD_MASTER)

    @property
    def memory_enabled(self) -> bool:
        return bool(self.config.word(COMMAND) & CMD_MEMORY)

    @property
    def power_state(self) -> int:
        """0 (D0) to 3 (D3hot)."""
        at = self.config.caps.get(CAP_PM)
        return self.config.data[at + 4] & 3 if at is not None else 0

    def raise_pme(self) -> bool:
        """Set PME_Status; True when PME_En lets it out."""
        at = self.config.caps.get(CAP_PM)
        if at is None:
            return False
        self.config.data[at + 5] |= 0x80
        return bool(self.config.data[at + 5] & 1)

    def reset(self) -> None:
        self.config.reset()
        self.irq.reset()
