"""What a CD drive says of itself and of the disc: features, events, disc, track, structure, mechanism. Ref: MMC-6."""

from struct import pack
from typing import TYPE_CHECKING

from pvscsi.scsi.command import number
from pvscsi.scsi.sense import INCOMPATIBLE_FORMAT, LBA_OUT_OF_RANGE, Check, bad_cdb
from pvscsi.scsi.task import Task

if TYPE_CHECKING:
    from pvscsi.scsi.cdrom import Cdrom

NONE, CD_ROM, DVD_ROM = 0x0000, 0x0008, 0x0010  # profiles
_CD_BLOCKS_MAX = 100 * 60 * 75 - 150  # 99:59:74 is the last address a CD has
_MEDIA_CLASS = 4
_DISC_COMPLETE = 0x0E  # disc finalized, last session complete
_SPEED = 0x0B0C  # kB/s: 16 times an audio CD's


def profile(unit: "Cdrom") -> int:
    """What is in the drive, by its size."""
    if unit.backend is None or not unit.blocks:
        return NONE
    return CD_ROM if unit.blocks <= _CD_BLOCKS_MAX else DVD_ROM


def configuration(unit: "Cdrom", task: Task) -> bytes:
    """GET CONFIGURATION: all features (RT 0), the current ones (1) or one (2), from the one named on."""
    asked, start = task.cdb[1] & 3, number(task.cdb, 2, 2)
    if asked == 3:
        raise bad_cdb(1, 1)
    now = profile(unit)
    features = (
        (0x0000, True, 0, pack(">HBxHBx", DVD_ROM, now == DVD_ROM, CD_ROM, now == CD_ROM)),
        (0x0001, True, 2, pack(">IBxxx", 1, 1)),  # core: SCSI; device busy events
        (0x0003, True, 1, bytes((0x29, 0, 0, 0))),  # removable: tray, eject, lock
        (0x0010, now != NONE, 0, pack(">IHBx", 2048, 1, 1)),  # random readable
        (0x001E, now == CD_ROM, 2, bytes(4)),  # CD read
        (0x001F, now == DVD_ROM, 1, bytes((1, 0, 0, 0))),  # DVD read
        (0x0105, True, 0, b""),  # timeout
    )
    body = b"".join(
        pack(
            ">HBB", code, version << 2 | (0x02 if code in (0x0000, 0x0001, 0x0003, 0x0105) else 0) | current, len(data)
        )
        + data
        for code, current, version, data in features
        if (code == start if asked == 2 else code >= start and (current or asked == 0))
    )
    return pack(">IxxH", len(body) + 4, now) + body


def events(unit: "Cdrom", task: Task) -> bytes:
    """GET EVENT STATUS NOTIFICATION, polled: the latest event of the tray, once."""
    cdb = task.cdb
    if not cdb[1] & 1:
        raise bad_cdb(1, 0)
    if not cdb[4] & 1 << _MEDIA_CLASS:
        return pack(">HBB", 2, 0x80, 1 << _MEDIA_CLASS)  # none of the classes asked for
    present = unit.backend is not None
    # an event is only told where it fits
    event = unit.tray.take() if number(cdb, 7, 2) > 4 and task.room > 4 else 0
    return pack(">HBBBBxx", 6, _MEDIA_CLASS, 1 << _MEDIA_CLASS, event, present << 1 | unit.tray.open)


def disc_information(unit: "Cdrom", task: Task) -> bytes:
    """READ DISC INFORMATION: finalized, one session, one track."""
    if task.cdb[1] & 7:
        raise bad_cdb(1, 2)
    return pack(">HBBBBBBB7x4s4s10x", 32, _DISC_COMPLETE, 1, 1, 1, 1, 0x20, 0, b"\xff" * 4, b"\xff" * 4)


def track_information(unit: "Cdrom", task: Task) -> bytes:
    """READ TRACK INFORMATION, by LBA (0), track (1) or session (2)."""
    how, which = task.cdb[1] & 3, number(task.cdb, 2, 4)
    if how == 3:
        raise bad_cdb(1, 1)
    if how == 0 and which >= unit.blocks:
        raise Check(LBA_OUT_OF_RANGE, information=which)
    if how and which != 1:
        raise bad_cdb(2)
    return pack(">HBBxBBxIIIII8x", 34, 1, 1, 0x04, 0x01, 0, 0, 0, 0, min(unit.blocks, 0xFFFF_FFFF))


def disc_structure(unit: "Cdrom", task: Task) -> bytes:
    """READ DISC STRUCTURE of a DVD: physical format (00), copyright (01: none), and a list of these (FF)."""
    cdb = task.cdb
    if cdb[1] & 0xF:
        raise bad_cdb(1, 3)
    form = cdb[7]
    if form == 0xFF:
        return pack(">HxxBBHBBH", 10, 0x00, 0x40, 2052, 0x01, 0x40, 8)
    unit.check_ready()
    if form not in (0x00, 0x01):
        raise bad_cdb(7)
    if profile(unit) != DVD_ROM:
        raise Check(INCOMPATIBLE_FORMAT)
    if cdb[6]:
        raise bad_cdb(6)
    if form == 0x01:
        return pack(">Hxx4x", 6)
    first = 0x03_0000
    last = min(first + unit.blocks - 1, 0xFF_FFFF)
    layer = pack(">BBBBIII", 0x01, 0x0F, 0x01, 0, first, last, 0)
    return pack(">Hxx", 2050) + layer.ljust(2048, b"\0")


def mechanism(unit: "Cdrom", task: Task) -> bytes:
    """MECHANISM STATUS: idle; whether the door is open."""
    return bytes((0, 0x10 if unit.tray.open else 0)).ljust(8, b"\0")


def performance(unit: "Cdrom", task: Task) -> bytes:
    """GET PERFORMANCE: a header, and no descriptors."""
    return pack(">I4x", 4)


def set_speed(unit: "Cdrom", task: Task) -> None:
    """SET CD SPEED: it goes as fast as it goes."""
