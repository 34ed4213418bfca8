"""The close look: what is wrong with a request only together with others, with time, or byte by byte.

Too dear for every request unless somebody asks for it: some microseconds each, more with data to be written. Rules:
PVS-D-022 to 025, 030, 036, 043 to 046, 058 and 066 (docs/RULES.md).
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from zlib import crc32

from pvdev.mem import DmaFault, GuestMemory
from pvscsi.queue import Queue
from pvscsi.requests import BadRequest, Checker, Fields, Request, Span
from pvscsi.scsi.task import Direction, Status, Unit
from pvscsi.scsi.unit import LogicalUnit
from pvscsi.wire import PAGE, Flag

Note = Callable[[str, str, int], None]
Place = tuple[int, int, int]  # first byte, end, whose

KICK_WITHIN_NS = 1_000_000_000  # a kick that is owed comes within this time
LOOK_NS = 100_000_000  # how often an idle ring is looked at for requests nobody kicked
ABORTED_MAX = 4096  # contexts remembered; a driver that goes through more of them is not watched that closely
READS_WRITES = frozenset((0x08, 0x0A, 0x28, 0x2A, 0xA8, 0xAA, 0x88, 0x8A))
_WRITE_6 = 0x0A
_WRITES = frozenset((_WRITE_6, 0x2A, 0x8A, 0xAA))
_FLUSHES = frozenset((0x35, 0x91))  # SYNCHRONIZE CACHE
_START_STOP, _FUA = 0x1B, 0x08
_LENGTHS = {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}  # of CDBs, by group


class Kicks:
    """Which kicks a driver owes: requests are often found before it has kicked, never long before."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._heard = self._loud = False  # since requests were last found: any kick, KICK_NON_RW_IO
        self._owed: dict[str, tuple[int, int]] = {}  # rule -> since when, opcode

    def kicked(self, *, loud: bool) -> None:
        """A kick; `loud`: the one for what is no READ or WRITE."""
        self._heard, self._loud = True, self._loud or loud
        if loud:
            self._owed.clear()
        else:
            self._owed.pop("PVS-D-023", None)
            self._owed.pop("PVS-D-024", None)

    def found(self, opcodes: Iterable[int], now_ns: int, *, silent: bool, drained: bool) -> None:
        """Requests were fetched. `silent`: the call threshold spares READ and WRITE their kick. `drained`: no more
        wait, and kicks heard so far were not for later ones.
        """
        odd = next((opcode for opcode in opcodes if opcode not in READS_WRITES), None)
        if not self._heard and (odd is not None or not silent):
            self._owed.setdefault("PVS-D-024" if silent else "PVS-D-023", (now_ns, odd or 0))
        elif odd is not None and not self._loud:
            self._owed.setdefault("PVS-D-025", (now_ns, odd))
        if drained:
            self._heard = self._loud = False

    def judge(self, now_ns: int) -> None:
        for rule, (since, opcode) in list(self._owed.items()):
            if now_ns - since >= KICK_WITHIN_NS:
                self._note(rule, "kicks", opcode)
                del self._owed[rule]


class Places:
    """Stretches of memory, each with its owner."""

    def __init__(self) -> None:
        self._all: list[Place] = []

    def add(self, address: int, length: int, owner: int) -> None:
        insort(self._all, (address, address + length, owner))

    def drop(self, address: int, length: int, owner: int) -> None:
        at = bisect_right(self._all, (address, address + length, owner)) - 1
        if at >= 0 and self._all[at] == (address, address + length, owner):
            del self._all[at]

    def overlap(self, address: int, length: int, owner: int) -> bool:
        """Whether what lies next to a stretch lies in it, too, and is another's."""
        at = bisect_right(self._all, (address, address, 0))
        near = self._all[max(at - 1, 0) : at + 2]
        return any(lo < address + length and address < hi and whose != owner for lo, hi, whose in near)


class Watched:
    """What is remembered of one request."""

    __slots__ = ("digest", "listed", "unit", "written")

    def __init__(self, unit: Unit, written: Sequence[Span], digest: int | None, listed: Span | None) -> None:
        self.unit, self.written, self.digest, self.listed = unit, written, digest, listed


class Watch:
    """Looks at every request of one adapter from its SETUP_RINGS on."""

    def __init__(self, mem: GuestMemory, queue: Queue, note: Note) -> None:
        self._mem, self._queue, self._note = mem, queue, note
        self._reader = Checker(mem, lambda rule, place, value: None)  # reads SG lists again, and says nothing
        self.kicks = Kicks(note)
        self.now_ns, self.silent = 0, False
        self._out: dict[Request, Watched] = {}
        self._contexts: dict[int, int] = {}  # how many requests with this context are out
        self._aborted: set[int] = set()  # contexts of requests that were, as far as their completions are not taken
        self._unflushed: dict[tuple[int, int], int] = {}  # units with a write in their cache: its opcode
        self._stored = Places()  # what the device writes for requests
        self.guard()

    def guard(self) -> None:
        """The rings are others than before."""
        self._taboo = Places()
        for window in self._queue.windows():
            self._taboo.add(window.address, PAGE, 0)
        for request in self._out:
            for at, size in request.lists:
                self._taboo.add(at, size, id(request))

    # -- kicks ---------------------------------------------------------------------------------------------------------

    def fetched(self, found: Sequence[Fields]) -> None:
        opcodes, drained = (fields[6][0] for fields in found), not self._queue.waiting()
        self.kicks.found(opcodes, self.now_ns, silent=self.silent, drained=drained)

    # -- requests ------------------------------------------------------------------------------------------------------

    def begun(self, request: Request, fields: Fields, unit: Unit) -> None:
        """A request was checked, and has its memory."""
        note, place, owner = self._note, request.place, id(request)
        context, address, length, sense_at, sense_room, flags, cdb, _, _, _, _, _, _, _ = fields
        if self._contexts.get(context):
            note("PVS-D-030", "requests", context)
        self._contexts[context] = self._contexts.get(context, 0) + 1
        if context in self._aborted:
            if self._queue.untaken(context):
                note("PVS-D-058", "requests", context)
            self._aborted.discard(context)
        way, expected = unit.direction(cdb), unit.expected(cdb)
        if expected and length != expected:
            note("PVS-D-036", place, length)
        if any(cdb[_LENGTHS.get(cdb[0] >> 5, 16) :]):
            note("PVS-D-046", "behind the CDB", cdb[0])
        written: list[Span] = [*request.spans] if way is Direction.IN else []
        if sense_room:
            if not 18 <= sense_room <= 255 or not self._mem.reachable(sense_at, sense_room, write=True):
                note("PVS-D-043", place, sense_room)
            written.append((sense_at, sense_room))
        for at, size in written:
            if self._stored.overlap(at, size, owner):
                note("PVS-D-044", place, at)
            if self._taboo.overlap(at, size, owner):
                note("PVS-D-045", place, at)
            self._stored.add(at, size, owner)
        for at, size in request.lists:
            if self._stored.overlap(at, size, 0):
                note("PVS-D-045", place, at)
            self._taboo.add(at, size, owner)
        digest = _digest(request.pieces) if way is Direction.OUT else None
        listed = (address, sum(size for _, size in request.spans)) if flags & Flag.CMD_WITH_SG_LIST else None
        self._out[request] = Watched(unit, written, digest, listed)

    def done(self, request: Request, status: Status) -> None:
        """A request has its result; whoever waits for it has not been told."""
        seen = self._out.pop(request, None)
        if seen is None:
            return
        owner, context = id(request), request.context
        for at, size in seen.written:
            self._stored.drop(at, size, owner)
        for at, size in request.lists:
            self._taboo.drop(at, size, owner)
        left = self._contexts.pop(context) - 1
        if left:
            self._contexts[context] = left
        if request.stale:
            if len(self._aborted) >= ABORTED_MAX:
                self._aborted.clear()
            self._aborted.add(context)
            return
        if seen.digest is not None and not request.copied and _digest(request.pieces) != seen.digest:
            self._note("PVS-D-022", request.place, context)
        if seen.listed is not None and not self._same_list(request, seen.listed):
            self._note("PVS-D-022", request.place, context)
        if status is Status.GOOD:
            self._cached(request, seen.unit)

    def _same_list(self, request: Request, listed: Span) -> bool:
        spans, lists = request.spans, request.lists
        try:
            return self._reader.elements(request, *listed) == spans
        except (BadRequest, DmaFault):
            return False
        finally:
            request.lists = lists

    def _cached(self, request: Request, unit: Unit) -> None:
        """Keep account of what is in a write cache."""
        opcode, where = request.cdb[0], (request.target, request.lun)
        if opcode in _FLUSHES or opcode == _START_STOP:
            self._unflushed.pop(where, None)
        elif opcode in _WRITES and isinstance(unit, LogicalUnit) and not unit.write_through and request.moved:
            through = opcode != _WRITE_6 and request.cdb[1] & _FUA
            if not through:
                self._unflushed[where] = opcode

    # -- the end -------------------------------------------------------------------------------------------------------

    def ending(self) -> None:
        """ADAPTER_RESET: as good as a power cut to what was not flushed."""
        for (target, lun), opcode in self._unflushed.items():
            self._note("PVS-D-066", f"target {target}, LUN {lun}", opcode)

    def deadline(self) -> int:
        return self.now_ns + LOOK_NS


def _digest(pieces: Sequence[memoryview]) -> int:
    value = 0
    for piece in pieces:
        value = crc32(piece, value)
    return value
