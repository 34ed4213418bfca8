"""SVGA device rules 023 to 029, 031 and 063: modes set by registers, the palette, monitors, stores nobody tells of."""

from collections.abc import Iterable
from typing import Any

import pytest

from svga.conform.rig import Can, H, MakeRig, Part, Rig, W, noise, paste, rgb
from svga.driver import commands
from svga.wire import INVALID_ID, MAX_DISPLAYS, PALETTE_BASE, SCREEN_SIZE_MAX, Cap, Fifo, FifoCap, Register

R = Register
needs = pytest.mark.needs
FULL = 0xFFFF_FFFF
MASKS = (R.RED_MASK, R.GREEN_MASK, R.BLUE_MASK)
BEHIND = (R.WIDTH, R.HEIGHT, R.BITS_PER_PIXEL, R.DEPTH, R.BYTES_PER_LINE)


def mode(rig: Rig) -> list[int]:
    return [rig.driver.get(number) for number in BEHIND]


# -- the pitch ---------------------------------------------------------------------------------------------------------


@needs(Cap.PITCHLOCK)
@pytest.mark.parametrize("pitch", [4 * W, 4 * W + 64, 1024])
def test_SVG_V_023_a_pitch_that_is_locked(rig: Rig, pitch: int) -> None:
    """BYTES_PER_LINE says it, FB_SIZE follows, the picture is read by it, copies keep to it."""
    driver, picture = rig.start(), noise()
    driver.set_mode(W, H, pitch=pitch)
    driver.draw(picture, 0, 0, W, H)
    driver.send(commands.update(0, 0, W, H))

    assert (driver.pitch, driver.get(R.PITCHLOCK)) == (pitch, pitch)
    assert driver.get(R.FB_SIZE) >= pitch * H
    if rig.has(Can.PICTURE):
        assert rig.frame().pixels == rgb(picture)


@needs(Cap.PITCHLOCK)
def test_SVG_V_023_unlocked_the_pitch_is_the_devices_again(rig: Rig) -> None:
    driver = rig.start()
    driver.set_mode(W, H, pitch=1024)
    driver.set_mode(W, H)

    assert 4 * W <= driver.pitch < 1024


@needs(FifoCap.PITCHLOCK, Part.EXTENDED)
def test_SVG_V_023_a_pitch_that_is_locked_in_the_fifo(rig: Rig) -> None:
    driver = rig.up(buffers=False)
    driver.set_word(Fifo.PITCHLOCK, 512)
    driver.set_mode(W, H)

    assert driver.pitch == 512


@needs(Cap.PITCHLOCK)
@pytest.mark.parametrize("lock", [4, 0xFFFF_FFFC])
def test_SVG_V_023_a_pitch_that_cannot_be(rig: Rig, lock: int) -> None:
    """Shorter than a line, or longer than video memory: the mode is there all the same, and fits."""
    driver = rig.start()
    driver.set(R.PITCHLOCK, lock)
    driver.set(R.WIDTH, W)
    driver.set(R.HEIGHT, H)

    assert 4 * W <= driver.get(R.BYTES_PER_LINE) <= driver.get(R.VRAM_SIZE) // H
    rig.alive()


# -- depths ------------------------------------------------------------------------------------------------------------

DEPTHS = {
    8: (8, 1, None),
    15: (15, 2, [0x7C00, 0x3E0, 0x1F]),
    16: (16, 2, [0xF800, 0x7E0, 0x1F]),
    24: (24, 3, [0xFF0000, 0xFF00, 0xFF]),
    32: (24, 4, [0xFF0000, 0xFF00, 0xFF]),
}


def of_depths(numbers: Iterable[int]) -> list[Any]:
    """Parameters; all but 32 need a display that has depths to choose from."""
    return [pytest.param(bpp, marks=needs(Part.DEPTHS) if bpp != 32 else ()) for bpp in numbers]


@pytest.mark.parametrize("bpp", of_depths(DEPTHS))
def test_SVG_V_024_what_is_said_of_a_mode_agrees(rig: Rig, bpp: int) -> None:
    driver = rig.start()
    driver.set_mode(W, H, bpp)
    depth, each, masks = DEPTHS[bpp]

    assert [driver.get(n) for n in (R.BITS_PER_PIXEL, R.DEPTH, R.PSEUDOCOLOR)] == [bpp, depth, int(bpp == 8)]
    assert driver.get(R.BYTES_PER_LINE) >= each * W
    assert driver.get(R.FB_OFFSET) + driver.get(R.BYTES_PER_LINE) * H <= driver.get(R.VRAM_SIZE)
    assert driver.get(R.FB_SIZE) >= driver.get(R.BYTES_PER_LINE) * H
    assert masks is None or [driver.get(n) for n in MASKS] == masks


COLOURS = {  # a pixel of each, and what it shows
    15: {0x7C00: (255, 0, 0), 0x03E0: (0, 255, 0), 0x001F: (0, 0, 255), 0x7FFF: (255, 255, 255)},
    16: {0xF800: (255, 0, 0), 0x07E0: (0, 255, 0), 0x001F: (0, 0, 255), 0xFFFF: (255, 255, 255)},
    24: {0xFF0000: (255, 0, 0), 0x00FF00: (0, 255, 0), 0x0000FF: (0, 0, 255), 0x123456: (0x12, 0x34, 0x56)},
    32: {0xFF0000: (255, 0, 0), 0x00FF00: (0, 255, 0), 0x0000FF: (0, 0, 255), 0x123456: (0x12, 0x34, 0x56)},
}


@needs(Can.PICTURE)
@pytest.mark.parametrize("bpp", of_depths(COLOURS))
def test_SVG_V_024_the_colours_are_the_ones_the_masks_say(rig: Rig, bpp: int) -> None:
    driver = rig.start()
    driver.set_mode(W, H, bpp)
    rig.settle()
    each = DEPTHS[bpp][1]
    row = b"".join(pixel.to_bytes(each, "little") for pixel in COLOURS[bpp])
    driver.poke(0, row.ljust(-(-len(row) // 4) * 4, b"\0"))
    driver.send(commands.update(0, 0, W, H))

    frame = rig.frame()
    assert [frame.at(x, 0) for x in range(4)] == list(COLOURS[bpp].values())


@needs(Can.PICTURE, Part.DEPTHS)
def test_SVG_V_027_a_palette_colours_pixels_of_eight_bits(rig: Rig) -> None:
    """Also when it changes under a picture that does not."""
    driver = rig.start()
    driver.set_mode(W, H, 8)
    for n, color in enumerate(((1, 2, 3), (200, 100, 50), (255, 255, 255))):
        for component, value in enumerate(color):
            driver.set(PALETTE_BASE + 3 * n + component, value)
    driver.poke(0, bytes((1, 2, 0, 1)))
    driver.send(commands.update(0, 0, W, H))
    first = [rig.frame().at(x, 0) for x in range(4)]
    driver.set(PALETTE_BASE + 3, 7)
    changed = rig.wait(lambda: rig.frame().at(0, 0) == (7, 100, 50))

    assert first == [(200, 100, 50), (255, 255, 255), (1, 2, 3), (200, 100, 50)]
    assert changed


@needs(Part.DEPTHS)
def test_SVG_V_027_palette_registers_keep_eight_bits(rig: Rig) -> None:
    driver = rig.start()
    driver.set(PALETTE_BASE + 767, 0x1AB)

    assert driver.get(PALETTE_BASE + 767) == 0xAB


# -- what cannot be ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("register", [R.WIDTH, R.HEIGHT])
@pytest.mark.parametrize("value", [0, SCREEN_SIZE_MAX + 1, 0x8000_0000, FULL])
def test_SVG_V_025_a_size_that_cannot_be_is_refused(rig: Rig, register: int, value: int) -> None:
    """The mode stays what it was, and registers say so; the picture is still there."""
    driver, picture = rig.up(), noise()
    driver.show(picture, 0, 0, W, H)
    before = mode(rig)
    driver.set(register, value)
    rig.settle()

    assert mode(rig) == before
    assert rig.framebuffer() == picture
    if rig.has(Can.PICTURE):
        assert rig.frame().pixels == rgb(picture)


@needs(Part.DEPTHS)
@pytest.mark.parametrize("bpp", [0, 1, 4, 17, 64, 255, FULL])
def test_SVG_V_025_a_depth_that_cannot_be_is_refused(rig: Rig, bpp: int) -> None:
    rig.up()
    before = mode(rig)
    rig.driver.set(R.BITS_PER_PIXEL, bpp)

    assert mode(rig) == before


@pytest.mark.parametrize("bpp", [0, 8, 255])
def test_SVG_V_025_whatever_is_asked_for_a_picture_comes_through(rig: Rig, bpp: int) -> None:
    rig.up()
    rig.driver.set(R.BITS_PER_PIXEL, bpp)

    rig.alive()


def test_SVG_V_025_more_than_video_memory_holds(rig: Rig) -> None:
    """Width and height could be, each by itself. The mode is the one before, or the one with the new width alone: a
    device may have taken that meanwhile."""
    driver = rig.up()
    largest = [min(driver.get(number), SCREEN_SIZE_MAX) for number in (R.MAX_WIDTH, R.MAX_HEIGHT)]
    if 4 * largest[0] * largest[1] <= driver.get(R.VRAM_SIZE):
        pytest.skip("this display has memory for its largest mode")
    driver.set(R.WIDTH, largest[0])
    driver.set(R.HEIGHT, largest[1])
    rig.settle()

    assert driver.get(R.BYTES_PER_LINE) * driver.get(R.HEIGHT) <= driver.get(R.VRAM_SIZE)
    assert (driver.get(R.WIDTH), driver.get(R.HEIGHT)) in ((W, H), (largest[0], H))


# -- monitors ----------------------------------------------------------------------------------------------------------

ENTRY = (R.DISPLAY_IS_PRIMARY, R.DISPLAY_POSITION_X, R.DISPLAY_POSITION_Y, R.DISPLAY_WIDTH, R.DISPLAY_HEIGHT)


def describe(rig: Rig, *entries: tuple[int, int, int, int, int], end: bool = False) -> None:
    """A topology, register by register; `end`: the DISPLAY_ID that says it is complete, which Linux does not write."""
    driver = rig.driver
    driver.set(R.NUM_GUEST_DISPLAYS, len(entries))
    for n, entry in enumerate(entries):
        driver.set(R.DISPLAY_ID, n)
        for register, value in zip(ENTRY, entry, strict=True):
            driver.set(register, value)
    if end:
        driver.set(R.DISPLAY_ID, INVALID_ID)


@needs(Cap.DISPLAY_TOPOLOGY)
def test_SVG_V_028_a_topology_is_kept_entry_by_entry(rig: Rig) -> None:
    rig.up()
    entries = [(1, 0, 0, 10, 16), (0, 10, 4, 14, 8), (0, -8 & FULL, -4 & FULL, 8, 4)]
    describe(rig, *entries)
    kept = []
    for n in (2, 0, 1):
        rig.driver.set(R.DISPLAY_ID, n)
        kept.append(tuple(rig.driver.get(number) for number in ENTRY))

    assert kept == [entries[2], entries[0], entries[1]]
    assert (rig.driver.get(R.NUM_GUEST_DISPLAYS), rig.driver.get(R.DISPLAY_ID)) == (3, 1)


@needs(Cap.DISPLAY_TOPOLOGY)
@pytest.mark.parametrize("number", [MAX_DISPLAYS, 255, 0x8000_0000])
def test_SVG_V_028_displays_there_are_not(rig: Rig, number: int) -> None:
    rig.up()
    describe(rig, (1, 0, 0, W, H))
    rig.driver.set(R.DISPLAY_ID, number)
    for register in ENTRY:
        rig.driver.set(register, FULL)
    rig.driver.set(R.DISPLAY_ID, 0)

    assert [rig.driver.get(n) for n in ENTRY] == [1, 0, 0, W, H]
    rig.alive()


@needs(Cap.DISPLAY_TOPOLOGY, Can.PICTURE, Can.MONITORS)
@pytest.mark.parametrize("end", [False, True])
def test_SVG_V_029_monitors_look_at_parts_of_one_framebuffer(rig: Rig, end: bool) -> None:
    driver, picture = rig.up(), noise()
    driver.show(picture, 0, 0, W, H)
    describe(rig, (1, 0, 0, 10, H), (0, 10, 4, 14, 8), end=end)
    driver.send(commands.update(0, 0, 1, 1))

    assert rig.monitors() == [(0, 0, 0, 10, H), (1, 10, 4, 14, 8)]
    left, right = rig.frame(0), rig.frame(1)
    assert [left.at(x, y) for x, y in ((0, 0), (9, 15))] == [pixel(picture, 0, 0), pixel(picture, 9, 15)]
    assert [right.at(x, y) for x, y in ((0, 0), (13, 7))] == [pixel(picture, 10, 4), pixel(picture, 23, 11)]


def pixel(picture: bytes, x: int, y: int) -> tuple[int, ...]:
    at = 4 * (W * y + x)
    return picture[at + 2], picture[at + 1], picture[at]


@needs(Cap.DISPLAY_TOPOLOGY, Can.MONITORS)
def test_SVG_V_029_an_entry_counts_as_a_whole(rig: Rig) -> None:
    """Between a new place and a new size a monitor is where nobody wants it: it is not seen there."""
    driver = rig.up()
    describe(rig, (1, 0, 0, 12, 8))
    before = rig.monitors()
    driver.set(R.DISPLAY_ID, 0)
    driver.set(R.DISPLAY_POSITION_X, 4)
    driver.set(R.DISPLAY_WIDTH, 16)
    halfway = rig.monitors()
    driver.set(R.DISPLAY_HEIGHT, H)

    assert before == halfway == [(0, 0, 0, 12, 8)]
    assert rig.monitors() == [(0, 0, 0, 16, H)]


# -- stores nobody tells of --------------------------------------------------------------------------------------------

TOLD_IN_S = 0.1


@needs(Cap.TRACES, Can.DAMAGE)
def test_SVG_V_031_plain_stores_are_found_within_100_ms(rig: Rig) -> None:
    driver = rig.up()
    assert driver.get(R.TRACES) == 1
    rig.wait(lambda: False, TOLD_IN_S)
    rig.damage()
    driver.poke(driver.pitch * (H - 1) + 4 * (W - 1), b"\1\2\3\4")

    assert rig.wait(lambda: (0, 0) in rig.damage().tiles, TOLD_IN_S if rig.exact else 20 * TOLD_IN_S)


@needs(Cap.TRACES, Can.DAMAGE)
def test_SVG_V_031_without_traces_commands_tell(rig: Rig) -> None:
    driver = rig.up()
    driver.set(R.TRACES, 0)
    driver.poke(0, b"\1\2\3\4")
    rig.damage()
    driver.send(commands.update(0, 0, 1, 1))

    assert driver.get(R.TRACES) == 0
    assert rig.damage().tiles == {(0, 0)}


@needs(Can.PICTURE)
def test_SVG_V_031_an_update_is_seen(rig: Rig) -> None:
    driver, picture, part = rig.up(), noise(), noise(5, 4, seed=2)
    driver.show(picture, 0, 0, W, H)
    first = rig.frame().pixels
    driver.show(part, 7, 8, 5, 4)

    assert (first, rig.frame().pixels) == (rgb(picture), rgb(paste(picture, part, 7, 8, 5)))


# -- many --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_SVG_V_063_a_hundred_modes(rig: Rig) -> None:
    """Up and down again, each of another size; what the driver lends comes back each time."""
    for n in range(100 if rig.has(Can.INSIDE) else 25):
        driver = rig.up(size=(W + n, H + n % 7))
        driver.show(noise(4, 4, n), 1, 1, 4, 4)
        assert driver.peek(driver.pitch + 4, 16) == noise(4, 4, n)[:16]
        driver.close()

    rig.alive()


@needs(Can.OPTIONS)
def test_SVG_V_025_the_mode_a_new_device_stands_at(make_rig: MakeRig) -> None:
    driver = make_rig(size=(100, 80), largest=(640, 480)).start()

    assert [driver.get(n) for n in (R.WIDTH, R.HEIGHT, R.MAX_WIDTH, R.MAX_HEIGHT)] == [100, 80, 640, 480]
