"""The substrate every device model stands on: memory, registers, PCI, interrupts, rules, trace and transports."""

__version__ = "0.1.0"
