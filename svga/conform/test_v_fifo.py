"""SVGA device rules 010 to 018 and 032: the FIFO, and the stream of commands in it."""

from random import Random
from struct import pack

import pytest

from svga.conform.rig import Can, H, Part, Rig, W, moved, noise, rgb
from svga.driver import commands
from svga.driver.driver import MINIMUM
from svga.wire import FIFO_RING_MIN, SYNC_GENERIC, Cap, Fifo, FifoCap, Register
from svga.wire_commands import Cmd

R = Register
needs = pytest.mark.needs
FULL, PATTERN = 0xFFFF_FFFF, 0x5555_5555
NOP = commands.command(Cmd.NOP)
SHIFT = commands.rect_copy(0, 0, 1, 1, W - 1, H - 1)  # done twice it is something else


@needs(Part.EXTENDED)
def test_SVG_V_010_what_the_fifo_can_is_there_before_it_is_set_up(rig: Rig) -> None:
    rig.driver.negotiate()
    before = rig.driver.word(Fifo.CAPABILITIES)
    rig.up(buffers=False)

    assert rig.driver.word(Fifo.CAPABILITIES) == before != 0


@needs(Part.FIFO)
def test_SVG_V_011_register_words_leave_room_for_a_ring(rig: Rig) -> None:
    rig.driver.negotiate()
    words, size = rig.driver.get(R.MEM_REGS), rig.driver.get(R.MEM_SIZE)

    assert words in ((288, 291) if rig.has(Part.EXTENDED) else (0, 4, 288, 291))
    assert max(4 * words, MINIMUM) + FIFO_RING_MIN <= size


@needs(Part.FIFO)
def test_SVG_V_012_013_words_beyond_MIN_are_the_drivers(rig: Rig) -> None:
    """A ring that begins at byte 16: fences, cursors, BUSY have no words; the device writes STOP and nothing else."""
    driver = rig.driver
    driver.negotiate()
    size = driver.get(R.MEM_SIZE)
    driver.set(R.ENABLE, 1)
    rig.describe_ring(16, size, 16, 16)
    for n in range(4, 300):
        driver.set_word(n, PATTERN)
    driver.set(R.CONFIG_DONE, 1)
    data = commands.update(0, 0, 8, 8) * 2
    data += commands.fence(7) if rig.has(FifoCap.FENCE) else b""
    for n in range(0, len(data), 4):
        driver.set_word(4 + n // 4, int.from_bytes(data[n : n + 4], "little"))
    driver.set_word(Fifo.NEXT_CMD, 16 + len(data))
    driver.ring()

    assert rig.wait(lambda: driver.word(Fifo.STOP) == 16 + len(data))
    sent = [int.from_bytes(data[n : n + 4], "little") for n in range(0, len(data), 4)]
    assert rig.fifo(0, 4) == [16, size, 16 + len(data), 16 + len(data)]
    assert rig.fifo(4, 296) == sent + [PATTERN] * (296 - len(sent))


@needs(Part.FIFO)
def test_SVG_V_013_the_ring_is_read_and_not_written(rig: Rig) -> None:
    driver = rig.start(buffers=False)
    driver.set_mode(W, H)
    data = (commands.update(0, 0, 8, 8) + commands.update(3, 3, 4, 4)) * 20
    memory = rig.memory()
    driver.write(data)
    driver.sync()

    there = b"".join(pack("<I", word) for word in rig.fifo(MINIMUM // 4, len(data) // 4))
    assert there == data
    assert rig.memory() == memory
    assert rig.fifo(Fifo.MIN, 2) == [MINIMUM, driver.get(R.MEM_SIZE)]


GEOMETRIES = {  # MIN, MAX (None: all there is), NEXT_CMD, STOP
    "below the registers": (0, None, 0, 0),
    "below byte 16": (12, None, 12, 12),
    "beyond memory": (4096, 0x7FFF_F000, 4096, 4096),
    "inside out": (20480, 4096, 20480, 20480),
    "empty": (4096, 4096, 4096, 4096),
    "too small": (4096, 4096 + FIFO_RING_MIN - 4, 4128, 4096),
    "MIN unaligned": (4098, None, 4132, 4100),
    "NEXT_CMD unaligned": (4096, None, 4126, 4096),
    "STOP unaligned": (4096, None, 4128, 4102),
    "NEXT_CMD below": (4096, None, 4092, 4096),
    "NEXT_CMD above": (4096, None, 0x7FFF_F000, 4096),
    "STOP below": (4096, None, 4096, 0),
    "STOP above": (4096, None, 4096, 0x7FFF_F000),
    "all ones": (FULL, FULL, FULL, FULL),
}


@needs(Part.FIFO)
@pytest.mark.parametrize("what", GEOMETRIES)
def test_SVG_V_014_a_ring_that_cannot_be_is_left_alone(rig: Rig, what: str) -> None:
    """Nothing is fetched, though there are commands, or written; BUSY does not stay; described well, the FIFO works."""
    driver = rig.driver
    driver.negotiate()
    driver.set(R.ENABLE, 1)
    for n in range(64):
        driver.set_word(MINIMUM // 4 + n, Cmd.NOP)
    low, high, next_, stop = GEOMETRIES[what]
    size = driver.get(R.MEM_SIZE)
    rig.describe_ring(low, size if high is None else high, next_, stop)
    before = rig.fifo(0, 300)

    driver.set(R.CONFIG_DONE, 1)
    driver.ring()
    driver.sync()

    assert rig.fifo(0, 300) == before
    rig.alive()


@needs(Part.FIFO, Cap.RECT_COPY)
@pytest.mark.parametrize("next_", [0, MINIMUM - 4, MINIMUM + 2, 0x7FFF_0000, 0xFFFF_FFFC])
def test_SVG_V_014_NEXT_CMD_outside_of_a_running_ring(rig: Rig, next_: int) -> None:
    """Nothing is done as long as it is there; then all is."""
    driver, picture = rig.up(buffers=False), noise()
    driver.draw(picture, 0, 0, W, H)
    driver.sync()
    stop = driver.word(Fifo.STOP)
    driver.set_word(Fifo.NEXT_CMD, next_)
    driver.sync()
    stuck = driver.word(Fifo.STOP)
    driver.send(SHIFT)

    assert stuck == stop
    assert rig.framebuffer() == moved(picture, 0, 0, 1, 1, W - 1, H - 1)


@needs(Part.FIFO, Cap.RECT_COPY)
def test_SVG_V_014_a_ring_described_anew_while_it_runs(rig: Rig) -> None:
    """What the words say now is not trusted; the device goes on where it was, or stops."""
    driver, picture = rig.up(buffers=False), noise()
    driver.draw(picture, 0, 0, W, H)
    driver.set_word(Fifo.MIN, 0)
    driver.set_word(Fifo.MAX, 0x7FFF_F000)
    driver.write(SHIFT)
    driver.sync()

    assert rig.framebuffer() in (picture, moved(picture, 0, 0, 1, 1, W - 1, H - 1))
    rig.alive()


@needs(Part.FIFO)
@pytest.mark.parametrize("count", [1, 100, 500])
def test_SVG_V_015_as_many_commands_as_there_are(rig: Rig, count: int) -> None:
    driver = rig.up(buffers=False)
    driver.write(commands.update(0, 0, 1, 1) * count)
    driver.sync()

    assert driver.word(Fifo.STOP) == driver.word(Fifo.NEXT_CMD) == MINIMUM + 20 * count


@needs(Part.FIFO, Can.INSIDE)
def test_SVG_V_015_a_doorbell_is_answered_soon(rig: Rig) -> None:
    """A full ring is not done at once: a part within the write, the rest in slices."""
    driver = rig.up(buffers=False)
    driver.write(NOP * 5000)
    before = rig.device.stream.commands
    device = rig.device.pci
    device.write(0, 0, 4, R.SYNC)
    device.write(0, 1, 4, SYNC_GENERIC)
    first = rig.device.stream.commands - before
    driver.sync()

    assert 0 < first <= 256 or not rig.has(Can.OPTIONS)
    assert driver.word(Fifo.STOP) == driver.word(Fifo.NEXT_CMD)


@needs(Part.FIFO, Cap.RECT_COPY)
def test_SVG_V_016_when_STOP_is_there_the_work_is_done(rig: Rig) -> None:
    driver, picture = rig.up(buffers=False), noise()
    driver.draw(picture, 0, 0, W, H)
    for n in range(1, 4):
        driver.write(SHIFT)
        driver.ring()
        assert rig.wait(lambda: driver.word(Fifo.STOP) == driver.word(Fifo.NEXT_CMD))
        picture = moved(picture, 0, 0, 1, 1, W - 1, H - 1)
        assert rig.framebuffer() == picture, n


@needs(Part.FIFO, Can.INSIDE)
def test_SVG_V_016_STOP_follows_each_command(rig: Rig) -> None:
    driver, stops = rig.up(buffers=False), []
    words = rig.device.fifo_memory
    assert words is not None
    view = words.view
    rig.device.stream._handlers[Cmd.NOP] = lambda payload: stops.append(int.from_bytes(view[12:16], "little"))
    begin = driver.word(Fifo.STOP)

    driver.write(NOP * 3)
    driver.sync()

    assert stops == [begin, begin + 4, begin + 8]


@needs(Part.EXTENDED)
def test_SVG_V_017_BUSY_is_cleared_when_all_is_done(rig: Rig) -> None:
    driver = rig.up(buffers=False)
    driver.set_word(Fifo.BUSY, 1)
    driver.write(commands.update(0, 0, 1, 1) * 10)
    driver.ring()

    assert rig.wait(lambda: driver.word(Fifo.BUSY) == 0)
    assert driver.word(Fifo.STOP) == driver.word(Fifo.NEXT_CMD)
    assert driver.get(R.BUSY) == 0


@needs(Part.EXTENDED)
def test_SVG_V_017_commands_are_found_while_BUSY_says_not_to_ring(rig: Rig) -> None:
    """A driver that saw 1 in BUSY did not ring: the device clears it only when it has looked again."""
    driver = rig.up(buffers=False)
    for n in range(20):
        if driver.word(Fifo.BUSY) == 0:
            driver.set_word(Fifo.BUSY, 1)
            driver.write(commands.update(0, 0, n + 1, 1))
            driver.ring()
        else:
            driver.write(commands.update(0, 0, n + 1, 1))

    assert rig.wait(lambda: driver.word(Fifo.STOP) == driver.word(Fifo.NEXT_CMD))
    assert rig.wait(lambda: driver.word(Fifo.BUSY) == 0)


@needs(Part.FIFO)
def test_SVG_V_017_commands_nobody_rings_for(rig: Rig) -> None:
    """Some drivers ring only when the ring is full."""
    driver = rig.up(buffers=False)
    driver.write(commands.update(0, 0, 1, 1))

    assert rig.wait(lambda: driver.word(Fifo.STOP) == driver.word(Fifo.NEXT_CMD))


@needs(Part.FIFO, Cap.RECT_COPY)
@pytest.mark.parametrize("words", range(1, 7))
def test_SVG_V_018_a_command_in_part_is_waited_for(rig: Rig, words: int) -> None:
    """What is before it is done, once; STOP is not moved into it; BUSY ends."""
    driver, picture = rig.up(buffers=False), noise()
    driver.draw(picture, 0, 0, W, H)
    stop = driver.word(Fifo.STOP)
    data = commands.rect_copy(0, 0, 2, 2, 6, 6)
    driver.write(SHIFT + data[: 4 * words])
    driver.sync()
    halfway = rig.framebuffer(), driver.word(Fifo.STOP)
    driver.write(data[4 * words :])
    driver.sync()

    once = moved(picture, 0, 0, 1, 1, W - 1, H - 1)
    assert halfway == (once, stop + len(SHIFT))
    assert rig.framebuffer() == moved(once, 0, 0, 2, 2, 6, 6)
    assert driver.word(Fifo.STOP) == driver.word(Fifo.NEXT_CMD)


# -- the stream --------------------------------------------------------------------------------------------------------


def cursor(width: int, height: int) -> bytes:
    """Two masks of one bit a pixel."""
    row = 4 * -(-width // 32)
    return commands.command(Cmd.DEFINE_CURSOR, 0, 0, 0, width, height, 1, 1, tail=bytes(2 * row * height))


STREAMS = {
    "UPDATE": (commands.update(1, 2, 3, 4), None),
    "UPDATE_VERBOSE": (commands.command(Cmd.UPDATE_VERBOSE, 0, 0, 8, 8, 1), None),
    "NOP": (NOP, None),
    "RECT_FILL": (commands.command(Cmd.RECT_FILL, 0, 0, 0, 0, 0), Cap.RECT_FILL),
    "FENCE": (commands.fence(3), FifoCap.FENCE),
    "ESCAPE": (commands.command(Cmd.ESCAPE, FULL, 12, 1, 2, 3), FifoCap.ESCAPE),
    "ESCAPE of 5 bytes": (commands.command(Cmd.ESCAPE, FULL, 5, 1, 2), FifoCap.ESCAPE),
    "ESCAPE of nothing": (commands.command(Cmd.ESCAPE, FULL, 0), FifoCap.ESCAPE),
    "DEFINE_CURSOR": (cursor(8, 4), Cap.CURSOR),
    "DEFINE_CURSOR 33 wide": (cursor(33, 3), Cap.CURSOR),
    "DEFINE_ALPHA_CURSOR": (commands.alpha_cursor(5, 3, (0, 0), bytes(60)), Cap.ALPHA_CURSOR),
    "DEFINE_GMR2": (commands.command(Cmd.DEFINE_GMR2, 5, 1), Cap.GMR2),
    "ANNOTATION_COPY": (commands.command(Cmd.ANNOTATION_COPY, 0, 0, 0), Cap.SCREEN_OBJECT_2),
    "DEFINE_GMRFB": (commands.gmrfb(0xFFFF_FFFE, 0, 64), Cap.SCREEN_OBJECT_2),
}


NEEDING = [pytest.param(what, marks=needs(need) if need else ()) for what, (_, need) in STREAMS.items()]


@needs(Cap.RECT_COPY)
@pytest.mark.parametrize("what", NEEDING)
def test_SVG_V_032_every_command_has_its_length(rig: Rig, what: str) -> None:
    """The command behind it is found; nothing else happens to the picture."""
    data, _ = STREAMS[what]
    driver, picture = rig.up(), noise()
    driver.draw(picture, 0, 0, W, H)
    driver.send(data + SHIFT)

    assert rig.framebuffer() == moved(picture, 0, 0, 1, 1, W - 1, H - 1)


def lot(rig: Rig, random: Random) -> bytes:
    """Valid commands of every kind the display knows, in any order."""
    known = [data for data, need in STREAMS.values() if need is None or rig.has(need)]
    known = [data for data in known if data[:4] not in (commands.words(Cmd.FENCE), commands.words(Cmd.DEFINE_GMR2))]
    return b"".join(random.choice(known) for _ in range(random.randrange(1, 40)))


@needs(Part.FIFO, Cap.RECT_COPY)
@pytest.mark.parametrize("seed", range(3))
def test_SVG_V_032_streams_of_any_commands_wrap_word_by_word(rig: Rig, seed: int) -> None:
    """Several times round the smallest ring; after each lot a copy that only counts when it was found."""
    driver, random, picture = rig.start(buffers=False, end=MINIMUM + FIFO_RING_MIN), Random(seed), noise()
    driver.set_mode(W, H)
    rig.settle()
    driver.draw(picture, 0, 0, W, H)
    sent = 0
    while sent < 3 * FIFO_RING_MIN:
        data = lot(rig, random) + SHIFT
        sent += len(data)
        driver.send(data)
        picture = moved(picture, 0, 0, 1, 1, W - 1, H - 1)

    assert rig.framebuffer() == picture
    assert driver.word(Fifo.STOP) == driver.word(Fifo.NEXT_CMD)


@needs(Can.PICTURE)
def test_SVG_V_032_the_picture_after_a_stream_is_the_one_in_memory(rig: Rig) -> None:
    driver, picture = rig.up(), noise()
    driver.show(picture, 0, 0, W, H)

    assert rig.frame().pixels == rgb(picture)
