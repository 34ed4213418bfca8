"""How large a disk is, what is wrong with it, and formatting it. Ref: SBC-3."""

from struct import pack
from typing import TYPE_CHECKING

from pvscsi.scsi.command import number
from pvscsi.scsi.sense import bad_cdb
from pvscsi.scsi.task import Task

if TYPE_CHECKING:
    from pvscsi.scsi.disk import Disk
    from pvscsi.scsi.unit import LogicalUnit


def read_capacity_10(unit: "LogicalUnit", task: Task) -> bytes:
    """READ CAPACITY(10): the last LBA, or FFFFFFFF if it is larger."""
    cdb = task.cdb
    if number(cdb, 2, 4) and not cdb[8] & 1:
        raise bad_cdb(2)
    return pack(">II", min(unit.blocks - 1, 0xFFFF_FFFF), unit.block)


def read_capacity_16(unit: "Disk", task: Task) -> bytes:
    """READ CAPACITY(16)"""
    cdb = task.cdb
    if number(cdb, 2, 8) and not cdb[14] & 1:
        raise bad_cdb(2)
    provisioned = (0x8000 if unit.thin else 0) | (0x4000 if unit.reads_zeros else 0)
    return pack(">QIBBH16x", unit.blocks - 1, unit.block, 0, unit.physical_exponent, provisioned)


def read_defects_10(unit: "LogicalUnit", task: Task) -> bytes:
    """READ DEFECT DATA(10): none."""
    return pack(">BBH", 0, task.cdb[2] & 0x1F, 0)


def read_defects_12(unit: "LogicalUnit", task: Task) -> bytes:
    """READ DEFECT DATA(12): none."""
    return pack(">BBHI", 0, task.cdb[1] & 0x1F, 0, 0)


def format_unit(unit: "LogicalUnit", task: Task) -> None:
    """FORMAT UNIT: nothing is done; it takes no parameter list."""
    if task.cdb[1]:
        raise bad_cdb(1, 7)
