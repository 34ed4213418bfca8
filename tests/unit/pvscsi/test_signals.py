"""INTR_STATUS and INTR_MASK: what is said at once, what waits for company, and what is never said."""

import pytest

from pvdev.faults import Fault, FaultPlan
from pvdev.irq import Interrupts, Mode, Pace
from pvscsi.signals import Signals
from pvscsi.wire import Intr

PACE = Pace(frames=1, ns=0, lazy_frames=4, lazy_ns=1000)


def make(pace: Pace | None = None, mode: Mode = Mode.MSI) -> tuple[Signals, Interrupts, list[tuple[str, int]]]:
    irq, seen = Interrupts(1), list[tuple[str, int]]()
    irq.set_mode(mode)
    signals = Signals(irq, lambda rule, place, value: seen.append((rule, value)), pace, lambda: (True, True))
    signals._write_INTR_MASK(0xF)
    irq.take()
    return signals, irq, seen


def test_the_last_completion_waits_for_nobody() -> None:
    signals, irq, _ = make(PACE)

    signals.completed(1, 0, out=0)

    assert (irq.take(), signals.status, signals.deadline()) == (1, Intr.CMPL_0, None)


@pytest.mark.parametrize(("counts", "now_ns"), [((1, 1, 1), 1000), ((1, 3), 10)], ids=["time", "number"])
def test_completions_wait_for_company_and_not_for_ever(counts: tuple[int, ...], now_ns: int) -> None:
    signals, irq, _ = make(PACE)

    for count in counts[:-1]:
        signals.completed(count, 0, out=1)
    early = irq.take(), signals.status
    signals.completed(counts[-1], 10, out=1)
    signals.work(now_ns)

    assert early == (0, 0)
    assert (irq.take(), signals.status, signals.deadline()) == (1, Intr.CMPL_0, None)


def test_a_driver_with_one_request_at_a_time_never_waits() -> None:
    signals, irq, _ = make(PACE)

    fired = []
    for now in range(5):
        signals.completed(1, now, out=0, ahead=1)
        fired.append(irq.take())

    assert fired == [1] * 5


def test_a_driver_that_has_sent_more_before_it_heard_will_do_so_again() -> None:
    signals, irq, _ = make(PACE)

    signals.completed(1, 0, out=0, ahead=1)
    alone = irq.take()
    signals.completed(2, 1, out=0, ahead=3)  # with the one it has not taken
    waits = irq.take()
    signals.completed(1, 2, out=0, ahead=3)

    assert (alone, waits, irq.take()) == (1, 0, 1)


def test_what_was_waited_for_in_vain_is_not_waited_for_again() -> None:
    signals, irq, _ = make(PACE)
    signals.completed(1, 0, out=0, ahead=3)

    signals.work(999)
    early = irq.take()
    signals.work(1000)
    late = irq.take()
    signals.completed(1, 2000, out=0, ahead=1)

    assert (early, late, irq.take()) == (0, 1, 1)


def test_what_did_not_come_at_once_says_so_as_soon_as_nothing_is_under_way() -> None:
    signals, irq, _ = make(PACE)
    signals.completed(1, 0, out=0, ahead=3)

    signals.completed(1, 1, out=0)

    assert irq.take() == 1


@pytest.mark.parametrize("end", ["drop", "reset"])
def test_what_waited_is_not_said_after_the_end(end: str) -> None:
    signals, irq, _ = make(PACE)
    signals.completed(1, 0, out=1)

    getattr(signals, end)()
    signals.work(10**9)

    assert (irq.take(), signals.status) == (0, 0)
    assert signals.mask == (0xF if end == "drop" else 0)


def test_every_batch_is_a_message_although_nobody_acknowledges() -> None:
    signals, irq, seen = make()

    fired = []
    for _ in range(3):
        signals.completed(1, 0, out=0)
        fired.append(irq.take())

    assert (fired, seen) == ([1, 1, 1], [])


def test_masked_is_kept_until_it_is_unmasked() -> None:
    signals, irq, _ = make()
    signals._write_INTR_MASK(0)
    signals.say(Intr.MSG_0)
    silent = irq.take()

    signals._write_INTR_MASK(int(Intr.MSG_0))

    assert (silent, irq.take(), signals._read_INTR_STATUS()) == (0, 1, Intr.MSG_0)


def test_a_line_follows_what_is_set_and_wanted() -> None:
    signals, irq, _ = make(mode=Mode.INTX)
    signals.say(Intr.CMPL_0)
    up = irq.line

    signals._write_INTR_STATUS(1)

    assert (up, irq.line) == (True, False)


def test_an_interrupt_can_be_lost_on_purpose() -> None:
    signals, irq, _ = make()
    signals.faults = FaultPlan([("pvscsi.interrupt", 0, Fault("lose"))])

    signals.say(Intr.CMPL_0)
    lost = irq.take()
    signals.say(Intr.CMPL_0)

    assert (lost, irq.take(), signals.status) == (0, 1, Intr.CMPL_0)
