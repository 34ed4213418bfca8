"""Disks, as ratios to plain system calls on the same file in the same run; memory, to copying the same bytes.

python -m tests.bench.bench_block [FOLDER]       where the file is made; default: the folder for temporary files
"""

import os
import random
import select
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pvscsi.block.backend import Io, Op
from pvscsi.block.file import FileDisk
from pvscsi.block.medium import Medium
from pvscsi.block.mem import MemDisk

SIZE = 128 << 20  # bytes
ROUNDS = 15
PIECE = 4096  # a guest's memory comes in pages
LEAST = 0.8  # of plain preadv at 256 KiB
WAYS = ((4096, 1, 4000), (4096, 32, 16384), (256 << 10, 1, 512), (256 << 10, 8, 512))  # bytes, depth, transfers

Spans = Sequence[tuple[int, list[memoryview]]]


def spans(length: int, count: int) -> Spans:
    """Where each transfer goes, and its memory: random for 4 KiB, in order for longer ones."""
    choose, memory = random.Random(1), memoryview(bytearray(4 << 20))
    slots = SIZE // length
    order = [choose.randrange(slots) if length == PIECE else i % slots for i in range(count)]
    rooms = len(memory) // length
    return [
        (slot * length, [memory[at : at + PIECE] for at in range(i % rooms * length, (i % rooms + 1) * length, PIECE)])
        for i, slot in enumerate(order)
    ]


def through(disk: Medium, op: Op, each: Spans, length: int, depth: int) -> None:
    """All transfers by the disk, `depth` at a time."""
    poll = select.poll()
    if disk.fileno() >= 0:
        poll.register(disk.fileno(), select.POLLIN)
    for first in range(0, len(each), depth):
        ios = [Io(op, offset, length, pieces) for offset, pieces in each[first : first + depth]]
        disk.submit(ios)
        late = sum(not io.done for io in ios)
        while late:
            poll.poll()
            late -= len(disk.reap(0))


def plain(fd: int, op: Op, each: Spans) -> None:
    call = os.preadv if op is Op.READ else os.pwritev
    for offset, pieces in each:
        call(fd, pieces, offset)


def copies(memory: memoryview, op: Op, each: Spans) -> None:
    for at, pieces in each:
        for piece in pieces:
            if op is Op.READ:
                piece[:] = memory[at : at + PIECE]
            else:
                memory[at : at + PIECE] = piece
            at += PIECE


def compare(ways: dict[str, Callable[[], None]], between: Callable[[], object]) -> dict[str, float]:
    """Median time of each way (s); they take turns at going first, so that all see the same machine and caches."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(ROUNDS):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            between()
            start = time.perf_counter()
            ways[name]()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in taken.items()}


def threads_only(disk: FileDisk) -> FileDisk:
    """As on a host where every write would be made to wait."""
    disk._memory, disk._now_flag, disk._credit, disk._calm = False, None, 1 << 60, False
    return disk


def main() -> int:
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    failed = False
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place, "image")
        disk = FileDisk(str(path), size=SIZE, create=True)
        crew = threads_only(FileDisk(str(path), lock=False))
        fd, mem, limit = os.open(path, os.O_RDWR), MemDisk("mem", SIZE), memoryview(bytearray(SIZE))
        for medium in (disk, mem):
            through(medium, Op.WRITE, spans(256 << 10, SIZE // (256 << 10)), 256 << 10, 8)
        for op in (Op.READ, Op.WRITE):
            for length, depth, count in WAYS:
                each = spans(length, count)
                cost = compare(
                    {
                        "file": lambda: through(disk, op, each, length, depth),  # noqa: B023
                        "threads": lambda: through(crew, op, each, length, depth),  # noqa: B023
                        "plain": lambda: plain(fd, op, each),  # noqa: B023
                        "mem": lambda: through(mem, op, each, length, depth),  # noqa: B023
                        "copy": lambda: copies(limit, op, each),  # noqa: B023
                    },
                    lambda: os.fdatasync(fd) if op is Op.WRITE else None,  # noqa: B023
                )
                print(
                    f"{op.value:5} {length >> 10:4} KiB depth {depth:2}: file {cost['plain'] / cost['file']:.2f} x "
                    f"p{op.value}v, by threads alone {cost['plain'] / cost['threads']:.2f} x; "
                    f"mem {cost['copy'] / cost['mem']:.2f} x copying"
                )
                failed |= op is Op.READ and length > PIECE and cost["plain"] / cost["file"] < LEAST
        os.close(fd)
        for medium in (disk, crew, mem):
            medium.close()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
