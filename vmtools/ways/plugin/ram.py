"""A guest's memory that both QEMU and we have: a memfd, laid out as QEMU's q35 machine shows it to the guest.

Ref: QEMU hw/i386/pc_q35.c (how much lies below 4 GiB).
"""

import ctypes
import os
import re

from pvdev.errors import ConfigError
from pvdev.mem import GuestMemory, SharedBlock

GIB4 = 1 << 32
_LOW_MOST, _LOW_THEN = 0xB000_0000, 0x8000_0000  # more than this: so much below 4 GiB, the rest above
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_UNITS = {"": 20, "K": 10, "M": 20, "G": 30, "T": 40}


def parse_size(text: str) -> int:
    """Bytes of QEMU's notation: a number of MiB, or with K, M, G, T. Raises `ConfigError`."""
    found = re.fullmatch(r"(\d{1,9})([KMGT]?)", text.upper())
    size = int(found[1]) << _UNITS[found[2]] if found else 0
    if not size or size % 4096:
        raise ConfigError(f"{text!r} is no size of memory; write it like 1G or 512M")
    return size


class Ram:
    """`size` bytes of guest memory; `memory` is what the guest's addresses mean."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._block = SharedBlock(size, "guest memory")
        low = size if size < _LOW_MOST else _LOW_THEN
        self._low = low
        self.memory = GuestMemory()
        self.memory.map(0, self._block.view[:low])
        if size > low:
            self.memory.map(GIB4, self._block.view[low:])

    @property
    def path(self) -> str:
        """Where a child of this process finds it."""
        return f"/proc/{os.getpid()}/fd/{self._block.fd}"

    def machine_args(self, machine: str = "q35") -> list[str]:
        """QEMU's words for a machine with this memory."""
        backend = f"memory-backend-file,id=m,size={self.size},share=on,mem-path={self.path}"
        return ["-machine", f"{machine},memory-backend=m", "-object", backend, "-m", f"{self.size >> 10}K"]

    def release(self, ranges: list[tuple[int, int]]) -> None:
        """Give what lies at these guest addresses, (address, bytes), back to this machine; it reads as zeros then."""
        libc = ctypes.CDLL(None, use_errno=True)
        for address, length in ranges:
            at = address if address < GIB4 else address - GIB4 + self._low
            libc.fallocate(self._block.fd, _PUNCH_HOLE | _KEEP_SIZE, ctypes.c_long(at), ctypes.c_long(length))

    def resident(self) -> int:
        """Bytes of it that this machine really holds."""
        return os.fstat(self._block.fd).st_blocks * 512

    def close(self) -> None:
        self._block.close()
