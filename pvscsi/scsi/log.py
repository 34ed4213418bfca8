"""LOG SENSE: error counters of the medium, and that no exception is informational. Ref: SPC-4 log parameters."""

from collections.abc import Callable
from struct import pack
from typing import TYPE_CHECKING

from pvscsi.scsi.command import number
from pvscsi.scsi.sense import bad_cdb
from pvscsi.scsi.task import Task

if TYPE_CHECKING:
    from pvscsi.scsi.unit import LogicalUnit

_UNCORRECTED = 0x0006  # parameter: total uncorrected errors
_BINARY = 0x03  # format and linking: a binary list


def _supported(unit: "LogicalUnit") -> bytes:
    return bytes(sorted(PAGES))


def _write_errors(unit: "LogicalUnit") -> bytes:
    return pack(">HBBQ", _UNCORRECTED, 0, 8, unit.write_errors)


def _read_errors(unit: "LogicalUnit") -> bytes:
    return pack(">HBBQ", _UNCORRECTED, 0, 8, unit.read_errors)


def _exceptions(unit: "LogicalUnit") -> bytes:
    return pack(">HBBBBBx", 0, _BINARY, 4, 0, 0, 0xFF)  # no additional sense; no temperature


PAGES: dict[int, Callable[["LogicalUnit"], bytes]] = {
    0x00: _supported,
    0x02: _write_errors,
    0x03: _read_errors,
    0x2F: _exceptions,
}


def log_sense(unit: "LogicalUnit", task: Task) -> bytes:
    """LOG SENSE: the counters as they are now; they have no thresholds, and are not saved."""
    cdb = task.cdb
    if cdb[1] & 0x01:
        raise bad_cdb(1, 0)
    code = cdb[2] & 0x3F
    made = PAGES.get(code)
    if made is None:
        raise bad_cdb(2, 5)
    if cdb[3]:
        raise bad_cdb(3)
    if cdb[2] >> 6 not in (0, 1):
        raise bad_cdb(2, 7)
    data = made(unit)
    if number(cdb, 5, 2) > (_UNCORRECTED if code in (2, 3) else 0):
        raise bad_cdb(5)
    return pack(">BBH", code, 0, len(data)) + data
