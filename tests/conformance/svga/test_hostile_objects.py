"""Hostile drivers of the display: screens, regions, objects and command buffers, by the number of the case.

Wherever a case ends, the display works after a reset.
"""

from struct import pack

import pytest

from pvdev.pci import CONFIG_REGION
from svga.driver import commands
from svga.driver.driver import ENTRIES, GMR, MOB, SURFACE
from svga.gmr import MAX_IDS, MAX_PAGES
from svga.mobs import MOB_SIZE_MAX
from svga.wire import BAR_FB, GMR_FRAMEBUFFER, PAGE, Register
from svga.wire_commands import (
    CONTEXT_0,
    CONTEXT_DEVICE,
    OTABLE_ENTRY,
    CbStatus,
    Cmd,
    Cmd3d,
    Dc,
    Format,
    MobFormat,
    Otable,
    Remap,
)
from tests.unit.svga.rig import H, Rig, W, noise

R = Register
FULL, SIGN, EDGE = 0xFFFF_FFFF, 0x8000_0000, 0x7FFF_FFFF
NOP = commands.command(Cmd.NOP)


@pytest.fixture
def screens() -> Rig:
    """A screen object that shows a picture, commands by the FIFO."""
    rig = Rig("screen-objects").up()
    rig.driver.show(noise(), 0, 0, W, H)
    rig.damage()
    return rig


@pytest.fixture
def targets() -> Rig:
    """A screen target that shows a picture, commands by buffers."""
    rig = Rig("screen-targets", "svga3").up()
    rig.driver.show(noise(), 0, 0, W, H)
    rig.damage()
    return rig


@pytest.fixture
def idle() -> Rig:
    """SVGA3, contexts started, nothing shown."""
    return Rig("screen-targets", "svga3").started()


def send(rig: Rig, data: bytes) -> None:
    """Whatever comes of it."""
    if rig.driver.buffers:
        rig.driver.submit(data)
        rig.driver.steer(Dc.START_STOP_CONTEXT, 1, CONTEXT_0)
    else:
        rig.driver.write(data)
        rig.driver.sync()


def unchanged(rig: Rig) -> None:
    """The picture is there, nothing was marked, and the display works after a reset."""
    assert rig.frame() == noise()
    assert not rig.damage().tiles
    rig.assert_alive()


# -- screens -----------------------------------------------------------------------------------------------------------

SCREENS = {
    "18 an id of all ones": commands.screen(FULL, W, H),
    "18 an id beyond the last": commands.screen(10, W, H),
    "18 a structure of 4 bytes": commands.words(Cmd.DEFINE_SCREEN, 4),
    "18 a structure of 0 bytes": commands.words(Cmd.DEFINE_SCREEN, 0),
    "18 a structure of 24 bytes": commands.screen(1, W, H, size=28).replace(pack("<I", 28), pack("<I", 24), 1)[:28],
    "18 a structure of 2^32 - 1 bytes": commands.words(Cmd.DEFINE_SCREEN, FULL),
    "18 a structure of 260 bytes": commands.words(Cmd.DEFINE_SCREEN, 260, *range(64)),
    "19 the largest at the end": commands.screen(0, 8192, 8192, gmrId=GMR_FRAMEBUFFER, offset=(1 << 20) - PAGE),
    "19 one page too far": commands.screen(0, 512, 512, gmrId=GMR_FRAMEBUFFER, offset=PAGE, pitch=2048),
    "19 a pitch that wraps": commands.screen(0, 64, 8192, gmrId=GMR_FRAMEBUFFER, pitch=0x0008_0000),
    "19 behind everything": commands.screen(0, 8, 8, gmrId=GMR_FRAMEBUFFER, offset=FULL & ~4095),
}


@pytest.mark.parametrize("what", SCREENS)
def test_hostile_18_19_screens_that_cannot_be(screens: Rig, what: str) -> None:
    send(screens, SCREENS[what])

    assert len(screens.seen("SVG-D-041")) + len(screens.seen("SVG-D-049")) >= 1
    unchanged(screens)


@pytest.mark.slow
def test_hostile_20_screens_defined_and_destroyed_without_end(screens: Rig) -> None:
    for lot in range(60):
        screens.driver.send(
            b"".join(
                commands.screen(1 + n % 9, 64 + lot, 64, size=28) + commands.command(Cmd.DESTROY_SCREEN, 1 + n % 9)
                for n in range(100)
            )
        )

    assert len(screens.device.screens) == 1
    screens.assert_alive()


EDGES = [
    (10, 10, 5, 20),
    (10, 10, 20, 5),
    (-SIGN, 0, EDGE, 0),
    (EDGE, EDGE, -SIGN, -SIGN),
    (-SIGN, -SIGN, -SIGN, -SIGN),
]


@pytest.mark.parametrize("edges", EDGES)
def test_hostile_21_rectangles_inside_out(screens: Rig, edges: tuple[int, int, int, int]) -> None:
    assert screens.driver.pixels is not None
    before = bytes(screens.driver.pixels.view)
    send(screens, commands.blit_to_screen(0, 0, *edges) + commands.blit_from_screen(0, 0, *edges))

    assert bytes(screens.driver.pixels.view) == before
    unchanged(screens)


GMRFBS = {
    "22 no pitch": commands.gmrfb(GMR, 0, 0),
    "22 a pitch of 2 GiB": commands.gmrfb(GMR, 0, SIGN),
    "22 a pitch of all ones": commands.gmrfb(GMR, 0, FULL),
    "22 behind the end": commands.gmrfb(GMR, FULL & ~3, 4 * W),
    "22 a format of nobody": commands.gmrfb(GMR, 0, 4 * W, bits=255, depth=255),
}


@pytest.mark.parametrize("what", GMRFBS)
def test_hostile_22_framebuffers_in_regions_that_cannot_be(what: str) -> None:
    rig = Rig("screen-objects").started()
    rig.driver.send(commands.screen(0, W, H, size=28))
    rig.driver.send(commands.command(Cmd.DEFINE_GMR2, GMR, 1))
    rig.damage()
    send(rig, GMRFBS[what])
    send(rig, commands.blit_to_screen(0, 0, 0, 0, 8, 8) + commands.blit_from_screen(0, 0, 0, 0, 8, 8))

    assert not rig.damage().tiles
    rig.assert_alive()


@pytest.mark.parametrize("size", [FULL, FULL - 3, SIGN, (256 << 10) + 4])
def test_hostile_23_escapes_longer_than_anything(screens: Rig, size: int) -> None:
    """Nobody waits for so much, nor skips it: the stream ends there."""
    send(screens, commands.command(Cmd.ESCAPE, 0, size, 0x20001) + NOP * 8)
    screens.port.advance(2_000_000_000)

    assert not screens.device.kicked
    unchanged(screens)


@pytest.mark.parametrize("register", [FULL, SIGN, 22, 1000])
def test_hostile_24_overlays_and_their_registers(screens: Rig, register: int) -> None:
    send(screens, commands.command(Cmd.ESCAPE, 0, 16, 0x20001, 0, register, FULL))
    send(screens, commands.command(Cmd.ESCAPE, 0, 16, 0x20001, register, 0, FULL))
    send(screens, commands.command(Cmd.ESCAPE, 0, 8, 0x20002, register))

    assert screens.device.escapes.overlays.keys() <= {22}
    unchanged(screens)


# -- regions -----------------------------------------------------------------------------------------------------------


def descriptors(rig: Rig, *entries: tuple[int, int]) -> int:
    """A page of them; its number."""
    memory = rig.driver.alloc(PAGE)
    data = b"".join(pack("<II", *entry) for entry in entries)
    memory.view[: len(data)] = data
    return memory.address // PAGE


@pytest.mark.parametrize("hops", [1, 2, 5])
def test_hostile_25_descriptors_in_a_circle(screens: Rig, hops: int) -> None:
    memory = screens.driver.alloc(hops * PAGE)
    first = memory.address // PAGE
    for n in range(hops):
        memory.view[n * PAGE : n * PAGE + 8] = pack("<II", first + (n + 1) % hops, 0)
    screens.driver.set(R.GMR_ID, 7)
    screens.driver.set(R.GMR_DESCRIPTOR, first)

    assert len(screens.seen("SVG-D-038")) == 1
    unchanged(screens)


@pytest.mark.parametrize("where", ["nowhere", "its own BAR", "the end"])
def test_hostile_26_descriptors_of_what_is_no_memory(screens: Rig, where: str) -> None:
    """Also the device's own: a BAR is not reached by its address."""
    screens.port.write(CONFIG_REGION, 0x10 + 4 * BAR_FB, 0xE000_0000)
    ppn = {"nowhere": 1 << 19, "its own BAR": 0xE000_0000 // PAGE, "the end": FULL}[where]
    screens.driver.set(R.GMR_ID, 7)
    screens.driver.set(R.GMR_DESCRIPTOR, descriptors(screens, (ppn, 1), (0, 0)))
    screens.driver.set(R.GMR_DESCRIPTOR, ppn)
    send(screens, commands.command(Cmd.DEFINE_GMR2, 8, 1) + commands.command(Cmd.REMAP_GMR2, 8, 0, 0, 1, ppn))
    send(screens, commands.gmrfb(8, 0, 4 * W) + commands.blit_to_screen(0, 0, 0, 0, 8, 8))

    assert [len(screens.seen(number)) for number in ("SVG-D-038", "SVG-D-040")] == [2, 2]
    assert screens.frame() == noise()
    screens.assert_alive()


def test_hostile_27_more_pages_than_there_are(screens: Rig) -> None:
    for number in range(MAX_IDS):
        send(screens, commands.command(Cmd.DEFINE_GMR2, number, FULL))
        send(screens, commands.command(Cmd.DEFINE_GMR2, number, MAX_PAGES))

    assert sum(gmr.pages for gmr in screens.device.gmrs._gmrs.values()) <= MAX_PAGES
    screens.assert_alive()


REMAPS = {
    "28 before it is defined": commands.command(Cmd.REMAP_GMR2, 60, Remap.SINGLE_PPN, 0, FULL, 1),
    "28 beyond its size": commands.command(Cmd.REMAP_GMR2, GMR, 0, MAX_PAGES, 1, 0x100),
    "28 a window that wraps": commands.command(Cmd.REMAP_GMR2, GMR, 0, FULL, 1, 0x100),
    "28 flags nobody has": commands.command(Cmd.REMAP_GMR2, GMR, 8, 0, 0),
    "28 by itself": commands.command(Cmd.REMAP_GMR2, 60, Remap.VIA_GMR, 0, 1, 60, 0),
    "28 by a pointer behind the end": commands.command(Cmd.REMAP_GMR2, GMR, Remap.VIA_GMR, 0, 1, GMR, FULL),
    "29 junk above 44 bits, and nothing below": commands.command(
        Cmd.REMAP_GMR2, GMR, Remap.PPN64, 0, 1, tail=pack("<Q", (1 << 64) - 1)
    ),
}


@pytest.mark.parametrize("what", REMAPS)
def test_hostile_28_29_pages_that_cannot_be(screens: Rig, what: str) -> None:
    send(screens, REMAPS[what])
    screens.driver.send(commands.blit_to_screen(0, 0, 0, 0, 1, 1))

    assert screens.frame() == noise()
    screens.assert_alive()


def test_hostile_30_a_region_freed_between_two_blits(screens: Rig) -> None:
    """In one lot: the first has its pixels, the second finds no region."""
    screens.driver.draw(noise(seed=2), 0, 0, W, H)
    send(
        screens,
        commands.blit_to_screen(0, 0, 0, 0, W, 4)
        + commands.command(Cmd.DEFINE_GMR2, GMR, 0)
        + commands.blit_to_screen(0, 4, 0, 4, W, H),
    )

    assert screens.frame() == noise(seed=2)[: 16 * W] + noise()[16 * W :]
    assert len(screens.seen("SVG-D-037")) == 1
    screens.assert_alive()


# -- objects -----------------------------------------------------------------------------------------------------------

TABLES = {
    "31 garbage": (0, (1 << 64) - 1, FULL, FULL, 6),
    "31 of all ones": (0, 0x100, FULL, 0, MobFormat.RANGE),
    "31 just too large": (0, 0x100, (16 << 20) + 1, 0, MobFormat.RANGE),
    "31 of a kind nobody has": (FULL, 0, 64, 0, 3),
}


@pytest.mark.parametrize("what", TABLES)
def test_hostile_31_tables_that_cannot_be(idle: Rig, what: str) -> None:
    assert idle.driver.submit(commands.body(Cmd3d.SET_OTABLE_BASE64, *TABLES[what])) is CbStatus.COMMAND_ERROR
    idle.assert_alive()


def test_hostile_32_tables_the_driver_writes_itself(targets: Rig) -> None:
    """The device has entries of its own: what a driver stores in the memory of a table does not count."""
    tables = targets.driver._memory[1 : 1 + len(Otable)]  # behind the page of headers
    for memory in tables:
        memory.view[:] = b"\xff" * len(memory.view)
    picture = noise(seed=4)
    targets.driver.show(picture, 0, 0, W, H)

    assert [len(memory.view) for memory in tables] == [ENTRIES * OTABLE_ENTRY[kind] for kind in Otable]
    assert targets.frame() == picture
    targets.assert_alive()


def test_hostile_33_page_tables_that_lead_to_themselves(targets: Rig) -> None:
    """As many pages as the size says, and not one more."""
    memory = targets.driver.alloc(PAGE)
    own = memory.address // PAGE
    memory.view[:] = pack("<512Q", *[own] * 512)
    before = targets.device.stream.spent
    targets.driver.send(commands.mob(9, MobFormat.PT64_2, own, MOB_SIZE_MAX // 2))

    assert targets.device.mobs.get(9).pages == MOB_SIZE_MAX // 2 // PAGE
    assert targets.device.stream.spent - before < 1 << 20
    targets.assert_alive()


SURFACES = {
    "34 a size that wraps": (0, Format.X8R8G8B8, 1, (65536, 65536, 65536)),
    "34 a size of all ones": (0, Format.X8R8G8B8, 1, (FULL, FULL, FULL)),
    "34 too many mips": (0, Format.X8R8G8B8, 32, (64, 64, 1)),
    "34 mips of all ones": (0, Format.X8R8G8B8, FULL, (64, 64, 1)),
    "34 too deep": (0, Format.X8R8G8B8, 1, (16384, 16384, 2048)),
}


@pytest.mark.parametrize("what", SURFACES)
def test_hostile_34_surfaces_that_cannot_be(targets: Rig, what: str) -> None:
    """CVE-2025-30712: sizes are not taken modulo anything."""
    flags, form, mips, size = SURFACES[what]
    send(targets, commands.body(Cmd3d.DEFINE_GB_SURFACE, 9, flags, form, mips, 0, 0, *size))

    assert len(targets.seen("SVG-D-052")) == 1
    assert len(targets.device.surfaces) == 1
    unchanged(targets)


@pytest.mark.parametrize("layers", [2049, 1 << 16, FULL])
def test_hostile_34_arrays_that_cannot_be(targets: Rig, layers: int) -> None:
    send(targets, commands.body(Cmd3d.DEFINE_GB_SURFACE_V2, 9, 0, 1, 32, 0, 0, 65536, 65536, 65536, layers, 0))

    assert len(targets.device.surfaces) == 1
    unchanged(targets)


@pytest.mark.parametrize("size", [(64, 80), (8192, 8192)])
def test_hostile_35_a_surface_larger_than_its_MOB(targets: Rig, size: tuple[int, int]) -> None:
    """It is not bound, so nothing is read behind the MOB."""
    send(targets, commands.surface(9, Format.X8R8G8B8, *size))
    send(targets, commands.body(Cmd3d.BIND_GB_SURFACE, 9, MOB))
    send(targets, commands.body(Cmd3d.UPDATE_GB_SURFACE, 9))

    assert targets.device.surfaces.get(9).data is None
    unchanged(targets)


def test_hostile_36_a_surface_destroyed_while_a_monitor_shows_it_and_a_viewer_reads(targets: Rig) -> None:
    rows = targets.device.picture.rows(0)
    targets.driver.send(commands.body(Cmd3d.DESTROY_GB_SURFACE, SURFACE) + commands.body(Cmd3d.DESTROY_GB_MOB, MOB))

    assert rows is not None
    assert b"".join(rows.pieces) == noise()
    assert targets.device.picture.rows(0) is None
    targets.driver.fence()


BODIES = {
    "45 no whole words": pack("<2I", Cmd3d.UPDATE_GB_SURFACE, 5) + bytes(8),
    "45 nothing": pack("<2I", Cmd3d.UPDATE_GB_IMAGE, 0),
    "45 a word too few": pack("<2I", Cmd3d.UPDATE_GB_IMAGE, 32) + bytes(32),
    "45 behind the end of the buffer": pack("<2I", Cmd3d.UPDATE_GB_SURFACE, 4096),
    "45 all ones": pack("<2I", Cmd3d.UPDATE_GB_SURFACE, FULL),
    "45 half a box": commands.surface_copy(SURFACE, SURFACE) + b"" + pack("<2I", Cmd3d.SURFACE_COPY, 32) + bytes(32),
}


@pytest.mark.parametrize("what", BODIES)
def test_hostile_45_bodies_that_do_not_end_where_they_say(targets: Rig, what: str) -> None:
    assert targets.driver.submit(BODIES[what]) is CbStatus.COMMAND_ERROR
    unchanged(targets)


BOXES = [(FULL, FULL, FULL, FULL), (0, 0, FULL, FULL), (W, H, 1, 1), (W - 1, 0, 0x8000_0001, 1), (0, FULL, 4, 2)]


@pytest.mark.parametrize("box", BOXES)
def test_hostile_46_boxes_beyond_their_image(targets: Rig, box: tuple[int, int, int, int]) -> None:
    assert targets.driver.pixels is not None
    behind = targets.driver.pixels.view[4 * W * H :]
    before = bytes(behind)
    send(targets, commands.update_image(SURFACE, *box))
    send(targets, commands.surface_copy(SURFACE, SURFACE, (*box[:2], 0, *box[2:], 1, 0, 0, 0)))

    data = targets.device.surfaces.get(SURFACE).data
    assert data is not None
    assert data.size == 4 * W * H
    assert bytes(behind) == before
    targets.assert_alive()


# -- command buffers ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_hostile_37_the_longest_buffer_of_the_shortest_commands(idle: Rig) -> None:
    """Each round has its end; then all of it is done."""
    count = (2 << 20) // 4
    memory = idle.driver.alloc(4 * count)
    memory.view[:] = NOP * count
    before = idle.device.stream.commands
    idle.device.buffers.submit(idle.driver.header(b"", ptr=memory.address, length=4 * count))
    idle.device.service(500, 0)

    assert idle.device.stream.commands - before <= 564
    assert idle.driver.result() is CbStatus.NONE
    while idle.device.service(50_000, 0):
        pass
    assert idle.driver.result() is CbStatus.COMPLETED


@pytest.mark.parametrize("where", [1 << 40, 0xE000_0000, (1 << 64) - 8, 0x10_0000 + (4 << 20) - 4])
def test_hostile_38_commands_in_what_is_no_memory(idle: Rig, where: int) -> None:
    """Also in the device's own BAR, and across the end."""
    idle.port.write(CONFIG_REGION, 0x18, 0xE000_0000)

    assert idle.driver.submit(NOP * 2, ptr=where) is CbStatus.CB_HEADER_ERROR
    idle.driver.steer(Dc.START_STOP_CONTEXT, 1, CONTEXT_0)
    assert idle.driver.submit(NOP) is CbStatus.COMPLETED


@pytest.mark.parametrize("context", [CONTEXT_0, CONTEXT_DEVICE])
@pytest.mark.parametrize("there", [4, 32, 60])
def test_hostile_39_a_header_that_ends_outside_of_memory(idle: Rig, there: int, context: int) -> None:
    """Its status is there to be written: the driver learns what it did."""
    view = memoryview(bytearray(64))
    idle.device.mem.map(1 << 30, view[:there])
    idle.driver.post(1 << 30, context)

    assert int.from_bytes(view[:4], "little") == CbStatus.SUBMISSION_ERROR
    assert bytes(view[there:]) == bytes(64 - there)
    idle.assert_alive()


def test_hostile_40_a_header_written_to_while_its_buffer_waits(idle: Rig) -> None:
    header = idle.driver.header(commands.fence(5))
    idle.device.buffers._write_COMMAND_HIGH(header >> 32)
    idle.device.buffers.submit(header & FULL)
    idle.device.mem.write(header, pack("<2IQ2IQ2I", 0, 0, 0, 0, 4 << 20, 1 << 50, FULL, FULL))
    idle.port.run()

    assert (idle.driver.result(), idle.driver.get(R.FENCE)) == (CbStatus.COMPLETED, 5)


@pytest.mark.parametrize("context", [CONTEXT_0, 1, 2, 0x3E, 0x3F, FULL])
def test_hostile_41_contexts_steered_before_anything_was_started(context: int) -> None:
    rig = Rig("screen-targets", "svga3")
    rig.driver.negotiate()
    rig.driver.set(R.ENABLE, 1)
    rig.driver.set(R.CONFIG_DONE, 1)
    rig.driver._header = rig.driver.alloc(2 * PAGE)
    for command in (Dc.PREEMPT, Dc.START_QUEUE, Dc.ASYNC_STOP_QUEUE, Dc.EMPTY_CONTEXT_QUEUE):
        status = rig.driver.submit(commands.words(command, context, 0)[: 12 if command is Dc.PREEMPT else 8], 0x3F)
        assert status is (CbStatus.COMPLETED if context < 2 else CbStatus.COMMAND_ERROR)

    rig.assert_alive()


def test_hostile_42_one_buffer_too_many(idle: Rig) -> None:
    """Said of the 33rd and of all behind it; the queue is as long as it was."""
    headers = idle.driver.alloc(PAGE)
    found = []
    for n in range(40):
        headers.view[64 * n : 64 * n + 64] = bytes(64)
        idle.device.buffers.submit(headers.address + 64 * n)
        found.append(int.from_bytes(headers.view[64 * n : 64 * n + 4], "little"))

    assert found == [CbStatus.NONE] * 32 + [CbStatus.QUEUE_FULL] * 8
    assert len(idle.device.buffers.contexts[CONTEXT_0].queue) == 32
    idle.assert_alive()


@pytest.mark.slow
def test_hostile_42_ten_thousand_submissions_leave_nothing(idle: Rig) -> None:
    for _ in range(10_000):
        idle.driver.post(idle.driver.header(b""))

    assert idle.driver.result() is CbStatus.COMPLETED
    assert [len(context.queue) for context in idle.device.buffers.contexts.values()] == [0, 0]
