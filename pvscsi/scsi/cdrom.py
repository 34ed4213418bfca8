"""A CD or DVD drive that only reads. Ref: MMC-6."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from pvscsi.block.backend import Backend
from pvscsi.scsi import inquiry
from pvscsi.scsi.identity import Identity
from pvscsi.scsi.mode import CAPABILITIES, cd_pages
from pvscsi.scsi.opcodes import cd_commands
from pvscsi.scsi.sense import NO_MEDIUM_TRAY_CLOSED, NO_MEDIUM_TRAY_OPEN, Sense
from pvscsi.scsi.unit import LogicalUnit

BLOCK = 2048


class Cdrom(LogicalUnit):
    """A drive with `backend` as the disc in it, or none. Blocks of 2048 bytes."""

    device_type = inquiry.CDROM
    vital_pages: ClassVar[Mapping[int, Callable[..., bytes]]] = {
        0x00: inquiry.vpd_supported,
        0x80: inquiry.vpd_serial,
        0x83: inquiry.vpd_identification,
    }

    def __init__(self, backend: Backend | None, identity: Identity) -> None:
        super().__init__(cd_commands(), cd_pages(), identity, backend, block=BLOCK, removable=True)

    def no_medium(self) -> Sense:
        return NO_MEDIUM_TRAY_OPEN if self.tray.open else NO_MEDIUM_TRAY_CLOSED

    def mode_specific(self) -> int:
        return 0  # of a drive that cannot write nothing is said of protection

    def block_descriptor(self, *, wide: bool) -> bytes:
        return b""

    def mode_page(self, code: int, control: int) -> bytes:
        """The capabilities page says whether the door is locked now."""
        page = super().mode_page(code, control)
        if code == CAPABILITIES and control == 0 and self.tray.locked_by:
            page = page[:6] + bytes((page[6] | 0x02,)) + page[7:]
        return page

    def grown(self) -> None:
        """A disc does not grow; what is there is looked at again."""
        self.measure()
