"""SVGA device rules 033 to 037: screen objects, and blits between them and guest memory."""

from random import Random

import pytest

from svga.conform.rig import Can, H, Rig, W, crop, noise, paste, rgb
from svga.driver import commands
from svga.driver.driver import GMR, WAYS
from svga.wire import GMR_FRAMEBUFFER, INVALID_ID, MAX_DISPLAYS, PAGE, Cap
from svga.wire_commands import Cmd

pytestmark = pytest.mark.needs(Cap.SCREEN_OBJECT_2, Cap.GMR2)
needs = pytest.mark.needs


def up(rig: Rig, picture: bytes | None = None) -> Rig:
    """Screen 0, and a GMR that holds `picture`; it is on the screen, too."""
    rig.up(WAYS[1])
    if picture is not None:
        rig.driver.show(picture, 0, 0, W, H)
    return rig


def memory(rig: Rig) -> memoryview:
    assert rig.driver.pixels is not None
    return rig.driver.pixels.view


def read_back(rig: Rig, number: int = 0) -> bytes:
    """What is on a screen of the usual size: a blit into the GMR says it."""
    memory(rig)[:] = bytes(len(memory(rig)))
    rig.driver.send(commands.gmrfb(GMR, 0, 4 * W) + commands.blit_from_screen(0, 0, 0, 0, W, H, number))
    return bytes(memory(rig)[: 4 * W * H])


SIZES = [28, 40, 44, 48, 64, 128, 256]


@pytest.mark.parametrize("size", SIZES)
def test_SVG_V_033_structures_of_any_length(rig: Rig, size: int) -> None:
    """What is longer than anybody knows is skipped by its own length; the command behind it is found."""
    picture = noise()
    up(rig, picture)
    backing = {} if size == 28 else {"gmrId": GMR_FRAMEBUFFER, "offset": 16 * PAGE, "pitch": 4 * W}
    rig.driver.draw(picture, 0, 0, W, H)
    rig.driver.send(
        commands.screen(1, W, H, rootX=W, size=size, **backing) + commands.blit_to_screen(0, 0, 0, 0, W, H, 1)
    )

    assert read_back(rig, 1) == picture


def test_SVG_V_034_pixels_survive_a_move(rig: Rig) -> None:
    """A screen whose pixels are in video memory is defined again elsewhere on the desktop."""
    picture = noise()
    up(rig, picture)
    rig.driver.send(commands.screen(0, W, H, rootX=100, rootY=-50, gmrId=GMR_FRAMEBUFFER, offset=0, pitch=4 * W))

    assert read_back(rig) == picture


def test_SVG_V_034_pixels_of_its_own_survive_a_move(rig: Rig) -> None:
    picture = noise()
    up(rig)
    rig.driver.send(commands.screen(3, W, H, rootX=W, size=28))
    rig.driver.draw(picture, 0, 0, W, H)
    rig.driver.send(commands.blit_to_screen(0, 0, 0, 0, W, H, 3) + commands.screen(3, W, H, rootX=-W, rootY=7, size=28))

    assert read_back(rig, 3) == picture


def test_SVG_V_034_screens_keep_apart(rig: Rig) -> None:
    first, second = noise(seed=1), noise(seed=2)
    up(rig, first)
    rig.driver.send(commands.screen(7, W, H, rootX=W, size=28))
    rig.driver.draw(second, 0, 0, W, H)
    rig.driver.send(commands.blit_to_screen(0, 0, 0, 0, W, H, 7))

    assert (read_back(rig, 0), read_back(rig, 7)) == (first, second)


@pytest.mark.parametrize("number", [5, MAX_DISPLAYS, INVALID_ID])
def test_SVG_V_034_what_is_not_there_is_destroyed_in_peace(rig: Rig, number: int) -> None:
    picture = noise()
    up(rig, picture)
    rig.driver.send(commands.command(Cmd.DESTROY_SCREEN, number))

    assert read_back(rig) == picture


@needs(Can.MONITORS, Can.PICTURE)
def test_SVG_V_034_the_desktop_is_where_the_screens_are(rig: Rig) -> None:
    picture = noise()
    up(rig, picture)
    rig.driver.send(commands.screen(2, 32, 8, rootX=-32, rootY=4, size=28))

    assert rig.monitors() == [(0, 32, 0, W, H), (2, 0, 4, 32, 8)]
    assert rig.frame(0).pixels == rgb(picture)
    rig.driver.send(commands.command(Cmd.DESTROY_SCREEN, 2))
    assert rig.monitors() == [(0, 0, 0, W, H)]


CLIPPED = {  # source x, y; left, top, right, bottom
    "over the upper left corner": (0, 0, -10, -5, 14, 11),
    "over the lower right corner": (2, 1, 12, 9, W + 10, H + 6),
    "a source before its memory": (-6, -4, -6, -4, 12, 8),
    "over all": (0, 0, 0, 0, W, H),
    "a single pixel": (W - 1, H - 1, 0, 0, 1, 1),
    "nothing of it": (0, 0, W, 0, W + 4, 4),
    "nothing": (0, 0, 5, 5, 5, 9),
    "inside out": (0, 0, 9, 9, 4, 4),
}


@pytest.mark.parametrize("what", CLIPPED)
def test_SVG_V_035_a_blit_is_clipped_and_takes_its_source_along(rig: Rig, what: str) -> None:
    before, picture = noise(seed=3), noise(seed=4)
    up(rig, before)
    rig.driver.draw(picture, 0, 0, W, H)
    sx, sy, left, top, right, bottom = CLIPPED[what]
    rig.driver.send(commands.blit_to_screen(sx, sy, left, top, right, bottom))

    x, y, far, low = max(left, 0), max(top, 0), min(right, W), min(bottom, H)
    want = before
    if x < far and y < low:
        part = crop(picture, sx + x - left, sy + y - top, far - x, low - y)
        want = paste(before, part, x, y, far - x)
    assert read_back(rig) == want


def test_SVG_V_036_a_blit_back_sees_what_was_before_it(rig: Rig) -> None:
    """In one lot: to the screen, over it, and back; and only the rectangle that was asked for."""
    picture = noise()
    up(rig)
    memory(rig)[: len(picture)] = picture
    rig.driver.send(
        commands.blit_to_screen(0, 0, 0, 0, W, H)
        + commands.blit_to_screen(0, 0, 10, 4, W, H)
        + commands.blit_from_screen(2, 3, 8, 2, 20, 12)
    )

    screen = paste(picture, crop(picture, 0, 0, W - 10, H - 4), 10, 4, W - 10)
    assert bytes(memory(rig)[: 4 * W * H]) == paste(picture, crop(screen, 8, 2, 12, 10), 2, 3, 12)


def test_SVG_V_036_what_is_drawn_in_video_memory_is_on_the_screen(rig: Rig) -> None:
    """Its pixels are where the driver said: in the framebuffer."""
    up(rig)
    before, part = read_back(rig), noise(W, 1, 77)
    rig.driver.poke(rig.driver.pitch * 3, part)

    assert read_back(rig) == paste(before, part, 0, 3, W)


@pytest.mark.parametrize(("bits", "depth", "each"), [(32, 24, 4), (24, 24, 3), (16, 16, 2), (16, 15, 2)])
def test_SVG_V_037_formats_there_and_back(rig: Rig, bits: int, depth: int, each: int) -> None:
    """All bits of a colour survive the way to the screen and back."""
    up(rig)
    pixels = bytearray(Random(3).randbytes(each * W * H))
    pixels[:each] = b"\xff" * each
    if depth == 15:
        pixels[1::2] = bytes(byte & 0x7F for byte in pixels[1::2])
    if bits == 32:
        pixels[3::4] = bytes(W * H)
    memory(rig)[: len(pixels)] = pixels
    rig.driver.send(
        commands.gmrfb(GMR, 0, each * W, bits=bits, depth=depth) + commands.blit_to_screen(0, 0, 0, 0, W, H)
    )
    memory(rig)[: len(pixels)] = bytes(len(pixels))
    rig.driver.send(commands.blit_from_screen(0, 0, 0, 0, W, H))

    assert bytes(memory(rig)[: len(pixels)]) == bytes(pixels)


COLOURS = {
    (32, 24): {0x00FF0000: 0xFF0000, 0x0000FF00: 0x00FF00, 0x000000FF: 0x0000FF, 0x00123456: 0x123456},
    (24, 24): {0xFF0000: 0xFF0000, 0x00FF00: 0x00FF00, 0x0000FF: 0x0000FF, 0x123456: 0x123456},
    (16, 16): {0xF800: 0xFF0000, 0x07E0: 0x00FF00, 0x001F: 0x0000FF, 0xFFFF: 0xFFFFFF},
    (16, 15): {0x7C00: 0xFF0000, 0x03E0: 0x00FF00, 0x001F: 0x0000FF, 0x7FFF: 0xFFFFFF},
}


@pytest.mark.parametrize("form", COLOURS)
def test_SVG_V_037_the_bits_of_a_format_are_where_they_belong(rig: Rig, form: tuple[int, int]) -> None:
    """As 32-bit pixels of the screen, read back."""
    up(rig)
    each = form[0] // 8
    data = b"".join(pixel.to_bytes(each, "little") for pixel in COLOURS[form])
    memory(rig)[: len(data)] = data
    rig.driver.send(commands.gmrfb(GMR, 0, each * W, bits=form[0], depth=form[1]))
    rig.driver.send(commands.blit_to_screen(0, 0, 0, 0, 4, 1))
    screen = read_back(rig)

    found = [int.from_bytes(screen[4 * n : 4 * n + 3], "little") for n in range(4)]
    assert found == list(COLOURS[form].values())


WRONG = {
    "a source beside the GMRFB": commands.blit_to_screen(W - 4, 0, 0, 0, 8, 8),
    "a source below the memory": commands.blit_to_screen(0, 60, 0, 0, 8, 8),
    "a source far before it": commands.blit_to_screen(-1, 0, 0, 0, 8, 8),
    "a screen there is not": commands.blit_to_screen(0, 0, 0, 0, 8, 8, 5),
    "back from beside the screen": commands.blit_from_screen(0, 0, W - 4, 0, W + 4, 8),
    "back to before the memory": commands.blit_from_screen(-1, 0, 0, 0, 8, 8),
    "back to behind the memory": commands.blit_from_screen(0, 60, 0, 0, 8, 8),
}


@pytest.mark.parametrize("what", WRONG)
def test_SVG_V_021_blits_of_what_is_not_there(rig: Rig, what: str) -> None:
    """Neither screen nor memory changes, and the next command is done."""
    picture = noise()
    up(rig, picture)
    lent = bytes(memory(rig))
    if rig.driver.buffers:
        rig.driver.submit(WRONG[what])
        rig.driver.start()
        rig.driver.send(commands.gmrfb(GMR, 0, 4 * W))
    else:
        rig.driver.send(WRONG[what])

    assert bytes(memory(rig)) == lent
    assert read_back(rig) == picture
