"""SVGA device rules 046 to 051: command buffers, their contexts, and what is said of each."""

import pytest

from pvdev.pci_driver import line_up
from svga.conform.rig import Buffers, Part, Rig
from svga.driver import commands
from svga.wire import PAGE, Cap, Cap2, FifoCap, Irq, Register
from svga.wire_commands import (
    CB_QUEUED_MAX,
    CONTEXT_0,
    CONTEXT_1,
    CONTEXT_DEVICE,
    CbFlag,
    CbStatus,
    Cmd,
    Dc,
)

pytestmark = pytest.mark.needs(Cap.COMMAND_BUFFERS)
needs = pytest.mark.needs
R = Register
NOP, BAD = commands.command(Cmd.NOP), commands.command(Cmd.NOP_ERROR)


@pytest.fixture
def lot(rig: Rig) -> Buffers:
    """Enabled, both contexts started; nothing is shown."""
    rig.start(buffers=True)
    return Buffers(rig)


def start(lot: Buffers, enable: int = 1) -> None:
    lot.rig.driver.steer(Dc.START_STOP_CONTEXT, enable, CONTEXT_0)


def stopped(lot: Buffers) -> int:
    """A command that fails stops what is behind it; which buffer it was."""
    n = lot.post(BAD)
    assert lot.rig.wait(lambda: lot.status(n) is CbStatus.COMMAND_ERROR)
    return n


# -- what is said of a buffer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 50])
def test_SVG_V_048_all_is_done(lot: Buffers, count: int) -> None:
    assert lot.run(NOP * count)[0] is CbStatus.COMPLETED


@needs(FifoCap.FENCE)
def test_SVG_V_048_what_is_done_was_done(lot: Buffers) -> None:
    assert lot.run(NOP + commands.fence(3))[0] is CbStatus.COMPLETED
    assert lot.rig.last_fence() == 3


@needs(FifoCap.FENCE)
@pytest.mark.parametrize("before", [0, 1, 7])
def test_SVG_V_048_an_error_says_where(lot: Buffers, before: int) -> None:
    """In bytes; what was before it has had its effect, what is behind it has not."""
    lot.run(commands.fence(100))
    status, at = lot.run(NOP * before + commands.fence(101) + BAD + commands.fence(102))

    assert (status, at) == (CbStatus.COMMAND_ERROR, 4 * before + 8)
    assert lot.rig.last_fence() == 101


@needs(FifoCap.FENCE)
def test_SVG_V_048_an_error_stops_the_buffers_behind_it(lot: Buffers) -> None:
    """They stay as they are until START, and come then."""
    lot.run(commands.fence(100))
    stopped(lot)
    behind = [lot.post(commands.fence(101)), lot.post(commands.fence(102))]
    lot.rig.settle()
    waiting = [lot.status(n) for n in behind], lot.rig.last_fence()
    start(lot)

    assert waiting == ([CbStatus.NONE, CbStatus.NONE], 100)
    assert lot.rig.wait(lambda: lot.status(behind[1]) is CbStatus.COMPLETED)
    assert lot.rig.last_fence() == 102


@needs(FifoCap.FENCE)
def test_SVG_V_048_recovery_as_Linux_does_it(lot: Buffers) -> None:
    """PREEMPT, the failed command cut off, everything submitted again, START: nothing else is lost."""
    data = commands.fence(1) + BAD + commands.fence(2)
    failed = lot.post(data)
    assert lot.rig.wait(lambda: lot.status(failed) is CbStatus.COMMAND_ERROR)
    lost = lot.post(commands.fence(3))
    lot.rig.driver.steer(Dc.PREEMPT, CONTEXT_0, 0)
    rest = lot.error(failed) + len(BAD)

    assert lot.status(lost) is CbStatus.PREEMPTED
    again = [lot.post(data[rest:]), lot.post(commands.fence(3))]
    start(lot)
    assert lot.rig.wait(lambda: lot.status(again[1]) is CbStatus.COMPLETED)
    assert (lot.status(again[0]), lot.rig.last_fence()) == (CbStatus.COMPLETED, 3)


@needs(Part.INTERRUPT)
def test_SVG_V_048_an_error_interrupts_as_one(lot: Buffers) -> None:
    lot.rig.driver.expect(Irq.COMMAND_BUFFER | Irq.ERROR)
    lot.run(BAD, flags=CbFlag.NO_IRQ)

    assert lot.rig.wait(lambda: line_up(lot.rig.port))
    assert lot.rig.driver.status() == Irq.COMMAND_BUFFER | Irq.ERROR


@pytest.mark.parametrize("missing", [4, 8, 16])
def test_SVG_V_048_a_command_ends_in_its_buffer(lot: Buffers, missing: int) -> None:
    data = NOP + commands.update(0, 0, 1, 1)

    assert lot.run(data[:-missing]) == (CbStatus.COMMAND_ERROR, 4)


@needs(Cap.CMD_BUFFERS_2, FifoCap.FENCE)
def test_SVG_V_048_the_offset_skips_what_is_before_it(lot: Buffers) -> None:
    """errorOffset does not."""
    assert lot.run(BAD + commands.fence(6), offset=4)[0] is CbStatus.COMPLETED
    assert lot.rig.last_fence() == 6
    assert lot.run(BAD + NOP + BAD, offset=4) == (CbStatus.COMMAND_ERROR, 8)


@pytest.mark.slow
@needs(FifoCap.FENCE)
def test_SVG_V_048_a_buffer_of_many_pages(lot: Buffers) -> None:
    """As long as any may be: half a MiB."""
    count = (512 << 10) // 4 - 2
    memory = lot.rig.driver.alloc(4 * count + 8)
    memory.view[:] = NOP * count + commands.fence(9)
    n = lot.post(b"", ptr=memory.address, length=4 * count + 8)

    assert lot.rig.wait(lambda: lot.status(n) is not CbStatus.NONE, 5.0)
    assert (lot.status(n), lot.rig.last_fence()) == (CbStatus.COMPLETED, 9)


@needs(Cap.GBOBJECTS, FifoCap.FENCE)
def test_SVG_V_048_commands_in_a_MOB(rig: Rig) -> None:
    driver = rig.best()
    lot = Buffers(rig)
    assert driver.pixels is not None
    driver.pixels.view[64:72] = commands.fence(8)
    status, _ = lot.run(b"", flags=CbFlag.MOB, ptr=2 | 64 << 32, length=8)

    assert (status, rig.last_fence()) == (CbStatus.COMPLETED, 8)


@needs(FifoCap.FENCE)
def test_SVG_V_048_buffers_come_in_order(lot: Buffers) -> None:
    stopped(lot)
    ids = [lot.post(commands.fence(n)) for n in range(1, 21)]
    start(lot)

    assert lot.rig.wait(lambda: lot.status(ids[-1]) is CbStatus.COMPLETED)
    assert {lot.status(n) for n in ids} == {CbStatus.COMPLETED}
    assert lot.rig.last_fence() == 20


@needs(Cap.HP_CMD_QUEUE, FifoCap.FENCE)
def test_SVG_V_048_the_context_of_high_priority_comes_first(lot: Buffers) -> None:
    """Both wait; of the two fences the one that was submitted first is reached last."""
    stopped(lot)
    later = lot.post(commands.fence(1), CONTEXT_0)
    first = lot.post(commands.fence(2), CONTEXT_1)
    start(lot)

    assert lot.rig.wait(lambda: {lot.status(later), lot.status(first)} == {CbStatus.COMPLETED})
    assert lot.rig.last_fence() == 1


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_SVG_V_049_the_33rd_is_too_many(lot: Buffers) -> None:
    """Said at once, and the 32 before it are as they were."""
    stopped(lot)
    ids = [lot.post(NOP) for _ in range(CB_QUEUED_MAX + 1)]
    full = [lot.status(n) for n in ids]
    start(lot)

    assert full == [CbStatus.NONE] * CB_QUEUED_MAX + [CbStatus.QUEUE_FULL]
    assert lot.rig.wait(lambda: lot.status(ids[-2]) is CbStatus.COMPLETED)
    assert [lot.status(n) for n in ids] == [CbStatus.COMPLETED] * CB_QUEUED_MAX + [CbStatus.QUEUE_FULL]


# -- the device context ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [commands.words(Dc.NOP), commands.words(Dc.NOP) * 9, b""])
def test_SVG_V_047_it_is_done_when_the_write_returns(lot: Buffers, data: bytes) -> None:
    """Nothing is waited for."""
    n = lot.post(data, CONTEXT_DEVICE)

    assert lot.status(n) is CbStatus.COMPLETED


def test_SVG_V_047_so_is_what_it_refuses(lot: Buffers) -> None:
    n = lot.post(commands.words(Dc.NOP, 1000), CONTEXT_DEVICE)

    assert (lot.status(n), lot.error(n)) == (CbStatus.COMMAND_ERROR, 4)


def test_SVG_V_050_what_was_preempted_is_said_before_the_write_returns(lot: Buffers) -> None:
    stopped(lot)
    ids = [lot.post(NOP) for _ in range(5)]
    n = lot.post(commands.words(Dc.PREEMPT, CONTEXT_0, 0), CONTEXT_DEVICE)

    assert lot.status(n) is CbStatus.COMPLETED
    assert [lot.status(each) for each in ids] == [CbStatus.PREEMPTED] * 5
    start(lot)
    assert lot.run(NOP)[0] is CbStatus.COMPLETED


def test_SVG_V_050_buffers_without_a_number_may_be_spared(lot: Buffers) -> None:
    stopped(lot)
    spared, taken = lot.post(NOP), lot.post(NOP, id=9)
    lot.rig.driver.steer(Dc.PREEMPT, CONTEXT_0, 1)
    start(lot)

    assert lot.rig.wait(lambda: lot.status(spared) is CbStatus.COMPLETED)
    assert lot.status(taken) is CbStatus.PREEMPTED


ORDERS = {
    "PREEMPT": ((Dc.PREEMPT, 0, 0), (Dc.PREEMPT, 0, 0)),
    "START twice": ((Dc.START_STOP_CONTEXT, 1, 0), (Dc.START_STOP_CONTEXT, 1, 0)),
    "STOP twice": ((Dc.START_STOP_CONTEXT, 0, 0), (Dc.START_STOP_CONTEXT, 0, 0)),
    "STOP, PREEMPT": ((Dc.START_STOP_CONTEXT, 0, 0), (Dc.PREEMPT, 0, 0)),
    "PREEMPT, START": ((Dc.PREEMPT, 0, 1), (Dc.START_STOP_CONTEXT, 1, 0)),
}


@pytest.mark.parametrize("what", ORDERS)
@pytest.mark.parametrize("fresh", [False, True], ids=["started", "never started"])
def test_SVG_V_050_contexts_are_steered_in_any_order(rig: Rig, what: str, fresh: bool) -> None:
    driver = rig.driver
    if fresh:
        driver.negotiate()
        driver.set(R.ENABLE, 1)
        if rig.has(Part.FIFO):
            rig.describe_ring(PAGE, driver.get(R.MEM_SIZE), PAGE, PAGE)
        driver.set(R.CONFIG_DONE, 1)
    else:
        rig.start(buffers=True)
    lot = Buffers(rig)
    found = [lot.post(commands.words(*words), CONTEXT_DEVICE) for words in ORDERS[what]]
    again = lot.post(commands.words(Dc.START_STOP_CONTEXT, 1, CONTEXT_0), CONTEXT_DEVICE)

    assert {lot.status(n) for n in (*found, again)} == {CbStatus.COMPLETED}
    assert lot.run(NOP)[0] is CbStatus.COMPLETED


WRONG = {
    "a command of the other kind": commands.words(Cmd.FENCE, 1),
    "half a command": commands.words(Dc.PREEMPT, 0),
    "a context there is not": commands.words(Dc.START_STOP_CONTEXT, 1, 0x3E),
    "a queue there is not": commands.words(Dc.START_QUEUE, 7),
    "PREEMPT of the device context": commands.words(Dc.PREEMPT, CONTEXT_DEVICE, 0),
    "PREEMPT of a context there is not": commands.words(Dc.PREEMPT, 0xFFFF_FFFF, 0),
}


@pytest.mark.parametrize("what", WRONG)
def test_SVG_V_050_what_the_device_context_refuses(lot: Buffers, what: str) -> None:
    n = lot.post(commands.words(Dc.NOP) + WRONG[what], CONTEXT_DEVICE)

    assert (lot.status(n), lot.error(n)) == (CbStatus.COMMAND_ERROR, 4)
    start(lot)
    assert lot.run(NOP)[0] is CbStatus.COMPLETED


# -- what cannot be ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [2, 7, 0x3E])
def test_SVG_V_051_a_context_there_is_not(lot: Buffers, context: int) -> None:
    n = lot.post(NOP, context)

    assert lot.status(n) is CbStatus.SUBMISSION_ERROR
    assert lot.run(NOP)[0] is CbStatus.COMPLETED


def test_SVG_V_051_a_context_that_is_stopped(lot: Buffers) -> None:
    start(lot, 0)
    n = lot.post(NOP)
    start(lot)

    assert lot.status(n) is CbStatus.SUBMISSION_ERROR
    assert lot.run(NOP)[0] is CbStatus.COMPLETED


HEADERS: dict[str, dict[str, int]] = {
    "flags nobody has": {"flags": 0x100},
    "dxContext without the flag": {"dxContext": 1},
    "longer than any": {"length": (4 << 20) + 4},
    "all there can be": {"length": 0xFFFF_FFFF},
    "an offset behind the end": {"offset": 8},
    "mustBeZero is not": {"mustBeZero": 1},
    "commands nowhere": {"ptr": 1 << 50},
    "commands at the end of addresses": {"ptr": (1 << 64) - 4},
}


@pytest.mark.parametrize("what", HEADERS)
def test_SVG_V_051_headers_that_cannot_be(lot: Buffers, what: str) -> None:
    """Nothing of it is done; the next buffer is."""
    status, _ = lot.run(NOP, **HEADERS[what])

    assert status in (CbStatus.CB_HEADER_ERROR, CbStatus.SUBMISSION_ERROR)
    start(lot)
    assert lot.run(NOP)[0] is CbStatus.COMPLETED


@pytest.mark.slow
def test_SVG_V_051_more_than_half_a_MiB(lot: Buffers) -> None:
    memory = lot.rig.driver.alloc(516 << 10)
    memory.view[:] = NOP * (129 << 10)
    n = lot.post(b"", ptr=memory.address, length=516 << 10)
    lot.rig.wait(lambda: lot.status(n) is not CbStatus.NONE, 5.0)

    long = CbStatus.COMPLETED if lot.rig.has(Cap2.CB_MAX_SIZE_4MB) else CbStatus.CB_HEADER_ERROR
    assert lot.status(n) is long


@pytest.mark.parametrize("address", [1 << 40, (1 << 64) - 64, (1 << 52) - PAGE])
def test_SVG_V_051_a_header_nobody_can_reach(lot: Buffers, address: int) -> None:
    lot.rig.driver.post(address)
    lot.rig.driver.post(address, CONTEXT_DEVICE)

    start(lot)
    assert lot.run(NOP)[0] is CbStatus.COMPLETED


@pytest.mark.parametrize("register", [R.ENABLE, R.CONFIG_DONE])
def test_SVG_V_051_a_display_that_is_switched_off_takes_none(lot: Buffers, register: Register) -> None:
    lot.rig.driver.set(register, 0)
    n = lot.post(NOP)
    lot.rig.settle()

    assert lot.status(n) in (CbStatus.SUBMISSION_ERROR, CbStatus.NONE)
    lot.rig.alive()


@needs(FifoCap.FENCE)
def test_SVG_V_051_what_is_written_into_a_header_later_does_not_count(lot: Buffers) -> None:
    """All but its status is the device's from submission on."""
    stopped(lot)
    n = lot.post(commands.fence(5))
    lot.memory.view[64 * n + 16 : 64 * n + 64] = b"\xff" * 48
    start(lot)

    assert lot.rig.wait(lambda: lot.status(n) is not CbStatus.NONE)
    assert (lot.status(n), lot.rig.last_fence()) == (CbStatus.COMPLETED, 5)
