"""VMXNET3 device rules 061 to 070: vectors, masks, INTx, events."""

from random import Random
from typing import Any

import pytest

from pvdev.pci_driver import mask_vector, pending
from vmxnet3 import wire
from vmxnet3.conform.rig import Can, Rig, frame
from vmxnet3.driver import Driver, Link
from vmxnet3.wire import Event

LAYOUTS: dict[str, dict[str, Any]] = {
    "own": {"vectors": "own"},
    "buddy": {"vectors": "buddy"},
    "event first": {"vectors": "event_first"},
}


def rearm(driver: Driver, vector: int) -> None:
    driver.set_imr(vector, 0)


def clean(rig: Rig, driver: Driver) -> None:
    """Take everything, re-arm every vector, forget what fired."""
    rig.settle()
    driver.reap_tx()
    driver.receive()
    driver.unmask_all()
    rig.settle()
    rig.port.interrupts()
    driver.unmask_all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_VMX_V_061_only_the_right_vector_fires(rig: Rig, layout: str) -> None:
    driver = rig.driver(tx_queues=2, rx_queues=2, rx_ring0=64, rx_ring1=32, **LAYOUTS[layout])
    fired = []

    for queue in (0, 1):
        clean(rig, driver)
        driver.send(frame(), queue=queue)
        fired.append(rig.interrupts(1 << driver.tx_vectors[queue]))
    clean(rig, driver)
    rig.feed(frame())
    fired.append(rig.interrupts(1 << driver.rx_vectors[0]))
    clean(rig, driver)
    rig.set_link(False)
    fired.append(rig.interrupts(1 << driver.event_vector))

    assert fired == [1 << vector for vector in (*driver.tx_vectors, driver.rx_vectors[0], driver.event_vector)]


def test_VMX_V_062_automatic_mask(rig: Rig) -> None:
    driver = rig.driver()
    vector = driver.rx_vectors[0]

    rig.feed(frame(seed=1))
    first = rig.interrupts(1 << vector)
    masked = driver.imr(vector)
    rig.feed(frame(seed=2))
    silent = rig.quiet()
    rearm(driver, vector)

    assert (first, masked, silent) == (1 << vector, 1, True)
    assert rig.interrupts(1 << vector) == 1 << vector
    assert driver.imr(vector) == 1
    rig.got(driver, 2)
    rearm(driver, vector)
    assert rig.quiet()  # nothing new: nothing to say
    assert driver.imr(vector) == 0


def test_VMX_V_063_driver_masks_by_itself(rig: Rig) -> None:
    driver = rig.driver(auto_mask=False)
    vector = driver.rx_vectors[0]
    seen = []

    for seed in range(3):
        rig.feed(frame(seed=seed))
        seen.append((rig.interrupts(1 << vector), driver.imr(vector)))
    driver.set_imr(vector, 1)
    rig.feed(frame(seed=4))
    silent = rig.quiet()
    driver.set_imr(vector, 0)

    assert seen == [(1 << vector, 0)] * 3
    assert silent
    assert rig.interrupts(1 << vector) == 1 << vector
    assert driver.imr(vector) == 0


@pytest.mark.slow
@pytest.mark.parametrize("auto_mask", [True, False])
def test_VMX_V_064_no_wake_up_is_lost(rig: Rig, auto_mask: bool) -> None:
    rig.need(Can.WIRE)
    driver = rig.driver(auto_mask=auto_mask)
    vector, random = driver.rx_vectors[0], Random(64)
    offered = taken = 0

    def nothing() -> None:
        pass

    def mask_sometimes() -> None:
        driver.set_imr(vector, int(random.random() < 0.3))

    for _ in range(25_000 if rig.can(Can.INSIDE) else 1_000):
        burst = random.randrange(3)
        rig.net.inbound.extend(frame(seed=offered + k) for k in range(burst))
        offered += burst
        random.choice((rig.settle, nothing, mask_sometimes))()
        if rig.port.interrupts():  # only an interrupt makes this driver look at its ring
            driver.set_imr(vector, 1)
            taken += len(driver.receive())
            random.choice((rig.settle, nothing))()
            driver.set_imr(vector, 0)
    driver.set_imr(vector, 0)
    rig.settle()

    def look() -> bool:
        nonlocal taken
        if rig.port.interrupts():
            taken += len(driver.receive())
            driver.set_imr(vector, 0)
        return taken == offered

    assert rig.until(look)


def test_VMX_V_065_both_masks_hold(rig: Rig) -> None:
    driver = rig.driver()
    vector, facts = driver.rx_vectors[0], driver.pci
    assert facts is not None
    mask_vector(rig.port, facts, vector, True)

    rig.feed(frame())
    held = rig.quiet()
    shown = pending(rig.port, facts)
    mask_vector(rig.port, facts, vector, False)

    assert held
    assert shown == 1 << vector
    assert rig.interrupts(1 << vector) == 1 << vector
    assert pending(rig.port, facts) == 0


def test_VMX_V_065_imr_holds_while_the_table_is_open(rig: Rig) -> None:
    driver = rig.driver()
    vector, facts = driver.rx_vectors[0], driver.pci
    assert facts is not None
    driver.set_imr(vector, 1)
    mask_vector(rig.port, facts, vector, True)

    rig.feed(frame())
    mask_vector(rig.port, facts, vector, False)
    silent = rig.quiet()
    driver.set_imr(vector, 0)

    assert silent
    assert rig.interrupts(1 << vector) == 1 << vector


def test_VMX_V_066_intx(rig: Rig) -> None:
    driver = rig.driver(intr="intx")

    before = driver.acknowledge_intx()
    rig.feed(frame())
    fired = rig.interrupts(1)
    driver.set_imr(0, 0)  # alone does not let go
    status = rig.port.read(7, 6, 2) & 8
    answers = [driver.acknowledge_intx() for _ in range(3)]

    assert (before, fired & 1, status) == (False, 1, 8)
    assert answers == [True, False, False]
    assert rig.port.read(7, 6, 2) & 8 == 0


def test_VMX_V_066_intx_with_automatic_mask_waits_for_the_driver(rig: Rig) -> None:
    driver = rig.driver(intr="intx")
    rig.feed(frame(seed=1))
    rig.interrupts(1)

    acknowledged = driver.acknowledge_intx()
    masked = driver.imr(0)
    rig.feed(frame(seed=2))
    up = driver.acknowledge_intx()
    driver.set_imr(0, 0)

    assert (acknowledged, masked, up) == (True, 1, False)
    assert rig.interrupts(1) == 1
    assert driver.acknowledge_intx()


@pytest.mark.parametrize("steps", [("IMR 0", "ENABLE"), ("ENABLE", "IMR 0"), ("IMR 0",)], ids=["linux", "bsd", "never"])
def test_VMX_V_067_disable_all_is_only_advice(rig: Rig, steps: tuple[str, ...]) -> None:
    driver = rig.blank()
    driver.probe()
    driver.configure(driver.config)
    driver.set_dsa()
    driver.activate()
    rig.feed(frame())

    driver.run(steps)

    assert rig.interrupts(1 << driver.rx_vectors[0]) == 1 << driver.rx_vectors[0]


def test_VMX_V_068_masks_are_the_drivers_also_while_inactive(rig: Rig) -> None:
    driver = rig.blank()
    driver.probe()
    driver.configure(driver.config)
    driver.set_imr(1, 0)
    before = [driver.imr(n) for n in range(3)]
    driver.set_dsa()
    driver.activate()

    active = [driver.imr(n) for n in range(3)]
    driver.quiesce()
    driver.set_imr(2, 0)

    assert [before, active] == [[1, 0, 1]] * 2
    assert [driver.imr(n) for n in range(3)] == [1, 0, 0]


def test_VMX_V_069_link_change(rig: Rig) -> None:
    driver = rig.driver()

    rig.set_link(False)
    fired = rig.interrupts(1 << driver.event_vector)
    shown = (driver.events(), driver.get_link().up)
    driver.ack_events()
    left = driver.events()
    rig.set_link(True)

    assert fired == 1 << driver.event_vector
    assert (shown, left) == ((Event.LINK, False), Event(0))
    assert (driver.events(), driver.get_link().up) == (Event.LINK, True)


def test_VMX_V_069_register_shows_the_events(rig: Rig) -> None:
    driver = rig.driver()

    rig.set_link(False)
    shown = Event(driver.reg(wire.REG_ECR))
    driver.ack_events()

    assert (shown, Event(driver.reg(wire.REG_ECR))) == (Event.LINK, Event(0))


def test_VMX_V_069_no_speed_without_a_link(rig: Rig) -> None:
    driver = rig.driver()

    rig.set_link(False)

    assert driver.get_link() == Link(False, 0)


def test_VMX_V_069_speed_change(rig: Rig) -> None:
    driver = rig.driver()

    rig.set_link(True, 25000)

    assert driver.events() == Event.LINK
    assert driver.get_link() == Link(True, 25000)


def test_VMX_V_069_only_what_was_acknowledged_goes(rig: Rig) -> None:
    driver = rig.driver()
    rig.set_link(False)

    driver.ack_events(Event.TQERR | Event.DEBUG)
    kept = driver.events()
    driver.ack_events(Event.LINK)

    assert (kept, driver.events()) == (Event.LINK, Event(0))


def test_VMX_V_070_msi_has_one_vector(rig: Rig) -> None:
    driver = rig.driver(intr="msi", tx_queues=2)
    fired = []

    driver.send(frame(), queue=1)
    fired.append(rig.interrupts(1))
    clean(rig, driver)
    rig.feed(frame())
    fired.append(rig.interrupts(1))
    clean(rig, driver)
    rig.set_link(False)
    fired.append(rig.interrupts(1))

    assert fired == [1, 1, 1]


@pytest.mark.parametrize(
    "kinds", [("msix", "intx"), ("intx", "msix"), ("msi", "intx"), ("msix", "msi"), ("msi", "msix")]
)
def test_VMX_V_070_kind_changes_between_activations(rig: Rig, kinds: tuple[str, str]) -> None:
    driver = rig.driver(intr=kinds[0])
    rig.feed(frame(seed=1))
    rig.interrupts(1 << driver.rx_vectors[0])
    rig.got(driver, 1)
    driver.stop()

    driver.bring_up(intr=kinds[1])
    rig.feed(frame(seed=2))

    assert rig.interrupts(1 << driver.rx_vectors[0]) & 1 << driver.rx_vectors[0]
    assert rig.got(driver, 1)[0].data == frame(seed=2)
