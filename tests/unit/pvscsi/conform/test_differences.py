"""The table of reasons: which entry covers a case, and that no entry stands in the shade of another."""

import pytest

from pvdev.differences import explain
from pvscsi.conform.differences import QEMU, TABLES


@pytest.mark.parametrize(
    ("rule", "case", "words"),
    [
        ("PVS-V-056", "test_PVS_V_056_non_rw_has_fetched_when_it_returns[32]", "1024 ahead"),
        ("PVS-V-061", "in passing", "is always 0"),
        ("PVS-V-121", "test_PVS_V_121_no_blocks[512-0-verify]", "first address behind"),
        ("PVS-V-121", "test_PVS_V_121_no_blocks[512-1-verify]", "VERIFY"),
        ("PVS-V-136", "test_PVS_V_136_unknown_opcodes[cd-out]", "never completed"),
        ("PVS-V-136", "test_PVS_V_136_unknown_opcodes[cd-in]", "old group"),
    ],
)
def test_the_first_entry_that_covers_it(rule: str, case: str, words: str) -> None:
    found = explain(QEMU, rule, case)

    assert found is not None
    assert words in found.reason


@pytest.mark.parametrize(
    ("rule", "case"),
    [
        ("PVS-V-056", "test_PVS_V_056_non_rw_has_fetched_when_it_returns[1]"),
        ("PVS-V-121", "test_PVS_V_121_no_blocks[512-1-read]"),
        ("PVS-V-143", "test_PVS_V_143_random_requests[64]"),
    ],
)
def test_a_case_nobody_explains(rule: str, case: str) -> None:
    assert explain(QEMU, rule, case) is None


def test_our_own_model_has_no_excuse() -> None:
    assert TABLES["local"] == TABLES["vfio-user"] == ()


def test_every_entry_names_its_cases() -> None:
    assert all(entry.cases and entry.rule.startswith("PVS-V-") for entry in QEMU)
