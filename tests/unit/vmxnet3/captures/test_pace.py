from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvdev.errors import ConfigError
from vmxnet3.captures.capture import Captured
from vmxnet3.captures.pace import LOOP_GAP_NS, Pace, Paced, wire_bits

START = 5_000  # ns on the caller's clock


def frames(*stamps: int) -> list[Captured]:
    return [(stamp, bytes([i]), 1, 0, None) for i, stamp in enumerate(stamps)]


def paced(pace: str, *batches: list[Captured], rounds: int = 1) -> Paced:
    return Paced(lambda: iter(batches), Pace.parse(pace), rounds=rounds)


def dues(source: Paced, most: int = 100) -> list[int]:
    """When each frame is handed out, on a clock that jumps from one due time to the next."""
    now = START
    seen: list[int] = []
    while len(seen) < most and (due := source.due()) is not None:
        now = max(now, due)
        seen += [now] * len(source.take(1, now))
    return seen


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("original", "original", "original"),
        ("max", "max", "max"),
        ("x2", "original", "x2"),
        ("x0.5", "original", "x0.5"),
        ("x1", "original", "original"),
        ("pps:1000000", "pps", "pps:1000000"),
        ("pps:0.25", "pps", "pps:0.25"),
        ("pps:10k", "pps", "pps:10000"),
        ("bps:100M", "bps", "bps:100000000"),
        ("bps:2.5G", "bps", "bps:2500000000"),
    ],
)
def test_pace_is_parsed_and_printed(text: str, kind: str, shown: str) -> None:
    assert (Pace.parse(text).kind, str(Pace.parse(text))) == (kind, shown)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "x0",
        "x-1",
        "xx",
        "2x",
        "pps",
        "pps:",
        "pps:0",
        "pps:1e3",
        "x1/2",
        "x1.",
        "fast",
        "x2k",
        "bps:",
        "bps:1T",
        "bps:0G",
    ],
)
def test_pace_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="is not understood; give original, xN"):
        Pace.parse(text)


@pytest.mark.parametrize(
    ("pace", "gaps"),
    [
        ("original", [0, 100, 150, 1000]),
        ("x2", [0, 50, 75, 500]),
        ("x0.5", [0, 200, 300, 2000]),
        ("x3", [0, 33, 50, 333]),
        ("pps:1000000", [0, 1000, 2000, 3000]),
        ("pps:3", [0, 333_333_333, 666_666_666, 1_000_000_000]),
        ("max", [0, 0, 0, 0]),
    ],
)
def test_due_times_count_from_the_first_take(pace: str, gaps: list[int]) -> None:
    stamps = (10**18, 10**18 + 100, 10**18 + 150, 10**18 + 1000)

    assert dues(paced(pace, frames(*stamps))) == [START + gap for gap in gaps]
    assert dues(paced(pace, *[frames(stamp) for stamp in stamps])) == [START + gap for gap in gaps]


def test_bits_a_second_count_all_that_keeps_the_wire_busy() -> None:
    """84 bytes a short frame takes, 1538 one of 1514: at 1 Gbit/s 672 and 12,304 ns."""
    sizes = (60, 14, 1514, 60)
    batch: list[Captured] = [(0, bytes(size), size, 0, None) for size in sizes]

    assert [wire_bits(frame[1]) for frame in batch] == [672, 672, 12304, 672]
    assert dues(paced("bps:1G", batch)) == [START, START + 672, START + 1344, START + 13648]
    assert dues(paced("bps:1G", batch[:1], batch[1:3], batch[3:])) == dues(paced("bps:1G", batch))
    assert dues(paced("bps:500M", batch[:2])) == [START, START + 1344]


def test_rounds_are_counted_and_at_a_bit_rate_leave_no_gap() -> None:
    batch: list[Captured] = [(0, bytes(60), 60, 0, None)] * 2

    assert dues(paced("bps:1M", batch, rounds=3)) == [START + 672_000 * i for i in range(6)]
    assert len(dues(paced("max", batch, rounds=2))) == 4


def test_due_times_of_what_was_taken() -> None:
    source = paced("original", frames(0, 10, 20))
    source.begin(START)

    source.take(9, START + 10)
    assert source.taken == [START, START + 10]
    source.take(9, START + 11)
    assert source.taken == []
    source.shift(5)
    assert source.due() == START + 25
    assert paced("max", frames(0)).taken == []


def test_a_stopped_stream_is_finished() -> None:
    source = paced("original", frames(7, 10))
    assert source.first_stamp == 7

    source.stop()

    assert (source.finished, source.due(), source.take(9, START)) == (True, None, [])
    assert source.first_stamp is None


def test_take_gives_what_is_due_and_no_more() -> None:
    source = paced("original", frames(0, 10, 20, 30))

    assert source.due() == 0
    assert [frame[1] for frame in source.take(9, START)] == [b"\0"]
    assert source.take(9, START + 9) == []
    assert source.due() == START + 10
    assert [frame[1] for frame in source.take(1, START + 99)] == [b"\1"]
    assert [frame[1] for frame in source.take(9, START + 99)] == [b"\2", b"\3"]
    assert source.take(9, START + 99) == []
    assert (source.finished, source.due()) == (True, None)


def test_stamps_that_go_backwards_are_due_at_once_and_counted() -> None:
    source = paced("original", frames(100, 50, 120), frames(90, 130))

    assert dues(source) == [START, START, START + 20, START + 20, START + 30]
    assert source.backwards == 2


def test_an_empty_capture() -> None:
    source = paced("original", rounds=0)

    assert source.take(5, START) == []
    assert (source.finished, source.due()) == (True, None)


@pytest.mark.parametrize(
    ("pace", "gaps"),
    [("original", [0, 4000, 6000, 12000, 16000, 18000]), ("pps:1000", [n * 1_000_000 for n in range(6)])],
)
def test_a_loop_goes_on_after_a_mean_gap(pace: str, gaps: list[int]) -> None:
    source = paced(pace, frames(0, 4000, 6000), rounds=0)
    shifted = [gap if pace != "original" or i < 3 else gap - 3000 for i, gap in enumerate(gaps)]

    assert dues(source, 6) == [START + gap for gap in shifted]


def test_a_loop_of_one_frame_does_not_stop_time() -> None:
    assert dues(paced("original", frames(7), rounds=0), 3) == [START, START + LOOP_GAP_NS, START + 2 * LOOP_GAP_NS]


def test_after_a_pause_frames_stay_spaced() -> None:
    source = paced("original", frames(0, 10, 20), frames(30))
    source.take(1, START)

    source.resume()

    assert [len(source.take(9, START + 1000 + late)) for late in (0, 9, 10, 20)] == [1, 0, 1, 1]


def test_an_error_of_the_source_comes_after_the_frames_before_it_and_ends_the_stream() -> None:
    def broken() -> Iterator[list[Captured]]:
        yield frames(0, 1)
        raise ConfigError("cut short")

    source = Paced(broken, Pace.parse("max"))

    assert len(source.take(9, START)) == 2
    with pytest.raises(ConfigError, match="cut short"):
        source.take(9, START)
    assert (source.finished, source.take(9, START)) == (True, [])


@given(
    st.lists(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=4), max_size=6),
    st.sampled_from(["original", "x7", "x0.3", "pps:9", "bps:3k", "max"]),
)
def test_any_stamps_all_come_in_order_and_never_before_their_time(batches: list[list[int]], pace: str) -> None:
    source = paced(pace, *[frames(*stamps) for stamps in batches])
    seen = dues(source)

    assert len(seen) == sum(map(len, batches))
    assert seen == sorted(seen)
    assert source.finished
