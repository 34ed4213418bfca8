"""Receive: completions that may not be, the data ring, many frames at speed."""

import pytest

from tests.unit.vmxnet3.puppet import GOOD, SMALL, Puppet, complete_rx
from vmxnet3 import wire
from vmxnet3.driver import DeviceBroke, Driver
from vmxnet3.driver.common import GUARD
from vmxnet3.wire import Feature

BAD_RX: dict[str, dict[str, int]] = {
    "VMX-V-041 type": {**GOOD, "type": 0},
    "VMX-V-041 lro on version 1": {**GOOD, "type": 4},
    "VMX-V-041 fcs": {**GOOD, "fcs": 0},
    "VMX-V-041 reserved": {**GOOD, "ext1": 2},
    "VMX-V-042 queue": {**GOOD, "rqID": 2},
    "VMX-V-043 not posted": {**GOOD, "rxdIdx": 31},
    "VMX-V-043 outside": {**GOOD, "rxdIdx": 40},
    "VMX-V-044 head skipped": {**GOOD, "rxdIdx": 1},
    "VMX-V-047 no start": {**GOOD, "sop": 0},
    "VMX-V-049 length": {**GOOD, "len": 1537},
    "VMX-V-050 body": {**GOOD, "rqID": 1},
    "VMX-V-050 empty": {**GOOD, "eop": 0, "len": 0},
    "VMX-V-052 raw": {**GOOD, "csum": 7},
    "VMX-V-053 fragment": {**GOOD, "frg": 1, "tuc": 1},
    "VMX-V-053 both": {**GOOD, "v4": 1, "v6": 1},
    "VMX-V-058 hash": {**GOOD, "rssType": 2},
}


@pytest.mark.parametrize("name", BAD_RX)
def test_bad_receive_completions_are_caught(puppet: Puppet, name: str) -> None:
    driver = Driver(puppet).bring_up(**SMALL, head_size=1536)

    complete_rx(driver, 0, **BAD_RX[name])

    with pytest.raises(DeviceBroke, match=name.split()[0]):
        driver.receive()


@pytest.mark.parametrize(("rule", "fields"), [("VMX-V-053", {"cnc": 0}), ("VMX-V-054", {"ts": 1})])
def test_status_nobody_asked_for_is_caught(puppet: Puppet, rule: str, fields: dict[str, int]) -> None:
    driver = Driver(puppet).bring_up(**SMALL, features=Feature(0))

    complete_rx(driver, 0, **{**GOOD, **fields})

    with pytest.raises(DeviceBroke, match=rule):
        driver.receive()


def test_overwritten_guard_is_caught(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(**SMALL, head_size=256, guard=32)
    driver.rx[0].rings[0].memory[256 + 31] = 0

    complete_rx(driver, 0, **GOOD)

    with pytest.raises(DeviceBroke, match="VMX-V-043"):
        driver.receive()


def test_second_start_inside_a_packet_is_caught(driver: Driver) -> None:
    complete_rx(driver, 0, **{**GOOD, "eop": 0})
    complete_rx(driver, 1, **{**GOOD, "rxdIdx": 1})

    with pytest.raises(DeviceBroke, match="VMX-V-047"):
        driver.receive()


def test_complaints_can_be_collected(puppet: Puppet) -> None:
    driver = Driver(puppet, strict=False).bring_up(**SMALL)

    complete_rx(driver, 0, **{**GOOD, "csum": 7, "fcs": 0})

    assert len(driver.receive()) == 1
    assert [complaint.rule for complaint in driver.complaints] == ["VMX-V-052", "VMX-V-041"]


def test_half_a_packet_waits_for_its_end(driver: Driver) -> None:
    complete_rx(driver, 0, **{**GOOD, "eop": 0})
    half = driver.receive()
    complete_rx(driver, 1, **{**GOOD, "sop": 0, "rqID": 1, "rxdIdx": 0, "len": 5})

    packets = driver.receive()

    assert half == []
    assert packets[0].parts == ((0, 0, 60), (1, 0, 5))


def test_drain_gives_runs_and_joined_packets_in_order(driver: Driver) -> None:
    ring = driver.rx[0].rings[0]
    for n in range(6):
        ring.memory[n * ring.stride : n * ring.stride + 60] = bytes([n]) * 60
        complete_rx(driver, n, **{**GOOD, "rxdIdx": n})
    complete_rx(driver, 3, **{**GOOD, "rxdIdx": 3, "eop": 0})
    complete_rx(driver, 4, **{**GOOD, "sop": 0, "rqID": 1, "rxdIdx": 0, "len": 2})
    complete_rx(driver, 5, **{**GOOD, "rxdIdx": 4})
    seen: list[tuple[int, list[bytes]]] = []

    count = driver.drain(lambda queue, frames: seen.append((queue, [bytes(frame) for frame in frames])))

    assert count == 5
    assert seen == [
        (0, [bytes([n]) * 60 for n in range(3)]),
        (0, [bytes([3]) * 60 + b"\0\0"]),
        (0, [bytes([4]) * 60]),
    ]


def test_drain_wraps_and_rearms_by_gen_alone(driver: Driver) -> None:
    ring, gen = driver.rx[0].rings[0], 1
    addresses = [wire.RX_DESC.decode(ring.view, 16 * n)["addr"] for n in range(32)]
    for n in range(200):
        complete_rx(driver, n % 64, **{**GOOD, "rxdIdx": n % 32, "gen": gen ^ (n // 64 & 1)})
        assert driver.drain(lambda queue, frames: None) == 1

    assert [wire.RX_DESC.decode(ring.view, 16 * n)["addr"] for n in range(32)] == addresses
    assert (ring.posted, driver.rx[0].packets) == (31, 200)
    driver.audit()


def test_drain_drops_and_counts_errors(driver: Driver) -> None:
    complete_rx(driver, 0, **{**GOOD, "err": 1})
    complete_rx(driver, 1, **{**GOOD, "rxdIdx": 1})

    assert driver.drain(lambda queue, frames: None) == 1
    assert driver.rx[0].errors == 1


def test_an_index_outside_is_survived_when_complaints_are_collected(puppet: Puppet) -> None:
    driver = Driver(puppet, strict=False).bring_up(**SMALL)

    complete_rx(driver, 0, **{**GOOD, "rxdIdx": 40})
    complete_rx(driver, 1, **GOOD)

    assert [packet.parts for packet in driver.receive()] == [((0, 0, 60),)]
    assert [complaint.rule for complaint in driver.complaints] == ["VMX-V-043"]


# -- data ring -----------------------------------------------------------------------------------------------------

SLOT = 128
SMALL_FRAME = {**GOOD, "rqID": 2}  # 2N with one queue


@pytest.fixture
def slotted(newest: Puppet) -> Driver:
    return Driver(newest).bring_up(**SMALL, version=3, rx_data_slot=SLOT, guard=32)


def fill(driver: Driver, index: int, data: bytes) -> None:
    """Put a packet into a data ring slot."""
    ring = driver.rx[0].data
    assert ring is not None
    ring.memory[SLOT * index : SLOT * index + len(data)] = data


def test_a_small_packet_comes_from_its_slot(slotted: Driver) -> None:
    for n in range(40):
        data = bytes([n]) * (60 + n)
        fill(slotted, n % 32, data)
        complete_rx(slotted, n, **{**SMALL_FRAME, "rxdIdx": n % 32, "len": len(data)})

        packet = slotted.receive()[0]

        assert (packet.data, packet.parts) == (data, ((2, n % 32, 60 + n),))
    assert slotted.rx[0].rings[0].posted == 31
    slotted.audit()


BAD_SLOT = {
    "VMX-V-055 longer than a slot": {**SMALL_FRAME, "len": 129},
    "VMX-V-055 a part only": {**SMALL_FRAME, "eop": 0},
    "VMX-V-043 descriptor not the device's": {**SMALL_FRAME, "rxdIdx": 31},
    "VMX-V-042 no such ring": {**SMALL_FRAME, "rqID": 3},
}


@pytest.mark.parametrize("name", BAD_SLOT)
def test_bad_use_of_the_data_ring_is_caught(slotted: Driver, name: str) -> None:
    complete_rx(slotted, 0, **BAD_SLOT[name])

    with pytest.raises(DeviceBroke, match=name.split()[0]):
        slotted.receive()


@pytest.mark.parametrize("at", [60, SLOT - 1, -1])
def test_bytes_around_a_packet_in_a_slot_are_watched(slotted: Driver, at: int) -> None:
    ring = slotted.rx[0].data
    assert ring is not None
    place = ring.memory if at >= 0 else ring.front
    place[at] = GUARD ^ 1

    complete_rx(slotted, 0, **SMALL_FRAME)

    with pytest.raises(DeviceBroke, match="VMX-V-055"):
        slotted.receive()


def test_the_ring_is_described_to_the_device(slotted: Driver) -> None:
    ring, desc = slotted.rx[0].data, slotted.rx_desc[0]

    assert ring is not None
    assert (desc["rxDataRingBasePA"], desc["rxDataRingDescSize"]) == (ring.address, SLOT)
    assert ring.address % 512 == 0


@pytest.mark.parametrize(("version", "profile", "slot"), [(2, "linux", 0), (3, "linux", 128), (9, "linux", 256)])
def test_slot_size_by_version(newest: Puppet, version: int, profile: str, slot: int) -> None:
    driver = Driver(newest).bring_up(profile=profile, version=version, **SMALL)

    assert driver.rx_desc[0]["rxDataRingDescSize"] == slot


def test_drain_takes_runs_from_both(newest: Puppet) -> None:
    driver = Driver(newest).bring_up(**SMALL, version=3, rx_data_slot=SLOT)
    ring, slots = driver.rx[0].rings[0], driver.rx[0].data
    assert slots is not None
    for n in range(6):
        small = n in (0, 1, 4)
        place, stride = (slots.memory, SLOT) if small else (ring.memory, ring.stride)
        place[n * stride : n * stride + 60] = bytes([n]) * 60
        complete_rx(driver, n, **{**GOOD, "rxdIdx": n, "rqID": 2 if small else 0})
    seen: list[list[bytes]] = []

    count = driver.drain(lambda queue, frames: seen.append([bytes(frame) for frame in frames]))

    assert (count, [len(run) for run in seen]) == (6, [2, 2, 1, 1])
    assert [frame for run in seen for frame in run] == [bytes([n]) * 60 for n in range(6)]
    driver.audit()


def test_drain_checks_watched_slots_one_by_one(slotted: Driver) -> None:
    fill(slotted, 0, bytes(61))  # a byte more than the completion says
    complete_rx(slotted, 0, **SMALL_FRAME)

    with pytest.raises(DeviceBroke, match="VMX-V-055"):
        slotted.drain(lambda queue, frames: None)


# -- time stamps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast", [True, False])
def test_a_sampled_packet_is_stamped_before_its_buffer_goes_back(newest: Puppet, fast: bool) -> None:
    driver = Driver(newest).bring_up(**SMALL)
    for n in range(4):
        complete_rx(driver, n, **{**GOOD, "rxdIdx": n, "ext2": int(n == 2)})

    count = driver.drain(lambda queue, frames: None) if fast else len(driver.receive())

    stamps = driver.rx[0].stamps
    assert stamps is not None
    assert count == 4
    assert [stamps.read(n) is not None for n in range(5)] == [n == 2 for n in range(5)]
