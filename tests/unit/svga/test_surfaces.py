"""Guest-backed surfaces: what they hold, and what comes in and goes out."""

from random import Random

import pytest

from svga.driver import commands
from svga.driver.driver import MOB, SURFACE
from svga.wire import INVALID_ID
from svga.wire_commands import COND_BIND_READBACK, COND_BIND_UPDATE, CbStatus, Cmd3d, Format, SurfaceFlag
from tests.unit.svga.rig import H, Rig, W, noise

OTHER = 9  # another surface


def lines(picture: bytes, width: int = W) -> list[bytes]:
    return [picture[at : at + 4 * width] for at in range(0, len(picture), 4 * width)]


def pixels(rig: Rig, sid: int = SURFACE) -> bytes:
    surface = rig.device.surfaces.get(sid)
    return bytes(rig.device.surfaces.pixels(surface).view)


def refused(rig: Rig, data: bytes, number: str) -> None:
    """A buffer fails, and by that rule; the device goes on."""
    assert rig.driver.submit(data) is CbStatus.COMMAND_ERROR
    assert len(rig.seen(number)) == 1
    rig.driver.steer(1, 1, 0)  # type: ignore[arg-type]
    rig.driver.fence()


def test_SVG_V_055_an_image_is_updated_where_the_driver_says(targets: Rig) -> None:
    picture = noise()
    targets.driver.draw(picture, 0, 0, W, H)
    targets.driver.send(commands.update_image(SURFACE, 5, 7, 20, 30))

    want = [bytearray(4 * W) for _ in range(H)]
    for y in range(7, 37):
        want[y][20:100] = lines(picture)[y][20:100]
    assert pixels(targets) == b"".join(want)


@pytest.mark.parametrize(
    ("x", "y", "width", "height"), [(W - 4, H - 4, 8, 8), (0, 0, 0xFFFF_FFFF, 0xFFFF_FFFF), (W, 0, 1, 1)]
)
def test_SVG_V_055_SVG_D_070_boxes_outside_are_clipped(targets: Rig, x: int, y: int, width: int, height: int) -> None:
    picture = noise()
    targets.driver.draw(picture, 0, 0, W, H)
    targets.driver.send(commands.update_image(SURFACE, x, y, width, height))

    want = [bytearray(4 * W) for _ in range(H)]
    for row in range(y, H):
        want[row][4 * x :] = lines(picture)[row][4 * x :]
    assert pixels(targets) == b"".join(want)
    assert len(targets.seen("SVG-D-070")) == 1


@pytest.mark.parametrize("image", [{"face": 1}, {"mip": 1}, {"mip": 0xFFFF_FFFF}, {"face": 0xFFFF_FFFF}])
def test_SVG_D_070_images_there_are_not(targets: Rig, image: dict[str, int]) -> None:
    refused(targets, commands.update_image(SURFACE, 0, 0, 1, 1, **image), "SVG-D-070")


def test_SVG_V_055_mips_and_slices_lie_one_behind_the_other(targets: Rig) -> None:
    """A surface of 8 by 6 by 2 with three mips, filled as a whole, is its MOB's bytes."""
    size = 4 * (8 * 6 * 2 + 4 * 3 * 1 + 2 * 1 * 1)
    assert targets.driver.pixels is not None
    targets.driver.pixels.view[:size] = Random(4).randbytes(size)
    targets.driver.send(
        commands.surface(OTHER, Format.X8R8G8B8, 8, 6, mips=3, depth=2)
        + commands.body(Cmd3d.BIND_GB_SURFACE, OTHER, MOB)
        + commands.body(Cmd3d.UPDATE_GB_SURFACE, OTHER)
    )

    assert pixels(targets, OTHER) == bytes(targets.driver.pixels.view[:size])
    assert list(targets.device.rules) == []


def test_a_pitch_of_the_MOB(targets: Rig) -> None:
    assert targets.driver.pixels is not None
    for y in range(4):
        targets.driver.pixels.view[100 * y : 100 * y + 32] = bytes([y + 1]) * 32
    targets.driver.send(
        commands.surface(OTHER, Format.X8R8G8B8, 8, 4)
        + commands.body(Cmd3d.BIND_GB_SURFACE_WITH_PITCH, OTHER, MOB, 100)
        + commands.body(Cmd3d.UPDATE_GB_SURFACE, OTHER)
    )

    assert pixels(targets, OTHER) == b"".join(bytes([y + 1]) * 32 for y in range(4))


def test_what_the_device_has_is_read_back(targets: Rig) -> None:
    picture = noise()
    targets.driver.show(picture, 0, 0, W, H)
    assert targets.driver.pixels is not None
    memory = targets.driver.pixels.view
    for body in (
        commands.body(Cmd3d.READBACK_GB_IMAGE, SURFACE, 0, 0),
        commands.body(Cmd3d.READBACK_GB_SURFACE, SURFACE),
    ):
        memory[:] = bytes(len(memory))
        targets.driver.send(body)
        assert bytes(memory[: 4 * W * H]) == picture


def test_a_surface_never_filled_leaves_its_MOB_alone(targets: Rig) -> None:
    assert targets.driver.pixels is not None
    targets.driver.pixels.view[:16] = b"here before that"
    targets.driver.send(
        commands.surface(OTHER, Format.X8R8G8B8, 4, 4)
        + commands.body(Cmd3d.BIND_GB_SURFACE, OTHER, MOB)
        + commands.body(Cmd3d.READBACK_GB_SURFACE, OTHER)
        + commands.body(Cmd3d.INVALIDATE_GB_SURFACE, OTHER)
        + commands.body(Cmd3d.INVALIDATE_GB_IMAGE, OTHER, 0, 0)
    )

    assert bytes(targets.driver.pixels.view[:16]) == b"here before that"


@pytest.mark.parametrize(("tested", "happens"), [(MOB, True), (5, False)])
def test_binding_on_a_condition(targets: Rig, tested: int, happens: bool) -> None:
    picture = noise()
    targets.driver.show(picture, 0, 0, W, H)
    assert targets.driver.pixels is not None
    targets.driver.pixels.view[:] = bytes(len(targets.driver.pixels.view))
    flags = COND_BIND_READBACK | COND_BIND_UPDATE
    targets.driver.send(commands.body(Cmd3d.COND_BIND_GB_SURFACE, SURFACE, tested, INVALID_ID, flags))

    assert (targets.device.surfaces.get(SURFACE).mob == INVALID_ID) is happens
    assert (bytes(targets.driver.pixels.view[: 4 * W * H]) == picture) is happens


def test_all_ways_to_define_one(targets: Rig) -> None:
    for n, (number, rest) in enumerate(
        {
            Cmd3d.DEFINE_GB_SURFACE: (1, 1, 0, 0, 8, 4, 1),
            Cmd3d.DEFINE_GB_SURFACE_V2: (1, 1, 0, 0, 8, 4, 1, 3, 0),
            Cmd3d.DEFINE_GB_SURFACE_V3: (1, 1, 0, 0, 0, 0, 8, 4, 1, 3),
            Cmd3d.DEFINE_GB_SURFACE_V4: (1, 1, 0, 0, 0, 0, 8, 4, 1, 3, 0),
        }.items()
    ):
        targets.driver.send(commands.body(number, 20 + n, 0, *rest))

    found = [targets.device.surfaces.get(20 + n) for n in range(4)]
    assert [(s.size, s.format, s.mips, s.layers) for s in found] == [((8, 4, 1), 1, 1, n) for n in (1, 3, 3, 3)]


SIZES = {
    "no width": (0, 4, 1, 1, 1),
    "all there can be": (0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF, 1, 1),
    "too many mips": (16, 16, 1, 33, 1),
    "too large as a whole": (16384, 16384, 1, 1, 1),
    "no format": (16, 16, 1, 1, 0),
    "a format beyond the last": (16, 16, 1, 1, 154),
}


@pytest.mark.parametrize("what", SIZES)
def test_SVG_D_052_surfaces_that_cannot_be(targets: Rig, what: str) -> None:
    width, height, depth, mips, form = SIZES[what]
    refused(targets, commands.surface(OTHER, form, width, height, depth=depth, mips=mips), "SVG-D-052")


def test_SVG_D_052_layers_that_cannot_be(targets: Rig) -> None:
    body = commands.body(Cmd3d.DEFINE_GB_SURFACE_V2, OTHER, 0, 1, 16, 0, 0, 16384, 16384, 1, 2048, 0)
    refused(targets, body, "SVG-D-052")


def test_SVG_D_052_a_surface_larger_than_its_MOB(targets: Rig) -> None:
    targets.driver.send(commands.surface(OTHER, Format.X8R8G8B8, W, H + 17))

    refused(targets, commands.body(Cmd3d.BIND_GB_SURFACE, OTHER, MOB), "SVG-D-052")


@pytest.mark.parametrize("pitch", [4 * W - 4, 0xFFFF_FFFF])
def test_SVG_D_052_pitches_that_cannot_be(targets: Rig, pitch: int) -> None:
    refused(targets, commands.body(Cmd3d.BIND_GB_SURFACE_WITH_PITCH, SURFACE, MOB, pitch), "SVG-D-052")


def test_SVG_D_052_formats_nobody_here_can_read(targets: Rig) -> None:
    """They are known and may be bound; filling one is refused."""
    targets.driver.send(commands.surface(OTHER, 15, 64, 64) + commands.body(Cmd3d.BIND_GB_SURFACE, OTHER, MOB))

    refused(targets, commands.update_image(OTHER, 0, 0, 4, 4), "SVG-D-052")


@pytest.mark.parametrize("number", [Cmd3d.UPDATE_GB_SURFACE, Cmd3d.DESTROY_GB_SURFACE, Cmd3d.READBACK_GB_SURFACE])
def test_SVG_D_050_surfaces_nobody_defined(targets: Rig, number: Cmd3d) -> None:
    refused(targets, commands.body(number, 0xFFFF_FFFF), "SVG-D-050")


def test_SVG_D_051_a_MOB_under_a_surface(targets: Rig) -> None:
    """The surface keeps what it has; it cannot be filled again."""
    picture = noise()
    targets.driver.show(picture, 0, 0, W, H)
    targets.driver.send(commands.body(Cmd3d.DESTROY_GB_MOB, MOB))

    assert targets.seen("SVG-D-051") == [("DESTROY_GB_MOB", MOB)]
    assert targets.frame() == picture
    refused(targets, commands.update_image(SURFACE, 0, 0, 4, 4), "SVG-D-050")


def test_SVG_D_053_a_surface_without_a_MOB(targets: Rig) -> None:
    targets.driver.send(commands.body(Cmd3d.BIND_GB_SURFACE, SURFACE, INVALID_ID))

    refused(targets, commands.update_image(SURFACE, 0, 0, 4, 4), "SVG-D-053")


def test_a_cube_has_six_faces(targets: Rig) -> None:
    targets.driver.send(commands.surface(OTHER, Format.A8R8G8B8, 4, 4, flags=SurfaceFlag.CUBEMAP))

    assert targets.device.surfaces.get(OTHER).layers == 6


def test_SVG_V_056_copies_of_boxes(targets: Rig) -> None:
    picture = noise()
    targets.driver.show(picture, 0, 0, W, H)
    targets.driver.send(commands.surface(OTHER, Format.A8R8G8B8, 32, 32))
    targets.driver.send(
        commands.surface_copy(SURFACE, OTHER, (0, 0, 0, 8, 8, 1, 10, 12, 0), (20, 20, 0, 8, 8, 1, 30, 3, 0))
    )

    want, source = [bytearray(128) for _ in range(32)], lines(picture)
    for y in range(8):
        want[y][:32] = source[12 + y][40:72]
        want[20 + y][80:112] = source[3 + y][120:152]
    assert pixels(targets, OTHER) == b"".join(want)
    assert list(targets.device.rules) == []


@pytest.mark.parametrize(("sx", "sy", "x", "y"), [(3, 5, 20, 11), (20, 11, 3, 5), (10, 9, 10, 10), (10, 10, 11, 10)])
def test_SVG_V_056_a_copy_within_one_image(targets: Rig, sx: int, sy: int, x: int, y: int) -> None:
    picture = noise()
    targets.driver.show(picture, 0, 0, W, H)

    targets.driver.send(commands.surface_copy(SURFACE, SURFACE, (x, y, 0, 30, 28, 1, sx, sy, 0)))

    source, want = lines(picture), [bytearray(line) for line in lines(picture)]
    for row in range(28):
        want[y + row][4 * x : 4 * (x + 30)] = source[sy + row][4 * sx : 4 * (sx + 30)]
    assert pixels(targets) == b"".join(want)


@pytest.mark.parametrize("box", [(28, 0, 0, 8, 8, 1, 0, 0, 0), (0, 0, 0, 8, 8, 1, W - 4, 0, 0), (0xFFFF_FFFF,) * 9])
def test_SVG_D_070_copies_outside_are_clipped(targets: Rig, box: tuple[int, ...]) -> None:
    targets.driver.show(noise(), 0, 0, W, H)
    targets.driver.send(commands.surface(OTHER, Format.A8R8G8B8, 32, 32) + commands.surface_copy(SURFACE, OTHER, box))

    assert len(targets.seen("SVG-D-070")) == 1


def test_SVG_D_070_copies_between_formats_of_another_size(targets: Rig) -> None:
    targets.driver.send(commands.surface(OTHER, Format.R5G6B5, 32, 32))

    refused(targets, commands.surface_copy(SURFACE, OTHER, (0, 0, 0, 8, 8, 1, 0, 0, 0)), "SVG-D-070")


def test_SVG_V_071_memory_is_taken_when_it_is_filled(targets: Rig) -> None:
    """Many of the largest surfaces cost nothing as long as nothing is in them."""
    for n in range(10, 60):
        targets.driver.send(commands.surface(n, Format.X8R8G8B8, 8192, 8192))
    held = sum(s.data.size for s in targets.device.surfaces._surfaces.values() if s.data is not None)

    assert held == 4 * W * H
