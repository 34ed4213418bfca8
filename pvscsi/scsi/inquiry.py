"""INQUIRY: standard data and vital product data pages.

What is answered never depends on the allocation length; clipping is the unit's.
Ref: SPC-4 INQUIRY and VPD parameters; SBC-3 block limits, block device characteristics, logical block provisioning.
"""

from struct import Struct, pack
from typing import TYPE_CHECKING

from pvscsi.scsi.limits import (
    COMPARE_BLOCKS_MAX,
    TRANSFER_BLOCKS_MAX,
    UNMAP_BLOCKS_MAX,
    UNMAP_DESCRIPTORS_MAX,
    WRITE_SAME_BLOCKS_MAX,
)
from pvscsi.scsi.sense import bad_cdb
from pvscsi.scsi.task import Task

if TYPE_CHECKING:
    from pvscsi.scsi.disk import Disk
    from pvscsi.scsi.unit import LogicalUnit

DISK, CDROM, ABSENT = 0x00, 0x05, 0x7F  # peripheral qualifier and device type
SPC_4 = 6
CMDQUE = 0x02
_VERSIONS = {DISK: (0x00A0, 0x0460, 0x04C0), CDROM: (0x00A0, 0x0460, 0x04E0)}  # SAM-5, SPC-4, SBC-3 or MMC-6
_STANDARD = Struct(">BBBBBBBB8s16s4s22x8H22x")
_GRANULARITY = 4096  # bytes; what file systems punch holes in


def inquiry(unit: "LogicalUnit", task: Task) -> bytes:
    """Standard data, or with EVPD the page asked for."""
    cdb = task.cdb
    if cdb[1] & 0x02:  # CMDDT, obsolete
        raise bad_cdb(1, 1)
    if not cdb[1] & 0x01:
        if cdb[2]:
            raise bad_cdb(2)
        return standard(unit)
    page = unit.vital_pages.get(cdb[2])
    if page is None:
        raise bad_cdb(2)
    data = page(unit)
    return pack(">BBH", unit.device_type, cdb[2], len(data)) + data


def standard(unit: "LogicalUnit") -> bytes:
    """96 bytes, whatever the unit is."""
    me = unit.identity
    versions = (*_VERSIONS[unit.device_type], *(0,) * 5)
    return _STANDARD.pack(
        unit.device_type,
        0x80 if unit.removable else 0,
        SPC_4,
        2,  # response data format
        _STANDARD.size - 5,
        0,
        0,
        CMDQUE,
        me.ascii_vendor,
        me.ascii_product,
        me.ascii_revision,
        *versions,
    )


def absent() -> bytes:
    """Standard data of a LUN that is not there."""
    return _STANDARD.pack(ABSENT, 0, SPC_4, 2, _STANDARD.size - 5, 0, 0, 0, b" " * 8, b" " * 16, b" " * 4, *(0,) * 8)


def vpd_supported(unit: "LogicalUnit") -> bytes:
    """00: the pages there are."""
    return bytes(sorted(unit.vital_pages))


def vpd_serial(unit: "LogicalUnit") -> bytes:
    """80: the serial number."""
    return unit.identity.ascii_serial


def vpd_identification(unit: "LogicalUnit") -> bytes:
    """83: an NAA name and a T10 vendor id, both of the logical unit."""
    me = unit.identity
    name = me.ascii_vendor + me.ascii_product + me.ascii_serial
    return pack(">BBxB", 0x01, 0x03, len(me.naa)) + me.naa + pack(">BBxB", 0x02, 0x01, len(name)) + name


def vpd_extended(unit: "LogicalUnit") -> bytes:
    """86: simple, ordered and head-of-queue tasks (an adapter keeps their order); a volatile cache."""
    return bytes((0x00, 0x07, 0x01)).ljust(60, b"\0")


def vpd_block_limits(unit: "Disk") -> bytes:
    """B0: the limits that are held to; those of UNMAP only where there is UNMAP."""
    physical = 1 << unit.physical_exponent
    thin = unit.thin
    return pack(
        ">BBHIIIIIIIQ20x",
        0,  # WSNZ 0: WRITE SAME of 0 blocks goes on to the end
        COMPARE_BLOCKS_MAX,
        physical,
        TRANSFER_BLOCKS_MAX,
        0,
        0,
        UNMAP_BLOCKS_MAX if thin else 0,
        UNMAP_DESCRIPTORS_MAX if thin else 0,
        max(physical, _GRANULARITY // unit.block) if thin else 0,
        0x8000_0000 if thin else 0,  # alignment is valid: at block 0
        WRITE_SAME_BLOCKS_MAX,
    )


def vpd_characteristics(unit: "Disk") -> bytes:
    """B1: whether it turns."""
    turns = unit.medium is not None and unit.medium.rotational
    return pack(">HxB", 7200 if turns else 1, 0).ljust(60, b"\0")


def vpd_provisioning(unit: "Disk") -> bytes:
    """B2: how blocks are taken back and what they then read as."""
    if not unit.thin:
        return bytes(4)
    return bytes((0, 0xE0 | (0x04 if unit.reads_zeros else 0), 2, 0))
