"""A SCSI target: logical units by number, and what is answered where there is none."""

from collections.abc import Iterable, Mapping

from pvscsi.block.backend import Backend, Io
from pvscsi.scsi.command import number
from pvscsi.scsi.common import luns_data
from pvscsi.scsi.inquiry import absent
from pvscsi.scsi.opcodes import absent_commands
from pvscsi.scsi.sense import LUNS_CHANGED, NOT_SUPPORTED_LUN, Check, bad_cdb, encode
from pvscsi.scsi.task import Direction, Status, Task, Unit, Work
from pvscsi.scsi.unit import LogicalUnit

LUNS_MAX = 16384


class Target:
    """The units of one target. Raises `ValueError` for a LUN below 0 or above 16383, or one that is taken."""

    def __init__(self, units: Mapping[int, LogicalUnit] | None = None) -> None:
        self._units: dict[int, LogicalUnit] = {}
        self._absent = Absent(self)
        for lun, unit in (units or {}).items():
            self._place(lun, unit)

    @property
    def units(self) -> Mapping[int, LogicalUnit]:
        return self._units

    def luns(self) -> list[int]:
        """Numbers of the units there are, ascending."""
        return sorted(self._units)

    def unit(self, lun: int) -> Unit:
        """The unit with this number; where there is none, one that says so."""
        return self._units.get(lun, self._absent)

    def add(self, lun: int, unit: LogicalUnit) -> None:
        """A unit comes; the others tell."""
        others = list(self._units.values())
        self._place(lun, unit)
        _changed(others)

    def _place(self, lun: int, unit: LogicalUnit) -> None:
        if not 0 <= lun < LUNS_MAX:
            raise ValueError(f"LUN {lun}: use 0 to {LUNS_MAX - 1}")
        if lun in self._units:
            raise ValueError(f"LUN {lun} is taken: use another number")
        unit.luns = self.luns
        self._units[lun] = unit

    def remove(self, lun: int) -> LogicalUnit:
        """A unit goes, and is given back; the others tell. Raises `KeyError` where there is none."""
        unit = self._units.pop(lun)
        unit.luns = lambda: (0,)
        _changed(self._units.values())
        return unit

    def reset(self, *, bus: bool = False) -> None:
        """Every unit is reset."""
        for unit in self._units.values():
            unit.reset(bus=bus)


def _changed(units: Iterable[LogicalUnit]) -> None:
    for unit in units:
        unit.attention.add(LUNS_CHANGED)
        unit.settle()


class Absent:
    """What answers at a LUN where no unit is: INQUIRY, REPORT LUNS and REQUEST SENSE, and nothing else."""

    backend: Backend | None = None

    def __init__(self, target: Target) -> None:
        self._target = target
        self._commands = absent_commands()

    def direction(self, cdb: bytes) -> Direction:
        """See `task.Unit`."""
        try:
            return self._commands.find(cdb).direction(cdb)
        except Check:
            return Direction.NONE

    def expected(self, cdb: bytes) -> int:
        """See `task.Unit`."""
        try:
            return self._commands.find(cdb).size(cdb, 1)
        except Check:
            return 0

    def execute(self, task: Task) -> Work | Io | None:
        """See `task.Unit`: always done at once."""
        cdb = task.cdb
        try:
            if cdb and self._commands.get(cdb[0]) is None:
                raise Check(NOT_SUPPORTED_LUN)
            command = self._commands.find(cdb)
            task.give(self._answer(task)[: command.size(cdb, 1)])
        except Check as check:
            task.status, task.sense = Status.CHECK_CONDITION, check.data()
        return None

    def _answer(self, task: Task) -> bytes:
        cdb = task.cdb
        if cdb[0] == 0x03:
            return encode(NOT_SUPPORTED_LUN, descriptors=bool(cdb[1] & 1))
        if cdb[0] == 0xA0:
            return luns_data(task, self._target.luns())
        if cdb[1] & 3 or cdb[2]:
            raise bad_cdb(1 if cdb[1] & 3 else 2)
        return absent()

    def finish(self, task: Task, io: Io) -> None:
        """Nothing is ever begun here."""

    def drop(self, task: Task, io: Io) -> None:
        """Nothing is ever begun here."""

    def keep(self, task: Task) -> None:
        """REQUEST SENSE says it anyway."""

    def reset(self, *, bus: bool = False) -> None:
        """There is nothing to reset."""


def lun_number(lun: bytes) -> int | None:
    """The number in eight bytes of LUN: peripheral or flat addressing of one level. None: anything else."""
    if len(lun) != 8 or any(lun[2:]):
        return None
    method, value = lun[0] >> 6, number(lun, 0, 2) & 0x3FFF
    if method == 0 and value < 256:
        return value
    return value if method == 1 else None
