"""A direct-access disk. Ref: SBC-3."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from pvscsi.block.backend import Backend
from pvscsi.scsi import inquiry
from pvscsi.scsi.identity import Identity
from pvscsi.scsi.mode import DPOFUA, disk_pages
from pvscsi.scsi.opcodes import disk_commands
from pvscsi.scsi.unit import LogicalUnit

BLOCK_SIZES = (512, 4096)


class Disk(LogicalUnit):
    """A disk over `backend`: `block` bytes a logical block, `physical` a physical one (512e: 512 and 4096).

    `thin`: the backend takes blocks back (UNMAP and all that belongs to it). `write_cache`: WCE as it is by default.
    Raises `ValueError` for sizes that are not powers of two, or a physical block smaller than a logical one.
    """

    device_type = inquiry.DISK
    vital_pages: ClassVar[Mapping[int, Callable[..., bytes]]] = {
        0x00: inquiry.vpd_supported,
        0x80: inquiry.vpd_serial,
        0x83: inquiry.vpd_identification,
        0x86: inquiry.vpd_extended,
        0xB0: inquiry.vpd_block_limits,
        0xB1: inquiry.vpd_characteristics,
        0xB2: inquiry.vpd_provisioning,
    }

    def __init__(
        self,
        backend: Backend | None,
        identity: Identity,
        *,
        block: int = 512,
        physical: int | None = None,
        removable: bool = False,
        thin: bool = True,
        write_cache: bool = True,
    ) -> None:
        physical = block if physical is None else physical
        if block not in BLOCK_SIZES:
            raise ValueError(f"a block of {block} bytes: use one of {', '.join(map(str, BLOCK_SIZES))}")
        if physical < block or physical & physical - 1 or physical > block << 15:
            raise ValueError(f"a physical block of {physical} bytes: use a power of two of at least {block}")
        self.thin = thin
        self.physical_exponent = (physical // block).bit_length() - 1
        commands, pages = disk_commands(thin=thin), disk_pages(write_cache=write_cache)
        super().__init__(commands, pages, identity, backend, block=block, removable=removable)

    @property
    def reads_zeros(self) -> bool:
        """Blocks given back read as zeros (LBPRZ)."""
        return self.thin and self.medium is not None and self.medium.zeroes

    def mode_specific(self) -> int:
        return super().mode_specific() | DPOFUA
