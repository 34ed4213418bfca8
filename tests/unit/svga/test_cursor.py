"""The pointer: images of every kind, places by every way."""

from array import array
from struct import pack

import pytest

from svga.display import CursorImage
from svga.driver import commands
from svga.wire import INVALID_ID, PAGE, Fifo, Register
from svga.wire_commands import MOB_CURSOR, Cmd, MobFormat
from tests.unit.svga.rig import Rig

R = Register
CLEAR, BLACK, WHITE = 0, 0xFF00_0000, 0xFFFF_FFFF


def masked(width: int, height: int, depths: tuple[int, int], data: bytes, hot: tuple[int, int] = (0, 0)) -> bytes:
    return commands.command(Cmd.DEFINE_CURSOR, 0, *hot, width, height, *depths, tail=data)


def image(rig: Rig) -> CursorImage:
    return rig.device.picture.cursor.image


def pixels(rig: Rig) -> list[int]:
    return list(array("I", image(rig).pixels))


# -- images ------------------------------------------------------------------------------------------------------------


def test_SVG_V_058_two_colours(legacy: Rig) -> None:
    """AND over XOR: 0 0 black, 0 1 white, 1 0 clear, 1 1 inverted, for which black is shown."""
    data = b"\x30\0\0\0" + b"\x50\0\0\0"
    legacy.driver.send(masked(5, 1, (1, 1), data, (2, 0)))

    assert (image(legacy).width, image(legacy).height, image(legacy).hot) == (5, 1, (2, 0))
    assert pixels(legacy) == [BLACK, WHITE, CLEAR, BLACK, BLACK]


def test_SVG_V_058_rows_are_padded(legacy: Rig) -> None:
    """33 pixels take two words a row."""
    ands = (b"\xff" * 4 + b"\x00" * 4) * 2
    xors = (b"\x00" * 4 + b"\x80\0\0\0") + bytes(8)
    legacy.driver.send(masked(33, 2, (1, 1), ands + xors))

    assert pixels(legacy) == [CLEAR] * 32 + [WHITE] + [CLEAR] * 32 + [BLACK]


@pytest.mark.parametrize(
    ("depth", "xor"),
    [(32, b"\x33\x22\x11\x99"), (24, b"\x33\x22\x11\0"), (16, b"\0\xf8\0\0"), (15, b"\0\x7c\0\0"), (8, b"\x55\0\0\0")],
)
def test_SVG_V_058_colours_of_any_depth(legacy: Rig, depth: int, xor: bytes) -> None:
    legacy.driver.send(masked(1, 1, (1, depth), bytes(4) + xor))

    want = {32: 0x112233, 24: 0x112233, 16: 0xFF0000, 15: 0xFF0000, 8: 0x555555}[depth]
    assert pixels(legacy) == [BLACK | want]


def test_SVG_V_058_pixels_with_alpha(legacy: Rig) -> None:
    data = pack("<4I", 0x80402010, 0, WHITE, 0x01010101)
    legacy.driver.send(commands.alpha_cursor(2, 2, (1, 1), data))

    assert image(legacy) == CursorImage(2, 2, (1, 1), data)
    assert legacy.damage().cursor
    assert list(legacy.device.rules) == []


def test_SVG_D_031_more_colour_than_alpha(legacy: Rig) -> None:
    legacy.driver.send(commands.alpha_cursor(1, 1, (0, 0), pack("<I", 0x10FF0000)))

    assert legacy.seen("SVG-D-031") == [("cursor pixel", 0x10FF0000)]
    assert len(pixels(legacy)) == 1


def test_SVG_D_030_a_hot_spot_outside(legacy: Rig) -> None:
    legacy.driver.send(commands.alpha_cursor(2, 2, (2, 0xFFFF_FFFF), bytes(16)))

    assert legacy.seen("SVG-D-030") == [("hot spot", 0xFFFF_FFFF)]
    assert image(legacy).hot == (1, 1)


@pytest.mark.parametrize("size", [(0, 0), (5, 0), (0, 5)])
def test_an_image_of_nothing_hides_the_pointer(legacy: Rig, size: tuple[int, int]) -> None:
    legacy.driver.send(commands.alpha_cursor(2, 2, (0, 0), bytes(16)))
    legacy.driver.set(R.CURSOR_ON, 1)
    shown = legacy.device.picture.cursor.visible
    legacy.driver.send(commands.alpha_cursor(*size, (0, 0), b""))

    assert (shown, legacy.device.picture.cursor.visible) == (True, False)
    assert list(legacy.device.rules) == []


WRONG = {
    "too wide": commands.alpha_cursor(1025, 1, (0, 0), bytes(4 * 1025)),
    "too many bytes": commands.alpha_cursor(128, 128, (0, 0), bytes(4 * 128 * 128)),
    "masks too tall": masked(1, 1025, (1, 1), bytes(8 * 1025)),
    "masks of too many bytes": masked(512, 64, (1, 16), bytes(64 * 64 + 2 * 512 * 64)),
    "depth 7": masked(1, 1, (1, 7), bytes(8)),
    "depth 0": masked(1, 1, (0, 32), bytes(4)),
}


@pytest.mark.parametrize("what", WRONG)
def test_SVG_D_029_images_that_cannot_be(legacy: Rig, what: str) -> None:
    """The pointer stays what it was, and the stream goes on."""
    legacy.driver.send(commands.alpha_cursor(1, 1, (0, 0), b"\1\1\1\1"))
    legacy.driver.send(WRONG[what] + commands.fence(1))

    assert image(legacy).pixels == b"\1\1\1\1"
    assert len(legacy.seen("SVG-D-029")) == 1
    assert legacy.device._fences.last == 1


# -- places ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pointed(legacy: Rig) -> Rig:
    """With an image, so that there is something to see."""
    legacy.driver.send(commands.alpha_cursor(2, 2, (0, 0), bytes(16)))
    legacy.damage()
    return legacy


def where(rig: Rig) -> tuple[int, int, bool]:
    cursor = rig.device.picture.cursor
    return cursor.x, cursor.y, cursor.visible


def test_SVG_V_058_registers_count_when_CURSOR_ON_is_written(pointed: Rig) -> None:
    driver, found = pointed.driver, []
    driver.set(R.CURSOR_X, 10)
    driver.set(R.CURSOR_Y, -3)
    found.append(where(pointed))
    for value in (1, 0, 3, 2):
        driver.set(R.CURSOR_ON, value)
        found.append(where(pointed))

    places = [(10, -3, True), (10, -3, False), (10, -3, True), (10, -3, False)]
    assert found == [(0, 0, False), *places]
    assert [driver.get(n) for n in (R.CURSOR_X, R.CURSOR_Y, R.CURSOR_ON)] == [10, 0xFFFF_FFFD, 2]


def test_SVG_V_059_words_of_the_fifo_count_when_their_count_moves(pointed: Rig) -> None:
    driver = pointed.driver
    for word, value in ((Fifo.CURSOR_ON, 1), (Fifo.CURSOR_X, 7), (Fifo.CURSOR_Y, -9)):
        driver.set_word(word, value)
    pointed.port.advance(50_000_000)
    early = where(pointed)
    driver.set_word(Fifo.CURSOR_COUNT, 12)
    pointed.port.advance(50_000_000)

    assert (early, where(pointed)) == ((0, 0, False), (7, -9, True))
    assert driver.word(Fifo.CURSOR_LAST_UPDATED) == 12
    assert pointed.damage().cursor


def test_SVG_V_060_only_SUBMIT_counts(targets: Rig) -> None:
    driver = targets.driver
    driver.send(commands.alpha_cursor(2, 2, (0, 0), bytes(16)))
    for register, value in ((R.CURSOR4_ON, 1), (R.CURSOR4_X, 5), (R.CURSOR4_Y, 6), (R.CURSOR4_SCREEN_ID, INVALID_ID)):
        driver.set(register, value)
    early = where(targets)
    driver.set(R.CURSOR4_SUBMIT, 1)

    assert (early, where(targets)) == ((0, 0, False), (5, 6, True))


def test_places_on_a_screen(screens: Rig) -> None:
    driver = screens.driver
    driver.send(
        commands.alpha_cursor(2, 2, (0, 0), bytes(16)) + commands.screen(1, 32, 32, rootX=-32, rootY=4, size=28)
    )
    for word, value in ((Fifo.CURSOR_ON, 1), (Fifo.CURSOR_X, 3), (Fifo.CURSOR_Y, 3), (Fifo.CURSOR_SCREEN_ID, 1)):
        driver.set_word(word, value)
    driver.set_word(Fifo.CURSOR_COUNT, 1)
    driver.ring()

    assert where(screens) == (3, 7, True)


def test_the_oldest_commands(pointed: Rig) -> None:
    pointed.driver.send(commands.command(Cmd.MOVE_CURSOR, 4, -5) + commands.command(Cmd.DISPLAY_CURSOR, 0, 1))

    assert where(pointed) == (4, -5, True)
    assert [value for _, value in pointed.seen("SVG-D-012")] == [Cmd.DISPLAY_CURSOR]


# -- images in a MOB ---------------------------------------------------------------------------------------------------


def mob_cursor(rig: Rig, kind: int, fields: tuple[int, ...], data: bytes, *, size: int | None = None) -> memoryview:
    """MOB 5 with an image in it, not yet shown; its memory."""
    memory = rig.driver.alloc(8 * PAGE)
    header = MOB_CURSOR.encode(
        type=kind, header=pack(f"<{len(fields)}I", *fields), sizeInBytes=len(data) if size is None else size
    )
    memory.view[: 32 + len(data)] = header + data
    rig.driver.send(commands.mob(5, MobFormat.RANGE, memory.address // PAGE, 8 * PAGE))
    return memory.view


def test_SVG_V_061_an_image_counts_when_its_id_is_written(targets: Rig) -> None:
    view = mob_cursor(targets, 1, (1, 0, 2, 1), b"\1\1\1\1\2\2\2\2")
    targets.driver.set(R.CURSOR_MOBID, 5)
    first = image(targets)
    view[32:36] = b"\3\3\3\3"
    same = image(targets)
    targets.driver.set(R.CURSOR_MOBID, 5)

    assert first == same == CursorImage(2, 1, (1, 0), b"\1\1\1\1\2\2\2\2")
    assert image(targets).pixels == b"\3\3\3\3\2\2\2\2"
    targets.driver.set(R.CURSOR_MOBID, INVALID_ID)
    assert image(targets) == CursorImage()


def test_SVG_V_061_masks_in_a_MOB(targets: Rig) -> None:
    mob_cursor(targets, 0, (0, 0, 1, 1, 1, 32), bytes(4) + b"\3\2\1\0")
    targets.driver.set(R.CURSOR_MOBID, 5)

    assert pixels(targets) == [BLACK | 0x010203]


@pytest.mark.parametrize(
    ("kind", "fields", "size", "number"),
    [
        (2, (0, 0, 1, 1), 4, "SVG-D-056"),
        (1, (0, 0, 1, 1), 0xFFFF_FFFF, "SVG-D-056"),
        (1, (0, 0, 257, 1), 2048, "SVG-D-029"),
        (1, (0, 0, 2, 1), 4, "SVG-D-029"),
        (1, (0, 0, 0xFFFF_FFFF, 0xFFFF_FFFF), 4, "SVG-D-029"),
        (0, (0, 0, 256, 256, 1, 32), 64, "SVG-D-029"),
    ],
)
def test_SVG_D_056_headers_that_cannot_be(
    targets: Rig, kind: int, fields: tuple[int, ...], size: int, number: str
) -> None:
    mob_cursor(targets, kind, fields, bytes(16), size=size)
    targets.driver.set(R.CURSOR_MOBID, 5)

    assert len(targets.seen(number)) == 1
    assert image(targets) == CursorImage()


def test_SVG_D_050_a_MOB_there_is_not(targets: Rig) -> None:
    targets.driver.set(R.CURSOR_MOBID, 77)

    assert targets.seen("SVG-D-050") == [("CURSOR_MOBID: no such MOB", 77)]


def test_a_MOB_too_small_for_a_header(targets: Rig) -> None:
    memory = targets.driver.alloc(PAGE)
    targets.driver.send(commands.mob(6, MobFormat.RANGE, memory.address // PAGE, 16))
    targets.driver.set(R.CURSOR_MOBID, 6)

    assert image(targets) == CursorImage()
    assert len(list(targets.device.rules)) == 1
