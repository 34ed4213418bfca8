"""A hostile driver of the display: every case ends, is told of or ignored, and changes nothing beside what it names.

Afterwards the device works as ever. The cases follow published weaknesses of other devices (QEMU's CVE-2014-3689,
2016-4453, 2016-4454, 2016-7170 and 2021-4206; VirtualBox's CVE-2025-30712 and double fetches) and what reading those
devices suggests. Numbers that cannot be, in every place, stand here; the cases by their number in `test_hostile.py` and
`test_hostile_objects.py`; `tests/fuzz/test_svga_fuzz.py` looks for those nobody thought of.
"""

from struct import pack

import pytest

from svga.driver import commands
from svga.driver.driver import MOB, SURFACE
from svga.wire import GMR_FRAMEBUFFER, PAGE, Fifo, Register
from svga.wire_commands import Cmd, Cmd3d, MobFormat, Remap
from tests.unit.svga.rig import H, Rig, W, noise

R = Register
FULL, SIGN, EDGE = 0xFFFF_FFFF, 0x8000_0000, 0x7FFF_FFFF


def body(number: Cmd3d, *values: int) -> bytes:
    return commands.body(number, *values)


COMMANDS = {
    "update around the corner": commands.update(FULL, FULL, 2, 2),
    "update of everything": commands.update(0, 0, FULL, FULL),
    "update from the far end": commands.update(EDGE, EDGE, EDGE, EDGE),
    "copy from around the corner": commands.rect_copy(FULL, FULL, 0, 0, 2, 2),
    "copy to the far end": commands.rect_copy(0, 0, EDGE, EDGE, FULL, FULL),
    "copy whose ends wrap": commands.rect_copy(SIGN, SIGN, SIGN, SIGN, SIGN, SIGN),
    "cursor 2^32 - 1 wide": commands.command(Cmd.DEFINE_ALPHA_CURSOR, 0, 0, 0, FULL, 1),
    "cursor whose size is 0 modulo 2^32": commands.command(Cmd.DEFINE_ALPHA_CURSOR, 0, 0, 0, 1 << 16, 1 << 14),
    "cursor of 1024 by 1024": commands.command(Cmd.DEFINE_CURSOR, 0, 0, 0, 1024, 1024, 32, 32),
    "cursor of depth 7": commands.command(Cmd.DEFINE_CURSOR, 0, 0, 0, 1, 1, 7, 7, 0, 0),
    "screen without id": commands.screen(FULL, W, H),
    "screen at the end of memory": commands.screen(0, 512, 512, gmrId=GMR_FRAMEBUFFER, offset=(1 << 20) - PAGE),
    "screen behind the end of memory": commands.screen(0, 8, 8, gmrId=GMR_FRAMEBUFFER, offset=FULL & ~4095),
    "screen whose pitch wraps": commands.screen(0, 64, 8192, gmrId=GMR_FRAMEBUFFER, pitch=0x8000_0000),
    "blit inside out": commands.blit_to_screen(0, 0, EDGE, EDGE, -EDGE, -EDGE),
    "blit of everything": commands.blit_to_screen(-EDGE, -EDGE, -EDGE, -EDGE, EDGE, EDGE),
    "blit back of everything": commands.blit_from_screen(-EDGE, -EDGE, -EDGE, -EDGE, EDGE, EDGE),
    "GMRFB of no pitch": commands.gmrfb(GMR_FRAMEBUFFER, 0, 0) + commands.blit_to_screen(0, 0, 0, 0, 8, 8),
    "GMRFB behind the end": commands.gmrfb(GMR_FRAMEBUFFER, FULL, 4) + commands.blit_from_screen(0, 0, 0, 0, 1, 1),
    "GMRFB of one line": commands.gmrfb(GMR_FRAMEBUFFER, (1 << 20) - 4, 4)
    + commands.blit_from_screen(0, 0, 0, 0, 1, 2),
    "GMR of 2^32 - 1 pages": commands.command(Cmd.DEFINE_GMR2, 0, FULL) + commands.command(Cmd.DEFINE_GMR2, FULL, 1),
    "remap before define": commands.command(Cmd.REMAP_GMR2, 60, Remap.SINGLE_PPN, 0, FULL, 1),
    "remap by a GMR that is not": commands.command(Cmd.REMAP_GMR2, 1, Remap.VIA_GMR, 0, 1, 61, FULL),
    "remap by the framebuffer's end": commands.command(Cmd.REMAP_GMR2, 1, Remap.VIA_GMR, 0, 1, GMR_FRAMEBUFFER, FULL),
    "escape of an overlay that is not": commands.command(Cmd.ESCAPE, 0, 16, 0x20001, FULL, FULL, FULL),
    "escape of a register that is not": commands.command(Cmd.ESCAPE, 0, 16, 0x20001, 0, FULL, FULL),
    "table of garbage": body(Cmd3d.SET_OTABLE_BASE64, 0, (1 << 64) - 1, FULL, FULL, 6),
    "table of a kind that is not": body(Cmd3d.SET_OTABLE_BASE64, FULL, 0, 64, 0, 3),
    "MOB at the end of addresses": body(Cmd3d.DEFINE_GB_MOB64, 9, MobFormat.RANGE, (1 << 52) - 1, FULL),
    "MOB whose table is nowhere": body(Cmd3d.DEFINE_GB_MOB64, 9, MobFormat.PT64_2, 1 << 43, 1 << 28),
    "surface whose size wraps": body(Cmd3d.DEFINE_GB_SURFACE, 9, 0, 1, 1, 0, 0, 1 << 16, 1 << 16, 1 << 16),
    "surface of 2^32 - 1 mips": body(Cmd3d.DEFINE_GB_SURFACE, 9, 0, 1, FULL, 0, 0, 8, 8, 1),
    "surface of 2^32 - 1 layers": body(Cmd3d.DEFINE_GB_SURFACE_V2, 9, 0, 1, 1, 0, 0, 8, 8, 1, FULL, 0),
    "surface of a format that is not": body(Cmd3d.DEFINE_GB_SURFACE, 9, 0, FULL, 1, 0, 0, 8, 8, 1),
    "image behind the end": body(Cmd3d.UPDATE_GB_IMAGE, SURFACE, 0, 0, FULL, FULL, FULL, FULL, FULL, FULL),
    "image of a mip that is not": body(Cmd3d.READBACK_GB_IMAGE, SURFACE, FULL, FULL),
    "target that is not": body(Cmd3d.BIND_GB_SCREENTARGET, FULL, SURFACE, FULL, FULL),
    "update of a target, wrapping": body(Cmd3d.UPDATE_GB_SCREENTARGET, 0, EDGE, EDGE, EDGE, EDGE),
    "fence at the end of a MOB": body(Cmd3d.GB_MOB_FENCE, 1, MOB, FULL & ~3),
    "copy of boxes that wrap": commands.surface_copy(
        SURFACE, SURFACE, (FULL,) * 9, (0, 0, 0, FULL, FULL, FULL, 0, 0, 0)
    ),
    "drawing in three dimensions": pack("<2I", 1063, 0),
}
WAYS = {"fifo": ("screen-objects", "svga2"), "buffers": ("screen-targets", "svga3")}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", COMMANDS)
def test_commands_of_a_hostile_driver(what: str, way: str) -> None:
    """Guest memory and what video memory has behind the picture stay as they were."""
    rig = Rig(*WAYS[way]).up()
    picture = noise()
    rig.driver.show(picture, 0, 0, W, H)
    rest = bytes(rig.device.vram.view[4 * W * H :])
    used = rig.driver._memory[0].address + 2 * PAGE if rig.driver.buffers else 0x10_0000  # behind our own headers
    before = rig.device.mem.read(used, 1 << 20)

    if rig.driver.buffers:
        rig.driver.submit(COMMANDS[what])
    else:
        rig.driver.write(COMMANDS[what])
        rig.driver.ring()
    rig.port.advance(100_000_000)

    assert rig.device.mem.read(used, 1 << 20) == before
    assert bytes(rig.device.vram.view[4 * W * H :]) == rest
    assert not rig.device.kicked
    rig.assert_alive()


REGISTERS: dict[str, list[tuple[int, int]]] = {
    "a mode of everything": [(R.WIDTH, FULL), (R.HEIGHT, FULL), (R.PITCHLOCK, FULL), (R.BITS_PER_PIXEL, FULL)],
    "a pitch that wraps": [(R.PITCHLOCK, 0x0200_0004), (R.HEIGHT, 8192)],
    "monitors of everything": [(n, FULL) for n in range(R.NUM_GUEST_DISPLAYS, R.GMR_ID)],
    "a GMR by a list nowhere": [(R.GMR_ID, FULL), (R.GMR_DESCRIPTOR, FULL)],
    "a cursor nowhere": [(R.CURSOR_X, SIGN), (R.CURSOR_Y, EDGE), (R.CURSOR_ON, FULL)],
    "a cursor of no MOB": [(R.CURSOR_MOBID, 1 << 31), (R.CURSOR4_SCREEN_ID, 5), (R.CURSOR4_SUBMIT, FULL)],
    "all interrupts": [(R.IRQMASK, FULL), (R.IRQ_STATUS, FULL)],
    "buffers nowhere": [(R.COMMAND_HIGH, FULL), (R.COMMAND_LOW, FULL), (R.COMMAND_LOW, FULL & ~0x3F)],
    "on and off": [(register, n) for n in range(20) for register in (R.ENABLE, R.CONFIG_DONE)],
    "every number there is": [(n, FULL) for n in range(2100)],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", REGISTERS)
def test_registers_of_a_hostile_driver(what: str, way: str) -> None:
    rig = Rig(*WAYS[way]).up()
    for register, value in REGISTERS[what]:
        rig.driver.set(register, value)
        rig.driver.get(register)
    rig.port.advance(1_000_000_000)

    rig.assert_alive()


def test_words_that_cannot_be_in_the_fifos_registers() -> None:
    rig = Rig("screen-objects").up()
    for word in range(4, Fifo.NUM_REGS):
        if word != Fifo.CURSOR_LAST_UPDATED:
            rig.driver.set_word(word, FULL)
    rig.driver.send(commands.fence(1))
    rig.port.advance(3_000_000_000)

    cursor = rig.device.picture.cursor
    assert (cursor.x, cursor.y) == (-1, -1)
    assert rig.driver.word(Fifo.FENCE) == 1
    rig.assert_alive()
