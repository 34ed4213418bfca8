"""VMXNET3, the paravirtual NIC (PCI 15ad:07b0)."""
