"""Reservations: PERSISTENT RESERVE IN and OUT, and RESERVE and RELEASE of old.

Registrations last as long as the unit does (PTPL is not offered); resets leave them, and end RESERVE.
Ref: SPC-4 persistent reservations and its table of commands allowed under them.
"""

from collections.abc import Iterable
from enum import IntEnum
from struct import pack
from typing import TYPE_CHECKING

from pvscsi.scsi import sense as s
from pvscsi.scsi.command import Access, Command, number
from pvscsi.scsi.sense import Check, ReservationConflict, bad_cdb, bad_list
from pvscsi.scsi.task import Task

if TYPE_CHECKING:
    from pvscsi.scsi.unit import LogicalUnit

RELEASE_OLD = (0x17, 0x57)
_FREE_UNDER_OLD = {0x03, 0x12, 0xA0, 0xA3, *RELEASE_OLD}
_LIST_SIZE = 24
_REGISTRATIONS_MAX = 1024
_APTPL, _ALL_TG_PT, _SPEC_I_PT = 0x01, 0x04, 0x08


class Kind(IntEnum):
    """Types of persistent reservation."""

    WRITE_EXCLUSIVE = 1
    EXCLUSIVE_ACCESS = 3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS = 7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 8


_EXCLUSIVE_ACCESS = {
    Kind.EXCLUSIVE_ACCESS,
    Kind.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
    Kind.EXCLUSIVE_ACCESS_ALL_REGISTRANTS,
}
_ALL_REGISTRANTS = {Kind.WRITE_EXCLUSIVE_ALL_REGISTRANTS, Kind.EXCLUSIVE_ACCESS_ALL_REGISTRANTS}
_ONE_HOLDER = {Kind.WRITE_EXCLUSIVE, Kind.EXCLUSIVE_ACCESS}


class Reservations:
    """Who has registered with which key, who holds what. A nexus of None: nobody."""

    def __init__(self) -> None:
        self.keys: dict[int, int] = {}
        self.generation = 0
        self.holder: int | None = None  # with an all-registrants type whoever reserved it, or any other registrant
        self.kind: Kind | None = None
        self.old: int | None = None

    @property
    def any(self) -> bool:
        """Some command of some initiator may be refused."""
        return self.kind is not None or self.old is not None

    def reset(self) -> None:
        """The old kind ends with a reset."""
        self.old = None

    def lost(self, nexus: int) -> None:
        """The old kind ends with its initiator."""
        if self.old == nexus:
            self.old = None

    def holds(self, nexus: int) -> bool:
        """This nexus is the holder, or one of them."""
        return self.kind is not None and (nexus in self.keys if self.kind in _ALL_REGISTRANTS else nexus == self.holder)

    def admit(self, command: Command, task: Task) -> None:
        """Raises `ReservationConflict` for a command that does not run now."""
        nexus = task.nexus
        if self.old is not None and self.old != nexus and command.opcode not in _FREE_UNDER_OLD:
            raise ReservationConflict
        if self.kind is None or command.access is Access.FREE:
            return
        if nexus in self.keys if self.kind not in _ONE_HOLDER else self.holds(nexus):
            return
        if command.access is Access.WRITE or self.kind in _EXCLUSIVE_ACCESS:
            raise ReservationConflict

    def free(self) -> None:
        """Nobody holds anything."""
        self.holder = self.kind = None

    def drop(self, nexus: int) -> bool:
        """Take a registration away. True: the reservation ended with it."""
        del self.keys[nexus]
        if self.kind in _ALL_REGISTRANTS:
            if self.keys:
                return False
        elif self.holder != nexus:
            return False
        ended = self.kind is not None
        self.free()
        return ended


def reserve_old(unit: "LogicalUnit", task: Task) -> None:
    """RESERVE(6) and (10). With a registration of its own an initiator is past such things: nothing happens."""
    _no_third_party(task.cdb)
    held = unit.reservations
    if held.keys:
        if task.nexus not in held.keys:
            raise ReservationConflict
        return
    held.old = task.nexus
    unit.settle()


def release_old(unit: "LogicalUnit", task: Task) -> None:
    """RELEASE(6) and (10): of nothing, or of another's, is no error."""
    _no_third_party(task.cdb)
    unit.reservations.lost(task.nexus)
    unit.settle()


def _no_third_party(cdb: bytes) -> None:
    if cdb[1] & 0x11:  # 3RDPTY, EXTENT
        raise bad_cdb(1, 4)


# -- PERSISTENT RESERVE IN ---------------------------------------------------------------------------------------------


def read_keys(unit: "LogicalUnit", task: Task) -> bytes:
    """PERSISTENT RESERVE IN, READ KEYS."""
    held = unit.reservations
    return _counted(held, b"".join(pack(">Q", key) for key in held.keys.values()))


def read_reservation(unit: "LogicalUnit", task: Task) -> bytes:
    """PERSISTENT RESERVE IN, READ RESERVATION."""
    held = unit.reservations
    if held.kind is None:
        return _counted(held, b"")
    key = 0 if held.kind in _ALL_REGISTRANTS or held.holder is None else held.keys[held.holder]
    return _counted(held, pack(">Q5xBxx", key, held.kind))


def report_capabilities(unit: "LogicalUnit", task: Task) -> bytes:
    """PERSISTENT RESERVE IN, REPORT CAPABILITIES: all six types; RESERVE of old keeps to CRH."""
    return pack(">HBBBBxx", 8, 0x10, 0x80, 0xEA, 0x01)


def read_full_status(unit: "LogicalUnit", task: Task) -> bytes:
    """PERSISTENT RESERVE IN, READ FULL STATUS; an initiator's TransportID is that of a parallel bus."""
    held, out = unit.reservations, b""
    for nexus, key in held.keys.items():
        holds = held.holds(nexus)
        kind = held.kind if holds and held.kind is not None else 0
        transport = pack(">BxHxxH16x", 0x01, nexus & 0xFFFF, 1)
        out += pack(">QxxxxBBxxxxHI", key, holds, kind, 1, len(transport)) + transport
    return _counted(held, out)


def _counted(held: Reservations, data: bytes) -> bytes:
    return pack(">II", held.generation & 0xFFFF_FFFF, len(data)) + data


# -- PERSISTENT RESERVE OUT --------------------------------------------------------------------------------------------


def _out_list(unit: "LogicalUnit", task: Task) -> tuple[int, int, int]:
    """(reservation key, service action key, flags) of the parameter list. Raises `Check`."""
    if number(task.cdb, 5, 4) != _LIST_SIZE:
        raise Check(s.PARAMETER_LIST_LENGTH_ERROR)
    data = unit.parameters(task, _LIST_SIZE)
    return number(data, 0, 8), number(data, 8, 8), data[20]


def _registered(unit: "LogicalUnit", task: Task) -> tuple[int, int]:
    """(reservation key, service action key), the first being the one this initiator registered."""
    held = unit.reservations
    if task.nexus not in held.keys:
        raise ReservationConflict
    key, action_key, _ = _out_list(unit, task)
    if held.keys[task.nexus] != key:
        raise ReservationConflict
    return key, action_key


def _kind(task: Task) -> Kind:
    """Scope and type. Raises `Check` for a scope but the logical unit, and for a type there is not."""
    scope_and_kind = task.cdb[2]
    if scope_and_kind >> 4:
        raise bad_cdb(2, 7)
    try:
        return Kind(scope_and_kind)
    except ValueError:
        raise bad_cdb(2, 3) from None


def register(unit: "LogicalUnit", task: Task) -> None:
    """REGISTER: a key, another key, or with 0 none."""
    held = unit.reservations
    key, new, flags = _out_list(unit, task)
    if key != held.keys.get(task.nexus, 0):
        raise ReservationConflict
    _register(unit, task, new, flags)


def register_and_ignore(unit: "LogicalUnit", task: Task) -> None:
    """REGISTER AND IGNORE EXISTING KEY"""
    _, new, flags = _out_list(unit, task)
    _register(unit, task, new, flags)


def _register(unit: "LogicalUnit", task: Task, new: int, flags: int) -> None:
    held, nexus = unit.reservations, task.nexus
    if flags & (_APTPL | _SPEC_I_PT):
        raise bad_list(20)
    if new:
        if nexus not in held.keys and len(held.keys) >= _REGISTRATIONS_MAX:
            raise Check(s.NO_MORE_REGISTRATIONS)
        held.keys[nexus] = new
    elif nexus in held.keys:
        shared = held.kind not in _ONE_HOLDER
        if held.drop(nexus) and shared:
            _tell(unit, held.keys, s.RESERVATIONS_RELEASED, but=nexus)
    else:
        return
    held.generation += 1
    unit.settle()


def reserve(unit: "LogicalUnit", task: Task) -> None:
    """RESERVE: again the same by the holder is no error."""
    held = unit.reservations
    kind = _kind(task)
    _registered(unit, task)
    if held.kind is not None and not (held.holds(task.nexus) and held.kind is kind):
        raise ReservationConflict
    if held.kind is None:
        held.holder, held.kind = task.nexus, kind
        unit.settle()


def release(unit: "LogicalUnit", task: Task) -> None:
    """RELEASE: by one who does not hold it is no error; of another type is."""
    held = unit.reservations
    kind = _kind(task)
    _registered(unit, task)
    if not held.holds(task.nexus):
        return
    if kind is not held.kind:
        raise Check(s.INVALID_RELEASE)
    held.free()
    if kind not in _ONE_HOLDER:
        _tell(unit, held.keys, s.RESERVATIONS_RELEASED, but=task.nexus)
    unit.settle()


def clear(unit: "LogicalUnit", task: Task) -> None:
    """CLEAR: no reservation and no registration is left."""
    held = unit.reservations
    _registered(unit, task)
    _tell(unit, held.keys, s.RESERVATIONS_PREEMPTED, but=task.nexus)
    held.keys.clear()
    held.free()
    held.generation += 1
    unit.settle()


def preempt(unit: "LogicalUnit", task: Task) -> None:
    """PREEMPT: registrations with the service action key go; if it is the holder's, the reservation is taken over."""
    _preempt(unit, task)


def preempt_and_abort(unit: "LogicalUnit", task: Task) -> None:
    """PREEMPT AND ABORT: and the tasks of those it removed end."""
    for nexus in _preempt(unit, task):
        unit.on_abort(nexus)


def _preempt(unit: "LogicalUnit", task: Task) -> list[int]:
    held, me = unit.reservations, task.nexus
    kind = _kind(task)
    _, victim = _registered(unit, task)
    all_hold = held.kind in _ALL_REGISTRANTS
    if all_hold and victim == 0:
        gone = [nexus for nexus in held.keys if nexus != me]
        takes = True
    else:
        if victim == 0:
            raise bad_list(8)
        gone = [nexus for nexus, key in held.keys.items() if key == victim]
        takes = held.kind is not None and not all_hold and held.holder in gone
        if not gone:
            raise ReservationConflict
    changed = takes and held.kind is not kind
    removed = [nexus for nexus in gone if nexus != me or not takes]
    for nexus in removed:
        held.drop(nexus)
    if takes:
        held.holder, held.kind = me, kind
        if changed:
            _tell(unit, held.keys, s.RESERVATIONS_RELEASED, but=me)
    _tell(unit, removed, s.REGISTRATIONS_PREEMPTED, but=me)
    held.generation += 1
    unit.settle()
    return [nexus for nexus in removed if nexus != me]


def _tell(unit: "LogicalUnit", nexuses: Iterable[int], sense: s.Sense, *, but: int) -> None:
    for nexus in nexuses:
        if nexus != but:
            unit.attention.tell(nexus, sense)
