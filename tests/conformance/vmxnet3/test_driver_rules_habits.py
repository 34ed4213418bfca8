"""VMXNET3 driver rules 027 to 035, 052 and 053: what comes after what. A driver that is right is never accused."""

from collections.abc import Callable

import pytest

from pvdev.mem import DmaFault
from tests.rig import CELL, MAC, NOWHERE, SLOT, RawNic, frame
from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.datapath import BELLS_OFF
from vmxnet3.device import State
from vmxnet3.wire import DRIVER_SHARED, RX_DESC, TX_QUEUE_DESC, Cmd

VD = wire.BAR_VD
SECOND = 1_000_000_000


@pytest.fixture
def nic() -> RawNic:
    """Powered; shared area, queue table and rings are in memory, the device has not been told."""
    made = RawNic()
    made.prepare()
    return made


@pytest.fixture
def active() -> RawNic:
    """Active, receive buffers posted; a ring of 64."""
    made = RawNic()
    made.bring_up()
    return made


def activate_unread(nic: RawNic) -> None:
    """ACTIVATE whose answer nobody reads."""
    nic.vd(wire.REG_VRRS, 1)
    nic.point(nic.shared.address)
    nic.vd(wire.REG_CMD, Cmd.ACTIVATE_DEV)


# -- 027: the answer of ACTIVATE -----------------------------------------------------------------------------------


def test_VMX_D_027_a_command_before_the_answer_is_read(nic: RawNic) -> None:
    activate_unread(nic)

    nic.command(Cmd.UPDATE_RX_MODE)
    nic.command(Cmd.GET_LINK)

    assert nic.seen("VMX-D-027") == [("command", Cmd.UPDATE_RX_MODE, 1)]
    nic.arm_all()
    nic.assert_traffic()


def test_VMX_D_027_a_doorbell_before_the_answer_is_read(nic: RawNic) -> None:
    activate_unread(nic)

    nic.pt(wire.REG_RXPROD, 8)
    nic.pt(wire.REG_RXPROD, 9)

    assert nic.seen("VMX-D-027") == [("RXPROD 0", 8, 1)]
    nic.arm_all()
    nic.assert_traffic()


def test_VMX_D_027_a_doorbell_after_a_refusal(nic: RawNic) -> None:
    nic.tell(magic=0)
    assert nic.activate() == 1

    nic.pt(wire.REG_TXPROD, 1)

    assert nic.seen("VMX-D-027") == [("TXPROD 0", 1, 1)]
    assert nic.net.sent == []
    nic.assert_alive()


@pytest.mark.parametrize("between", [wire.REG_IMR, None])
def test_VMX_D_027_says_nothing_when_it_was_read(nic: RawNic, between: int | None) -> None:
    activate_unread(nic)
    if between is not None:  # masks are another matter
        nic.pt(between, 1)
    nic.port.read(VD, wire.REG_CMD)

    nic.pt(wire.REG_RXPROD, 1)
    nic.command(Cmd.GET_LINK)

    assert nic.rules.count() == 0


def test_VMX_D_027_says_nothing_of_a_new_start_after_a_refusal(nic: RawNic) -> None:
    """As OpenBSD begins: QUIESCE, then RXPROD = 0, both before ACTIVATE."""
    nic.tell(magic=0)
    assert nic.activate() == 1
    nic.command(Cmd.QUIESCE_DEV)

    nic.pt(wire.REG_RXPROD, 0)

    assert nic.seen("VMX-D-027") == []
    assert nic.seen("VMX-D-030") == [("RXPROD 0", 0, 1)]
    nic.assert_alive()


# -- 029: configuration under a running device -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda nic: nic.tell(mtu=9000),
        lambda nic: nic.tell(numRxQueues=2),
        lambda nic: nic.tell(maxNumRxSG=1),
        lambda nic: nic.tell_tx(txRingSize=32),
        lambda nic: nic.tell_rx(compRingBasePA=nic.shared.address),
    ],
    ids=["mtu", "queues", "fragments", "transmit ring", "completion ring"],
)
@pytest.mark.parametrize("end", [Cmd.QUIESCE_DEV, Cmd.RESET_DEV], ids=lambda command: command.name)
def test_VMX_D_029_configuration_changed_while_active(
    active: RawNic, change: Callable[[RawNic], None], end: Cmd
) -> None:
    active.assert_traffic()

    change(active)
    active.assert_traffic()  # as if nothing were
    active.command(end)

    assert active.seen("VMX-D-029") == [("QUIESCE_DEV", 0, 1)]
    active.assert_alive()


def test_VMX_D_029_says_nothing_of_what_may_change(active: RawNic) -> None:
    """Features, filters and the driver's own count of deferred frames; and what the device writes."""
    active.tell(uptFeatures=0, rxMode=1, vfTable=b"\xff" * 512, modLevels=(1, 2))
    active.table.view[0:4] = b"\7\0\0\0"
    for _ in range(3):
        active.send(frame())
    active.command(Cmd.GET_STATS)
    active.command(Cmd.GET_QUEUE_STATUS)
    active.device.set_link(False)

    active.command(Cmd.QUIESCE_DEV)
    active.tell(mtu=9000)
    active.command(Cmd.QUIESCE_DEV)

    assert active.seen("VMX-D-029") == []


def test_VMX_D_029_does_not_fail_a_device_whose_tables_are_gone(active: RawNic) -> None:
    arena = active.port.arena
    active.device.mem.unmap(arena.base, arena.block.size)

    answer = active.command(Cmd.QUIESCE_DEV)

    assert (answer, active.device.state) == (0, State.QUIESCED)
    assert active.rules.count() == 0
    active.device.mem.map(arena.base, arena.block.view)
    active.assert_alive()


# -- 033: where TXPROD points ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("posted", "value"), [(0, 1), (0, 63), (1, 2), (5, 63), (62, 63)])
def test_VMX_D_033_a_bell_beyond_what_is_published(posted: int, value: int) -> None:
    nic = RawNic()
    nic.prepare()
    assert nic.activate() == 0
    nic.arm_all()
    nic.send(frame())
    nic.done()
    for n in range(posted):
        nic.post(frame(seed=n))

    nic.pt(wire.REG_TXPROD, (1 + value) % 64)

    assert nic.seen("VMX-D-033") == [("TXPROD 0", (1 + value) % 64, 1)]
    assert len(nic.net.sent) == 1 + posted  # ownership decides, not the bell
    nic.assert_traffic()


def test_VMX_D_033_a_bell_before_the_packet_is_published(active: RawNic) -> None:
    """The first descriptor is handed over last; the bell came too early."""
    index = active.post(frame(), gen=0)
    active.pt(wire.REG_TXPROD, 1)
    silent = list(active.net.sent)
    active.tx[0].ring.memory.view[CELL * index + 9] |= 0x40

    active.kick()

    assert active.seen("VMX-D-033") == [("TXPROD 0", 1, 1)]
    assert (silent, active.net.sent) == ([], [frame()])
    active.assert_traffic()


@pytest.mark.parametrize("burst", [1, 3, 31])
def test_VMX_D_033_035_say_nothing_of_a_bell_after_each_burst_for_many_laps(active: RawNic, burst: int) -> None:
    for lap in range(200):
        for n in range(burst):
            active.post(frame(seed=lap + n))
        active.kick()
        active.done()

    assert len(active.net.sent) == 200 * burst
    assert active.rules.count() == 0


@pytest.mark.parametrize("silent", [5, 63, 64, 65, 130, 200])
def test_VMX_D_033_says_nothing_of_a_bell_after_silent_laps(active: RawNic, silent: int) -> None:
    """While the rings are polled a driver does not ring for many laps."""
    for round_ in range(4):
        for n in range(silent):
            active.post(frame(seed=n))
            active.device.service(256, n)
            active.done()
        active.send(frame(seed=round_))

    assert len(active.net.sent) == 4 * (silent + 1)
    assert active.rules.count() == 0


def test_VMX_D_033_says_nothing_of_bells_that_come_late(active: RawNic) -> None:
    """Posted writes: what the driver published after the bell is taken before the bell is heard."""
    values = []
    for n in range(200):
        active.post(frame(seed=n))
        values.append(active.tx[0].ring.next)
        if n % 3:
            active.device.service(256, n)
            active.done()
        if n % 20 == 19:
            for value in values:
                active.pt(wire.REG_TXPROD, value)
            values = []
            active.done()

    assert len(active.net.sent) == 200
    assert active.rules.count() == 0


@pytest.mark.parametrize("silent", [3, 60, 63, 64, 70, 125])
@pytest.mark.parametrize("late", [1, 6, 30])
def test_VMX_D_033_says_nothing_of_a_late_bell_after_silence(active: RawNic, silent: int, late: int) -> None:
    for n in range(silent):
        active.post(frame(seed=n))
        active.device.service(256, n)
        active.done()
    value = active.tx[0].ring.next
    for n in range(late):
        active.post(frame(seed=n))
        if n & 1:
            active.device.service(256, n)

    active.pt(wire.REG_TXPROD, value)
    active.done()
    active.send(frame())

    assert len(active.net.sent) == silent + late + 1
    assert active.rules.count() == 0


def test_VMX_D_033_says_nothing_of_the_same_bell_again(active: RawNic) -> None:
    active.send(frame())
    for _ in range(3):
        active.kick()

    assert active.rules.count() == 0


def test_VMX_D_033_is_not_judged_in_remote_memory(nic: RawNic) -> None:
    remote_tx(nic)
    nic.pt(wire.REG_TXPROD, 7)

    assert nic.seen("VMX-D-033") == []


class Remote:
    """Remote memory of `size` bytes at `base`, until it is `gone`."""

    def __init__(self, base: int, size: int) -> None:
        self.base, self.data, self.gone = base, bytearray(size), False

    def read(self, address: int, length: int) -> bytes:
        if self.gone:
            raise DmaFault("MEM-01", "gone", address)
        return bytes(self.data[address - self.base :][:length])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        if self.gone:
            raise DmaFault("MEM-01", "gone", address)
        at = address - self.base
        self.data[at : at + len(data)] = data


def remote_tx(nic: RawNic) -> Remote:
    """`nic` active, its transmit ring in remote memory."""
    remote = Remote(NOWHERE, CELL * 64)
    nic.device.mem.map(NOWHERE, None, CELL * 64, remote=remote)
    nic.tell_tx(txRingBasePA=NOWHERE)
    assert nic.activate() == 0
    return remote


# -- 035: txNumDeferred ----------------------------------------------------------------------------------------------


def deferred(nic: RawNic, count: int) -> None:
    """The driver's count of frames it has not rung for."""
    nic.table.view[0:4] = count.to_bytes(4, "little")


def test_VMX_D_035_the_count_is_never_reset(active: RawNic) -> None:
    for n in range(1, 4):
        deferred(active, n)
        active.send(frame(seed=n))

    assert active.seen("VMX-D-035") == [("TXPROD 0", 3, 2)]
    assert len(active.net.sent) == 3
    deferred(active, 0)
    active.assert_traffic()


def test_VMX_D_035_says_nothing_of_linux(active: RawNic) -> None:
    for n in range(300):
        deferred(active, 1)  # counted, found to be enough, and set back before the bell
        active.post(frame(seed=n))
        deferred(active, 0)
        active.kick()
        active.done()

    assert active.rules.count() == 0


def test_VMX_D_035_says_nothing_of_a_count_for_the_next_frame(active: RawNic) -> None:
    """A posted bell is heard while the driver counts the next frame, which has segments: once in a while."""
    for n, seen in enumerate([0, 1, 0, 45, 0, 2, 0]):
        deferred(active, seen)
        active.send(frame(seed=n))

    assert active.rules.count() == 0


def test_VMX_D_035_says_nothing_of_a_driver_that_always_rings(active: RawNic) -> None:
    """FreeBSD, iPXE and VPP never touch the count; some preset it."""
    deferred(active, 7)
    for n in range(100):
        active.send(frame(seed=n))
        active.done()

    assert active.rules.count() == 0


def test_VMX_D_035_says_nothing_while_the_rings_are_polled(active: RawNic) -> None:
    active.device.polled = True
    active.send(frame(seed=0))
    assert int.from_bytes(active.table.view[4:8], "little") == BELLS_OFF
    for n in range(1, 50):  # it rings from time to time although nobody asks
        deferred(active, n)
        active.send(frame(seed=n))
        active.done()

    assert active.rules.count() == 0


def test_VMX_D_035_does_not_ask_remote_memory_that_is_gone(nic: RawNic) -> None:
    """The queue table alone is remote: the bell must not wait for a message, and not fail for want of an answer."""
    remote = Remote(NOWHERE, 4096)
    nic.device.mem.map(NOWHERE, None, 4096, remote=remote)
    remote.data[: len(nic.table.view)] = nic.table.view
    nic.tell(queueDescPA=NOWHERE)
    assert nic.activate() == 0
    remote.gone = True

    nic.send(frame())

    assert nic.net.sent == [frame()]
    assert nic.rules.count() == 0
    nic.assert_alive()


# -- 052: descriptors the device owns --------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"addr": NOWHERE}, {"len": 1024}, {"btype": 1}], ids=["addr", "len", "btype"])
def test_VMX_D_052_the_next_buffer_is_changed(active: RawNic, fields: dict[str, int]) -> None:
    active.feed(frame(seed=1))
    active.received()
    ring = active.rx[0].rings[0].memory
    values = {"addr": active.rx[0].buffers[0].address + SLOT, "len": SLOT, "gen": 1}
    changed = RX_DESC.encode(**{**values, **fields})
    ring.view[CELL : 2 * CELL] = changed

    active.feed(frame(seed=2))

    word2 = int.from_bytes(changed[8:12], "little")
    assert active.seen("VMX-D-052") == [("rx queue 0 ring 0 descriptor 1", word2, 1)]
    active.received()
    active.feed(frame(seed=3))
    assert [packet.data for packet in active.received()] == [frame(seed=3)]
    active.assert_alive()


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("burst", [1, 5, 62, 100])
def test_VMX_D_052_says_nothing_of_buffers_posted_again(waits: bool, burst: int) -> None:
    """Many laps, several frames a round, more than there are buffers for; a buffer is armed as Linux does."""
    nic = RawNic(Queue(waits=waits))
    nic.bring_up()
    ring = nic.rx[0].rings[0]
    spare = nic.port.alloc(SLOT * 64)
    for lap in range(30):
        nic.feed(*[frame(seed=lap + n) for n in range(burst)])
        for packet in nic.received():
            for comp in packet.comps:
                at = CELL * ring.next
                assert comp["rxdIdx"] == (ring.next + 1) % 64
                address = (nic.rx[0].buffers[0] if lap & 1 else spare).address + SLOT * ring.next
                ring.memory.view[at : at + 8] = address.to_bytes(8, "little")  # the old owner bit still
                nic.device.service(256, lap)
                nic.arm(addr=address)
                nic.device.service(256, lap)

    assert nic.rules.count() == 0


def test_VMX_D_052_says_nothing_of_a_new_activation(active: RawNic) -> None:
    active.feed(frame(seed=1))
    active.command(Cmd.QUIESCE_DEV)

    active.bring_up()
    active.assert_traffic()

    assert active.rules.count() == 0


# -- 053: RXPROD -----------------------------------------------------------------------------------------------------


def test_VMX_D_053_a_bell_for_every_buffer(active: RawNic) -> None:
    for value in range(1, 20):
        active.pt(wire.REG_RXPROD, value)

    assert active.seen("VMX-D-053") == [("RXPROD 0", 3, 1)]  # once is enough
    active.assert_traffic()


def test_VMX_D_053_counts_each_queue_by_itself() -> None:
    nic = RawNic()
    nic.bring_up(rx=4)
    for _ in range(2):
        for queue in range(4):  # as Linux announces its first buffers
            nic.pt(wire.REG_RXPROD + 8 * queue, 63)
            nic.pt(wire.REG_RXPROD2 + 8 * queue, 31)

    nic.assert_traffic()
    nic.pt(wire.REG_RXPROD + 8 * 2, 5)

    assert nic.seen("VMX-D-053") == [("RXPROD 2", 5, 1)]


def test_VMX_D_053_says_nothing_of_many_activations(nic: RawNic) -> None:
    for _ in range(5):
        nic.bring_up()
        nic.pt(wire.REG_RXPROD, 63)
        nic.pt(wire.REG_RXPROD2, 31)
        nic.assert_traffic()
        nic.command(Cmd.QUIESCE_DEV)

    assert nic.rules.count() == 0


def test_offsets_of_these_tests_stand_where_the_header_has_them() -> None:
    assert (TX_QUEUE_DESC.offset["txNumDeferred"], TX_QUEUE_DESC.offset["txThreshold"]) == (0, 4)
    assert DRIVER_SHARED.offset["ecr"] == 696
    assert len(MAC) == 6
