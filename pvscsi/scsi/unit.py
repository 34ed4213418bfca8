"""What a disk and a CD drive have in common: how a command goes from its CDB to a status.

The order in which a command can fail: opcode and length of the CDB, reservation, unit attention, not ready, write
protection, fields of the CDB, LBA range, parameter list, medium. (The LUN comes second; `target` sees to it.)
"""

from collections.abc import Callable, Mapping, Sequence
from struct import Struct, pack
from typing import ClassVar

from pvscsi.block.backend import Backend, Fault, Io, Op
from pvscsi.scsi import sense as s
from pvscsi.scsi.attention import Attentions
from pvscsi.scsi.claims import Claims
from pvscsi.scsi.command import Command, CommandSet, Outcome, Steps
from pvscsi.scsi.identity import Identity
from pvscsi.scsi.limits import TRANSFER_BLOCKS_MAX
from pvscsi.scsi.mode import CACHING, CONTROL, D_SENSE, SWP, WCE, WP, ModePages, Page
from pvscsi.scsi.reserve import Reservations
from pvscsi.scsi.sense import Check, ReservationConflict
from pvscsi.scsi.task import Direction, Status, Task, Work, cut
from pvscsi.scsi.tray import Tray

# opcode, flags, LBA, blocks, control of the plain transfers
_READ_WRITE = {
    **dict.fromkeys((0x28, 0x2A), Struct(">BBIxHB")),
    **dict.fromkeys((0xA8, 0xAA), Struct(">BBIIxB")),
    **dict.fromkeys((0x88, 0x8A), Struct(">BBQIxB")),
}
_DPO, _FUA = 0x10, 0x08

Quick = tuple[Struct, Op, int]
"""Layout of the CDB, what it does, which of its flags need the long way."""

Plain = tuple[Op, Backend, int, int]
"""What is done, by what, how LBAs become bytes (a shift), the last LBA at which there is room."""


def _quick(command: Command) -> Quick:
    if command.writes:
        return _READ_WRITE[command.opcode], Op.WRITE, ~(_DPO | _FUA)
    return _READ_WRITE[command.opcode], Op.READ, ~_DPO  # a read with FUA flushes first


class LogicalUnit:
    """One logical unit. `block` is its block size in bytes, `blocks` how many it has now.

    `medium` is what is in it; `backend` the same while it can be reached, None with the tray open. `on_eject` hears of
    an eject by an initiator, `on_abort` of a nexus whose tasks a PREEMPT AND ABORT ends.
    """

    device_type: ClassVar[int]
    vital_pages: ClassVar[Mapping[int, Callable[..., bytes]]]

    def __init__(
        self,
        commands: CommandSet,
        pages: Sequence[Page],
        identity: Identity,
        backend: Backend | None,
        *,
        block: int,
        removable: bool = False,
    ) -> None:
        self.commands, self.identity = commands, identity
        self.block, self._shift = block, block.bit_length() - 1
        self.medium, self.backend, self.blocks = backend, backend, 0
        self.modes = ModePages(pages)
        self.attention, self.reservations = Attentions(), Reservations()
        self.claims = Claims(self.settle)
        self.removable, self.tray = removable, Tray()
        self.stopped = False
        self.read_errors = self.write_errors = 0  # of the medium, since power-on
        self.luns: Callable[[], Sequence[int]] = lambda: (0,)
        self.on_eject: Callable[[], None] = lambda: None
        self.on_abort: Callable[[int], None] = lambda nexus: None
        self._kept: dict[int, Check] = {}  # sense that could not be delivered, by nexus
        self._writes = self.claims.plain
        # the quick way: who may take it, and with which opcodes
        self._calm: frozenset[int] = frozenset()
        self._reads = {each.opcode: _quick(each) for each in commands if each.opcode in _READ_WRITE and not each.writes}
        self._all = {each.opcode: _quick(each) for each in commands if each.opcode in _READ_WRITE}
        self._quick: dict[int, Quick] = {}
        self._through = False
        self.measure()

    # -- the medium ----------------------------------------------------------------------------------------------------

    @property
    def read_only(self) -> bool:
        return self.backend is not None and self.backend.read_only

    @property
    def write_through(self) -> bool:
        """Writes are durable when they are done (WCE is 0)."""
        return not self.modes.bit(CACHING, 2, WCE)

    def measure(self) -> bool:
        """Look at the medium's size again. True: the number of blocks is another one."""
        before = self.blocks
        self.backend = None if self.tray.open else self.medium
        self.blocks = 0 if self.backend is None else self.backend.size >> self._shift
        self.settle()
        return self.blocks != before

    def settle(self) -> None:
        """Work out who may take the quick way: called whenever something changed that a plain transfer depends on."""
        self._through = self.write_through
        backend = self.backend
        if backend is None or not self.blocks or self.stopped or self.claims or self.reservations.any:
            self._calm = frozenset()
            return
        self._calm = frozenset(nexus for nexus in self.attention.quiet() if nexus not in self._kept)
        self._quick = self._reads if backend.read_only or self.modes.bit(CONTROL, 4, SWP) else self._all

    def check_ready(self) -> None:
        """Raises `Check` unless the medium can be used."""
        if self.backend is None:
            raise Check(self.no_medium())
        if not self.blocks:
            raise Check(s.NO_MEDIUM if self.removable else s.NOT_READY)
        if self.stopped:
            raise Check(s.NOT_READY_STOPPED)

    def no_medium(self) -> s.Sense:
        """How it says that nothing is in it."""
        return s.NO_MEDIUM

    def check_writable(self) -> None:
        """Raises `Check` on a write-protected medium."""
        if self.read_only:
            raise Check(s.WRITE_PROTECTED)
        if self.modes.bit(CONTROL, 4, SWP):
            raise Check(s.SOFTWARE_WRITE_PROTECTED)

    # -- a command -----------------------------------------------------------------------------------------------------

    def direction(self, cdb: bytes) -> Direction:
        """See `task.Unit`."""
        try:
            return self.commands.find(cdb).direction(cdb)
        except Check:
            return Direction.NONE

    def expected(self, cdb: bytes) -> int:
        """See `task.Unit`."""
        try:
            return self.commands.find(cdb).size(cdb, self.block)
        except Check:
            return 0

    def execute(self, task: Task) -> Work | Io | None:
        """See `task.Unit`. Plain transfers with nothing in their way are done here, all else by the book."""
        cdb = task.cdb
        if task.nexus in self._calm and cdb:
            quick = self._quick.get(cdb[0])
            if quick is not None:
                layout, op, refused = quick
                if len(cdb) >= layout.size:
                    _, flags, lba, count, control = layout.unpack_from(cdb)
                    length = count << self._shift
                    if (
                        not (flags & refused or control)
                        and 0 < count <= TRANSFER_BLOCKS_MAX
                        and lba + count <= self.blocks
                        and length <= task.room
                    ):
                        pieces = task.pieces if length == task.room else cut(task.pieces, 0, length)
                        if op is Op.READ:
                            return Io(op, lba << self._shift, length, pieces)
                        io = Io(op, lba << self._shift, length, pieces, fua=self._through or flags & _FUA != 0)
                        self._writes.add(io)
                        return io
        return self._by_the_book(task)

    def plain(self, cdb: bytes, length: int, nexus: int = 0) -> Plain | None:
        """How to do transfers of `length` bytes with CDBs that differ from this one in their LBA alone, at once and
        without a task. None: they have to be executed."""
        quick = self._quick.get(cdb[0]) if nexus in self._calm else None
        if quick is None:
            return None
        layout, op, refused = quick
        _, flags, _, count, control = layout.unpack_from(cdb)
        if flags & refused or control or not 0 < count <= TRANSFER_BLOCKS_MAX or count << self._shift != length:
            return None
        if self.backend is None or (op is Op.WRITE and (self._through or flags & _FUA)):
            return None
        return op, self.backend, self._shift, self.blocks - count

    def finish(self, task: Task, io: Io) -> None:
        """See `task.Unit`."""
        if io.op is Op.WRITE:
            self._writes.discard(io)
        if io.fault is None:
            task.moved = io.length
        else:
            task.moved = min(io.moved, io.length) >> self._shift << self._shift
            self._fail(task, self.failure(io))

    def drop(self, task: Task, io: Io) -> None:
        """See `task.Unit`."""
        self._writes.discard(io)

    def _by_the_book(self, task: Task) -> Work | Io | None:
        nexus = task.nexus
        self.attention.meet(nexus)
        try:
            command = self.commands.find(task.cdb)
            if command.opcode != 0x03 and self._kept.pop(nexus, None) is not None:
                self.settle()
            self._admit(command, task)
            if task.cdb[command.cdb_length - 1] & 0x04:  # NACA
                raise s.bad_cdb(command.cdb_length - 1, 2)
            outcome = command.handler(self, task)
        except Check as check:
            task.moved = 0
            self._fail(task, check)
            return None
        except ReservationConflict:
            task.status = Status.RESERVATION_CONFLICT
            return None
        return self._outcome(command, task, outcome)

    def _outcome(self, command: Command, task: Task, outcome: Outcome) -> Work | Io | None:
        if outcome is None or isinstance(outcome, Io):
            return outcome
        if isinstance(outcome, bytes):
            task.give(outcome[: command.size(task.cdb, self.block)])
            return None
        return self._work(task, outcome)

    def _work(self, task: Task, steps: Steps) -> Work:
        try:
            yield from steps
        except Check as check:
            self._fail(task, check)

    def _admit(self, command: Command, task: Task) -> None:
        """Everything that can be said before the CDB is looked into. Raises `Check` or `ReservationConflict`."""
        self.reservations.admit(command, task)
        if not command.told:
            attention = self.attention.take(task.nexus)
            if attention is not None:
                self.settle()
                raise Check(attention)
        if command.medium:
            self.check_ready()
        if command.writes:
            self.check_writable()

    def _fail(self, task: Task, check: Check) -> None:
        task.status = Status.CHECK_CONDITION
        task.sense = check.data(descriptors=self.modes.bit(CONTROL, 2, D_SENSE))

    def keep(self, task: Task) -> None:
        """See `task.Unit`."""
        if task.status is Status.CHECK_CONDITION:
            self._kept[task.nexus] = s.parse(task.sense)
            self.settle()

    def pending(self, nexus: int) -> Check:
        """What REQUEST SENSE tells, which is told by this."""
        kept = self._kept.pop(nexus, None)
        if kept is None:
            attention = self.attention.take(nexus)
            kept = Check(s.NO_SENSE if attention is None else attention)
        self.settle()
        return kept

    # -- what handlers use ---------------------------------------------------------------------------------------------

    def parameters(self, task: Task, length: int) -> bytes:
        """The parameter list of a command that says it has `length` bytes. Raises `Check` when fewer were sent."""
        if length > task.room:
            raise Check(s.PARAMETER_LIST_LENGTH_ERROR)
        task.moved = length
        return task.take(length)

    def run(self, *ios: Io) -> Steps:
        """Have these done. Raises `Check` for the first that failed."""
        yield ios
        for io in ios:
            if io.fault is not None:
                raise self.failure(io)

    def flush(self) -> Steps:
        """Make durable what was written; nothing to do without a medium or on one that is never written."""
        if self.backend is not None and not self.backend.read_only:
            yield from self.run(Io(Op.FLUSH))

    def failure(self, io: Io) -> Check:
        """The sense of a transfer the backend could not do."""
        fault = io.fault
        where = None if io.op is Op.FLUSH else (io.offset + min(io.moved, io.length)) >> self._shift
        if fault is Fault.READ:
            self.read_errors += 1
            return Check(s.UNRECOVERED_READ_ERROR, information=where)
        if fault is Fault.WRITE:
            self.write_errors += 1
            return Check(s.WRITE_ERROR, information=where)
        if fault is Fault.FULL:
            return Check(s.SPACE_ALLOCATION_FAILED, information=where)
        if fault is Fault.READ_ONLY:
            return Check(s.WRITE_PROTECTED)
        return Check(s.INTERNAL_TARGET_FAILURE)

    def mode_specific(self) -> int:
        """The device-specific parameter of the mode header."""
        return WP if self.read_only or self.modes.bit(CONTROL, 4, SWP) else 0

    def mode_page(self, code: int, control: int) -> bytes:
        """A mode page as MODE SENSE sends it."""
        return self.modes.read(code, control)

    def block_descriptor(self, *, wide: bool) -> bytes:
        """The block descriptor of MODE SENSE; `wide` with a 64-bit count."""
        if wide:
            return pack(">QxxxxI", self.blocks, self.block)
        return pack(">II", min(self.blocks, 0xFFFF_FFFF), self.block)

    # -- from outside --------------------------------------------------------------------------------------------------

    def reset(self, *, bus: bool = False) -> None:
        """See `task.Unit`."""
        self.attention.add(s.BUS_RESET if bus else s.DEVICE_RESET)
        self.modes.reset()
        self.reservations.reset()
        self.tray.reset()
        self.claims.clear()
        self._kept.clear()
        self.stopped = False
        self.settle()

    def lost(self, nexus: int) -> None:
        """An initiator is gone: what it prevented and reserved (the old way) ends with it."""
        self.tray.locked_by.discard(nexus)
        self.reservations.lost(nexus)
        self._kept.pop(nexus, None)
        self.attention.tell(nexus, s.NEXUS_LOSS)
        self.settle()

    def grown(self) -> None:
        """The medium has another size, perhaps: every initiator is told if it has."""
        if self.measure():
            self.attention.add(s.CAPACITY_CHANGED)
            self.settle()

    def load(self, medium: Backend | None, *, by: int | None = None) -> None:
        """Put this medium in instead of what is there, and close the tray; None: take out what is there.

        Every initiator is told, except the one that asked for it (`by`).
        """
        self.medium = medium
        self.tray.changed(present=medium is not None)
        self.measure()
        if medium is not None:
            self.attention.add(s.MEDIUM_CHANGED, but=by)
            self.settle()

    def eject(self) -> bool:
        """Somebody presses the button. False: an initiator prevents it, and is told that it was pressed."""
        if self.tray.locked_by:
            self.tray.request()
            return False
        self.open_tray()
        return True

    def open_tray(self) -> None:
        """The medium is out of reach; it lies in the tray until another is loaded."""
        if not self.tray.open:
            self.tray.opened()
            self.measure()

    def close_tray(self, *, by: int | None = None) -> None:
        """What lies in the tray is in reach again. `by`: see `load`."""
        if self.tray.open:
            self.load(self.medium, by=by)
