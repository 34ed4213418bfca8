"""From a request descriptor to a task: what a driver asked for, checked, and its memory as views.

A request is read from the ring once; its SG list is read once. What was checked is what is used.
"""

from collections.abc import Callable, Iterator, Sequence

from pvdev.errors import PvdevError
from pvdev.mem import DmaFault, GuestMemory
from pvscsi.block.backend import Backend, Io
from pvscsi.scsi.task import Direction, Status, Task, Unit, Work
from pvscsi.wire import (
    FLAG_RESERVED,
    PAGE,
    REQUEST,
    SG_CHAIN,
    SG_ELEMENT,
    SG_ELEMENTS_MAX,
    SG_SEGMENTS_MAX,
    TAG_ORDERED,
    TAG_SIMPLE,
    Flag,
    HostStatus,
)

Note = Callable[[str, str, int], None]
Fields = tuple[int, int, int, int, int, int, bytes, int, bytes, int, int, int, int, bytes]  # of REQUEST, in order
Span = tuple[int, int]  # address, bytes

SANE = 64 << 20  # a driver that says it has more room than this is taken at its CDB's word
COPIES_MAX = 256 << 20  # bytes of private copies at a time; what needs more is told to come again
LIST_MAX = SG_ELEMENTS_MAX * SG_SEGMENTS_MAX  # elements of an SG list
_ELEMENT = SG_ELEMENT.struct
_UNUSED = bytes(58)
_SG = int(Flag.CMD_WITH_SG_LIST)
_DIRECTIONS = int(Flag.DIR_NONE | Flag.DIR_TOHOST | Flag.DIR_TODEVICE)
_WAYS = int(Flag.DIR_TOHOST | Flag.DIR_TODEVICE)
_AGAINST = {Direction.IN: int(Flag.DIR_TODEVICE), Direction.OUT: int(Flag.DIR_TOHOST)}
_FINE = frozenset((4,)), frozenset((8, 9, 16, 17))  # flags without data, and with data: one direction, SG list or not
_GROUP = (6, 10, 10, 0, 16, 12, 0, 0)  # bytes of a CDB by the three highest bits of its opcode; 0: any
LUNS = {bytes((0, lun, 0, 0, 0, 0, 0, 0)): lun for lun in range(256)}  # those a request can name

unpack = REQUEST.struct.iter_unpack
_NOTHING: Fields = next(unpack(bytes(REQUEST.size)))


class BadRequest(PvdevError):
    """A request that reaches no target: it is completed at once, with `host` and `status`."""

    def __init__(self, host: HostStatus, status: Status = Status.GOOD) -> None:
        super().__init__(host.name)
        self.host, self.status = host, status


class Request(Task):
    """A task with what its completion needs: the driver's context, where sense goes, and how the adapter fared.

    `host` is the hostStatus. `spans` are its data in the driver's memory, `lists` the segments of its SG list.
    `copied`: bytes of a private copy, because that memory is not mapped; `bounce` is the copy that is to be stored
    there. `work`: what is left to do of it; `pending`: transfers the backend has not finished. `stale`: nobody waits
    for it any more.
    """

    __slots__ = (
        "backend",
        "bounce",
        "context",
        "copied",
        "host",
        "ios",
        "lists",
        "lun",
        "pending",
        "sense_at",
        "sense_room",
        "spans",
        "stale",
        "tag",
        "target",
        "work",
    )

    def __init__(self, fields: Fields) -> None:
        context, _, _, sense_at, sense_room, _, cdb, _, lun, tag, _, target, _, _ = fields
        super().__init__(cdb)
        self.context, self.sense_at, self.sense_room = context, sense_at, sense_room
        self.lun, self.tag, self.target = lun[1], tag, target
        self.host = HostStatus.SUCCESS
        self.spans: Sequence[Span] = ()
        self.lists: Sequence[Span] = ()
        self.bounce: bytearray | None = None
        self.copied = 0
        self.work: Work | None = None
        self.ios: Sequence[Io] = ()
        self.backend: Backend | None = None  # what works on them; the unit may have another medium by now
        self.pending = 0
        self.stale = False

    @property
    def place(self) -> str:
        """Its name in the log of broken rules."""
        return f"target {self.target}, opcode {self.cdb[0]:#04x}"

    def touches(self, lo: int, hi: int) -> bool:
        """Whether its data lies in [lo, hi)."""
        return any(address < hi and lo < address + length for address, length in self.spans)

    def let_go(self) -> None:
        """Hold no view of the driver's memory any more; nothing works on it."""
        self.pieces, self.bounce = (), None
        for io in self.ios:
            io.buffers = ()


class Checker:
    """Makes requests out of descriptors. `note` records broken rules."""

    def __init__(self, mem: GuestMemory, note: Note) -> None:
        self._mem, self._note = mem, note
        self._copied = 0  # bytes of private copies there are

    def look(self, request: Request, fields: Fields) -> None:
        """Note what is wrong with a descriptor but harms nobody. What most drivers send is passed at once."""
        context, _, length, _, _, flags, cdb, cdb_length, lun, tag, bus, _, _, unused = fields
        if not (
            0 < context < 1 << 32
            and flags in _FINE[length > 0]
            and cdb_length == _GROUP[cdb[0] >> 5]
            and lun in LUNS
            and tag == TAG_SIMPLE
            and not bus
            and unused == _UNUSED
        ):
            self._look_closer(request, fields)

    def _look_closer(self, request: Request, fields: Fields) -> None:
        context, _, length, _, _, flags, cdb, cdb_length, lun, tag, bus, _, _, unused = fields
        note, where, everywhere = self._note, request.place, "requests"
        if fields == _NOTHING:
            note("PVS-D-021", everywhere, 0)
            return
        if context == 0:
            note("PVS-D-028", everywhere, 0)
        elif context >> 32:
            note("PVS-D-029", everywhere, context)
        directions = flags & _DIRECTIONS
        if directions & directions - 1 or not directions:
            note("PVS-D-031", everywhere, flags)
        elif bool(flags & Flag.DIR_NONE) != (length == 0):
            note("PVS-D-034", everywhere, flags)
        if flags & FLAG_RESERVED:
            note("PVS-D-032", where, flags)
        if flags & _SG and not length:
            note("PVS-D-038", where, 0)
        group = _GROUP[cdb[0] >> 5]
        if not 6 <= cdb_length <= 16 or cdb_length < group:
            note("PVS-D-046", where, cdb_length)
        elif group and cdb_length > group:
            note("PVS-D-046", everywhere, cdb_length)
        if lun not in LUNS:
            note("PVS-D-047", where, int.from_bytes(lun, "big"))
        if bus:
            note("PVS-D-048", where, bus)
        if not TAG_SIMPLE <= tag <= TAG_ORDERED:
            note("PVS-D-050", everywhere, tag)
        if unused != _UNUSED:
            note("PVS-D-051", everywhere, int.from_bytes(unused[:8], "little"))

    @staticmethod
    def whole(cdb: bytes, length: int) -> bool:
        """Whether `length` bytes hold all of the command; SeaBIOS always says 16."""
        return _GROUP[cdb[0] >> 5] <= length <= 16 and length > 0

    # -- data ----------------------------------------------------------------------------------------------------------

    def attach(self, request: Request, unit: Unit, address: int, length: int, flags: int) -> None:
        """Give the request its memory. Raises `BadRequest` when that cannot be had, or contradicts its CDB."""
        way = unit.direction(request.cdb)
        against = _AGAINST.get(way, 0)
        if flags & _WAYS == against and against:
            self._note("PVS-D-035", request.place, flags)
            raise BadRequest(HostStatus.BADMSG)
        if length > SANE:
            length = min(length, unit.expected(request.cdb))
        try:
            request.spans = self.elements(request, address, length) if flags & _SG else ((address, length),)
            self._map(request, unit, length, write=way is Direction.IN)
        except DmaFault as fault:
            self._note("PVS-D-037", request.place, fault.value)
            raise BadRequest(HostStatus.INVPARAM) from fault

    def _map(self, request: Request, unit: Unit, length: int, *, write: bool) -> None:
        """Views of its spans; a private copy where memory is not mapped. Raises `DmaFault`."""
        pieces: list[memoryview] = []
        find = self._mem.region
        for address, left in request.spans:
            while left:
                region = find(address)
                if region.view is None:
                    self._copy(request, min(length, unit.expected(request.cdb), COPIES_MAX), write=write)
                    return
                if write and not region.writable:
                    raise DmaFault("MEM-02", "the range is read-only", address)
                step, at = min(left, region.hi - address), address - region.lo
                pieces.append(region.view[at : at + step])
                address, left = address + step, left - step
        request.pieces, request.room = pieces, length

    def _copy(self, request: Request, length: int, *, write: bool) -> None:
        """Work on a copy of the first `length` bytes: filled from the driver's memory, or to be stored there later."""
        if self._copied + length > COPIES_MAX:
            raise BadRequest(HostStatus.SUCCESS, Status.TASK_SET_FULL)
        spans = list(_first(request.spans, length))
        if write:
            for address, size in spans:
                if not self._mem.reachable(address, size, write=True):
                    raise DmaFault("MEM-01", "not all of the range can be written", address)
            data = request.bounce = bytearray(length)
        else:
            data = bytearray(b"".join(self._mem.read(address, size) for address, size in spans))
        request.copied, request.pieces, request.room = length, (memoryview(data),), length
        self._copied += length

    def store(self, request: Request) -> bool:
        """The copied data of a request go where they belong; False: that memory is not there any more."""
        data, at = request.bounce, 0
        if data is not None:
            try:
                for address, size in _first(request.spans, request.moved):
                    self._mem.write(address, data[at : at + size])
                    at += size
            except DmaFault as fault:
                self._note("PVS-D-037", request.place, fault.value)
                return False
        return True

    def give_back(self, request: Request) -> None:
        """The request is done: its copy, if there was one, makes room for others'."""
        self._copied -= request.copied
        request.copied = 0

    def elements(self, request: Request, address: int, length: int) -> list[Span]:
        """The elements of an SG list, as many as cover `length`. Raises `BadRequest`, `DmaFault`."""
        note, place = self._note, request.place
        out: list[Span] = []
        lists: list[Span] = []
        left, count = length, 0
        following: int | None = address
        while left > 0:
            if following is None:
                note("PVS-D-041", place, length - left)
                raise BadRequest(HostStatus.INVPARAM)
            if len(lists) == SG_SEGMENTS_MAX or count > LIST_MAX:
                note("PVS-D-042", place, following)
                raise BadRequest(HostStatus.INVPARAM)
            segment, following, seen = following, None, 0
            for where, size, flags in self._segment(segment, 1 + left // PAGE):
                seen += 1
                if flags:
                    if flags & ~SG_CHAIN:
                        note("PVS-D-040", place, flags)
                        raise BadRequest(HostStatus.INVPARAM)
                    if size:
                        note("PVS-D-040", place, size)
                    following = where
                    break
                if size:
                    out.append((where, min(size, left)))
                    left -= size
                    if left <= 0:
                        break
                else:
                    note("PVS-D-040", place, 0)
            if segment % 16 or seen > SG_ELEMENTS_MAX:
                note("PVS-D-039", place, segment if segment % 16 else seen)
            lists.append((segment, 16 * seen))
            count += seen
        if len(out) == 1:
            note("PVS-D-038", place, 1)
        request.lists = lists
        return out

    def _segment(self, address: int, likely: int) -> Iterator[tuple[int, int, int]]:
        """The elements of one segment, to the end of its page; first so many as are `likely` to be enough."""
        room = (PAGE - address % PAGE) // 16 or 1
        count = min(likely, room)
        yield from _ELEMENT.iter_unpack(self._mem.read(address, 16 * count))
        if count < room:
            yield from _ELEMENT.iter_unpack(self._mem.read(address + 16 * count, 16 * (room - count)))


def _first(spans: Sequence[Span], length: int) -> Iterator[Span]:
    """So much of a range as its first `length` bytes are in."""
    for address, size in spans:
        if length <= 0:
            return
        yield address, min(size, length)
        length -= size
