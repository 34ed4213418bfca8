"""The table of reasons: which entry covers a case."""

import pytest

from pvdev.differences import explain
from svga.conform.differences import QEMU, TABLES


@pytest.mark.parametrize(
    ("rule", "case", "words"),
    [
        ("SVG-V-021", "test_SVG_V_021_copies_are_clipped[target in the corner]", "not all inside"),
        ("SVG-V-025", "test_SVG_V_025_a_size_that_cannot_be_is_refused[0-2]", "of 0 is taken"),
        ("SVG-V-032", "test_SVG_V_032_every_command_has_its_length[UPDATE_VERBOSE]", "four words"),
    ],
)
def test_the_first_entry_that_covers_it(rule: str, case: str, words: str) -> None:
    found = explain(QEMU, rule, case)

    assert found is not None
    assert words in found.reason


@pytest.mark.parametrize(
    ("rule", "case"),
    [
        ("SVG-V-021", "test_SVG_V_021_copies_of_what_is_outside[beside]"),
        ("SVG-V-025", "test_SVG_V_025_a_size_that_cannot_be_is_refused[8193-2]"),
        ("SVG-V-032", "test_SVG_V_032_every_command_has_its_length[UPDATE]"),
    ],
)
def test_a_case_nobody_explains(rule: str, case: str) -> None:
    assert explain(QEMU, rule, case) is None


def test_our_own_model_has_no_excuse() -> None:
    assert TABLES["local"] == TABLES["vfio-user"] == ()


def test_every_entry_names_its_cases() -> None:
    assert all(entry.cases and entry.rule.startswith("SVG-V-") for entry in QEMU)
