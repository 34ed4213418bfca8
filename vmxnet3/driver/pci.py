"""The reference driver's PCI side: ids, BARs, the capability walk, and switching interrupts on.

Ref: PCI Local Bus 3.0 §6.2.5 (BAR sizing), §6.8 (MSI, MSI-X); PCI Bus Power Management 1.2 §3.2.4; Linux drivers/pci/.
"""

from dataclasses import dataclass

from pvdev.device import Port
from pvdev.errors import ConfigError
from vmxnet3 import wire

CONFIG = 7  # Port's number for config space
_COMMAND, _STATUS, _BARS, _CAPS = 0x04, 0x06, 0x10, 0x34
_MEMORY, _MASTER = 2, 4
_D3_HOT, _PME_ENABLE, _PME_STATUS = 3, 0x100, 0x8000  # PMCSR; the status bit is cleared by writing it
CAP_PM, CAP_MSI, CAP_PCIE, CAP_MSIX = 0x01, 0x05, 0x10, 0x11
EXT_DSN = 3
BAR_BASE, _BAR_STEP = 0xF000_0000, 0x10_0000  # where BARs are placed; any free address would do
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
    caps: dict[int, int]
    ext_caps: dict[int, int]
    msix_vectors: int
    msix_table: tuple[int, int]  # BAR, offset
    msix_pba: tuple[int, int]


def probe_pci(port: Port) -> PciFacts:
    """Read the header, size and place the BARs, walk both capability lists, switch on memory and bus mastering.

    Raises `ConfigError` for a device that is no VMXNET3 or cannot be driven.
    """
    vendor, device = port.read(CONFIG, 0, 2), port.read(CONFIG, 2, 2)
    if (vendor, device) != (wire.VENDOR_ID, wire.DEVICE_ID):
        raise ConfigError(f"no VMXNET3: the device says {vendor:04x}:{device:04x}")
    command = port.read(CONFIG, _COMMAND, 2)
    port.write(CONFIG, _COMMAND, command & ~(_MEMORY | 1), 2)
    sizes, flags, free = {}, {}, BAR_BASE
    for bar in range(6):
        at = _BARS + 4 * bar
        port.write(CONFIG, at, 0xFFFF_FFFF)
        answer = port.read(CONFIG, at)
        if answer:
            kind = answer & (3 if answer & 1 else 15)
            sizes[bar], flags[bar] = (~(answer & ~15) & 0xFFFF_FFFF) + 1, kind
            step = max(sizes[bar], _BAR_STEP)
            free = -(-free // step) * step
            port.write(CONFIG, at, free)
            free += step
        else:
            port.write(CONFIG, at, 0)
    port.write(CONFIG, _COMMAND, command | _MEMORY | _MASTER, 2)
    caps = _walk(port)
    ext = _walk_extended(port) if CAP_PCIE in caps else {}
    at = caps.get(CAP_MSIX, 0)
    control, table, pba = (port.read(CONFIG, at + 2, 2), port.read(CONFIG, at + 4), port.read(CONFIG, at + 8))
    facts = PciFacts(
        ids=(vendor, device, port.read(CONFIG, 0x2C, 2), port.read(CONFIG, 0x2E, 2)),
        class_code=port.read(CONFIG, 0x08) >> 8,
        revision=port.read(CONFIG, 0x08, 1),
        pin=port.read(CONFIG, 0x3D, 1),
        bars=sizes,
        bar_flags=flags,
        caps=caps,
        ext_caps=ext,
        msix_vectors=(control & 0x7FF) + 1 if at else 0,
        msix_table=(table & 7, table & ~7),
        msix_pba=(pba & 7, pba & ~7),
    )
    for bar in (wire.BAR_PT, wire.BAR_VD):
        if sizes.get(bar, 0) < wire.PAGE or flags[bar] & 1:
            raise ConfigError(f"BAR{bar} is not a page of memory: {sizes.get(bar, 0)} bytes")
    return facts


def _walk(port: Port) -> dict[int, int]:
    caps: dict[int, int] = {}
    if not port.read(CONFIG, _STATUS, 2) & 0x10:
        return caps
    at = port.read(CONFIG, _CAPS, 1) & ~3
    while at:
        if len(caps) > 48:
            raise ConfigError("the capability list has no end")
        caps[port.read(CONFIG, at, 1)] = at
        at = port.read(CONFIG, at + 1, 1) & ~3
    return caps


def _walk_extended(port: Port) -> dict[int, int]:
    caps: dict[int, int] = {}
    at = 0x100
    while at and len(caps) < 100:
        head = port.read(CONFIG, at)
        if head in (0, 0xFFFF_FFFF):
            break
        caps[head & 0xFFFF] = at
        at = head >> 20 & ~3
    return caps


def set_interrupts(port: Port, facts: PciFacts, kind: str, vectors: int) -> None:
    """Switch to `kind` ("msix", "msi" or "intx"); with MSI-X the first `vectors` entries are unmasked, the rest masked.

    Raises `ConfigError` for a kind the device has no capability for.
    """
    msi, msix = facts.caps.get(CAP_MSI, 0), facts.caps.get(CAP_MSIX, 0)
    if (kind == "msix" and not msix) or (kind == "msi" and not msi):
        raise ConfigError(f"the device has no {kind}")
    if msix and kind != "msix":
        port.write(CONFIG, msix + 2, 0, 2)
    if msi and kind != "msi":
        port.write(CONFIG, msi + 2, port.read(CONFIG, msi + 2, 2) & ~1, 2)
    command = port.read(CONFIG, _COMMAND, 2) & ~0x400
    port.write(CONFIG, _COMMAND, command | (0x400 if kind != "intx" else 0), 2)
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
    words = -(-facts.msix_vectors // 32)
    return sum(port.read(bar, at + 4 * n) << 32 * n for n in range(words))


def suspend(port: Port, facts: PciFacts, wake: bool) -> None:
    """Allow PME if `wake`, end bus mastering, go to D3hot. Raises `ConfigError` without the capability."""
    at = _pmcsr(facts)
    port.write(CONFIG, at, _PME_STATUS | (_PME_ENABLE if wake else 0), 2)
    port.write(CONFIG, _COMMAND, port.read(CONFIG, _COMMAND, 2) & ~_MASTER, 2)
    port.write(CONFIG, at, port.read(CONFIG, at, 2) & ~(_PME_STATUS | 3) | _D3_HOT, 2)


def resume(port: Port, facts: PciFacts) -> PciFacts:
    """Back to D0 with PME off, and config space set up anew: D3hot may have cost it."""
    port.write(CONFIG, _pmcsr(facts), _PME_STATUS, 2)
    return probe_pci(port)


def pme(port: Port, facts: PciFacts) -> bool:
    """Whether the device asks to be woken."""
    return bool(port.read(CONFIG, _pmcsr(facts), 2) & _PME_STATUS)


def _pmcsr(facts: PciFacts) -> int:
    if CAP_PM not in facts.caps:
        raise ConfigError("the device has no power management")
    return facts.caps[CAP_PM] + 4
