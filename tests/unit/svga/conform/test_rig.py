"""The rig: what a display and a target must have for a test, and what is seen of either."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from svga.conform.inside import ALL, ModelBench, ModelTarget, pixels
from svga.conform.rig import H, Rig, W, build, crop, moved, noise, paste, rgb
from svga.conform.target import Can, Display, Frame, Part, Reached, need
from svga.display import Rows
from svga.formats import MASKS
from svga.wire import Cap, Cap2, FifoCap

QEMU, NEW = ALL[-1], ALL[-2]


def test_who_has_what() -> None:
    assert (QEMU.name, NEW.name) == ("svga2-qemu", "svga3-screen-targets")
    wanted = (Part.PORTS, Part.FIFO, Part.EXTENDED, Part.FLAT, Part.INTERRUPT, Part.DEPTHS, Cap.RECT_FILL)

    assert [QEMU.has(each) for each in wanted] == [True, True, False, False, False, False, True]
    assert [NEW.has(each) for each in wanted] == [False, False, False, True, True, True, False]
    assert (NEW.has(Cap2.CURSOR_MOB), NEW.has(FifoCap.CURSOR_BYPASS_3)) == (True, False)


@pytest.mark.parametrize(
    ("display", "wanted", "words"),
    [
        (QEMU, Cap.GMR2, "this display has no GMR2"),
        (QEMU, Part.INTERRUPT, "this display has no interrupts"),
        (NEW, Part.FIFO, "this display has no FIFO"),
        (NEW, Can.POINTER, "this target cannot tell what its pointer looks like"),
    ],
)
def test_what_is_not_there_ends_the_test(display: Display, wanted: Cap | Part | Can, words: str) -> None:
    need(display, frozenset(Can), Can.POINTER, Part.FIFO if display is QEMU else Part.FLAT)
    with pytest.raises(pytest.skip.Exception, match=words):
        need(display, frozenset(), wanted)


@pytest.mark.parametrize(
    "use", [lambda t: t.broken(), lambda t: t.frame(0), lambda t: t.monitors(), lambda t: t.damage()]
)
def test_a_target_reached_from_outside_says_what_it_cannot(use: Callable[[Reached], object]) -> None:
    with pytest.raises(pytest.skip.Exception, match="this target cannot "):
        use(Reached())


def test_nor_can_memory_be_taken_away_there() -> None:
    for use in (lambda: Reached().lend(0, 4096), Reached().pointer):
        with pytest.raises(pytest.skip.Exception, match="this target cannot "):
            use()


class Poor(ModelBench):
    """A bench whose targets can do nothing but be driven."""

    @contextmanager
    def connect(self, display: Display, **options: Any) -> Iterator[ModelTarget]:
        with super().connect(display, **options) as target:
            target.can = frozenset()
            yield target


@pytest.mark.parametrize("use", [Rig.look, Rig.monitors, Rig.damage, Rig.pointer, lambda rig: rig.lend(1 << 30, 4096)])
def test_a_rig_asks_first(use: Callable[[Rig], object]) -> None:
    with build(Poor(), NEW) as rig, pytest.raises(pytest.skip.Exception, match="this target cannot "):
        use(rig)


@pytest.mark.parametrize("display", ALL, ids=[display.name for display in ALL])
def test_a_display_that_works_is_alive(display: Display) -> None:
    with build(ModelBench(), display) as rig:
        rig.best()
        rig.alive()
        assert rig.broken() <= {"SVG-D-060"}


def test_one_that_does_not_is_not() -> None:
    with build(ModelBench(), QEMU) as rig:
        rig.device.stream._handlers[1] = lambda payload: rig.device.vram.view.__setitem__(slice(0, 4), b"oops")
        with pytest.raises(AssertionError):
            rig.alive()


def test_pictures_are_cut_and_laid_over_each_other() -> None:
    picture, part = noise(), noise(4, 2, 5)

    laid = paste(picture, part, 3, 7, 4)
    assert crop(laid, 3, 7, 4, 2) == part
    assert crop(laid, 0, 0, W, 7) == crop(picture, 0, 0, W, 7)
    assert moved(picture, 0, 0, W - 1, H - 1, 1, 1)[-4:] == picture[:4]
    assert rgb(b"\1\2\3\4") == b"\3\2\1"


@pytest.mark.parametrize(
    ("bpp", "data", "color"),
    [
        (32, b"\1\2\3\4", (3, 2, 1)),
        (24, b"\1\2\3", (3, 2, 1)),
        (16, b"\x00\xf8", (255, 0, 0)),
        (15, b"\xe0\x03", (0, 255, 0)),
    ],
)
def test_pixels_of_any_depth(bpp: int, data: bytes, color: tuple[int, ...]) -> None:
    rows = Rows((memoryview(data),), 1, 1, len(data), bpp, MASKS[bpp])

    assert Frame(1, 1, pixels(rows)).at(0, 0) == color


def test_pixels_of_a_palette() -> None:
    rows = Rows((memoryview(b"\1"),), 1, 1, 1, 8, MASKS[8], ((0, 0, 0), (7, 8, 9)))

    assert pixels(rows) == b"\7\10\11"
