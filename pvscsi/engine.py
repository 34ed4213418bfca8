"""Requests on their way through units and backends: begun in order, finished in any, completed as they finish."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping

from pvdev.mem import DmaFault, GuestMemory
from pvdev.trace import Sink
from pvscsi.block.backend import Backend, Fault, Io
from pvscsi.plain import Plain, runs
from pvscsi.queue import Queue
from pvscsi.requests import LUNS, BadRequest, Checker, Fields, Request, unpack
from pvscsi.scsi.target import Target
from pvscsi.scsi.task import Status, Unit
from pvscsi.scsi.unit import LogicalUnit
from pvscsi.watch import Watch
from pvscsi.wire import COMPLETION, REQUEST, TAG_HEAD, TAG_ORDERED, Flag, HostStatus

MAX_TARGETS = 65  # places for targets; VMware's product says the same
Note = Callable[[str, str, int], None]
_pack = COMPLETION.struct.pack
_INQUIRY = 0x12
_TARGET = REQUEST.offset["target"]
_OPTIONAL = frozenset((0x41, 0x42, 0x93))  # WRITE SAME and UNMAP: a unit says whether it has them, and how far


class Lane:
    """What is going on at one unit: requests out, and those that wait behind an ordered one."""

    __slots__ = ("out", "parked", "plain", "unit", "waiting", "waking")

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.out: dict[Request, None] = {}  # in the order they were begun
        self.waiting: deque[tuple[Request, Fields]] = deque()
        self.parked: deque[Request] = deque()  # wait for another request of this unit to end
        self.waking = False
        self.plain = unit if isinstance(unit, LogicalUnit) else None  # has a quick way


def _ordered(lane: Lane) -> bool:
    """Whether an ORDERED request is under way, which nothing but a HEAD OF QUEUE may pass: it began alone."""
    return bool(lane.out) and next(iter(lane.out)).tag == TAG_ORDERED


class Engine:
    """The work of one adapter while its rings are set up. `targets` by number; it may change meanwhile.

    `watch` takes a close look at every request (None: nobody does).
    """

    def __init__(
        self,
        mem: GuestMemory,
        queue: Queue,
        targets: Mapping[int, Target],
        note: Note,
        watch: Watch | None = None,
    ) -> None:
        self.queue, self._mem, self._targets, self._note = queue, mem, targets, note
        self._check, self._plain, self.watch = Checker(mem, note), Plain(mem), watch
        self._lanes: dict[tuple[int, int], Lane] = {}
        self._busy: dict[Backend, int] = {}  # transfers a backend has not finished
        self._done: list[bytes] = []  # completions to be posted
        self.quick = True  # those came the quick way
        self._batch: dict[Backend, list[Io]] = {}
        self.trace: Sink | None = None

    @property
    def out(self) -> int:
        """Requests whose completions are not posted yet."""
        return self.queue.out

    def outstanding(self) -> Iterator[Request]:
        """Every request that is being worked on or waits its turn, oldest first of each unit."""
        for lane in self._lanes.values():
            yield from lane.out
            for request, _ in lane.waiting:
                yield request

    # -- beginning -----------------------------------------------------------------------------------------------------

    def consume(self, budget: int) -> int:
        """Fetch up to `budget` requests and begin them; how many."""
        raw = self.queue.fetch(budget)
        if not raw:
            return 0
        count = len(raw) // REQUEST.size
        if self.watch is None:
            for start, end in runs(raw):
                self._run(raw, start, end)
        else:
            found = list(unpack(raw))
            self.watch.fetched(found)
            for fields in found:
                self._begin(fields)
        if self._batch:
            self._submit()
        if self.trace is not None:
            self.trace("pvscsi.requests", count=count)
        return count

    def _run(self, raw: bytes, start: int, end: int) -> None:
        """Requests that are alike, in these bytes: at once where that goes."""
        lane = self._lanes.get((raw[start + _TARGET], 0))
        if lane is not None and lane.plain is not None and not (lane.waiting or _ordered(lane)):
            if self._batch:
                self._submit()
            completions = self._plain.answer(raw, start, end, lane.plain)
            if completions:
                self._done.append(completions)
                start += len(completions) // COMPLETION.size * REQUEST.size
        if start < end:
            for fields in unpack(raw[start:end]):
                self._begin(fields)

    def _begin(self, fields: Fields) -> None:
        request = Request(fields)
        self._check.look(request, fields)
        lane = self._lane(request, fields)
        if lane is None:
            request.host = HostStatus.SELTIMEO
            self._complete(request, None)
        elif request.tag != TAG_HEAD and (lane.waiting or _ordered(lane) or (request.tag == TAG_ORDERED and lane.out)):
            lane.waiting.append((request, fields))
        else:
            self._start(request, fields, lane)

    def _lane(self, request: Request, fields: Fields) -> Lane | None:
        """The unit a request goes to; None when there is none."""
        _, _, _, _, _, _, _, _, lun, _, bus, number, _, _ = fields
        if bus or lun not in LUNS:
            return None
        lane = self._lanes.get((number, request.lun))
        if lane is None:
            target = self._targets.get(number)
            if target is None:
                if number >= MAX_TARGETS:
                    self._note("PVS-D-049", "requests", number)
                elif request.cdb[0] != _INQUIRY and self.queue.known_gone(number):
                    self._note("PVS-D-063", request.place, number)
                return None
            lane = self._lanes[number, request.lun] = Lane(target.unit(request.lun))
        return lane

    def _start(self, request: Request, fields: Fields, lane: Lane) -> None:
        _, address, length, _, _, flags, cdb, cdb_length, _, _, _, _, _, _ = fields
        lane.out[request] = None
        try:
            if flags & Flag.CMD_OUT_OF_BAND_CDB:
                self._note("PVS-D-033", request.place, flags)
                raise BadRequest(HostStatus.INVPARAM)
            if not self._check.whole(cdb, cdb_length):
                raise BadRequest(HostStatus.INVPARAM)
            if length:
                self._check.attach(request, lane.unit, address, length, flags)
        except BadRequest as bad:
            request.host, request.status = bad.host, bad.status
            self._complete(request, lane)
            return
        if self.watch is not None:
            self.watch.begun(request, fields, lane.unit)
        step = lane.unit.execute(request)
        if step is None:
            self._complete(request, lane)
        elif isinstance(step, Io):
            step.owner, request.ios, request.pending = request, (step,), 1
            backend = lane.unit.backend
            assert backend is not None
            request.backend = backend
            self._batch.setdefault(backend, []).append(step)
        else:
            request.work = step
            self._advance(request, lane)

    def _submit(self) -> None:
        """Hand over what was gathered, and finish what is done at once."""
        batch, self._batch = self._batch, {}
        for backend, ios in batch.items():
            backend.submit(ios)
            late = 0
            for io in ios:
                if io.done:
                    self._finish(io)
                else:
                    late += 1
            if late:
                self._busy[backend] = self._busy.get(backend, 0) + late

    # -- going on ------------------------------------------------------------------------------------------------------

    def reap(self, now_ns: int) -> int:
        """Go on with what backends have finished by now; how many transfers."""
        count = 0
        for backend in tuple(self._busy):
            for io in backend.reap(now_ns):
                count += 1
                self._busy[backend] -= 1
                self._finish(io)
            if not self._busy.get(backend):
                self._busy.pop(backend, None)
        if self._batch:
            self._submit()
        return count

    def _finish(self, io: Io) -> None:
        request: Request = io.owner
        request.pending -= 1
        if request.stale or request.pending:
            return
        lane = self._lanes[request.target, request.lun]
        if request.work is None:
            lane.unit.finish(request, io)
            self._complete(request, lane)
        else:
            self._advance(request, lane)

    def _advance(self, request: Request, lane: Lane) -> None:
        """Ask the unit what is next, until it must wait or the request is done."""
        assert request.work is not None
        for ios in request.work:
            if not ios:  # another request of this unit stands in its way
                lane.parked.append(request)
                return
            backend = lane.unit.backend
            if backend is None:  # the medium was taken away meanwhile
                for io in ios:
                    io.finish(0, Fault.GONE)
                continue
            for io in ios:
                io.owner = request
            request.pending, request.backend = len(ios), backend
            backend.submit(ios)
            late = sum(not io.done for io in ios)
            request.pending = late
            if late:
                request.ios = ios
                self._busy[backend] = self._busy.get(backend, 0) + late
                return
        self._complete(request, lane)

    # -- ending --------------------------------------------------------------------------------------------------------

    def _complete(self, request: Request, lane: Lane | None) -> None:
        """Queue the completion of a request that has its result."""
        request.ios = ()  # each names its request: as a circle they would keep the driver's memory until collected
        host, status, sense = request.host, request.status, 0
        if request.short and host is HostStatus.SUCCESS and status is Status.GOOD:
            host = HostStatus.DATARUN
        if request.copied:
            if not self._check.store(request):
                host, status, request.moved = HostStatus.INVPARAM, Status.GOOD, 0
            self._check.give_back(request)
        if status is Status.CHECK_CONDITION and lane is not None:
            host, sense = self._tell_sense(request, lane.unit)
        if self.watch is not None:
            self.watch.done(request, status)
        self.quick = False
        self._done.append(_pack(request.context, request.moved, sense, host, status, 0))
        if lane is not None:
            del lane.out[request]
            if (lane.parked or lane.waiting) and not lane.waking:
                self._wake(lane)

    def _tell_sense(self, request: Request, unit: Unit) -> tuple[HostStatus, int]:
        """Why a command failed, where its driver wants it: how that went, and the bytes stored."""
        raw, opcode = request.sense, request.cdb[0]
        key, asc = (raw[2] & 15, raw[12]) if raw[0] & 0x7F == 0x70 else (raw[1] & 15, raw[2])
        if key == 5:
            if asc == 0x25:
                self._note("PVS-D-047", request.place, request.lun)
            elif asc == 0x21 or (asc in (0x20, 0x24) and opcode in _OPTIONAL):
                self._note("PVS-D-065", request.place, asc)
        size = min(request.sense_room, len(raw))
        if not size:
            unit.keep(request)
            return HostStatus.SUCCESS, 0
        try:
            self._mem.write(request.sense_at, raw[:size])
        except DmaFault as fault:
            self._note("PVS-D-043", request.place, fault.value)
            unit.keep(request)
            return HostStatus.SENSFAILED, 0
        return HostStatus.SUCCESS, size

    def _wake(self, lane: Lane) -> None:
        """A request of this unit ended: those that waited for it may go on. What ends by that is waited for here."""
        lane.waking, count = True, -1
        while count != (count := len(lane.out) + len(lane.waiting)):
            parked, lane.parked = lane.parked, deque()
            for request in parked:
                if not request.stale:
                    self._advance(request, lane)
            while lane.waiting and not _ordered(lane) and (lane.waiting[0][0].tag != TAG_ORDERED or not lane.out):
                self._start(*lane.waiting.popleft(), lane)
        lane.waking = False

    def publish(self) -> int:
        """Post what is done; how many completions the driver can see now."""
        done, self._done, self.quick = self._done, [], True
        return self.queue.post(done)

    def abort(self, request: Request, host: HostStatus) -> None:
        """End a request now, wherever it is: no memory of its driver is touched afterwards."""
        lane = self._lanes[request.target, request.lun]
        request.stale = True
        backend = request.backend
        if request.pending and backend is not None:
            ios = [io for io in request.ios if not io.done]
            backend.cancel(ios)
            left = self._busy.get(backend, 0) - len(ios)
            if left > 0:
                self._busy[backend] = left
            else:
                self._busy.pop(backend, None)
        if request.work is not None:
            request.work.close()
        elif request.pending and request.ios:
            lane.unit.drop(request, request.ios[0])
        lane.waiting = deque(entry for entry in lane.waiting if entry[0] is not request)
        lane.parked = deque(other for other in lane.parked if other is not request)
        request.host, request.moved, request.status, request.short = host, 0, Status.GOOD, False
        request.let_go()
        self._complete(request, lane if request in lane.out else None)
        if self._batch:
            self._submit()

    def abort_all(self, host: HostStatus, target: int | None = None) -> int:
        """End every request, or those of one target; how many. Those that wait their turn go first: none begins."""
        lanes = [lane for (number, _), lane in self._lanes.items() if target in (None, number)]
        doomed = [request for lane in lanes for request, _ in lane.waiting]
        doomed += [request for lane in lanes for request in lane.out]
        for request in doomed:
            request.stale = True
        for request in doomed:
            self.abort(request, host)
        return len(doomed)

    def unmapped(self, lo: int, hi: int) -> None:
        """Memory goes away under requests: what was to move there does not any more."""
        for request in [request for request in self.outstanding() if request.touches(lo, hi)]:
            self._note("PVS-D-037", request.place, lo)
            self.abort(request, HostStatus.INVPARAM)

    def forget(self, target: int) -> None:
        """A target was removed, or its units changed: look for them again."""
        for key in [key for key in self._lanes if key[0] == target]:
            del self._lanes[key]

    def deadline(self) -> int | None:
        due = [backend.deadline() for backend in self._busy]
        return min((ns for ns in due if ns is not None), default=None)
