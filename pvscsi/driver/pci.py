"""The reference driver's PCI side: which functions it takes, and where their registers are.

Ref: Linux vmw_pvscsi.c (which BAR is taken).
"""

from pvdev.device import Port
from pvdev.errors import ConfigError
from pvdev.pci_driver import PciFacts, expect, probe
from pvscsi import wire


def probe_pci(port: Port) -> PciFacts:
    """What the function says of itself, its BARs placed and switched on.

    Raises `ConfigError` for a device that is no PVSCSI or cannot be driven.
    """
    expect(port, "PVSCSI", wire.VENDOR_ID, wire.DEVICE_ID)
    facts = probe(port)
    if not facts.memory_bars(wire.BAR_SIZE):
        raise ConfigError(f"no memory BAR holds the registers: {facts.bars}")
    return facts


def registers(facts: PciFacts) -> int:
    """The BAR the registers are in."""
    return facts.memory_bars(wire.BAR_SIZE)[0]


def window(facts: PciFacts) -> int | None:
    """The I/O BAR that leads to the same registers."""
    return next(iter(facts.io_bars()), None)
