"""PVSCSI device rules 030 to 038: resets, aborts and what is under way then."""

import pytest

from pvscsi import wire
from pvscsi.conform.rig import DISK, Drive, MakeRig, Rig
from pvscsi.driver import Driver, cdb
from pvscsi.driver.rings import CMP_PROD, Rings
from pvscsi.wire import STATUS_FAILED, Cmd, HostStatus

HELD = Drive(held=True)


def rings_of(driver: Driver) -> Rings:
    assert driver.rings is not None
    return driver.rings


# -- resets ------------------------------------------------------------------------------------------------------------


def test_PVS_V_030_reset_is_legal_at_any_time(rig: Rig) -> None:
    driver = rig.blank()
    answers = [driver.command(Cmd.ADAPTER_RESET) for _ in range(3)]

    driver.command_only(Cmd.SETUP_RINGS, bytes(100))
    answers.append(driver.command(Cmd.ADAPTER_RESET))
    driver.bring_up()
    answers += [driver.command(Cmd.ADAPTER_RESET) for _ in range(2)]

    assert answers == [0] * 6


def test_PVS_V_031_nothing_happens_after_a_reset(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk(intr="msi", req_pages=1, cmp_pages=1)
    driver = disk.driver
    rig.held(disk, 8)
    driver.submit(cdb.TEST_UNIT_READY, kick=False)
    driver.adapter_reset()
    rig.port.interrupts()
    before = rig.target.memory()

    rig.go_on()
    driver.kick_others()
    driver.kick_io()

    assert rig.snapshot() == before
    assert rig.fired() == 0
    assert driver.pending() == 0
    driver.reap()
    driver.forsake()


def test_PVS_V_031_the_mask_stays(rig: Rig) -> None:
    driver = rig.driver()
    driver.set_mask(5)

    driver.command_only(Cmd.ADAPTER_RESET)

    assert driver.reg(wire.REG_INTR_MASK) == 5
    assert driver.reg(wire.REG_INTR_STATUS) == 0
    driver.active = False


def test_PVS_V_032_what_is_published_is_whole(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk()
    driver = disk.driver
    rig.held(disk, 20)
    rings = rings_of(driver)
    before = rings.state[CMP_PROD]

    driver.adapter_reset()
    after = rings.state[CMP_PROD]
    found = driver.reap()  # strict: no slot that was never written, no context twice

    assert len(found) == after - before <= 20
    assert {request.host for request in found} <= {HostStatus.BUSRESET, HostStatus.SUCCESS}
    driver.forsake()


def test_PVS_V_032_and_it_works_again(rig: Rig) -> None:
    disk = rig.disk()
    disk.write(7, b"a" * 512)
    for _ in range(3):
        disk.submit(cdb.read(7, 1), read=512)
        disk.driver.reset_host()
        disk.settle()

        assert disk.read(7, 1) == b"a" * 512


def test_PVS_V_033_one_target(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD, 1: HELD})
    driver = rig.driver()
    first, second = rig.disk(0, driver), rig.disk(1, driver)
    mine, others = rig.held(first, 5), rig.held(second, 5)

    driver.command_only(Cmd.RESET_DEVICE, wire.RESET_DEVICE.encode(target=0))
    ended = driver.reap()  # Linux reads no register in between

    assert driver.status() == 0
    assert set(ended) == set(mine)
    assert {request.host for request in ended} == {HostStatus.BUSRESET}
    rig.go_on(0)
    rig.go_on(1)
    driver.wait(*others)
    assert all(request.good for request in others)
    assert [sense[:5] for sense in first.settle()] == ["06/29"]
    assert second.settle() == []


def test_PVS_V_033_requests_still_in_the_ring(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk()
    rig.held(disk, 1)
    late = disk.submit(cdb.read(0, 1), read=512, kick=False)

    disk.driver.reset_device(0)
    disk.driver.reap()

    assert late.done


def test_PVS_V_033_an_empty_place(rig: Rig) -> None:
    driver = rig.driver()
    before = rig.snapshot()

    assert driver.reset_device(5) == STATUS_FAILED
    assert rig.snapshot() == before


def test_PVS_V_034_the_bus(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD, 1: HELD})
    driver = rig.driver()
    disks = [rig.disk(number, driver) for number in (0, 1)]
    waiting = [request for disk in disks for request in rig.held(disk, 5)]

    driver.command_only(Cmd.RESET_BUS)
    ended = driver.reap()

    assert driver.status() == 0
    assert set(ended) == set(waiting)
    assert {request.host for request in ended} == {HostStatus.BUSRESET}
    for number, disk in enumerate(disks):
        rig.go_on(number)
        assert [sense[:5] for sense in disk.settle()] == ["06/29"]
        assert disk.read(0, 1) == bytes(512)


# -- abort -------------------------------------------------------------------------------------------------------------


def test_PVS_V_036_an_abort(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk()
    requests = rig.held(disk, 3)

    answer = disk.driver.abort(requests[1])
    ended = disk.driver.reap()

    assert answer == 0
    assert ended == [requests[1]]
    assert requests[1].host == HostStatus.ABORTQUEUE
    rig.go_on()
    assert rig.reaped(disk.driver) == [requests[0], requests[2]]


@pytest.mark.parametrize("context", [0, 1, 0xDEAD_BEEF_0000_0000])
def test_PVS_V_036_one_of_two_with_the_same_context(make_rig: MakeRig, context: int) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk()
    requests = rig.held(disk, 2, context=context)

    disk.driver.abort(requests[0])
    ended = disk.driver.reap()

    assert [request.host for request in ended] == [HostStatus.ABORTQUEUE]
    rig.go_on()
    assert [request.good for request in rig.reaped(disk.driver)] == [True]


def test_PVS_V_036_too_late(rig: Rig) -> None:
    disk = rig.disk()
    request = disk.submit(cdb.read(0, 1), read=512)
    rig.settle()

    disk.driver.abort_context(request.context, 0)

    assert rig.reaped(disk.driver) == [request]
    assert request.good


@pytest.mark.parametrize("wrong", ["context", "target"])
def test_PVS_V_037_nothing_to_abort(make_rig: MakeRig, wrong: str) -> None:
    rig = make_rig({0: HELD, 1: DISK})
    disk = rig.disk()
    (request,) = rig.held(disk)

    answer = disk.driver.abort_context(request.context + 50 * (wrong == "context"), int(wrong == "target"))

    assert answer == 0
    assert rig.reaped(disk.driver) == []
    rig.go_on()
    assert rig.reaped(disk.driver) == [request]
    assert request.good


@pytest.mark.parametrize("bit", [0, 31, 32, 63])
def test_PVS_V_038_all_64_bits_count(make_rig: MakeRig, bit: int) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk()
    context = 0x1234_5678_9ABC_DEF0
    (request,) = rig.held(disk, context=context)

    disk.driver.abort_context(context ^ 1 << bit, 0)
    wrong = rig.reaped(disk.driver)
    disk.driver.abort_context(context, 0)

    assert wrong == []
    assert rig.reaped(disk.driver) == [request]
    assert request.host == HostStatus.ABORTQUEUE
