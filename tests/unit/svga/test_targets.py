"""Screen targets: what is shown of which surface."""

import pytest

from svga.display import Area
from svga.driver import commands
from svga.driver.driver import MOB, SURFACE
from svga.wire import Register
from svga.wire_commands import CbStatus, Cmd3d, Format, MobFormat, Otable
from tests.unit.svga.rig import H, Rig, W, noise

OTHER = 9


def refused(rig: Rig, data: bytes, number: str) -> None:
    assert rig.driver.submit(data) is CbStatus.COMMAND_ERROR
    assert len(rig.seen(number)) == 1


def test_SVG_V_054_the_bound_surface_is_shown(targets: Rig) -> None:
    picture = noise()
    targets.driver.show(picture, 0, 0, W, H)
    targets.damage()
    targets.driver.send(commands.bind_target(0))
    unbound = targets.device.picture.rows(0)
    targets.driver.send(commands.bind_target(0, SURFACE))

    assert unbound is None
    assert targets.frame() == picture
    assert targets.damage().tiles == {(0, 0)}


def test_SVG_V_054_a_flip_shows_the_other_surface(targets: Rig) -> None:
    serial = targets.device.picture.serial
    targets.driver.show(noise(), 0, 0, W, H)
    targets.driver.send(
        commands.surface(OTHER, Format.A8R8G8B8, W, H)
        + commands.body(Cmd3d.BIND_GB_SURFACE, OTHER, MOB)
        + commands.surface_copy(SURFACE, OTHER, (0, 0, 0, 8, 8, 1, 8, 8, 0))
    )
    targets.damage()
    targets.driver.send(commands.bind_target(0, OTHER))

    assert targets.device.picture.serial > serial
    assert targets.frame()[:32] == noise()[4 * (8 * W + 8) :][:32]
    damage = targets.damage()
    assert (damage.layout, damage.tiles) == (False, {(0, 0)})


def test_an_image_updated_is_marked_before_its_target_is(targets: Rig) -> None:
    """A viewer reads the surface's memory: what is new there is to be looked at, told or not."""
    targets.driver.draw(noise(), 0, 0, W, H)
    targets.driver.send(commands.update_image(SURFACE, 0, 0, 8, 8))

    assert targets.damage().tiles == {(0, 0)}


@pytest.mark.parametrize(("form", "bpp"), [(Format.R5G6B5, 16), (Format.X1R5G5B5, 15), (Format.B8G8R8X8_UNORM, 32)])
def test_formats_a_screen_can_show(targets: Rig, form: Format, bpp: int) -> None:
    targets.driver.send(commands.surface(OTHER, form, W, H) + commands.bind_target(0, OTHER))

    rows = targets.device.picture.rows(0)
    assert rows is not None
    assert (rows.bpp, rows.pitch) == (bpp, W * (4 if bpp == 32 else 2))


def test_several_targets_make_a_desktop(targets: Rig) -> None:
    targets.driver.send(commands.target(3, -32, 8, 32, 32) + commands.target(1, W, 0, 16, 16))

    assert [(m.id, m.area) for m in targets.device.picture.monitors] == [
        (0, Area(32, 0, W, H)),
        (1, Area(32 + W, 0, 16, 16)),
        (3, Area(0, 8, 32, 32)),
    ]


def test_BLANK_SCREEN_TARGETS(targets: Rig) -> None:
    targets.driver.set(Register.BLANK_SCREEN_TARGETS, 1)
    blank = targets.device.picture.rows(0)
    targets.driver.set(Register.BLANK_SCREEN_TARGETS, 0)

    assert blank is None
    assert targets.device.picture.rows(0) is not None


def test_SVG_D_053_a_surface_destroyed_while_it_is_shown(targets: Rig) -> None:
    targets.driver.show(noise(), 0, 0, W, H)
    targets.driver.send(commands.body(Cmd3d.DESTROY_GB_SURFACE, SURFACE))

    assert targets.device.picture.rows(0) is None
    assert targets.seen("SVG-D-053") == [("surface of a screen target", SURFACE)]


WRONG = {
    "no size": commands.target(1, 0, 0, 0, 8),
    "all there can be": commands.body(Cmd3d.DEFINE_GB_SCREENTARGET, 1, 0xFFFF_FFFF, 0xFFFF_FFFF, 0, 0, 0, 0),
    "more than there are": commands.target(10, 0, 0, 8, 8),
    "destroyed before it was there": commands.body(Cmd3d.DESTROY_GB_SCREENTARGET, 5),
    "bound before it was there": commands.bind_target(5, SURFACE),
    "updated before it was there": commands.update_target(5, 0, 0, 1, 1),
    "a buffer": commands.surface(OTHER, Format.BUFFER, 64, 1) + commands.bind_target(0, OTHER),
}


@pytest.mark.parametrize("what", WRONG)
def test_SVG_D_053_targets_that_cannot_be(targets: Rig, what: str) -> None:
    refused(targets, WRONG[what], "SVG-D-053")


def test_SVG_D_053_a_surface_smaller_than_its_target(targets: Rig) -> None:
    """What there is of it is shown."""
    targets.driver.send(commands.surface(OTHER, Format.X8R8G8B8, 16, 8) + commands.bind_target(0, OTHER))

    rows = targets.device.picture.rows(0)
    assert rows is not None
    assert (rows.width, rows.height) == (16, 8)
    assert len(targets.seen("SVG-D-053")) == 1


def test_SVG_D_050_a_target_beyond_its_table(targets: Rig) -> None:
    refused(targets, commands.target(64, 0, 0, 8, 8), "SVG-D-050")


def test_SVG_D_062_an_update_of_nothing(targets: Rig) -> None:
    targets.driver.send(commands.bind_target(0) + commands.update_target(0, 0, 0, 8, 8))

    assert targets.seen("SVG-D-062") == [("UPDATE_GB_SCREENTARGET", 0)]


@pytest.mark.parametrize("area", [(W, H, 1, 1), (-5, -5, 4, 4), (0, 0, 0x7FFF_FFFF, 0x7FFF_FFFF), (0, 0, -1, -1)])
def test_SVG_D_070_updates_outside_are_clipped(targets: Rig, area: tuple[int, int, int, int]) -> None:
    targets.driver.send(commands.update_target(0, *area))

    assert len(targets.seen("SVG-D-070")) == 1
    assert targets.damage().tiles <= {(0, 0)}


def test_other_ways_to_update(targets: Rig) -> None:
    for body in (
        commands.body(Cmd3d.UPDATE_GB_SCREENTARGET_V2, 0, 0, 0, 8, 8, 0),
        commands.body(Cmd3d.UPDATE_GB_SCREENTARGET_MOVE, 0, 0, 0, 8, 8, 0, 8, 8),
    ):
        targets.driver.send(body)
        damage = targets.damage()
        assert (damage.tiles, damage.copies) == ({(0, 0)}, [])


def test_without_targets_the_mode_of_registers_is_shown_again(targets: Rig) -> None:
    targets.driver.send(commands.bind_target(0) + commands.body(Cmd3d.DESTROY_GB_SCREENTARGET, 0))

    assert targets.device.picture.monitors[0].area == Area(0, 0, W, H)
    assert targets.frame() == bytes(4 * W * H)


@pytest.mark.parametrize(("kind", "bound"), [(Otable.SURFACE, [None]), (Otable.SCREENTARGET, [])])
def test_SVG_V_052_SVG_D_042_a_table_takes_its_objects_along(targets: Rig, kind: Otable, bound: list[None]) -> None:
    targets.driver.show(noise(), 0, 0, W, H)
    targets.driver.send(commands.otable(kind, 0, 0, MobFormat.INVALID))

    device = targets.device
    assert [rows for _, rows in device.targets.layout()] == bound
    assert (len(device.surfaces), len(device.targets)) == ((0, 1) if bound else (1, 0))
    assert targets.seen("SVG-D-042") == [(f"table {kind.name}", 1)]
    targets.assert_alive()
