"""Requests on their way through units and backends: begun in order, finished in any, completed as they finish."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping

from pvdev.mem import DmaFault, GuestMemory
from pvdev.trace import Sink
from pvscsi.block.backend import Backend, Fault, Io
from pvscsi.queue import Queue
from pvscsi.requests import BadRequest, Checker, Fields, Request
from pvscsi.scsi.target import Target
from pvscsi.scsi.task import Direction, Status, Unit
from pvscsi.wire import COMPLETION, TAG_HEAD, TAG_ORDERED, Flag, HostStatus

Note = Callable[[str, str, int], None]
_AGAINST = {Direction.IN: Flag.DIR_TODEVICE, Direction.OUT: Flag.DIR_TOHOST}
_pack = COMPLETION.struct.pack


class Lane:
    """What is going on at one unit: requests out, and those that wait behind an ordered one."""

    __slots__ = ("out", "parked", "unit", "waiting")

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.out: dict[Request, None] = {}  # in the order they were begun
        self.waiting: deque[tuple[Request, Fields]] = deque()
        self.parked: deque[Request] = deque()  # wait for another request of this unit to end


class Engine:
    """The work of one adapter while its rings are set up. `targets` by number; it may change meanwhile."""

    def __init__(self, mem: GuestMemory, queue: Queue, targets: Mapping[int, Target], note: Note) -> None:
        self.queue, self._mem, self._targets, self._note = queue, mem, targets, note
        self._check = Checker(mem, note)
        self._lanes: dict[tuple[int, int], Lane] = {}
        self._busy: dict[Backend, int] = {}  # transfers a backend has not finished
        self._done: list[bytes] = []  # completions to be posted
        self._batch: dict[Backend, list[Io]] = {}
        self._serial = 0
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
        found = self.queue.fetch(budget)
        for fields in found:
            self._begin(fields)
        if self._batch:
            self._submit()
        if self.trace is not None and found:
            self.trace("pvscsi.requests", count=len(found))
        return len(found)

    def _begin(self, fields: Fields) -> None:
        self._serial += 1
        place = f"request {self._serial}"
        request = Request(fields)
        self._check.look(fields, place)
        lane = self._lane(request, fields)
        if lane is None:
            request.host = HostStatus.SELTIMEO
            self._complete(request, None)
        elif request.tag != TAG_HEAD and (lane.waiting or (request.tag == TAG_ORDERED and lane.out)):
            lane.waiting.append((request, fields))
        else:
            self._start(request, fields, lane)

    def _lane(self, request: Request, fields: Fields) -> Lane | None:
        """The unit a request goes to; None when there is none."""
        _, _, _, _, _, _, _, _, lun, _, bus, number, _, _ = fields
        if bus or lun[0] or any(lun[2:]):
            return None
        lane = self._lanes.get((number, request.lun))
        if lane is None:
            target = self._targets.get(number)
            if target is None:
                return None
            lane = self._lanes[number, request.lun] = Lane(target.unit(request.lun))
        return lane

    def _start(self, request: Request, fields: Fields, lane: Lane) -> None:
        _, address, length, _, _, flags, cdb, cdb_length, _, _, _, _, _, _ = fields
        lane.out[request] = None
        try:
            if flags & Flag.CMD_OUT_OF_BAND_CDB:
                self._note("PVS-D-033", f"request {self._serial}", flags)
                raise BadRequest(HostStatus.INVPARAM)
            if not self._check.whole(cdb, cdb_length):
                raise BadRequest(HostStatus.INVPARAM)
            if length:
                against = _AGAINST.get(lane.unit.direction(cdb))
                if against is not None and flags & against and not flags & (against ^ 0x18):
                    self._note("PVS-D-035", f"request {self._serial}", flags)
                    raise BadRequest(HostStatus.BADMSG)
                self._check.attach(request, address, length, flags, f"request {self._serial}")
        except BadRequest as bad:
            request.host = bad.status
            self._complete(request, lane)
            return
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
        host = request.host
        if request.short and host is HostStatus.SUCCESS and request.status is Status.GOOD:
            host = HostStatus.INVPARAM if request.cut else HostStatus.DATARUN
        sense = 0
        try:
            if request.bounce is not None and host in (HostStatus.SUCCESS, HostStatus.DATARUN):
                self._check.store(request)
            if request.status is Status.CHECK_CONDITION and request.sense_room:
                sense = min(request.sense_room, len(request.sense))
                self._mem.write(request.sense_at, request.sense[:sense])
            elif lane is not None and request.status is Status.CHECK_CONDITION:
                lane.unit.keep(request)
        except DmaFault as fault:
            self._note("PVS-D-043", "sense or data", fault.value)
            host, sense = HostStatus.SENSFAILED, 0
        status = request.status if host in (HostStatus.SUCCESS, HostStatus.SENSFAILED) else Status.GOOD
        self._done.append(_pack(request.context, request.moved, sense, host, status, 0))
        if lane is not None:
            del lane.out[request]
            if lane.parked or lane.waiting:
                self._wake(lane)

    def _wake(self, lane: Lane) -> None:
        """A request of this unit ended: those that waited for it may go on."""
        parked, lane.parked = lane.parked, deque()
        for request in parked:
            self._advance(request, lane)
        while lane.waiting and (lane.waiting[0][0].tag != TAG_ORDERED or not lane.out):
            request, fields = lane.waiting.popleft()
            self._start(request, fields, lane)
            if request.tag == TAG_ORDERED:
                break

    def publish(self) -> int:
        """Post what is done; how many completions the driver can see now."""
        done, self._done = self._done, []
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
        request.host, request.moved, request.bounce, request.status = host, 0, None, Status.GOOD
        self._complete(request, lane if request in lane.out else None)
        if self._batch:
            self._submit()

    def abort_all(self, host: HostStatus, target: int | None = None) -> int:
        """End every request, or those of one target; how many. Those that wait their turn go first: none begins."""
        lanes = [lane for (number, _), lane in self._lanes.items() if target in (None, number)]
        doomed = [request for lane in lanes for request, _ in lane.waiting]
        doomed += [request for lane in lanes for request in lane.out]
        for request in doomed:
            self.abort(request, host)
        return len(doomed)

    def unmapped(self, lo: int, hi: int) -> None:
        """Memory goes away under requests: what was to move there does not any more."""
        for request in [r for r in self.outstanding() if r.pending and r.touches(lo, hi)]:
            self.abort(request, HostStatus.INVPARAM)

    def forget(self, target: int) -> None:
        """A target was removed, or its units changed: look for them again."""
        for key in [key for key in self._lanes if key[0] == target]:
            del self._lanes[key]

    def deadline(self) -> int | None:
        due = [backend.deadline() for backend in self._busy]
        return min((ns for ns in due if ns is not None), default=None)
