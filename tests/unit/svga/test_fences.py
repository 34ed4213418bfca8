"""Fences, and the interrupts that follow from them."""

import pytest

from pvdev.irq import Mode
from svga.driver import commands
from svga.fences import passed
from svga.wire import Fifo, Irq, Register
from tests.unit.svga.rig import Rig

R = Register


@pytest.mark.parametrize(
    ("last", "goal", "is_past"),
    [
        (5, 5, True),
        (6, 5, True),
        (4, 5, False),
        (2, 0xFFFF_FFFE, True),
        (0xFFFF_FFFE, 2, False),
        (0x8000_0000, 1, True),
    ],
)
def test_fences_compare_as_sequence_numbers(last: int, goal: int, is_past: bool) -> None:
    assert passed(last, goal) is is_past


def test_SVG_V_041_the_value_is_there_before_the_interrupt(legacy: Rig) -> None:
    driver, values = legacy.driver, []
    signal = legacy.device.causes.signal

    def watched(flags: int) -> None:
        values.append(driver.word(Fifo.FENCE))
        signal(flags)

    legacy.device.causes.signal = watched  # type: ignore[method-assign]
    driver.expect(Irq.ANY_FENCE)

    driver.send(commands.fence(77))

    assert values[0] == 77
    assert (driver.status(), legacy.port.interrupts()) == (Irq.ANY_FENCE, 1)


@pytest.mark.parametrize("start", [0x10, 0xFFFF_FFFA])
def test_SVG_V_043_a_goal_is_reached_or_passed_once(legacy: Rig, start: int) -> None:
    """Also across the end of the numbers, and when the goal itself is jumped over."""
    driver, seen = legacy.driver, []
    driver.send(commands.fence(start))
    driver.set_word(Fifo.FENCE_GOAL, start + 5)
    driver.expect(Irq.FENCE_GOAL)

    for step in (2, 4, 6, 8):
        driver.send(commands.fence(start + step))
        seen.append(driver.status())
        driver.acknowledge(driver.status())

    assert seen == [0, 0, Irq.FENCE_GOAL, 0]


def test_SVG_V_043_the_goal_of_the_register(targets: Rig) -> None:
    driver = targets.driver
    driver.set(R.FENCE_GOAL, 9)
    driver.expect(Irq.REG_FENCE_GOAL)
    driver.send(commands.fence(8))
    early = driver.status()
    driver.send(commands.fence(9))

    assert (early, driver.status(), driver.get(R.FENCE)) == (0, Irq.REG_FENCE_GOAL, 9)


def test_SVG_V_042_a_preset_value_stays_until_a_fence_is_reached(legacy: Rig) -> None:
    legacy.driver.set_word(Fifo.FENCE, 1234)
    legacy.driver.send(commands.update(0, 0, 1, 1))
    before = legacy.driver.word(Fifo.FENCE)
    legacy.driver.send(commands.fence(1235))

    assert (before, legacy.driver.word(Fifo.FENCE)) == (1234, 1235)


def test_SVG_D_032_033_fences_rise_and_are_used_once(legacy: Rig) -> None:
    for value in (0, 5, 5, 4):
        legacy.driver.send(commands.fence(value))

    assert legacy.seen("SVG-D-032") == [("FENCE", 4)]
    assert legacy.seen("SVG-D-033") == [("FENCE", 5)]


# -- interrupts --------------------------------------------------------------------------------------------------------


def test_SVG_V_044_the_line_follows_status_and_mask(legacy: Rig) -> None:
    driver, irq = legacy.driver, legacy.device.pci.irq
    driver.expect(Irq.ANY_FENCE)
    driver.send(commands.fence(1))
    raised = irq.line
    driver.set(R.IRQMASK, 0)
    masked = irq.line
    driver.set(R.IRQMASK, Irq.ANY_FENCE)
    driver.send(commands.fence(2))
    driver.acknowledge(Irq.ANY_FENCE)

    assert (raised, masked, irq.line, driver.status()) == (True, False, False, 0)


def test_SVG_V_044_a_message_each_time_it_begins_and_when_something_is_left() -> None:
    rig = Rig("legacy", "svga3").up()
    driver = rig.driver
    rig.port.write(7, 0x42, 1, 2)
    rig.port.interrupts()
    driver.expect(Irq.ANY_FENCE | Irq.COMMAND_BUFFER)

    driver.send(commands.fence(1))
    first = rig.port.interrupts()
    driver.acknowledge(Irq.ANY_FENCE)
    left = driver.status(), rig.port.interrupts()
    driver.acknowledge(Irq.COMMAND_BUFFER)

    assert rig.device.pci.irq.mode is Mode.MSI
    assert (first, left) == (1, (Irq.COMMAND_BUFFER, 1))
    assert (driver.status(), rig.port.interrupts()) == (0, 0)


def test_SVG_V_046_what_is_masked_leaves_no_trace(legacy: Rig) -> None:
    legacy.driver.send(commands.fence(1))
    legacy.driver.set(R.IRQMASK, 0x3F)

    assert (legacy.driver.status(), legacy.port.interrupts()) == (0, 0)


def test_SVG_D_034_flags_there_are_not(legacy: Rig) -> None:
    legacy.driver.acknowledge(0xFFFF_FFFF)

    assert legacy.seen("SVG-D-034") == [("IRQSTATUS", 0xFFFF_FFFF)]


def test_a_storm_of_fences_is_one_interrupt(legacy: Rig) -> None:
    legacy.driver.expect(Irq.ANY_FENCE)
    legacy.driver.send(b"".join(commands.fence(n) for n in range(1, 2001)))

    assert (legacy.port.interrupts(), legacy.port.interrupts()) == (1, 0)


@pytest.mark.parametrize(("low", "mask", "place"), [(16, 0, "FENCE"), (1024, Irq.FENCE_GOAL, "FENCE_GOAL")])
def test_SVG_D_015_a_FIFO_without_room_for_what_is_used(powered: Rig, low: int, mask: int, place: str) -> None:
    """Fences nobody sees, a goal nobody can set."""
    driver = powered.driver
    driver.negotiate()
    driver.set(R.ENABLE, 1)
    for word, value in ((Fifo.MIN, low), (Fifo.MAX, 65536), (Fifo.NEXT_CMD, low), (Fifo.STOP, low)):
        driver.set_word(word, value)
    driver.set(R.CONFIG_DONE, 1)
    driver.set(R.IRQMASK, mask)
    fine = powered.seen("SVG-D-015")
    for n, payload in enumerate((30, 7)):
        driver.set_word(low // 4 + n, payload)
    driver.set_word(Fifo.NEXT_CMD, low + 8)
    driver.sync()

    assert (fine, powered.seen("SVG-D-015")) == ([], [(place, low // 4)])


@pytest.mark.parametrize(("looks", "found"), [(True, []), (False, [("FENCE_GOAL", 3)])])
def test_SVG_D_036_a_goal_that_had_been_passed(targets: Rig, looks: bool, found: list[tuple[str, int]]) -> None:
    """Nothing will interrupt: the driver has to look again."""
    driver = targets.driver
    driver.send(commands.fence(5))
    driver.set(R.FENCE_GOAL, 3)
    if looks:
        driver.get(R.FENCE)
    for n in range(6, 9):
        driver.send(commands.fence(n))

    assert targets.seen("SVG-D-036") == found


def test_SVG_D_036_a_goal_ahead(targets: Rig) -> None:
    targets.driver.send(commands.fence(5))
    targets.driver.set(R.FENCE_GOAL, 7)
    targets.driver.send(commands.fence(6) + commands.fence(7) + commands.fence(8))

    assert targets.seen("SVG-D-036") == []
