"""What a viewer sees is what is shown, by every encoding and in every format; and no more is sent than that takes."""

import struct

import numpy as np
import pytest

from svga.console.pixels import COLOUR_MAPPED, PixelFormat, colour_map, straight
from svga.console.view import blocks
from svga.display import Area, Cursor, Monitor, Rows
from tests.unit.svga.console.rfb import (
    ALPHA_CURSOR,
    COPY_RECT,
    CURSOR,
    DESKTOP,
    EXTENDED_DESKTOP,
    RAW,
    TIGHT,
    ZRLE,
    Screen,
    Viewer,
    chance,
    moved,
    pointer,
)

ALL = Area(0, 0, 200, 150)
FORMATS = {
    "plain": PixelFormat(),
    "big endian": PixelFormat(big_endian=True),
    "red last": PixelFormat(shift=(0, 8, 16)),
    "high bytes": PixelFormat(shift=(24, 16, 8)),
    "high bytes, big endian": PixelFormat(big_endian=True, shift=(24, 16, 8)),
    "depth 32": PixelFormat(depth=32),
    "565": PixelFormat(16, 16, most=(31, 63, 31), shift=(11, 5, 0)),
    "565, big endian": PixelFormat(16, 16, big_endian=True, most=(31, 63, 31), shift=(11, 5, 0)),
    "332": PixelFormat(8, 8, most=(7, 7, 3), shift=(0, 3, 6)),
}


def expected(screen: Screen, form: PixelFormat) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    """The screen's pixels, with as many bits a channel as the format has."""
    out = np.zeros(screen.pixels.shape, np.uint32)
    for most, place in zip(form.most, (16, 8, 0), strict=True):
        out |= (screen.pixels >> place & 0xFF) >> 8 - most.bit_length() << place
    return out


@pytest.mark.parametrize("encoding", [RAW, TIGHT, ZRLE])
@pytest.mark.parametrize("colours", [1, 2, 3, 4, 5, 16, 17, 1 << 16])
def test_every_number_of_colours(encoding: int, colours: int) -> None:
    viewer = Viewer(Screen(), encoding).look()
    viewer.screen.draw(ALL, 3, colours)
    viewer.look()

    assert set(viewer.got) == {encoding}
    assert viewer.sees()


@pytest.mark.parametrize("encoding", [RAW, TIGHT, ZRLE])
@pytest.mark.parametrize("name", FORMATS)
def test_every_pixel_format(encoding: int, name: str) -> None:
    viewer = Viewer(Screen(), encoding).want(FORMATS[name])
    for colours in (1, 2, 9, 1 << 16):
        viewer.screen.draw(ALL, 7, colours)
        viewer.look()
        assert np.array_equal(viewer.fb, expected(viewer.screen, FORMATS[name]))


@pytest.mark.parametrize("encoding", [RAW, TIGHT, ZRLE])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (2, 5), (65, 1), (1, 65), (129, 67)])
def test_every_size(encoding: int, size: tuple[int, int]) -> None:
    viewer = Viewer(Screen(*size), encoding)
    for colours in (1, 2, 5, 1 << 16):
        viewer.screen.draw(Area(0, 0, *size), 5, colours)
        viewer.look()
        assert viewer.sees()


@pytest.mark.parametrize("encoding", [RAW, TIGHT, ZRLE])
def test_a_screen_wider_than_tights_rectangles(encoding: int) -> None:
    viewer = Viewer(Screen(4200, 300), encoding)
    viewer.screen.draw(Area(0, 0, 4200, 300), 2)
    viewer.look()

    assert viewer.sees()


def test_a_colour_map_where_a_viewer_wants_one() -> None:
    viewer = Viewer(Screen(), RAW).want(COLOUR_MAPPED)
    viewer.screen.draw(ALL, 7)
    viewer.look()

    assert viewer.said == [("colours", colour_map()[6:])]
    assert colour_map()[6 + 6 * 7 : 6 + 6 * 8].hex() == "ffff00000000"
    assert np.array_equal(viewer.fb, expected(viewer.screen, COLOUR_MAPPED))


def test_another_compression_begins_new_streams() -> None:
    viewer = Viewer(Screen(), TIGHT, -256 + 9).look()
    for seed, level in enumerate((9, 0, 1)):
        viewer.encodings(TIGHT, -256 + level)
        viewer.screen.draw(ALL, seed, 3)
        viewer.look()
        viewer.screen.draw(ALL, seed)
        viewer.look()
        assert viewer.sees()


def test_what_does_not_shrink_is_stored_and_what_comes_after_is_right() -> None:
    viewer = Viewer(Screen(), TIGHT).look()
    sizes = []
    for seed, colours in enumerate((1 << 16, 300, 1 << 16, 300)):
        if colours == 300:
            viewer.screen.draw(ALL, seed, colours)
        else:
            noise = np.random.default_rng(seed).integers(0, 1 << 24, viewer.screen.pixels.shape, np.uint32)
            viewer.screen.pixels[:] = noise
            viewer.screen.mark(ALL)
        sizes.append(len(viewer.ask().take()))
        assert viewer.sees()

    assert sizes[0] > 3 * 200 * 150
    assert sizes[1] < sizes[0]


def test_the_first_encoding_a_viewer_names_is_used() -> None:
    viewer = Viewer(Screen(), COPY_RECT, 99, ZRLE, TIGHT, RAW).look()

    assert viewer.got == [ZRLE]


# -- convergence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [RAW, TIGHT, ZRLE])
def test_SVG_V_064_every_changed_tile_within_two_updates(encoding: int) -> None:
    """Whatever the guest draws, wherever, and whenever the viewer looks."""
    random = chance(encoding)
    viewer = Viewer(Screen(333, 222), encoding, COPY_RECT)
    for n in range(60):
        for _ in range(random.randrange(4)):
            width, height = random.randint(1, 200), random.randint(1, 120)
            area = Area(random.randint(0, 333 - width), random.randint(0, 222 - height), width, height)
            if random.random() < 0.5:
                viewer.screen.draw(area, n, random.choice((1, 2, 7, 1 << 16)))
            else:
                viewer.screen.copy(area, random.randint(0, 333 - width), random.randint(0, 222 - height))
        viewer.look()
        assert viewer.sees()
    assert COPY_RECT in viewer.got


def test_SVG_V_064_what_changes_while_it_is_read_comes_again() -> None:
    """The guest writes on while a picture is taken, and tells of it after."""
    viewer = Viewer(Screen(), RAW).look()
    viewer.screen.mark(ALL)
    viewer.screen.pixels[10:20] = 0x123456  # drawn before the look, told of after
    viewer.look()
    viewer.screen.pixels[15:40] = 0x654321
    viewer.screen.mark(Area(0, 10, 200, 30))
    viewer.look()

    assert viewer.sees()


def test_SVG_V_064_only_a_part_is_asked_for() -> None:
    viewer = Viewer(Screen(), TIGHT).look()
    viewer.screen.draw(ALL, 1)
    viewer.ask(Area(10, 10, 50, 60)).take()
    part = viewer.fb.copy()
    viewer.look()

    assert (part[10:70, 10:60] == viewer.screen.pixels[10:70, 10:60]).all()
    assert not part[:10].any()
    assert viewer.sees()


def test_what_did_not_change_is_not_sent() -> None:
    viewer = Viewer(Screen(), RAW).look()
    viewer.got.clear()
    viewer.screen.mark(ALL)
    again = viewer.ask().take()
    viewer.screen.pixels[70, 70] = 1
    viewer.screen.mark(ALL)
    one = viewer.ask().take()

    assert again == b""
    assert len(one) == 4 + 12 + 4


def test_what_is_asked_for_again_is_sent_again() -> None:
    viewer = Viewer(Screen(), RAW).look()
    viewer.fb[:] = 7
    viewer.ask(again=True).take()

    assert viewer.sees()


# -- copies ------------------------------------------------------------------------------------------------------------


def scrolled() -> Viewer:
    """A viewer that has seen a picture."""
    viewer = Viewer(Screen(), RAW, COPY_RECT)
    viewer.screen.draw(ALL, 1)
    viewer.look().got.clear()
    return viewer


def test_SVG_V_065_a_scroll_is_a_copy_and_no_pixels() -> None:
    viewer = scrolled()
    viewer.screen.copy(Area(0, 0, 200, 134), 0, 16)
    viewer.look()

    assert viewer.got == [COPY_RECT]
    assert viewer.sees()


def test_SVG_V_065_a_copy_of_what_was_drawn_and_not_told_of() -> None:
    viewer = scrolled()
    viewer.screen.pixels[0:40, 0:40] = 0x999999
    viewer.screen.copy(Area(100, 100, 40, 40), 0, 0)
    viewer.screen.mark(Area(0, 0, 40, 40))
    viewer.look()

    assert viewer.sees()


def test_SVG_V_065_a_copy_of_what_is_drawn_right_after() -> None:
    viewer = scrolled()
    viewer.screen.copy(Area(100, 100, 40, 40), 0, 0)
    viewer.screen.draw(Area(0, 0, 64, 64), 4)
    viewer.look()

    assert viewer.sees()


def test_SVG_V_065_copies_of_copies() -> None:
    viewer = scrolled()
    for n in range(20):
        viewer.screen.copy(Area(5 + n, 3 + 2 * n, 100, 60), n, n)
    viewer.look()

    assert COPY_RECT in viewer.got
    assert viewer.sees()


def test_SVG_V_065_a_copy_of_what_the_viewer_has_not_yet() -> None:
    viewer = scrolled()
    viewer.screen.draw(Area(0, 0, 64, 64), 4)
    viewer.ask(Area(180, 100, 10, 10)).take()  # takes the mark, not the tile
    viewer.screen.copy(Area(100, 64, 60, 60), 0, 0)
    viewer.look()

    assert COPY_RECT not in viewer.got
    assert viewer.sees()


def test_SVG_V_065_a_copy_to_outside_of_what_is_asked_for() -> None:
    viewer = scrolled()
    viewer.screen.copy(Area(0, 0, 200, 134), 0, 16)
    viewer.ask(Area(0, 0, 100, 100)).take()
    viewer.look()

    assert viewer.sees()


def test_SVG_V_065_a_viewer_that_cannot_copy() -> None:
    viewer = Viewer(Screen(), RAW)
    viewer.screen.draw(ALL, 1)
    viewer.look().screen.copy(Area(0, 0, 200, 134), 0, 16)
    viewer.look()

    assert COPY_RECT not in viewer.got
    assert viewer.sees()


def test_a_viewer_that_never_asks_collects_no_copies() -> None:
    viewer = scrolled()
    for n in range(5000):
        viewer.screen.copy(Area(0, 64, 64, 64), 128, n % 8)

    assert len(viewer.session._watch._damage.copies) <= 256
    assert viewer.look().sees()


# -- sizes and monitors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [DESKTOP, EXTENDED_DESKTOP])
def test_another_size(way: int) -> None:
    viewer = Viewer(Screen(), RAW, way).look()
    viewer.screen.resize(300, 100)
    viewer.screen.draw(Area(0, 0, 300, 100), 1)
    viewer.look().look()

    assert way in viewer.got
    assert viewer.sees()


def test_a_viewer_that_knows_no_other_size() -> None:
    viewer = Viewer(Screen(), RAW).look()
    viewer.screen.resize(300, 100)
    viewer.screen.draw(Area(0, 0, 300, 100), 1)
    viewer.look()

    assert (viewer.fb[:100] == viewer.screen.pixels[:, :200]).all()
    assert not viewer.fb[100:].any()


def test_pixels_elsewhere_at_the_same_size() -> None:
    """A page flip: another serial, the same layout."""
    viewer = scrolled()
    memory = bytearray(b"\x11\x22\x33\x00" * 200 * 150)
    viewer.screen.show((Monitor(0, ALL), Rows((memoryview(memory),), 200, 150, 800, 32)))
    viewer.look()

    assert (viewer.fb == 0x332211).all()


def test_two_monitors_and_a_blank_one_with_rows_smaller_than_it() -> None:
    screen = Screen()
    small = Rows((memoryview(bytearray(b"\x01\x02\x03\x00" * 40)),), 10, 4, 40, 32)
    screen.show(
        (Monitor(0, Area(0, 0, 20, 10)), small),
        (Monitor(1, Area(20, 5, 10, 10)), None),
        (Monitor(2, Area(0, 12, 3, 3)), small),
    )
    viewer = Viewer(screen, RAW, EXTENDED_DESKTOP).look().look()

    assert viewer.fb.shape == (15, 30)
    assert [each[:5] for each in viewer.screens] == [(0, 0, 0, 20, 10), (1, 20, 5, 10, 10), (2, 0, 12, 3, 3)]
    assert (viewer.fb[:4, :10] == 0x030201).all()
    assert (viewer.fb[12:, :3] == 0x030201).all()
    assert np.count_nonzero(viewer.fb) == 40 + 9


def test_monitors_without_end_are_cut() -> None:
    screen = Screen()
    screen.show((Monitor(0, Area(0, 0, 10, 10)), None), (Monitor(1, Area(1 << 31, 1 << 31, 8192, 8192)), None))
    viewer = Viewer(screen, RAW)
    screen.mark(Area(0, 0, 1 << 32, 1 << 32))
    viewer.ask(Area(0, 0, 64, 64)).take()

    assert viewer.fb.shape == (1024, 16384)
    assert viewer.got == [RAW]


@pytest.mark.parametrize(
    ("bpp", "masks", "pixel", "word"),
    [
        (15, (0x7C00, 0x03E0, 0x001F), b"\x1f\x7c", 0xFF00FF),
        (16, (0xF800, 0x07E0, 0x001F), b"\xe0\x07", 0x00FF00),
        (24, (0xFF0000, 0xFF00, 0xFF), b"\x01\x02\x03", 0x030201),
        (32, (0xFF0000, 0xFF00, 0xFF), b"\x01\x02\x03\x99", 0x030201),
        (32, (0xFF, 0xFF00, 0xFF0000), b"\x01\x02\x03\x99", 0x010203),
        (8, (0, 0, 0), b"\x05", 0x0A0B0C),
    ],
)
def test_every_depth_of_the_guests(bpp: int, masks: tuple[int, int, int], pixel: bytes, word: int) -> None:
    """Rows in two pieces that meet in the middle of a pixel's row, with a pitch of their own."""
    screen = Screen()
    row = pixel * 70 + bytes(8)
    data = memoryview(bytearray(row * 65))
    palette = [(10, 11, 12)] * 256
    rows = Rows((data[:1001], data[1001:]), 70, 65, len(row), bpp, masks, palette)
    screen.show((Monitor(0, Area(0, 0, 70, 65)), rows))
    viewer = Viewer(screen, RAW).look()

    assert (viewer.fb == word).all()


# -- pointers ----------------------------------------------------------------------------------------------------------


def test_a_pointer_is_drawn_for_a_viewer_that_cannot() -> None:
    viewer = Viewer(Screen(), RAW).look()
    viewer.screen.point(moved(20, 30))
    viewer.look()
    drawn = viewer.fb.copy()
    viewer.screen.point(moved(120, 100))
    viewer.look()
    viewer.screen.point(Cursor(120, 100, False))
    viewer.look()

    assert (drawn[28:36, 19:27] == 0x102030).all()
    assert np.count_nonzero(drawn) == 64
    assert not viewer.fb.any()


def test_half_a_pointer_lets_the_picture_through() -> None:
    viewer = Viewer(Screen(), RAW)
    viewer.screen.pixels[:] = 0x646464
    viewer.screen.point(moved(-3, 148, pointer(word=0x80402010)))
    viewer.look()

    assert viewer.fb[149, 0] == 0x725242
    assert viewer.fb[149, 5] == 0x646464


def test_a_pointers_shape_for_a_viewer_that_draws_it() -> None:
    viewer = Viewer(Screen(), RAW, CURSOR).look()
    viewer.screen.point(moved(20, 30))
    viewer.look()
    shape = viewer.cursor
    viewer.screen.point(moved(90, 30))
    same = viewer.ask().take()
    viewer.screen.point(Cursor(90, 30, False))
    viewer.look()

    assert shape == (1, 2, 8, 8, b"\x30\x20\x10\0" * 64 + b"\xff" * 8)
    assert same == b""
    assert viewer.cursor == (0, 0, 0, 0, b"")
    assert not viewer.fb.any()


def test_a_pointer_with_alpha() -> None:
    viewer = Viewer(Screen(), RAW, CURSOR, ALPHA_CURSOR).look()
    viewer.screen.point(moved(20, 30, pointer(2, 2, 0x80402010)))
    viewer.look()

    assert viewer.cursor == (1, 2, 2, 2, b"\x40\x20\x10\x80" * 4)


def test_colours_come_back_from_premultiplied_ones() -> None:
    assert [hex(word) for word in straight(pointer(1, 1, 0x80402010)).flat] == ["0x80804020"]
    assert [hex(word) for word in straight(pointer(1, 1, 0x00000000)).flat] == ["0x0"]


def test_blocks_cover_their_tiles_once() -> None:
    random = chance(3)
    tiles = {(random.randrange(9), random.randrange(9)) for _ in range(40)}
    out = blocks(tiles)
    covered = [(x, y) for block in out for x in range(block.x, block.right) for y in range(block.y, block.bottom)]

    assert sorted(covered) == sorted(tiles)
    assert blocks({(x, y) for x in range(5) for y in range(7)}) == [Area(0, 0, 5, 7)]
    assert struct.calcsize(">HHHHi") == 12
