"""The console on the device itself: what a driver shows, by every way there is, is what a viewer sees."""

import numpy as np
import pytest

from svga.console.canvas import Canvas
from svga.display import Area, Cursor
from svga.driver import commands
from svga.function import Video
from svga.wire_commands import Cmd
from tests.unit.svga.console.rfb import COPY_RECT, EXTENDED_DESKTOP, RAW, TIGHT, Viewer, chance
from tests.unit.svga.rig import Rig

WIDTH, HEIGHT = 200, 150
WAYS = [
    *(("legacy", "svga2"), ("screen-objects", "svga2"), ("screen-targets", "svga2")),
    *(("screen-objects", "svga3"), ("screen-targets", "svga3")),
]


def rig(profile: str, front: str = "svga2") -> Rig:
    return Rig(profile, front, size=(WIDTH, HEIGHT), vram=Video(1 << 20, None)).up(size=(WIDTH, HEIGHT))


@pytest.mark.parametrize(("profile", "front"), WAYS)
def test_SVG_V_064_what_a_driver_shows_is_what_a_viewer_sees(profile: str, front: str) -> None:
    random, device = chance(1), rig(profile, front)
    expected = np.zeros((HEIGHT, WIDTH), np.uint32)
    viewer = Viewer(device.device.picture, TIGHT, EXTENDED_DESKTOP).look().look()
    for _ in range(30):
        width, height = random.randint(1, 150), random.randint(1, 100)
        x, y = random.randint(0, WIDTH - width), random.randint(0, HEIGHT - height)
        data = np.frombuffer(random.randbytes(4 * width * height), np.uint32).reshape(height, width) & 0xFFFFFF
        expected[y : y + height, x : x + width] = data
        device.driver.show(data.tobytes(), x, y, width, height)
        device.driver.fence()
        viewer.look()
        assert np.array_equal(viewer.fb, expected)
    assert [str(broken) for broken in device.device.rules] == []


def test_SVG_V_065_a_drivers_copy_is_the_viewers() -> None:
    random, device = chance(2), rig("legacy")
    expected = np.frombuffer(random.randbytes(4 * WIDTH * HEIGHT), np.uint32).reshape(HEIGHT, WIDTH) & 0xFFFFFF
    device.driver.show(expected.tobytes(), 0, 0, WIDTH, HEIGHT)
    device.driver.fence()
    viewer = Viewer(device.device.picture, RAW, COPY_RECT).look()
    for _ in range(30):
        width, height = random.randint(1, 150), random.randint(1, 100)
        x, y, to_x, to_y = (random.randint(0, most) for most in (WIDTH - width, HEIGHT - height) * 2)
        device.driver.send(commands.command(Cmd.RECT_COPY, x, y, to_x, to_y, width, height))
        device.driver.fence()
        expected[to_y : to_y + height, to_x : to_x + width] = expected[y : y + height, x : x + width].copy()
        viewer.look()
        assert np.array_equal(viewer.fb, expected)
    assert viewer.got.count(COPY_RECT) == 30


@pytest.mark.parametrize("bpp", [8, 15, 16, 24, 32])
def test_SVG_V_064_a_mode_of_every_depth(bpp: int) -> None:
    device = rig("legacy")
    viewer = Viewer(device.device.picture, RAW, EXTENDED_DESKTOP).look().look()
    device.driver.set_mode(96, 80, bpp)
    device.driver.poke(0, bytes(range(256)) * 16)
    device.driver.send(commands.update(0, 0, 96, 80))
    device.driver.fence()
    viewer.look().look()

    assert viewer.fb.shape == (80, 96)
    assert np.array_equal(viewer.fb, Canvas(device.device.picture).grab(Area(0, 0, 96, 80)))
    assert bool(viewer.fb.any()) == (bpp != 8), "no palette was set"


def test_a_driver_that_leaves_leaves_a_blank_screen() -> None:
    device = rig("screen-targets", "svga3")
    device.driver.show(bytes([9]) * 4 * WIDTH * HEIGHT, 0, 0, WIDTH, HEIGHT)
    device.driver.fence()
    viewer = Viewer(device.device.picture, RAW, EXTENDED_DESKTOP).look().look()
    shown = bool(viewer.fb.all())
    device.port.reset()
    viewer.look().look()

    assert shown
    assert viewer.fb.shape == (480, 640)
    assert not viewer.fb.any()
    assert device.device.picture.cursor == Cursor()
