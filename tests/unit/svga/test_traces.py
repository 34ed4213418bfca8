"""Plain stores into the framebuffer, which nobody tells of."""

import pytest

from svga.display import Watch
from svga.function import Video
from svga.wire import Register
from tests.unit.svga.rig import Rig

R = Register
ROUND = 100_000_000


def rig() -> Rig:
    """200 by 150 pixels: four by three tiles."""
    found = Rig(size=(200, 150)).up(size=(200, 150))
    found.port.advance(ROUND)
    found.damage()
    return found


def poke(found: Rig, x: int, y: int) -> None:
    found.driver.poke(y * found.driver.pitch + 4 * x, b"\1\2\3\4")


def test_SVG_V_031_stores_are_found_within_100_ms() -> None:
    found = rig()
    poke(found, 199, 149)
    poke(found, 64, 63)
    found.port.advance(ROUND)

    assert found.damage().tiles == {(3, 2), (1, 0)}


def test_SVG_V_031_not_when_the_driver_tells_of_them() -> None:
    found = rig()
    found.driver.set(R.TRACES, 0)
    poke(found, 0, 0)
    found.port.advance(ROUND)

    assert (found.driver.get(R.TRACES), found.damage().tiles) == (0, set())


def test_nothing_is_compared_while_nobody_looks() -> None:
    found = Rig(size=(200, 150)).up(size=(200, 150))
    found.unwatch()
    found.port.advance(1_000_000_000)
    poke(found, 0, 0)
    found.port.advance(1_000_000_000)
    watch = Watch()
    found.device.picture.watch(watch)
    watch.take()
    found.port.advance(20_000_000)

    assert watch.take().tiles == set()


@pytest.mark.slow
def test_a_large_framebuffer_takes_several_rounds() -> None:
    """16 MiB a round, and then the rest."""
    found = Rig(vram=Video(64 << 20, None)).up(size=(4096, 2048))
    found.port.advance(1_000_000_000)
    found.damage()
    poke(found, 0, 2047)
    found.port.advance(60_000_000)
    poke(found, 0, 0)
    found.port.advance(200_000_000)

    assert found.damage().tiles == {(0, 31), (0, 0)}


def test_another_mode_is_looked_at_anew() -> None:
    found = rig()
    found.driver.set_mode(100, 100)
    poke(found, 99, 99)
    found.port.advance(ROUND)

    assert {(1, 1)} <= found.damage().tiles
