"""The blocks behind a SCSI logical unit: memory, files, network block devices, and wrappers that spoil them."""
