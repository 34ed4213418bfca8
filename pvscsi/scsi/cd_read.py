"""READ CD: the user data of mode 1 blocks and nothing around them. Ref: MMC-6."""

from typing import TYPE_CHECKING

from pvscsi.block.backend import Io, Op
from pvscsi.scsi.blocks import check_range
from pvscsi.scsi.command import number
from pvscsi.scsi.limits import TRANSFER_BLOCKS_MAX
from pvscsi.scsi.sense import ILLEGAL_MODE_FOR_TRACK, Check, bad_cdb
from pvscsi.scsi.task import Task, cut

if TYPE_CHECKING:
    from pvscsi.scsi.cdrom import Cdrom

_ANY, _MODE_1 = 0, 2  # expected sector type
_NOTHING, _USER_DATA = 0x00, 0x10


def size(cdb: bytes, block: int) -> int:
    """Bytes of user data."""
    return number(cdb, 6, 3) * block if cdb[9] & 0xF8 else 0


def read_cd(unit: "Cdrom", task: Task) -> Io | None:
    """READ CD. Fields that are not asked for cost nothing; those but user data are not kept."""
    cdb = task.cdb
    kind, fields = cdb[1] >> 2 & 7, cdb[9] & 0xFE
    if kind > 5 or (fields not in (_NOTHING, _USER_DATA)):
        raise bad_cdb(9 if kind <= 5 else 1, 7 if kind <= 5 else 4)
    if cdb[10] & 7:
        raise bad_cdb(10, 2)
    lba, count = number(cdb, 2, 4), number(cdb, 6, 3)
    if count > TRANSFER_BLOCKS_MAX:
        raise bad_cdb(6)
    check_range(unit, lba, count)
    if kind not in (_ANY, _MODE_1):
        raise Check(ILLEGAL_MODE_FOR_TRACK)
    length = size(cdb, unit.block)
    if length > task.room:
        task.short, length = True, task.room // unit.block * unit.block
    return Io(Op.READ, lba * unit.block, length, cut(task.pieces, 0, length)) if length else None
