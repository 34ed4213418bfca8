"""The reference driver's PCI side: which functions it takes."""

from pvdev.device import Port
from pvdev.errors import ConfigError
from pvdev.pci_driver import PciFacts, expect, probe
from vmxnet3 import wire


def probe_pci(port: Port) -> PciFacts:
    """What the function says of itself, its BARs placed and switched on.

    Raises `ConfigError` for a device that is no VMXNET3 or cannot be driven.
    """
    expect(port, "VMXNET3", wire.VENDOR_ID, wire.DEVICE_ID)
    facts = probe(port)
    for bar in (wire.BAR_PT, wire.BAR_VD):
        if bar not in facts.memory_bars(wire.PAGE):
            raise ConfigError(f"BAR{bar} is not a page of memory: {facts.bars.get(bar, 0)} bytes")
    return facts
