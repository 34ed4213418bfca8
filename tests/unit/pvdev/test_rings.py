from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvdev.rings import Descriptor, Unread, owned, owner_table

BIT = 0x40
CELL, BYTE = 16, 9


def ring(owners: list[int]) -> memoryview:
    """Cells with these owner bits; every other bit is noise."""
    cells = [pack("<QBBHI", 2**64 - 1, 0xFF, 0xFF ^ BIT | BIT * bit, 0xFFFF, 0xFFFF_FFFF) for bit in owners]
    return memoryview(b"".join(cells))


def test_owner_tables_look_at_one_bit() -> None:
    zero, one = owner_table(BIT)

    assert (len(zero), len(one)) == (256, 256)
    assert [n for n in range(256) if one[n]] == [n for n in range(256) if n & BIT]
    assert bytes(a ^ b for a, b in zip(zero, one, strict=True)) == b"\1" * 256


@pytest.mark.parametrize(
    ("owners", "start", "end", "expected"),
    [
        ([1, 1, 1, 0], 0, 4, 3),
        ([0, 1, 1, 1], 0, 4, 0),
        ([0, 1, 1, 1], 1, 4, 3),
        ([1, 1, 1, 1], 0, 4, 4),
        ([1, 1, 1, 1], 1, 3, 2),
        ([1, 0, 1, 1], 0, 4, 1),
        ([1], 1, 1, 0),
    ],
)
def test_owned_cells_without_a_gap(owners: list[int], start: int, end: int, expected: int) -> None:
    assert owned(ring(owners), BYTE, CELL, start, end, owner_table(BIT)[1]) == expected
    assert owned(ring([1 - bit for bit in owners]), BYTE, CELL, start, end, owner_table(BIT)[0]) == expected


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1), max_size=64), st.data())
def test_owned_is_as_counted_one_by_one(owners: list[int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(owners)))
    end = data.draw(st.integers(start, len(owners)))

    expected = 0
    while start + expected < end and owners[start + expected]:
        expected += 1

    assert owned(ring(owners), BYTE, CELL, start, end, owner_table(BIT)[1]) == expected


# -- completions nobody has read -----------------------------------------------------------------------------------


def cell(index: int, gen: int = 0) -> Descriptor:
    """What descriptor `index` looks like once it is posted again."""
    return Descriptor(0, index, gen)


def test_room_shrinks_with_every_completion() -> None:
    unread = Unread(3, lambda descriptor: False)

    for n in range(3):
        unread.add(cell(n))

    assert unread.free() == 0


def test_a_descriptor_posted_again_proves_its_completion_read_and_all_before() -> None:
    posted: set[Descriptor] = set()
    unread = Unread(4, posted.__contains__)
    for n in (7, 8, 9):
        unread.add(cell(n))

    posted.add(cell(8))
    once = unread.free()
    posted.add(cell(9))

    assert (once, unread.free()) == (3, 4)


def test_a_descriptor_of_another_ring_or_lap_proves_nothing() -> None:
    posted = {Descriptor(1, 7, 0), Descriptor(0, 7, 1), Descriptor(0, 6, 0)}
    unread = Unread(4, posted.__contains__)
    unread.add(cell(7))

    assert unread.free() == 3


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.integers(1, 12), st.lists(st.tuples(st.booleans(), st.integers(0, 8)), max_size=120))
def test_no_unread_completion_is_ever_overwritten(room: int, turns: list[tuple[bool, int]]) -> None:
    """A ring of 8 in the hands of a driver that reads some completions and posts those descriptors again, or later."""
    posted = 8  # descriptors posted so far: number n sits in cell n % 8
    written = read = 0  # completions
    unread = Unread(room, lambda descriptor: descriptor.cell < posted)
    for device, many in turns:
        for _ in range(many):
            if device and written < posted and unread.free():
                unread.add(Descriptor(0, written + 8, 0))  # proved read once its number is posted
                written += 1
            if not device and read < written:
                read += 1
                posted = max(posted, read + 8 - many % 3)  # it may keep a few back
        assert written - read <= room

    posted = written + 8
    assert unread.free() == room
