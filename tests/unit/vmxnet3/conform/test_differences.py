"""The table of reasons: which entry covers a case, and that no entry stands in the shade of another."""

import pytest

from pvdev.differences import KINDS, explain
from vmxnet3.conform.differences import QEMU, SERVED


@pytest.mark.parametrize(
    ("rule", "case", "words"),
    [
        ("VMX-V-012", "test_VMX_V_012_bad_configuration_is_refused[tx vector]", "refused only after"),
        ("VMX-V-012", "test_VMX_V_012_bad_configuration_is_refused[tx ring 31]", "not checked"),
        ("VMX-V-035", "test_VMX_V_035_unsupported_descriptor[om 1 below version 4]", "issue 517"),
        ("VMX-V-079", "in passing", "follows from"),
    ],
)
def test_the_first_entry_that_covers_it(rule: str, case: str, words: str) -> None:
    found = explain(QEMU, rule, case)

    assert found is not None
    assert words in found.reason


def test_a_case_nobody_explains() -> None:
    assert explain(QEMU, "VMX-V-021", "test_VMX_V_021_single_descriptor") is None
    assert explain(QEMU, "VMX-V-079", "test_VMX_V_079_writes_only_where_it_may[1500]") is None


def test_every_kind_is_used_and_known() -> None:
    assert {entry.kind for entry in (*SERVED, *QEMU)} == set(KINDS)
    assert all(entry.cases for entry in (*SERVED, *QEMU))
