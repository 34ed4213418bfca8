"""Interrupt vectors by themselves: masks, causes kept, delivery by mode, patience."""

import pytest

from pvdev.faults import Fault, FaultPlan
from pvdev.irq import Interrupts, Mode
from pvdev.trace import Recorder
from vmxnet3.vectors import EAGER_NS, LOOK_NS, PATIENCE_NS, Vectors

Notes = list[tuple[str, str, int]]


@pytest.fixture
def notes() -> Notes:
    return []


@pytest.fixture
def irq() -> Interrupts:
    """Four vectors of MSI-X, the table open."""
    made = Interrupts(4)
    made.set_mode(Mode.MSIX)
    for vector in range(4):
        made.write_table(16 * vector + 12, 4, 0)
    return made


@pytest.fixture
def vectors(irq: Interrupts, notes: Notes) -> Vectors:
    """All unmasked, three announced, no automatic masks."""
    made = Vectors(irq, lambda rule, place, value: notes.append((rule, place, value)))
    made.start(3, False)
    for vector in range(4):
        made._masks[2 * vector] = 0
    return made


def test_everything_is_masked_at_first(irq: Interrupts, notes: Notes) -> None:
    made = Vectors(irq, lambda *note: None)

    made.signal(2)

    assert [made.read(vector) for vector in range(4)] == [1, 1, 1, 1]
    assert irq.take() == 0
    made.write(2, 0)
    assert irq.take() == 0b100
    assert notes == []


def test_each_vector_has_a_mask_and_a_cause_of_its_own(vectors: Vectors, irq: Interrupts) -> None:
    vectors.write(1, 1)

    for vector in (0, 1, 1, 2):
        vectors.signal(vector)

    assert irq.take() == 0b101
    vectors.write(0, 0)  # nothing was kept for it
    assert irq.take() == 0
    vectors.write(1, 0)
    assert irq.take() == 0b010
    vectors.write(1, 0)  # and that was all
    assert irq.take() == 0


def test_a_delivered_vector_masks_itself_when_asked(vectors: Vectors, irq: Interrupts) -> None:
    vectors.start(3, True)

    vectors.signal(1)
    vectors.signal(1)

    assert (irq.take(), vectors.read(1), vectors.read(0)) == (0b010, 1, 0)
    vectors.write(1, 0)
    assert (irq.take(), vectors.read(1)) == (0b010, 1)
    vectors.write(1, 0)
    assert (irq.take(), vectors.read(1)) == (0, 0)


def test_masks_survive_a_stop_and_causes_do_not(vectors: Vectors, irq: Interrupts) -> None:
    vectors.write(1, 1)
    vectors.signal(0)
    vectors.signal(1)

    vectors.stop()
    vectors.write(1, 0)

    assert irq.take() == 0
    assert (vectors.read(0), vectors.in_use) == (0, 0)


def test_a_reset_masks_everything(vectors: Vectors) -> None:
    vectors.reset()

    assert [vectors.read(vector) for vector in range(4)] == [1, 1, 1, 1]


@pytest.mark.parametrize(("mode", "vector", "fired"), [(Mode.MSI, 0, 1), (Mode.MSI, 1, 0), (Mode.INTX, 1, 0)])
def test_modes_of_one_vector(vectors: Vectors, irq: Interrupts, mode: Mode, vector: int, fired: int) -> None:
    irq.set_mode(mode)

    vectors.signal(vector)

    assert irq.take() == fired


def test_the_line_stays_up_until_it_is_acknowledged(vectors: Vectors, irq: Interrupts) -> None:
    irq.set_mode(Mode.INTX)
    vectors.start(1, True)

    vectors.signal(0)
    vectors.write(0, 0)

    assert (irq.line, vectors.acknowledge_line()) == (True, 1)
    assert (irq.line, vectors.acknowledge_line(), vectors.read(0)) == (False, 0, 1)


@pytest.mark.parametrize(
    ("vector", "value", "noted"),
    [(0, 0, False), (2, 1, False), (3, 1, False), (3, 0, True), (0, 2, True), (0, 3, True)],
)
def test_odd_writes_are_noted(vectors: Vectors, notes: Notes, vector: int, value: int, noted: bool) -> None:
    vectors.write(vector, value)

    assert notes == [("VMX-D-054", f"IMR {vector}", value)] * noted
    assert vectors.read(vector) == value & 1


def test_an_inactive_device_has_no_vectors_in_use_to_compare_with(vectors: Vectors, notes: Notes) -> None:
    vectors.stop()

    vectors.write(3, 0)

    assert notes == []


def test_a_lost_interrupt_is_lost_and_the_next_is_not(vectors: Vectors, irq: Interrupts) -> None:
    vectors.faults = FaultPlan([("vmxnet3.interrupt", 0, Fault("lost"))])

    vectors.signal(0)
    lost = irq.take()
    vectors.signal(0)

    assert (lost, irq.take()) == (0, 1)


def test_deliveries_are_traced(vectors: Vectors) -> None:
    vectors.trace = recorder = Recorder()

    vectors.signal(2)
    vectors.write(1, 1)
    vectors.signal(1)

    assert [fields for _, fields in recorder.events] == [{"vector": 2}]


# -- patience ------------------------------------------------------------------------------------------------------


def forget(vectors: Vectors, vector: int) -> None:
    """Told, masked by that, and told again in vain."""
    vectors.start(3, True)
    vectors.signal(vector)
    vectors.signal(vector)


def test_patience_begins_when_it_is_first_seen(vectors: Vectors, notes: Notes) -> None:
    forget(vectors, 1)
    assert vectors.deadline() is None
    vectors.look(1000)
    assert vectors.deadline() == 1000 + PATIENCE_NS
    vectors.look(999 + PATIENCE_NS)
    assert notes == []

    vectors.look(1000 + PATIENCE_NS)
    vectors.look(1000 + 4 * PATIENCE_NS)

    assert notes == [("VMX-D-055", "vector 1", 0b010)]


def test_something_new_starts_patience_anew(vectors: Vectors, notes: Notes) -> None:
    forget(vectors, 1)
    for n in range(10):
        vectors.look(n * PATIENCE_NS)
        vectors.signal(1)
    assert notes == []

    vectors.look(10 * PATIENCE_NS)
    vectors.look(11 * PATIENCE_NS)

    assert notes == [("VMX-D-055", "vector 1", 0b010)]


def test_each_vector_is_waited_for_by_itself(vectors: Vectors, notes: Notes) -> None:
    forget(vectors, 0)
    forget(vectors, 2)
    vectors.look(0)
    vectors.signal(2)

    vectors.look(PATIENCE_NS)
    assert notes == [("VMX-D-055", "vector 0", 0b001)]
    vectors.look(2 * PATIENCE_NS)

    assert notes[1:] == [("VMX-D-055", "vector 2", 0b100)]


def test_unmasking_ends_patience(vectors: Vectors, notes: Notes) -> None:
    forget(vectors, 1)
    vectors.look(0)
    vectors.write(1, 0)
    vectors.look(PATIENCE_NS)
    vectors.look(2 * PATIENCE_NS)

    assert notes == []
    assert vectors.deadline() is None


# -- masks in memory the driver's side has mapped ------------------------------------------------------------------


@pytest.fixture
def page() -> memoryview:
    return memoryview(bytearray(4096))


@pytest.fixture
def mapped(irq: Interrupts, page: memoryview, notes: Notes) -> Vectors:
    made = Vectors(irq, lambda rule, place, value: notes.append((rule, place, value)), page)
    made.start(3, True)
    return made


def test_masks_stand_on_the_page(mapped: Vectors, page: memoryview) -> None:
    mapped.write(1, 0)

    assert [page[8 * vector] for vector in range(4)] == [1, 0, 1, 1]


def test_what_is_unmasked_behind_our_back_is_delivered_at_the_next_look(
    mapped: Vectors, irq: Interrupts, page: memoryview
) -> None:
    mapped.signal(2)
    page[16] = 0
    assert irq.take() == 0

    mapped.look(10)

    assert (irq.take(), page[16]) == (0b100, 1)


def test_looks_are_frequent_at_first_and_only_while_something_waits(mapped: Vectors, page: memoryview) -> None:
    assert mapped.deadline() is None
    mapped.signal(2)
    mapped.look(100)
    assert mapped.deadline() == 100 + LOOK_NS[0]
    mapped.look(EAGER_NS + 1)
    assert mapped.deadline() == EAGER_NS + 1 + LOOK_NS[1]
    page[16] = 0
    mapped.look(EAGER_NS + 2)

    assert mapped.deadline() is None
