"""What a driver does to any PCI function: ids, BARs, the capability walk, interrupts, power. The other side of `pci`.

Ref: PCI Local Bus 3.0 §6.2.5 (BAR sizing), §6.8 (MSI, MSI-X); PCI Bus Power Management 1.2 §3.2.4; Linux drivers/pci/.
"""

from dataclasses import dataclass

from pvdev.device import Port
from pvdev.errors import ConfigError
from pvdev.pci import (
    CAP_MSI,
    CAP_MSIX,
    CAP_PCIE,
    CAP_PM,
    CAP_POINTER,
    CMD_INTX_DISABLE,
    CMD_IO,
    CMD_MASTER,
    CMD_MEMORY,
    COMMAND,
    CONFIG_REGION,
    INT_PIN,
    MSIX_ENABLE,
    STATUS,
    STATUS_CAP_LIST,
    STATUS_INTX,
)

BAR_BASE = 0xF000_0000  # where memory BARs are placed; any free address would do
_BARS, _BAR_STEP, _IO_BASE, _IO_STEP = 0x10, 0x10_0000, 0xC000, 0x100
_MESSAGE = 0xFEE0_0000  # the local APIC's message address
_D3_HOT, _PME_ENABLE, _PME_STATUS = 3, 0x100, 0x8000  # PMCSR; the status bit is cleared by writing it
_CAPS_MAX, _EXT_CAPS_MAX = 48, 100  # as many as have room


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
    msi_control: int
    msix_vectors: int
    msix_table: tuple[int, int]  # BAR, offset
    msix_pba: tuple[int, int]

    def memory_bars(self, least: int) -> list[int]:
        """The memory BARs of at least so many bytes."""
        return [bar for bar, size in self.bars.items() if not self.bar_flags[bar] & 1 and size >= least]

    def io_bars(self) -> list[int]:
        return [bar for bar, flags in self.bar_flags.items() if flags & 1]


def expect(port: Port, name: str, vendor: int, device: int) -> None:
    """Look at the ids, before anything else is touched. Raises `ConfigError` for another device."""
    found = port.read(CONFIG_REGION, 0, 2), port.read(CONFIG_REGION, 2, 2)
    if found != (vendor, device):
        raise ConfigError(f"no {name}: the device says {found[0]:04x}:{found[1]:04x}")


def probe(port: Port, *, place: bool = True) -> PciFacts:
    """Read the header, size the BARs, walk both capability lists.

    `place`: give each BAR an address, and switch decoding and bus mastering on; else all stays as it was. Raises
    `ConfigError` for a list without end.
    """
    config = CONFIG_REGION
    command = port.read(config, COMMAND, 2)
    port.write(config, COMMAND, command & ~(CMD_MEMORY | CMD_IO), 2)
    sizes, flags = _size_bars(port, place=place)
    on = CMD_MASTER | CMD_MEMORY | (CMD_IO if any(kind & 1 for kind in flags.values()) else 0)
    port.write(config, COMMAND, command | on if place else command, 2)
    caps = _walk(port)
    at = caps.get(CAP_MSIX, 0)
    control, table, pba = (port.read(config, at + 2, 2), port.read(config, at + 4), port.read(config, at + 8))
    return PciFacts(
        ids=(port.read(config, 0, 2), port.read(config, 2, 2), port.read(config, 0x2C, 2), port.read(config, 0x2E, 2)),
        class_code=port.read(config, 0x08) >> 8,
        revision=port.read(config, 0x08, 1),
        pin=port.read(config, INT_PIN, 1),
        bars=sizes,
        bar_flags=flags,
        caps=caps,
        ext_caps=_walk_extended(port) if CAP_PCIE in caps else {},
        msi_control=port.read(config, caps[CAP_MSI] + 2, 2) if CAP_MSI in caps else 0,
        msix_vectors=(control & 0x7FF) + 1 if at else 0,
        msix_table=(table & 7, table & ~7),
        msix_pba=(pba & 7, pba & ~7),
    )


def _size_bars(port: Port, *, place: bool) -> tuple[dict[int, int], dict[int, int]]:
    """Bytes and type bits of each BAR; each keeps its address, or gets one."""
    sizes: dict[int, int] = {}
    flags: dict[int, int] = {}
    free, bar = BAR_BASE, 0
    while bar < 6:
        at = _BARS + 4 * bar
        where = port.read(CONFIG_REGION, at)
        port.write(CONFIG_REGION, at, 0xFFFF_FFFF)
        answer = port.read(CONFIG_REGION, at)
        wide = answer & 7 == 4
        if answer & 1:
            sizes[bar], flags[bar] = (~(answer & ~3) & 0xFFFF) + 1, answer & 3
            where = _IO_BASE + _IO_STEP * bar if place else where
        elif answer:
            sizes[bar], flags[bar] = (~(answer & ~15) & 0xFFFF_FFFF) + 1, answer & 15
            if place:
                step = max(sizes[bar], _BAR_STEP)
                where = -(-free // step) * step
                free = where + step
        port.write(CONFIG_REGION, at, where)
        if wide and place:
            port.write(CONFIG_REGION, at + 4, 0)
        bar += 2 if wide else 1
    return sizes, flags


def _walk(port: Port) -> dict[int, int]:
    caps: dict[int, int] = {}
    if not port.read(CONFIG_REGION, STATUS, 2) & STATUS_CAP_LIST:
        return caps
    at = port.read(CONFIG_REGION, CAP_POINTER, 1) & ~3
    for _ in range(_CAPS_MAX):
        if not at:
            return caps
        caps[port.read(CONFIG_REGION, at, 1)] = at
        at = port.read(CONFIG_REGION, at + 1, 1) & ~3
    raise ConfigError("the capability list has no end")


def _walk_extended(port: Port) -> dict[int, int]:
    caps: dict[int, int] = {}
    at = 0x100
    while at and len(caps) < _EXT_CAPS_MAX:
        head = port.read(CONFIG_REGION, at)
        if head in (0, 0xFFFF_FFFF):
            break
        caps[head & 0xFFFF] = at
        at = head >> 20 & ~3
    return caps


# -- single bits -------------------------------------------------------------------------------------------------------


def _command(port: Port, bit: int, on: bool) -> None:
    command = port.read(CONFIG_REGION, COMMAND, 2)
    port.write(CONFIG_REGION, COMMAND, command | bit if on else command & ~bit, 2)


def set_master(port: Port, on: bool) -> None:
    """Bus mastering."""
    _command(port, CMD_MASTER, on)


def disable_intx(port: Port, off: bool) -> None:
    """The command register's interrupt disable bit."""
    _command(port, CMD_INTX_DISABLE, off)


def line_up(port: Port) -> bool:
    """The status register's interrupt bit: what INTx says before the disable bit has its say."""
    return bool(port.read(CONFIG_REGION, STATUS, 2) & STATUS_INTX)


# -- interrupts --------------------------------------------------------------------------------------------------------


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
        port.write(CONFIG_REGION, msix + 2, 0, 2)
    if msi and kind != "msi":
        port.write(CONFIG_REGION, msi + 2, port.read(CONFIG_REGION, msi + 2, 2) & ~1, 2)
    disable_intx(port, kind != "intx")
    if kind == "msi":
        _use_msi(port, msi)
    elif kind == "msix":
        bar, table = facts.msix_table
        for vector in range(facts.msix_vectors):
            at = table + 16 * vector
            port.write(bar, at + 12, 1)  # masked while its message changes
            port.write(bar, at, _MESSAGE)
            port.write(bar, at + 4, 0)
            port.write(bar, at + 8, 0x40 + vector)
            port.write(bar, at + 12, int(vector >= vectors))
        port.write(CONFIG_REGION, msix + 2, MSIX_ENABLE, 2)


def _use_msi(port: Port, at: int) -> None:
    control = port.read(CONFIG_REGION, at + 2, 2)
    port.write(CONFIG_REGION, at + 4, _MESSAGE)
    if control & 0x80:  # 64 bits of address
        port.write(CONFIG_REGION, at + 8, 0)
    port.write(CONFIG_REGION, at + (12 if control & 0x80 else 8), 0x30, 2)
    port.write(CONFIG_REGION, at + 2, control | 1, 2)


def mask_vector(port: Port, facts: PciFacts, vector: int, masked: bool) -> None:
    """The mask bit of one MSI-X table entry."""
    bar, table = facts.msix_table
    port.write(bar, table + 16 * vector + 12, int(masked))


def pending(port: Port, facts: PciFacts) -> int:
    """The pending bit array, a bit per vector."""
    bar, at = facts.msix_pba
    return sum(port.read(bar, at + 4 * n) << 32 * n for n in range(-(-facts.msix_vectors // 32)))


# -- power -------------------------------------------------------------------------------------------------------------


def suspend(port: Port, facts: PciFacts, wake: bool) -> None:
    """Allow PME if `wake`, end bus mastering, go to D3hot. Raises `ConfigError` without the capability."""
    at = _pmcsr(facts)
    port.write(CONFIG_REGION, at, _PME_STATUS | (_PME_ENABLE if wake else 0), 2)
    set_master(port, False)
    port.write(CONFIG_REGION, at, port.read(CONFIG_REGION, at, 2) & ~(_PME_STATUS | 3) | _D3_HOT, 2)


def wake_up(port: Port, facts: PciFacts) -> None:
    """Back to D0 with PME off. D3hot may have cost the rest of config space: it is to be probed anew."""
    port.write(CONFIG_REGION, _pmcsr(facts), _PME_STATUS, 2)


def pme(port: Port, facts: PciFacts) -> bool:
    """Whether the device asks to be woken."""
    return bool(port.read(CONFIG_REGION, _pmcsr(facts), 2) & _PME_STATUS)


def _pmcsr(facts: PciFacts) -> int:
    if CAP_PM not in facts.caps:
        raise ConfigError("the device has no power management")
    return facts.caps[CAP_PM] + 4
