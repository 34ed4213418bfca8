"""Modes set by registers, the palette, monitors of one framebuffer."""

import pytest

from svga.display import Area
from svga.driver import commands
from svga.function import Video
from svga.wire import INVALID_ID, PALETTE_BASE, Fifo, Register
from tests.unit.svga.rig import H, Rig, W, noise

R = Register
MASKS = (R.RED_MASK, R.GREEN_MASK, R.BLUE_MASK)


@pytest.mark.parametrize(
    ("bpp", "depth", "pitch", "masks"),
    [
        (8, 8, 64, [0, 0, 0]),
        (15, 15, 128, [0x7C00, 0x3E0, 0x1F]),
        (16, 16, 128, [0xF800, 0x7E0, 0x1F]),
        (24, 24, 192, [0xFF0000, 0xFF00, 0xFF]),
        (32, 24, 256, [0xFF0000, 0xFF00, 0xFF]),
    ],
)
def test_SVG_V_024_all_depths(powered: Rig, bpp: int, depth: int, pitch: int, masks: list[int]) -> None:
    driver = powered.driver
    driver.start()
    driver.set_mode(W, H, bpp)

    numbers = (R.DEPTH, R.PSEUDOCOLOR, R.BYTES_PER_LINE, R.FB_SIZE, R.FB_OFFSET, R.BITS_PER_PIXEL)
    assert [driver.get(n) for n in numbers] == [depth, int(bpp == 8), pitch, pitch * H, 0, bpp]
    assert [driver.get(n) for n in MASKS] == masks
    rows = powered.device.picture.rows(0)
    assert rows is not None
    assert (rows.width, rows.height, rows.pitch, rows.bpp, rows.masks) == (W, H, pitch, bpp, tuple(masks))


@pytest.mark.parametrize(("register", "value"), [(R.WIDTH, 0), (R.HEIGHT, 0), (R.WIDTH, 8193), (R.HEIGHT, 0xFFFF_FFFF)])
def test_SVG_D_021_SVG_V_025_sizes_that_cannot_be_are_refused(legacy: Rig, register: int, value: int) -> None:
    legacy.driver.set(register, value)

    assert (legacy.driver.get(R.WIDTH), legacy.driver.get(R.HEIGHT)) == (W, H)
    assert [seen for _, seen in legacy.seen("SVG-D-021")] == [value]


@pytest.mark.parametrize("bpp", [0, 1, 4, 17, 255, 0xFFFF_FFFF])
def test_SVG_D_021_depths_that_cannot_be(legacy: Rig, bpp: int) -> None:
    legacy.driver.set(R.BITS_PER_PIXEL, bpp)

    assert legacy.driver.get(R.BITS_PER_PIXEL) == 32
    assert legacy.seen("SVG-D-021") == [("BITS_PER_PIXEL", bpp)]


def test_SVG_D_021_more_than_video_memory_holds(legacy: Rig) -> None:
    """Width and height can be, each by itself; what was before is kept, and shown."""
    driver = legacy.driver
    driver.set(R.WIDTH, 1024)
    driver.set(R.HEIGHT, 1024)

    assert (driver.get(R.WIDTH), driver.get(R.HEIGHT), driver.get(R.BYTES_PER_LINE)) == (W, H, 4 * W)
    assert legacy.seen("SVG-D-021") == [("mode", 4 << 20)]


def test_a_mode_is_taken_as_a_whole(legacy: Rig) -> None:
    """Between a new width and a new height there is a mode nobody asked for: nobody sees it."""
    driver, serial = legacy.driver, legacy.device.picture.serial
    driver.set(R.WIDTH, 8192)
    legacy.port.run()
    driver.set(R.HEIGHT, 16)
    legacy.port.run()
    driver.send(commands.update(0, 0, 8, 8))

    assert legacy.device.picture.serial == serial + 1
    assert legacy.device.picture.monitors[0].area == Area(0, 0, 8192, 16)
    assert legacy.seen("SVG-D-021") == []


def test_SVG_D_024_a_driver_that_takes_its_time(legacy: Rig) -> None:
    """It was interrupted between PITCHLOCK and WIDTH: what stands there meanwhile is not held against it."""
    legacy.driver.set_mode(200, 48)
    legacy.driver.set(Register.PITCHLOCK, 4 * 100)
    legacy.port.advance(900_000_000)
    legacy.driver.set(Register.WIDTH, 100)
    legacy.port.advance(20_000_000)

    rows = legacy.device.picture.rows(0)
    assert rows is not None
    assert (rows.width, rows.pitch) == (100, 400)
    assert list(legacy.device.rules) == []


def test_SVG_D_024_a_driver_that_does_not_come_back(legacy: Rig) -> None:
    legacy.driver.set_mode(200, 48)
    legacy.driver.set(Register.PITCHLOCK, 4 * 100)
    legacy.port.advance(1_100_000_000)

    assert legacy.seen("SVG-D-024") == [("PITCHLOCK", 400)]
    assert legacy.device.deadline() is None or legacy.device.deadline() > legacy.port.now_ns  # type: ignore[operator]


def test_a_mode_nobody_asks_about_is_shown_after_a_while(legacy: Rig) -> None:
    legacy.driver.set(R.WIDTH, 32)
    legacy.port.advance(100_000_000)

    assert legacy.device.picture.monitors[0].area == Area(0, 0, 32, H)
    assert legacy.damage().layout


def test_SVG_V_023_a_locked_pitch(legacy: Rig) -> None:
    driver, picture = legacy.driver, noise()
    driver.set_mode(W, H, pitch=300)
    driver.draw(picture, 0, 0, W, H)

    assert (driver.pitch, driver.get(R.FB_SIZE)) == (300, 300 * H)
    assert legacy.frame() == picture


def test_SVG_V_023_a_pitch_locked_in_the_fifo(legacy: Rig) -> None:
    legacy.driver.set_word(Fifo.PITCHLOCK, 512)
    legacy.driver.set_mode(32, 32)

    assert legacy.driver.pitch == 512


@pytest.mark.parametrize("lock", [4 * W - 4, 4 * W + 1, 0xFFFF_FFFC])
def test_SVG_D_024_pitches_that_cannot_be(legacy: Rig, lock: int) -> None:
    legacy.driver.set_mode(W, H, pitch=lock)

    assert legacy.driver.pitch == 4 * W
    assert legacy.seen("SVG-D-024") == [("PITCHLOCK", lock)]


def test_SVG_D_023_depth_without_its_capability() -> None:
    rig = Rig("qemu").up()
    rig.driver.set(R.BITS_PER_PIXEL, 32)

    assert rig.seen("SVG-D-023") == [("BITS_PER_PIXEL", 32)]


def test_SVG_D_022_the_pitch_is_to_be_read(legacy: Rig) -> None:
    legacy.driver.send(commands.update(0, 0, 1, 1))
    fine = legacy.seen("SVG-D-022")
    legacy.driver.set(R.WIDTH, 32)
    legacy.driver.send(commands.update(0, 0, 1, 1))

    assert (fine, legacy.seen("SVG-D-022")) == ([], [("UPDATE", 128)])


def test_SVG_V_026_ENABLE(legacy: Rig) -> None:
    driver, picture, found = legacy.driver, legacy.device.picture, []
    for value in (3, 1, 0, 1):
        driver.set(R.ENABLE, value)
        found.append((driver.get(R.ENABLE), picture.rows(0) is None))

    assert found == [(3, True), (1, False), (0, True), (1, False)]


def test_SVG_V_027_a_palette(powered: Rig) -> None:
    driver = powered.driver
    driver.start()
    driver.set_mode(W, H, 8)
    serial = powered.device.picture.serial
    for component, value in enumerate((10, 20, 0x130)):
        driver.set(PALETTE_BASE + 3 * 7 + component, value)

    powered.port.advance(100_000_000)

    rows = powered.device.picture.rows(0)
    assert rows is not None
    assert (len(rows.palette), rows.palette[7], driver.get(PALETTE_BASE + 23)) == (256, (10, 20, 0x30), 0x30)
    assert powered.device.picture.serial > serial


def two_monitors(
    rig: Rig, *, first: tuple[int, ...] = (0, 0, 32, 48), second: tuple[int, ...] = (32, 0, 32, 48)
) -> None:
    """As Linux tells them: nothing comes after the last height."""
    driver = rig.driver
    driver.set(R.NUM_GUEST_DISPLAYS, 2)
    for n, values in enumerate((first, second)):
        driver.set(R.DISPLAY_ID, n)
        driver.set(R.DISPLAY_IS_PRIMARY, not n)
        for register, value in zip(range(R.DISPLAY_POSITION_X, R.DISPLAY_HEIGHT + 1), values, strict=True):
            driver.set(register, value)


def test_SVG_V_028_029_monitors_of_one_framebuffer(legacy: Rig) -> None:
    picture = noise()
    legacy.driver.show(picture, 0, 0, W, H)
    two_monitors(legacy)
    legacy.driver.tell(0, 0, 1, 1)

    assert [(m.id, m.area) for m in legacy.device.picture.monitors] == [
        (0, Area(0, 0, 32, 48)),
        (1, Area(32, 0, 32, 48)),
    ]
    lines = [picture[4 * W * y :][: 4 * W] for y in range(H)]
    assert legacy.frame(0) == b"".join(line[:128] for line in lines)
    assert legacy.frame(1) == b"".join(line[128:] for line in lines)
    numbers = range(R.NUM_GUEST_DISPLAYS, R.DISPLAY_HEIGHT + 1)
    assert [legacy.driver.get(n) for n in numbers] == [2, 1, 0, 32, 0, 32, 48]


def test_monitors_that_look_beyond_the_framebuffer(legacy: Rig) -> None:
    two_monitors(legacy, first=(0xFFFF_FFF0, 0, 32, 48), second=(4096, 4096, 0xFFFF_FFFF, 0xFFFF_FFFF))
    legacy.port.run()

    assert [m.area for m in legacy.device.picture.monitors] == [Area(0, 0, 16, 48)]


def test_SVG_D_021_monitors_there_are_not(legacy: Rig) -> None:
    legacy.driver.set(R.NUM_GUEST_DISPLAYS, 0)
    legacy.driver.set(R.NUM_GUEST_DISPLAYS, 11)
    legacy.driver.set(R.DISPLAY_ID, 10)
    legacy.driver.set(R.DISPLAY_WIDTH, 5)
    wide = legacy.driver.get(R.DISPLAY_WIDTH)
    legacy.driver.set(R.DISPLAY_ID, INVALID_ID)

    assert (wide, legacy.driver.get(R.NUM_GUEST_DISPLAYS)) == (0, 1)
    assert {place for place, _ in legacy.seen("SVG-D-021")} == {"NUM_GUEST_DISPLAYS", "DISPLAY_ID"}


def test_what_a_new_device_shows_and_prefers() -> None:
    rig = Rig(vram=Video(4 << 20, None), size=(1024, 768), largest=(1920, 1080)).started()
    driver = rig.driver

    assert [driver.get(n) for n in (R.WIDTH, R.HEIGHT, R.MAX_WIDTH, R.MAX_HEIGHT)] == [1024, 768, 1920, 1080]
    assert rig.device.picture.monitors[0].area == Area(0, 0, 1024, 768)
    with pytest.raises(ValueError, match="mode"):
        Rig(size=(1024, 768))


@pytest.mark.parametrize("register", [R.WIDTH, R.HEIGHT])
def test_SVG_D_025_enabled_without_a_size(powered: Rig, register: Register) -> None:
    """The device keeps the size it had; the driver does not know of it."""
    driver = powered.driver
    driver.negotiate()
    driver.set(register, 0)
    driver.set(R.ENABLE, 1)
    told = [place for place, _ in powered.seen("SVG-D-025")]
    driver.set(R.ENABLE, 0)
    driver.set(register, 32)
    driver.set(R.ENABLE, 1)

    assert told == [place for place, _ in powered.seen("SVG-D-025")] == ["ENABLE"]
