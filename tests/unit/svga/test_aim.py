"""A place on a viewer's desktop, told to a device and found again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svga.aim import TABLET_TOP, VMMOUSE_TOP, Desktop, rescale, to_pixel, to_unit
from svga.display import Area, Monitor

TOPS = (VMMOUSE_TOP, TABLET_TOP)
TWO = Desktop.of([Monitor(0, Area(0, 0, 1280, 800)), Monitor(3, Area(1280, 100, 640, 480))])


@given(st.integers(1, 8192), st.data(), st.sampled_from(TOPS))
def test_every_pixel_is_found_again_exactly(size: int, data: st.DataObject, top: int) -> None:
    pixel = data.draw(st.integers(0, size - 1))
    unit = to_unit(pixel, size, top)

    assert 0 <= unit <= top
    assert to_pixel(unit, size, top) == pixel
    assert round(unit * (size - 1) / top) == pixel  # how SDL and Windows divide


@given(st.integers(8193, 1 << 17), st.data(), st.sampled_from(TOPS))
def test_where_pixels_outnumber_units_the_nearest_is_found(size: int, data: st.DataObject, top: int) -> None:
    pixel = data.draw(st.integers(0, size - 1))
    unit = to_unit(pixel, size, top)

    assert abs(to_pixel(unit, size, top) - pixel) <= -(-size // (top + 1))


@given(st.integers(0, VMMOUSE_TOP))
def test_from_one_device_to_the_other_within_a_unit(unit: int) -> None:
    there = rescale(unit, VMMOUSE_TOP, TABLET_TOP)

    assert there == unit // 2
    assert abs(rescale(there, TABLET_TOP, VMMOUSE_TOP) - unit) <= 1


@pytest.mark.parametrize(("pixel", "unit"), [(-1, 32), (0, 32), (1023, 65504), (5000, 65504)])
def test_outside_is_the_edge(pixel: int, unit: int) -> None:
    assert to_unit(pixel, 1024, VMMOUSE_TOP) == unit


def test_several_monitors_are_one_desktop() -> None:
    assert (TWO.width, TWO.height) == (1920, 800)
    x, y = TWO.on(3, 10, 20)
    assert (x, y) == (1290, 120)
    assert TWO.find(*TWO.aim(x, y, TABLET_TOP), TABLET_TOP) == (1290, 120)


@pytest.mark.parametrize(
    ("at", "seen"),
    [((5, 5), (5, 5)), ((1500, 50), (1500, 100)), ((1900, 799), (1900, 579)), ((-4, 900), (0, 799))],
)
def test_where_no_monitor_is_the_nearest_pixel_counts(at: tuple[int, int], seen: tuple[int, int]) -> None:
    assert TWO.seen(*at) == seen


def test_no_monitor_at_all() -> None:
    empty = Desktop.of([])

    assert empty.seen(9, 9) == (0, 0)
    with pytest.raises(KeyError):
        empty.on(0, 1, 1)
