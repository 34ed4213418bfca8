"""What is known of one command before it runs, and finding it by its CDB."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pvscsi.block.backend import Io
from pvscsi.scsi.sense import INVALID_OPCODE, Check, bad_cdb
from pvscsi.scsi.task import Direction, Task

Steps = Iterator[Sequence[Io]]
Outcome = bytes | Io | Steps | None
"""What a handler leaves: data for the initiator (not yet clipped to what the CDB allows), one transfer, the steps of a
longer work, or nothing more to do."""

Handler = Callable[[Any, Task], Outcome]


class Access(Enum):
    """What a reservation of another initiator makes of a command."""

    FREE = "runs under every reservation"
    READ = "runs unless access is exclusive"
    WRITE = "does not run"


def nothing(cdb: bytes, block: int) -> int:
    """The size of a command without data."""
    return 0


def number(cdb: bytes, start: int, size: int) -> int:
    """A field of a CDB, or of a parameter list."""
    return int.from_bytes(cdb[start : start + size], "big")


def length(start: int, size: int) -> Callable[[bytes, int], int]:
    """Data as long as a field of the CDB says: an allocation or a parameter list length."""
    return lambda cdb, block: number(cdb, start, size)


def blocks(start: int, size: int, times: int = 1) -> Callable[[bytes, int], int]:
    """As many blocks as a field of the CDB says, `times` over."""
    return lambda cdb, block: number(cdb, start, size) * block * times


@dataclass(frozen=True, eq=False)
class Command:
    """One row of a table of commands.

    `usage`: which bits of the CDB are looked at, the opcode itself first (CDB usage data of REPORT SUPPORTED OPCODES);
    as long as the CDB. `size`: bytes moved by the CDB alone, from the CDB and the block size. `flow`: where they go,
    for some by their CDB. `told`: runs although a unit attention is pending. `medium`: needs one that is ready.
    `writes`: refused on a write-protected medium.
    """

    name: str
    usage: bytes
    handler: Handler
    action: int | None = None
    flow: Direction | Callable[[bytes], Direction] = Direction.NONE
    size: Callable[[bytes, int], int] = nothing
    access: Access = Access.FREE
    told: bool = False
    medium: bool = False
    writes: bool = False
    opcode: int = field(init=False)
    cdb_length: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "opcode", self.usage[0])
        object.__setattr__(self, "cdb_length", len(self.usage))

    def direction(self, cdb: bytes) -> Direction:
        """Where the data of this CDB goes, if there are any."""
        return self.flow if isinstance(self.flow, Direction) else self.flow(cdb)


class CommandSet:
    """The commands of one unit."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self._rows: dict[int, dict[int | None, Command]] = {}
        for command in commands:
            row = self._rows.setdefault(command.opcode, {})
            if command.action in row or (row and (None in row or command.action is None)):
                raise ValueError(f"{command.name}: opcode {command.opcode:02X} is there already")
            row[command.action] = command

    def __iter__(self) -> Iterator[Command]:
        """In order of opcode and service action."""
        for opcode in sorted(self._rows):
            row = self._rows[opcode]
            yield from (row[action] for action in sorted(row, key=lambda action: action or 0))

    def get(self, opcode: int, action: int | None = None) -> Command | None:
        """The command with this opcode, and this service action if it has one."""
        return self._rows.get(opcode, {}).get(action)

    def has_actions(self, opcode: int) -> bool:
        """The opcode alone does not name a command."""
        return opcode in self._rows and None not in self._rows[opcode]

    def find(self, cdb: bytes) -> Command:
        """The command of a CDB. Raises `Check` for one that is unknown, or cut short."""
        row = self._rows.get(cdb[0]) if cdb else None
        if row is None:
            raise Check(INVALID_OPCODE)
        command = row.get(None)
        if command is None:
            command = row.get(cdb[1] & 0x1F if len(cdb) > 1 else None)
            if command is None:
                raise bad_cdb(1, 4)
        if len(cdb) < command.cdb_length:
            raise bad_cdb(len(cdb))
        return command
