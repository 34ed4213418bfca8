"""The device as a whole: states, events, interrupts, bells, trace and fault points. The rest stands in conformance."""

import itertools
from collections.abc import Callable

import pytest

from pvdev.faults import Fault, FaultPlan
from pvdev.irq import Pace
from pvdev.pci import CONFIG_REGION
from pvdev.trace import Recorder
from tests.rig import MAC, NOWHERE, RawNic, frame
from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.device import State, Vmxnet3
from vmxnet3.ports.port import LoopbackPort
from vmxnet3.wire import TX_QUEUE_DESC, Cmd, Event

VD, PT = wire.BAR_VD, wire.BAR_PT
MSIX_CONTROL = 0x9E


def powered() -> RawNic:
    nic = RawNic()
    nic.prepare()
    return nic


def configured() -> RawNic:
    nic = powered()
    nic.point(nic.shared.address)
    return nic


def active() -> RawNic:
    nic = powered()
    assert nic.activate() == 0
    return nic


def quiesced() -> RawNic:
    nic = active()
    nic.command(Cmd.QUIESCE_DEV)
    return nic


def failed() -> RawNic:
    nic = powered()
    view = nic.lend(NOWHERE, 4096)
    view[: len(nic.table.view)] = nic.table.view
    nic.tell(queueDescPA=NOWHERE)
    assert nic.activate() == 0
    nic.device.mem.unmap(NOWHERE, 4096)
    nic.kick()
    nic.tell(queueDescPA=nic.table.address)
    return nic


REACH: dict[State, Callable[[], RawNic]] = {
    State.RESET: powered,
    State.CONFIGURED: configured,
    State.ACTIVE: active,
    State.QUIESCED: quiesced,
    State.FAILED: failed,
}
NEXT = {  # everything that moves; the answer. Any other command leaves the state alone
    (State.RESET, Cmd.ACTIVATE_DEV): (State.RESET, 1),
    (State.CONFIGURED, Cmd.ACTIVATE_DEV): (State.ACTIVE, 0),
    (State.QUIESCED, Cmd.ACTIVATE_DEV): (State.ACTIVE, 0),
    (State.ACTIVE, Cmd.ACTIVATE_DEV): (State.ACTIVE, 0),
    (State.FAILED, Cmd.ACTIVATE_DEV): (State.FAILED, 1),
    (State.RESET, Cmd.QUIESCE_DEV): (State.RESET, 0),
    (State.CONFIGURED, Cmd.QUIESCE_DEV): (State.QUIESCED, 0),
    (State.ACTIVE, Cmd.QUIESCE_DEV): (State.QUIESCED, 0),
    (State.QUIESCED, Cmd.QUIESCE_DEV): (State.QUIESCED, 0),
    (State.FAILED, Cmd.QUIESCE_DEV): (State.FAILED, 0),
    **{(state, Cmd.RESET_DEV): (State.RESET, 0) for state in State},
}
ANSWERS = {
    Cmd.GET_LINK: 10_000 << 16 | 1,
    Cmd.GET_PERM_MAC_LO: 0x0B0A0002,
    Cmd.GET_PERM_MAC_HI: 0x0D0C,
    Cmd.GET_DID_LO: 0x07B0,
    Cmd.GET_DID_HI: 1,
    Cmd.GET_ADAPTIVE_RING_INFO: 1,
}


@pytest.mark.parametrize(("state", "command"), list(itertools.product(State, Cmd)), ids=lambda value: value.name)
def test_every_command_in_every_state(state: State, command: Cmd) -> None:
    nic = REACH[state]()
    assert nic.device.state is state

    answer = nic.command(command)

    assert (nic.device.state, answer) == NEXT.get((state, command), (state, ANSWERS.get(command, 0)))
    assert nic.port.read(VD, wire.REG_CMD) == answer  # as often as it is read


@pytest.mark.parametrize("state", list(State), ids=lambda state: state.name)
def test_a_pci_reset_gives_a_new_device(state: State) -> None:
    nic = REACH[state]()
    fresh = Vmxnet3(mac=MAC, version=1)
    nic.vd(wire.REG_MACL, 0x22)
    nic.vd(wire.REG_MACH, 0x33)
    nic.pt(wire.REG_IMR, 0)

    nic.port.reset()

    registers = [(VD, at) for at in range(0, 0x48, 8)] + [(PT, at) for at in (0, 8, 0x600, 0x800, 0xA00)]
    assert [nic.device.pci.read(bar, at, 4) for bar, at in registers] == [
        fresh.pci.read(bar, at, 4) for bar, at in registers
    ]
    assert bytes(nic.device.pci.config.data) == bytes(fresh.pci.config.data)
    assert (nic.device.state, nic.device.version, nic.device.kicked) == (State.RESET, 0, False)
    assert (nic.device.deadline(), nic.device.service(64, 0)) == (None, False)


def test_a_reset_while_asleep_keeps_what_was_agreed() -> None:
    """QEMU resets every device when the machine wakes, and Linux resumes without writing VRRS or DCR again."""
    nic = RawNic(version=9)
    nic.vd(wire.REG_VRRS, 1 << 8)
    nic.vd(wire.REG_DCR, wire.Cap.LARGE_BAR)
    nic.port.write(7, 0x44, 3, 2)

    nic.port.reset()
    asleep = nic.device.version, nic.device.caps, nic.device.pci.power_state
    nic.port.reset()

    assert asleep == (9, wire.Cap.LARGE_BAR, 0)
    assert (nic.device.version, nic.device.caps) == (0, wire.Cap(0))


@pytest.mark.parametrize("version", [0, 10])
def test_versions_that_are_not_offered(version: int) -> None:
    with pytest.raises(ValueError, match="device version"):
        Vmxnet3(version=version)


# -- link and events -----------------------------------------------------------------------------------------------


def test_a_link_change_is_an_event() -> None:
    nic = active()
    nic.pt(wire.REG_IMR, 0)

    nic.device.set_link(False)

    assert nic.port.read(VD, wire.REG_ECR) == Event.LINK
    assert nic.shared.view[696] == Event.LINK
    assert nic.port.interrupts() == 1
    assert nic.command(Cmd.GET_LINK) == 0


@pytest.mark.parametrize(
    ("up", "mbps", "changed"), [(True, None, 0), (True, 10_000, 0), (True, 1000, 1), (False, None, 1)]
)
def test_only_a_change_is_an_event(up: bool, mbps: int | None, changed: int) -> None:
    nic = active()

    nic.device.set_link(up, mbps)

    assert nic.port.read(VD, wire.REG_ECR) == Event.LINK * changed


def test_events_are_acknowledged_bit_by_bit_in_memory() -> None:
    nic = active()
    nic.post(frame(), dtype=1)
    nic.kick()
    nic.device.set_link(False)
    both = nic.shared.view[696]

    nic.vd(wire.REG_ECR, Event.LINK)

    assert both == Event.LINK | Event.TQERR
    assert nic.shared.view[696] == nic.port.read(VD, wire.REG_ECR) == Event.TQERR


def test_without_a_link_nothing_is_received() -> None:
    nic = RawNic(Queue(waits=True))
    nic.bring_up()
    nic.device.set_link(False)
    nic.feed(frame())
    early = nic.received()

    nic.device.set_link(True)
    nic.port.run()

    assert early == []
    assert [packet.data for packet in nic.received()] == [frame()]


@pytest.mark.parametrize("lose", [lambda nic: nic.device.set_link(False), lambda nic: nic.port.write(7, 4, 2, 2)])
def test_what_cannot_be_done_now_has_no_deadline(lose: Callable[[RawNic], object]) -> None:
    """Else whoever waits for it would wake up again and again for nothing."""
    nic = RawNic(Queue(waits=True))
    nic.prepare()
    nic.activate()
    nic.feed(frame())  # no buffers: to be looked at again
    before = nic.device.deadline()

    lose(nic)
    nic.port.run()

    assert before is not None
    assert nic.device.deadline() is None


def test_frames_that_waited_for_the_link_come_with_it() -> None:
    nic = RawNic(Queue(waits=True))
    nic.prepare()
    nic.activate()
    nic.feed(frame())
    nic.device.set_link(False)
    nic.arm_all()

    nic.device.set_link(True)
    nic.port.run()

    assert [packet.data for packet in nic.received()] == [frame()]


def test_work_goes_on_when_bus_mastering_comes_back() -> None:
    nic = active()
    nic.port.write(CONFIG_REGION, 4, 2, 2)
    nic.send(frame())
    held = list(nic.net.sent)

    nic.power()

    assert held == []
    assert nic.net.sent == [frame()]


# -- interrupts ----------------------------------------------------------------------------------------------------


def messages(nic: RawNic, *vectors: int) -> None:
    """MSI-X on, these vectors unmasked in table and device."""
    nic.port.write(CONFIG_REGION, MSIX_CONTROL, 0x8000, 2)
    for vector in vectors:
        nic.port.write(wire.BAR_MSIX, 16 * vector + 12, 0)
        nic.pt(wire.REG_IMR + 8 * vector, 0)


def test_each_queue_and_the_events_have_their_own_vector() -> None:
    nic = powered()
    nic.tell(numIntrs=3, eventIntrIdx=2)
    nic.tell_tx(intrIdx=0)
    nic.tell_rx(intrIdx=1)
    nic.activate()
    nic.arm_all()
    messages(nic, 0, 1, 2)

    nic.send(frame())
    sent = nic.port.interrupts()
    nic.feed(frame())
    received = nic.port.interrupts()
    nic.device.set_link(False)

    assert (sent, received, nic.port.interrupts()) == (0b001, 0b010, 0b100)


def test_auto_mask_masks_at_delivery() -> None:
    nic = powered()
    nic.tell(autoMask=1)
    nic.activate()
    messages(nic, 0)

    nic.send(frame(seed=1))
    first, mask = nic.port.interrupts(), nic.port.read(PT, wire.REG_IMR)
    nic.send(frame(seed=2))
    second = nic.port.interrupts()
    nic.pt(wire.REG_IMR, 0)

    assert (first, mask, second) == (1, 1, 0)
    assert nic.port.interrupts() == 1


def test_without_auto_mask_every_batch_interrupts() -> None:
    nic = active()
    messages(nic, 0)

    fired = []
    for n in range(3):
        nic.send(frame(seed=n))
        fired.append(nic.port.interrupts())

    assert fired == [1, 1, 1]
    assert nic.port.read(PT, wire.REG_IMR) == 0


def test_the_line_falls_when_icr_is_read() -> None:
    nic = active()
    nic.pt(wire.REG_IMR, 0)
    nic.send(frame())
    up = nic.device.pci.irq.line

    reads = [nic.port.read(VD, wire.REG_ICR) for _ in range(2)]

    assert up
    assert reads == [1, 0]
    assert not nic.device.pci.irq.line


def test_disable_all_is_not_looked_at() -> None:
    nic = powered()
    nic.tell(intrCtrl=1)
    nic.activate()
    messages(nic, 0)

    nic.send(frame())

    assert nic.port.interrupts() == 1


def test_nothing_is_said_after_quiesce() -> None:
    nic = active()
    messages(nic)
    nic.port.write(wire.BAR_MSIX, 12, 0)
    nic.send(frame())
    nic.device.set_link(False)

    nic.command(Cmd.QUIESCE_DEV)
    nic.pt(wire.REG_IMR, 0)

    assert nic.port.interrupts() == 0


def test_interrupts_wait_for_company_and_not_for_ever() -> None:
    nic = RawNic(moderation=Pace(frames=4, ns=1000, lazy_frames=3, lazy_ns=5000))
    nic.prepare()
    nic.tell(modLevels=(8, 8))
    assert nic.activate() == 0
    nic.arm_all()
    messages(nic, 0)

    fired = []
    for n in range(3):
        nic.send(frame(seed=n))
        fired.append(nic.port.interrupts())
    nic.send(frame(seed=3))
    early = nic.port.interrupts()
    nic.port.advance(5000)

    assert fired == [0, 0, 1]
    assert (early, nic.port.interrupts()) == (0, 1)


# -- bells ---------------------------------------------------------------------------------------------------------


def threshold(nic: RawNic) -> int:
    return TX_QUEUE_DESC.numbers(nic.table.view)["txThreshold"]


def test_bells_are_off_while_the_rings_are_polled_and_armed_at_rest() -> None:
    nic = active()
    armed = threshold(nic)
    nic.device.polled = True
    nic.send(frame(seed=1))
    off = threshold(nic)
    nic.post(frame(seed=2))  # without a bell

    found = nic.device.rest()
    at_rest = threshold(nic)
    nic.device.service(64, 0)

    assert (armed, at_rest) == (1, 1)
    assert off > 4096  # more than a ring holds: the driver never rings
    assert found
    assert nic.net.sent == [frame(seed=1), frame(seed=2)]


def test_rest_finds_nothing_and_looks_again_a_little_later() -> None:
    nic = active()
    nic.device.polled = True
    nic.send(frame(seed=1))

    found = nic.device.rest()
    nic.post(frame(seed=2))  # its bell crossed with the arming: the driver saw the old threshold

    assert not found
    assert threshold(nic) == 1
    assert nic.device.deadline() is not None
    nic.device.polled = False
    nic.port.advance(2_000_000)
    assert nic.net.sent == [frame(seed=1), frame(seed=2)]
    assert nic.device.deadline() is None


def test_a_device_nobody_polls_keeps_its_bells() -> None:
    nic = active()

    nic.send(frame())

    assert threshold(nic) == 1
    assert not nic.device.rest()


# -- ports, trace, faults ------------------------------------------------------------------------------------------


def test_a_loopback_port_brings_back_what_was_sent() -> None:
    nic = RawNic()
    nic.device.backend = LoopbackPort("loopback")
    nic.bring_up()
    nic.tell(rxMode=wire.RxMode.PROMISC)
    nic.command(Cmd.UPDATE_RX_MODE)

    for n in range(5):
        nic.post(frame(60 + n, seed=n))
    nic.kick()
    nic.port.run()

    assert [packet.data for packet in nic.received()] == [frame(60 + n, seed=n) for n in range(5)]


def test_trace_points() -> None:
    nic = RawNic()
    recorder = nic.device.trace = Recorder()
    nic.bring_up()
    messages(nic, 0)
    nic.send(frame())
    nic.feed(frame(seed=1))

    assert {"vmxnet3.command", "vmxnet3.tx", "vmxnet3.rx", "vmxnet3.interrupt"} <= set(recorder.points())
    assert ("vmxnet3.command", {"command": Cmd.ACTIVATE_DEV, "answer": 0, "state": "active"}) in recorder.events
    assert ("vmxnet3.tx", {"queue": 0, "descriptors": 1, "frames": 1}) in recorder.events
    assert ("vmxnet3.rx", {"queue": 0, "frames": 1, "completions": 1}) in recorder.events


def test_activation_can_be_made_to_fail() -> None:
    nic = powered()
    plan = nic.device.faults = FaultPlan([("vmxnet3.activate", 0, Fault("refuse"))])

    answers = [nic.activate(), nic.activate()]

    assert answers == [1, 0]
    assert plan.struck["vmxnet3.activate"] == 1
    assert not nic.rules


def test_an_interrupt_can_be_made_to_get_lost() -> None:
    nic = active()
    messages(nic, 0)
    nic.device.faults = FaultPlan([("vmxnet3.interrupt", 0, Fault("lose"))])

    fired = []
    for n in range(2):
        nic.send(frame(seed=n))
        fired.append(nic.port.interrupts())

    assert fired == [0, 1]
    assert nic.done() == [0, 1]
