"""When the device works, and when it has nothing to do: what a transport sees."""

import pytest

from pvdev.pci import CMD_MASTER, CMD_MEMORY, COMMAND, CONFIG_REGION
from svga.driver import commands
from svga.wire import Register
from tests.unit.svga.rig import Rig

R = Register


def waiting() -> Rig:
    """SVGA3, a buffer submitted while the device may not reach memory any more."""
    rig = Rig("legacy", "svga3").started()
    header = rig.driver.header(commands.fence(5))
    rig.device.buffers.submit(header & 0xFFFF_FFFF)
    return rig


def test_a_new_device_has_nothing_to_do(powered: Rig) -> None:
    device = powered.device

    assert (device.kicked, device.deadline(), device.rest(), device.service(256, 0)) == (False, None, False, False)


def test_nothing_is_fetched_while_switched_off() -> None:
    rig = waiting()
    rig.driver.set(R.ENABLE, 0)
    idle = rig.device.service(256, 0), rig.device.kicked, rig.device.rest(), rig.driver.get(R.BUSY)
    rig.driver.set(R.ENABLE, 1)

    assert idle == (False, False, False, 0)
    assert rig.driver.get(R.FENCE) == 5


def test_nothing_is_fetched_without_bus_mastering() -> None:
    rig = waiting()
    rig.port.write(CONFIG_REGION, COMMAND, CMD_MEMORY, 2)
    idle = rig.device.service(256, 0), rig.device.kicked, rig.device.rest(), rig.driver.get(R.FENCE)
    rig.port.write(CONFIG_REGION, COMMAND, CMD_MEMORY | CMD_MASTER, 2)
    rig.port.run()

    assert idle == (False, False, False, 0)
    assert rig.driver.get(R.FENCE) == 5


def test_a_mode_nobody_asks_about_has_a_deadline() -> None:
    """Nothing else would make a transport call the device."""
    rig = Rig("legacy", "svga3").up()
    rig.driver.set(R.TRACES, 0)
    before = rig.device.deadline()
    rig.device.pci.write(0, 4 * R.WIDTH, 4, 32)
    now = 10_000_000_000
    due = rig.device.deadline()
    rig.device.service(256, now)
    later = rig.device.deadline()
    rig.device.service(256, now + 20_000_000)

    assert (before, due, later) == (None, 0, now + 20_000_000)
    assert rig.device.picture.monitors[0].area.width == 32
    assert rig.device.deadline() is None


@pytest.mark.parametrize("register", [Register.CONFIG_DONE, Register.ENABLE])
def test_SVG_D_042_what_a_driver_leaves_behind(targets: Rig, register: Register) -> None:
    targets.driver.set(register, 0)

    assert targets.seen("SVG-D-042") == [("MOBs", 1), ("surfaces", 1), ("screen targets", 1)]


def test_SVG_D_042_screens_and_regions(screens: Rig) -> None:
    screens.driver.set(Register.ENABLE, 0)

    assert screens.seen("SVG-D-042") == [("screens", 1), ("GMRs", 1)]
