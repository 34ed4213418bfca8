"""PVSCSI, the paravirtual storage adapter (PCI 15ad:07c0). Not built yet: the room is kept for it."""
