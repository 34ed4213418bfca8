"""Memory made of pages, and rectangles in it."""

from random import Random

import pytest

from pvdev.errors import GuestFault
from pvdev.mem import GuestMemory
from svga.display import Area
from svga.planes import Flat, Pages, Plane, copy
from svga.rect import clip, clip_move, holds, signed, union
from svga.wire import PAGE


def memory(pages: int = 16) -> tuple[GuestMemory, memoryview]:
    mem, view = GuestMemory(), memoryview(bytearray(pages * PAGE))
    mem.map(PAGE, view)
    return mem, view


def test_windows_placed_in_any_order_read_as_one_memory() -> None:
    """Against a plain list of page numbers, over and over."""
    rng = Random(11)
    mem, view = memory()
    for page in range(16):
        view[page * PAGE : (page + 1) * PAGE] = bytes([page]) * PAGE
    pages = Pages(mem, 12 * PAGE)
    model: list[int | None] = [None] * 12
    for _ in range(200):
        first = rng.randrange(12)
        ppns = [rng.randrange(1, 17) for _ in range(rng.randrange(1, 13 - first))]
        pages.place(first, ppns)
        model[first : first + len(ppns)] = ppns
    pages.place(0, [n or 1 for n in model])

    assert [bytes(pages.read(n * PAGE, 1))[0] + 1 for n in range(12)] == [n or 1 for n in model]
    assert len(pages.read(100, 11 * PAGE)) == 11 * PAGE


@pytest.mark.parametrize(("at", "length"), [(4 * PAGE - 1, 2), (0, 4 * PAGE + 1), (-1, 1), (2 * PAGE, 1)])
def test_bytes_that_are_not_there(at: int, length: int) -> None:
    mem, _ = memory()
    pages = Pages(mem, 4 * PAGE, [(1, 2)])
    pages.place(3, [5])

    with pytest.raises(GuestFault):
        pages.read(at, length)


def test_rows_with_gaps_between_pages_and_flat_memory() -> None:
    mem, view = memory()
    view[:] = Random(2).randbytes(len(view))
    pages = Pages(mem, 3 * PAGE, [(9, 1), (2, 1), (5, 1)])
    whole = bytes(pages.read(0, 3 * PAGE))
    flat = memoryview(bytearray(64 * 40))

    copy(Plane(pages, 100, 300, 4), 5, 2, Plane(Flat(flat), 0, 64, 4), 3, 1, 10, 35, None)

    for row in range(35):
        start = 100 + 300 * (row + 2) + 20
        assert bytes(flat[64 * (row + 1) + 12 :][:40]) == whole[start : start + 40]


def test_rectangles() -> None:
    bounds = Area(0, 0, 10, 10)

    assert clip(-5, -5, 6, 7, bounds) == Area(0, 0, 1, 2)
    assert clip(1 << 40, 0, 1 << 40, 5, bounds) is None
    assert clip(5, 5, -1, 5, bounds) is None
    assert [holds(bounds, *area) for area in ((0, 0, 10, 10), (10, 10, 0, 0), (-1, 0, 1, 1), (5, 5, 6, 1))] == [
        *(True, True, False, False),
    ]
    assert clip_move((-2, 0, 8, 8, 10, 10), bounds, bounds) is None
    assert clip_move((-2, 1, 4, 8, 10, 10), bounds, bounds) == (0, 1, 6, 8, 4, 2)
    assert (signed(0xFFFF_FFFF), signed(0x7FFF_FFFF)) == (-1, 0x7FFF_FFFF)
    assert (union([]), union([Area(-5, 0, 1, 1), Area(5, 5, 5, 5)])) == (Area(0, 0, 0, 0), Area(-5, 0, 15, 10))
