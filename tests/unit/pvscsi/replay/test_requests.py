from itertools import pairwise

import pytest

from pvscsi.block.backend import Op
from pvscsi.replay.requests import Limits, Piece, command
from pvscsi.traces.trace import Event
from pvscsi.wire import Flag

LIMITS = Limits(move=4096, unmap=1 << 20, zero=8192)


@pytest.mark.parametrize(
    ("op", "length", "lengths"),
    [
        (Op.READ, 4096, [4096]),
        (Op.WRITE, 10240, [4096, 4096, 2048]),
        (Op.DISCARD, 1 << 20, [1 << 20]),
        (Op.DISCARD, (1 << 20) + 512, [1 << 20, 512]),
        (Op.ZERO, 10240, [8192, 2048]),
        (Op.FLUSH, 0, [0]),
    ],
)
def test_what_is_too_long_is_split_in_order(op: Op, length: int, lengths: list[int]) -> None:
    pieces = list(LIMITS.pieces(Event(0, op, 512, length, fua=op is Op.WRITE)))

    assert [piece.length for piece in pieces] == lengths
    assert pieces[0].offset == 512
    assert all(here.end == there.offset for here, there in pairwise(pieces))
    assert {(piece.op, piece.fua) for piece in pieces} == {(op, op is Op.WRITE)}


@pytest.mark.parametrize(
    ("piece", "cdb"),
    [
        (Piece(Op.READ, 4096, 1024), "28000000000800000200"),
        (Piece(Op.WRITE, 4096, 1024), "2a000000000800000200"),
        (Piece(Op.WRITE, 4096, 1024, True), "2a080000000800000200"),
        (Piece(Op.READ, (1 << 41) - 512, 512), "2800ffffffff00000100"),
        (Piece(Op.READ, (1 << 41) - 512, 1024), "880000000000ffffffff000000020000"),
        (Piece(Op.WRITE, 0, 0x1_0000 * 512), "8a000000000000000000000100000000"),
        (Piece(Op.ZERO, 512, 512), "93010000000000000001000000010000"),
        (Piece(Op.FLUSH, 0, 0), "35000000000000000000"),
    ],
)
def test_commands(piece: Piece, cdb: str) -> None:
    assert command(piece)[0].hex() == cdb


def test_a_discard_brings_its_range() -> None:
    cdb, direction, parameters = command(Piece(Op.DISCARD, 1 << 20, 8192))

    assert (cdb.hex(), direction) == ("42000000000000001800", Flag.DIR_TODEVICE)
    assert parameters.hex() == "001600100000000000000000000008000000001000000000"


@pytest.mark.parametrize(
    ("one", "other", "matters"),
    [
        (Piece(Op.READ, 0, 1024), Piece(Op.READ, 512, 1024), False),
        (Piece(Op.READ, 0, 1024), Piece(Op.WRITE, 512, 1024), True),
        (Piece(Op.READ, 0, 1024), Piece(Op.WRITE, 1024, 512), False),
        (Piece(Op.DISCARD, 0, 4096), Piece(Op.ZERO, 512, 512), True),
        (Piece(Op.WRITE, 0, 4096), Piece(Op.FLUSH, 0, 0), False),
    ],
)
def test_order_matters_where_bytes_are_shared_and_changed(one: Piece, other: Piece, matters: bool) -> None:
    assert (one.overlaps(other), other.overlaps(one)) == (matters, matters)
