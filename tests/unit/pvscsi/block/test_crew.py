"""Threads held at a gate: what a test sees does not depend on how fast they are."""

import select
import threading
from collections.abc import Iterator

import pytest

from pvscsi.block.backend import Fault, Io, Op
from pvscsi.block.crew import Crew, Result

PATIENCE = 60  # s; only a deadlock takes it


class Gate:
    """Work that begins, says so, and ends when it is let through."""

    def __init__(self) -> None:
        self.began: threading.Semaphore = threading.Semaphore(0)
        self.open = threading.Semaphore(0)
        self.done: list[Io] = []
        self.lock = threading.Lock()
        self.together = self.most = 0

    def work(self, io: Io) -> Result:
        with self.lock:
            self.together += 1
            self.most = max(self.most, self.together)
        self.began.release()
        assert self.open.acquire(timeout=PATIENCE)
        with self.lock:
            self.together -= 1
            self.done.append(io)
        return io.length, Fault.WRITE if io.offset else None

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self.began.acquire(timeout=PATIENCE)

    def let(self, count: int) -> None:
        self.open.release(count)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def crew(gate: Gate) -> Iterator[Crew]:
    crew = Crew(gate.work, 3)
    yield crew
    gate.let(1000)
    crew.close()


def ready(crew: Crew, wait: bool = True) -> bool:
    return bool(select.select([crew.fileno()], [], [], PATIENCE if wait else 0)[0])


def reap(crew: Crew, count: int) -> list[tuple[Io, Result]]:
    found: list[tuple[Io, Result]] = []
    while len(found) < count:
        assert ready(crew)
        found += crew.reap()
    return found


def ios(count: int) -> list[Io]:
    return [Io(Op.READ, 0, i) for i in range(count)]


def test_nothing_is_done_before_it_is_reaped(crew: Crew, gate: Gate) -> None:
    [io] = batch = [Io(Op.READ, 7, 5)]
    crew.give(batch)
    gate.let(1)

    assert ready(crew)
    assert not io.done
    assert crew.busy
    assert crew.reap() == [(io, (5, Fault.WRITE))]
    assert not crew.busy
    assert not ready(crew, wait=False)


def test_a_batch_is_shared_among_all_threads_and_no_more(crew: Crew, gate: Gate) -> None:
    batch = ios(20)
    crew.give(batch)

    gate.wait(3)
    gate.let(20)

    assert {io for io, _ in reap(crew, 20)} == set(batch)
    assert gate.most == 3


def test_cancel_waits_for_what_is_in_hand_and_drops_the_rest(crew: Crew, gate: Gate) -> None:
    batch = ios(9)
    crew.give(batch)
    gate.wait(3)
    cancelled = threading.Event()

    def cancel() -> None:
        crew.cancel(batch)
        cancelled.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    gate.let(2)
    while len(gate.done) < 2:
        threading.Event().wait(0)
    early = cancelled.is_set()
    gate.let(1)
    thread.join(PATIENCE)

    assert not early
    assert cancelled.is_set()
    assert len(gate.done) == 3
    assert crew.reap() == []


def test_cancel_of_some_leaves_the_others(crew: Crew, gate: Gate) -> None:
    batch = ios(9)
    gate.let(3)
    crew.give(batch)
    done = reap(crew, 3)
    gate.wait(3)
    left = [io for io in batch if io not in {each for each, _ in done}]
    waiting, rest = left[:2], left[2:]
    gate.let(100)

    crew.cancel(waiting)

    assert {io for io, _ in reap(crew, len(rest))} == set(rest)
    assert crew.reap() == []
    assert not crew.busy


def test_cancel_of_what_is_done_and_not_reaped(crew: Crew, gate: Gate) -> None:
    batch = ios(1)
    crew.give(batch)
    gate.let(1)
    assert ready(crew)

    crew.cancel(batch)

    assert crew.reap() == []
    assert not ready(crew, wait=False)


def test_a_cancelled_transfer_may_be_given_again(crew: Crew, gate: Gate) -> None:
    batch = ios(5)
    crew.give(batch)
    gate.wait(3)
    gate.let(3)
    crew.cancel(batch)
    gate.let(5)

    crew.give(batch)

    assert {io for io, _ in reap(crew, 5)} == set(batch)


def test_no_thread_before_there_is_work(gate: Gate) -> None:
    before = threading.active_count()
    crew = Crew(gate.work, 3)

    assert threading.active_count() == before
    crew.close()


def test_close_waits_for_all_work_and_ends_all_threads(gate: Gate) -> None:
    before, crew = threading.active_count(), Crew(gate.work, 3)
    batch = ios(10)
    gate.let(10)
    crew.give(batch)

    crew.close()

    assert set(gate.done) == set(batch)
    assert threading.active_count() == before
