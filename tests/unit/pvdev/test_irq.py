"""Interrupts: the line, messages, masks and pending bits; and moderation that is neither late nor lossy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvdev.irq import ENTRY_SIZE, Interrupts, Mode, Moderator, Pace

VECTORS = 25
CONTROL = 12  # offset of the control word in a table entry


@pytest.fixture
def irq() -> Interrupts:
    """As after power-on: INTx."""
    return Interrupts(VECTORS)


@pytest.fixture
def msix(irq: Interrupts) -> Interrupts:
    """MSI-X on, every entry masked, the table in our BAR."""
    irq.set_mode(Mode.MSIX)
    return irq


def unmask(irq: Interrupts, vector: int, masked: bool = False) -> None:
    irq.write_table(ENTRY_SIZE * vector + CONTROL, 4, int(masked))


# -- INTx ----------------------------------------------------------------------------------------------------------


def test_the_line_is_told_when_it_rises(irq: Interrupts) -> None:
    quiet = irq.take()
    irq.set_line(True)

    assert (quiet, irq.take(), irq.take()) == (0, 1, 0)


def test_a_line_already_up_is_no_news(irq: Interrupts) -> None:
    irq.set_line(True)
    irq.take()

    irq.set_line(True)

    assert irq.take() == 0


def test_a_line_that_fell_again_is_not_told(irq: Interrupts) -> None:
    irq.set_line(True)
    irq.set_line(False)

    assert irq.take() == 0


def test_a_line_that_rises_again_is_told_again(irq: Interrupts) -> None:
    irq.set_line(True)
    irq.take()
    irq.set_line(False)

    irq.set_line(True)

    assert irq.take() == 1


def test_sampling_tells_a_line_that_is_still_up(irq: Interrupts) -> None:
    irq.set_line(True)
    irq.take()

    irq.sample_line()
    up = irq.take()
    irq.set_line(False)
    irq.sample_line()

    assert (up, irq.take()) == (1, 0)


def test_a_disabled_line_is_held_back_until_it_is_enabled(irq: Interrupts) -> None:
    irq.disable_intx(True)
    irq.set_line(True)
    held = irq.take()

    irq.disable_intx(False)

    assert (held, irq.take(), irq.take()) == (0, 1, 0)


def test_a_line_that_fell_while_disabled_is_not_told(irq: Interrupts) -> None:
    irq.disable_intx(True)
    irq.set_line(True)
    irq.set_line(False)

    irq.disable_intx(False)

    assert irq.take() == 0


# -- messages ------------------------------------------------------------------------------------------------------


def test_msi_has_one_vector_and_no_mask(irq: Interrupts) -> None:
    irq.set_mode(Mode.MSI)

    irq.fire(0)
    irq.fire(1)

    assert (irq.take(), irq.take(), irq.pending) == (1, 0, 0)


def test_an_unmasked_vector_fires_once(msix: Interrupts) -> None:
    unmask(msix, 3)

    msix.fire(3)
    msix.fire(3)

    assert (msix.take(), msix.take(), msix.read_pba(0, 8)) == (1 << 3, 0, 0)


def test_vectors_fire_together(msix: Interrupts) -> None:
    for vector in (0, 7, 24):
        unmask(msix, vector)
        msix.fire(vector)

    assert msix.take() == 1 | 1 << 7 | 1 << 24


@pytest.mark.parametrize("vector", [VECTORS, 64, 255])
def test_a_vector_that_is_none_does_nothing(msix: Interrupts, vector: int) -> None:
    msix.fire(vector)

    assert (msix.take(), msix.pending) == (0, 0)


def test_a_masked_vector_stays_pending_and_fires_when_unmasked(msix: Interrupts) -> None:
    msix.fire(9)
    held, shown = msix.take(), msix.read_pba(0, 8)

    unmask(msix, 9)

    assert (held, shown) == (0, 1 << 9)
    assert (msix.take(), msix.read_pba(0, 8)) == (1 << 9, 0)


def test_the_function_mask_masks_every_vector(msix: Interrupts) -> None:
    unmask(msix, 1)
    unmask(msix, 2)
    msix.set_mode(Mode.MSIX, function_masked=True)
    msix.fire(1)
    msix.fire(2)
    held, shown = msix.take(), msix.read_pba(0, 4)
    unmask(msix, 2, masked=True)

    msix.set_mode(Mode.MSIX, function_masked=False)

    assert (held, shown) == (0, 0b110)
    assert (msix.take(), msix.read_pba(0, 4)) == (0b010, 0b100)


@pytest.mark.parametrize("connected", [None, 0, 1 << 5])
@pytest.mark.parametrize("written", [None, False, True], ids=["never written", "unmasked", "masked"])
@pytest.mark.parametrize("function", [False, True], ids=["", "function masked"])
def test_every_combination_of_masks(
    irq: Interrupts, connected: int | None, written: bool | None, function: bool
) -> None:
    irq.connect(connected)
    irq.set_mode(Mode.MSIX, function_masked=function)
    for masked in [written] if written is not None else []:
        unmask(irq, 5, masked=masked)

    irq.fire(5)

    listens = connected is None or connected == 1 << 5
    entry_masked = written if written is not None else connected is None  # one nobody wrote: as the table starts
    through = listens and not entry_masked and not function
    assert irq.masked(5) == (not through)
    assert (irq.take(), irq.pending) == ((1 << 5, 0) if through else (0, 1 << 5))


def test_connecting_lets_out_what_was_pending(msix: Interrupts) -> None:
    msix.connect(0)
    msix.fire(4)
    msix.fire(6)
    held = msix.take()

    msix.connect(1 << 4)

    assert held == 0
    assert (msix.take(), msix.read_pba(0, 4)) == (1 << 4, 1 << 6)


def test_who_is_connected_survives_a_reset(irq: Interrupts) -> None:
    irq.connect(1)
    irq.reset()
    irq.set_mode(Mode.MSIX)

    irq.fire(0)

    assert irq.take() == 1


def test_reset_forgets_all_else(msix: Interrupts) -> None:
    unmask(msix, 0)
    msix.fire(0)
    msix.fire(1)
    msix.set_line(True)
    msix.disable_intx(True)

    msix.reset()

    fresh = Interrupts(VECTORS)
    assert (msix.mode, msix.line, msix.intx_disabled, msix.pending, msix.take()) == (Mode.INTX, False, False, 0, 0)
    assert [msix.read_table(16 * n, 8) for n in range(VECTORS)] == [fresh.read_table(16 * n, 8) for n in range(VECTORS)]
    assert msix.read_table(CONTROL, 4) == 1


@pytest.mark.parametrize("to", [Mode.INTX, Mode.MSI])
def test_switching_modes_drops_messages(msix: Interrupts, to: Mode) -> None:
    unmask(msix, 0)
    msix.fire(0)
    msix.fire(1)

    msix.set_mode(to)

    assert (msix.take(), msix.pending) == (0, 0)


def test_switching_to_the_line_tells_one_that_is_up(msix: Interrupts) -> None:
    msix.set_line(True)
    quiet = msix.take()

    msix.set_mode(Mode.INTX)

    assert (quiet, msix.take()) == (0, 1)


def test_the_mode_written_again_changes_nothing(msix: Interrupts) -> None:
    msix.fire(1)

    msix.set_mode(Mode.MSIX)

    assert msix.pending == 1 << 1


# -- table and pending bits ----------------------------------------------------------------------------------------


def test_the_table_starts_masked_and_keeps_what_is_written(irq: Interrupts) -> None:
    start = [irq.read_table(ENTRY_SIZE * n + CONTROL, 4) for n in range(VECTORS)]

    vectors = [irq.write_table(32, 8, 0xFEE0_1000_0000_0008), irq.write_table(40, 4, 0x4041)]

    assert start == [1] * VECTORS
    assert vectors == [2, 2]
    assert irq.read_table(32, 8) == 0xFEE0_1000_0000_0008
    assert (irq.read_table(36, 4), irq.read_table(40, 2), irq.read_table(41, 1)) == (0xFEE0_1000, 0x4041, 0x40)


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (12, 2), (2, 4), (4, 8), (400, 4), (396, 8)])
def test_odd_table_writes_are_dropped(irq: Interrupts, offset: int, size: int) -> None:
    vector = irq.write_table(offset, size, 0)

    assert vector == -1
    assert irq.read_table(CONTROL, 4) == 1


def test_an_address_written_leaves_the_mask(msix: Interrupts) -> None:
    msix.connect(1)

    msix.write_table(0, 8, 0xFEE0_0000)
    msix.write_table(8, 4, 0x41)
    msix.fire(0)

    assert msix.take() == 1  # the control word was never written: whoever is connected keeps the masks himself


def test_eight_bytes_over_data_and_control_unmask(msix: Interrupts) -> None:
    msix.fire(1)

    msix.write_table(ENTRY_SIZE + 8, 8, 0x41)

    assert msix.take() == 1 << 1


def test_pending_bits_in_pieces(msix: Interrupts) -> None:
    msix.fire(0)
    msix.fire(9)
    msix.fire(24)

    assert [msix.read_pba(n, 1) for n in range(8)] == [1, 2, 0, 1, 0, 0, 0, 0]
    assert (msix.read_pba(0, 8), msix.read_pba(2, 2), msix.read_pba(4, 4)) == (0x100_0201, 0x100, 0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fire"), st.integers(0, 3)),
        st.tuples(st.just("mask"), st.integers(0, 3)),
        st.tuples(st.just("unmask"), st.integers(0, 3)),
        st.tuples(st.just("function"), st.integers(0, 1)),
        st.tuples(st.just("connect"), st.integers(-1, 15)),
        st.tuples(st.just("take"), st.just(0)),
    ),
    max_size=40,
)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(STEPS)
def test_no_message_is_lost_however_masks_move(steps: list[tuple[str, int]]) -> None:
    irq = Interrupts(4)
    irq.set_mode(Mode.MSIX)
    raised = taken = 0
    for step, value in steps:
        if step == "fire":
            irq.fire(value)
            raised |= 1 << value
        elif step in ("mask", "unmask"):
            unmask(irq, value, masked=step == "mask")
        elif step == "function":
            irq.set_mode(Mode.MSIX, function_masked=bool(value))
        elif step == "connect":
            irq.connect(None if value < 0 else value)
        else:
            taken |= irq.take()
        assert not irq.pending & ~raised

    irq.connect(None)
    irq.set_mode(Mode.MSIX)
    for vector in range(4):
        unmask(irq, vector)

    assert taken | irq.take() == raised
    assert irq.pending == 0


# -- moderation ----------------------------------------------------------------------------------------------------

PACE = Pace(frames=8, ns=100, lazy_frames=16, lazy_ns=400)


def test_without_a_pace_every_cause_interrupts() -> None:
    moderator = Moderator(None)

    assert [moderator.cause(1, now, urgent=now % 2 == 0) for now in range(4)] == [True] * 4
    assert moderator.deadline() is None
    assert not moderator.due(10**9)


def test_no_cause_no_interrupt() -> None:
    assert not Moderator(None).cause(0, 5, urgent=True)
    assert not Moderator(PACE).cause(0, 5, urgent=True)
    assert Moderator(PACE).deadline() is None


def test_a_lone_urgent_cause_goes_out_at_once() -> None:
    moderator = Moderator(PACE)

    assert moderator.cause(1, 0, urgent=True)
    assert moderator.deadline() is None
    assert moderator.cause(1, 100, urgent=True)


def test_urgent_causes_after_an_interrupt_wait_for_company() -> None:
    moderator = Moderator(PACE)
    moderator.cause(1, 1000, urgent=True)

    early = [moderator.cause(1, 1000 + n, urgent=True) for n in range(1, 8)]

    assert early == [False] * 7
    assert moderator.deadline() == 1100
    assert moderator.cause(1, 1010, urgent=True)  # the eighth
    assert moderator.deadline() is None


def test_held_causes_go_out_at_the_deadline_once() -> None:
    moderator = Moderator(PACE)
    moderator.cause(1, 1000, urgent=True)
    moderator.cause(1, 1001, urgent=True)

    assert not moderator.due(1099)
    assert moderator.due(1100)
    assert not moderator.due(1100)


def test_a_lazy_cause_always_waits() -> None:
    moderator = Moderator(PACE)

    assert not moderator.cause(1, 10**9, urgent=False)
    assert moderator.deadline() == 10**9 + 400
    assert moderator.due(10**9 + 400)


def test_enough_lazy_causes_do_not_wait() -> None:
    moderator = Moderator(PACE)

    assert not moderator.cause(15, 0, urgent=False)
    assert moderator.cause(1, 0, urgent=False)


CAUSES = st.lists(
    st.tuples(st.integers(0, 250), st.integers(1, 5), st.booleans()), min_size=1, max_size=60
)  # ns since the one before, completions, urgent


@settings(derandomize=True, max_examples=150, deadline=None)
@given(CAUSES)
def test_no_cause_is_late_and_none_is_lost(causes: list[tuple[int, int, bool]]) -> None:
    moderator = Moderator(PACE)
    now, waiting = 0, list[int]()  # the latest moment each cause that waits may be told of

    def pass_time(until: int) -> None:
        nonlocal waiting
        due = moderator.deadline()
        assert (due is not None) == bool(waiting)
        if due is not None and due <= until:
            assert moderator.due(due)
            assert due <= min(waiting)
            waiting = []

    for gap, count, urgent in causes:
        pass_time(now + gap)
        now += gap
        waiting.append(now + (PACE.ns if urgent else PACE.lazy_ns))
        if moderator.cause(count, now, urgent=urgent):
            waiting = []
    pass_time(now + PACE.lazy_ns)

    assert waiting == []
    assert moderator.deadline() is None


def test_what_a_stopped_device_had_to_say_is_dropped() -> None:
    irq = Interrupts(2)
    irq.set_mode(Mode.MSIX)
    irq.fire(0)  # masked: pending
    irq.write_table(28, 4, 0)
    irq.fire(1)
    irq.set_line(True)

    irq.drop()

    assert (irq.pending, irq.take(), irq.line) == (0, 0, False)
    irq.write_table(12, 4, 0)
    assert irq.take() == 0
