"""The networks a NIC can stand on: memory, captures, sockets, interfaces of this machine, switches."""
