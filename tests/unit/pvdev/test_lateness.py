from hypothesis import given
from hypothesis import strategies as st

from pvdev.lateness import Lateness, Times


def test_nothing_was_late_before_anything_came() -> None:
    late = Lateness("frames")

    assert (late.count, late.max, late.percentile(99)) == (0, 0, 0)
    assert late.facts() == {"frames": 0, "p50": 0.0, "p99": 0.0, "max": 0.0}


def test_half_and_nearly_all_and_the_worst() -> None:
    late = Lateness("frames")
    for ns in range(1000):
        late.add([0], ns * 1000)

    assert late.count == 1000
    assert late.max == 999_000
    assert 499_000 <= late.percentile(50) <= 499_000 * 17 / 16
    assert 989_000 <= late.percentile(99) <= 999_000
    assert late.percentile(100) == 999_000


def test_a_batch_counts_each_frame_from_its_own_due_time() -> None:
    late = Lateness("frames")
    late.add([10, 20, 30], 30)

    assert (late.count, late.max, late.percentile(1), late.percentile(50)) == (3, 20, 0, 10)
    assert str(late) == "p50 0, p99 0, max 0 us late, 3 frames"


@given(st.lists(st.integers(0, 2**62), min_size=1), st.integers(1, 100))
def test_a_percentile_is_never_too_low_and_at_most_a_sixteenth_too_high(values: list[int], percent: int) -> None:
    late = Lateness("frames")
    for value in values:
        late.add([0], value)
    ordered = sorted(values)
    true = ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]

    assert true <= late.percentile(percent) <= min(true * 17 / 16 + 1, ordered[-1])


def test_times_know_the_shortest_and_the_longest() -> None:
    times = Times()
    for ns in (7000, 5000, 9000):
        times.took(ns)

    assert (times.count, times.min, times.max) == (3, 5000, 9000)
    assert times.microseconds(50) == {"p50": 7.2, "max": 9.0}
    assert 7000 <= times.percentile(50) <= 7000 * 17 / 16
