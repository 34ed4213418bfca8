"""The reference driver's PCI side: ids, BARs, the capability walk, and switching interrupts on.

Ref: PCI Local Bus 3.0 §6.2.5 (BAR sizing), §6.8 (MSI, MSI-X); Linux drivers/pci/, vmw_pvscsi.c (which BAR is taken).
"""

from dataclasses import dataclass

from pvdev.device import Port
from pvdev.errors import ConfigError
from pvscsi import wire

CONFIG = 7  # Port's number for config space
_COMMAND, _STATUS, _BARS, _CAPS = 0x04, 0x06, 0x10, 0x34
_IO, _MEMORY, _MASTER, _NO_INTX = 1, 2, 4, 0x400
CAP_PM, CAP_MSI, CAP_PCIE, CAP_MSIX = 0x01, 0x05, 0x10, 0x11
BAR_BASE, _BAR_STEP = 0xF000_0000, 0x10_0000  # where memory BARs are placed; any free address would do
_IO_BASE = 0xC000
_MESSAGE = 0xFEE0_0000  # the local APIC's message address


@dataclass(frozen=True)
class PciFacts:
    """What config space said. `bars` and `bar_flags` by BAR number (bytes, low type bits); `caps` id -> offset."""

    ids: tuple[int, int, int, int]  # vendor, device, subsystem vendor, subsystem
    class_code: int
    revision: int
    pin: int
    bars: dict[int, int]
    bar_flags: dict[int, int]
    registers: int  # the BAR the registers are in
    window: int | None  # the I/O BAR that leads to the same registers
    caps: dict[int, int]
    msi_control: int
    msix_vectors: int
    msix_table: tuple[int, int]  # BAR, offset
    msix_pba: tuple[int, int]


def probe_pci(port: Port) -> PciFacts:
    """Read the header, size and place the BARs, walk the capabilities, switch on decoding and bus mastering.

    Raises `ConfigError` for a device that is no PVSCSI or cannot be driven.
    """
    vendor, device = port.read(CONFIG, 0, 2), port.read(CONFIG, 2, 2)
    if (vendor, device) != (wire.VENDOR_ID, wire.DEVICE_ID):
        raise ConfigError(f"no PVSCSI: the device says {vendor:04x}:{device:04x}")
    command = port.read(CONFIG, _COMMAND, 2)
    port.write(CONFIG, _COMMAND, command & ~(_MEMORY | _IO), 2)
    sizes, flags = _place_bars(port)
    port.write(CONFIG, _COMMAND, command | _IO | _MEMORY | _MASTER, 2)
    fits = [bar for bar, size in sizes.items() if not flags[bar] & 1 and size >= wire.BAR_SIZE]
    if not fits:
        raise ConfigError(f"no memory BAR holds the registers: {sizes}")
    windows = [bar for bar in sizes if flags[bar] & 1]
    caps = _walk(port)
    at = caps.get(CAP_MSIX, 0)
    control, table, pba = (port.read(CONFIG, at + 2, 2), port.read(CONFIG, at + 4), port.read(CONFIG, at + 8))
    return PciFacts(
        ids=(vendor, device, port.read(CONFIG, 0x2C, 2), port.read(CONFIG, 0x2E, 2)),
        class_code=port.read(CONFIG, 0x08) >> 8,
        revision=port.read(CONFIG, 0x08, 1),
        pin=port.read(CONFIG, 0x3D, 1),
        bars=sizes,
        bar_flags=flags,
        registers=fits[0],
        window=windows[0] if windows else None,
        caps=caps,
        msi_control=port.read(CONFIG, caps[CAP_MSI] + 2, 2) if CAP_MSI in caps else 0,
        msix_vectors=(control & 0x7FF) + 1 if at else 0,
        msix_table=(table & 7, table & ~7),
        msix_pba=(pba & 7, pba & ~7),
    )


def _place_bars(port: Port) -> tuple[dict[int, int], dict[int, int]]:
    """Bytes and type bits of each BAR; each gets an address."""
    sizes: dict[int, int] = {}
    flags: dict[int, int] = {}
    free, bar = BAR_BASE, 0
    while bar < 6:
        at = _BARS + 4 * bar
        port.write(CONFIG, at, 0xFFFF_FFFF)
        answer = port.read(CONFIG, at)
        wide = answer & 7 == 4
        if not answer:
            port.write(CONFIG, at, 0)
        elif answer & 1:
            sizes[bar], flags[bar] = (~(answer & ~3) & 0xFFFF) + 1, answer & 3
            port.write(CONFIG, at, _IO_BASE + 0x100 * bar)
        else:
            sizes[bar], flags[bar] = (~(answer & ~15) & 0xFFFF_FFFF) + 1, answer & 15
            step = max(sizes[bar], _BAR_STEP)
            free = -(-free // step) * step
            port.write(CONFIG, at, free)
            if wide:
                port.write(CONFIG, at + 4, 0)
            free += step
        bar += 2 if wide else 1
    return sizes, flags


def _walk(port: Port) -> dict[int, int]:
    caps: dict[int, int] = {}
    if not port.read(CONFIG, _STATUS, 2) & 0x10:
        return caps
    at = port.read(CONFIG, _CAPS, 1) & ~3
    for _ in range(48):  # as many as fit 256 bytes
        if not at:
            return caps
        caps[port.read(CONFIG, at, 1)] = at
        at = port.read(CONFIG, at + 1, 1) & ~3
    raise ConfigError("the capability list has no end")


def set_master(port: Port, on: bool) -> None:
    """Bus mastering."""
    command = port.read(CONFIG, _COMMAND, 2)
    port.write(CONFIG, _COMMAND, command | _MASTER if on else command & ~_MASTER, 2)


def disable_intx(port: Port, off: bool) -> None:
    """The command register's interrupt disable bit."""
    command = port.read(CONFIG, _COMMAND, 2)
    port.write(CONFIG, _COMMAND, command | _NO_INTX if off else command & ~_NO_INTX, 2)


def line_up(port: Port) -> bool:
    """The status register's interrupt bit: what INTx says before the disable bit has its say."""
    return bool(port.read(CONFIG, _STATUS, 2) & 8)


def best_interrupts(facts: PciFacts, wanted: str) -> str:
    """The best kind there is, from `wanted` ("msix", "msi", "intx") downwards."""
    if wanted == "msix" and CAP_MSIX in facts.caps:
        return "msix"
    return "msi" if wanted != "intx" and CAP_MSI in facts.caps else "intx"


def set_interrupts(port: Port, facts: PciFacts, kind: str, vectors: int = 1) -> None:
    """Switch to `kind`; with MSI-X the first `vectors` entries are unmasked, the rest masked.

    Raises `ConfigError` for a kind the device has no capability for.
    """
    msi, msix = facts.caps.get(CAP_MSI, 0), facts.caps.get(CAP_MSIX, 0)
    if (kind == "msix" and not msix) or (kind == "msi" and not msi):
        raise ConfigError(f"the device has no {kind}")
    if msix and kind != "msix":
        port.write(CONFIG, msix + 2, 0, 2)
    if msi and kind != "msi":
        port.write(CONFIG, msi + 2, port.read(CONFIG, msi + 2, 2) & ~1, 2)
    disable_intx(port, kind != "intx")
    if kind == "msi":
        port.write(CONFIG, msi + 4, _MESSAGE)
        port.write(CONFIG, msi + 8, 0)
        port.write(CONFIG, msi + 12, 0x30, 2)
        port.write(CONFIG, msi + 2, port.read(CONFIG, msi + 2, 2) | 1, 2)
    elif kind == "msix":
        bar, table = facts.msix_table
        for vector in range(facts.msix_vectors):
            at = table + 16 * vector
            port.write(bar, at + 12, 1)  # masked while its message changes
            port.write(bar, at, _MESSAGE)
            port.write(bar, at + 4, 0)
            port.write(bar, at + 8, 0x40 + vector)
            port.write(bar, at + 12, int(vector >= vectors))
        port.write(CONFIG, msix + 2, 0x8000, 2)


def mask_vector(port: Port, facts: PciFacts, vector: int, masked: bool) -> None:
    """The mask bit of one MSI-X table entry."""
    bar, table = facts.msix_table
    port.write(bar, table + 16 * vector + 12, int(masked))


def pending(port: Port, facts: PciFacts) -> int:
    """The pending bit array, a bit per vector."""
    bar, at = facts.msix_pba
    return port.read(bar, at)
