"""The reference driver's PCI side: ids, BARs, the capability walk, and switching interrupts on.

Ref: PCI Local Bus 3.0 §6.2.5 (BAR sizing), §6.8 (MSI); Linux drivers/pci/.
"""

from dataclasses import dataclass

from pvdev.device import Port
from pvdev.pci import (
    CAP_MSI,
    CAP_POINTER,
    CMD_INTX_DISABLE,
    CMD_MASTER,
    COMMAND,
    CONFIG_REGION,
    INT_PIN,
    STATUS,
    STATUS_CAP_LIST,
    STATUS_INTX,
)
from svga.driver.front import DeviceBroke

_BARS = 0x10
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


def probe_pci(port: Port) -> PciFacts:
    """Read the header, size the BARs (they keep their places), walk the capabilities. Raises `DeviceBroke`."""
    config = CONFIG_REGION
    command = port.read(config, COMMAND, 2)
    port.write(config, COMMAND, 0, 2)
    sizes: dict[int, int] = {}
    flags: dict[int, int] = {}
    for bar in range(6):
        at = _BARS + 4 * bar
        before = port.read(config, at)
        port.write(config, at, 0xFFFF_FFFF)
        answer = port.read(config, at)
        port.write(config, at, before)
        if answer:
            keep = 3 if answer & 1 else 15
            sizes[bar], flags[bar] = -(answer & ~keep) & 0xFFFF_FFFF, answer & keep
            if answer & 1:
                sizes[bar] &= 0xFFFF
    port.write(config, COMMAND, command, 2)
    return PciFacts(
        ids=(port.read(config, 0, 2), port.read(config, 2, 2), port.read(config, 0x2C, 2), port.read(config, 0x2E, 2)),
        class_code=port.read(config, 0x08) >> 8,
        revision=port.read(config, 0x08, 1),
        pin=port.read(config, INT_PIN, 1),
        bars=sizes,
        bar_flags=flags,
        caps=_walk(port),
    )


def _walk(port: Port) -> dict[int, int]:
    caps: dict[int, int] = {}
    if not port.read(CONFIG_REGION, STATUS, 2) & STATUS_CAP_LIST:
        return caps
    at = port.read(CONFIG_REGION, CAP_POINTER, 1) & ~3
    for _ in range(48):  # as many as fit 256 bytes
        if not at:
            return caps
        caps[port.read(CONFIG_REGION, at, 1)] = at
        at = port.read(CONFIG_REGION, at + 1, 1) & ~3
    raise DeviceBroke("the capability list has no end")


def set_master(port: Port, on: bool) -> None:
    """Bus mastering."""
    command = port.read(CONFIG_REGION, COMMAND, 2)
    port.write(CONFIG_REGION, COMMAND, command | CMD_MASTER if on else command & ~CMD_MASTER, 2)


def line_up(port: Port) -> bool:
    """The status register's interrupt bit: what INTx says before the disable bit has its say."""
    return bool(port.read(CONFIG_REGION, STATUS, 2) & STATUS_INTX)


def use_msi(port: Port, facts: PciFacts) -> None:
    """Messages instead of the line. The device has the capability."""
    at, config = facts.caps[CAP_MSI], CONFIG_REGION
    port.write(config, COMMAND, port.read(config, COMMAND, 2) | CMD_INTX_DISABLE, 2)
    port.write(config, at + 4, _MESSAGE)
    wide = port.read(config, at + 2, 2) & 0x80
    if wide:
        port.write(config, at + 8, 0)
    port.write(config, at + (12 if wide else 8), 0x30, 2)
    port.write(config, at + 2, port.read(config, at + 2, 2) | 1, 2)
