"""Published weaknesses of other displays, by their number: what led to them leads to nothing here.

QEMU's vmware_vga and cursors, VMware's and VirtualBox's SVGA. Those of VGA registers and of VNC servers are not about
this device; those of shaders are answered by refusing shaders. Wherever a case ends, the display works after a reset.
"""

from struct import pack

import pytest

from svga.driver import commands
from svga.driver.driver import MINIMUM, MOB, SURFACE
from svga.wire import Fifo, Register
from svga.wire_commands import CbStatus, Cmd, Cmd3d, Dc, Format
from tests.unit.svga.rig import H, Rig, W, noise

R = Register
FULL, EDGE, SIGN = 0xFFFF_FFFF, 0x7FFF_FFFF, 0x8000_0000
NOP = commands.command(Cmd.NOP)


@pytest.fixture
def targets() -> Rig:
    """A screen target that shows a picture, commands by buffers."""
    rig = Rig("screen-targets", "svga3").up()
    rig.driver.show(noise(), 0, 0, W, H)
    rig.damage()
    return rig


def refused(rig: Rig, data: bytes) -> None:
    assert rig.driver.submit(data) is CbStatus.COMMAND_ERROR
    rig.driver.steer(Dc.START_STOP_CONTEXT, 1, 0)


RECTANGLES = [
    (FULL, FULL, 1, 1),
    (W, H, 1, 1),
    (W - 1, H - 1, 2, 2),
    (0, 0, FULL, FULL),
    (EDGE, 0, EDGE, 1),
    (SIGN, SIGN, SIGN, SIGN),
    (0, SIGN, 1, SIGN),
]


@pytest.mark.parametrize("profile", ["legacy", "qemu"])
@pytest.mark.parametrize("rectangle", RECTANGLES)
def test_CVE_2014_3689_rectangles_of_fills_and_copies(rectangle: tuple[int, int, int, int], profile: str) -> None:
    """Not a byte outside of the picture is written."""
    rig = Rig(profile).up()
    behind = rig.device.vram.view[4 * W * H :]
    behind[:] = b"\x55" * len(behind)
    x, y, width, height = rectangle
    rig.driver.send(commands.command(Cmd.RECT_FILL, FULL, x, y, width, height))
    rig.driver.send(commands.rect_copy(x, y, 0, 0, width, height) + commands.rect_copy(0, 0, x, y, width, height))

    assert bytes(behind) == b"\x55" * len(behind)
    rig.assert_alive()


@pytest.mark.parametrize("profile", ["legacy", "qemu"])
def test_CVE_2016_4453_a_FIFO_that_never_ends(profile: str) -> None:
    """Each command adds others: a register write is answered all the same."""
    rig = Rig(profile).up()
    update = rig.device.stream._handlers[Cmd.UPDATE]
    memory = rig.device.fifo_memory
    assert memory is not None
    words, size = memory.view.cast("I"), rig.driver._max - MINIMUM
    memory.view[MINIMUM:] = NOP * (size // 4)

    def again(payload: memoryview) -> None:
        """By another processor: the ring is as full as it can be, whatever was done."""
        words[Fifo.NEXT_CMD] = MINIMUM + (words[Fifo.STOP] - MINIMUM - 4) % size

    rig.device.stream._handlers[Cmd.UPDATE] = rig.device.stream._handlers[Cmd.NOP] = again
    rig.driver.write(commands.update(0, 0, 1, 1))
    before = rig.device.stream.commands
    for _ in range(10):
        rig.device.pci.write(0, 0, 4, R.SYNC)
        rig.device.pci.write(0, 1, 4, 1)

    assert rig.device.stream.commands - before <= 10 * 64
    rig.device.stream._handlers[Cmd.UPDATE] = update
    del rig.device.stream._handlers[Cmd.NOP]
    rig.assert_alive()


@pytest.mark.parametrize("word", [Fifo.MIN, Fifo.MAX, Fifo.NEXT_CMD, Fifo.STOP])
@pytest.mark.parametrize("value", [0, 3, 4, 0x40000, 0x40004, SIGN, FULL - 3, FULL])
def test_CVE_2016_4454_offsets_that_lead_out_of_the_FIFO(word: Fifo, value: int) -> None:
    """Before it runs, and while it does."""
    rig = Rig().up()
    rig.driver.set_word(word, value)
    rig.driver.ring()
    rig.driver.get(R.BUSY)
    rig.driver.set(R.CONFIG_DONE, 0)
    rig.driver.set_word(word, value)
    rig.driver.set(R.CONFIG_DONE, 1)
    rig.driver.ring()
    rig.port.advance(2_000_000_000)

    rig.assert_alive()


@pytest.mark.parametrize("fields", [(256, 256, 1, 32), (1024, 1024, 1, 1), (1024, 1, 32, 32), (1, 1024, 32, 32)])
def test_CVE_2016_7170_masks_larger_than_any_array(fields: tuple[int, int, int, int]) -> None:
    width, height, and_depth, xor_depth = fields
    rig = Rig().up()
    tail = bytes(4 * height * (-(-width * and_depth // 32) + -(-width * xor_depth // 32)))
    data = commands.command(Cmd.DEFINE_CURSOR, 0, 0, 0, *fields, tail=tail)
    rig.driver.write(data[:200_000])
    rig.driver.sync()
    image = rig.device.picture.cursor.image

    assert len(image.pixels) == 4 * image.width * image.height
    assert max(image.width, image.height) <= 1024
    rig.assert_alive()


@pytest.mark.parametrize(
    ("width", "height"), [(1 << 15, 1 << 15), (1 << 16, 1 << 14), (FULL, FULL), (SIGN, 2), (1 << 30, 1)]
)
def test_CVE_2021_4206_4207_2023_1601_cursors_whose_size_wraps(width: int, height: int) -> None:
    """In 32 bits, signed or not, it would be small."""
    rig = Rig("screen-targets", "svga3").up()
    for data in (
        commands.command(Cmd.DEFINE_ALPHA_CURSOR, 0, 0, 0, width, height, tail=bytes(64)),
        commands.command(Cmd.DEFINE_CURSOR, 0, 0, 0, width, height, 32, 32, tail=bytes(64)),
    ):
        refused(rig, data)

    assert rig.device.picture.cursor.image.pixels == b""
    rig.assert_alive()


COPIES = [
    (FULL, FULL, 0, 8, 8, 1, 0, 0, 0),
    (0, 0, 0, 8, 8, 1, FULL, FULL, 0),
    (W - 1, H - 1, 0, FULL, FULL, 1, 0, 0, 0),
    (0, 0, FULL, 8, 8, FULL, 0, 0, FULL),
    (SIGN, 0, 0, SIGN, 1, 1, SIGN, 0, 0),
]


@pytest.mark.parametrize("box", COPIES)
def test_CVE_2009_1244_2017_4902_2018_6974_copies_out_of_their_surfaces(targets: Rig, box: tuple[int, ...]) -> None:
    """Cloudburst and those after it: nothing is addressed but by an image's own bounds."""
    targets.driver.send(commands.surface(9, Format.X8R8G8B8, 16, 16))
    targets.driver.submit(commands.surface_copy(SURFACE, 9, box))
    targets.driver.steer(Dc.START_STOP_CONTEXT, 1, 0)
    targets.driver.submit(commands.surface_copy(9, SURFACE, box))
    targets.driver.steer(Dc.START_STOP_CONTEXT, 1, 0)

    data = targets.device.surfaces.get(SURFACE).data
    assert data is not None
    assert data.size == 4 * W * H
    targets.assert_alive()


SHADERS = {
    "SHADER_DEFINE": 1059,
    "SET_SHADER_CONST": 1062,
    "DEFINE_GB_SHADER": 1112,
    "BIND_GB_SHADER": 1114,
    "DX_DEFINE_SHADER": 1201,
    "DX_BIND_SHADER": 1203,
    "DX_DRAW": 1152,
}


@pytest.mark.parametrize("what", SHADERS)
def test_CVE_2019_5516_2020_3962_2024_22268_shaders_are_refused(targets: Rig, what: str) -> None:
    """Nobody looks into one: there is no 3D, and the device says so."""
    refused(targets, pack("<2I", SHADERS[what], 64) + b"\xff" * 64)

    assert targets.seen("SVG-D-011") != []
    assert targets.frame() == noise()
    targets.assert_alive()


def test_CVE_2020_3969_3970_what_is_freed_while_it_is_used(targets: Rig) -> None:
    """A MOB under a surface, a surface under a monitor, and all of them named again."""
    targets.driver.send(commands.body(Cmd3d.DESTROY_GB_MOB, MOB))
    refused(targets, commands.update_image(SURFACE, 0, 0, W, H))
    targets.driver.send(commands.body(Cmd3d.DESTROY_GB_SURFACE, SURFACE))
    for data in (
        commands.update_image(SURFACE, 0, 0, W, H),
        commands.body(Cmd3d.READBACK_GB_SURFACE, SURFACE),
        commands.bind_target(0, SURFACE),
    ):
        refused(targets, data)
    targets.driver.send(commands.update_target(0, 0, 0, W, H))

    assert targets.device.picture.rows(0) is None
    targets.assert_alive()


@pytest.mark.parametrize("size", [(16384, 16384, 1), (16384, 16384, 2048), (65536, 65536, 1), (46341, 46341, 1)])
@pytest.mark.parametrize("mips", [1, 16])
def test_CVE_2025_30712_sizes_of_mips(targets: Rig, size: tuple[int, int, int], mips: int) -> None:
    """A sum that is small modulo 2^32 is not taken for one."""
    width, height, depth = size
    refused(targets, commands.surface(9, Format.X8R8G8B8, width, height, depth=depth, mips=mips))

    assert len(targets.device.surfaces) == 1
    targets.assert_alive()


def test_CVE_2018_2698_2844_commands_are_fetched_once() -> None:
    """What a driver writes over a command after the device has begun with the ring does not count."""
    rig = Rig().up()
    picture = noise()
    rig.driver.show(picture, 0, 0, W, H)
    at = rig.driver.word(Fifo.NEXT_CMD)
    memory = rig.device.fifo_memory
    assert memory is not None

    def rewrite(payload: memoryview) -> None:
        memory.view[at + 4 : at + 4 + 28] = commands.rect_copy(FULL, FULL, SIGN, SIGN, FULL, FULL)

    rig.device.stream._handlers[Cmd.NOP] = rewrite
    rig.driver.send(NOP + commands.rect_copy(0, 0, 8, 8, 4, 4))

    assert rig.seen("SVG-D-028") == []
    assert rig.frame()[4 * (8 * W + 8) :][:16] == picture[:16]
    rig.assert_alive()


def test_a_command_in_part_is_not_waited_for_without_end() -> None:
    """As VirtualBox 7.1 waits: the register write is answered, the device has other things to do."""
    rig = Rig().up()
    rig.driver.write(commands.update(0, 0, 8, 8)[:12])
    rig.driver.ring()

    assert rig.driver.get(R.BUSY) == 0
    assert not rig.device.kicked
    assert rig.driver.word(Fifo.STOP) == MINIMUM
    rig.assert_alive()


def test_a_second_START_keeps_what_is_queued() -> None:
    """VirtualBox 7.1 makes another context of it, and loses the first."""
    rig = Rig("screen-targets", "svga3").started()
    headers = [rig.driver.alloc(4096) for _ in range(3)]
    for number, memory in enumerate(headers):
        memory.view[64:72] = commands.fence(number + 1)
        memory.view[:64] = pack("<2IQ2IQ2I24x", 0, 0, number, 0, 8, memory.address + 64, 0, 0)
        rig.device.buffers.submit(memory.address)
    rig.driver.steer(Dc.START_STOP_CONTEXT, 1, 0)
    rig.port.run()

    assert [int.from_bytes(memory.view[:4], "little") for memory in headers] == [CbStatus.COMPLETED] * 3
    assert rig.driver.get(R.FENCE) == 3
