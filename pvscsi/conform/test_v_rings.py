"""PVSCSI device rules 050 to 059: requests in, completions out."""

from random import Random

import pytest

from pvscsi import wire
from pvscsi.conform.rig import CD, DISK, Drive, MakeRig, Rig, pattern
from pvscsi.driver import Batch, Disk, Driver, Request, RingFull, cdb
from pvscsi.driver.rings import CMP_CONS, CMP_PROD, MSG_CONS, REQ_CONS, REQ_PROD, UNWRITTEN, Rings
from pvscsi.wire import Intr

HELD = Drive(held=True)
WRAP = 1 << 32


def rings_of(driver: Driver) -> Rings:
    assert driver.rings is not None
    return driver.rings


def start_at(rig: Rig, rings: Rings, index: int) -> None:
    """INSIDE: both sides go on as if `index` of everything had passed."""
    engine = rig.device._engine
    assert engine is not None
    engine.queue.preset(index)
    rings.preset(index)


def laps(rig: Rig, driver: Driver, batch: Batch, count: int) -> None:
    """`count` reads of 8 blocks through a batch, each checked against what the disk holds."""
    random, wanted, sent, done = Random(count), pattern(1 << 20, 54), 0, 0
    where = list(range(0, 1024, 8))
    lbas: dict[int, int] = {}
    while done < count:
        chosen = [random.choice(where) for _ in range(min(count - sent, random.randrange(1, 64)))]
        free = list(batch.free)
        n = batch.submit(chosen)
        lbas |= zip(free[len(free) - n :], chosen, strict=False)
        sent += n
        assert rig.port.until(lambda: rings_of(driver).done > 0)
        for number in batch.reap():
            done += 1
            assert bytes(batch.buffer(number)[:16]) == wanted[512 * lbas[number] :][:16]


def prepared(disk: Disk) -> None:
    """The first MiB of the disk is `pattern(…, 54)`."""
    data = pattern(1 << 20, 54)
    for at in range(0, len(data), 1 << 16):
        disk.write(at // 512, data[at : at + (1 << 16)])


def test_PVS_V_050_every_request_is_completed_once(make_rig: MakeRig) -> None:
    rig = make_rig({0: DISK, 3: CD})
    driver, random = rig.driver(), Random(50)
    for number in (0, 3):
        rig.disk(number, driver)
    commands = [
        (cdb.inquiry(), 36),
        (cdb.TEST_UNIT_READY, 0),
        (cdb.read(1, 1), 2048),
        (cdb.read(1 << 30, 1), 2048),
        (bytes((0xFF,)) + bytes(9), 0),
        (cdb.report_luns(), 256),
    ]
    sent: list[Request] = []
    for _ in range(1000):
        command, size = random.choice(commands)
        try:
            sent.append(
                driver.submit(command, read=size, target=random.choice((0, 3, 5)), context=random.getrandbits(64))
            )
        except RingFull:
            driver.wait()

    driver.wait()

    assert len(sent) > 900
    assert all(request.done for request in sent)
    rig.settle()
    assert driver.reap() == []


def test_PVS_V_051_only_the_copy_counts(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk()
    rings = rings_of(disk.driver)
    first = rings.req_prod
    requests = rig.held(disk, 8)
    fetched = rings.state[REQ_CONS] - first
    good = rings.requests.read(first, fetched)
    rings.requests.write(first, b"\xff" * len(good))

    rig.go_on()
    disk.driver.wait(*requests)
    rings.requests.write(first, good)

    assert fetched == 8
    assert all(request.good for request in requests)


def test_PVS_V_051_index_moves_with_fetching_not_with_finishing(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk()
    rings = rings_of(disk.driver)

    rig.held(disk, 5)

    assert rings.state[REQ_CONS] == rings.req_prod
    assert rings.state[CMP_PROD] == rings.cmp_cons
    rig.go_on()
    disk.driver.wait()


def test_PVS_V_052_driver_owned_indices(rig: Rig) -> None:
    disk = rig.disk()
    rings = rings_of(disk.driver)

    for n in range(200):
        disk.submit(cdb.read(n, 1), read=512)
        words = (rings.state[REQ_PROD], rings.state[CMP_CONS], rings.state[MSG_CONS])
        assert words == (rings.req_prod, rings.cmp_cons, rings.msg_cons)
        if n % 7 == 0:
            disk.driver.wait()
    disk.driver.wait()


@pytest.mark.parametrize("before", [1, 17, 300])
def test_PVS_V_053_indices_wrap(rig: Rig, before: int) -> None:
    disk = rig.disk(req_pages=8, cmp_pages=2)
    rings = rings_of(disk.driver)
    start_at(rig, rings, WRAP - before)

    for n in range(before + 300):
        disk.submit(cdb.read(n, 1), read=512)
        if n % 100 == 0:
            disk.driver.wait()
    disk.driver.wait()
    rig.settle()

    assert rings.state[CMP_PROD] == rings.req_prod == 300
    assert not rig.broken()


def test_PVS_V_053_message_indices_wrap(rig: Rig) -> None:
    driver = rig.driver()
    start_at(rig, rings_of(driver), WRAP - 5)
    found = []

    for number in range(1, 6):
        rig.target.plug(number, DISK)
        rig.target.unplug(number)
        found += driver.messages()

    assert [(message.added, message.target) for message in found] == [
        (added, number) for number in range(1, 6) for added in (True, False)
    ]


@pytest.mark.parametrize("pages", [1, 2, 4, 8, 16, 32])
def test_PVS_V_054_pages_in_no_order(rig: Rig, pages: int) -> None:
    disk = rig.disk(req_pages=pages, cmp_pages=pages)
    prepared(disk)

    laps(rig, disk.driver, Batch(disk.driver, 64), 32 * pages * 3)


@pytest.mark.parametrize(("req_pages", "cmp_pages"), [(1, 32), (32, 8), (4, 1)])
def test_PVS_V_054_rings_of_different_size(rig: Rig, req_pages: int, cmp_pages: int) -> None:
    disk = rig.disk(req_pages=req_pages, cmp_pages=cmp_pages)
    prepared(disk)

    laps(rig, disk.driver, Batch(disk.driver, 64), 1500)


@pytest.mark.parametrize("register", [wire.REG_KICK_RW_IO, wire.REG_KICK_NON_RW_IO], ids=["rw", "non-rw"])
@pytest.mark.parametrize("value", [0, 0xFFFF_FFFF])
def test_PVS_V_055_either_register_drains_the_ring(rig: Rig, register: int, value: int) -> None:
    disk = rig.disk(req_pages=1, cmp_pages=1)
    commands = [(cdb.TEST_UNIT_READY, 0), (cdb.read(0, 1), 512), (cdb.inquiry(), 36), (cdb.synchronize_cache(), 0)]
    requests = [disk.submit(command, read=size, kick=False) for command, size in commands * 8]

    disk.driver.set_reg(register, value)
    rig.settle()

    assert rings_of(disk.driver).waiting == 0
    disk.driver.wait(*requests)
    assert all(request.good for request in requests)


def test_PVS_V_055_a_kick_of_nothing(rig: Rig) -> None:
    disk = rig.disk(calls=False)  # the threshold may move whenever the device looks
    before = rig.snapshot()

    for _ in range(100):
        disk.driver.kick_io()
        disk.driver.kick_others()

    assert rig.snapshot() == before


@pytest.mark.parametrize("pages", [1, 32])
def test_PVS_V_056_non_rw_has_fetched_when_it_returns(rig: Rig, pages: int) -> None:
    disk = rig.disk(req_pages=pages, cmp_pages=pages)
    rings = rings_of(disk.driver)
    for n in range(32 * pages):
        disk.submit(cdb.read(n, 1), read=512, kick=False)

    disk.driver.kick_others()

    assert rings.state[REQ_CONS] == rings.req_prod
    disk.driver.wait()


def test_PVS_V_057_a_full_ring_over_four_targets(make_rig: MakeRig) -> None:
    rig = make_rig(dict.fromkeys((0, 1, 8, 64), DISK))
    driver = rig.driver(req_pages=4, cmp_pages=4)
    disks = [rig.disk(number, driver) for number in (0, 1, 8, 64)]
    requests = [
        disk.submit(cdb.write(n, 1), write=pattern(512, 64 * disk.target + n), kick=False)
        for n in range(32)
        for disk in disks
    ]

    driver.kick_io()
    driver.wait()

    assert all(request.good for request in requests)
    for disk in disks:
        assert disk.read(0, 32) == b"".join(pattern(512, 64 * disk.target + n) for n in range(32))


def test_PVS_V_057_a_slow_target_stops_nobody_else(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD, 1: DISK})
    driver = rig.driver()
    slow, quick = rig.disk(0, driver), rig.disk(1, driver)
    stuck = rig.held(slow, 20)

    for n in range(100):
        quick.write(n, pattern(512, n))

    assert not any(request.done for request in stuck)
    rig.go_on()
    driver.wait()


def test_PVS_V_058_completions_wait_for_room(rig: Rig) -> None:
    disk = rig.disk(req_pages=8, cmp_pages=1)
    driver, rings = disk.driver, rings_of(disk.driver)
    for n in range(250):
        disk.submit(cdb.read(n, 1), read=512)
    rig.settle()
    full = rings.completions.read(0, 128)
    posted = rings.state[CMP_PROD] - rings.cmp_cons
    rig.settle()

    assert posted == 128
    assert rings.completions.read(0, 128) == full
    assert len(driver.reap(28)) == 28
    assert rig.port.until(lambda: rings.state[CMP_PROD] - rings.cmp_cons == 128)
    driver.wait()
    rig.settle()
    assert driver.reap() == []


def test_PVS_V_058_an_index_beyond_is_not_room(rig: Rig) -> None:
    disk = rig.disk(req_pages=8, cmp_pages=1)
    driver, rings = disk.driver, rings_of(disk.driver)
    before = rings.cmp_cons
    rings.state[CMP_CONS] = before + 1000
    for n in range(200):
        disk.submit(cdb.read(n, 1), read=512, kick=n == 199)
    rig.settle()
    posted = rings.state[CMP_PROD] - before
    rings.state[CMP_CONS] = before

    assert posted <= 128
    driver.wait()


def test_PVS_V_059_written_before_it_is_published(rig: Rig) -> None:
    disk = rig.disk(intr="msi")
    driver = disk.driver  # strict: a slot published before it was written is a complaint

    for _ in range(20):
        sent = [disk.submit(cdb.read(n, 1), read=512, kick=n == 63) for n in range(64)]
        driver.wait(*sent)

    assert all(request.good for request in sent)


def test_PVS_V_059_the_descriptor_is_there_before_the_status_bit(rig: Rig) -> None:
    disk = rig.disk(intr="intx")
    driver, rings = disk.driver, rings_of(disk.driver)
    driver.set_mask(0)

    for n in range(200):
        driver.acknowledge()
        disk.submit(cdb.read(n, 1), read=512)
        assert rig.port.until(lambda: bool(driver.pending() & Intr.CMPL_0))
        slot = rings.completions.read(rings.cmp_cons, 1)
        moved = rings.state[CMP_PROD] - rings.cmp_cons
        assert slot != UNWRITTEN
        assert moved == 1
        driver.reap()


def test_PVS_V_059_status_bit_and_index_before_the_interrupt(rig: Rig) -> None:
    disk = rig.disk(intr="msi")
    driver, rings = disk.driver, rings_of(disk.driver)
    rig.port.interrupts()

    for n in range(200):
        driver.acknowledge()
        disk.submit(cdb.read(n, 1), read=512)
        assert rig.port.until(lambda: bool(rig.port.interrupts()))
        assert rings.state[CMP_PROD] - rings.cmp_cons == 1
        assert driver.pending() & Intr.CMPL_0
        driver.reap()
