"""Reads, writes, unmaps and compares in any order, many at a time, against a medium made of a bytearray."""

from random import Random

import pytest

from pvscsi.block.backend import Io
from pvscsi.scsi import sense as s
from pvscsi.scsi.disk import Disk
from pvscsi.scsi.task import Status, Task, Work
from tests.unit.pvscsi.scsi.rig import (
    Bytes,
    compare_and_write,
    disk,
    pieces_of,
    read10,
    read16,
    unmap,
    write10,
    write16,
    write_same16,
)

BLOCKS = 96


class Flying:
    """One command under way, and how the medium is to be afterwards."""

    def __init__(self, task: Task, memory: bytearray, first: int, last: int, kind: str) -> None:
        self.task, self.memory, self.first, self.last, self.kind = task, memory, first, last, kind
        self.step: Work | Io | None = None
        self.ios: list[Io] = []


class Mixer:
    """Keeps up to `depth` commands under way at `unit`; those that overlap are only begun one after the other, but for
    COMPARE AND WRITE, whose turn the unit itself sees to."""

    def __init__(self, unit: Disk, seed: int, depth: int) -> None:
        assert isinstance(unit.backend, Bytes)
        self.unit, self.backend, self.random, self.depth = unit, unit.backend, Random(seed), depth
        self.model = bytearray(self.backend.data)
        self.flying: list[Flying] = []
        self.counts: dict[str, int] = {}

    def go(self, commands: int) -> None:
        while commands or self.flying:
            if commands and len(self.flying) < self.depth and self.random.random() < 0.7:
                commands -= 1
                self.begin()
            elif self.flying:
                self.advance(self.random.choice(self.flying))

    def begin(self) -> None:
        block, pick = self.unit.block, self.random
        first = pick.randrange(BLOCKS)
        count = pick.randint(1, min(8, BLOCKS - first))
        kind = pick.choice(("read", "write", "write", "same", "zeros", "unmap", "compare", "miscompare"))
        while any(other.first < first + count and first < other.last for other in self.flying):
            self.advance(pick.choice(self.flying))
        data = pick.randbytes(count * block)
        now = bytes(self.model[first * block : (first + count) * block])
        cdb, sent = {
            "read": (pick.choice((read10, read16))(first, count), bytes(count * block)),
            "write": (pick.choice((write10, write16))(first, count, pick.choice((0, 8, 16))), data),
            "same": (write_same16(first, count), data[:block]),
            "zeros": (write_same16(first, count, pick.choice((1, 9))), b""),
            "unmap": unmap((first, count)),
            "compare": (compare_and_write(first, count), now + data),
            "miscompare": (compare_and_write(first, count), now[:-1] + bytes((now[-1] ^ 1,)) + data),
        }[kind]
        after = {"write": data, "same": data[:block] * count, "compare": data}.get(
            kind, bytes(len(data)) if kind in ("zeros", "unmap") else now
        )
        self.model[first * block : (first + count) * block] = after
        memory = bytearray(sent)
        cuts = [pick.randrange(len(memory) + 1) for _ in range(pick.randrange(5))] if memory else []
        flying = Flying(Task(cdb, pieces_of(memory, cuts), len(memory)), memory, first, first + count, kind)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.flying.append(flying)
        flying.step = self.unit.execute(flying.task)
        if isinstance(flying.step, Io):
            flying.ios = [flying.step]
        elif flying.step is None:
            self.end(flying)
        else:
            self.next(flying, flying.step)

    def advance(self, flying: Flying) -> None:
        """Have its transfers done, and go on with it."""
        self.random.shuffle(flying.ios)
        self.backend.submit(flying.ios)
        if isinstance(flying.step, Io):
            self.unit.finish(flying.task, flying.step)
            self.end(flying)
        elif flying.step is not None:
            self.next(flying, flying.step)

    def next(self, flying: Flying, work: Work) -> None:
        ios = next(work, None)
        if ios is None:
            self.end(flying)
        else:
            flying.ios = list(ios)

    def end(self, flying: Flying) -> None:
        self.flying.remove(flying)
        expected = s.MISCOMPARE if flying.kind == "miscompare" else None
        found = s.parse(flying.task.sense).sense if flying.task.status is Status.CHECK_CONDITION else None
        assert found == expected, flying.kind
        if flying.kind == "read":
            block = self.unit.block
            assert flying.memory == self.model[flying.first * block : flying.last * block]


@pytest.mark.parametrize("depth", [1, 4, 32, 256])
@pytest.mark.parametrize("block", [512, 4096])
def test_PVS_V_143_whatever_is_mixed(block: int, depth: int) -> None:
    """Random reads, writes, unmaps and compares, many at a time, over memory in random pieces, against a model."""
    backend = Bytes(BLOCKS * block)
    mixer = Mixer(disk(backend, block=block), seed=depth + block, depth=depth)

    mixer.go(1500)

    assert backend.data == mixer.model
    assert len(mixer.counts) == 7
    assert not mixer.unit.claims
    assert not mixer.unit.claims.plain


def test_PVS_V_132_counters_under_contention() -> None:
    """Many initiators add to one block by COMPARE AND WRITE, in any order: no addition is lost."""
    unit, pick = disk(), Random(7)
    backend = unit.backend
    assert isinstance(backend, Bytes)
    won = 0
    waiting: list[tuple[Task, Work]] = []

    def attempt() -> None:
        now = int.from_bytes(backend.data[:512], "big")
        data = bytearray(now.to_bytes(512, "big") + (now + 1).to_bytes(512, "big"))
        task = Task(compare_and_write(0, 1), pieces_of(data), len(data))
        work = unit.execute(task)
        assert work is not None
        assert not isinstance(work, Io)
        backend.submit(next(work))
        waiting.append((task, work))

    for _ in range(6000):
        if len(waiting) < 8 and pick.random() < 0.5:
            attempt()
        elif waiting:
            task, work = pick.choice(waiting)
            ios = next(work, None)
            if ios is None:
                waiting.remove((task, work))
                won += task.status is Status.GOOD
            else:
                backend.submit(ios)

    for task, work in waiting:
        for ios in work:
            backend.submit(ios)
        won += task.status is Status.GOOD
    assert int.from_bytes(backend.data[:512], "big") == won
    assert won > 20
