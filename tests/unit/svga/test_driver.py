"""The reference driver: three ways to show a picture, on both fronts, by either way for commands."""

import pytest

from svga.display import Area
from svga.driver import commands
from svga.driver.front import DeviceBroke, Front
from svga.wire import Register
from svga.wire_commands import Cmd
from tests.unit.svga.rig import H, Rig, W, noise

ALL = [
    (way, profile, front, buffers)
    for way, profiles in {
        "legacy": ("legacy", "screen-objects", "screen-targets"),
        "screen-objects": ("screen-objects", "screen-targets"),
        "screen-targets": ("screen-targets",),
    }.items()
    for profile in profiles
    for front, buffers in (("svga2", False), ("svga2", True), ("svga3", True))
    if front == "svga3" or not buffers or profile == "screen-targets"
]


@pytest.mark.parametrize(("way", "profile", "front", "buffers"), ALL)
def test_a_picture_and_a_part_of_another(way: str, profile: str, front: str, buffers: bool) -> None:
    """What is shown is what was drawn; nothing is left when the driver goes, and no rule was broken."""
    rig = Rig(profile, front).up(way, buffers=buffers)
    picture, part = noise(), noise(16, 8, seed=2)
    rig.driver.show(picture, 0, 0, W, H)
    first = rig.frame()
    rig.driver.show(part, 10, 20, 16, 8)
    rig.driver.fence()

    want = bytearray(picture)
    for y in range(8):
        at = 4 * (W * (20 + y) + 10)
        want[at : at + 64] = part[64 * y : 64 * y + 64]
    assert (first, rig.frame()) == (picture, bytes(want))
    assert rig.damage().tiles == {(0, 0)}
    rig.driver.close()
    left = rig.device.screens, rig.device.gmrs, rig.device.mobs, rig.device.surfaces, rig.device.targets
    assert [len(objects) for objects in left] == [0] * 5
    assert rig.device.picture.rows(0) is None
    assert [str(violation) for violation in rig.device.rules] == []
    assert rig.port.arena._free == [(0, 4 << 20)]


def test_SVG_V_063_a_hundred_modes_leave_nothing() -> None:
    rig = Rig("screen-targets", "svga3")
    for n in range(100):
        rig.driver.bring_up("screen-targets", size=(32 + n, 24 + n))
        rig.driver.show(noise(8, 8), 0, 0, 8, 8)
        assert rig.device.picture.monitors[0].area == Area(0, 0, 32 + n, 24 + n)
        rig.driver.close()

    assert rig.port.arena._free == [(0, 4 << 20)]
    assert [str(violation) for violation in rig.device.rules] == []


def test_other_devices_are_none_of_its_business(powered: Rig) -> None:
    powered.device.pci.config.data[0:4] = b"\xad\x15\xb0\x07"

    with pytest.raises(DeviceBroke, match="0x07b015ad"):
        Front(powered.port)


def test_a_device_that_does_not_keep_its_word(legacy: Rig) -> None:
    legacy.device.stream._handlers[Cmd.FENCE] = lambda payload: None
    with pytest.raises(DeviceBroke, match="fence 0 after 1"):
        legacy.driver.fence()
    legacy.device.registers._reads[Register.BUSY] = lambda: 1
    with pytest.raises(DeviceBroke, match="BUSY"):
        legacy.driver.sync()
    with pytest.raises(DeviceBroke, match="mode of 8193"):
        legacy.driver.set_mode(8193, 1)


def test_a_refused_buffer_is_told_where(targets: Rig) -> None:
    with pytest.raises(DeviceBroke, match="COMMAND_ERROR at byte 4"):
        targets.driver.send(commands.command(Cmd.NOP) + commands.command(Cmd.NOP_ERROR))
