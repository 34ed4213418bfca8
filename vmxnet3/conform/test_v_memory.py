"""VMXNET3 device rules 078 and 079: memory that goes away, and memory that is nobody's business."""

import pytest

from vmxnet3 import wire
from vmxnet3.conform.packets import IP, TCP, Raw, ether, payload, seed
from vmxnet3.conform.rig import Can, Rig, frame
from vmxnet3.driver import Driver, Tso

CONFIG = 7


def moved(rig: Rig, driver: Driver) -> None:
    """Ordinary traffic passes both ways."""
    rig.settle()
    rig.net.sent.clear()
    driver.send(frame(90, seed=90))
    assert rig.sent(1) == [frame(90, seed=90)]
    rig.reap(driver, 1)
    assert rig.carried(driver, frame(seed=91)) == [frame(seed=91)]


def test_VMX_V_078_memory_goes_away_while_active(rig: Rig) -> None:
    driver = rig.driver()
    moved(rig, driver)
    driver.send(frame(seed=1), doorbell=False)
    gone = rig.unplug()

    driver.kick()
    rig.feed(frame(seed=2), frame(seed=3))
    driver.command_only(wire.Cmd.GET_STATS)
    driver.command_only(wire.Cmd.UPDATE_MAC_FILTERS)
    rig.set_link(False)
    rig.set_link(True)
    rig.plug(gone)
    driver.reset()
    rig.net.inbound.clear()
    driver.bring_up()

    moved(rig, driver)
    assert "VMX-D-064" in rig.broken()


def test_VMX_V_078_memory_comes_back_unnoticed(rig: Rig) -> None:
    driver = rig.driver()
    moved(rig, driver)

    rig.plug(rig.unplug())

    moved(rig, driver)


def test_VMX_V_078_no_bus_mastering_no_dma(rig: Rig) -> None:
    driver = rig.driver()
    command = rig.port.read(CONFIG, 4, 2)
    driver.send(frame(seed=1), doorbell=False)
    rig.settle()

    rig.port.write(CONFIG, 4, command & ~4, 2)
    before = rig.snapshot()
    driver.kick()
    rig.feed(frame(seed=2))
    driver.command_only(wire.Cmd.GET_STATS)
    still = rig.snapshot() == before
    rig.port.write(CONFIG, 4, command, 2)
    driver.kick()

    assert still
    assert rig.sent(1) == [frame(seed=1)]
    assert not rig.can(Can.HOLD) or [packet.data for packet in rig.got(driver, 1)] == [frame(seed=2)]


def test_VMX_V_078_refused_without_bus_mastering(rig: Rig) -> None:
    driver = rig.blank()
    driver.probe()
    driver.configure(driver.config)
    driver.set_dsa()
    command = rig.port.read(CONFIG, 4, 2)
    rig.port.write(CONFIG, 4, command & ~4, 2)
    before = rig.snapshot()

    refused = driver.command(wire.Cmd.ACTIVATE_DEV)

    assert refused != 0
    assert rig.snapshot() == before


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_VMX_V_079_writes_only_where_it_may(rig: Rig, mtu: int) -> None:
    driver = rig.driver(
        tx_queues=2, rx_queues=2, tx_ring=64, rx_ring0=64, rx_ring1=64, mtu=mtu, head_size=600, guard=64
    )
    tcp = ether(IP(dst="192.0.2.1"), TCP(flags="PA"), Raw(payload(8000)))
    for queue in range(2):
        driver.send(frame(seed=1), queue=queue, doorbell=False)
        driver.send(frame(1400, seed=1), queue=queue, doorbell=False, pieces=[14, 1386], vlan=7)
        driver.send(seed(tcp, length=False), queue=queue, doorbell=False, offload=Tso(54, 1400), header=54)
    allowed = [(record.view, 0, 8) for record in driver.tx_desc] + [(record.view, 0, 1) for record in driver.rx_desc]
    for record in (*driver.tx_desc, *driver.rx_desc):
        allowed += [(record.view, 80, 88), (record.view, 88, 168)]  # status, statistics
    allowed += [(ring.comp.view, 0, 16 * ring.comp_size) for ring in driver.tx]
    allowed += [(ring.comp.view, 0, 16 * ring.comp_size) for ring in driver.rx]
    allowed.append((driver.shared.view, 696, 700))
    for side in (side for rx_queue in driver.rx for side in rx_queue.rings):
        allowed += [(side.memory, n * side.stride, n * side.stride + side.lengths[n]) for n in range(side.posted)]
    spare = [(view, lo, hi, bytes(view[lo:hi])) for view, lo, hi in allowed]
    before = rig.memory()

    driver.kick(0)
    driver.kick(1)
    rig.feed(frame(seed=2), frame(1500, seed=3), tcp[:mtu], frame(60, seed=4))
    driver.command_only(wire.Cmd.GET_STATS)
    driver.command_only(wire.Cmd.GET_QUEUE_STATUS)
    rig.set_link(False)
    wrote = rig.snapshot() != before
    for view, lo, hi, old in spare:
        view[lo:hi] = old

    assert wrote
    assert rig.snapshot() == before
    driver.tx[0].abandon(rig.port.free)
    driver.tx[1].abandon(rig.port.free)
