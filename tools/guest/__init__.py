"""The guest kit: an unmodified Linux in QEMU, booted to test a device with its real driver."""
