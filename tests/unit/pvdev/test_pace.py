"""Paces of any recording; those of a network are in tests/unit/vmxnet3/captures/test_pace.py."""

from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar

import pytest

from pvdev.errors import ConfigError
from pvdev.pace import SECOND, Pace, Paced


class Dozens(Pace):
    rates: ClassVar[Mapping[str, str]] = {"dozens": "twelve each", "gross": "144 each"}


@pytest.mark.parametrize(
    ("text", "kind", "factor"),
    [("max", "max", 1), ("x4", "original", 4), ("dozens:2.5", "dozens", Fraction(5, 2)), ("gross:3k", "gross", 3000)],
)
def test_rates_are_those_of_the_recording(text: str, kind: str, factor: Fraction) -> None:
    pace = Dozens.parse(text)

    assert isinstance(pace, Dozens)
    assert (pace.kind, pace.factor) == (kind, factor)
    assert Dozens.parse(str(pace)) == pace


def test_what_is_no_pace_names_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        Dozens.parse("pps:1")

    assert str(caught.value) == (
        "pace 'pps:1' is not understood; give original, xN (x2: twice as fast), dozens:N (twelve each), "
        "gross:N (144 each) or max"
    )


def test_what_is_stopped_stays_so() -> None:
    paced = Paced(lambda: [[(0,), (1,)], [(2,)]], Pace("max"), rounds=0)
    assert paced.take(1, 0) == [(0,)]
    paced.stop()

    assert (paced.take(9, 0), paced.due(), paced.take(9, 0)) == ([], None, [])


def test_a_rate_counts_what_items_weigh() -> None:
    items = [(0, 5), (0, 1), (0, 4)]
    paced = Paced(lambda: [items], Dozens.parse("dozens:5"), rounds=2, weigh=lambda item: item[1])
    paced.begin(100)

    dues = []
    while (due := paced.due()) is not None:
        paced.take(1, max(due, 10 * SECOND))
        dues += paced.taken
    assert dues == [100 + SECOND * n // 5 for n in (0, 5, 6, 10, 15, 16)]
