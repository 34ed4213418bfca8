"""Commands every unit has: is it ready, what is pending, diagnostics, which LUNs there are, which commands.

Ref: SPC-4.
"""

from collections.abc import Sequence
from struct import pack
from typing import TYPE_CHECKING

from pvscsi.scsi.command import Command, number
from pvscsi.scsi.sense import LUNS_CHANGED, bad_cdb
from pvscsi.scsi.task import Task

if TYPE_CHECKING:
    from pvscsi.scsi.unit import LogicalUnit

_UNSUPPORTED, _SUPPORTED = 1, 3
_TIMEOUTS = pack(">H10x", 10)  # command timeouts descriptor: nothing is said of them


def test_unit_ready(unit: "LogicalUnit", task: Task) -> None:
    """TEST UNIT READY: what there is to say was said when the command was let in."""


def request_sense(unit: "LogicalUnit", task: Task) -> bytes:
    """REQUEST SENSE: what is pending, and no longer is."""
    return unit.pending(task.nexus).data(descriptors=bool(task.cdb[1] & 1))


def send_diagnostic(unit: "LogicalUnit", task: Task) -> None:
    """SEND DIAGNOSTIC: the default self-test passes; there is nothing else."""
    cdb = task.cdb
    if cdb[1] & 0xE3:  # a self-test code, DEVOFFL, UNITOFFL
        raise bad_cdb(1, 7)
    if number(cdb, 3, 2):
        raise bad_cdb(3)


def receive_diagnostic(unit: "LogicalUnit", task: Task) -> bytes:
    """RECEIVE DIAGNOSTIC RESULTS: page 00, which names itself."""
    cdb = task.cdb
    if cdb[1] & 1 and cdb[2]:
        raise bad_cdb(2)
    return pack(">BxHB", 0, 1, 0)


def report_luns(unit: "LogicalUnit", task: Task) -> bytes:
    """REPORT LUNS: all of them, whichever is asked; the initiator then knows what there is."""
    data = luns_data(task, unit.luns())
    unit.attention.discard(task.nexus, LUNS_CHANGED)
    unit.settle()
    return data


def luns_data(task: Task, luns: Sequence[int]) -> bytes:
    """The list for SELECT REPORT 0 and 2; 1 asks for well-known units, of which there are none."""
    select = task.cdb[2]
    if select > 2:
        raise bad_cdb(2)
    if number(task.cdb, 6, 4) < 16:
        raise bad_cdb(6)
    found = () if select == 1 else sorted({0, *luns})
    return pack(">I4x", 8 * len(found)) + b"".join(lun_bytes(lun) for lun in found)


def lun_bytes(lun: int) -> bytes:
    """Eight bytes: peripheral addressing up to 255, flat space above."""
    return pack(">H6x", lun if lun < 256 else 0x4000 | lun)


def report_opcodes(unit: "LogicalUnit", task: Task) -> bytes:
    """REPORT SUPPORTED OPERATION CODES: all, or one by opcode (1), by service action too (2), by either (3)."""
    cdb = task.cdb
    timeouts, option = bool(cdb[2] & 0x80), cdb[2] & 7
    if option == 0:
        body = b"".join(_row(unit, each, timeouts=timeouts) for each in unit.commands)
        return pack(">I", len(body)) + body
    opcode, action = cdb[3], number(cdb, 4, 2)
    acted = unit.commands.has_actions(opcode)
    if option > 3 or (option == 1 and acted):
        raise bad_cdb(2, 2)
    if option == 2 and not acted and unit.commands.get(opcode) is not None:
        raise bad_cdb(2, 2)
    command = unit.commands.get(opcode, action if acted else None)
    if command is None or (option == 3 and not acted and action):
        return pack(">BBH", 0, _UNSUPPORTED, 0)
    usage = bytearray(command.usage)
    if command.action is not None:
        usage[1] = usage[1] & ~0x1F | command.action
    head = pack(">BBH", 0, _SUPPORTED | (0x80 if timeouts else 0), len(usage))
    return head + bytes(usage) + (_TIMEOUTS if timeouts else b"")


def _row(unit: "LogicalUnit", command: Command, *, timeouts: bool) -> bytes:
    flags = (0 if command.action is None else 1) | (2 if timeouts else 0)
    head = pack(">BxHxBH", command.opcode, command.action or 0, flags, command.cdb_length)
    return head + (_TIMEOUTS if timeouts else b"")
