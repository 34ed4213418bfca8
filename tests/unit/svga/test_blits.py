"""Pixels that move: in the framebuffer of registers, and between GMRs and screens."""

from random import Random

import pytest

from svga.display import Area, Copy
from svga.driver import commands
from svga.formats import from_32, to_32
from svga.wire import GMR_FRAMEBUFFER, INVALID_ID, PAGE
from svga.wire_commands import Cmd
from tests.unit.svga.rig import H, Rig, W, noise


def lines(picture: bytes, width: int = W) -> list[bytes]:
    return [picture[at : at + 4 * width] for at in range(0, len(picture), 4 * width)]


def moved(picture: bytes, sx: int, sy: int, dx: int, dy: int, width: int, height: int) -> bytes:
    """What a copy makes of a picture, done slowly."""
    old, new = lines(picture), [bytearray(line) for line in lines(picture)]
    for row in range(height):
        new[dy + row][4 * dx : 4 * (dx + width)] = old[sy + row][4 * sx : 4 * (sx + width)]
    return b"".join(new)


# -- the framebuffer ---------------------------------------------------------------------------------------------------


def test_an_update_marks_what_it_says(legacy: Rig) -> None:
    legacy.driver.set_mode(200, 200)
    legacy.damage()
    legacy.driver.send(commands.update(10, 60, 60, 10))

    assert legacy.damage().tiles == {(0, 0), (1, 0), (0, 1), (1, 1)}


def test_SVG_V_032_UPDATE_VERBOSE_has_five_words(legacy: Rig) -> None:
    legacy.driver.send(commands.command(Cmd.UPDATE_VERBOSE, 0, 0, 8, 8, 1) + commands.fence(2))

    assert (legacy.damage().tiles, legacy.device._fences.last) == ({(0, 0)}, 2)
    assert list(legacy.device.rules) == []


OUTSIDE = [(0xFFFF_FFFF, 0, 2, 2), (W, 0, 1, 1), (0, H - 1, 1, 2), (1, 1, 0xFFFF_FFFF, 0xFFFF_FFFF), (0x8000_0000,) * 4]


@pytest.mark.parametrize("rectangle", OUTSIDE)
def test_SVG_D_027_SVG_V_021_updates_outside_are_clipped(legacy: Rig, rectangle: tuple[int, int, int, int]) -> None:
    legacy.driver.send(commands.update(*rectangle))

    assert legacy.damage().tiles <= {(0, 0)}
    assert len(legacy.seen("SVG-D-027")) == 1


@pytest.mark.parametrize("rectangle", [(5, 5, 0, 5), (5, 5, 5, 0), (0, 0, 0, 0)])
def test_SVG_V_020_nothing_is_nothing(legacy: Rig, rectangle: tuple[int, int, int, int]) -> None:
    legacy.driver.send(commands.update(*rectangle) + commands.rect_copy(1, 1, *rectangle))

    assert not legacy.damage()
    assert list(legacy.device.rules) == []


MOVES = [(3, 5, 20, 11), (20, 11, 3, 5), (10, 10, 11, 10), (11, 10, 10, 10), (10, 9, 10, 10), (10, 10, 10, 9)]


@pytest.mark.parametrize("move", MOVES)
def test_SVG_V_019_022_copies_that_overlap(legacy: Rig, move: tuple[int, int, int, int]) -> None:
    picture = noise()
    legacy.driver.show(picture, 0, 0, W, H)
    legacy.damage()

    legacy.driver.send(commands.rect_copy(*move, 30, 28))

    sx, sy, dx, dy = move
    assert legacy.frame() == moved(picture, *move, 30, 28)
    assert legacy.damage().copies == [Copy(Area(dx, dy, 30, 28), sx - dx, sy - dy)]


@pytest.mark.parametrize(
    "move", [(W - 4, 0, 0, 0), (0, 0, W - 4, H - 3), (0xFFFF_FFFC, 0, 4, 4), (0, 0, 0xFFFF_FFFE, 3)]
)
def test_SVG_D_028_SVG_V_021_copies_outside_are_clipped(legacy: Rig, move: tuple[int, int, int, int]) -> None:
    picture = noise()
    legacy.driver.show(picture, 0, 0, W, H)
    sx, sy, dx, dy = (value - (1 << 32) if value >> 31 else value for value in move)
    skip = max(-sx, -dx, 0)
    width, height = min(8, W - sx, W - dx), min(8, H - sy, H - dy)

    legacy.driver.send(commands.rect_copy(*move, 8, 8))

    want = moved(picture, sx + skip, sy, dx + skip, dy, width - skip, height)
    assert legacy.frame() == want
    assert len(legacy.seen("SVG-D-028")) == 1


def test_SVG_V_021_a_copy_of_everything_there_could_be(legacy: Rig) -> None:
    legacy.driver.show(noise(), 0, 0, W, H)
    after = legacy.driver.peek(4 * W * H, 64)
    legacy.driver.send(commands.rect_copy(0, 0, 0, 0, 0xFFFF_FFFF, 0xFFFF_FFFF))

    assert legacy.frame() == noise()
    assert legacy.driver.peek(4 * W * H, 64) == after


def test_RECT_ROP_COPY_copies_and_does_no_more(legacy: Rig) -> None:
    """XFree86 4.1 says so when there is RECT_COPY; it knows that operation only."""
    picture = noise()
    legacy.driver.show(picture, 0, 0, W, H)
    legacy.driver.send(commands.command(Cmd.RECT_ROP_COPY, 0, 0, 8, 8, 8, 8, 3))
    legacy.driver.send(commands.command(Cmd.RECT_ROP_COPY, 0, 0, 20, 20, 8, 8, 6))

    assert legacy.frame() == moved(picture, 0, 0, 8, 8, 8, 8)
    assert legacy.seen("SVG-D-012") == [("command 14: rop", 6)]


@pytest.mark.parametrize(
    ("bpp", "color"), [(8, b"\x44"), (16, b"\x44\x33"), (24, b"\x44\x33\x22"), (32, b"\x44\x33\x22\x11")]
)
def test_RECT_FILL_fills(bpp: int, color: bytes) -> None:
    rig = Rig("qemu").up()
    rig.device.modes.depths = True
    rig.driver.set(7, bpp)
    rig.driver.send(commands.command(Cmd.RECT_FILL, 0x1122_3344, W - 2, H - 1, 100, 100))

    assert rig.frame()[-2 * len(color) :] == color * 2
    assert not any(rig.frame()[: -2 * len(color)])


# -- screens -----------------------------------------------------------------------------------------------------------


def test_SVG_V_035_a_blit_is_clipped_and_takes_its_source_along(screens: Rig) -> None:
    picture = noise()
    screens.driver.draw(picture, 0, 0, W, H)

    screens.driver.send(commands.blit_to_screen(0, 0, -10, -5, 20, 15))

    want, source = [bytearray(4 * W) for _ in range(H)], lines(picture)
    for y in range(15):
        want[y][:80] = source[y + 5][40:120]
    assert screens.frame() == b"".join(want)
    assert list(screens.device.rules) == []


def test_SVG_V_036_a_blit_back_sees_what_was_before_it(screens: Rig) -> None:
    picture = noise()
    screens.driver.show(picture, 0, 0, W, H)
    assert screens.driver.pixels is not None
    screens.driver.pixels.view[:] = bytes(len(screens.driver.pixels.view))

    screens.driver.send(commands.blit_from_screen(4, 2, 10, 10, 40, 30))

    want, source = [bytearray(4 * W) for _ in range(H)], lines(picture)
    for y in range(20):
        want[y + 2][16:136] = source[y + 10][40:160]
    assert bytes(screens.driver.pixels.view[: 4 * W * H]) == b"".join(want)


@pytest.mark.parametrize(("bits", "depth", "each"), [(16, 16, 2), (16, 15, 2), (24, 24, 3)])
def test_SVG_V_037_formats_there_and_back(screens: Rig, bits: int, depth: int, each: int) -> None:
    """All of a format's bits survive the way to the screen and back; white is white."""
    assert screens.driver.pixels is not None
    pixels = bytearray(Random(3).randbytes(each * W * H))
    pixels[:each] = b"\xff" * each
    if depth == 15:
        pixels[1::2] = bytes(byte & 0x7F for byte in pixels[1::2])
    screens.driver.pixels.view[: len(pixels)] = pixels

    screens.driver.send(
        commands.gmrfb(1, 0, each * W, bits=bits, depth=depth) + commands.blit_to_screen(0, 0, 0, 0, W, H)
    )
    screens.driver.pixels.view[: len(pixels)] = bytes(len(pixels))
    screens.driver.send(commands.blit_from_screen(0, 0, 0, 0, W, H))

    assert bytes(screens.driver.pixels.view[: len(pixels)]) == bytes(pixels)
    assert screens.frame()[:3] == b"\xff\xff\xff"
    assert list(screens.device.rules) == []


def test_the_bits_of_formats_are_where_they_belong() -> None:
    up, down = to_32(16), from_32(15)
    assert up is not None
    assert down is not None

    assert bytes(up(b"\x00\xf8\xe0\x07\x1f\x00")).hex() == "0000ff00" + "00ff0000" + "ff000000"
    assert bytes(down(bytes.fromhex("0000ff00" + "00ff0000" + "ff000000"))).hex() == "007c" + "e003" + "1f00"


def test_a_blit_in_coordinates_of_the_desktop_reaches_every_screen(screens: Rig) -> None:
    picture = noise()
    screens.driver.draw(picture, 0, 0, W, H)
    screens.driver.send(commands.screen(1, 32, 32, rootX=W, size=28))
    screens.driver.send(commands.blit_to_screen(0, 0, W - 10, 0, W + 10, 8, INVALID_ID))

    source = lines(picture)
    assert [line[-40:] for line in lines(screens.frame(0))[:8]] == [line[:40] for line in source[:8]]
    assert [line[:40] for line in lines(screens.frame(1), 32)[:8]] == [line[40:80] for line in source[:8]]
    assert screens.damage().tiles == {(0, 0), (1, 0)}


def test_a_copy_on_a_screen_is_marked_where_the_screen_is() -> None:
    rig = private()
    rig.driver.send(commands.screen(1, 128, 128, size=28) + commands.screen(0, W, H, rootX=128, rootY=64, size=28))
    rig.driver.show(noise(), 0, 0, W, H)
    rig.damage()
    rig.driver.send(commands.rect_copy(0, 0, 8, 8, 4, 4))

    damage = rig.damage()
    assert (damage.copies, damage.tiles) == ([Copy(Area(136, 72, 4, 4), -8, -8)], set())


WRONG = {
    "before the GMRFB": commands.blit_to_screen(-1, 0, 0, 0, 8, 8),
    "behind the GMRFB": commands.blit_to_screen(W - 4, 0, 0, 0, 8, 8),
    "below the GMRFB": commands.blit_to_screen(0, 60, 0, 0, 8, 8),
    "a screen there is not": commands.blit_to_screen(0, 0, 0, 0, 8, 8, 5),
    "back from beside the screen": commands.blit_from_screen(0, 0, W - 4, 0, W + 4, 8),
    "back to before the GMRFB": commands.blit_from_screen(-1, 0, 0, 0, 8, 8),
    "back to below the GMRFB": commands.blit_from_screen(0, 60, 0, 0, 8, 8),
    "back from no screen": commands.blit_from_screen(0, 0, -900, 0, -800, 8, INVALID_ID),
    "a format nobody has": commands.gmrfb(1, 0, 256, bits=8, depth=8),
    "no pitch": commands.gmrfb(1, 0, 0),
    "a pitch of 2 GiB": commands.gmrfb(1, 0, 1 << 31),
}


@pytest.mark.parametrize("what", WRONG)
def test_SVG_D_043_blits_of_what_is_not_there(screens: Rig, what: str) -> None:
    assert screens.driver.pixels is not None
    before = screens.frame(), bytes(screens.driver.pixels.view)
    screens.driver.send(WRONG[what])

    assert len(screens.seen("SVG-D-043")) == 1
    assert (screens.frame(), bytes(screens.driver.pixels.view)) == before


@pytest.mark.parametrize("edges", [(10, 10, 5, 20), (10, 10, 20, 5), (0x7FFF_FFFF, 0, -0x8000_0000, 8)])
def test_SVG_D_043_rectangles_inside_out(screens: Rig, edges: tuple[int, int, int, int]) -> None:
    screens.driver.send(commands.blit_to_screen(0, 0, *edges) + commands.blit_from_screen(0, 0, *edges))

    assert [place for place, _ in screens.seen("SVG-D-043")] == ["rectangle"]
    assert not screens.damage()


def test_SVG_D_044_a_blit_before_there_is_a_GMRFB() -> None:
    rig = Rig("screen-objects").started()
    rig.driver.send(commands.screen(0, 8, 8, size=28) + commands.blit_to_screen(0, 0, 0, 0, 8, 8))

    assert rig.seen("SVG-D-044") == [("command 37: GMRFB", 0)]


def test_a_blit_from_video_memory(screens: Rig) -> None:
    picture = noise(16, 16)
    screens.driver.poke(16 * PAGE, picture)
    screens.driver.send(commands.gmrfb(GMR_FRAMEBUFFER, 16 * PAGE, 64) + commands.blit_to_screen(0, 0, 8, 8, 24, 24))

    assert [line[32:96] for line in lines(screens.frame())[8:24]] == lines(picture, 16)


@pytest.mark.parametrize("move", MOVES)
def test_SVG_V_019_a_screen_blitted_onto_itself(screens: Rig, move: tuple[int, int, int, int]) -> None:
    """The GMRFB is where the screen's own pixels are."""
    picture, (sx, sy, dx, dy) = noise(), move
    screens.driver.show(picture, 0, 0, W, H)
    plane = screens.device.screens.get(0).plane
    screens.driver.send(commands.gmrfb(GMR_FRAMEBUFFER, plane.base, plane.pitch))

    screens.driver.send(commands.blit_to_screen(sx, sy, dx, dy, dx + 30, dy + 28))

    assert screens.frame() == moved(picture, *move, 30, 28)


# -- hints -------------------------------------------------------------------------------------------------------------


def private() -> Rig:
    """A screen with pixels of its own, and a picture on it that everybody has seen."""
    rig = Rig("screen-objects").up()
    rig.driver.send(commands.screen(0, W, H, size=28))
    rig.driver.show(noise(), 0, 0, W, H)
    rig.damage()
    return rig


def hinted(rig: Rig, picture: bytes) -> None:
    rig.driver.draw(picture, 0, 0, W, H)
    rig.driver.send(commands.command(Cmd.ANNOTATION_COPY, 2, 3, 0) + commands.blit_to_screen(10, 12, 10, 12, 30, 32))


def test_SVG_V_065_a_copy_that_is_one_is_told_of() -> None:
    rig = private()
    picture = moved(noise(), 2, 3, 10, 12, 20, 20)
    hinted(rig, picture)

    damage = rig.damage()
    assert (damage.copies, damage.tiles) == ([Copy(Area(10, 12, 20, 20), -8, -9)], set())
    assert rig.frame() == picture


def test_SVG_V_065_a_copy_that_is_none_is_damage() -> None:
    rig = private()
    hinted(rig, noise(seed=8))

    damage = rig.damage()
    assert (damage.copies, damage.tiles) == ([], {(0, 0)})


def test_SVG_V_065_hints_about_memory_a_driver_may_write_count_for_nothing(screens: Rig) -> None:
    screens.driver.show(noise(), 0, 0, W, H)
    screens.damage()
    hinted(screens, moved(noise(), 2, 3, 10, 12, 20, 20))

    assert screens.damage().copies == []
