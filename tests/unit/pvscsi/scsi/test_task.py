import pytest

from pvscsi.scsi.task import Status, Task, cut
from tests.unit.pvscsi.scsi.rig import pieces_of


def test_status_codes_are_those_of_sam() -> None:
    assert [int(status) for status in Status] == [0x00, 0x02, 0x04, 0x08, 0x18, 0x28, 0x30, 0x40]


@pytest.mark.parametrize("cuts", [(), (1,), (3, 3), (2, 5, 7)])
def test_give_fills_the_pieces_in_order(cuts: tuple[int, ...]) -> None:
    memory = bytearray(8)
    task = Task(b"", pieces_of(memory, cuts), 8)

    task.give(b"abcdef")

    assert (bytes(memory), task.moved) == (b"abcdef\0\0", 6)


def test_give_stops_where_the_room_ends() -> None:
    memory = bytearray(8)
    task = Task(b"", pieces_of(memory, (3,)), 5)

    task.give(b"abcdefgh")

    assert (bytes(memory), task.moved) == (b"abcde\0\0\0", 5)


@pytest.mark.parametrize(("room", "limit", "taken"), [(8, None, b"abcdefgh"), (5, None, b"abcde"), (8, 4, b"abcd")])
def test_take_is_a_private_copy_within_bounds(room: int, limit: int | None, taken: bytes) -> None:
    memory = bytearray(b"abcdefgh")
    data = Task(b"", pieces_of(memory, (3,)), room).take(limit)
    memory[:] = bytes(8)

    assert data == taken


@pytest.mark.parametrize("start", range(6))
@pytest.mark.parametrize("stop", range(9))
def test_cut_is_a_slice_without_a_copy(start: int, stop: int) -> None:
    memory = bytearray(range(8))
    found = cut(pieces_of(memory, (2, 2, 5)), start, stop)

    assert b"".join(found) == bytes(memory[start:stop])
    assert all(len(piece) for piece in found)
    memory[:] = bytes(8)
    assert not any(b"".join(found))
