"""The commands there are: one row each, for a disk, for a CD drive, and for a LUN where nothing is.

What is executed, what REPORT SUPPORTED OPERATION CODES prints and which way data goes are all read from these rows.
Usage data: the opcode, then a bit set for every bit of the CDB that is looked at; a blank between fields.
"""

from typing import Any

from pvscsi.scsi import blocks as b
from pvscsi.scsi import capacity, cd_media, cd_read, cd_toc, common, log, mode, power, reserve
from pvscsi.scsi import provision as p
from pvscsi.scsi.command import Access, Command, CommandSet, Handler, blocks, length, number
from pvscsi.scsi.inquiry import inquiry
from pvscsi.scsi.task import Direction

_IN, _OUT, _NONE = Direction.IN, Direction.OUT, Direction.NONE
_READ, _WRITE = Access.READ, Access.WRITE


def _row(name: str, usage: str, handler: Handler, **facts: Any) -> Command:
    return Command(name, bytes.fromhex(usage), handler, **facts)


def _data_in(name: str, usage: str, handler: Handler, start: int, size: int, **facts: Any) -> Command:
    """Data for the initiator, up to the allocation length of `size` bytes at `start`."""
    return _row(name, usage, handler, flow=_IN, size=length(start, size), **facts)


def _list_out(name: str, usage: str, handler: Handler, start: int, size: int, **facts: Any) -> Command:
    """A parameter list, as long as the field of `size` bytes at `start` says."""
    return _row(name, usage, handler, flow=_OUT, size=length(start, size), **facts)


def _six(cdb: bytes, block: int) -> int:
    return b.span(cdb)[1] * block


def _reserve_in(name: str, action: int, handler: Handler) -> Command:
    return _data_in(f"PERSISTENT RESERVE IN, {name}", "5e 1f 0000000000 ffff 04", handler, 7, 2, action=action)


def _reserve_out(name: str, action: int, handler: Handler) -> Command:
    return _list_out(f"PERSISTENT RESERVE OUT, {name}", "5f 1f ff 0000 ffffffff 04", handler, 5, 4, action=action)


def _diagnostic_flow(cdb: bytes) -> Direction:
    return _OUT if number(cdb, 3, 2) else _NONE


def _format_flow(cdb: bytes) -> Direction:
    return _OUT if cdb[1] & 0x10 else _NONE


_ANYWHERE = (
    _data_in("INQUIRY", "12 03 ff ffff 04", inquiry, 3, 2, told=True),
    _data_in("REQUEST SENSE", "03 01 0000 ff 04", common.request_sense, 4, 1, told=True),
    _data_in("REPORT LUNS", "a0 00 ff 000000 ffffffff 00 04", common.report_luns, 6, 4, told=True),
)

_COMMON = (
    *_ANYWHERE,
    _row("TEST UNIT READY", "00 00000000 04", common.test_unit_ready, medium=True),
    _data_in("MODE SENSE(6)", "1a 08 ff ff ff 04", mode.mode_sense, 4, 1, access=_WRITE),
    _data_in("MODE SENSE(10)", "5a 18 ff ff 000000 ffff 04", mode.mode_sense, 7, 2, access=_WRITE),
    _list_out("MODE SELECT(6)", "15 11 0000 ff 04", mode.mode_select, 4, 1, access=_WRITE),
    _list_out("MODE SELECT(10)", "55 11 0000000000 ffff 04", mode.mode_select, 7, 2, access=_WRITE),
    _data_in("LOG SENSE", "4d 01 ff ff 00 ffff ffff 04", log.log_sense, 7, 2),
    _row("START STOP UNIT", "1b 01 0000 f7 04", power.start_stop, access=_WRITE),
    _row("PREVENT ALLOW MEDIUM REMOVAL", "1e 000000 03 04", power.prevent_allow),
    _row(
        "SEND DIAGNOSTIC",
        "1d e7 00 ffff 04",
        common.send_diagnostic,
        flow=_diagnostic_flow,
        size=length(3, 2),
        access=_WRITE,
    ),
    _data_in("RECEIVE DIAGNOSTIC RESULTS", "1c 01 ff ffff 04", common.receive_diagnostic, 3, 2, access=_WRITE),
    _data_in(
        "REPORT SUPPORTED OPERATION CODES", "a3 1f 87 ff ffff ffffffff 00 04", common.report_opcodes, 6, 4, action=0x0C
    ),
    _row("RESERVE(6)", "16 11 000000 04", reserve.reserve_old),
    _row("RELEASE(6)", "17 11 000000 04", reserve.release_old),
    _row("RESERVE(10)", "56 11 00000000000000 04", reserve.reserve_old),
    _row("RELEASE(10)", "57 11 00000000000000 04", reserve.release_old),
)

_PERSISTENT = (
    _reserve_in("READ KEYS", 0, reserve.read_keys),
    _reserve_in("READ RESERVATION", 1, reserve.read_reservation),
    _reserve_in("REPORT CAPABILITIES", 2, reserve.report_capabilities),
    _reserve_in("READ FULL STATUS", 3, reserve.read_full_status),
    _reserve_out("REGISTER", 0, reserve.register),
    _reserve_out("RESERVE", 1, reserve.reserve),
    _reserve_out("RELEASE", 2, reserve.release),
    _reserve_out("CLEAR", 3, reserve.clear),
    _reserve_out("PREEMPT", 4, reserve.preempt),
    _reserve_out("PREEMPT AND ABORT", 5, reserve.preempt_and_abort),
    _reserve_out("REGISTER AND IGNORE EXISTING KEY", 6, reserve.register_and_ignore),
)

_R: dict[str, Any] = {"flow": _IN, "medium": True, "access": _READ}
_W: dict[str, Any] = {"flow": _OUT, "medium": True, "access": _WRITE, "writes": True}
_V: dict[str, Any] = {"flow": b.verify_flow, "size": b.verify_size, "medium": True, "access": _READ}

_BLOCKS = (
    _row("READ(6)", "08 1f ffff ff 04", b.read, size=_six, **_R),
    _row("READ(10)", "28 f8 ffffffff 00 ffff 04", b.read, size=blocks(7, 2), **_R),
    _row("READ(12)", "a8 f8 ffffffff ffffffff 00 04", b.read, size=blocks(6, 4), **_R),
    _row("READ(16)", "88 f8 ffffffffffffffff ffffffff 00 04", b.read, size=blocks(10, 4), **_R),
    _row("WRITE(6)", "0a 1f ffff ff 04", b.write, size=_six, **_W),
    _row("WRITE(10)", "2a f8 ffffffff 00 ffff 04", b.write, size=blocks(7, 2), **_W),
    _row("WRITE(12)", "aa f8 ffffffff ffffffff 00 04", b.write, size=blocks(6, 4), **_W),
    _row("WRITE(16)", "8a f8 ffffffffffffffff ffffffff 00 04", b.write, size=blocks(10, 4), **_W),
    _row("WRITE AND VERIFY(10)", "2e f6 ffffffff 00 ffff 04", b.write_and_verify, size=blocks(7, 2), **_W),
    _row("WRITE AND VERIFY(12)", "ae f6 ffffffff ffffffff 00 04", b.write_and_verify, size=blocks(6, 4), **_W),
    _row("WRITE AND VERIFY(16)", "8e f6 ffffffffffffffff ffffffff 00 04", b.write_and_verify, size=blocks(10, 4), **_W),
    _row("VERIFY(10)", "2f f6 ffffffff 00 ffff 04", b.verify, **_V),
    _row("VERIFY(12)", "af f6 ffffffff ffffffff 00 04", b.verify, **_V),
    _row("VERIFY(16)", "8f f6 ffffffffffffffff ffffffff 00 04", b.verify, **_V),
    _row("PRE-FETCH(10)", "34 02 ffffffff 00 ffff 04", b.prefetch, medium=True, access=_READ),
    _row("PRE-FETCH(16)", "90 02 ffffffffffffffff ffffffff 00 04", b.prefetch, medium=True, access=_READ),
    _row("SYNCHRONIZE CACHE(10)", "35 02 ffffffff 00 ffff 04", b.synchronize, medium=True, access=_WRITE),
    _row("SYNCHRONIZE CACHE(16)", "91 02 ffffffffffffffff ffffffff 00 04", b.synchronize, medium=True, access=_WRITE),
    _row("WRITE SAME(10)", "41 fe ffffffff 00 ffff 04", p.write_same, size=p.write_same_size, **_W),
    _row(
        "WRITE SAME(16)",
        "93 ff ffffffffffffffff ffffffff 00 04",
        p.write_same,
        size=p.write_same_size,
        **{**_W, "flow": p.write_same_flow},
    ),
    _row(
        "COMPARE AND WRITE", "89 f8 ffffffffffffffff 000000 ff 00 04", p.compare_and_write, size=blocks(13, 1, 2), **_W
    ),
    _data_in(
        "GET LBA STATUS",
        "9e 1f ffffffffffffffff ffffffff 00 04",
        p.get_lba_status,
        10,
        4,
        action=0x12,
        medium=True,
        access=_READ,
    ),
)

_READ_CAPACITY_10 = _row(
    "READ CAPACITY(10)",
    "25 00 ffffffff 0000 01 04",
    capacity.read_capacity_10,
    flow=_IN,
    size=lambda cdb, block: 8,
    medium=True,
)

_DISK = (
    *_COMMON,
    *_PERSISTENT,
    *_BLOCKS,
    _READ_CAPACITY_10,
    _data_in(
        "READ CAPACITY(16)",
        "9e 1f ffffffffffffffff ffffffff 01 04",
        capacity.read_capacity_16,
        10,
        4,
        action=0x10,
        medium=True,
    ),
    _data_in(
        "READ DEFECT DATA(10)", "37 00 1f 00000000 ffff 04", capacity.read_defects_10, 7, 2, medium=True, access=_READ
    ),
    _data_in(
        "READ DEFECT DATA(12)",
        "b7 1f 00000000 ffffffff 00 04",
        capacity.read_defects_12,
        6,
        4,
        medium=True,
        access=_READ,
    ),
    _row(
        "FORMAT UNIT",
        "04 ff 00 0000 04",
        capacity.format_unit,
        flow=_format_flow,
        medium=True,
        access=_WRITE,
        writes=True,
    ),
)
_UNMAP = _row("UNMAP", "42 01 0000000000 ffff 04", p.unmap, size=length(7, 2), **_W)

_CDROM = (
    *_COMMON,
    _READ_CAPACITY_10,
    _row("READ(10)", "28 f8 ffffffff 00 ffff 04", b.read, size=blocks(7, 2), **_R),
    _row("READ(12)", "a8 f8 ffffffff ffffffff 00 04", b.read, size=blocks(6, 4), **_R),
    _row("READ CD", "be 1c ffffffff ffffff fe 07 04", cd_read.read_cd, size=cd_read.size, **_R),
    _data_in("READ TOC/PMA/ATIP", "43 02 0f 000000 ff ffff c4", cd_toc.read_toc, 7, 2, medium=True, access=_READ),
    _data_in("READ DISC INFORMATION", "51 07 0000000000 ffff 04", cd_media.disc_information, 7, 2, medium=True),
    _data_in("READ TRACK INFORMATION", "52 03 ffffffff 00 ffff 04", cd_media.track_information, 7, 2, medium=True),
    _data_in("READ DISC STRUCTURE", "ad 0f ffffffff ff ff ffff 00 04", cd_media.disc_structure, 8, 2),
    _data_in("GET CONFIGURATION", "46 03 ffff 000000 ffff 04", cd_media.configuration, 7, 2, told=True),
    _data_in("GET EVENT STATUS NOTIFICATION", "4a 01 0000 ff 0000 ffff 04", cd_media.events, 7, 2, told=True),
    _data_in("MECHANISM STATUS", "bd 00000000000000 ffff 00 04", cd_media.mechanism, 8, 2),
    _row(
        "GET PERFORMANCE",
        "ac 1f ffffffff 0000 ffff ff 04",
        cd_media.performance,
        flow=_IN,
        size=lambda cdb, block: 8,
    ),
    _row("SET CD SPEED", "bb 03 ffff ffff 0000000000 04", cd_media.set_speed),
)


def disk_commands(*, thin: bool) -> CommandSet:
    """A disk's; UNMAP only where blocks can be given back."""
    return CommandSet((*_DISK, _UNMAP) if thin else _DISK)


def cd_commands() -> CommandSet:
    """A CD drive's."""
    return CommandSet(_CDROM)


def absent_commands() -> CommandSet:
    """Those that are answered where no unit is."""
    return CommandSet(_ANYWHERE)
