"""SVGA device rules 041 to 046: fences, and interrupts."""

import pytest

from pvdev.pci import CAP_MSI
from pvdev.pci_driver import line_up, probe, set_interrupts
from svga.conform.rig import Part, Rig
from svga.driver import commands
from svga.wire import Cap2, Fifo, FifoCap, Irq, Register
from svga.wire_commands import CbFlag, Cmd

pytestmark = pytest.mark.needs(FifoCap.FENCE)
needs = pytest.mark.needs
R = Register
HALF = 1 << 31


def done(rig: Rig, value: int) -> bool:
    return rig.wait(lambda: rig.last_fence() == value)


@needs(Part.INTERRUPT)
def test_SVG_V_041_the_value_is_there_when_the_interrupt_comes(rig: Rig) -> None:
    """Each of a row of fences, seen at the moment the line is up."""
    driver = rig.up()
    for value in range(1, 20):
        driver.expect(Irq.ANY_FENCE)
        driver.send(commands.fence(value))
        assert rig.wait(lambda: line_up(rig.port)), value
        assert rig.last_fence() == value


def test_SVG_V_042_fences_come_in_order_and_all(rig: Rig) -> None:
    """After each lot the last one is there, never a later one."""
    driver = rig.up()
    for lot in range(5):
        driver.send(b"".join(commands.fence(100 * lot + n) + commands.update(0, 0, 1, 1) for n in range(1, 11)))
        assert done(rig, 100 * lot + 10)


@needs(Part.EXTENDED)
def test_SVG_V_042_a_fence_behind_half_a_command_waits(rig: Rig) -> None:
    driver = rig.up(buffers=False)
    driver.send(commands.fence(5))
    data = commands.update(0, 0, 1, 1) + commands.fence(6)
    driver.write(data[:12])
    driver.sync()
    early = rig.last_fence()
    driver.write(data[12:])
    driver.sync()

    assert (early, rig.last_fence()) == (5, 6)


@needs(Part.EXTENDED)
def test_SVG_V_042_a_value_the_driver_put_there_stays_until_a_fence_is_reached(rig: Rig) -> None:
    driver = rig.up(buffers=False)
    driver.set_word(Fifo.FENCE, 1234)
    driver.send(commands.update(0, 0, 1, 1))
    before = rig.last_fence()
    driver.send(commands.fence(1235))

    assert (before, rig.last_fence()) == (1234, 1235)


STARTS = [0x10, HALF - 3, 0xFFFF_FFFA]


def goals(rig: Rig, start: int, flag: Irq, set_goal: Register | Fifo) -> list[int]:
    """A goal of start + 5, and fences in steps of 2 before and behind it: whether it interrupted after each."""
    driver = rig.driver
    seen: list[int] = []
    driver.send(commands.fence(start))
    goal = start + 5 & 0xFFFF_FFFF
    driver.set(set_goal, goal) if isinstance(set_goal, Register) else driver.set_word(set_goal, goal)
    driver.expect(flag)
    for step in (2, 4, 6, 8):
        driver.send(commands.fence(start + step))
        assert done(rig, start + step & 0xFFFF_FFFF)
        seen.append(driver.status() & flag)
        driver.acknowledge(flag)
    return seen


@needs(Part.EXTENDED, Part.INTERRUPT)
@pytest.mark.parametrize("start", STARTS)
def test_SVG_V_043_a_goal_is_reached_or_passed_once(rig: Rig, start: int) -> None:
    """Also across the end of the numbers, and when the goal itself is jumped over."""
    rig.up(buffers=False)

    assert goals(rig, start, Irq.FENCE_GOAL, Fifo.FENCE_GOAL) == [0, 0, Irq.FENCE_GOAL, 0]


@needs(Cap2.EXTRA_REGS, Part.INTERRUPT)
@pytest.mark.parametrize("start", STARTS)
def test_SVG_V_043_the_goal_of_the_register(rig: Rig, start: int) -> None:
    rig.up()

    assert goals(rig, start, Irq.REG_FENCE_GOAL, R.FENCE_GOAL) == [0, 0, Irq.REG_FENCE_GOAL, 0]


@needs(Part.EXTENDED, Part.INTERRUPT)
def test_SVG_V_043_exactly_the_goal(rig: Rig) -> None:
    driver = rig.up(buffers=False)
    driver.set_word(Fifo.FENCE_GOAL, 3)
    driver.expect(Irq.FENCE_GOAL)
    driver.send(commands.fence(2))
    early = driver.status()
    driver.send(commands.fence(3))

    assert (early, driver.status()) == (0, Irq.FENCE_GOAL)


# -- interrupts --------------------------------------------------------------------------------------------------------


@needs(Part.INTERRUPT)
def test_SVG_V_044_the_line_is_status_and_mask(rig: Rig) -> None:
    driver, port = rig.up(), rig.port
    driver.expect(Irq.ANY_FENCE)
    low = line_up(port)
    driver.send(commands.fence(1))
    raised = rig.wait(lambda: line_up(port)), driver.status()
    driver.acknowledge(Irq.ANY_FENCE)

    assert (low, raised) == (False, (True, Irq.ANY_FENCE))
    assert (line_up(port), driver.status()) == (False, 0)


@needs(Part.INTERRUPT)
def test_SVG_V_044_what_is_not_acknowledged_stays(rig: Rig) -> None:
    """A one clears its own flag and no other."""
    driver, port = rig.up(), rig.port
    driver.expect(Irq.ANY_FENCE)
    driver.send(commands.fence(1))
    rig.wait(lambda: line_up(port))
    driver.acknowledge(Irq.ERROR)
    other = line_up(port), driver.status()
    driver.acknowledge(0)

    assert other == (True, Irq.ANY_FENCE)
    assert (line_up(port), driver.status()) == (True, Irq.ANY_FENCE)


@needs(Part.INTERRUPT)
def test_SVG_V_044_one_interrupt_for_a_storm_of_fences(rig: Rig) -> None:
    driver = rig.up()
    driver.expect(Irq.ANY_FENCE)
    rig.fired()
    driver.send(b"".join(commands.fence(n) for n in range(1, 200)))
    first = rig.fired()
    driver.acknowledge(Irq.ANY_FENCE)

    assert (first, rig.fired()) == (1, 0)


@needs(Part.INTERRUPT)
def test_SVG_V_044_a_message_each_time_it_begins(rig: Rig) -> None:
    facts = probe(rig.port, place=False)
    if CAP_MSI not in facts.caps:
        pytest.skip("this display has no MSI")
    driver, counts = rig.up(), []
    set_interrupts(rig.port, facts, "msi")
    rig.fired()
    driver.expect(Irq.ANY_FENCE)
    for value in (1, 2, 3):
        driver.send(commands.fence(value))
        counts.append(rig.wait(lambda: bool(rig.port.interrupts())))
        driver.acknowledge(Irq.ANY_FENCE)
    driver.set(R.IRQMASK, 0)
    driver.send(commands.fence(4))

    assert counts == [True, True, True]
    assert rig.fired() == 0


@needs(Part.INTERRUPT)
def test_SVG_V_044_a_message_again_when_something_is_left(rig: Rig) -> None:
    """Two causes, one of them acknowledged."""
    facts = probe(rig.port, place=False)
    if CAP_MSI not in facts.caps:
        pytest.skip("this display has no MSI")
    driver = rig.up()
    other = Irq.COMMAND_BUFFER if driver.buffers else Irq.FIFO_PROGRESS
    set_interrupts(rig.port, facts, "msi")
    driver.expect(Irq.ANY_FENCE | other)
    driver.send(commands.fence(1))
    rig.fired()
    both = driver.status()
    driver.acknowledge(Irq.ANY_FENCE)
    again = rig.fired()
    driver.acknowledge(other)

    assert (both, again, rig.fired(), driver.status()) == (Irq.ANY_FENCE | other, 1, 0, 0)


@needs(Part.INTERRUPT)
def test_SVG_V_045_the_mask_is_looked_at_when_it_is_written(rig: Rig) -> None:
    driver, port = rig.up(), rig.port
    driver.expect(Irq.ANY_FENCE)
    driver.send(commands.fence(1))
    raised = rig.wait(lambda: line_up(port))
    driver.set(R.IRQMASK, 0)

    assert (raised, line_up(port), driver.get(R.IRQMASK)) == (True, False, 0)
    driver.expect(Irq.ANY_FENCE)
    driver.send(commands.fence(2))
    assert rig.wait(lambda: line_up(port))


@needs(Part.INTERRUPT)
def test_SVG_V_046_what_is_masked_raises_nothing(rig: Rig) -> None:
    """Nor later, when it has been acknowledged before the mask is opened, as drivers do."""
    driver = rig.up()
    driver.set(R.IRQMASK, 0)
    driver.send(commands.fence(1))
    silent = rig.fired(), line_up(rig.port)
    driver.expect(Irq.ANY_FENCE)

    assert silent == (0, False)
    assert (rig.fired(), line_up(rig.port), driver.status()) == (0, False, 0)


@needs(Part.INTERRUPT, Part.FIFO)
def test_SVG_V_044_progress_of_the_fifo(rig: Rig) -> None:
    driver = rig.up(buffers=False)
    driver.expect(Irq.FIFO_PROGRESS)
    driver.send(commands.command(Cmd.NOP))

    assert rig.wait(lambda: driver.status() == Irq.FIFO_PROGRESS)


@needs(Part.INTERRUPT, Part.FLAT)
@pytest.mark.parametrize("flags", [0, CbFlag.NO_IRQ])
def test_SVG_V_046_a_buffer_interrupts_unless_told_not_to(rig: Rig, flags: int) -> None:
    driver = rig.up()
    driver.expect(Irq.COMMAND_BUFFER | Irq.ERROR)
    rig.fired()
    driver.submit(commands.command(Cmd.NOP), flags=flags)

    assert rig.fired() == int(not flags)
    assert driver.status() == (0 if flags else Irq.COMMAND_BUFFER)
