"""Duties of the host, VMT-V-050 to 054: the balloon; and how memory is shared between guests."""

import pytest

from tests.conformance.vmtools.rig import MEMORY, Rig
from vmtools.backdoor import Machine
from vmtools.balloon import Range
from vmtools.driver.balloon import BASIC, BATCHED, BalloonDriver
from vmtools.driver.ports import Ports
from vmtools.host import Host
from vmtools.reclaim import Budget, Guest, Schedule
from vmtools.wire import PAGE, Cmd
from vmtools.wire import Balloon as Ask

PAGES = MEMORY // PAGE
MIB = 1 << 20


@pytest.mark.parametrize(("wanted", "got"), [(0x3E, 0x2E), (0x3F, 0x2E), (0x2, 0x2), (0xFFFF_FFFF, 0x2E), (0x6, 0x6)])
def test_VMT_V_050_START_gives_what_is_common(rig: Rig, wanted: int, got: int) -> None:
    frame = rig.kernel.balloon(Ask.START, wanted)

    assert (frame.rax, frame.rcx) == (0x0300_0000, got)


def test_VMT_V_050_a_host_that_sees_no_memory_offers_no_batches() -> None:
    assert Ports(Host(), cpl=0).balloon(Ask.START, 0x3E).rcx == 0x22


@pytest.mark.parametrize(("context", "resource"), [(3, 5), (0xFFFF_FFFF, 5), (3, 0xFFFF_FFFF)])
def test_VMT_V_050_there_is_no_doorbell(rig: Rig, context: int, resource: int) -> None:
    assert rig.kernel.balloon(Ask.VMCI_DOORBELL_SET, context, resource).rax == 1


def test_VMT_V_050_pages_of_a_host_that_sees_no_memory() -> None:
    host = Host(machine=Machine(memory=MEMORY))
    host.balloon_device.set_target(2)
    kernel = Ports(host, cpl=0)
    kernel.balloon(Ask.START, 2)

    assert [kernel.balloon(Ask.LOCK, page, 1).rax for page in (PAGES - 1, PAGES)] == [0, 2]


def test_VMT_V_051_a_target_of_64_bits(rig: Rig) -> None:
    rig.host.machine.memory = PAGE << 40
    rig.host.balloon_device.set_target(1 << 36)
    rig.kernel.balloon(Ask.START, 0x3E)

    assert rig.kernel.balloon(Ask.GET_TARGET, PAGES).rbx == 1 << 36


def test_VMT_V_051_one_of_32(rig: Rig) -> None:
    rig.host.machine.memory = PAGE << 40
    rig.host.balloon_device.set_target(1 << 36)
    rig.kernel.balloon(Ask.START, 0x2)

    assert rig.kernel.balloon(Ask.GET_TARGET, PAGES).rbx == 0xFFFF_FFFF


def test_VMT_V_052_a_batch(rig: Rig) -> None:
    rig.host.balloon_device.set_target(3)
    rig.kernel.balloon(Ask.START, 0x3E)
    pages = (0x100, 0x101, 0x10_0000, 0x100, 0x102, 0x103)
    words = rig.memory[:PAGE].cast("Q")
    words[: len(pages)] = memoryview(b"".join((page << 12).to_bytes(8, "little") for page in pages)).cast("Q")

    frame = rig.kernel.balloon(Ask.BATCHED_LOCK, 0, len(pages))

    assert (frame.rax, frame.rbx) == (0, 3)
    assert [word >> 12 for word in words[: len(pages)]] == list(pages)
    assert [word & 0xFFF for word in words[: len(pages)]] == [0, 0, 2, 3, 0, 6]
    assert rig.host.balloon_device.current == 3


def test_VMT_V_053_RESET_empties_it(rig: Rig) -> None:
    driver, balloon = rig.balloon(), rig.host.balloon_device
    given: list[list[Range]] = []
    balloon.restore = given.append
    balloon.set_target(2048)
    driver.work()
    assert (driver.size, balloon.current) == (2048, 2048)

    balloon.set_target(0)
    balloon.reset()
    driver.work()

    assert (driver.resets, driver.size, balloon.current) == (1, 0, 0)
    assert given == [[(2 * MIB, 8 * MIB)]]
    driver.work()
    assert driver.resets == 1
    rig.assert_clean()


@pytest.mark.parametrize("wanted", [0x2E, BASIC | BATCHED, BASIC])
def test_VMT_V_054_both_sides_count_the_same(rig: Rig, wanted: int) -> None:
    driver, balloon = rig.balloon(wanted), rig.host.balloon_device
    released: list[Range] = []
    restored: list[Range] = []
    balloon.release, balloon.restore = released.extend, restored.extend
    sizes = []
    for target in (5000, 12000, 700, 0):
        balloon.set_target(target)
        driver.work()
        sizes.append((driver.size, balloon.current))

    held = sum(length for _, length in released) - sum(length for _, length in restored)
    assert [ours for _, ours in sizes] == [theirs for theirs, _ in sizes]
    assert [abs(ours - target) < 512 for (_, ours), target in zip(sizes, (5000, 12000, 700, 0), strict=True)] == [
        True
    ] * 4
    assert sizes[-1] == (0, 0)
    assert held == 0
    rig.assert_clean()


def test_VMT_V_054_a_driver_that_goes(rig: Rig) -> None:
    driver, balloon = rig.balloon(), rig.host.balloon_device
    balloon.set_target(4096)
    driver.work()
    driver.stop()

    assert (balloon.current, balloon.started, driver.size) == (0, False, 0)
    rig.assert_clean()


def test_the_balloon_of_a_program_is_an_empty_port(rig: Rig) -> None:
    frame = rig.ports.balloon(Ask.START, 0x3E)

    assert frame.rax == 0xFFFF_FFFF


def test_an_empty_port_for_other_magics(rig: Rig) -> None:
    frame = rig.kernel.low(Cmd.GETVERSION)
    rig.host.balloon(frame, 0)

    assert frame.rax == 0xFFFF_FFFF


def test_a_schedule(rig: Rig) -> None:
    balloon, seen = rig.host.balloon_device, []
    schedule = Schedule(balloon, [(10, 0.5), (20, 0.25), (30, 0)], start_ns=100)
    for now_ns in (100, 110, 119, 135):
        due = schedule.tick(now_ns)
        seen.append((balloon.target, due))

    assert seen == [(0, 110), (PAGES // 2, 120), (PAGES // 2, 120), (0, None)]


class House:
    """Guests of 64 MiB that share a budget, each with its driver: (shares, bytes reserved)."""

    def __init__(self, total: int, **guests: tuple[int, int]) -> None:
        self.budget, self.drivers = Budget(total), list[BalloonDriver]()
        for name, (shares, reserved) in guests.items():
            rig = Rig()
            self.drivers.append(rig.balloon())
            self.budget.add(Guest(name, rig.host.balloon_device, shares=shares, reserved=reserved))

    def balance(self) -> dict[str, int]:
        """MiB each may keep, after the drivers have worked."""
        self.budget.balance()
        for driver in self.drivers:
            driver.work()
        return {row.name: row.allowed // MIB for row in self.budget.report()}


def test_two_guests_share_a_budget() -> None:
    house = House(96 * MIB, one=(1000, 0), other=(1000, 0))

    assert house.balance() == {"one": 48, "other": 48}
    assert [(row.held // MIB, row.owed) for row in house.budget.report()] == [(16, 0), (16, 0)]


def test_shares_and_reservations_count() -> None:
    assert House(64 * MIB, one=(3000, 0), other=(1000, 0)).balance() == {"one": 48, "other": 16}
    assert House(64 * MIB, one=(1000, 40 * MIB), other=(1000, 0)).balance() == {"one": 52, "other": 12}


def test_nobody_gets_more_than_it_has() -> None:
    assert House(100 * MIB, one=(9000, 0), other=(1000, 0)).balance() == {"one": 64, "other": 36}
    assert House(1 << 30, one=(1000, 0), other=(1000, 0)).balance() == {"one": 64, "other": 64}


def test_what_one_does_not_want_the_others_have() -> None:
    house = House(64 * MIB, one=(1000, 0), other=(1000, 0))
    house.budget.guests[0].wants = lambda: 8 * MIB

    assert house.balance() == {"one": 8, "other": 56}


def test_a_budget_says_no() -> None:
    house = House(64 * MIB, one=(1000, 40 * MIB))
    with pytest.raises(ValueError, match="reserved"):
        house.budget.add(Guest("other", Rig().host.balloon_device, reserved=40 * MIB))


def test_targets_are_within_memory(rig: Rig) -> None:
    with pytest.raises(ValueError, match="pages"):
        rig.host.balloon_device.set_target(PAGES + 1)
    with pytest.raises(ValueError, match="0 to 1"):
        rig.host.balloon_device.set_fraction(1.5)
