"""Tasks on their way through a target and its media, in memory alone: what `pvscsi.engine` does, without an adapter."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pvscsi.block.backend import Backend, Fault, Io
from pvscsi.scsi.target import Target
from pvscsi.scsi.task import Task, Unit, Work


class Job(Task):
    """A task at one unit. `work` is what is left of it, `ios` what its medium has not finished."""

    __slots__ = ("backend", "ios", "unit", "work")

    def __init__(
        self, unit: Unit, cdb: bytes, memory: Sequence[memoryview], room: int, owner: Any, *, nexus: int
    ) -> None:
        super().__init__(cdb, memory, room, owner, nexus)
        self.unit = unit
        self.work: Work | None = None
        self.ios: set[Io] = set()
        self.backend: Backend | None = None


class Runner:
    """Begins tasks in the order they come. `ended` hears of each that has its result, not of one that was aborted."""

    def __init__(self, target: Target, ended: Callable[[Job], None]) -> None:
        self.target, self._ended = target, ended
        self.jobs: dict[Job, None] = {}  # oldest first
        self._parked: list[Job] = []  # wait for another job of their unit to end
        for unit in target.units.values():
            unit.on_abort = self._preempted

    def begin(self, job: Job) -> None:
        self.jobs[job] = None
        step = job.unit.execute(job)
        if isinstance(step, Io):
            self._submit(job, (step,))
            if not job.ios:
                self._finish(job, step)
        else:
            job.work = step
            self._advance(job)

    def reap(self, now_ns: int) -> None:
        """Go on with what media have finished by now."""
        for backend in {job.backend for job in self.jobs if job.ios and job.backend is not None}:
            for io in backend.reap(now_ns):
                job: Job = io.owner
                job.ios.discard(io)
                if not job.ios:
                    self._finish(job, io)

    def deadline(self) -> int | None:
        """When `reap` has something to do (ns), or None."""
        due = [job.backend.deadline() for job in self.jobs if job.ios and job.backend is not None]
        return min((ns for ns in due if ns is not None), default=None)

    def abort(self, jobs: Iterable[Job]) -> None:
        """End these now; their memory is not touched any more."""
        doomed = list(jobs)
        for job in doomed:
            del self.jobs[job]
            ios = [io for io in job.ios if not io.done]
            if job.backend is not None:
                job.backend.cancel(ios)
            if job.work is not None:
                job.work.close()
            else:
                for io in ios:
                    job.unit.drop(job, io)
        self._parked = [job for job in self._parked if job in self.jobs]
        if doomed:
            self._wake()

    def _preempted(self, nexus: int) -> None:
        self.abort(job for job in tuple(self.jobs) if job.nexus == nexus)

    def _submit(self, job: Job, ios: Sequence[Io]) -> None:
        """What is not done at once is then in `job.ios`."""
        job.backend = job.unit.backend
        for io in ios:
            io.owner = job
        if job.backend is None:  # the medium was taken away meanwhile
            for io in ios:
                io.finish(0, Fault.GONE)
        else:
            job.backend.submit(ios)
        job.ios = {io for io in ios if not io.done}

    def _finish(self, job: Job, io: Io) -> None:
        if job.work is None:
            job.unit.finish(job, io)
        self._advance(job)

    def _advance(self, job: Job) -> None:
        """Ask what is next until the job must wait or is done."""
        for ios in job.work or ():
            if not ios:
                self._parked.append(job)
                return
            self._submit(job, ios)
            if job.ios:
                return
        del self.jobs[job]
        self._ended(job)
        self._wake()

    def _wake(self) -> None:
        parked, self._parked = self._parked, []
        for job in parked:
            self._advance(job)
