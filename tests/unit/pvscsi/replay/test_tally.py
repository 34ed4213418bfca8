from pvscsi.block.backend import Io, Op
from pvscsi.block.faulty import FaultyDisk, Plan
from pvscsi.block.mem import MemDisk
from pvscsi.block.slow import SlowDisk
from pvscsi.replay.tally import Tally, Witness


def tally(*moves: tuple[Op, int, bytes]) -> str:
    made = Tally()
    for op, offset, data in moves:
        made.add(op, offset, len(data), (data,))
    return made.digest()


def test_a_digest_knows_kind_place_and_bytes_but_not_the_order() -> None:
    one, other = (Op.READ, 0, b"ab"), (Op.WRITE, 2, b"cd")

    assert tally(one, other) == tally(other, one)
    others = (
        tally((Op.WRITE, 0, b"ab")),
        tally((Op.READ, 1, b"ab")),
        tally((Op.READ, 0, b"ac")),
        tally(one, one),
        tally(),
    )
    assert tally(one) not in others


def test_pieces_are_one() -> None:
    whole, parts = Tally(), Tally()
    whole.add(Op.READ, 0, 4, (b"abcd",))
    parts.add(Op.READ, 0, 4, (b"ab", memoryview(b"cd")))

    assert whole == parts


def read(offset: int) -> Io:
    return Io(Op.READ, offset, 512, (memoryview(bytearray(512)),))


def test_a_medium_counts_reads_and_writes_it_did_without_fault() -> None:
    disk = Witness(FaultyDisk(MemDisk("mem", 8192), Plan(bad_read=[(4096, 512)])))
    disk.submit([Io(Op.WRITE, 0, 512, (memoryview(b"x" * 512),)), Io(Op.FLUSH), Io(Op.ZERO, 1024, 512), read(4096)])
    disk.submit([read(0)])

    assert (disk.tally.requests, disk.tally.bytes) == (2, 1024)
    assert disk.tally.digest() == tally((Op.WRITE, 0, b"x" * 512), (Op.READ, 0, b"x" * 512))


def test_a_medium_counts_what_is_done_later_when_it_is_done() -> None:
    disk = Witness(SlowDisk(MemDisk("mem", 8192), {Op.READ: 10}))
    disk.submit([read(0)])
    assert disk.tally == Tally()
    disk.reap(0)
    disk.reap(100)

    assert disk.tally.digest() == tally((Op.READ, 0, bytes(512)))
