"""PVSCSI device rule 143: what was written is what is read, whatever else is under way."""

from random import Random
from typing import Any

import pytest

from pvscsi.conform.rig import Drive, MakeRig, Rig
from pvscsi.driver import Disk, Request, Shape, cdb
from pvscsi.driver.data import even

AREA = 4096  # blocks that are used
LONGEST = 16  # blocks


def shape(random: Random, size: int, *, chains: bool) -> Shape:
    """Some way for `size` bytes to lie in memory."""
    pieces = random.choice((1, 1, 2, 5, 32))
    if pieces == 1:
        return Shape(offset=random.choice((0, 1, 13)))
    return Shape(even(size, pieces), listed=True, per_segment=7 if chains else 128, offset=random.randrange(16))


class Mixed:
    """Random reads, writes, UNMAPs and WRITE SAMEs, no two that matter to each other at once; every read is looked at.

    Without LBPRZ nothing is said of unmapped blocks, so there is no UNMAP.
    """

    def __init__(self, disk: Disk, seed: int, *, chains: bool = False) -> None:
        capacity = disk.read_capacity()
        self.disk, self.block, self.unmaps = disk, capacity.block, capacity.thin and capacity.reads_zeros
        self.random, self._chains = Random(seed), chains
        self.wanted = bytearray(self.random.randbytes(AREA * self.block))
        self._out: dict[Request, tuple[int, int, bool]] = {}  # -> (first block, blocks, it only reads)
        for lba in range(0, AREA, 64):
            disk.write(lba, self._at(lba, 64))

    def _at(self, lba: int, blocks: int) -> bytes:
        return bytes(self.wanted[lba * self.block : (lba + blocks) * self.block])

    def step(self) -> None:
        """One more request."""
        random = self.random
        reads = random.random() < 0.5
        blocks = random.randint(1, LONGEST)
        lba = random.randrange(AREA - blocks)
        if any(
            first < lba + blocks and lba < first + count and not (reads and only_reads)
            for first, count, only_reads in self._out.values()
        ):
            return
        size = random.choice((10, 12, 16))
        request = self._read(lba, blocks, size) if reads else self._change(lba, blocks, size)
        self._out[request] = (lba, blocks, reads)

    def _read(self, lba: int, blocks: int, size: int) -> Request:
        length = blocks * self.block
        return self._send(cdb.read(lba, blocks, size=size), read=length, shape=self._shape(length))

    def _shape(self, size: int) -> Shape:
        return shape(self.random, size, chains=self._chains)

    def _send(self, command: bytes, **how: Any) -> Request:
        """Published; the device is told of it now and then."""
        return self.disk.submit(command, kick=self.random.random() < 0.1, **how)

    def _change(self, lba: int, blocks: int, size: int) -> Request:
        random, at, length = self.random, lba * self.block, blocks * self.block
        how = random.random()
        if how < 0.15 and self.unmaps:
            self.wanted[at : at + length] = bytes(length)
            data = cdb.unmap_list((lba, blocks))
            return self._send(cdb.unmap(len(data)), write=data)
        if how < 0.25:
            one = random.randbytes(self.block)
            self.wanted[at : at + length] = one * blocks
            return self._send(cdb.write_same(lba, blocks), write=one)
        data = random.randbytes(length)
        self.wanted[at : at + length] = data
        command = cdb.write(lba, blocks, size=size, fua=int(how > 0.95))
        return self._send(command, write=data, shape=self._shape(length))

    def reap(self) -> None:
        """Look at what is done."""
        for request in [request for request in self._out if request.done]:
            lba, blocks, reads = self._out.pop(request)
            assert request.good, request.outcome()
            assert not reads or request.data == self._at(lba, blocks), f"{blocks} blocks at {lba}"

    def run(self, count: int, depth: int) -> int:
        """`count` tries, at most `depth` requests under way; then all of the area is read. The most there were."""
        driver, most = self.disk.driver, 0
        for _ in range(count):
            self.step()
            most = max(most, driver.outstanding)
            if driver.outstanding >= depth:
                driver.kick_io()
                assert driver.until(lambda: driver.outstanding <= depth // 2)
            self.reap()
        driver.kick_io()
        driver.wait()
        self.reap()
        assert b"".join(self.disk.read(lba, 64) for lba in range(0, AREA, 64)) == self.wanted
        return most


@pytest.mark.parametrize("depth", [1, 8, 64, 256])
def test_PVS_V_143_random_requests(rig: Rig, depth: int) -> None:
    disk = rig.disk(req_pages=8, cmp_pages=8)

    most = Mixed(disk, depth).run(1000, depth)

    assert most > depth // 8


@pytest.mark.parametrize("profile", ["linux", "freebsd", "ovmf"])
def test_PVS_V_143_with_the_habits_of_drivers(rig: Rig, profile: str) -> None:
    disk = rig.disk(profile=profile)
    assert disk.driver.rings is not None
    depth = 1 if profile == "ovmf" else disk.driver.rings.requests.entries

    Mixed(disk, 143).run(300, depth)


def test_PVS_V_143_chained_lists(rig: Rig) -> None:
    Mixed(rig.disk(), 7, chains=True).run(300, 32)


def test_PVS_V_143_large_blocks(make_rig: MakeRig) -> None:
    disk = make_rig({0: Drive(size=32 << 20, block=4096)}).disk()

    Mixed(disk, 4096).run(200, 16)


def test_PVS_V_143_two_disks_at_once(make_rig: MakeRig) -> None:
    rig = make_rig({0: Drive(), 5: Drive()})
    driver = rig.driver()
    both = [Mixed(rig.disk(number, driver), number) for number in (0, 5)]

    for _ in range(300):
        for mixed in both:
            mixed.step()
        if driver.outstanding > 32:
            driver.kick_io()
            assert driver.until(lambda: driver.outstanding < 32)
        for mixed in both:
            mixed.reap()

    for mixed in both:
        mixed.run(1, 1)
