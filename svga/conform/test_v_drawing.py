"""SVGA device rules 019 to 022: fills and copies in the framebuffer of registers, and what an update marks."""

import pytest

from svga.conform.rig import Can, H, Rig, W, moved, noise, paste
from svga.driver import commands
from svga.wire import Cap
from svga.wire_commands import Cmd

needs = pytest.mark.needs
FULL = 0xFFFF_FFFF
AROUND = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]


def shown(rig: Rig) -> bytes:
    """A picture is in the framebuffer."""
    picture = noise()
    rig.up().draw(picture, 0, 0, W, H)
    return picture


@needs(Cap.RECT_COPY)
@pytest.mark.parametrize(("dx", "dy"), AROUND)
def test_SVG_V_019_022_copies_that_overlap(rig: Rig, dx: int, dy: int) -> None:
    """In every direction; around them nothing changes."""
    picture = shown(rig)
    rig.driver.send(commands.rect_copy(4, 3, 4 + dx, 3 + dy, 15, 9))

    assert rig.framebuffer() == moved(picture, 4, 3, 4 + dx, 3 + dy, 15, 9)


@needs(Cap.RECT_COPY)
@pytest.mark.parametrize("move", [(0, 0, 12, 8, 12, 8), (12, 8, 0, 0, 12, 8), (0, 0, 0, 0, W, H), (23, 15, 0, 0, 1, 1)])
def test_SVG_V_019_022_copies_that_do_not(rig: Rig, move: tuple[int, int, int, int, int, int]) -> None:
    picture = shown(rig)
    rig.driver.send(commands.rect_copy(*move))

    assert rig.framebuffer() == moved(picture, *move)


@needs(Cap.RECT_COPY)
@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_SVG_V_020_a_copy_of_nothing(rig: Rig, size: tuple[int, int]) -> None:
    picture = shown(rig)
    rig.driver.send(commands.rect_copy(1, 1, 8, 8, *size))

    assert rig.framebuffer() == picture


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_SVG_V_020_an_update_of_nothing(rig: Rig, size: tuple[int, int]) -> None:
    picture = shown(rig)
    if rig.has(Can.DAMAGE):
        rig.damage()
    rig.driver.send(commands.update(1, 1, *size))

    assert rig.framebuffer() == picture
    if rig.has(Can.DAMAGE):
        assert rig.damage().tiles == set()


@needs(Cap.RECT_FILL)
@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_SVG_V_020_a_fill_of_nothing(rig: Rig, size: tuple[int, int]) -> None:
    picture = shown(rig)
    rig.driver.send(commands.command(Cmd.RECT_FILL, 0x112233, 1, 1, *size))

    assert rig.framebuffer() == picture


@needs(Cap.RECT_FILL)
def test_SVG_V_022_a_fill_and_nothing_beside_it(rig: Rig) -> None:
    picture = shown(rig)
    rig.driver.send(commands.command(Cmd.RECT_FILL, 0x0011_2233, 3, 2, 10, 6))

    assert rig.framebuffer() == paste(picture, b"\x33\x22\x11\x00" * 60, 3, 2, 10)


OUTSIDE = {
    "source beyond the right edge": (W - 4, 0, 0, 0, 8, 8),
    "target beyond the right edge": (0, 0, W - 4, 0, 8, 8),
    "target beyond the lower edge": (0, 0, 0, H - 3, 8, 8),
    "target in the corner": (0, 0, W - 2, H - 1, 8, 8),
    "wider than everything": (0, 0, 4, 4, W, H),
}


@needs(Cap.RECT_COPY)
@pytest.mark.parametrize("what", OUTSIDE)
def test_SVG_V_021_copies_are_clipped(rig: Rig, what: str) -> None:
    """What is inside is copied, to the pixel; behind the picture nothing changes."""
    picture = shown(rig)
    behind = rig.driver.peek(rig.driver.pitch * H, 64)
    sx, sy, dx, dy, width, height = OUTSIDE[what]
    rig.driver.send(commands.rect_copy(*OUTSIDE[what]))

    width, height = min(width, W - sx, W - dx), min(height, H - sy, H - dy)
    assert rig.framebuffer() == moved(picture, sx, sy, dx, dy, width, height)
    assert rig.driver.peek(rig.driver.pitch * H, 64) == behind


NOWHERE = {
    "around the corner": (FULL, FULL, 0, 0, 1, 1),
    "to around the corner": (0, 0, FULL, FULL, 1, 1),
    "beside": (0, 0, W, 0, 4, 4),
    "below": (0, 0, 0, H, 4, 4),
    "far away": (0x7FFF_FFFF, 0x7FFF_FFFF, 0, 0, 1, 1),
    "far far away": (0, 0, 0x8000_0000, 0x8000_0000, 16, 16),
    "ends that wrap": (0x8000_0000, 0, 0, 0, 0x8000_0001, 1),
}


@needs(Cap.RECT_COPY)
@pytest.mark.parametrize("what", NOWHERE)
def test_SVG_V_021_copies_of_what_is_outside(rig: Rig, what: str) -> None:
    picture = shown(rig)
    behind = rig.driver.peek(rig.driver.pitch * H, 256)
    rig.driver.send(commands.rect_copy(*NOWHERE[what]) + commands.update(0, 0, 1, 1))

    assert rig.framebuffer() == picture
    assert rig.driver.peek(rig.driver.pitch * H, 256) == behind


@needs(Cap.RECT_FILL)
@pytest.mark.parametrize("area", [(W - 4, 2, 8, 3), (2, H - 2, 3, 8), (W - 1, H - 1, FULL, FULL)])
def test_SVG_V_021_fills_are_clipped(rig: Rig, area: tuple[int, int, int, int]) -> None:
    picture = shown(rig)
    behind = rig.driver.peek(rig.driver.pitch * H, 64)
    rig.driver.send(commands.command(Cmd.RECT_FILL, 0x0044_5566, *area))

    x, y, width, height = area
    width, height = min(width, W - x), min(height, H - y)
    assert rig.framebuffer() == paste(picture, b"\x66\x55\x44\x00" * (width * height), x, y, width)
    assert rig.driver.peek(rig.driver.pitch * H, 64) == behind


UPDATES = [(FULL, 0, 2, 2), (W, 0, 1, 1), (0, H - 1, 1, 2), (1, 1, FULL, FULL), (0x8000_0000,) * 4, (0x7FFF_FFFF,) * 4]


@pytest.mark.parametrize("area", UPDATES)
def test_SVG_V_021_updates_outside_do_no_harm(rig: Rig, area: tuple[int, int, int, int]) -> None:
    picture = shown(rig)
    rig.driver.send(commands.update(*area) + commands.update(0, 0, W, H))

    assert rig.framebuffer() == picture
    if rig.has(Can.PICTURE):
        assert rig.frame().width == W


@needs(Can.DAMAGE)
@pytest.mark.parametrize("area", UPDATES)
def test_SVG_V_021_updates_mark_nothing_outside(rig: Rig, area: tuple[int, int, int, int]) -> None:
    rig.up()
    rig.damage()
    rig.driver.send(commands.update(*area))

    assert rig.damage().tiles <= {(0, 0)}
