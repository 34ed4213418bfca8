"""PVSCSI device rules 139 and 140: a medium that fails, and one that grows or shrinks."""

import pytest

from pvscsi.conform.rig import DISK, Can, Drive, MakeRig, pattern, told
from pvscsi.driver import Disk, cdb

pytestmark = pytest.mark.unit
BAD = 2048  # the block that fails
FAILING = Drive(bad=((BAD * 512, 512),))
FULL = Drive(full=True)


@pytest.fixture
def failing(make_rig: MakeRig) -> Disk:
    return make_rig({0: FAILING}).disk()


@pytest.mark.parametrize("before", [0, 1, 7])
def test_PVS_V_139_a_block_that_cannot_be_read(failing: Disk, before: int) -> None:
    for size in (10, 12, 16):
        request = failing.run(cdb.read(BAD - before, 8, size=size), read=4096)
        assert told(request) == "03/11/00"
        assert request.sense is not None
        assert request.sense.information == BAD


@pytest.mark.parametrize("before", [0, 1, 7])
def test_PVS_V_139_a_block_that_cannot_be_written(failing: Disk, before: int) -> None:
    for size in (10, 12, 16):
        request = failing.run(cdb.write(BAD - before, 8, size=size), write=pattern(4096))
        assert told(request) == "03/0C/00"
        assert request.sense is not None
        assert request.sense.information == BAD


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (cdb.verify(BAD, 1), b""),
        (cdb.verify(BAD - 1, 2, bytchk=1), bytes(1024)),
        (cdb.compare_and_write(BAD, 1), bytes(1024)),
    ],
    ids=["verify", "verify data", "compare and write"],
)
def test_PVS_V_139_whoever_reads_it(failing: Disk, command: bytes, data: bytes) -> None:
    request = failing.run(command, write=data)

    assert told(request) == "03/11/00"
    assert request.sense is not None
    assert request.sense.information == BAD


def test_PVS_V_139_what_comes_later_works(failing: Disk) -> None:
    failing.write(BAD - 8, pattern(4096, 1))

    for _ in range(5):
        assert told(failing.run(cdb.read(BAD, 1), read=512)) == "03/11/00"
        assert failing.read(BAD - 8, 8) == pattern(4096, 1)
        failing.write(BAD + 1, pattern(4096, 2))

    assert failing.read(BAD + 1, 8) == pattern(4096, 2)
    assert failing.settle() == []


def test_PVS_V_139_among_many(failing: Disk) -> None:
    sent = [failing.submit(cdb.read(BAD - 16 + n, 1), read=512) for n in range(32)]

    failing.driver.wait(*sent)

    assert [n for n, request in enumerate(sent) if not request.good] == [16]
    assert told(sent[16]) == "03/11/00"


def test_PVS_V_139_no_room_left(make_rig: MakeRig) -> None:
    disk = make_rig({0: FULL}).disk()

    answers = [told(disk.run(cdb.write(n, 8), write=pattern(4096))) for n in (0, 100)]

    assert answers == ["07/27/07"] * 2
    assert disk.read(0, 8) == bytes(4096)
    assert disk.run(cdb.inquiry(), read=36).good


@pytest.mark.parametrize("size", [DISK.size // 2, DISK.size * 2])
def test_PVS_V_140_another_size(make_rig: MakeRig, size: int) -> None:
    rig = make_rig({0: DISK})
    rig.need(Can.MEDIA)
    disk = rig.disk()
    disk.write(0, pattern(4096))

    rig.target.resize(0, size)
    attentions = disk.settle()
    capacity = disk.read_capacity()

    assert attentions == ["06/2A/09"]
    assert capacity.blocks == size // 512
    assert disk.read(0, 8) == pattern(4096)
    disk.write(capacity.last, pattern(512, 140))
    assert disk.read(capacity.last, 1) == pattern(512, 140)
    assert told(disk.run(cdb.read(capacity.blocks, 1), read=512)) == "05/21/00"


def test_PVS_V_140_new_blocks_are_empty(make_rig: MakeRig) -> None:
    rig = make_rig({0: DISK})
    rig.need(Can.MEDIA)
    disk = rig.disk()

    rig.target.resize(0, DISK.size * 2)
    disk.settle()

    assert disk.read(DISK.size // 512, 64) == bytes(32768)


def test_PVS_V_140_the_same_size_is_no_news(make_rig: MakeRig) -> None:
    rig = make_rig({0: DISK})
    rig.need(Can.MEDIA)
    disk = rig.disk()

    rig.target.resize(0, DISK.size)

    assert disk.settle() == []


def test_PVS_V_140_both_capacities(make_rig: MakeRig) -> None:
    rig = make_rig({0: DISK})
    rig.need(Can.MEDIA)
    disk = rig.disk()

    rig.target.resize(0, 3 << 20)
    disk.settle()

    assert disk.must(cdb.read_capacity(), read=8).data[:4] == ((3 << 20) // 512 - 1).to_bytes(4, "big")
    assert disk.read_capacity().blocks == (3 << 20) // 512
