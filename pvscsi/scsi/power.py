"""START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL: stop, load, eject, lock the door. Ref: SBC-3, MMC-6."""

from typing import TYPE_CHECKING

from pvscsi.scsi.command import Steps
from pvscsi.scsi.sense import NOT_READY_REMOVAL_PREVENTED, REMOVAL_PREVENTED, Check, bad_cdb
from pvscsi.scsi.task import Task

if TYPE_CHECKING:
    from pvscsi.scsi.unit import LogicalUnit

_LOEJ, _START, _NO_FLUSH = 0x02, 0x01, 0x04


def start_stop(unit: "LogicalUnit", task: Task) -> Steps | None:
    """START STOP UNIT. A stop flushes; a fixed disk is then not ready until it is started, one with a tray stays as it
    is. Power conditions change nothing."""
    how = task.cdb[4]
    if how >> 4:
        return None
    if how & _LOEJ and not unit.removable:
        raise bad_cdb(4, 1)
    if how & _START:
        if how & _LOEJ:
            unit.close_tray(by=task.nexus)
        unit.stopped = False
        unit.settle()
        return None
    if how & _LOEJ and unit.tray.locked_by:
        raise Check(NOT_READY_REMOVAL_PREVENTED if unit.backend is None else REMOVAL_PREVENTED)
    return _stop(unit, flush=not how & _NO_FLUSH or bool(how & _LOEJ), eject=bool(how & _LOEJ))


def _stop(unit: "LogicalUnit", *, flush: bool, eject: bool) -> Steps:
    if flush:
        yield from unit.flush()
    if eject:
        if not unit.tray.open:
            unit.open_tray()
            unit.on_eject()
    elif not unit.removable:
        unit.stopped = True
        unit.settle()


def prevent_allow(unit: "LogicalUnit", task: Task) -> None:
    """PREVENT ALLOW MEDIUM REMOVAL: the door is locked as long as any initiator says so."""
    if not unit.removable:
        return
    if task.cdb[4] & 1:
        unit.tray.locked_by.add(task.nexus)
    else:
        unit.tray.locked_by.discard(task.nexus)
