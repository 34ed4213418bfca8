"""From a request descriptor to a task: what a driver asked for, checked, and its memory as views.

A request is read from the ring once; its SG list is read once. What was checked is what is used.
"""

from collections.abc import Callable, Sequence

from pvdev.errors import PvdevError
from pvdev.mem import DmaFault, GuestMemory
from pvscsi.block.backend import Backend, Io
from pvscsi.scsi.task import Task, Work
from pvscsi.wire import PAGE, REQUEST, SG_CHAIN, SG_ELEMENT, SG_ELEMENTS_MAX, SG_SEGMENTS_MAX, Flag, HostStatus

Note = Callable[[str, str, int], None]
Fields = tuple[int, int, int, int, int, int, bytes, int, bytes, int, int, int, int, bytes]  # of REQUEST, in order

SANE = 64 << 20  # bytes one request may move; a driver that says more is taken at its CDB's word
NO_PIECES: tuple[memoryview, ...] = ()
_ELEMENT = SG_ELEMENT.struct
_UNUSED = bytes(58)
_DIRECTIONS = int(Flag.DIR_NONE | Flag.DIR_TOHOST | Flag.DIR_TODEVICE)
_GROUP = (6, 10, 10, 0, 16, 12, 0, 0)  # bytes of a CDB by the three highest bits of its opcode; 0: any

unpack = REQUEST.struct.iter_unpack


class BadRequest(PvdevError):
    """A request that reaches no target: it is completed with `status` at once."""

    def __init__(self, status: HostStatus) -> None:
        super().__init__(status.name)
        self.status = status


class Request(Task):
    """A task with what its completion needs: the driver's context, where sense goes, and how the adapter fared.

    `host` is the hostStatus. `bounce`: data lies in memory that is not mapped, `pieces` is a private copy. `work`: what
    is left to do of it; `pending`: transfers the backend has not finished. `cut`: the driver's memory ends before
    dataLen does. `stale`: nobody waits for it any more.
    """

    __slots__ = (
        "backend",
        "bounce",
        "context",
        "cut",
        "host",
        "ios",
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
        self.spans: Sequence[tuple[int, int]] = ()  # (address, bytes) of its data
        self.bounce: bytearray | None = None
        self.work: Work | None = None
        self.ios: Sequence[Io] = ()
        self.backend: Backend | None = None  # what works on them; the unit may have another medium by now
        self.pending = 0
        self.cut = self.stale = False

    def touches(self, lo: int, hi: int) -> bool:
        """Whether its data lies in [lo, hi)."""
        return any(address < hi and lo < address + length for address, length in self.spans)


class Checker:
    """Makes requests out of descriptors. `note` records broken rules; `place` names the request they were broken in."""

    def __init__(self, mem: GuestMemory, note: Note) -> None:
        self._mem, self._note = mem, note

    def look(self, fields: Fields, place: str) -> None:
        """Note what is wrong with a descriptor but harms nobody; the advice of all of them in one place."""
        context, _, length, _, _, flags, cdb, cdb_length, lun, tag, bus, _, _, unused = fields
        note, where = self._note, "requests"
        if context == 0:
            note("PVS-D-028", where, 0)
        elif context >> 32:
            note("PVS-D-029", where, context)
        directions = flags & _DIRECTIONS
        if directions & directions - 1 or not directions:
            note("PVS-D-031", where, flags)
        elif bool(flags & Flag.DIR_NONE) != (length == 0):
            note("PVS-D-034", where, flags)
        if flags >> 5:
            note("PVS-D-032", place, flags)
        if not 6 <= cdb_length <= 16 or cdb_length < _GROUP[cdb[0] >> 5]:
            note("PVS-D-046", place, cdb_length)
        if lun[0] or any(lun[2:]):
            note("PVS-D-047", place, int.from_bytes(lun, "big"))
        if bus:
            note("PVS-D-048", place, bus)
        if not 0x20 <= tag <= 0x22:
            note("PVS-D-050", where, tag)
        if unused != _UNUSED:
            note("PVS-D-051", where, int.from_bytes(unused[:8], "little"))

    @staticmethod
    def whole(cdb: bytes, length: int) -> bool:
        """Whether `length` bytes hold all of the command; SeaBIOS always says 16."""
        return _GROUP[cdb[0] >> 5] <= length <= 16 and length > 0

    # -- data ----------------------------------------------------------------------------------------------------------

    def attach(self, request: Request, address: int, length: int, flags: int, place: str) -> None:
        """Give the request its memory. Raises `BadRequest` when that cannot be had."""
        if not length:
            return
        try:
            if flags & Flag.CMD_WITH_SG_LIST:
                spans = self._elements(address, min(length, SANE), place)
            else:
                spans = [(address, min(length, SANE))]
            self._map(request, spans, place, tolerant=length > SANE)
        except DmaFault as fault:
            self._note("PVS-D-037", place, fault.value)
            raise BadRequest(HostStatus.INVPARAM) from fault

    def _map(self, request: Request, spans: Sequence[tuple[int, int]], place: str, *, tolerant: bool) -> None:
        """Views of the spans; a private copy where memory is not mapped. `tolerant`: as far as they are there."""
        pieces: list[memoryview] = []
        room, request.spans = 0, spans
        for address, length in spans:
            while length:
                try:
                    region = self._mem.region(address)
                except DmaFault:
                    if not tolerant:
                        raise
                    request.cut = True
                    length = 0
                    break
                step = min(length, region.hi - address)
                if region.view is None:
                    self._bounce(request, spans)
                    return
                at = address - region.lo
                pieces.append(region.view[at : at + step])
                address, length, room = address + step, length - step, room + step
            if request.cut:
                break
        request.pieces, request.room = pieces, room

    def _bounce(self, request: Request, spans: Sequence[tuple[int, int]]) -> None:
        """Work on a copy: filled from the driver's memory now, and stored there when the task is done."""
        data = bytearray(b"".join(self._mem.read(address, length) for address, length in spans))
        request.bounce, request.pieces, request.room = data, (memoryview(data),), len(data)

    def store(self, request: Request) -> None:
        """Data of a bounced request goes where it belongs. Raises `DmaFault`."""
        data, left = request.bounce, request.moved
        if data is None:
            return
        at = 0
        for address, length in request.spans:
            step = min(length, left - at)
            if step <= 0:
                break
            self._mem.write(address, data[at : at + step])
            at += step

    def _elements(self, address: int, length: int, place: str) -> list[tuple[int, int]]:
        """(address, bytes) of an SG list, as many as cover `length`. Raises `BadRequest`, `DmaFault`."""
        note, out, segments = self._note, [], 0
        left = length
        while True:
            segments += 1
            if segments > SG_SEGMENTS_MAX:
                note("PVS-D-042", place, address)
                raise BadRequest(HostStatus.INVPARAM)
            if address % 16:
                note("PVS-D-039", place, address)
            room = min(SG_ELEMENTS_MAX * 16, PAGE - address % PAGE) // 16 or 1
            chained = seen = 0
            while seen < room and left > 0 and not chained:
                n = min(1 + left // PAGE, room - seen)  # no more than are likely to be needed
                for where, size, flags in _ELEMENT.iter_unpack(self._mem.read(address + 16 * seen, 16 * n)):
                    seen += 1
                    if flags & ~SG_CHAIN:
                        note("PVS-D-040", place, flags)
                        raise BadRequest(HostStatus.INVPARAM)
                    if flags & SG_CHAIN:
                        chained = where
                        if size:
                            note("PVS-D-040", place, size)
                        break
                    if not size:
                        note("PVS-D-040", place, 0)
                        continue
                    out.append((where, min(size, left)))
                    left -= size
                    if left <= 0:
                        break
            if left <= 0:
                break
            if not chained:
                note("PVS-D-041", place, length - left)
                raise BadRequest(HostStatus.INVPARAM)
            address = chained
        if len(out) == 1:
            note("PVS-D-038", place, 1)
        return out
