"""The in-process port: calls straight through, a clock that moves only when it is waited for."""

import pytest

from pvdev.irq import Interrupts
from pvdev.mem import GuestMemory
from pvdev.pci import Bar, Identity, PciFunction
from pvdev.rules import RuleBook, RuleLog
from pvdev.trace import Sink
from pvdev.transport.inproc import LocalPort

BELL = 0x10


class Toy:
    """A device with a bell: each ring is a unit of work; `alarms` are moments it wakes up by itself."""

    name = "toy"
    polled = False
    gathers = False
    trace: Sink | None = None

    def __init__(self) -> None:
        self.mem, self.rules = GuestMemory(), RuleLog(RuleBook())
        self.pci = PciFunction(Identity(1, 2, 0), {0: Bar(0x1000, self)}, [], Interrupts(1))
        self.kicked, self.work, self.resets = False, 0, 0
        self.alarms: list[int] = []
        self.log: list[tuple[int, int]] = []  # (now, units done)

    def read(self, offset: int, size: int) -> int:
        self.pci.irq.set_line(False)
        return self.work

    def write(self, offset: int, size: int, value: int) -> None:
        self.work += value
        self.kicked = offset == BELL

    def service(self, budget: int, now_ns: int) -> bool:
        self.kicked = False
        done = min(budget, self.work)
        self.work -= done
        while self.alarms and self.alarms[0] <= now_ns:
            self.alarms.pop(0)
            done += 1
        if done:
            self.log.append((now_ns, done))
            self.pci.irq.set_line(True)
        return done > 0

    def deadline(self) -> int | None:
        return self.alarms[0] if self.alarms else None

    def rest(self) -> bool:
        return False

    def reset(self) -> None:
        self.resets += 1
        self.pci.reset()


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def port(toy: Toy) -> LocalPort:
    return LocalPort(toy, memory=1 << 16, budget=4)


def test_a_write_without_a_doorbell_does_no_work(toy: Toy, port: LocalPort) -> None:
    port.write(0, 0, 3)

    assert (toy.log, port.read(0, 0)) == ([], 3)


def test_a_doorbell_is_served_to_the_end_in_budgets(toy: Toy, port: LocalPort) -> None:
    port.write(0, BELL, 10)

    assert toy.log == [(0, 4), (0, 4), (0, 2)]


def test_rounds_bound_the_work(toy: Toy, port: LocalPort) -> None:
    port.write(0, 0, 100)

    port.run(rounds=3)

    assert toy.log == [(0, 4)] * 3


def test_config_space_is_region_7(toy: Toy, port: LocalPort) -> None:
    port.write(7, 4, 2, 2)

    assert port.read(7, 0) == 2 << 16 | 1
    assert port.read(7, 4, 2) == 2


def test_interrupts_are_told_once(toy: Toy, port: LocalPort) -> None:
    port.write(0, BELL, 1)

    assert (port.interrupts(), port.interrupts()) == (1, 0)


def test_interrupts_that_rose_and_fell_between_two_looks_are_kept(toy: Toy, port: LocalPort) -> None:
    port.write(0, BELL, 1)
    port.read(0, 0)

    assert (toy.pci.irq.line, port.interrupts()) == (False, 1)


def test_time_stands_still(toy: Toy, port: LocalPort) -> None:
    toy.alarms = [500]

    port.run()

    assert (port.now_ns, toy.log) == (0, [])


def test_advance_does_what_falls_due_when_it_falls_due(toy: Toy, port: LocalPort) -> None:
    toy.alarms = [500, 700, 1001]

    port.advance(1000)

    assert toy.log == [(500, 1), (700, 1)]
    assert port.now_ns == 1000


def test_advance_passes_an_alarm_nobody_answers(toy: Toy, port: LocalPort) -> None:
    toy.alarms = [500]
    toy.service = lambda budget, now_ns: False  # type: ignore[method-assign]

    port.advance(1000)

    assert port.now_ns == 1000


def test_until_jumps_from_deadline_to_deadline(toy: Toy, port: LocalPort) -> None:
    toy.alarms = [500, 700, 900]

    reached = port.until(lambda: len(toy.log) == 2)

    assert reached
    assert toy.log == [(500, 1), (700, 1)]
    assert port.now_ns == 700


def test_until_gives_up_when_nothing_can_come(toy: Toy, port: LocalPort) -> None:
    assert not port.until(lambda: False)
    assert port.now_ns == 0


def test_until_gives_up_when_the_next_deadline_is_too_late(toy: Toy, port: LocalPort) -> None:
    toy.alarms = [2_000_000_000]

    assert not port.until(lambda: False, timeout_s=1.0)
    assert toy.log == []


def test_memory_lent_is_seen_by_the_device(toy: Toy, port: LocalPort) -> None:
    piece = port.alloc(64)

    piece.view[:5] = b"ready"
    toy.mem.write(piece.address + 5, b" too")

    assert toy.mem.read(piece.address, 5) == b"ready"
    assert bytes(piece.view[:9]) == b"ready too"


def test_memory_given_back_is_lent_again(port: LocalPort) -> None:
    piece = port.alloc(1 << 16)
    with pytest.raises(MemoryError):
        port.alloc(1)

    port.free(piece)

    assert len(port.alloc(1 << 16).view) == 1 << 16


def test_reset_forgets_interrupts(toy: Toy, port: LocalPort) -> None:
    port.write(0, BELL, 1)

    port.reset()

    assert (toy.resets, port.interrupts()) == (1, 0)


def test_close_takes_the_memory_away(toy: Toy, port: LocalPort) -> None:
    port.close()

    assert toy.mem.regions() == ()
    assert port.arena.block.fd == -1
