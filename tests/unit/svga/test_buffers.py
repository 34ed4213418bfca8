"""Command buffers: every status, what stops what, and headers nobody should trust."""

import pytest

from pvdev.pci import COMMAND, CONFIG_REGION
from svga.driver import commands
from svga.driver.driver import MOB
from svga.driver.front import DeviceBroke
from svga.wire import PAGE, Irq, Register
from svga.wire_commands import CB_HEADER, CONTEXT_0, CONTEXT_1, CONTEXT_DEVICE, CbFlag, CbStatus, Cmd, Dc
from tests.unit.svga.rig import Rig

R = Register
NOP = commands.command(Cmd.NOP)
BAD = commands.command(Cmd.NOP_ERROR)


@pytest.fixture
def rig() -> Rig:
    """SVGA3 with both contexts, started."""
    return Rig("screen-targets", "svga3").started()


class Lot:
    """Headers in one page, their commands behind them; 64 bytes apart."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.memory, self.used = rig, rig.driver.alloc(16 * PAGE), 0

    def post(self, data: bytes, *, context: int = CONTEXT_0, run: bool = False, **fields: int) -> int:
        """Submit without letting the device work (unless `run`); which it is. `mustBeZero`: its first byte."""
        n, self.used = self.used, self.used + 1
        at = 4 * PAGE + n * 256
        self.memory.view[at : at + len(data)] = data
        rest = bytes([fields.pop("mustBeZero", 0)])
        values = {"length": len(data), "ptr": self.memory.address + at, **fields}
        self.memory.view[64 * n : 64 * n + 64] = CB_HEADER.encode(mustBeZero=rest, **values)
        self._low(self.memory.address + 64 * n, context, run)
        return n

    def _low(self, address: int, context: int, run: bool) -> None:
        pci = self.rig.device.pci
        pci.write(0, 4 * R.COMMAND_HIGH, 4, address >> 32)
        if run:
            self.rig.port.write(0, 4 * R.COMMAND_LOW, address & 0xFFFF_FFFF | context)
        else:
            self.rig.device.buffers.submit(address & 0xFFFF_FFFF | context)

    def status(self, n: int) -> CbStatus:
        return CbStatus(int.from_bytes(self.memory.view[64 * n : 64 * n + 4], "little"))

    def statuses(self) -> list[CbStatus]:
        return [self.status(n) for n in range(self.used)]

    def error(self, n: int) -> int:
        return int.from_bytes(self.memory.view[64 * n + 4 : 64 * n + 8], "little")


def test_SVG_V_048_all_is_done_and_said(rig: Rig) -> None:
    rig.driver.expect(Irq.COMMAND_BUFFER | Irq.ERROR)

    assert rig.driver.submit(NOP + commands.fence(3)) is CbStatus.COMPLETED
    assert (rig.driver.status(), rig.driver.get(R.FENCE)) == (Irq.COMMAND_BUFFER, 3)


def test_SVG_V_046_no_interrupt_when_none_is_wanted(rig: Rig) -> None:
    rig.driver.expect(Irq.COMMAND_BUFFER | Irq.ERROR)

    assert rig.driver.submit(NOP, flags=CbFlag.NO_IRQ) is CbStatus.COMPLETED
    assert (rig.driver.status(), rig.port.interrupts()) == (0, 0)


def test_SVG_V_048_an_error_says_where_and_stops_what_is_behind_it(rig: Rig) -> None:
    """What was before it has had its effect; the next buffer stays as it was until START."""
    lot = Lot(rig)
    rig.driver.expect(Irq.COMMAND_BUFFER | Irq.ERROR)
    first = lot.post(commands.fence(1) + NOP + BAD + commands.fence(2), flags=CbFlag.NO_IRQ)
    second = lot.post(commands.fence(3))
    rig.port.run()

    assert lot.statuses() == [CbStatus.COMMAND_ERROR, CbStatus.NONE]
    assert (lot.error(first), rig.driver.get(R.FENCE)) == (12, 1)
    assert rig.driver.status() == Irq.COMMAND_BUFFER | Irq.ERROR

    rig.driver.steer(Dc.START_STOP_CONTEXT, 1, CONTEXT_0)
    rig.port.run()

    assert lot.status(second) is CbStatus.COMPLETED
    assert rig.driver.get(R.FENCE) == 3


def test_recovery_as_Linux_does_it(rig: Rig) -> None:
    """PREEMPT, the failed command cut off, everything submitted again, START: nothing else is lost."""
    lot = Lot(rig)
    failed = lot.post(commands.fence(1) + BAD + commands.fence(2))
    lot.post(commands.fence(3))
    rig.port.run()
    rig.driver.steer(Dc.PREEMPT, CONTEXT_0, 0)
    rest = lot.error(failed) + len(BAD)

    assert lot.statuses() == [CbStatus.COMMAND_ERROR, CbStatus.PREEMPTED]
    lot.post((commands.fence(1) + BAD + commands.fence(2))[rest:])
    lot.post(commands.fence(3))
    rig.driver.steer(Dc.START_STOP_CONTEXT, 1, CONTEXT_0)
    rig.port.run()

    assert lot.statuses()[2:] == [CbStatus.COMPLETED, CbStatus.COMPLETED]
    assert rig.driver.get(R.FENCE) == 3


def test_SVG_V_049_SVG_D_046_the_33rd_is_too_many(rig: Rig) -> None:
    lot = Lot(rig)
    for n in range(1, 34):
        lot.post(commands.fence(n))
    full = lot.statuses()
    rig.port.run()

    assert full == [CbStatus.NONE] * 32 + [CbStatus.QUEUE_FULL]
    assert lot.statuses() == [CbStatus.COMPLETED] * 32 + [CbStatus.QUEUE_FULL]
    assert rig.seen("SVG-D-046") == [("queue full", CONTEXT_0)]


def test_the_high_priority_context_comes_first(rig: Rig) -> None:
    lot, order = Lot(rig), []
    rig.device.stream._handlers[Cmd.FENCE] = lambda data: order.append(data.cast("I")[0])
    lot.post(commands.fence(1))
    lot.post(commands.fence(2), context=CONTEXT_1)
    rig.port.run()

    assert order == [2, 1]


@pytest.mark.parametrize("context", [2, 0x3E])
def test_SVG_V_051_SVG_D_046_contexts_there_are_not(rig: Rig, context: int) -> None:
    lot = Lot(rig)
    lot.post(NOP, context=context)

    assert lot.statuses() == [CbStatus.SUBMISSION_ERROR]
    assert rig.seen("SVG-D-046") == [("context", context)]


def test_SVG_D_046_a_context_nobody_started() -> None:
    rig = Rig("legacy", "svga3").started()
    rig.driver.steer(Dc.START_STOP_CONTEXT, 0, CONTEXT_0)

    assert rig.driver.submit(NOP) is CbStatus.SUBMISSION_ERROR
    assert rig.seen("SVG-D-046") == [("context not started", CONTEXT_0)]


HEADERS: dict[str, dict[str, int]] = {
    "flags": {"flags": 0x100},
    "a DX context": {"flags": CbFlag.DX_CONTEXT},
    "dxContext without the flag": {"dxContext": 1},
    "length": {"length": (4 << 20) + 4},
    "length of no words": {"length": 6},
    "offset behind the end": {"offset": 8},
    "mustBeZero": {"mustBeZero": 1},
    "nowhere": {"ptr": 1 << 40},
    "at the end of addresses": {"ptr": (1 << 64) - 4},
}


@pytest.mark.parametrize("what", HEADERS)
def test_SVG_V_051_SVG_D_045_headers_that_cannot_be(rig: Rig, what: str) -> None:
    lot = Lot(rig)
    rig.driver.expect(Irq.COMMAND_BUFFER | Irq.ERROR)
    lot.post(NOP, run=True, **HEADERS[what])
    status, cause = lot.statuses(), rig.driver.status()
    rig.driver.acknowledge(cause)

    assert (status, cause) == ([CbStatus.CB_HEADER_ERROR], Irq.COMMAND_BUFFER | Irq.ERROR)
    assert [place for place, _ in rig.seen("SVG-D-045")] == ["command buffer header"]
    assert rig.driver.submit(NOP) is CbStatus.COMPLETED


def test_SVG_V_051_a_header_nobody_can_reach(rig: Rig) -> None:
    for address in (1 << 40, 0x10_0000 + (4 << 20) - 32):
        rig.driver.post(address & ~63)

    assert [value for _, value in rig.seen("SVG-D-045")] == [1 << 40]
    rig.driver.post((1 << 64) - 64)
    assert rig.driver.submit(NOP) is CbStatus.COMPLETED


def test_a_header_that_ends_outside_of_memory(rig: Rig) -> None:
    """Its status is there to be written: the driver learns what it did."""
    rig.device.mem.map(1 << 30, view := memoryview(bytearray(4096)), 32)

    rig.driver.post(1 << 30)

    assert int.from_bytes(view[:4], "little") == CbStatus.SUBMISSION_ERROR


def test_SVG_D_049_a_command_ends_in_its_buffer(rig: Rig) -> None:
    lot = Lot(rig)
    n = lot.post(NOP + commands.update(0, 0, 1, 1)[:-4], run=True)

    assert (lot.status(n), lot.error(n)) == (CbStatus.COMMAND_ERROR, 4)
    assert rig.seen("SVG-D-049") == [("command buffer", 4)]


def test_the_offset_skips_what_is_before_it(rig: Rig) -> None:
    lot = Lot(rig)
    good = lot.post(BAD + commands.fence(6), offset=4, run=True)
    bad = lot.post(BAD + NOP + BAD, offset=4, run=True)

    assert (lot.status(good), lot.status(bad), lot.error(bad)) == (CbStatus.COMPLETED, CbStatus.COMMAND_ERROR, 8)
    assert rig.driver.get(R.FENCE) == 6


def test_what_a_driver_changes_after_submission_is_not_looked_at(rig: Rig) -> None:
    lot = Lot(rig)
    n = lot.post(commands.fence(5))
    lot.memory.view[16:64] = b"\xff" * 48
    rig.port.run()

    assert (lot.status(n), rig.driver.get(R.FENCE)) == (CbStatus.COMPLETED, 5)


def test_a_long_buffer_is_done_in_slices(rig: Rig) -> None:
    count = 60_000
    memory = rig.driver.alloc(4 * count)
    memory.view[:] = NOP * count
    address = rig.driver.header(b"", ptr=memory.address, length=4 * count)

    rig.device.pci.write(0, 4 * R.COMMAND_LOW, 4, address)
    first = rig.device.stream.commands, rig.driver.result()
    rig.port.run()

    assert first == (64, CbStatus.NONE)
    assert (rig.driver.result(), rig.device.stream.commands) == (CbStatus.COMPLETED, count)


def test_memory_that_goes_away_before_its_turn(rig: Rig) -> None:
    """SVG-V-072: the buffer fails, the device does not."""
    other = memoryview(bytearray(4096))
    rig.device.mem.map(1 << 30, other)
    lot = Lot(rig)
    n = lot.post(NOP, ptr=1 << 30)
    gone = lot.post(NOP)
    rig.device.mem.unmap(1 << 30, 4096)
    rig.port.run()

    assert lot.status(n) is CbStatus.CB_HEADER_ERROR
    assert lot.status(gone) is CbStatus.COMPLETED


# -- the device context ------------------------------------------------------------------------------------------------


def test_SVG_V_047_it_is_done_when_the_write_returns(rig: Rig) -> None:
    address = rig.driver.header(commands.words(Dc.NOP))

    rig.device.pci.write(0, 4 * R.COMMAND_LOW, 4, address | CONTEXT_DEVICE)

    assert rig.driver.result() is CbStatus.COMPLETED


WRONG = {
    "a command of the other kind": commands.words(Cmd.FENCE, 1),
    "half a command": commands.words(Dc.PREEMPT, 0),
    "a context of its own": commands.words(Dc.START_STOP_CONTEXT, 1, 0x3E),
    "a queue there is not": commands.words(Dc.START_QUEUE, 7),
    "PREEMPT of the device context": commands.words(Dc.PREEMPT, CONTEXT_DEVICE, 0),
}


@pytest.mark.parametrize("what", WRONG)
def test_SVG_V_050_SVG_D_048_what_the_device_context_refuses(rig: Rig, what: str) -> None:
    status = rig.driver.submit(commands.words(Dc.NOP) + WRONG[what], CONTEXT_DEVICE)

    assert (status, rig.driver.error_offset) == (CbStatus.COMMAND_ERROR, 4)
    assert rig.seen("SVG-D-048") != []


def test_SVG_V_050_queues_of_one_context_are_not_steered_by_name() -> None:
    """Without HP_CMD_QUEUE there is nothing but START_STOP and PREEMPT."""
    rig = Rig("legacy", "svga3").started()
    rig.driver.steer(Dc.PREEMPT, CONTEXT_0, 1)

    with pytest.raises(DeviceBroke, match="COMMAND_ERROR"):
        rig.driver.steer(Dc.EMPTY_CONTEXT_QUEUE, CONTEXT_0)


def test_SVG_D_048_not_across_a_page(rig: Rig) -> None:
    memory = rig.driver.alloc(2 * PAGE)
    address = rig.driver.header(b"", ptr=memory.address + PAGE - 4, length=8)
    rig.driver.post(address, CONTEXT_DEVICE)

    assert rig.driver.result() is CbStatus.CB_HEADER_ERROR
    assert rig.seen("SVG-D-048") == [("device context: across a page", 8)]


def test_PREEMPT_spares_buffers_without_a_number(rig: Rig) -> None:
    lot = Lot(rig)
    lot.post(commands.fence(1))
    lot.post(commands.fence(2), id=9)
    rig.device.buffers._steer(Dc.PREEMPT, CONTEXT_0, 1)
    rig.port.run()

    assert lot.statuses() == [CbStatus.COMPLETED, CbStatus.PREEMPTED]


def test_a_buffer_that_has_begun_is_finished_in_spite_of_PREEMPT(rig: Rig) -> None:
    lot = Lot(rig)
    lot.post(NOP * 40)
    rig.device.buffers.drain(8)
    rig.device.buffers._steer(Dc.PREEMPT, CONTEXT_0, 0)
    rig.port.run()

    assert lot.statuses() == [CbStatus.COMPLETED]


def test_ASYNC_STOP_leaves_a_buffer_where_it_is(rig: Rig) -> None:
    lot = Lot(rig)
    n = lot.post(NOP * 40)
    rig.device.buffers.drain(8)
    rig.device.buffers._steer(Dc.ASYNC_STOP_QUEUE, CONTEXT_0)
    rig.port.run()
    stopped = lot.status(n), lot.error(n)
    other = lot.post(NOP)
    rig.port.run()

    assert stopped == (CbStatus.PARTIAL_COMPLETE, 32)
    assert lot.status(other) is CbStatus.SUBMISSION_ERROR
    rig.driver.steer(Dc.START_QUEUE, CONTEXT_0)
    assert rig.driver.submit(NOP) is CbStatus.COMPLETED


def test_EMPTY_CONTEXT_QUEUE_gives_back_what_has_not_begun(rig: Rig) -> None:
    lot = Lot(rig)
    lot.post(NOP, context=CONTEXT_1)
    rig.device.buffers._steer(Dc.EMPTY_CONTEXT_QUEUE, CONTEXT_1)
    rig.port.run()

    assert lot.statuses() == [CbStatus.PREEMPTED]


def test_SVG_D_060_without_bus_mastering_nothing_is_read(rig: Rig) -> None:
    rig.port.write(CONFIG_REGION, COMMAND, 3, 2)

    assert rig.driver.submit(NOP) is CbStatus.NONE
    assert rig.seen("SVG-D-060") == [("COMMAND_LOW", 2)]


def test_SVG_D_054_both_ways_at_once() -> None:
    rig = Rig("screen-targets", "svga2").started()
    rig.driver.write(NOP)
    rig.driver.submit(NOP)

    assert [place for place, _ in rig.seen("SVG-D-054")] == ["COMMAND_LOW"]


def test_commands_in_a_MOB(targets: Rig) -> None:
    """The driver's own MOB holds the picture; its first bytes serve."""
    assert targets.driver.pixels is not None
    targets.driver.pixels.view[64:72] = commands.fence(8)

    status = targets.driver.submit(b"", flags=CbFlag.MOB, ptr=MOB | 64 << 32, length=8)

    assert (status, targets.driver.get(R.FENCE)) == (CbStatus.COMPLETED, 8)


@pytest.mark.parametrize(("at", "how"), [(0, "run"), (20, "run"), (63, "PREEMPT")])
def test_SVG_D_047_a_header_written_to_while_its_buffer_waits(rig: Rig, at: int, how: str) -> None:
    """The first byte that is another; what becomes of the buffer is the same."""
    lot = Lot(rig)
    touched, other = lot.post(NOP, id=1), lot.post(NOP, id=2)
    lot.memory.view[64 * touched + at] ^= 0xFF
    if how == "PREEMPT":
        rig.device.buffers._steer(Dc.PREEMPT, CONTEXT_0, 0)
    rig.port.run()

    assert rig.seen("SVG-D-047") == [("command buffer header", at)]
    want = CbStatus.PREEMPTED if how == "PREEMPT" else CbStatus.COMPLETED
    assert [lot.status(touched), lot.status(other)] == [want, want]
