"""The adapter in process: 4 KiB requests against an object per request and against copying; 256 KiB against preadv.

The driver's side is prepared once: requests stay in their ring, and a lap is its two indices moved on, so that only the
device is timed. What is compared takes turns, so that all see the same machine.

    python -m tests.bench.bench_pvscsi [FOLDER]       where the file is made; default: the folder for temporary files
"""

import os
import random
import select
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pvdev.transport.inproc import LocalPort
from pvscsi.block.backend import Io, Op
from pvscsi.block.file import FileDisk
from pvscsi.block.medium import Medium
from pvscsi.block.mem import MemDisk
from pvscsi.block.wait import perform
from pvscsi.device import Pvscsi
from pvscsi.driver import Disk as Initiator
from pvscsi.driver import Driver, cdb
from pvscsi.driver.rings import CMP_CONS, CMP_PROD, REQ_PROD
from pvscsi.scsi.disk import Disk
from pvscsi.scsi.identity import Identity
from pvscsi.scsi.target import Target
from pvscsi.wire import COMPLETION, REQUEST, SG_ELEMENT, TAG_SIMPLE, Flag
from tests.bench.baseline_pvscsi import BaselineAdapter, BaselineDisk

SIZE = 32 << 20  # bytes of a disk
BLOCK, PIECE, ELEMENT = 512, 4096, 64 << 10
ROUNDS = 11
DEPTHS = 1, 32, 256
LONG, LONG_DEPTH = 256 << 10, 64
LEAST, LEAST_PREADV = 4.0, 0.8
MASK = 0xFFFF_FFFF

Place = tuple[int, int]  # byte on the disk, byte in the driver's memory


class Rig:
    """An adapter with one disk, and a ring filled with reads or writes of `length` bytes.

    `pages`: how those of one request lie in memory, "in a row" or "in no order". Its SG list then has elements of 64
    KiB, the longest Linux makes, or of a page. None: there is no list.
    """

    def __init__(self, medium: Medium, op: Op, length: int, count: int, *, pages: str | None = None) -> None:
        self.device = Pvscsi({0: Target({0: Disk(medium, Identity.of("bench"), block=BLOCK)})})
        self.port = LocalPort(self.device, memory=48 << 20)
        self.driver = Driver(self.port).bring_up(req_pages=32, cmp_pages=32)
        Initiator(self.driver).settle()
        rings = self.driver.rings
        assert rings is not None
        self.rings, self.state, self.medium = rings, rings.state, medium
        self.data = self.port.alloc(count * length)
        choose = random.Random(1)
        slots = choose.sample(range(SIZE // length), count) if length == PIECE else range(count)
        self.places: list[Place] = [(slot * length, i * length) for i, slot in enumerate(slots)]
        lists = self.port.alloc(count * PIECE) if pages else None
        self.step = step = PIECE if pages == "in no order" else ELEMENT
        self.pieces: list[list[int]] = []  # where in the driver's memory the elements of each request are
        for _, at in self.places:
            self.pieces.append(list(range(at, at + length, step)))
            if pages == "in no order":
                choose.shuffle(self.pieces[-1])
        entries = rings.requests.entries
        images = []
        for i in range(entries):
            where, at = self.places[i % count]
            address, flags = self.data.address + at, Flag.DIR_TOHOST if op is Op.READ else Flag.DIR_TODEVICE
            if lists is not None:
                elements = [SG_ELEMENT.encode(addr=self.data.address + a, length=step) for a in self.pieces[i % count]]
                slot = i % count * PIECE
                lists.view[slot : slot + 16 * len(elements)] = b"".join(elements)
                address, flags = lists.address + slot, flags | Flag.CMD_WITH_SG_LIST
            make = cdb.read if op is Op.READ else cdb.write
            command = make(where // BLOCK, length // BLOCK, size=10)
            images.append(
                REQUEST.encode(
                    context=i + 1,
                    dataAddr=address,
                    dataLen=length,
                    senseAddr=self.data.address,
                    senseLen=96,
                    flags=flags,
                    cdb=command,
                    cdbLen=len(command),
                    lun=bytes(8),
                    tag=TAG_SIMPLE,
                )
            )
        rings.requests.write(0, b"".join(images))

    def publish(self, count: int) -> int:
        """Requests for the device; everything it has done so far is taken. The index it will have reached."""
        self.state[CMP_CONS] = self.state[CMP_PROD]
        prod = self.state[REQ_PROD] + count & MASK
        self.state[REQ_PROD] = prod
        return prod

    def product(self, total: int, depth: int) -> None:
        service, state, medium = self.device.service, self.state, self.medium
        poll = select.poll()
        if medium.fileno() >= 0:
            poll.register(medium.fileno(), select.POLLIN)
        for _ in range(total // depth):
            prod = self.publish(depth)
            while state[CMP_PROD] != prod:
                if not service(256, 0):
                    poll.poll()

    def check(self, count: int) -> None:
        """The last `count` completions are good, and nobody broke a rule."""
        rings = self.rings
        for _, moved, sense, host, status, _ in COMPLETION.struct.iter_unpack(
            rings.completions.read(self.state[CMP_PROD] - count & MASK, count)
        ):
            assert (moved > 0, sense, host, status) == (True, 0, 0, 0)
        assert not self.device.rules, [str(violation) for violation in self.device.rules]

    def baseline(self, disk: BaselineDisk) -> Callable[[int, int], None]:
        """The same rings and requests, served by the obvious adapter."""
        rings = self.rings
        adapter = BaselineAdapter(
            self.device.mem,
            disk,
            rings.page.address,
            [page.ppn for page in rings.requests.pages],
            [page.ppn for page in rings.completions.pages],
        )

        def work(total: int, depth: int) -> None:
            for _ in range(total // depth):
                self.publish(depth)
                assert adapter.service() == depth

        return work


def in_turn(ways: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The best time of each way (s): what else the machine does only adds to it."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(ROUNDS):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            ways[name]()
            taken[name].append(time.perf_counter() - start)
    return {name: min(each) for name, each in taken.items()}


def copies(op: Op, memory: memoryview, disk: memoryview, places: Sequence[Place], total: int, length: int) -> None:
    """The bytes alone, as large as they come: the limit."""
    for _ in range(total // len(places)):
        for where, at in places:
            if op is Op.READ:
                memory[at : at + length] = disk[where : where + length]
            else:
                disk[where : where + length] = memory[at : at + length]


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def small(op: Op, depth: int) -> bool:
    """4 KiB requests on a disk of memory; whether they are fast enough."""
    count, total = 256, 1024
    image, sent = noise(SIZE, 1), noise(count * PIECE, 2)
    medium = MemDisk("mem", SIZE)
    perform(medium, [Io(Op.WRITE, 0, SIZE, [memoryview(image)])])
    ours, theirs = Rig(medium, op, PIECE, count), Rig(MemDisk("mem", SIZE), op, PIECE, count)
    disk, bare = BaselineDisk(SIZE), memoryview(bytearray(image))
    disk.data[:] = image
    plain = theirs.baseline(disk)
    memory = memoryview(bytearray(count * PIECE))
    for rig in (ours, theirs):
        rig.data.view[:] = sent
    memory[:] = sent
    cost = in_turn(
        {
            "ours": lambda: ours.product(total, depth),
            "baseline": lambda: plain(total, depth),
            "copies": lambda: copies(op, memory, bare, ours.places, total, PIECE),
        }
    )
    ours.check(depth)
    theirs.check(depth)
    for where, at in ours.places:
        wanted = image[where : where + PIECE] if op is Op.READ else sent[at : at + PIECE]
        piece = memoryview(bytearray(PIECE))
        perform(medium, [Io(Op.READ, where, PIECE, [piece])])
        seen = [rig.data.view[at : at + PIECE] for rig in (ours, theirs)] if op is Op.READ else []
        assert all(bytes(each) == wanted for each in (piece, disk.data[where : where + PIECE], *seen))
    ratio = cost["baseline"] / cost["ours"]
    print(
        f"  {op.value:5} 4 KiB, {depth:3} at a time  {total / cost['ours']:9,.0f}/s  "
        f"baseline {total / cost['baseline']:8,.0f}  ratio {ratio:5.1f};  "
        f"{cost['copies'] / cost['ours']:.2f} x copying alone"
    )
    return ratio >= LEAST or depth == 1


def large(folder: str | None, pages: str) -> bool:
    """256 KiB of a file into memory in pieces, by the adapter and by preadv; whether that is fast enough."""
    count, total = 64, 256
    image = noise(SIZE, 3)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = Path(name, "image")
        path.write_bytes(image)
        medium = FileDisk(str(path))
        rig = Rig(medium, Op.READ, LONG, count, pages=pages)
        fd, memory = os.open(path, os.O_RDONLY), rig.port.alloc(count * LONG).view  # of the same kind
        spans = [
            (where, [memory[a : a + rig.step] for a in pieces])
            for (where, _), pieces in zip(rig.places, rig.pieces, strict=True)
        ]

        def plain() -> None:
            for _ in range(total // count):
                for where, pieces in spans:
                    os.preadv(fd, pieces, where)

        cost = in_turn({"ours": lambda: rig.product(total, LONG_DEPTH), "plain": plain})
        rig.check(LONG_DEPTH)
        for (where, _), pieces in zip(rig.places, rig.pieces, strict=True):
            for seen in (rig.data.view, memory):
                assert b"".join(seen[at : at + rig.step] for at in pieces) == image[where : where + LONG]
        os.close(fd)
        medium.close()
    ratio, megabytes = cost["plain"] / cost["ours"], total * LONG / 1e6
    print(
        f"  read 256 KiB of a file, pages {pages:11}  {megabytes / cost['ours']:8,.0f} MB/s  "
        f"preadv {megabytes / cost['plain']:8,.0f}  ratio {ratio:5.2f}"
    )
    return ratio >= LEAST_PREADV


def main() -> int:
    print("the storage adapter in process: requests/s, ratio to an object per request")
    fine = [small(op, depth) for op in (Op.READ, Op.WRITE) for depth in DEPTHS]
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    fine.append(large(folder, "in a row"))
    large(folder, "in no order")
    return int(not all(fine))


if __name__ == "__main__":
    sys.exit(main())
