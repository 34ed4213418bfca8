"""A viewer that asks for monitors, a display, and a guest that does as it is told: all the way and back."""

import struct
from collections.abc import Sequence

from svga.display import Area
from svga.driver import commands
from svga.wire_commands import Cmd3d, Format
from tests.unit.svga.console.rfb import EXTENDED_DESKTOP, RAW, Viewer
from tests.unit.svga.rig import H, Rig, W

TWO = [(0, 0, 64, 48), (64, 0, 32, 48)]


def wish(viewer: Viewer, *screens: tuple[int, int, int, int]) -> None:
    """SetDesktopSize."""
    width, height = max(x + w for x, _, w, _ in screens), max(y + h for _, y, _, h in screens)
    rows = b"".join(struct.pack(">I4HI", n, *screen, 0) for n, screen in enumerate(screens))
    viewer.send(struct.pack(">BxHHBx", 251, width, height, len(screens)) + rows)


def guest(rig: Rig) -> None:
    """Its program arranges screen targets as it hears."""

    def arrange(areas: Sequence[Area]) -> bool:
        data = b""
        for number, area in enumerate(areas):
            data += commands.surface(20 + number, Format.X8R8G8B8, area.width, area.height)
            data += commands.target(number, area.x, area.y, area.width, area.height)
            data += commands.bind_target(number, 20 + number)
        for number in range(len(areas), len(rig.device.picture.monitors)):
            data += commands.body(Cmd3d.DESTROY_GB_SCREENTARGET, number)
        rig.driver.send(data)
        return True

    rig.device.wishes.tell = arrange


def test_a_viewer_gets_the_monitors_it_asked_for() -> None:
    """Two, and one again."""
    rig = Rig("screen-targets", "svga3").up()
    guest(rig)
    viewer = Viewer(rig.device.picture, RAW, EXTENDED_DESKTOP).look()
    wish(viewer, *TWO)
    viewer.look().look()
    two, answer = viewer.screens, viewer.said[-1]
    viewer.now = 1.0
    wish(viewer, (0, 0, 40, 30))
    viewer.look().look()

    assert answer == ("desktop", 1, 0, 96, 48)
    assert two == [(n, *screen, 0) for n, screen in enumerate(TWO)]
    assert (viewer.said[-1], viewer.screens) == (("desktop", 1, 0, 40, 30), [(0, 0, 0, 40, 30, 0)])


def test_without_a_program_that_arranges_them_it_is_refused() -> None:
    rig = Rig("screen-targets", "svga3").up()
    viewer = Viewer(rig.device.picture, RAW, EXTENDED_DESKTOP).look()
    wish(viewer, *TWO)
    viewer.look()

    assert viewer.said[-1] == ("desktop", 1, 1, W, H)
