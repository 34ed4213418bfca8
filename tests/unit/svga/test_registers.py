"""The register file: who may do what, what needs a capability, what a new device says."""

import pytest

from svga.profiles import PROFILES, profile
from svga.wire import (
    ID_0,
    ID_1,
    ID_2,
    ID_3,
    PALETTE_BASE,
    SCRATCH_BASE,
    Fifo,
    Register,
)
from tests.unit.svga.rig import Cap, Rig

R = Register


def test_SVG_V_006_the_highest_version_is_echoed(powered: Rig) -> None:
    driver = powered.driver

    driver.set(R.ID, ID_3)
    refused = driver.get(R.ID)
    driver.set(R.ID, ID_2)
    driver.set(R.ID, 0x1234)

    assert (refused, driver.get(R.ID)) == (ID_0, ID_2)


def test_SVG_V_006_svga3_knows_its_own_version_only() -> None:
    driver = Rig(front="svga3").driver

    driver.set(R.ID, ID_2)
    refused = driver.get(R.ID)
    driver.set(R.ID, ID_3)

    assert (refused, driver.get(R.ID)) == (ID_0, ID_3)


def test_SVG_D_001_versions_come_first(powered: Rig) -> None:
    powered.driver.get(R.MAX_WIDTH)
    early = powered.seen("SVG-D-001")
    powered.driver.get(R.CAPABILITIES)

    assert (early, powered.seen("SVG-D-001")) == ([], [("CAPABILITIES", R.CAPABILITIES)])


def test_SVG_D_002_a_lower_version_after_an_accepted_one(powered: Rig) -> None:
    powered.driver.set(R.ID, ID_2)
    powered.driver.set(R.ID, ID_1)

    assert powered.seen("SVG-D-002") == [("ID", ID_1)]


def test_SVG_D_005_registers_without_their_capability_do_nothing(powered: Rig) -> None:
    powered.driver.negotiate()
    powered.driver.set(R.GMR_ID, 3)

    assert powered.driver.get(R.GMR_ID) == 0
    assert powered.seen("SVG-D-005") == [("GMR_ID", R.GMR_ID)]


def test_SVG_D_006_SVG_V_009_read_only_registers_stay(powered: Rig) -> None:
    powered.driver.negotiate()
    before = powered.driver.get(R.CAPABILITIES)
    powered.driver.set(R.CAPABILITIES, 0)

    assert powered.driver.get(R.CAPABILITIES) == before
    assert powered.seen("SVG-D-006") == [("CAPABILITIES", 0)]


def test_SVG_D_007_SVG_V_030_scratch_registers_keep_what_is_written(powered: Rig) -> None:
    powered.driver.negotiate()
    powered.driver.set(SCRATCH_BASE + 5, 0xDEADBEEF)
    fine = powered.seen("SVG-D-007")
    powered.driver.set(SCRATCH_BASE, 7)
    powered.driver.set(R.GUEST_ID, 0x500A)

    found = [powered.driver.get(number) for number in (SCRATCH_BASE + 5, SCRATCH_BASE, R.GUEST_ID)]
    assert found == [0xDEADBEEF, 7, 0x500A]
    assert (fine, powered.seen("SVG-D-007")) == ([], [("scratch", SCRATCH_BASE)])


@pytest.mark.parametrize("number", [85, 1023, SCRATCH_BASE + 64, 0xFFFF_FFFF])
def test_SVG_D_008_SVG_V_008_what_nobody_defined_reads_0(powered: Rig, number: int) -> None:
    powered.driver.set(number, 5)

    assert powered.driver.get(number) == 0
    assert powered.seen("SVG-D-008") == [("write", number), ("read", number)]


def test_SVG_D_035_SVG_V_045_IRQMASK_without_its_capability() -> None:
    rig = Rig("qemu")
    rig.driver.negotiate()
    rig.driver.set(R.IRQMASK, 1)

    assert rig.driver.get(R.IRQMASK) == 0
    assert rig.seen("SVG-D-035") == [("IRQMASK", R.IRQMASK)]


def test_SVG_D_055_SVG_V_057_device_capabilities_by_index(targets: Rig) -> None:
    driver, found = targets.driver, []
    for index in (19, 20, 100, 0, 261, 262):
        driver.set(R.DEV_CAP, index)
        found.append(driver.get(R.DEV_CAP))

    assert found == [16384, 16384, 5, 0, 0, 0]
    assert targets.seen("SVG-D-055") == [("DEV_CAP", 262)]


def test_SVG_V_028_there_is_a_monitor() -> None:
    assert [Rig(monitors=n).driver.get(R.NUM_DISPLAYS) for n in (1, 3)] == [1, 3]


def test_SVG_V_010_011_the_fifo_says_what_it_can_before_it_is_set_up(powered: Rig) -> None:
    driver = powered.driver
    driver.negotiate()

    assert driver.word(Fifo.CAPABILITIES) == powered.device.profile.fifo_caps != 0
    assert driver.get(R.MEM_REGS) == Fifo.NUM_REGS
    assert driver.word(Fifo.CURSOR_SCREEN_ID) == 0xFFFF_FFFF


def test_SVG_V_007_a_reset_forgets_everything(legacy: Rig) -> None:
    driver = legacy.driver
    driver.set(R.IRQMASK, 1)
    driver.fence()
    driver.set(SCRATCH_BASE + 9, 1)
    driver.set(PALETTE_BASE, 1)

    legacy.port.reset()

    numbers = (R.ENABLE, R.CONFIG_DONE, R.IRQMASK, R.BUSY, SCRATCH_BASE + 9, PALETTE_BASE)
    driver.power()
    assert [driver.get(number) for number in numbers] == [0] * len(numbers)
    assert (driver.status(), driver.word(Fifo.MIN), driver.word(Fifo.FENCE)) == (0, 0, 0)
    assert legacy.port.interrupts() == 0
    legacy.assert_alive()


def test_where_the_memory_is(powered: Rig) -> None:
    powered.driver.negotiate()
    powered.port.write(7, 0x14, 0xE000_0000)
    powered.port.write(7, 0x18, 0xF000_0000)

    assert (powered.driver.get(R.FB_START), powered.driver.get(R.MEM_START)) == (0xE000_0000, 0xF000_0000)


@pytest.mark.parametrize("name", [name for name in PROFILES if name != "qemu"])
def test_svga3_promises_no_fifo(name: str) -> None:
    found = profile(name, "svga3")

    assert not found.caps & Cap.EXTENDED_FIFO
    assert found.caps & Cap.COMMAND_BUFFERS


def test_profiles_there_are_not() -> None:
    for name, front in (("dx", "svga3"), ("legacy", "svga1"), ("qemu", "svga3")):
        with pytest.raises(ValueError, match="profile"):
            profile(name, front)
