"""VMXNET3 device rules 011 to 018, 020 and 060: activation, quiesce, reset, statistics."""

import gc
import sys
from collections.abc import Callable
from functools import partial

import pytest

from vmxnet3 import wire
from vmxnet3.conform.rig import BROADCAST, MAC, PEER, Can, MakeRig, Rig, frame
from vmxnet3.driver import Driver
from vmxnet3.wire import Cmd, RxMode

Spoil = Callable[[Driver], None]
GROUP = bytes.fromhex("01005e000001")


def shared(name: str, value: int) -> Spoil:
    return partial(_shared, name=name, value=value)


def _shared(driver: Driver, name: str, value: int) -> None:
    driver.shared[name] = value


def tx(name: str, value: int) -> Spoil:
    return partial(_tx, name=name, value=value)


def _tx(driver: Driver, name: str, value: int) -> None:
    driver.tx_desc[0][name] = value


def rx(name: str, value: int) -> Spoil:
    return partial(_rx, name=name, value=value)


def _rx(driver: Driver, name: str, value: int) -> None:
    driver.rx_desc[0][name] = value


def dsa(address: int) -> Spoil:
    return partial(_dsa, address=address)


def _dsa(driver: Driver, address: int) -> None:
    driver.set_dsa(address)


def _odd_dsa(driver: Driver) -> None:
    driver.set_dsa(driver.dsa + 4)


def _odd(driver: Driver, name: str) -> None:
    driver.tx_desc[0][name] = driver.tx_desc[0][name] + 16


SPOILS: dict[str, Spoil] = {
    "magic": shared("magic", 0xBABEFEE0),
    "dsa zero": dsa(0),
    "dsa misaligned": _odd_dsa,
    "dsa unmapped": dsa(0x7000_0000_0000),
    "dsa at the end": dsa((1 << 64) - 8),
    "no tx queue": shared("numTxQueues", 0),
    "no rx queue": shared("numRxQueues", 0),
    "9 tx queues": shared("numTxQueues", 9),
    "17 rx queues": shared("numRxQueues", 17),
    "255 tx queues": shared("numTxQueues", 255),
    "queue table unmapped": shared("queueDescPA", 0x7000_0000_0000),
    "queue table wraps": shared("queueDescPA", (1 << 64) - 128),
    "queue table misaligned": shared("queueDescPA", 0x10_0040),
    "mtu 0": shared("mtu", 0),
    "mtu 59": shared("mtu", 59),
    "mtu 9191": shared("mtu", 9191),
    "mtu huge": shared("mtu", 0xFFFF_FFFF),
    "no vector": shared("numIntrs", 0),
    "255 vectors": shared("numIntrs", 255),
    "event vector": shared("eventIntrIdx", 255),
    "tx vector": tx("intrIdx", 25),
    "rx vector": rx("intrIdx", 200),
    "tx ring 0": tx("txRingSize", 0),
    "tx ring 31": tx("txRingSize", 31),
    "tx ring 4128": tx("txRingSize", 4128),
    "tx ring huge": tx("txRingSize", 0xFFFF_FFE0),
    "tx ring base 0": tx("txRingBasePA", 0),
    "tx ring unmapped": tx("txRingBasePA", 0x7000_0000_0000),
    "tx ring misaligned": partial(_odd, name="txRingBasePA"),
    "tx comp misaligned": partial(_odd, name="compRingBasePA"),
    "tx comp 0": tx("compRingSize", 0),
    "rx comp 8224": rx("compRingSize", 8224),
    "rx ring 33": rx("rxRingSize", 33),
    "rx ring base 0": rx("rxRingBasePA", 0),
    "rx comp unmapped": rx("compRingBasePA", 0x7000_0000_0000),
}


def prepared(rig: Rig) -> Driver:
    """A driver that has laid everything out and not activated yet."""
    driver = rig.blank()
    driver.probe()
    driver.configure(driver.config)
    driver.set_dsa()
    return driver


def test_VMX_V_011_activate_prepares_the_queues(rig: Rig) -> None:
    driver = prepared(rig)
    presets = [desc["stopped"] for desc in (*driver.tx_desc, *driver.rx_desc)]
    driver.tx_desc[0]["txThreshold"] = 0

    result = driver.activate()

    assert presets == [1, 1]
    assert result == 0
    assert [desc["stopped"] for desc in (*driver.tx_desc, *driver.rx_desc)] == [0, 0]
    assert driver.tx_desc[0]["txThreshold"] >= 1
    assert driver.rx_desc[0]["updateRxProd"] in (0, 1)


@pytest.mark.parametrize("name", SPOILS)
def test_VMX_V_012_bad_configuration_is_refused(rig: Rig, name: str) -> None:
    driver = prepared(rig)
    SPOILS[name](driver)
    driver.freeze()
    before = rig.snapshot()

    result = driver.activate()
    driver.kick()
    driver.set_reg(wire.REG_RXPROD, 255, wire.BAR_PT)
    rig.feed(frame())

    assert result != 0
    assert rig.snapshot() == before
    assert rig.net.sent == []


@pytest.mark.parametrize("name", SPOILS)
def test_VMX_V_013_good_activate_after_a_bad_one(rig: Rig, name: str) -> None:
    driver = prepared(rig)
    SPOILS[name](driver)
    if driver.activate() == 0:
        pytest.skip("the device accepts it: there is nothing to come back from")

    driver.configure(driver.config)
    driver.set_dsa()

    assert driver.activate() == 0
    assert rig.carried(driver, frame(seed=5)) == [frame(seed=5)]


@pytest.mark.slow
def test_VMX_V_013_a_thousand_cycles_do_not_grow(rig: Rig) -> None:
    driver = prepared(rig)

    def cycle(times: int) -> int:
        for _ in range(times):
            driver.shared["magic"] = 0
            driver.command_only(Cmd.ACTIVATE_DEV)
            driver.shared["magic"] = wire.MAGIC
            driver.command_only(Cmd.ACTIVATE_DEV)
            driver.command_only(Cmd.QUIESCE_DEV)
        rig.settle()
        gc.collect()
        return sys.getallocatedblocks()

    before = cycle(20)
    after = cycle(1000)

    assert driver.activate() == 0
    assert after - before < 500 or not rig.can(Can.INSIDE)


def test_VMX_V_014_shared_area_told_once_serves_every_activation(rig: Rig) -> None:
    driver = rig.driver(profile="openbsd")

    carried = []
    for seed in range(3):
        carried += rig.carried(driver, frame(seed=seed))
        driver.stop()
        driver.open()

    assert carried == [frame(seed=seed) for seed in range(3)]


def test_VMX_V_015_reset_forgets_the_shared_area(rig: Rig) -> None:
    driver = rig.driver()
    driver.reset()
    driver.configure(driver.config)

    refused = driver.activate()
    driver.set_dsa()

    assert refused != 0
    assert driver.activate() == 0


@pytest.mark.parametrize("stop", ["quiesce", "reset"])
def test_VMX_V_015_rings_start_over(rig: Rig, stop: str) -> None:
    driver = rig.driver(tx_ring=32, rx_ring0=32, rx_ring1=32)
    for seed in range(40):
        driver.send(frame(seed=seed))
        rig.reap(driver, 1)
    rig.sent(40)
    for seed in range(70):
        rig.feed(frame(seed=seed))
        rig.got(driver, 1)

    getattr(driver, stop)()
    driver.configure(driver.config)
    driver.set_dsa()
    driver.activate()
    driver.send(frame(seed=7))
    rig.reap(driver, 1)
    rig.feed(frame(seed=8))

    assert driver.tx[0].comp.view[:16] == wire.TX_COMP.encode(txdIdx=0, gen=1)
    assert rig.got(driver, 1)[0].parts == ((0, 0, 60),)


def test_VMX_V_017_nothing_moves_after_quiesce(rig: Rig) -> None:
    driver = rig.driver(rx_ring0=32, rx_ring1=32)
    rig.feed(*[frame(seed=seed) for seed in range(100)])  # more than there are buffers: some still wait
    driver.send(frame(seed=1), doorbell=False)

    driver.command_only(Cmd.QUIESCE_DEV)
    rig.port.interrupts()
    driver.rx[0].rings[0].pool.view[:] = b"\xc3" * len(driver.rx[0].rings[0].pool.view)
    before, sent = rig.snapshot(), list(rig.net.sent)  # the unrung frame may have been found in time
    driver.kick()
    driver.set_reg(wire.REG_RXPROD, 5, wire.BAR_PT)
    driver.unmask_all()
    rig.feed(*[frame(seed=seed) for seed in range(20)])

    assert rig.snapshot() == before
    assert rig.quiet()
    assert rig.net.sent == sent
    driver.active = False


def test_VMX_V_018_counters_start_at_zero(rig: Rig) -> None:
    driver = prepared(rig)
    for desc in (*driver.tx_desc, *driver.rx_desc):
        desc.put("stats", [0xDEAD] * 10)
    driver.activate()

    tx_stats, rx_stats = driver.stats()

    assert [set(stats.values()) for stats in (*tx_stats, *rx_stats)] == [{0}, {0}]


def test_VMX_V_018_statistics_of_every_queue(rig: Rig) -> None:
    driver = rig.driver(tx_queues=3, rx_queues=2, rx_mode=RxMode.UCAST | RxMode.BCAST | RxMode.ALL_MULTI)
    for queue, dst in ((0, PEER), (1, BROADCAST), (2, GROUP), (2, GROUP)):
        driver.send(frame(100, dst=dst), queue=queue)
    rig.sent(4)
    rig.feed(frame(80), frame(64, dst=BROADCAST), frame(66, dst=GROUP), frame(68, dst=GROUP))
    rig.got(driver, 4)

    tx_stats, rx_stats = driver.stats()

    assert nonzero(tx_stats[0]) == {"ucastPktsTxOK": 1, "ucastBytesTxOK": 100}
    assert nonzero(tx_stats[1]) == {"bcastPktsTxOK": 1, "bcastBytesTxOK": 100}
    assert nonzero(tx_stats[2]) == {"mcastPktsTxOK": 2, "mcastBytesTxOK": 200}
    assert nonzero(rx_stats[0]) == {
        "ucastPktsRxOK": 1,
        "ucastBytesRxOK": 80,
        "mcastPktsRxOK": 2,
        "mcastBytesRxOK": 134,
        "bcastPktsRxOK": 1,
        "bcastBytesRxOK": 64,
    }
    assert nonzero(rx_stats[1]) == {}


def test_VMX_V_018_queue_status_of_every_queue(rig: Rig) -> None:
    driver = rig.driver(tx_queues=3, rx_queues=2)
    for desc in (*driver.tx_desc, *driver.rx_desc):
        desc["stopped"], desc["error"] = 1, 7

    assert driver.queue_status() == ([(False, 0)] * 3, [(False, 0)] * 2)


def nonzero(stats: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in stats.items() if value}


def test_VMX_V_020_multicast_table_is_read_when_the_write_returns(rig: Rig) -> None:
    driver = rig.driver(rx_mode=RxMode.UCAST | RxMode.MCAST | RxMode.BCAST)

    driver.set_multicast([PEER, GROUP])  # overwrites and frees the table right after the command

    assert rig.carried(driver, frame(dst=GROUP), frame(dst=b"\xff\xff\xff\xff\xff\xfe")) == [frame(dst=GROUP)]


def test_VMX_V_060_activate_loads_mode_and_tables(rig: Rig) -> None:
    driver = rig.blank()
    driver.probe()
    driver.configure(driver.config)
    table = rig.port.alloc(6, 8)
    table.view[:] = GROUP
    driver.shared["rxMode"] = RxMode.MCAST | RxMode.BCAST
    driver.shared["mfTablePA"], driver.shared["mfTableLen"] = table.address, 6
    driver.shared.put("vfTable", [0, 0b1000])  # VLAN 11
    driver.set_dsa()
    driver.activate()

    carried = rig.carried(
        driver, frame(dst=MAC), frame(dst=GROUP), tagged(GROUP, 11), tagged(GROUP, 12), frame(dst=GROUP, seed=1)
    )

    assert carried == [frame(dst=GROUP), frame(60, dst=GROUP, kind=0x88B5), frame(dst=GROUP, seed=1)]


def tagged(dst: bytes, vid: int) -> bytes:
    plain = frame(dst=dst)
    return plain[:12] + b"\x81\x00" + vid.to_bytes(2, "big") + plain[12:]


@pytest.mark.parametrize("profile", ["linux", "dpdk", "freebsd", "openbsd", "ipxe"])
def test_drivers_in_the_field_come_up_and_move_frames(make_rig: MakeRig, profile: str) -> None:
    rig = make_rig()
    driver = rig.driver(profile=profile)

    for _ in range(2):
        assert rig.carried(driver, frame(seed=1), frame(1514, seed=2)) == [frame(seed=1), frame(1514, seed=2)]
        driver.send(frame(seed=3))
        rig.reap(driver, 1)
        driver.stop()
        driver.open()

    assert rig.sent(2) == [frame(seed=3)] * 2


def test_vpp_comes_up_again_and_again(rig: Rig) -> None:
    driver = rig.driver(profile="vpp")

    for seed in range(3):
        assert rig.carried(driver, frame(seed=seed)) == [frame(seed=seed)]
        driver.stop()
        driver.bring_up(profile="vpp")
