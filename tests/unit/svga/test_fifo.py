"""The FIFO: what is trusted, what is published when, and what a driver may do to it."""

from random import Random

import pytest

from svga.driver import commands
from svga.driver.driver import MINIMUM
from svga.wire import Fifo, Register
from svga.wire_commands import Cmd
from tests.unit.svga.rig import Rig

R = Register


def setup(rig: Rig, low: int, high: int, next_: int, stop: int) -> None:
    for word, value in ((Fifo.MIN, low), (Fifo.MAX, high), (Fifo.NEXT_CMD, next_), (Fifo.STOP, stop)):
        rig.driver.set_word(word, value)


SIZE = 256 << 10
BAD = {
    "below the registers": (0, SIZE, 0, 0),
    "beyond memory": (4096, SIZE + 4, 4096, 4096),
    "inside out": (8192, 4096, 8192, 8192),
    "too small": (4096, 4096 + 10236, 4096, 4096),
    "unaligned": (4098, SIZE, 4098, 4098),
    "NEXT outside": (4096, SIZE, 4092, 4096),
    "STOP outside": (4096, SIZE, 4096, SIZE),
    "all ones": (0xFFFF_FFFF,) * 4,
}


@pytest.mark.parametrize("what", BAD)
def test_SVG_D_010_SVG_V_014_a_ring_that_cannot_be_is_left_alone(powered: Rig, what: str) -> None:
    driver = powered.driver
    driver.negotiate()
    driver.set(R.ENABLE, 1)
    setup(powered, *BAD[what])
    before = bytes(powered.device.fifo_memory.view) if powered.device.fifo_memory else b""

    driver.set(R.CONFIG_DONE, 1)
    driver.ring()
    powered.port.advance(2_000_000_000)

    assert [place for place, _ in powered.seen("SVG-D-010")] == ["CONFIG_DONE"]
    assert driver.get(R.BUSY) == 0
    assert powered.device.fifo_memory is not None
    assert bytes(powered.device.fifo_memory.view) == before
    powered.assert_alive()


def test_SVG_V_016_STOP_follows_each_command(legacy: Rig) -> None:
    driver, stops = legacy.driver, []
    legacy.device.stream._handlers[Cmd.NOP] = lambda payload: stops.append(driver.word(Fifo.STOP))
    begin = driver.word(Fifo.STOP)

    driver.send(commands.command(Cmd.NOP) * 3)

    assert stops == [begin, begin + 4, begin + 8]
    assert driver.word(Fifo.STOP) == driver.word(Fifo.NEXT_CMD) == begin + 12


@pytest.mark.slow
def test_commands_wrap_word_by_word(legacy: Rig) -> None:
    """More than the ring holds, in lots that end anywhere: every fence comes, in order."""
    driver, rng = legacy.driver, Random(5)
    seen: list[int] = []
    fence = legacy.device.stream._handlers[Cmd.FENCE]

    def watched(data: memoryview) -> None:
        seen.append(data.cast("I")[0])
        fence(data)

    legacy.device.stream._handlers[Cmd.FENCE] = watched

    number = 0
    for _ in range(60):
        lot = b""
        for _ in range(rng.randrange(1, 700)):
            number += 1
            lot += commands.fence(number) + commands.command(Cmd.NOP) * rng.randrange(3)
        driver.send(lot)

    assert seen == list(range(1, number + 1))
    assert number * 8 > SIZE / 2
    assert list(legacy.device.rules) == []


@pytest.mark.parametrize("budget", [1, 7, 256])
def test_SVG_V_015_a_full_ring_is_done_in_slices(budget: int) -> None:
    rig = Rig().up()
    rig.port.budget = budget
    count = 5000
    rig.driver.write(commands.command(Cmd.NOP) * count + commands.fence(1))
    rig.device.pci.write(0, 0, 4, R.SYNC)
    rig.device.pci.write(0, 1, 4, 1)
    first = rig.device.stream.commands

    rig.port.run()

    assert 0 < first <= 64
    assert rig.driver.word(Fifo.FENCE) == 1


def test_SVG_V_017_BUSY_is_cleared_when_all_is_done(legacy: Rig) -> None:
    driver = legacy.driver
    driver.set_word(Fifo.BUSY, 1)
    driver.write(commands.fence(1))
    driver.ring()

    assert (driver.word(Fifo.BUSY), driver.word(Fifo.FENCE), driver.get(R.BUSY)) == (0, 1, 0)


def test_SVG_V_017_commands_written_while_BUSY_is_cleared_are_seen(
    legacy: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver writes between the device's last look and its store, and does not ring for BUSY was 1."""
    driver = legacy.driver
    late = [commands.fence(2)]
    monkeypatch.setattr("svga.fifo.fence", lambda: driver.write(late.pop()) if late else None)
    driver.set_word(Fifo.BUSY, 1)
    driver.write(commands.fence(1))

    driver.ring()

    assert driver.word(Fifo.FENCE) == 2


def test_commands_nobody_rings_for_are_found(legacy: Rig) -> None:
    legacy.driver.write(commands.fence(1))

    legacy.port.advance(50_000_000)

    assert legacy.driver.word(Fifo.FENCE) == 1


@pytest.mark.parametrize("words", range(1, 5))
def test_SVG_V_018_a_command_in_part_is_waited_for(legacy: Rig, words: int) -> None:
    driver, marks = legacy.driver, []
    legacy.device.stream._handlers[Cmd.UPDATE] = lambda data: marks.append(list(data.cast("I")))
    data, stop = commands.update(1, 2, 3, 4), driver.word(Fifo.STOP)

    driver.write(data[: 4 * words])
    driver.ring()
    halfway = marks[:], driver.word(Fifo.STOP), driver.get(R.BUSY)
    driver.write(data[4 * words :])
    driver.ring()

    assert halfway == ([], stop, 0)
    assert marks == [[1, 2, 3, 4]]
    assert list(legacy.device.rules) == []


def test_SVG_D_014_a_command_that_never_ends(legacy: Rig) -> None:
    legacy.driver.write(commands.update(1, 2, 3, 4)[:8])
    legacy.driver.ring()
    legacy.port.advance(900_000_000)
    early = legacy.seen("SVG-D-014")
    legacy.port.advance(3_000_000_000)

    assert (early, legacy.seen("SVG-D-014")) == ([], [("FIFO", MINIMUM)])


def test_SVG_D_020_reserved_and_never_committed(legacy: Rig) -> None:
    legacy.driver.set_word(Fifo.RESERVED, 40)
    legacy.port.advance(3_000_000_000)

    assert legacy.seen("SVG-D-020") == [("FIFO", 40)]


@pytest.mark.parametrize("next_", [0, MINIMUM - 4, SIZE, MINIMUM + 2, 0xFFFF_FFFC])
def test_SVG_D_013_NEXT_CMD_outside_of_the_ring(legacy: Rig, next_: int) -> None:
    driver = legacy.driver
    driver.set_word(Fifo.NEXT_CMD, next_)
    driver.ring()
    stopped = driver.get(R.BUSY)
    driver.write(commands.fence(3))
    driver.ring()

    assert [value for _, value in legacy.seen("SVG-D-013")] == [next_]
    assert (stopped, driver.word(Fifo.FENCE)) == (0, 3)


def test_SVG_D_016_STOP_is_the_devices_own(legacy: Rig) -> None:
    driver, stop = legacy.driver, legacy.driver.word(Fifo.STOP)
    driver.set_word(Fifo.STOP, stop + 400)
    driver.send(commands.fence(1))

    assert (driver.word(Fifo.FENCE), driver.word(Fifo.STOP)) == (1, stop + 8)
    assert legacy.seen("SVG-D-016") == [("STOP", stop + 400)]


def test_SVG_D_009_the_ring_stays_where_it_was(legacy: Rig) -> None:
    driver = legacy.driver
    driver.set_word(Fifo.MIN, 0)
    driver.set_word(Fifo.MAX, 1 << 30)
    driver.send(commands.fence(1))

    assert driver.word(Fifo.FENCE) == 1
    assert legacy.seen("SVG-D-009") == [("MIN and MAX", 0)]


def test_SVG_D_012_nothing_is_done_behind_a_command_nobody_knows(legacy: Rig) -> None:
    driver = legacy.driver
    driver.send(commands.fence(1) + commands.command(999) + commands.fence(2))
    stuck = driver.word(Fifo.FENCE), driver.get(R.BUSY)
    legacy.port.advance(3_000_000_000)

    assert stuck == (1, 0)
    assert legacy.seen("SVG-D-012") == [("command", 999)]
    legacy.assert_alive()


def test_SVG_D_012_unknown_words_are_skipped_where_QEMU_does() -> None:
    rig = Rig("qemu").up()
    rig.driver.send(commands.command(999) + commands.command(998) + commands.update(0, 0, 8, 8))

    assert rig.damage().tiles == {(0, 0)}
    assert [value for _, value in rig.seen("SVG-D-012")] == [998]


def test_SVG_D_026_switched_off_with_commands_in_it(legacy: Rig) -> None:
    legacy.driver.write(commands.update(0, 0, 1, 1)[:8])
    legacy.driver.set(R.CONFIG_DONE, 0)

    assert legacy.seen("SVG-D-026") == [("CONFIG_DONE", MINIMUM + 8)]


def test_SVG_V_012_013_registers_beyond_MIN_do_not_exist(powered: Rig) -> None:
    """A ring that begins at byte 16: fences, goals and BUSY have no words, and the ring's bytes stay the driver's."""
    driver = powered.driver
    driver.negotiate()
    driver.set(R.ENABLE, 1)
    setup(powered, 16, SIZE, 16, 16)
    for at in range(4, 400):
        driver.set_word(at, 0x5555_5555)
    driver.set(R.CONFIG_DONE, 1)
    data = commands.fence(7) + commands.update(0, 0, 8, 8)
    for n in range(0, len(data), 4):
        driver.set_word(4 + n // 4, int.from_bytes(data[n : n + 4], "little"))
    driver.set_word(Fifo.NEXT_CMD, 16 + len(data))
    driver.ring()

    assert powered.device._fences.last == 7
    assert driver.word(Fifo.STOP) == 16 + len(data)
    assert [driver.word(at) for at in range(4 + len(data) // 4, 400)] == [0x5555_5555] * (396 - len(data) // 4)


def test_progress_interrupts(legacy: Rig) -> None:
    legacy.driver.expect(2)
    legacy.driver.send(commands.command(Cmd.NOP))

    assert (legacy.driver.status(), legacy.port.interrupts()) == (2, 1)


@pytest.mark.parametrize("back", [4, 20])
def test_SVG_D_017_NEXT_CMD_goes_back(legacy: Rig, back: int) -> None:
    """What had been there was seen, but not done."""
    driver = legacy.driver
    driver.write(commands.update(0, 0, 1, 1)[:16])
    driver.ring()
    next_ = driver.word(Fifo.NEXT_CMD)
    driver.set_word(Fifo.NEXT_CMD, max(next_ - back, MINIMUM))
    driver.ring()

    assert [value for _, value in legacy.seen("SVG-D-017")] == [max(next_ - back, MINIMUM)]


def test_SVG_D_017_NEXT_CMD_passes_STOP(legacy: Rig) -> None:
    """A ring that is not emptied, filled once more than it holds."""
    driver = legacy.driver
    driver.write(commands.update(0, 0, 1, 1)[:16])
    driver.ring()
    fine = legacy.seen("SVG-D-017")
    driver.write(commands.command(Cmd.NOP) * ((SIZE - MINIMUM) // 4 - 2))
    driver.ring()

    assert (fine, [value for _, value in legacy.seen("SVG-D-017")]) == ([], [MINIMUM + 8])
    legacy.assert_alive()


def bells(rig: Rig, count: int) -> None:
    """SYNC so often, with more to do than is done meanwhile, and BUSY 1."""
    rig.driver.write(commands.command(Cmd.NOP) * 20_000)
    rig.driver.set_word(Fifo.BUSY, 1)
    for _ in range(count):
        rig.device.pci.write(0, 0, 4, R.SYNC)
        rig.device.pci.write(0, 1, 4, 1)


@pytest.mark.parametrize(("count", "found"), [(90, []), (150, [149])])
def test_SVG_D_018_bells_nobody_needs(legacy: Rig, count: int, found: list[int]) -> None:
    bells(legacy, count)
    legacy.port.advance(1_500_000_000)

    assert [value for _, value in legacy.seen("SVG-D-018")] == found


def test_SVG_D_018_a_bell_for_each_time_BUSY_is_cleared(legacy: Rig) -> None:
    """As drivers ring that look at it: 1 is stored, and if it was 0 SYNC is written."""
    for _ in range(200):
        legacy.driver.set_word(Fifo.BUSY, 1)
        legacy.driver.send(commands.command(Cmd.NOP))
    legacy.port.advance(1_500_000_000)

    assert legacy.seen("SVG-D-018") == []


def test_SVG_D_019_waiting_for_what_is_not_committed(legacy: Rig) -> None:
    driver = legacy.driver
    driver.set_word(Fifo.RESERVED, 40)
    driver.ring()
    driver.get(R.BUSY)
    told = legacy.seen("SVG-D-019")
    driver.set_word(Fifo.RESERVED, 0)
    driver.sync()

    assert told == legacy.seen("SVG-D-019") == [("SYNC", 40), ("BUSY", 40)]
