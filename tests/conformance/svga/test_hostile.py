"""Hostile drivers of the display: the FIFO, registers, modes and interrupts, by the number of the case.

Wherever a case ends, the display works after a reset.
"""

import pytest

from pvdev.pci import CONFIG_REGION
from svga.display import Area
from svga.driver import commands
from svga.driver.driver import MINIMUM
from svga.function import Video
from svga.traces import LOOKED_MAX
from svga.wire import BAR_FB, PALETTE_BASE, SCRATCH_BASE, Fifo, Irq, Register
from svga.wire_commands import Cmd
from tests.unit.svga.rig import H, Rig, W, noise

R = Register
FULL, SIZE = 0xFFFF_FFFF, 256 << 10
NOP = commands.command(Cmd.NOP)


def describe(rig: Rig, low: int, high: int, next_: int, stop: int) -> None:
    for word, value in ((Fifo.MIN, low), (Fifo.MAX, high), (Fifo.NEXT_CMD, next_), (Fifo.STOP, stop)):
        rig.driver.set_word(word, value)


RINGS = {  # MIN, MAX, NEXT_CMD, STOP
    "01 MIN 0": (0, SIZE, 0, 0),
    "01 MIN 12": (12, SIZE, 12, 12),
    "02 MAX a dword too far": (4096, SIZE + 4, 4096, 4096),
    "02 MAX all ones": (4096, FULL & ~3, 4096, 4096),
    "03 MAX is MIN": (4096, 4096, 4096, 4096),
    "03 MAX below MIN": (8192, 4096, 8192, 8192),
    "03 MAX a dword too near": (4096, 4096 + 10236, 4096, 4096),
    "04 MIN odd": (4097, SIZE, 4097, 4097),
    "04 NEXT_CMD odd": (4096, SIZE, 4098, 4096),
    "04 STOP odd": (4096, SIZE, 4096, 4099),
}


@pytest.mark.parametrize("what", RINGS)
def test_hostile_01_02_03_04_rings_that_cannot_be(what: str) -> None:
    """Nothing is read or written by them, at whatever moment they come."""
    rig = Rig().up()
    memory = rig.device.fifo_memory
    assert memory is not None
    rig.driver.set(R.CONFIG_DONE, 0)
    describe(rig, *RINGS[what])
    before, done = bytes(memory.view), rig.device.stream.commands
    rig.driver.set(R.CONFIG_DONE, 1)
    rig.driver.ring()
    rig.port.advance(2_000_000_000)

    assert (bytes(memory.view), rig.device.stream.commands) == (before, done)
    assert len(rig.seen("SVG-D-010")) == 1
    rig.assert_alive()


@pytest.mark.parametrize("stop", [0, MINIMUM + 4, MINIMUM + 64, SIZE, FULL, FULL & ~3])
def test_hostile_05_STOP_moved_by_the_driver(stop: int) -> None:
    """The device has one of its own: nothing is done twice, nothing is left out."""
    rig = Rig().up()
    seen: list[int] = []
    fence = rig.device.stream._handlers[Cmd.FENCE]

    def watched(data: memoryview) -> None:
        seen.append(data.cast("I")[0])
        fence(data)

    rig.device.stream._handlers[Cmd.FENCE] = watched
    rig.driver.write(commands.fence(1) + commands.fence(2))
    rig.driver.ring()
    rig.driver.set_word(Fifo.STOP, stop)
    rig.driver.write(commands.fence(3))
    rig.driver.ring()

    assert seen == [1, 2, 3]
    rig.assert_alive()


@pytest.mark.parametrize("back", [4, 8, 400])
def test_hostile_06_NEXT_CMD_moved_back_past_STOP(back: int) -> None:
    """So nearly all of the ring is there to be done: no more than it holds, in slices."""
    rig = Rig().up()
    rig.driver.send(NOP * 200)
    done, next_ = rig.device.stream.commands, rig.driver.word(Fifo.NEXT_CMD)
    low = max(next_ - back, MINIMUM)
    rig.device.fifo_memory.view[MINIMUM:SIZE] = NOP * ((SIZE - MINIMUM) // 4)  # type: ignore[union-attr]
    rig.driver.set_word(Fifo.NEXT_CMD, low)
    rig.device.pci.write(0, 0, 4, R.SYNC)
    rig.device.pci.write(0, 1, 4, 1)
    first = rig.device.stream.commands - done
    rig.port.run()

    assert 0 < first <= 64
    assert rig.device.stream.commands - done == (low - next_) % (SIZE - MINIMUM) // 4
    rig.assert_alive()


def test_hostile_07_a_driver_that_never_stops_writing() -> None:
    """NEXT_CMD moves on with every command that is done: each round ends all the same."""
    rig = Rig().up()
    nops = NOP * 8
    rig.device.stream._handlers[Cmd.NOP] = lambda payload: rig.driver.write(nops)
    rig.driver.write(nops)

    for _ in range(5):
        before = rig.device.stream.commands
        rig.device.service(100, rig.port.now_ns)
        assert rig.device.stream.commands - before == 100


def test_hostile_08_a_ring_full_of_one_word_commands() -> None:
    rig = Rig().up()
    count = (SIZE - MINIMUM) // 4 - 1
    rig.driver.write(NOP * count)
    before = rig.device.stream.commands
    rounds = 0
    while rig.device.service(1000, 0):
        rounds += 1
        assert rig.device.stream.commands - before <= 1000 * (rounds + 1)

    assert rig.device.stream.commands - before == count
    assert rounds >= count // 1000
    rig.assert_alive()


def test_hostile_08_large_moves_share_the_device_with_others() -> None:
    """A round ends after so many bytes, whatever the number of commands."""
    rig = Rig(size=(512, 512)).up(size=(512, 512))
    rig.driver.write(commands.rect_copy(0, 0, 1, 1, 511, 511) * 1000)
    before = rig.device.stream.spent
    rig.device.service(1000, 0)

    assert rig.device.stream.spent - before < 80 << 20
    assert rig.device.kicked


@pytest.mark.slow
def test_hostile_09_large_cursors_without_end() -> None:
    """Each is paid for, so that others get their turn; the last one is all that is kept."""
    rig = Rig().up()
    side = 96
    image = commands.alpha_cursor(side, side, (0, 0), bytes(4 * side * side))
    rig.driver.write(image * 6)
    before = rig.device.stream.spent
    rig.driver.sync()
    for _ in range(60):
        rig.driver.send(image)

    assert rig.device.stream.spent - before > 66 * len(image)
    assert len(rig.device.picture.cursor.image.pixels) == 4 * side * side
    rig.assert_alive()


CURSORS = {
    "10 as wide as can be": commands.command(Cmd.DEFINE_ALPHA_CURSOR, 0, 0, 0, FULL, 1),
    "10 masks as wide as can be": commands.command(Cmd.DEFINE_CURSOR, 0, 0, 0, FULL, 1, 1, 1),
    "10 a size of 0 modulo 2^32": commands.command(Cmd.DEFINE_ALPHA_CURSOR, 0, 0, 0, 1 << 16, 1 << 14),
    "10 one pixel too wide": commands.alpha_cursor(1025, 1, (0, 0), bytes(4100)),
    "11 depth 7": commands.command(Cmd.DEFINE_CURSOR, 0, 0, 0, 1, 1, 7, 7, 0, 0),
    "11 depth 0": commands.command(Cmd.DEFINE_CURSOR, 0, 0, 0, 1, 1, 0, 32, 0),
    "11 depth all ones": commands.command(Cmd.DEFINE_CURSOR, 0, 0, 0, 1, 1, FULL, FULL),
}


@pytest.mark.parametrize("what", CURSORS)
def test_hostile_10_11_cursors_that_cannot_be(what: str) -> None:
    rig = Rig().up()
    rig.driver.send(commands.alpha_cursor(1, 1, (0, 0), b"\1\1\1\1"))
    rig.driver.write(CURSORS[what])
    rig.driver.sync()
    rig.port.advance(2_000_000_000)

    assert rig.device.picture.cursor.image.pixels == b"\1\1\1\1"
    rig.assert_alive()


AREAS = [(FULL, 0, 2, 2), (FULL, FULL, 2, 2), (0x7FFF_FFFF, 0, 0x7FFF_FFFF, 4), (1, 1, FULL, FULL), (0x8000_0000,) * 4]


@pytest.mark.parametrize("area", AREAS)
def test_hostile_12_updates_around_the_corner(area: tuple[int, int, int, int]) -> None:
    rig = Rig().up()
    rig.driver.send(commands.update(*area))

    assert rig.damage().tiles <= {(0, 0)}
    rig.assert_alive()


@pytest.mark.parametrize(
    "move",
    [
        (FULL, FULL, 0, 0, 4, 4),
        (0, 0, FULL - 1, FULL - 1, 4, 4),
        (0, 0, 4, 4, FULL, FULL),
        (8, 8, 0, 0, 0x7FFF_FFFF, 0x7FFF_FFFF),
        (0x8000_0000, 0x8000_0000, 0x8000_0000, 0x8000_0000, 0x8000_0001, 0x8000_0001),
    ],
)
def test_hostile_13_copies_with_coordinates_that_look_negative(move: tuple[int, int, int, int, int, int]) -> None:
    """CVE-2014-3689: nothing outside of the picture is written."""
    rig = Rig().up()
    rig.driver.show(noise(), 0, 0, W, H)
    behind = rig.device.vram.view[4 * W * H :]
    behind[:] = b"\x55" * len(behind)
    rig.driver.send(commands.rect_copy(*move))

    assert bytes(behind) == b"\x55" * len(behind)
    rig.assert_alive()


MODES: dict[str, list[tuple[int, int]]] = {
    "14 all ones": [(R.WIDTH, FULL), (R.HEIGHT, FULL), (R.PITCHLOCK, FULL)],
    "14 a pitch of all ones": [(R.PITCHLOCK, FULL), (R.WIDTH, 32)],
    "15 bytes that are few modulo 2^32": [(R.PITCHLOCK, 0x0008_0000), (R.WIDTH, 32), (R.HEIGHT, 8192)],
    "15 the largest there can be": [(R.WIDTH, 8192), (R.HEIGHT, 8192)],
}


@pytest.mark.parametrize("what", MODES)
def test_hostile_14_15_modes_that_cannot_be(what: str) -> None:
    """What is shown lies in video memory, whatever was asked for."""
    rig = Rig().up()
    for register, value in MODES[what]:
        rig.driver.set(register, value)
    rig.port.advance(100_000_000)

    assert rig.driver.get(R.BYTES_PER_LINE) * rig.driver.get(R.HEIGHT) <= rig.device.vram.size
    rows = rig.device.picture.rows(0)
    assert rows is not None
    assert sum(len(piece) for piece in rows.pieces) <= rig.device.vram.size
    rig.assert_alive()


def test_hostile_16_another_mode_while_somebody_reads() -> None:
    """What a viewer has is what it asked for; it sees by the number that there is something else."""
    rig = Rig().up()
    picture = noise()
    rig.driver.show(picture, 0, 0, W, H)
    rows, serial = rig.device.picture.rows(0), rig.device.picture.serial
    rig.driver.set_mode(16, 16)
    rig.driver.set(R.ENABLE, 0)

    assert rows is not None
    assert b"".join(rows.pieces) == picture
    assert rig.device.picture.serial > serial


@pytest.mark.parametrize("bpp", [0, 1, 4, 7, 33, 255, FULL])
def test_hostile_17_depths_that_cannot_be(bpp: int) -> None:
    rig = Rig().up()
    rig.driver.set(R.BITS_PER_PIXEL, bpp)
    rig.driver.send(commands.rect_copy(0, 0, 1, 1, 8, 8) + commands.update(0, 0, 8, 8))

    assert (rig.driver.get(R.BITS_PER_PIXEL), rig.driver.get(R.BYTES_PER_LINE)) == (32, 4 * W)
    rig.assert_alive()


# -- interrupts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [Irq.ANY_FENCE, 0x3F])
def test_hostile_43_a_storm_of_fences(mask: int) -> None:
    rig = Rig().up()
    rig.driver.expect(mask)
    rig.port.interrupts()
    rig.driver.set_word(Fifo.FENCE_GOAL, 500)
    rig.driver.write(b"".join(commands.fence(n) for n in range(1, 3001)))
    rig.driver.sync()

    assert (rig.port.interrupts(), rig.port.interrupts()) == (1, 0)
    rig.assert_alive()


def test_hostile_44_acknowledged_while_fences_complete() -> None:
    """Between any two of them: what came after the acknowledgement is said, what came before is not said again."""
    rig = Rig().up()
    driver, irq = rig.driver, rig.device.pci.irq
    driver.expect(Irq.ANY_FENCE)
    for value in range(1, 100):
        driver.write(commands.fence(2 * value))
        driver.ring()
        driver.acknowledge(Irq.ANY_FENCE)
        assert not irq.line
        driver.write(commands.fence(2 * value + 1))
        driver.ring()
        assert irq.line
        driver.acknowledge(Irq.ANY_FENCE)
        driver.set(R.IRQMASK, 0)
        driver.set(R.IRQMASK, Irq.ANY_FENCE)
        assert not irq.line
    rig.assert_alive()


def test_hostile_47_palette_and_scratch_written_without_end() -> None:
    """No more is done than to keep the numbers; the picture is looked at anew once."""
    rig = Rig()
    rig.driver.start()
    rig.driver.set_mode(W, H, 8)
    serial = rig.device.picture.serial
    for n in range(20_000):
        rig.device.registers.write(PALETTE_BASE + n % 768, n)
        rig.device.registers.write(SCRATCH_BASE + 4 + n % 60, n)
    assert rig.device.picture.serial == serial
    rig.port.advance(100_000_000)

    assert rig.device.picture.serial == serial + 1
    rig.assert_alive()


@pytest.mark.slow
def test_hostile_48_traces_of_as_much_memory_as_there_is() -> None:
    """A round looks at so many bytes and no more; the rest waits."""
    rig = Rig(vram=Video(64 << 20, None)).up(size=(4096, 4096))
    looked: list[int] = []
    differ = rig.device.traces._differ

    def counted(old: bytes | None, new: bytes, top: int, rows: int) -> None:
        looked[-1] += len(new)
        differ(old, new, top, rows)

    rig.device.traces._differ = counted  # type: ignore[method-assign]
    for n in range(1, 5):
        looked.append(0)
        rig.device.traces.look(n * 1_000_000_000)

    assert all(0 < each <= LOOKED_MAX + 4096 * 4 * 64 for each in looked)


# -- ports -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("write", [False, True])
def test_hostile_51_pieces_of_VALUE_that_never_end(pieces: int, write: bool) -> None:
    """Any other access throws them away; nothing of them reaches a register, nothing sticks."""
    rig = Rig()
    rig.driver.negotiate()
    rig.driver.set(R.GUEST_ID, 0x1111_1111)
    rig.port.write(0, 0, R.GUEST_ID)
    for offset, size in ((1, 1), (2, 2))[:pieces]:
        if write:
            rig.port.write(0, offset, 0xFF, size)
        else:
            rig.port.read(0, offset, size)
    rig.port.read(0, 8)
    rig.port.write(0, 4, 0xFF, 1)

    assert rig.driver.get(R.GUEST_ID) == 0x1111_1111
    rig.assert_alive()


def test_hostile_the_framebuffer_is_where_config_space_says() -> None:
    """However the BAR is moved, no command reaches memory by its address."""
    rig = Rig("screen-objects").up()
    for address in (0, 0xFFFF_F000, 0x10_0000):
        rig.port.write(CONFIG_REGION, 0x10 + 4 * BAR_FB, address)
        rig.driver.send(commands.blit_to_screen(0, 0, 0, 0, W, H))

    assert rig.device.picture.monitors[0].area == Area(0, 0, W, H)
