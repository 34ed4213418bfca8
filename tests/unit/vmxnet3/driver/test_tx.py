"""Transmit: descriptors, generations, bells, completions, time stamps."""

import pytest

from tests.unit.vmxnet3.puppet import SMALL, Puppet, complete_tx, descriptor
from vmxnet3 import wire
from vmxnet3.driver import Csum, DeviceBroke, Driver, RingFull, Tso, TxD


def test_first_descriptor_is_published_last(driver: Driver) -> None:
    publish = driver.send_raw([*map(plain, (20, 30, 40))], publish=False)

    before = [descriptor(driver, n)["gen"] for n in range(4)]
    publish()

    assert before == [0, 1, 1, 0]
    assert [descriptor(driver, n)["gen"] for n in range(4)] == [1, 1, 1, 0]


def plain(size: int) -> TxD:
    return TxD(0x1000, size, wire.TXD_EOP | wire.TXD_CQ if size == 40 else 0)


def test_gen_turns_with_every_lap(driver: Driver) -> None:
    gens = []
    for n in range(80):
        driver.send(bytes(60))
        gens.append(descriptor(driver, n % 32)["gen"])
        complete_tx(driver, n % 32, txdIdx=n % 32, gen=1 - n // 32 % 2)
        assert driver.reap_tx() == 1

    assert gens == [1] * 32 + [0] * 32 + [1] * 16


def test_offloads_in_the_descriptor(driver: Driver) -> None:
    driver.send(bytes(200), offload=Csum(34, 50), vlan=0x2005)
    driver.send(bytes(3000), offload=Tso(54, 1448), header=54)

    first, second, third = (descriptor(driver, n) for n in range(3))
    assert [first[k] for k in ("len", "hlen", "om", "msscof", "ti", "tci", "eop", "cq")] == [
        200,
        34,
        2,
        50,
        1,
        0x2005,
        1,
        1,
    ]
    assert [second[k] for k in ("len", "hlen", "om", "msscof", "ti", "eop", "cq")] == [54, 54, 3, 1448, 0, 0, 0]
    assert [third[k] for k in ("len", "hlen", "om", "msscof", "ti", "eop", "cq")] == [2946, 0, 0, 0, 0, 1, 1]
    assert driver.tx[0].data is not None
    assert second["addr"] == driver.tx[0].data.address + 128


def test_bell_waits_for_the_threshold(puppet: Puppet, driver: Driver) -> None:
    driver.tx_desc[0]["txThreshold"] = 4
    puppet.log.clear()

    for _ in range(3):
        driver.send(bytes(60))
    quiet = [*puppet.log, driver.tx_desc[0]["txNumDeferred"]]
    driver.send(bytes(1500), offload=Tso(54, 1400))

    assert quiet == [3]
    assert puppet.log == [("W", 0, wire.REG_TXPROD, 4)]
    assert driver.tx_desc[0]["txNumDeferred"] == 0


def test_one_descriptor_stays_free(driver: Driver) -> None:
    taken = driver.send_batch([bytes(60)] * 40)

    assert (taken, driver.tx[0].room) == (31, 0)
    with pytest.raises(RingFull):
        driver.send(bytes(60))


BAD_TX = {
    "VMX-V-021 filler": {"txdIdx": 0, "ext2": 1, "gen": 1},
    "VMX-V-021 type": {"txdIdx": 0, "type": 3, "gen": 1},
    "VMX-V-021 high": {"txdIdx": 0, "ext1": 1, "gen": 1},
    "VMX-V-025 order": {"txdIdx": 1, "gen": 1},
    "VMX-V-025 unknown": {"txdIdx": 9, "gen": 1},
}


@pytest.mark.parametrize("name", BAD_TX)
def test_bad_transmit_completions_are_caught(driver: Driver, name: str) -> None:
    driver.send(bytes(60))
    driver.send(bytes(60))

    complete_tx(driver, 0, **BAD_TX[name])

    with pytest.raises(DeviceBroke, match=name.split()[0]):
        driver.reap_tx()


def test_packets_without_cq_come_back_with_the_next(driver: Driver) -> None:
    driver.send(bytes(60), cq=False)
    driver.send(bytes(60), cq=False)
    driver.send(bytes(60))

    complete_tx(driver, 0, txdIdx=2, gen=1)

    assert driver.reap_tx() == 3


# -- data ring and time stamps -------------------------------------------------------------------------------------


def test_headers_stand_in_slots_of_the_size_the_device_named(newest: Puppet) -> None:
    driver = Driver(newest).bring_up(**SMALL)
    for _ in range(2):
        driver.send(bytes(range(100)), header=100)

    data = driver.tx[0].data
    assert data is not None
    assert driver.tx_desc[0]["txDataRingDescSize"] == 192
    assert [descriptor(driver, n)["addr"] - data.address for n in range(2)] == [0, 192]
    assert bytes(data.view[192:292]) == bytes(range(100))


@pytest.mark.parametrize("batch", [True, False])
def test_every_third_packet_gets_a_time_stamp(newest: Puppet, batch: bool) -> None:
    driver = Driver(newest).bring_up(**SMALL)
    driver.tx_desc[0]["sampleRate"] = 3

    if batch:
        driver.send_batch([bytes(60)] * 8)
    else:
        for _ in range(8):
            driver.send(bytes(60))

    stamps = driver.tx[0].stamps
    assert stamps is not None
    assert [stamps.read(n) is not None for n in range(9)] == [n in (0, 3, 6) for n in range(9)]


def test_a_frame_too_big_for_its_slot_takes_no_turn(newest: Puppet) -> None:
    driver = Driver(newest).bring_up(**SMALL)
    driver.tx_desc[0]["sampleRate"] = 2

    driver.send_batch([bytes(60), bytes(3000), bytes(60)])

    stamps = driver.tx[0].stamps
    assert stamps is not None
    assert [stamps.read(n) is not None for n in range(4)] == [True, False, True, False]
