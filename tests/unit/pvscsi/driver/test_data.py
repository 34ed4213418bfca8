"""How data lies in memory: one piece, lists, chains."""

from collections.abc import Iterator

import pytest

from pvscsi import wire
from pvscsi.driver.common import GUARD
from pvscsi.driver.data import Data, Shape, even, spread
from pvscsi.driver.memory import Memory
from pvscsi.wire import Flag
from tests.unit.pvscsi.driver.puppet import Puppet


@pytest.fixture
def memory(puppet: Puppet) -> Memory:
    return Memory(puppet, lambda rule, what: pytest.fail(f"{rule}: {what}"))


def follow(puppet: Puppet, data: Data) -> Iterator[tuple[int, int]]:
    """The elements of its list as a device finds them."""
    at, left = data.address, data.size
    for _ in range(128):
        page = at // 4096
        while left > 0:
            assert at // 4096 == page
            address, length, flags = wire.SG_ELEMENT.struct.unpack(puppet.memory(at, 16))
            at += 16
            if flags & wire.SG_CHAIN:
                at = address
                break
            left -= length
            yield address, length
        if left <= 0:
            return
    pytest.fail("the list does not end")


def test_one_piece_is_direct(puppet: Puppet, memory: Memory) -> None:
    data = Data(memory, 512)
    data.fill(bytes(512))

    assert data.flag == Flag(0)
    assert bytes(puppet.memory(data.address, 512)) == bytes(512)


@pytest.mark.parametrize(
    ("pieces", "per_segment", "segments"),
    [(1, 128, 1), (2, 128, 1), (128, 128, 1), (129, 128, 2), (256, 128, 3), (6, 2, 5), (129, 2, 128)],
)
def test_lists(puppet: Puppet, memory: Memory, pieces: int, per_segment: int, segments: int) -> None:
    shape = Shape(even(4096, pieces), listed=True, per_segment=per_segment, offset=1)
    data = Data(memory, 4096, shape)
    data.fill(bytes(n & 0xFF for n in range(4096)))

    found = list(follow(puppet, data))

    assert data.flag == Flag.CMD_WITH_SG_LIST
    assert len(data.segments) == segments
    assert [length for _, length in found] == list(even(4096, pieces))
    assert b"".join(bytes(puppet.memory(*element)) for element in found) == bytes(n & 0xFF for n in range(4096))
    assert data.intact()


def test_what_was_written_is_seen(memory: Memory) -> None:
    data = Data(memory, 100, spread((40, 60)))

    assert data.untouched(0)
    data.views[1][0] = 0
    assert data.untouched(41)
    assert not data.untouched(40)
    assert data.intact()
    data.piece.view[41] = 0  # between the pieces
    assert not data.intact()
    data.piece.view[41] = GUARD


def test_pieces_must_add_up(memory: Memory) -> None:
    with pytest.raises(ValueError, match="pieces of 3 bytes for 4"):
        Data(memory, 4, Shape((1, 2)))


def test_release_gives_all_back(puppet: Puppet, memory: Memory) -> None:
    Data(memory, 4096, spread(even(4096, 300))).release()

    assert puppet.arena.alloc(32 << 20).address == 0x10_0000
