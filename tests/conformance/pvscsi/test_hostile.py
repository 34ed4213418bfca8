"""Hostile drivers: registers, commands, indices and interrupts, by the number of the case.

Wherever a case ends, the adapter works after ADAPTER_RESET.
"""

from random import Random

import pytest

from pvdev.pci import CONFIG_REGION
from pvdev.pci_driver import set_master
from pvdev.rules import PLACES_MAX
from pvscsi import wire
from pvscsi.conform.inside import ModelBench, ServedBench
from pvscsi.conform.rig import Drive, MakeRig, Rig
from pvscsi.driver import Disk, Driver, RingFull, cdb
from pvscsi.driver.memory import addresses
from pvscsi.driver.rings import CMP_CONS, CMP_LOG2, CMP_PROD, MSG_PROD, REQ_CONS, REQ_LOG2, REQ_PROD
from pvscsi.wire import REQUEST, STATUS_FAILED, Cmd, HostStatus
from tests.conformance.pvscsi.told import NOWHERE, assert_alive, rings_of, seen

BENCHES = (ModelBench(), ServedBench())
HELD = Drive(held=True)


@pytest.fixture
def fresh(rig: Rig) -> Driver:
    """A driver that has reset the adapter."""
    driver = rig.blank(strict=False)
    driver.command_only(Cmd.ADAPTER_RESET)
    return driver


@pytest.fixture
def disk(rig: Rig) -> Disk:
    """Behind rings of one page each."""
    return rig.disk(driver=rig.driver(strict=False, req_pages=1, cmp_pages=1))


def setup(driver: Driver, **changed: int | list[int]) -> int:
    """SETUP_RINGS with one page of each, some of it changed; COMMAND_STATUS."""
    pages = driver.memory.pages(3)
    pages[0].view[:] = bytes(wire.PAGE)
    state, request, completion = addresses(pages)
    values: dict[str, int | list[int]] = {
        "reqRingNumPages": 1,
        "cmpRingNumPages": 1,
        "ringsStatePPN": state,
        "reqRingPPNs": [request] * 32,
        "cmpRingPPNs": [completion] * 32,
    }
    return driver.command(Cmd.SETUP_RINGS, wire.SETUP_RINGS.encode(**{**values, **changed}))


# -- SETUP_RINGS and SETUP_MSG_RING ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 33, 0x8000_0000, 0xFFFF_FFFF])
@pytest.mark.parametrize("ring", ["reqRingNumPages", "cmpRingNumPages"])
def test_hostile_01_page_counts(rig: Rig, disk: Disk, ring: str, count: int) -> None:
    assert setup(disk.driver, **{ring: count}) == STATUS_FAILED

    assert disk.run(cdb.inquiry(), read=36).good  # the rings there were are unchanged
    assert seen(rig, "PVS-D-009") == [("SETUP_RINGS", count, 1)]
    assert_alive(rig)


@pytest.mark.parametrize("count", [3, 5, 31])
def test_hostile_02_page_counts_that_are_no_powers_of_two(rig: Rig, fresh: Driver, count: int) -> None:
    assert setup(fresh, reqRingNumPages=count) == STATUS_FAILED

    assert seen(rig, "PVS-D-009") == [("SETUP_RINGS", count, 1)]
    assert_alive(rig)


@pytest.mark.parametrize("ppn", [1 << 52, (1 << 52) + 0x100, (1 << 64) - 1, NOWHERE >> 12, 0xC000_0000 >> 12])
@pytest.mark.parametrize("what", ["ringsStatePPN", "reqRingPPNs", "cmpRingPPNs"])
def test_hostile_03_pages_in_no_memory(rig: Rig, fresh: Driver, what: str, ppn: int) -> None:
    """Beyond the end of all addresses, in holes, and where the adapter's own registers are."""
    assert setup(fresh, **{what: ppn if what == "ringsStatePPN" else [ppn]}) == STATUS_FAILED

    assert seen(rig, "PVS-D-011") == [("SETUP_RINGS", ppn, 1)]
    assert_alive(rig)


def test_hostile_04_all_pages_the_same(rig: Rig, fresh: Driver) -> None:
    page = fresh.memory.pages(1)[0]
    page.view[:] = bytes(wire.PAGE)

    answer = setup(
        fresh,
        reqRingNumPages=32,
        cmpRingNumPages=32,
        ringsStatePPN=page.ppn,
        reqRingPPNs=[page.ppn] * 32,
        cmpRingPPNs=[page.ppn] * 32,
    )
    page.view.cast("I")[REQ_PROD] = 1024  # requests made of indices; completions go over both
    for _ in range(20):
        fresh.kick_others()
        fresh.kick_io()
    rig.settle()

    assert answer == 0
    assert "PVS-D-012" in rig.broken()
    assert_alive(rig)


def test_hostile_05_messages_before_rings(rig: Rig, fresh: Driver) -> None:
    page = fresh.memory.pages(1)[0]
    before = bytes(page.view)

    answer = fresh.command(Cmd.SETUP_MSG_RING, wire.SETUP_MSG_RING.encode(numPages=1, ringPPNs=[page.ppn]))
    rig.model.plug(5, Drive())

    assert answer == 34
    assert page.view == before
    assert_alive(rig)


def test_hostile_05_message_rings_twice(rig: Rig) -> None:
    driver = rig.driver(strict=False, msg_pages=1)
    old, new = rings_of(driver).messages, driver.memory.pages(2)
    assert old is not None
    before = bytes(old.pages[0].view)
    rig.model.plug(5, Drive())

    answer = driver.command(Cmd.SETUP_MSG_RING, wire.SETUP_MSG_RING.encode(numPages=2, ringPPNs=addresses(new)))
    rig.model.plug(6, Drive())

    assert answer == 34
    assert bytes(old.pages[0].view)[128:] == before[128:]  # one message went there, none after
    assert wire.MSG_DEV.decode(bytes(new[0].view[:128]))["target"] == 6
    assert rings_of(driver).state[MSG_PROD] == 1
    assert_alive(rig)


def test_hostile_06_half_a_command_and_a_reset(rig: Rig, fresh: Driver) -> None:
    for words in (0, 1, 131):
        fresh.command_only(Cmd.SETUP_RINGS, bytes(4 * words))
        fresh.command_only(Cmd.ADAPTER_RESET)
        assert fresh.status() == 0

    assert seen(rig, "PVS-D-006") == [("command 3", 131, 3)]
    assert_alive(rig)


def test_hostile_06_data_without_end(rig: Rig, fresh: Driver) -> None:
    for n in range(1000):
        fresh.set_reg(wire.REG_COMMAND_DATA, n)
    fresh.command_only(Cmd.SETUP_RINGS, bytes(4 * 133))

    assert seen(rig, "PVS-D-005") == [("COMMAND_DATA", 0, 1001)]
    assert_alive(rig)


def test_hostile_07_rings_over_a_full_ring_of_requests(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk(driver=rig.driver(strict=False, req_pages=32, cmp_pages=8))
    driver, rings = disk.driver, rings_of(disk.driver)
    out = rig.held(disk, 1024)

    assert setup(driver) == 0
    pages = [bytes(page.view) for page in (rings.page, *rings.requests.pages, *rings.completions.pages)]
    rig.go_on()

    assert len(out) == 1024
    assert [bytes(page.view) for page in (rings.page, *rings.requests.pages, *rings.completions.pages)] == pages
    driver.forsake()
    assert_alive(rig)


# -- indices -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [33, 0x7FFF_FFFF, 0x8000_0000, -1, -32])
def test_hostile_08_reqProdIdx_jumps(rig: Rig, disk: Disk, step: int) -> None:
    rings = rings_of(disk.driver)
    before = rings.state[REQ_CONS], rings.state[CMP_PROD]

    for _ in range(50):
        rings.state[REQ_PROD] = rings.req_prod + step & 0xFFFF_FFFF
        disk.driver.kick_others()
        disk.driver.kick_io()
    rig.settle()

    assert (rings.state[REQ_CONS], rings.state[CMP_PROD]) == before  # nothing was read that nobody wrote
    assert [count for _, _, count in seen(rig, "PVS-D-017")] == [1]
    rings.publish()
    assert disk.run(cdb.inquiry(), read=36).good  # no reset is needed
    assert_alive(rig)


@pytest.mark.slow
def test_hostile_10_reqProdIdx_moves_all_the_time(rig: Rig, disk: Disk) -> None:
    rings, random = rings_of(disk.driver), Random(10)
    for _ in range(2000):
        rings.state[REQ_PROD] = random.choice([rings.req_prod, rings.req_prod + 32, random.getrandbits(32)])
        if random.random() < 0.1:
            disk.driver.kick_io()
    rig.settle()

    ahead = rings.state[CMP_PROD] - rings.cmp_cons & 0xFFFF_FFFF
    assert ahead <= rings.completions.entries
    disk.driver.forsake()
    assert_alive(rig)


@pytest.mark.parametrize("word", [REQ_CONS, CMP_PROD], ids=["reqConsIdx", "cmpProdIdx"])
def test_hostile_11_the_devices_indices_overwritten(rig: Rig, disk: Disk, word: int) -> None:
    rings = rings_of(disk.driver)

    for value in (0, 0xFFFF_FFFF, 12345):
        request = disk.submit(cdb.inquiry(), read=36, kick=False)
        rings.state[word] = value
        disk.driver.kick_others()
        assert rings.state[word] == rings.req_prod
        disk.driver.wait(request)

    assert_alive(rig)


@pytest.mark.parametrize("word", [REQ_LOG2, CMP_LOG2], ids=["reqNumEntriesLog2", "cmpNumEntriesLog2"])
def test_hostile_12_log2_overwritten(rig: Rig, disk: Disk, word: int) -> None:
    was = rings_of(disk.driver).state[word]

    rings_of(disk.driver).state[word] = 255
    for _ in range(40):
        assert disk.run(cdb.inquiry(), read=36).good

    assert rings_of(disk.driver).state[word] == was
    assert seen(rig, "PVS-D-020") == [(f"state page offset {4 * word:#x}", 255, 1)]
    assert_alive(rig)


def test_hostile_13_completions_are_never_taken(make_rig: MakeRig) -> None:
    rig = make_rig()
    driver = rig.driver(strict=False, req_pages=32, cmp_pages=1)
    rings = rings_of(driver)
    ring = [bytes(rings.completions.pages[0].view)]

    for _ in range(10):  # without a look at the completions: as many as the ring holds, and more, and more
        rings.put(REQUEST.encode(context=1, cdb=cdb.TEST_UNIT_READY, cdbLen=6, tag=0x20, flags=4, target=9) * 300)
        rings.publish()
        driver.kick_others()
        ring.append(bytes(rings.completions.pages[0].view))
    rig.settle()

    assert rings.state[CMP_PROD] == 128  # the ring is full once, and nothing is overwritten
    assert ring[2:] == ring[1:-1]
    assert rings.state[REQ_CONS] == 128 + 1024  # as many are kept as the request ring holds
    assert "PVS-D-055" in rig.broken()
    assert_alive(rig)


@pytest.mark.parametrize("step", [1, 129, 0x8000_0000])
def test_hostile_13_cmpConsIdx_is_garbage(rig: Rig, disk: Disk, step: int) -> None:
    rings = rings_of(disk.driver)
    rings.state[CMP_CONS] = rings.cmp_cons + step & 0xFFFF_FFFF

    for n in range(32):
        disk.submit(cdb.read(n, 1), read=512, kick=n == 31)
    rig.settle()

    assert rings.state[CMP_PROD] == rings.cmp_cons  # held back
    assert "PVS-D-019" in rig.broken()
    rings.state[CMP_CONS] = rings.cmp_cons
    disk.driver.wait()
    assert_alive(rig)


def test_hostile_14_a_storm_of_kicks(rig: Rig, disk: Disk, fresh: Driver) -> None:
    for driver in (disk.driver, fresh):  # the second has reset the adapter
        for n in range(500):
            driver.kick_io(n)
            driver.kick_others(n)
    rig.settle()

    assert not rings_of(disk.driver).done
    disk.driver.forsake()
    assert_alive(rig)


# -- aborts, resets and the other commands -----------------------------------------------------------------------------


def test_hostile_33_one_context_for_all(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk(driver=rig.driver(strict=False))
    requests = rig.held(disk, 5, context=7)

    for _ in range(3):
        disk.driver.abort_context(7, 0)
    aborted = disk.driver.reap()
    rig.go_on()
    disk.driver.wait()

    assert [request.host for request in aborted] == [HostStatus.ABORTQUEUE] * 3
    assert sorted(request.host for request in requests) == [0, 0, *[HostStatus.ABORTQUEUE] * 3]
    assert_alive(rig)


@pytest.mark.slow
def test_hostile_34_a_flood_of_aborts_and_resets(make_rig: MakeRig) -> None:
    """Every request is completed exactly once: the driver complains of any other number."""
    rig = make_rig({0: HELD, 1: Drive()})
    driver, random = rig.driver(), Random(34)
    disks = [rig.disk(number, driver) for number in (0, 1)]
    sent = 0
    rig.target.hold(0, True)
    for _ in range(300):
        chosen = random.choice(disks)
        try:
            for lba in range(random.randrange(1, 8)):
                chosen.submit(cdb.read(lba, 1), read=512)
                sent += 1
        except RingFull:
            driver.reset_device(0)
        waiting = [request for requests in driver.out.values() for request in requests]
        match random.randrange(6):
            case 0:
                driver.reset_device(random.randrange(2))
            case 1:
                driver.reset_bus()
            case 2 | 3 if waiting:
                driver.abort(random.choice(waiting))
            case 4:
                driver.abort_context(random.randrange(300), random.randrange(3))
        driver.reap()
    rig.go_on()
    driver.wait()

    assert driver.count >= sent
    assert_alive(rig)


ADDRESSES = {"unmapped": NOWHERE, "all ones": (1 << 64) - 1, "the end": (1 << 64) - 16, "odd": 3, "page end": 4090}


@pytest.mark.parametrize("command", [Cmd.CONFIG, Cmd.DEVICE_UNPLUG, Cmd.ISSUE_SCSI], ids=lambda command: command.name)
@pytest.mark.parametrize("where", [*ADDRESSES, "state page", "completion ring"])
def test_hostile_36_addresses_of_commands(rig: Rig, command: Cmd, where: str) -> None:
    driver = rig.driver(strict=False)
    rings = rings_of(driver)
    address = {"state page": rings.page.address, "completion ring": rings.completions.pages[0].address}.get(where, -1)
    if address < 0:
        address = ADDRESSES[where]
        address += driver.memory.pages(1)[0].address if address < 4096 else 0
    argument = {
        Cmd.CONFIG: wire.CONFIG.encode(cmpAddr=address, configPageAddress=0x2120 << 32, configPageNum=0x1958),
        Cmd.DEVICE_UNPLUG: wire.DEVICE_UNPLUG.encode(hostStatusAddr=address),
        Cmd.ISSUE_SCSI: wire.ISSUE_SCSI.encode(reqAddr=address, cmpAddr=address),
    }[command]
    before = rig.snapshot()

    answer = driver.command(command, argument)

    wanted = 0 if command is Cmd.CONFIG and where in ("state page", "completion ring") else STATUS_FAILED
    assert answer == wanted
    assert answer == 0 or rig.snapshot() == before
    assert_alive(rig)


# -- interrupts, threshold, bus mastering ------------------------------------------------------------------------------


@pytest.mark.parametrize("intr", ["intx", "msi", "msix"])
def test_hostile_39_interrupt_registers_in_a_loop(rig: Rig, intr: str) -> None:
    driver = rig.driver(strict=False, intr=intr)
    driver.acknowledge(3)
    rig.fired()

    for _ in range(200):
        driver.set_mask(0)
        driver.set_mask(0xF)
        driver.set_reg(wire.REG_INTR_STATUS, 0xFFFF_FFFF)
    assert rig.fired() == 0  # no interrupt without a cause
    driver.submit(cdb.inquiry(), read=36)
    rig.settle()
    for _ in range(200):
        driver.set_mask(0)
        driver.set_mask(0xF)

    assert rig.fired() in (0, 1) if intr == "intx" else rig.fired() == 1
    driver.wait()
    assert_alive(rig)


@pytest.mark.parametrize("address", [0, (1 << 64) - 4, NOWHERE, "ring"])
def test_hostile_40_messages_anywhere(rig: Rig, address: int | str) -> None:
    """A message is an interrupt for whoever delivers it, and never a write of ours."""
    driver = rig.driver(strict=False)
    rings = rings_of(driver)
    aim = rings.requests.pages[0].address if isinstance(address, str) else address
    bar, table = driver.facts().msix_table
    rig.port.write(bar, table, aim & 0xFFFF_FFFF)
    rig.port.write(bar, table + 4, aim >> 32)
    rig.port.write(bar, table + 8, 0xFFFF_FFFF)
    before = bytes(rings.requests.pages[0].view)

    driver.kick_io()
    rig.model.plug(9, Drive())

    assert rig.fired() == 1
    assert bytes(rings.requests.pages[0].view) == before
    assert_alive(rig)


def test_hostile_40_a_masked_vector_keeps_its_message(rig: Rig) -> None:
    driver = rig.driver(strict=False)
    bar, table = driver.facts().msix_table
    rig.fired()
    rig.port.write(bar, table + 12, 1)
    rig.model.plug(9, Drive())
    silent, waiting = rig.fired(), rig.port.read(bar, wire.MSIX_PBA)

    rig.port.write(bar, table, 0xFEE0_1000)  # rewritten while it waits
    rig.port.write(bar, table + 12, 0)

    assert (silent, waiting & 1, rig.fired()) == (0, 1, 1)
    assert_alive(rig)


@pytest.mark.parametrize("bit", ["bus mastering", "memory decoding"])
def test_hostile_41_taken_away_with_requests_out(make_rig: MakeRig, bit: str) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk(driver=rig.driver(strict=False))
    out = rig.held(disk, 20)
    command = rig.port.read(CONFIG_REGION, 4, 2)
    rig.fired()
    before = rig.snapshot()

    rig.port.write(CONFIG_REGION, 4, command & ~(4 if bit == "bus mastering" else 2), 2)
    if bit == "bus mastering":
        rig.go_on()
        disk.driver.kick_others()
        assert rig.snapshot() == before
        assert rig.fired() == 0
    rig.port.write(CONFIG_REGION, 4, command, 2)
    rig.go_on()
    disk.driver.wait()

    wanted = HostStatus.BUSRESET if bit == "bus mastering" else HostStatus.SUCCESS
    assert {request.host for request in out} == {wanted}
    assert_alive(rig)


@pytest.mark.parametrize("on", [True, False])
def test_hostile_41_switched_a_hundred_times(rig: Rig, disk: Disk, on: bool) -> None:
    for n in range(100):
        set_master(rig.port, n % 2 == 0)
        disk.driver.kick_others()
    set_master(rig.port, on)
    set_master(rig.port, True)

    assert disk.run(cdb.inquiry(), read=36).good
    assert_alive(rig)


# -- hot plug ----------------------------------------------------------------------------------------------------------


def test_hostile_43_unplugged_with_requests_out(make_rig: MakeRig) -> None:
    rig = make_rig({0: Drive(), 3: HELD})
    disk = rig.disk(3, rig.driver(msg_pages=1))
    out = rig.held(disk, 20)
    medium = rig.model.medium(3)

    rig.model.unplug(3)
    done = disk.driver.reap()
    before = rig.snapshot()
    medium.holding = False  # type: ignore[attr-defined]
    rig.settle()

    assert done == out
    assert {request.host for request in out} == {HostStatus.BUSRESET}
    assert rig.snapshot() == before
    assert [message.target for message in disk.driver.messages()] == [3]
    assert disk.run(cdb.inquiry(), read=36).host == HostStatus.SELTIMEO
    assert_alive(rig)


def test_hostile_44_messages_nobody_reads(make_rig: MakeRig) -> None:
    rig = make_rig()
    driver = rig.driver(strict=False, msg_pages=1)
    target = rig.device.targets[0]

    def storm() -> None:
        for n in range(5000):
            rig.device.add(1 + n % 60, target)
            rig.device.remove(1 + n % 60)

    rig.model.do(storm)
    rings = rings_of(driver)
    told = []
    assert rings.state[MSG_PROD] == 32  # the ring is full, and no more
    while found := driver.messages():
        told += found
        rig.settle()

    latest = {message.target: message.added for message in told}
    assert len(told) <= 32 + 2 * 60
    assert latest == dict.fromkeys(range(1, 61), False)  # what is true now was told last of each
    assert_alive(rig)


def test_the_log_of_broken_rules_does_not_grow_without_bound(rig: Rig, disk: Disk) -> None:
    for n in range(300):
        disk.driver.run(bytes((n % 256,)) + bytes(9), target=n % 256, bus=n % 3, flags=0x20 | 8, read=16)

    assert len(seen(rig, "PVS-D-032")) <= PLACES_MAX + 1
    assert_alive(rig)
