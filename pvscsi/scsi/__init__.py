"""A SCSI target in pure Python: CDB and data in, status, sense and data out. Knows no adapter, no OS."""
