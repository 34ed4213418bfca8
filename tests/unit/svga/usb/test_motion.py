"""What hands did between two looks of the host."""

from hypothesis import given
from hypothesis import strategies as st

from svga.usb.motion import EVENTS, FAR, STEP, Motion

STEPS = st.integers(-300, 300)
ACTS = st.lists(st.tuples(STEPS, STEPS, STEPS, st.integers(0, 7)), max_size=40)


def reports(motion: Motion) -> list[tuple[int, int, int, int]]:
    found = []
    while (event := motion.take()) is not None:
        found.append(event)
    return found


@given(ACTS)
def test_movements_add_up_and_every_change_of_a_button_is_seen(acts: list[tuple[int, int, int, int]]) -> None:
    motion = Motion()
    for act in acts:
        motion.move(*act)
    found = reports(motion)

    assert [sum(column) for column in zip(*found, strict=True)][1:] == (
        [sum(column) for column in zip(*acts, strict=True)][:3] if found else []
    )
    assert all(-STEP <= value <= STEP for event in found for value in event[1:])
    assert runs(event[0] for event in found) == runs([act[3] for act in acts if any(act)] if found else [])


def runs(values: object) -> list[int]:
    """Without repetitions, nor a 0 at the start."""
    out = [0]
    for value in values:  # type: ignore[attr-defined]
        if value != out[-1]:
            out.append(value)
    return out[1:]


def test_places_replace_one_another() -> None:
    motion = Motion(0x7FFF)
    motion.point(5, 6, 0, 0)
    motion.point(7, 8, 0, 0)
    motion.point(7, 8, 0, 0)
    motion.point(0x8000, -1, 0, 1)

    assert reports(motion) == [(0, 7, 8, 0), (1, 0x7FFF, 0, 0)]


def test_the_wheel_turned_where_it_turned() -> None:
    motion = Motion(0x7FFF)
    motion.point(5, 6, 200, 0)
    motion.point(9, 9, 0, 0)

    assert reports(motion) == [(0, 5, 6, 127), (0, 5, 6, 73), (0, 9, 9, 0)]


def test_what_nobody_reads_stays_small_and_its_end_is_true() -> None:
    motion = Motion()
    for n in range(1000):
        motion.move(1 << 40, 0, 0, n & 1)
    found = reports(motion)

    assert len(found) <= EVENTS * (FAR // STEP + 1)
    assert found[-1][0] == 1


def test_nothing_new_is_nothing() -> None:
    motion = Motion()
    motion.move(0, 0, 0, 0)

    assert not motion
    assert motion.take() is None
