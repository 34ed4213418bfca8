"""The suite against QEMU's own PVSCSI, over its qtest protocol: it fails where its table says, and only there.

No guest boots.
"""

import pytest
from conformance_page import Report
from guest.kit import Kit

from pvscsi.conform.differences import TABLES
from tests.guest import conformed

pytestmark = [pytest.mark.guest, pytest.mark.slow]


@pytest.fixture(scope="module")
def report(guest_kit: Kit) -> Report:
    found = conformed.run(guest_kit, "pvscsi", timeout_s=450)
    assert found["counts"]["failed"] > 0
    return found


@pytest.fixture(scope="module")
def cases(report: Report) -> dict[str, dict[str, str]]:
    return conformed.cases(report)


def test_it_fails_where_the_table_says_and_only_there(report: Report) -> None:
    assert conformed.unexplained(report, TABLES["qemu"]) == []


def test_what_works_there(cases: dict[str, dict[str, str]]) -> None:
    for name in (
        "test_PVS_V_024_sizes_are_told[qemu-1-1]",
        "test_PVS_V_054_pages_in_no_order[qemu-32]",
        "test_PVS_V_097_added_and_removed[qemu]",
        "test_PVS_V_119_far_up[qemu-16]",
        "test_PVS_V_143_random_requests[qemu-256]",
    ):
        assert cases[name]["outcome"] == "passed", name


def test_a_qemu_that_aborts_takes_only_its_own_test_with_it(cases: dict[str, dict[str, str]]) -> None:
    aborted = cases["test_PVS_V_077_a_reset_right_behind_it[qemu]"]
    after = cases["test_PVS_V_077_no_data_no_direction[qemu]"]

    assert aborted["outcome"] == "failed"
    assert "QEMU ended with SIGABRT" in aborted["reason"]
    assert after["outcome"] == "passed"


def test_what_it_cannot_do_is_not_applicable(cases: dict[str, dict[str, str]]) -> None:
    assert cases["test_PVS_V_123_survives_a_power_cut[qemu-10]"]["outcome"] == "not applicable"
    assert "several units" in cases["test_PVS_V_134_report_luns[qemu-0-8]"]["reason"]
