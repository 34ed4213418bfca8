from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvdev.arena import Arena, Piece

SIZE, BASE = 64 << 10, 0x10_0000


@pytest.fixture
def arena() -> Arena:
    return Arena(SIZE, BASE)


def test_pieces_are_aligned_zeroed_and_in_the_block(arena: Arena) -> None:
    first = arena.alloc(100)
    second = arena.alloc(16, 512)

    assert first.address % 4096 == second.address % 512 == 0
    assert (len(first.view), len(second.view)) == (100, 16)
    second.view[:] = b"\xff" * 16
    assert arena.block.view[second.address - BASE :][:16] == b"\xff" * 16


def test_alignment_is_that_of_the_address_the_device_sees() -> None:
    odd = Arena(SIZE, BASE + 512)

    assert odd.alloc(1, 4096).address % 4096 == 0
    assert odd.alloc(1, 8192).address % 8192 == 0


def test_memory_used_before_comes_back_zeroed(arena: Arena) -> None:
    piece = arena.alloc(4096)
    piece.view[:] = b"\xff" * 4096
    arena.free(piece)

    again = arena.alloc(4096)

    assert again.address == piece.address
    assert again.view == bytes(4096)


def test_a_freed_view_is_released(arena: Arena) -> None:
    piece = arena.alloc(16)

    arena.free(piece)

    with pytest.raises(ValueError, match="released"):
        piece.view[0]


def test_gaps_left_by_alignment_are_used(arena: Arena) -> None:
    arena.alloc(16, 16)
    far = arena.alloc(4096)
    near = arena.alloc(16, 16)

    assert near.address < far.address


def test_a_full_arena_says_so_and_stays_whole(arena: Arena) -> None:
    whole = arena.alloc(SIZE)
    with pytest.raises(MemoryError, match="no 1 bytes left"):
        arena.alloc(1)

    arena.free(whole)

    assert len(arena.alloc(SIZE).view) == SIZE


def test_more_than_there_is(arena: Arena) -> None:
    with pytest.raises(MemoryError):
        arena.alloc(SIZE + 1)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9000), st.sampled_from([16, 512, 4096]), st.integers(0, 9)), max_size=40))
def test_pieces_never_overlap_and_all_comes_back(requests: list[tuple[int, int, int]]) -> None:
    arena = Arena(SIZE, BASE)
    held: list[Piece] = []
    for size, align, drop in requests:
        with suppress(MemoryError):
            held.append(arena.alloc(size, align))
        spans = sorted((piece.address, piece.address + len(piece.view)) for piece in held)
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
        assert all(lo >= BASE and hi <= BASE + SIZE for lo, hi in spans)
        if drop < len(held):
            arena.free(held.pop(drop))

    for piece in held:
        arena.free(piece)

    assert len(arena.alloc(SIZE).view) == SIZE


def test_closing_gives_the_memory_back(arena: Arena) -> None:
    arena.close()

    assert arena.block.fd == -1
