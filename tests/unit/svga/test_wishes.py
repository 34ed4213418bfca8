"""Monitors as somebody in front of the display would like them: what is passed on, and what a driver sees of it."""

from collections.abc import Sequence

import pytest

from svga.display import Area
from svga.driver import commands
from svga.driver.driver import MONITOR
from svga.function import Video
from svga.wire import Register
from svga.wire_commands import Cmd3d, Format
from tests.unit.svga.rig import Rig, W

R = Register
TWO = [Area(0, 0, 320, 240), Area(320, 0, 160, 120)]


class Tools:
    """Somebody who can tell the guest, or cannot; what he was asked for."""

    def __init__(self, rig: Rig, able: bool = True) -> None:
        self.heard: list[list[Area]] = []
        self.plugged: list[int] = []  # monitors there were when he heard of it
        self._able, self._rig = able, rig
        rig.device.wishes.tell = self.tell

    def tell(self, areas: Sequence[Area]) -> bool:
        self.heard.append(list(areas))
        self.plugged.append(self._rig.driver.get(R.NUM_DISPLAYS))
        return self._able


def test_a_wish_reaches_the_guest_and_its_monitors_are_there_by_then(targets: Rig) -> None:
    tools = Tools(targets)

    assert targets.device.picture.ask(TWO)
    assert (tools.heard, tools.plugged) == ([TWO], [2])
    assert targets.driver.get(R.NUM_DISPLAYS) == 2


def test_a_wish_nobody_takes_changes_nothing(targets: Rig) -> None:
    tools = Tools(targets, able=False)

    assert not targets.device.picture.ask(TWO)
    assert tools.heard == [TWO]
    assert targets.driver.get(R.NUM_DISPLAYS) == 1


def test_without_tools_nobody_takes_it(legacy: Rig) -> None:
    size = legacy.driver.get(R.WIDTH), legacy.driver.get(R.HEIGHT)

    assert not legacy.device.picture.ask([Area(0, 0, 32, 32)])
    assert (legacy.driver.get(R.WIDTH), legacy.driver.get(R.HEIGHT)) == size


def test_the_next_driver_finds_the_size_that_was_asked_for(legacy: Rig) -> None:
    """While a driver is there its mode stays; a reset forgets its modes, not the wish."""
    legacy.driver.close()
    legacy.device.picture.ask([Area(0, 0, 100, 80)])
    first = legacy.driver.get(R.WIDTH), legacy.driver.get(R.HEIGHT)
    legacy.port.reset()
    legacy.driver.power()
    second = legacy.driver.get(R.WIDTH), legacy.driver.get(R.HEIGHT)

    assert first == second == (100, 80)


def test_a_wish_of_before_is_what_the_next_driver_finds(legacy: Rig) -> None:
    """The one that is there goes on as it was."""
    legacy.device.picture.ask([Area(0, 0, 100, 80)])
    legacy.port.advance(1_000_000_000)
    during = legacy.driver.get(R.WIDTH)
    legacy.driver.close()

    assert (during, legacy.driver.get(R.WIDTH), legacy.driver.get(R.HEIGHT)) == (W, 100, 80)
    assert legacy.seen("SVG-D-021") == []


WRONG = {
    "none": [],
    "eleven": [Area(8 * n, 0, 8, 8) for n in range(11)],
    "no width": [Area(0, 0, 0, 100)],
    "too wide": [Area(0, 0, 2000, 8)],
    "too wide together": [Area(0, 0, 700, 8), Area(700, 0, 700, 8)],
    "far apart": [Area(0, 0, 8, 8), Area(1 << 20, 1 << 20, 8, 8)],
    "more than memory holds": [Area(0, 0, 1000, 700)],
}


@pytest.mark.parametrize("what", WRONG)
def test_wishes_that_cannot_be_are_not_passed_on(what: str) -> None:
    rig = Rig(largest=(1024, 768)).up()
    tools = Tools(rig)

    assert not rig.device.picture.ask(WRONG[what])
    assert tools.heard == []
    assert rig.device.wishes.wrong(WRONG[what]) is not None


def test_screen_targets_are_not_limited_by_video_memory() -> None:
    areas = [Area(0, 0, 1920, 1080), Area(1920, 0, 1920, 1080)]

    assert Rig("screen-targets", "svga3").device.wishes.wrong(areas) is None
    assert Rig("legacy", "svga3").device.wishes.wrong(areas) is not None
    assert Rig("legacy", "svga3", vram=Video(16 << 20, None)).device.wishes.wrong(areas) is None


def test_monitors_are_plugged_in_and_out(targets: Rig) -> None:
    targets.device.wishes.plug(3)
    three = targets.driver.get(R.NUM_DISPLAYS)
    targets.port.reset()
    targets.driver.power()
    after = targets.driver.get(R.NUM_DISPLAYS)

    assert (three, after) == (3, 3)
    for count in (0, 11):
        with pytest.raises(ValueError, match=f"{count} monitors: there are 1 to 10"):
            targets.device.wishes.plug(count)


def test_a_guest_that_does_as_it_is_asked(targets: Rig) -> None:
    """Two screen targets where they were wanted, each with a picture of its own; then one again, of another size."""

    def obey(areas: Sequence[Area]) -> bool:
        data = b""
        for number, area in enumerate(areas):
            data += commands.surface(20 + number, Format.X8R8G8B8, area.width, area.height)
            data += commands.target(number, area.x, area.y, area.width, area.height)
            data += commands.bind_target(number, 20 + number)
        for number in range(len(areas), len(targets.device.picture.monitors)):
            data += commands.body(Cmd3d.DESTROY_GB_SCREENTARGET, number)
        targets.driver.send(data)
        return True

    targets.device.wishes.tell = obey
    targets.damage()
    asked = targets.device.picture.ask(TWO)
    two = [(monitor.id, monitor.area) for monitor in targets.device.picture.monitors]
    layout = targets.damage().layout
    again = targets.device.picture.ask([Area(0, 0, 200, 100)])

    assert (asked, layout, two) == (True, True, list(enumerate(TWO)))
    assert again
    assert [(m.id, m.area) for m in targets.device.picture.monitors] == [(MONITOR, Area(0, 0, 200, 100))]
