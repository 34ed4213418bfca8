"""READ TOC/PMA/ATIP of a disc that is one data track. Ref: MMC-6."""

from struct import pack
from typing import TYPE_CHECKING

from pvscsi.scsi.sense import bad_cdb
from pvscsi.scsi.task import Task

if TYPE_CHECKING:
    from pvscsi.scsi.cdrom import Cdrom

LEAD_OUT = 0xAA
_DATA_TRACK = 0x14  # ADR 1, control 4: data, copying prohibited
_MINUTE, _SECOND, _LEAD_IN = 60 * 75, 75, 150  # frames


def msf(lba: int) -> bytes:
    """Minute, second and frame of a block; as late as can be said."""
    at = min(lba + _LEAD_IN, 256 * _MINUTE - 1)
    return bytes((at // _MINUTE, at // _SECOND % 60, at % _SECOND))


def read_toc(unit: "Cdrom", task: Task) -> bytes:
    """The table of contents (0), session information (1) or the full table of contents (2)."""
    cdb = task.cdb
    form = cdb[2] & 0xF or cdb[9] >> 6  # the latter from before MMC
    in_time = bool(cdb[1] & 0x02)
    if form == 0:
        return _contents(unit.blocks, cdb[6], in_time=in_time)
    if form == 1:
        return pack(">HBBBBBx4s", 10, 1, 1, 0, _DATA_TRACK, 1, _address(0, in_time=in_time))
    if form == 2:
        return _full(unit.blocks, cdb[6])
    raise bad_cdb(2, 3)


def _address(lba: int, *, in_time: bool) -> bytes:
    return b"\0" + msf(lba) if in_time else pack(">I", min(lba, 0xFFFF_FFFF))


def _contents(blocks: int, first: int, *, in_time: bool) -> bytes:
    if 1 < first != LEAD_OUT:
        raise bad_cdb(6)
    tracks = b"" if first == LEAD_OUT else pack(">BBBx4s", 0, _DATA_TRACK, 1, _address(0, in_time=in_time))
    tracks += pack(">BBBx4s", 0, _DATA_TRACK, LEAD_OUT, _address(blocks, in_time=in_time))
    return pack(">HBB", len(tracks) + 2, 1, 1) + tracks


def _full(blocks: int, session: int) -> bytes:
    if session > 1:
        raise bad_cdb(6)
    points = ((0xA0, b"\x01\0\0"), (0xA1, b"\x01\0\0"), (0xA2, msf(blocks)), (0x01, msf(0)))
    body = b"".join(pack(">BBBB4x3s", 1, _DATA_TRACK, 0, point, at) for point, at in points)
    return pack(">HBB", len(body) + 2, 1, 1) + body
