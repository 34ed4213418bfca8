"""The suite against QEMU's own vmware-svga, over its qtest protocol: it fails where its table says, and only there.

No guest boots.
"""

import pytest
from conformance_page import Report
from guest.kit import Kit

from svga.conform.differences import TABLES
from tests.guest import conformed

pytestmark = [pytest.mark.guest, pytest.mark.slow]


@pytest.fixture(scope="module")
def report(guest_kit: Kit) -> Report:
    found = conformed.run(guest_kit, "svga", timeout_s=300)
    assert found["counts"]["failed"] > 0
    return found


@pytest.fixture(scope="module")
def cases(report: Report) -> dict[str, dict[str, str]]:
    return conformed.cases(report)


def test_it_fails_where_the_table_says_and_only_there(report: Report) -> None:
    assert conformed.unexplained(report, TABLES["qemu"]) == []


def test_what_works_there(cases: dict[str, dict[str, str]]) -> None:
    for name in (
        "test_SVG_V_005_INDEX_keeps_what_is_written[qemu-4294967295]",
        "test_SVG_V_018_a_command_in_part_is_waited_for[qemu-3]",
        "test_SVG_V_019_022_copies_that_overlap[qemu-1-1]",
        "test_SVG_V_031_an_update_is_seen[qemu]",
        "test_SVG_V_063_a_hundred_modes[qemu]",
    ):
        assert cases[name]["outcome"] == "passed", name


def test_what_it_cannot_do_is_not_applicable(cases: dict[str, dict[str, str]]) -> None:
    assert cases["test_SVG_V_049_the_33rd_is_too_many[qemu]"]["reason"] == "this display has no COMMAND_BUFFERS"
    assert cases["test_SVG_V_016_STOP_follows_each_command[qemu]"]["outcome"] == "not applicable"
