"""Whether VMMs can use what a device says of itself: asked once, before anybody can connect (rule VFU-S-049)."""

from collections.abc import Callable

from pvdev.device import Device
from pvdev.errors import ConfigError
from pvdev.pci import CAP_MSIX, Bar


def check_device(device: Device) -> None:
    """Whether VMMs can use what the device says of itself (VFU-S-049). Raises `ConfigError`."""

    def refuse(what: str) -> ConfigError:
        return ConfigError(f"{device.name} cannot be served: {what}")

    pci = device.pci
    if pci.config.size not in (256, 4096):
        raise refuse(f"config space of {pci.config.size} bytes, not 256 or 4096")
    if not 0 <= pci.identity.pin <= 4:
        raise refuse(f"interrupt pin {pci.identity.pin}, not 0 to 4")
    for index, bar in pci.bars.items():
        if not 0 <= index <= 5:
            raise refuse(f"a BAR with index {index}, not 0 to 5")
        if bar.size < (4 if bar.io else 16) or bar.size & bar.size - 1:
            raise refuse(f"BAR {index} has {bar.size:#x} bytes, not a power of two of at least 16 (4 for ports)")
        _check_areas(index, bar, refuse)
    if CAP_MSIX in pci.config.caps:
        _check_msix(device, refuse)


def _check_areas(index: int, bar: Bar, refuse: Callable[[str], ConfigError]) -> None:
    if bar.shared is None:
        if bar.areas:
            raise refuse(f"BAR {index} has mappable areas and no shared memory behind them")
        return
    if bar.io:
        raise refuse(f"BAR {index} is I/O ports: they cannot be mapped")
    end = 0
    for at, size in sorted(bar.areas or ((0, bar.size),)):
        if at % 4096 or size % 4096 or size <= 0 or at + size > bar.size:
            raise refuse(f"the mappable area {at:#x} + {size:#x} of BAR {index} is not whole pages inside it")
        if at < end:
            raise refuse(f"mappable areas of BAR {index} overlap at {at:#x}")
        end = at + size
    if end > bar.shared.size:
        raise refuse(f"the shared memory of BAR {index} has {bar.shared.size:#x} bytes, its areas end at {end:#x}")
    if 48 + 16 * len(bar.areas) > 4096:
        raise refuse(f"BAR {index} has {len(bar.areas)} mappable areas")


def _check_msix(device: Device, refuse: Callable[[str], ConfigError]) -> None:
    pci = device.pci
    at = pci.config.caps[CAP_MSIX]
    vectors = (pci.config.word(at + 2) & 0x7FF) + 1
    if vectors != pci.irq.vectors:
        raise refuse(f"its MSI-X capability has {vectors} vectors, its interrupts {pci.irq.vectors}")
    for name, field, size in (("table", 4, 16 * vectors), ("pending bits", 8, (vectors + 63) // 64 * 8)):
        word = pci.config.read(at + field, 4)
        bar, offset = pci.bars.get(word & 7), word & ~7
        if bar is None or bar.io or offset + size > bar.size:
            raise refuse(f"the MSI-X {name} at {offset:#x} of BAR {word & 7} is not inside a memory BAR")
        areas = bar.areas or (((0, bar.size),) if bar.shared is not None else ())
        if any(lo < offset + size and offset < lo + length for lo, length in areas):
            raise refuse(f"the MSI-X {name} at {offset:#x} of BAR {word & 7} is inside a mappable area")
