"""SVGA device rules 058 to 061: the pointer's images and its place, by every way to say them."""

from struct import pack

import pytest

from svga.conform.rig import Can, Part, Rig, noise
from svga.conform.target import words
from svga.display import CursorImage
from svga.driver import commands
from svga.driver.driver import WAYS
from svga.wire import INVALID_ID, PAGE, Cap, Cap2, Fifo, FifoCap, Register
from svga.wire_commands import MOB_CURSOR, CbStatus, Cmd, MobFormat

R = Register
needs = pytest.mark.needs
CLEAR, BLACK, WHITE = 0, 0xFF00_0000, 0xFFFF_FFFF
OVERSIZE = 1025


def masked(width: int, height: int, depths: tuple[int, int], data: bytes, hot: tuple[int, int] = (0, 0)) -> bytes:
    return commands.command(Cmd.DEFINE_CURSOR, 0, *hot, width, height, *depths, tail=data)


def place(rig: Rig) -> tuple[int, int, bool]:
    found = rig.pointer()
    return found.x, found.y, found.visible


def an_image(rig: Rig) -> None:
    """Any, so that there is something to see."""
    rig.driver.send(commands.alpha_cursor(2, 2, (0, 0), b"\xff" * 16))


# -- images ------------------------------------------------------------------------------------------------------------


@needs(Cap.CURSOR, Can.POINTER)
def test_SVG_V_058_two_colours(rig: Rig) -> None:
    """AND over XOR: 0 0 black, 0 1 white, 1 0 clear; where both are set there is something to see."""
    rig.up()
    rig.driver.send(masked(5, 1, (1, 1), b"\x30\0\0\0" + b"\x50\0\0\0", (2, 0)))
    image = rig.pointer().image

    assert (image.width, image.height, image.hot) == (5, 1, (2, 0))
    found = words(image)
    assert [found[n] for n in (0, 1, 2, 4)] == [BLACK, WHITE, CLEAR, BLACK]
    assert found[3] >> 24 == 0xFF


@needs(Cap.CURSOR, Can.POINTER)
@pytest.mark.parametrize("width", [8, 31, 32, 33, 64])
def test_SVG_V_058_rows_are_padded_to_words(rig: Rig, width: int) -> None:
    """Everything clear but the last pixel of the second row."""
    rig.up()
    row = 4 * -(-width // 32)
    xors = bytearray(2 * row)
    ands = bytearray(b"\xff" * (2 * row))
    byte, bit = row + (width - 1) // 8, 0x80 >> (width - 1) % 8
    ands[byte] &= ~bit
    xors[byte] |= bit
    rig.driver.send(masked(width, 2, (1, 1), bytes(ands) + bytes(xors)))

    assert words(rig.pointer().image) == [CLEAR] * (2 * width - 1) + [WHITE]


@needs(Cap.CURSOR, Can.POINTER)
@pytest.mark.parametrize(("depth", "xor"), [(32, b"\x33\x22\x11\x99"), (24, b"\x33\x22\x11\0"), (16, b"\0\xf8\0\0")])
def test_SVG_V_058_colours_of_any_depth(rig: Rig, depth: int, xor: bytes) -> None:
    rig.up()
    rig.driver.send(masked(1, 1, (1, depth), bytes(4) + xor))

    assert words(rig.pointer().image) == [BLACK | (0xFF0000 if depth == 16 else 0x112233)]


@needs(Cap.ALPHA_CURSOR, Can.POINTER)
@pytest.mark.parametrize(
    ("width", "height", "hot"), [(2, 2, (1, 1)), (64, 64, (0, 63)), (1, 1, (0, 0)), (100, 3, (50, 2))]
)
def test_SVG_V_058_pixels_with_alpha(rig: Rig, width: int, height: int, hot: tuple[int, int]) -> None:
    """They stay as they are: premultiplied."""
    data = bytearray(noise(width, height))
    data[3::4] = b"\xff" * (width * height)
    data[:16] = pack("<4I", 0x80402010, 0, WHITE, 0x01010101)[: min(16, len(data))]
    rig.up()
    rig.driver.send(commands.alpha_cursor(width, height, hot, bytes(data)))

    assert rig.pointer().image == CursorImage(width, height, hot, bytes(data))


WRONG = {
    "nothing": commands.command(Cmd.DEFINE_ALPHA_CURSOR, 0, 0, 0, 0, 0),
    "too wide": commands.alpha_cursor(OVERSIZE, 1, (0, 0), bytes(4 * OVERSIZE)),
    "too many bytes": commands.alpha_cursor(128, 128, (0, 0), bytes(4 * 128 * 128)),
    "a hot spot outside": commands.alpha_cursor(2, 2, (2, 0xFFFF_FFFF), bytes(16)),
    "masks too tall": masked(1, OVERSIZE, (1, 1), bytes(8 * OVERSIZE)),
    "a depth nobody has": masked(1, 1, (1, 7), bytes(8)),
}


@needs(Cap.ALPHA_CURSOR)
@pytest.mark.parametrize("what", WRONG)
def test_SVG_V_058_images_that_cannot_be_do_no_harm(rig: Rig, what: str) -> None:
    """The command behind one is done."""
    driver = rig.up()
    if driver.buffers:
        driver.submit(WRONG[what])
        driver.start()
    else:
        driver.send(WRONG[what])
    an_image(rig)

    if rig.has(Can.POINTER):
        assert words(rig.pointer().image) == [WHITE] * 4


# -- places ------------------------------------------------------------------------------------------------------------


@needs(Cap.CURSOR_BYPASS)
def test_SVG_V_058_registers_keep_what_is_written(rig: Rig) -> None:
    driver = rig.up()
    for register, value in ((R.CURSOR_X, 10), (R.CURSOR_Y, 20), (R.CURSOR_ON, 1)):
        driver.set(register, value)

    assert [driver.get(n) for n in (R.CURSOR_X, R.CURSOR_Y, R.CURSOR_ON)] == [10, 20, 1]


@needs(Cap.CURSOR_BYPASS, Cap.ALPHA_CURSOR, Can.POINTER)
def test_SVG_V_058_a_place_counts_when_CURSOR_ON_is_written(rig: Rig) -> None:
    """1 shows, 0 hides, 3 shows again, 2 hides again; places may be negative."""
    driver, found = rig.up(), []
    an_image(rig)
    driver.set(R.CURSOR_X, 10)
    driver.set(R.CURSOR_Y, -3)
    early = place(rig)
    for value in (1, 0, 3, 2) if rig.has(Cap.CURSOR_BYPASS_2) else (1, 0):
        driver.set(R.CURSOR_ON, value)
        found.append(place(rig))

    assert early == (0, 0, False)
    assert found == [(10, -3, True), (10, -3, False), (10, -3, True), (10, -3, False)][: len(found)]


@needs(FifoCap.CURSOR_BYPASS_3, Part.EXTENDED)
def test_SVG_V_059_LAST_UPDATED_says_what_was_seen(rig: Rig) -> None:
    driver = rig.up(buffers=False)
    for count in (1, 2, 77):
        driver.set_word(Fifo.CURSOR_COUNT, count)
        assert rig.wait(lambda count=count: driver.word(Fifo.CURSOR_LAST_UPDATED) == count)  # type: ignore[misc]


@needs(FifoCap.CURSOR_BYPASS_3, Part.EXTENDED, Can.POINTER)
def test_SVG_V_059_words_of_the_fifo_count_when_their_count_moves(rig: Rig) -> None:
    driver = rig.up(buffers=False)
    an_image(rig)
    for word, value in ((Fifo.CURSOR_ON, 1), (Fifo.CURSOR_X, 7), (Fifo.CURSOR_Y, -9)):
        driver.set_word(word, value)
    rig.wait(lambda: False, 0.05)
    early = place(rig)
    driver.set_word(Fifo.CURSOR_COUNT, 12)

    assert early == (0, 0, False)
    assert rig.wait(lambda: place(rig) == (7, -9, True))


@needs(Cap2.EXTRA_REGS)
def test_SVG_V_060_registers_keep_what_is_written(rig: Rig) -> None:
    driver = rig.up()
    values = {R.CURSOR4_ON: 1, R.CURSOR4_X: 5, R.CURSOR4_Y: 0xFFFF_FFFA, R.CURSOR4_SCREEN_ID: INVALID_ID}
    for register, value in values.items():
        driver.set(register, value)

    assert {register: driver.get(register) for register in values} == values


@needs(Cap2.EXTRA_REGS, Can.POINTER)
def test_SVG_V_060_only_SUBMIT_counts(rig: Rig) -> None:
    """All of it at once, each time."""
    driver, found = rig.up(), []
    an_image(rig)
    for on, x, y in ((1, 5, 6), (1, -7, 8), (0, 1, 1)):
        for register, value in ((R.CURSOR4_ON, on), (R.CURSOR4_X, x), (R.CURSOR4_Y, y)):
            driver.set(register, value)
            found.append(place(rig))
        driver.set(R.CURSOR4_SUBMIT, 1)

    assert found == [(0, 0, False)] * 3 + [(5, 6, True)] * 3 + [(-7, 8, True)] * 3
    assert place(rig) == (1, 1, False)


# -- images in a MOB ---------------------------------------------------------------------------------------------------


def mob_cursor(rig: Rig, kind: int, fields: tuple[int, ...], data: bytes, *, size: int | None = None) -> memoryview:
    """MOB 5 with an image in it, not yet shown; its memory."""
    memory = rig.driver.alloc(8 * PAGE)
    head = pack(f"<{len(fields)}I", *fields)
    memory.view[: 32 + len(data)] = (
        MOB_CURSOR.encode(type=kind, header=head, sizeInBytes=len(data) if size is None else size) + data
    )
    rig.driver.send(commands.mob(5, MobFormat.RANGE, memory.address // PAGE, 8 * PAGE))
    return memory.view


@needs(Cap2.CURSOR_MOB, Can.POINTER)
def test_SVG_V_061_an_image_counts_when_its_id_is_written(rig: Rig) -> None:
    """What changes in the MOB later needs another write; no MOB, no image."""
    driver = rig.up(WAYS[2])
    view = mob_cursor(rig, 1, (1, 0, 2, 1), b"\1\1\1\1\2\2\2\2")
    driver.set(R.CURSOR_MOBID, 5)
    first = rig.pointer().image
    view[32:36] = b"\3\3\3\3"
    same = rig.pointer().image
    driver.set(R.CURSOR_MOBID, 5)
    other = rig.pointer().image
    driver.set(R.CURSOR_MOBID, INVALID_ID)

    assert first == same == CursorImage(2, 1, (1, 0), b"\1\1\1\1\2\2\2\2")
    assert other.pixels == b"\3\3\3\3\2\2\2\2"
    assert rig.pointer().image == CursorImage()


@needs(Cap2.CURSOR_MOB, Can.POINTER)
def test_SVG_V_061_masks_in_a_MOB(rig: Rig) -> None:
    driver = rig.up(WAYS[2])
    mob_cursor(rig, 0, (0, 0, 1, 1, 1, 32), bytes(4) + b"\3\2\1\0")
    driver.set(R.CURSOR_MOBID, 5)

    assert words(rig.pointer().image) == [BLACK | 0x010203]


HEADERS = {
    "a kind there is not": (2, (0, 0, 1, 1), 4),
    "all there can be": (1, (0, 0, 0xFFFF_FFFF, 0xFFFF_FFFF), 0xFFFF_FFFF),
    "more than the limit": (1, (0, 0, 5000, 1), 20000),
    "more pixels than bytes": (1, (0, 0, 64, 64), 4),
    "masks without their bytes": (0, (0, 0, 200, 200, 1, 32), 64),
}


@needs(Cap2.CURSOR_MOB)
@pytest.mark.parametrize("what", HEADERS)
def test_SVG_V_061_headers_that_cannot_be(rig: Rig, what: str) -> None:
    """No image comes of it, and the display goes on."""
    driver = rig.up(WAYS[2])
    kind, fields, size = HEADERS[what]
    mob_cursor(rig, kind, fields, bytes(16), size=size)
    driver.set(R.CURSOR_MOBID, 5)
    driver.set(R.CURSOR_MOBID, 60)

    assert driver.submit(commands.command(Cmd.NOP)) is CbStatus.COMPLETED
    if rig.has(Can.POINTER):
        assert rig.pointer().image == CursorImage()


@needs(Cap2.CURSOR_MOB)
def test_SVG_V_061_limits_are_said(rig: Rig) -> None:
    rig.driver.negotiate()
    side, size = rig.driver.get(R.CURSOR_MAX_DIMENSION), rig.driver.get(R.CURSOR_MAX_BYTE_SIZE)

    assert side >= 64
    assert size >= 4 * 64 * 64
