"""docs/JUDGE.md: what is read out of the judge's words, and what is found wrong with the reasons."""

import judge_page
import pytest

from tests.iscsi.judge import Outcome, parse

SAID = """
Suite: Read10
  Test: Simple ...passed
  Test: BeyondEol ...    [WARNING] odd, but no matter.
passed    [SKIPPED] PERSISTENT RESERVE IN is not implemented.
  Test: DpoFua ...    [SKIPPED] READ12 is not implemented.
    [SKIPPED] READ12 is not implemented.
    [SKIPPED] LBPPB < 2. Skipping test
passed
  Test: Async ...    [FAILED] nothing came back
FAILED
    1. test_async_read.c:45  - CU_ASSERT_NOT_EQUAL(status,SCSI_STATUS_CHECK_CONDITION)
    2. test_async_read.c:45  - CU_ASSERT_NOT_EQUAL(status,SCSI_STATUS_CHECK_CONDITION)
    3. test_async_read.c:51  - CU_FAIL("it")
  Test: Last ...
"""


def test_what_the_judge_says_is_understood() -> None:
    assert dict(parse(SAID)) == {
        "Simple": Outcome("passed"),
        "BeyondEol": Outcome("passed"),  # what follows the verdict is of the cleaning up
        "DpoFua": Outcome("skipped", ("READ12 is not implemented", "LBPPB < 2")),
        "Async": Outcome("failed", ("test_async_read.c:45", "test_async_read.c:51")),
        "Last": Outcome("failed"),  # it died, or hung
    }


def test_what_has_no_reason_and_what_covers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_page, "FAILED", (judge_page.Reason("A.*", "why"), judge_page.Reason("B.*", "why")))
    monkeypatch.setattr(judge_page, "SKIPPED", {"known": "why", "never said": "why"})
    found = {
        "512": {"A.x": Outcome("failed", ("a.c:1",)), "C.x": Outcome("failed", ("c.c:1", "c.c:2"))},
        "CD": {"D.x": Outcome("skipped", ("known", "unknown")), "D.y": Outcome("passed")},
    }

    assert judge_page.complaints(found) == [
        "512, no reason: C.x fails at c.c:1, c.c:2",
        "no reason to skip: unknown",
        "covers nothing: B.*",
        "covers nothing: never said",
    ]


def test_a_page_names_every_test_that_did_not_pass() -> None:
    found = {
        "512": {
            "A.x": Outcome("failed", ("a.c:1",)),
            "A.y": Outcome("passed"),
            "B.x": Outcome("skipped", ("no tray",)),
        },
        "CD": {"A.x": Outcome("failed", ("a.c:1",)), "B.x": Outcome("skipped", ("no tray",))},
    }

    lines = judge_page.page(found).splitlines()

    assert "| A | 1, **1 failed** | **1 failed** |" in lines
    assert "| A.x | 512, CD | a.c:1 |  |" in lines
    assert "| no tray | B x (512, CD) |  |" in lines
