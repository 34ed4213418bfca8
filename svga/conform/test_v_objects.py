"""SVGA device rules 052 to 056: object tables, MOBs, guest-backed surfaces, screen targets."""

from struct import pack

import pytest

from svga.conform.rig import Can, H, Rig, W, crop, noise, paste, rgb
from svga.driver import commands
from svga.driver.driver import ENTRIES, MOB, MONITOR, SURFACE, WAYS
from svga.wire import INVALID_ID, PAGE, Cap
from svga.wire_commands import OTABLE_ENTRY, CbStatus, Cmd3d, Dc, Format, MobFormat, Otable

pytestmark = pytest.mark.needs(Cap.GBOBJECTS, Cap.COMMAND_BUFFERS)
needs = pytest.mark.needs
OTHER, THERE = 9, 40  # a surface, and a MOB, of the tests' own
CLEAR = bytes(4 * W * H)


@pytest.fixture
def shown(rig: Rig) -> Rig:
    """A screen target that shows a surface."""
    rig.up(WAYS[2])
    return rig


def memory(rig: Rig) -> memoryview:
    assert rig.driver.pixels is not None
    return rig.driver.pixels.view


def held(rig: Rig, sid: int = SURFACE, length: int = 4 * W * H) -> bytes:
    """What the device has of a surface, written back to the driver's MOB."""
    memory(rig)[:] = bytes(len(memory(rig)))
    rig.driver.send(commands.body(Cmd3d.BIND_GB_SURFACE, sid, MOB) + commands.body(Cmd3d.READBACK_GB_SURFACE, sid))
    return bytes(memory(rig)[:length])


def refused(rig: Rig, data: bytes) -> None:
    """It is an error; the device goes on."""
    assert rig.driver.submit(data) is CbStatus.COMMAND_ERROR
    rig.driver.steer(Dc.START_STOP_CONTEXT, 1, 0)
    rig.driver.fence()


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tables(rig: Rig) -> Rig:
    """Object tables of so many entries, nothing in them."""
    rig.start(buffers=True)
    rig.driver.set_tables()
    return rig


def mob(rig: Rig, number: int) -> bytes:
    """A MOB of a page, the driver's."""
    return commands.mob(number, MobFormat.RANGE, rig.driver.alloc(PAGE).address // PAGE, PAGE)


def test_SVG_V_052_ids_up_to_the_tables_end(tables: Rig) -> None:
    tables.driver.send(mob(tables, 0) + mob(tables, ENTRIES - 1))


@pytest.mark.parametrize("number", [ENTRIES, ENTRIES + 1, 0x8000_0000, 0xFFFF_FFFF])
def test_SVG_V_052_ids_beyond_the_table(tables: Rig, number: int) -> None:
    refused(tables, mob(tables, number))
    refused(tables, commands.surface(number, Format.X8R8G8B8, 8, 8))


def test_SVG_V_052_without_a_table_there_is_no_object(rig: Rig) -> None:
    rig.start(buffers=True)

    refused(rig, mob(rig, 0))


def test_SVG_V_052_a_table_that_is_taken_away(tables: Rig) -> None:
    tables.driver.send(commands.otable(Otable.MOB, 0, 0, MobFormat.INVALID))

    refused(tables, mob(tables, 1))
    entry = OTABLE_ENTRY[Otable.MOB]
    base = tables.driver.alloc(PAGE).address // PAGE
    tables.driver.send(commands.otable(Otable.MOB, base, 4 * entry) + mob(tables, 3))
    refused(tables, mob(tables, 4))


def test_SVG_V_052_a_table_that_grows_keeps_what_is_in_it(rig: Rig) -> None:
    rig.up(WAYS[2])
    entry, picture = OTABLE_ENTRY[Otable.MOB], noise()
    base = rig.driver.alloc(PAGE).address // PAGE
    rig.driver.send(
        commands.body(Cmd3d.GROW_OTABLE, Otable.MOB, base, 100 * entry, ENTRIES * entry, MobFormat.RANGE) + mob(rig, 99)
    )
    rig.driver.show(picture, 0, 0, W, H)

    assert held(rig) == picture


WRONG_TABLES = {
    "a kind there is not": (77, 0x100, 64, 0, MobFormat.RANGE),
    "all there can be": (0, 0x100, 0xFFFF_FFFF, 0xFFFF_FFFF, MobFormat.PT64_2),
    "more valid than there is": (0, 0x100, 64, 65, MobFormat.RANGE),
    "pages nowhere": (0, 1 << 43, 4096, 0, MobFormat.PT64_1),
}


@pytest.mark.parametrize("what", WRONG_TABLES)
def test_SVG_V_052_tables_that_cannot_be(rig: Rig, what: str) -> None:
    rig.start(buffers=True)

    refused(rig, commands.body(Cmd3d.SET_OTABLE_BASE64, *WRONG_TABLES[what]))


def test_SVG_V_052_a_table_is_filled_in_when_it_is_asked_for(rig: Rig) -> None:
    rig.start(buffers=True)
    entry = OTABLE_ENTRY[Otable.MOB]
    table, data = rig.driver.alloc(PAGE), rig.driver.alloc(PAGE)
    rig.driver.send(
        commands.otable(Otable.MOB, table.address // PAGE, 8 * entry)
        + commands.mob(3, MobFormat.RANGE, data.address // PAGE, PAGE)
        + commands.body(Cmd3d.READBACK_OTABLE, Otable.MOB)
    )

    assert bytes(table.view[3 * entry : 4 * entry]) == pack("<IIQ", MobFormat.RANGE, PAGE, data.address // PAGE)


# -- MOBs --------------------------------------------------------------------------------------------------------------

FORMS = {  # bytes of a page number, levels of tables, pages
    MobFormat.PT_0: (4, 0, 1),
    MobFormat.PT_1: (4, 1, 20),
    MobFormat.PT_2: (4, 2, 20),
    MobFormat.PT64_0: (8, 0, 1),
    MobFormat.PT64_1: (8, 1, 20),
    MobFormat.PT64_2: (8, 2, 600),
}


def page_table(rig: Rig, ppns: list[int], width: int, levels: int) -> int:
    """Page tables over `ppns`; the page number of the uppermost."""
    each = PAGE // width
    while levels:
        table = rig.driver.alloc(-(-len(ppns) // each) * PAGE)
        table.view[: width * len(ppns)] = pack(f"<{len(ppns)}{'Q' if width == 8 else 'I'}", *ppns)
        ppns = [table.address // PAGE + n for n in range(-(-len(ppns) // each))]
        levels -= 1
    return ppns[0]


@pytest.mark.parametrize("form", FORMS)
def test_SVG_V_053_page_tables_lead_to_their_pages(shown: Rig, form: MobFormat) -> None:
    """Pages in reverse order, the last of them not whole: a buffer filled from them, and read back into a range."""
    width, levels, pages = FORMS[form]
    source, size = shown.driver.alloc(pages * PAGE), pages * PAGE - 100
    target = shown.driver.alloc(pages * PAGE)
    first = source.address // PAGE
    for n in range(pages):
        source.view[n * PAGE : n * PAGE + 8] = pack("<Q", n + 1)
    ppns = list(range(first, first + pages))[::-1]
    shown.driver.send(
        commands.mob(THERE, form, page_table(shown, ppns, width, levels), size)
        + commands.surface(OTHER, Format.BUFFER, size, 1)
        + commands.body(Cmd3d.BIND_GB_SURFACE, OTHER, THERE)
        + commands.body(Cmd3d.UPDATE_GB_SURFACE, OTHER)
        + commands.mob(THERE + 1, MobFormat.RANGE, target.address // PAGE, size)
        + commands.body(Cmd3d.BIND_GB_SURFACE, OTHER, THERE + 1)
        + commands.body(Cmd3d.READBACK_GB_SURFACE, OTHER)
    )

    want = b"".join(bytes(source.view[(ppn - first) * PAGE :][:PAGE]) for ppn in ppns)[:size]
    assert bytes(target.view[:size]) == want
    assert bytes(target.view[size:]) == bytes(100)


WRONG_MOBS = {
    "a format there is not": (1, 9, 0x100, PAGE),
    "no table for more than a page": (1, MobFormat.PT64_0, 0x100, PAGE + 1),
    "more than a table holds": (1, MobFormat.PT64_1, 0x100, 513 * PAGE),
    "all there can be": (1, MobFormat.PT_2, 0x100, 0xFFFF_FFFF),
    "a table nowhere": (1, MobFormat.PT64_1, 1 << 40, PAGE),
}


@pytest.mark.parametrize("what", WRONG_MOBS)
def test_SVG_V_053_MOBs_that_cannot_be(tables: Rig, what: str) -> None:
    refused(tables, commands.mob(*WRONG_MOBS[what]))


def test_SVG_V_053_a_page_table_that_leads_to_itself(tables: Rig) -> None:
    table = tables.driver.alloc(PAGE)
    own = table.address // PAGE
    table.view[:] = pack("<512Q", *[own] * 512)
    tables.driver.submit(commands.mob(1, MobFormat.PT64_2, own, 600 * PAGE))
    tables.driver.start()

    tables.driver.send(commands.command(45))
    tables.alive()


# -- images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("box", [(0, 0, W, H), (5, 3, 10, 9), (W - 1, H - 1, 1, 1)])
def test_SVG_V_055_an_image_is_updated_where_the_driver_says(shown: Rig, box: tuple[int, int, int, int]) -> None:
    picture = noise()
    shown.driver.draw(picture, 0, 0, W, H)
    shown.driver.send(commands.update_image(SURFACE, 0, 0, W, H))
    memory(shown)[: 4 * W * H] = noise(seed=2)
    shown.driver.send(commands.update_image(SURFACE, *box))

    x, y, width, height = box
    assert held(shown) == paste(picture, crop(noise(seed=2), *box), x, y, width)
    assert height


OUTSIDE = [(W - 4, H - 4, 8, 8), (0, 0, 0xFFFF_FFFF, 0xFFFF_FFFF), (W, 0, 1, 1), (0xFFFF_FFFF, 0, 1, 1), (3, 3, 0, 5)]


@pytest.mark.parametrize("box", OUTSIDE)
def test_SVG_V_055_boxes_outside_are_clipped_or_refused(shown: Rig, box: tuple[int, int, int, int]) -> None:
    """What is inside may have come; nothing else has."""
    first, second = noise(), noise(seed=2)
    shown.driver.draw(first, 0, 0, W, H)
    shown.driver.send(commands.update_image(SURFACE, 0, 0, W, H))
    shown.driver.draw(second, 0, 0, W, H)
    shown.driver.submit(commands.update_image(SURFACE, *box))
    shown.driver.steer(Dc.START_STOP_CONTEXT, 1, 0)

    x, y, width, height = box
    part = crop(second, x, y, min(width, W - x), min(height, H - y)) if x < W and y < H and width else b""
    assert held(shown) in (first, paste(first, part, x, y, min(width, W - x)) if part else first)


@pytest.mark.parametrize("image", [{"face": 1}, {"mip": 1}, {"mip": 0xFFFF_FFFF}, {"face": 0xFFFF_FFFF}])
def test_SVG_V_055_images_there_are_not(shown: Rig, image: dict[str, int]) -> None:
    refused(shown, commands.update_image(SURFACE, 0, 0, 1, 1, **image))


def test_SVG_V_055_mips_and_slices_lie_one_behind_the_other(shown: Rig) -> None:
    """8 by 6 by 2 with three mips: filled as a whole, the second mip read back alone."""
    size = 4 * (8 * 6 * 2 + 4 * 3 * 1 + 2 * 1 * 1)
    data = noise(size // 4, 1, 5)
    memory(shown)[:size] = data
    shown.driver.send(
        commands.surface(OTHER, Format.X8R8G8B8, 8, 6, mips=3, depth=2)
        + commands.body(Cmd3d.BIND_GB_SURFACE, OTHER, MOB)
        + commands.body(Cmd3d.UPDATE_GB_SURFACE, OTHER)
    )
    memory(shown)[:size] = bytes(size)
    shown.driver.send(commands.body(Cmd3d.READBACK_GB_IMAGE, OTHER, 0, 1))
    start, end = 4 * 8 * 6 * 2, 4 * (8 * 6 * 2 + 4 * 3)

    assert bytes(memory(shown)[:size]) == bytes(start) + data[start:end] + bytes(size - end)
    assert held(shown, OTHER, size) == data


def test_SVG_V_055_a_surface_larger_than_its_MOB(shown: Rig) -> None:
    shown.driver.send(commands.surface(OTHER, Format.X8R8G8B8, 64, 64))

    refused(shown, commands.body(Cmd3d.BIND_GB_SURFACE, OTHER, MOB))


SIZES = {
    "no width": (0, 4, 1, 1),
    "all there can be": (0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 1),
    "ends that wrap": (65536, 65536, 65536, 1),
    "too many mips": (16, 16, 1, 33),
}


@pytest.mark.parametrize("what", SIZES)
def test_SVG_V_055_surfaces_that_cannot_be(shown: Rig, what: str) -> None:
    width, height, depth, mips = SIZES[what]

    refused(shown, commands.surface(OTHER, Format.X8R8G8B8, width, height, depth=depth, mips=mips))


def test_SVG_V_055_an_image_never_filled_leaves_its_MOB_alone(shown: Rig) -> None:
    memory(shown)[:16] = b"here before that"
    shown.driver.send(
        commands.surface(OTHER, Format.X8R8G8B8, 4, 4)
        + commands.body(Cmd3d.BIND_GB_SURFACE, OTHER, MOB)
        + commands.body(Cmd3d.INVALIDATE_GB_SURFACE, OTHER)
    )

    assert bytes(memory(shown)[:16]) == b"here before that"


def test_SVG_V_056_copies_of_boxes(shown: Rig) -> None:
    """Several in one command, each from and to a place of its own."""
    picture = noise()
    shown.driver.show(picture, 0, 0, W, H)
    shown.driver.send(
        commands.surface(OTHER, Format.X8R8G8B8, W, H)
        + commands.surface_copy(SURFACE, OTHER, (0, 0, 0, 8, 8, 1, 10, 5, 0), (16, 9, 0, 6, 7, 1, 1, 3, 0))
    )

    want = paste(paste(CLEAR, crop(picture, 10, 5, 8, 8), 0, 0, 8), crop(picture, 1, 3, 6, 7), 16, 9, 6)
    assert held(shown, OTHER) == want


@pytest.mark.parametrize("box", [(20, 0, 0, 8, 8, 1, 0, 0, 0), (0, 0, 0, 8, 8, 1, W - 4, 0, 0), (0xFFFF_FFFF,) * 9])
def test_SVG_V_056_boxes_outside_leave_the_rest_alone(shown: Rig, box: tuple[int, ...]) -> None:
    picture = noise()
    shown.driver.show(picture, 0, 0, W, H)
    shown.driver.send(commands.surface(OTHER, Format.X8R8G8B8, W, H))
    shown.driver.submit(commands.surface_copy(SURFACE, OTHER, box))
    shown.driver.steer(Dc.START_STOP_CONTEXT, 1, 0)
    x, _, _, width, height, *_ = box
    inside = min(4, W - x, width) if x < W else 0
    part = crop(picture, box[6], 0, inside, height) if inside else b""

    assert held(shown, OTHER) in (CLEAR, paste(CLEAR, part, x, 0, inside) if part else CLEAR)
    assert held(shown) == picture


# -- screen targets ----------------------------------------------------------------------------------------------------


@needs(Can.PICTURE)
def test_SVG_V_054_the_bound_surface_is_shown(shown: Rig) -> None:
    picture = noise()
    shown.driver.show(picture, 0, 0, W, H)
    first = shown.look(MONITOR)
    shown.driver.send(commands.bind_target(MONITOR))
    unbound = shown.look(MONITOR)
    shown.driver.send(commands.bind_target(MONITOR, SURFACE))

    assert first is not None
    assert first.pixels == rgb(picture)
    assert unbound is None
    assert shown.frame(MONITOR).pixels == rgb(picture)


@needs(Can.PICTURE)
def test_SVG_V_054_a_flip_shows_the_other_surface(shown: Rig) -> None:
    picture, part = noise(), noise(4, 4, 2)
    shown.driver.show(picture, 0, 0, W, H)
    shown.driver.send(
        commands.surface(OTHER, Format.X8R8G8B8, W, H)
        + commands.surface_copy(SURFACE, OTHER, (0, 0, 0, W, H, 1, 0, 0, 0))
    )
    shown.driver.show(part, 2, 2, 4, 4)
    shown.driver.send(commands.bind_target(MONITOR, OTHER))
    other = shown.frame(MONITOR).pixels
    shown.driver.send(commands.bind_target(MONITOR, SURFACE))

    assert other == rgb(picture)
    assert shown.frame(MONITOR).pixels == rgb(paste(picture, part, 2, 2, 4))


@needs(Can.MONITORS)
def test_SVG_V_054_several_targets_make_a_desktop(shown: Rig) -> None:
    shown.driver.send(commands.target(3, -32, 8, 32, 32) + commands.target(1, W, 0, 16, 16))

    assert shown.monitors() == [(0, 32, 0, W, H), (1, 32 + W, 0, 16, 16), (3, 0, 8, 32, 32)]
    shown.driver.send(commands.body(Cmd3d.DESTROY_GB_SCREENTARGET, 3))
    assert shown.monitors() == [(0, 0, 0, W, H), (1, W, 0, 16, 16)]


@needs(Can.PICTURE)
@pytest.mark.parametrize(
    ("form", "pixel", "color"),
    [(Format.R5G6B5, b"\x00\xf8", (255, 0, 0)), (Format.X1R5G5B5, b"\xe0\x03", (0, 255, 0))],
)
def test_SVG_V_054_formats_a_screen_can_show(
    shown: Rig, form: Format, pixel: bytes, color: tuple[int, int, int]
) -> None:
    memory(shown)[: 2 * W * H] = pixel * (W * H)
    shown.driver.send(
        commands.surface(OTHER, form, W, H)
        + commands.body(Cmd3d.BIND_GB_SURFACE, OTHER, MOB)
        + commands.body(Cmd3d.UPDATE_GB_SURFACE, OTHER)
        + commands.bind_target(MONITOR, OTHER)
        + commands.update_target(MONITOR, 0, 0, W, H)
    )

    assert shown.frame(MONITOR).at(W - 1, H - 1) == color


WRONG_TARGETS = {
    "no size": commands.target(1, 0, 0, 0, 8),
    "all there can be": commands.body(Cmd3d.DEFINE_GB_SCREENTARGET, 1, 0xFFFF_FFFF, 0xFFFF_FFFF, 0, 0, 0, 0),
    "more than there are": commands.target(ENTRIES, 0, 0, 8, 8),
    "destroyed before it was there": commands.body(Cmd3d.DESTROY_GB_SCREENTARGET, 5),
    "bound before it was there": commands.bind_target(5, SURFACE),
    "updated before it was there": commands.update_target(5, 0, 0, 1, 1),
    "bound to what is not there": commands.bind_target(MONITOR, 50),
    "bound to a mip there is not": commands.body(Cmd3d.BIND_GB_SCREENTARGET, MONITOR, SURFACE, 0, 7),
}


@pytest.mark.parametrize("what", WRONG_TARGETS)
def test_SVG_V_054_targets_that_cannot_be(shown: Rig, what: str) -> None:
    """What was shown still is."""
    picture = noise()
    shown.driver.show(picture, 0, 0, W, H)
    refused(shown, WRONG_TARGETS[what])

    if shown.has(Can.PICTURE):
        assert shown.frame(MONITOR).pixels == rgb(picture)


def test_SVG_V_054_a_surface_destroyed_while_it_is_shown(shown: Rig) -> None:
    """The monitor is blank, or as it was; the display goes on."""
    shown.driver.show(noise(), 0, 0, W, H)
    shown.driver.submit(commands.body(Cmd3d.DESTROY_GB_SURFACE, SURFACE))
    shown.driver.steer(Dc.START_STOP_CONTEXT, 1, 0)

    if shown.has(Can.PICTURE):
        shown.look(MONITOR)
    shown.driver.fence()
    shown.driver.send(commands.bind_target(MONITOR, INVALID_ID))


@pytest.mark.slow
def test_SVG_V_063_a_hundred_targets(rig: Rig) -> None:
    for n in range(100):
        driver = rig.up(WAYS[2], size=(W + n, H + n))
        driver.show(noise(8, 8), 0, 0, 8, 8)
        driver.close()

    rig.alive()
