"""Screen objects: what may be defined, and what is shown of it."""

import pytest

from svga.display import Area
from svga.driver import commands
from svga.wire import GMR_FRAMEBUFFER, PAGE, Register
from svga.wire_commands import Cmd, ScreenFlag
from tests.unit.svga.rig import H, Rig, W, noise

R = Register
VRAM = 1 << 20


def monitors(rig: Rig) -> list[tuple[int, Area]]:
    return [(monitor.id, monitor.area) for monitor in rig.device.picture.monitors]


@pytest.fixture
def rig() -> Rig:
    return Rig("screen-objects").started()


@pytest.mark.parametrize("size", [28, 40, 44, 60, 256])
def test_SVG_V_033_structures_of_any_length(rig: Rig, size: int) -> None:
    """What is longer than anybody knows is skipped by its own length."""
    rig.driver.send(commands.screen(0, W, H, size=size, gmrId=GMR_FRAMEBUFFER, pitch=4 * W) + commands.fence(1))

    assert monitors(rig) == [(0, Area(0, 0, W, H))]
    assert rig.device._fences.last == 1
    assert [value for _, value in rig.seen("SVG-D-041")] == [size] * (size > 44)


WRONG = {
    "an id beyond the last": commands.screen(10, W, H),
    "no id": commands.screen(0xFFFF_FFFF, W, H),
    "a structure too short": commands.command(Cmd.DEFINE_SCREEN, 24, *range(5)),
    "no width": commands.screen(0, 0, H, size=28),
    "too wide": commands.screen(0, 8193, 1, size=28),
    "memory that is not video memory": commands.screen(0, W, H, gmrId=1),
    "memory at no page": commands.screen(0, W, H, gmrId=GMR_FRAMEBUFFER, offset=64),
    "lines too short": commands.screen(0, W, H, gmrId=GMR_FRAMEBUFFER, pitch=4 * W - 4),
    "beyond video memory": commands.screen(0, W, H, gmrId=GMR_FRAMEBUFFER, offset=VRAM - PAGE, pitch=4 * W),
    "all there can be": commands.screen(0, 8192, 8192, gmrId=GMR_FRAMEBUFFER, pitch=0xFFFF_FFFC),
    "private and too large": commands.screen(0, 8192, 8192, size=28),
}


@pytest.mark.parametrize("what", WRONG)
def test_SVG_D_041_screens_that_cannot_be(rig: Rig, what: str) -> None:
    rig.driver.send(WRONG[what] + commands.fence(1))

    assert len(rig.seen("SVG-D-041")) == 1
    assert len(rig.device.screens) == 0
    assert rig.device._fences.last == 1


def test_SVG_D_041_a_flag_that_must_be_set(rig: Rig) -> None:
    rig.driver.send(commands.screen(0, W, H, size=28, flags=0))

    assert rig.seen("SVG-D-041") == [("flags", 0)]
    assert len(rig.device.screens) == 1


def test_SVG_V_034_places_on_the_desktop(rig: Rig) -> None:
    """The guest's desktop may begin anywhere; a viewer's begins at 0."""
    rig.driver.send(commands.screen(1, W, H, rootX=-W, rootY=-7, size=28) + commands.screen(0, 32, 32, size=28))

    assert monitors(rig) == [(0, Area(W, 7, 32, 32)), (1, Area(0, 0, W, H))]
    rig.damage()
    rig.driver.send(commands.update(-W, -7, 4, 4))
    assert rig.damage().tiles == {(0, 0)}


def test_SVG_V_034_pixels_survive_a_move(rig: Rig) -> None:
    rig.driver.send(commands.screen(0, W, H, size=28) + commands.screen(1, W, H, rootX=W, size=28))
    rig.driver.send(commands.gmrfb(GMR_FRAMEBUFFER, 0, 4 * W))
    picture = noise()
    rig.driver.poke(0, picture)
    rig.driver.send(commands.blit_to_screen(0, 0, 0, 0, W, H, 1))

    rig.driver.send(commands.screen(1, W, H, rootY=H, size=28))

    assert rig.frame(1) == picture
    assert monitors(rig)[1] == (1, Area(0, H, W, H))


def test_SVG_V_034_what_is_not_there_is_destroyed_in_peace(rig: Rig) -> None:
    rig.driver.send(commands.command(Cmd.DESTROY_SCREEN, 7) + commands.command(Cmd.DESTROY_SCREEN, 0xFFFF_FFFF))

    assert list(rig.device.rules) == []


def test_dark_screens(rig: Rig) -> None:
    flags = ScreenFlag.MUST_BE_SET | ScreenFlag.BLANKING
    rig.driver.send(commands.screen(0, W, H, size=28, flags=flags) + commands.screen(1, W, H, rootX=W, size=28))
    blank = [rig.device.picture.rows(n) is None for n in (0, 1)]
    rig.driver.send(commands.screen(1, 0, 0, size=28, flags=ScreenFlag.MUST_BE_SET | ScreenFlag.DEACTIVATE))

    assert blank == [True, False]
    assert monitors(rig) == [(0, Area(0, 0, W, H))]


def test_a_mode_takes_the_place_of_screens(screens: Rig) -> None:
    screens.driver.set_mode(32, 32)
    screens.port.run()

    assert monitors(screens) == [(0, Area(0, 0, 32, 32))]
    assert len(screens.device.screens) == 0


def test_screens_of_private_memory_have_a_limit(rig: Rig) -> None:
    for n in range(10):
        rig.driver.send(commands.screen(n, 256, 256, size=28))

    assert len(rig.device.screens) == 4
    assert len(rig.seen("SVG-D-041")) == 1


def test_defining_and_destroying_leaves_nothing(rig: Rig) -> None:
    for n in range(300):
        rig.driver.send(commands.screen(n % 3, W, H, size=28) + commands.command(Cmd.DESTROY_SCREEN, n % 3))

    assert len(rig.device.screens) == 0
    assert list(rig.device.rules) == []
