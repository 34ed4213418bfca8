"""Writers that overlap take turns, in the order they came; others do not wait."""

from collections.abc import Iterator

import pytest

from pvscsi.block.backend import Io
from pvscsi.scsi import sense as s
from pvscsi.scsi.claims import Claim, Claims
from pvscsi.scsi.disk import Disk
from pvscsi.scsi.task import Status, Work
from tests.unit.pvscsi.scsi.rig import (
    BLOCK,
    Bytes,
    Sent,
    compare_and_write,
    disk,
    pattern,
    read10,
    send,
    unmap,
    write10,
    write_same16,
)


class Slow:
    """A command whose steps are taken one by one."""

    def __init__(self, unit: Disk, cdb: bytes, data: bytes = b"") -> None:
        self.unit, self.task = unit, Sent(cdb, data)
        step = unit.execute(self.task)
        assert step is not None
        self.io = step if isinstance(step, Io) else None
        self.work: Work | None = None if isinstance(step, Io) else step
        self.step: object = ()
        self.ended = False
        if self.work is not None:
            self.go()

    @property
    def waits(self) -> bool:
        return self.io is None and not self.ended and not self.step

    def go(self) -> None:
        """Have the step at hand done, and ask for the next."""
        assert isinstance(self.unit.backend, Bytes)
        if self.io is not None:
            self.unit.backend.submit([self.io])
            self.unit.finish(self.task, self.io)
            self.ended = True
            return
        assert self.work is not None
        self.unit.backend.submit(self.step)  # type: ignore[arg-type]
        step = next(self.work, None)
        self.ended, self.step = step is None, step or ()

    def drain(self) -> "Slow":
        while not self.ended and not self.waits:
            self.go()
        return self


@pytest.fixture
def unit() -> Disk:
    return disk()


def swap(unit: Disk, lba: int, old: bytes, new: bytes) -> Slow:
    return Slow(unit, compare_and_write(lba, len(old) // BLOCK), old + new)


A, B, C = (pattern(i, 1) for i in (1, 2, 3))
ZERO = bytes(BLOCK)


def test_PVS_V_132_of_two_that_expect_the_same_one_wins(unit: Disk) -> None:
    """Two COMPARE AND WRITE of one block at a time: the second sees what the first wrote."""
    first, second = swap(unit, 0, ZERO, A), swap(unit, 0, ZERO, B)
    assert (first.waits, second.waits) == (False, True)

    first.drain()
    second.drain()
    second.go()
    second.drain()

    assert (first.task.code, second.task.code) == (Status.GOOD, s.MISCOMPARE)
    assert send(unit, read10(0, 1), room=BLOCK).answer == A


@pytest.mark.parametrize(
    ("cdb", "data"),
    [(write10(1, 1), B), (write_same16(0, 2), B), (write_same16(1, 1, 9), b""), unmap((1, 1)), (write10(0, 4), B * 4)],
    ids=["write", "write same", "unmapping write same", "unmap", "larger write"],
)
def test_PVS_V_132_later_writes_that_overlap_wait(unit: Disk, cdb: bytes, data: bytes) -> None:
    """A write that overlaps a COMPARE AND WRITE under way waits until it is done."""
    first = swap(unit, 0, ZERO * 2, A * 2)
    later = Slow(unit, cdb, data)
    assert later.waits

    first.drain()
    later.go()
    later.drain()

    assert (first.task.code, later.task.code) == (Status.GOOD, Status.GOOD)
    assert send(unit, read10(1, 1), room=BLOCK).answer == (B if data and cdb[0] != 0x42 else ZERO)


def test_PVS_V_132_earlier_writes_that_overlap_are_waited_for(unit: Disk) -> None:
    """A COMPARE AND WRITE begins only when plain writes that overlap and came before are done."""
    before = Slow(unit, write10(0, 4), A * 4)
    assert before.io is not None
    later = swap(unit, 1, A, B)
    assert later.waits

    before.go()
    later.go()
    later.drain()

    assert later.task.code == Status.GOOD


def test_an_earlier_write_that_was_dropped_is_not_waited_for(unit: Disk) -> None:
    before = Slow(unit, write10(0, 1), A)
    later = swap(unit, 0, ZERO, B)
    assert later.waits
    assert before.io is not None

    unit.drop(before.task, before.io)
    later.go()

    assert not later.waits


def test_writes_elsewhere_and_reads_do_not_wait(unit: Disk) -> None:
    swap(unit, 4, ZERO, A)

    assert Slow(unit, write10(0, 4), A * 4).io is not None
    assert Slow(unit, write10(5, 1), A).io is not None
    assert not swap(unit, 6, ZERO, A).waits
    assert send(unit, read10(0, 8), room=8 * BLOCK).code == Status.GOOD


def test_neighbours_do_not_wait(unit: Disk) -> None:
    assert [swap(unit, lba, ZERO, A).waits for lba in (4, 5, 3)] == [False] * 3


def test_those_that_wait_go_in_the_order_they_came(unit: Disk) -> None:
    first = swap(unit, 0, ZERO, A)
    waiting = [Slow(unit, write10(0, 1), data) for data in (B, C)]
    first.drain()

    waiting[1].go()
    assert [each.waits for each in waiting] == [True, True]
    waiting[0].go()
    waiting[0].drain()
    waiting[1].go()
    waiting[1].drain()

    assert send(unit, read10(0, 1), room=BLOCK).answer == C


def test_an_abort_lets_the_next_go(unit: Disk) -> None:
    first, second = swap(unit, 0, ZERO, A), swap(unit, 0, ZERO, B)
    assert first.work is not None

    first.work.close()
    second.go()
    second.drain()

    assert second.task.code == Status.GOOD


def test_one_that_waits_can_be_aborted(unit: Disk) -> None:
    first, second, third = swap(unit, 0, ZERO, A), swap(unit, 0, ZERO, B), swap(unit, 0, A, C)
    assert second.work is not None

    second.work.close()
    first.drain()
    third.go()
    third.drain()

    assert third.task.code == Status.GOOD
    assert not unit.claims


def test_the_quick_way_is_back_when_the_last_claim_ends(unit: Disk) -> None:
    first = swap(unit, 0, ZERO, A)
    task = Sent(write10(0, 1), B)
    waiting = unit.execute(task)
    assert isinstance(waiting, Iterator)
    first.drain()

    assert isinstance(unit.execute(Sent(write10(0, 1), B)), Io)


def test_a_reset_forgets_plain_writes(unit: Disk) -> None:
    Slow(unit, write10(0, 1), A)
    unit.reset()
    send(unit, "00" * 6)

    assert not swap(unit, 0, ZERO, B).waits


def test_a_long_queue_is_not_looked_through_again_and_again() -> None:
    """Seen in: libiscsi's MultipathIO.CompareAndWriteAsync, which has two thousand on one block."""

    class Counted(dict[Claim, None]):
        looks = 0

        def __contains__(self, claim: object) -> bool:
            self.looks += 1
            return super().__contains__(claim)

    claims, count = Claims(lambda: None), 100
    held = claims._held = Counted()
    contexts = [claims.hold((0, BLOCK)) for _ in range(count)]
    turns = [iter(context.__enter__()) for context in contexts]

    for context in contexts:
        for turn in turns:
            next(turn, None)
        context.__exit__(None, None, None)

    assert held.looks <= count * 2 * count


def test_an_unmap_does_not_wait_for_what_came_later(unit: Disk) -> None:
    """It asks for all its ranges at once: else each would wait for the other."""
    first = Slow(unit, *unmap((0, 1), (10, 1), (10, 2)))
    later = Slow(unit, write_same16(0, 20), A)
    assert later.waits

    first.drain()
    later.go()
    later.drain()

    assert (first.ended, later.ended) == (True, True)
    assert send(unit, read10(10, 1), room=BLOCK).answer == A
