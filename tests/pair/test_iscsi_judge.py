"""libiscsi's iscsi-test-cu against the SCSI target, behind a bridge: it says what docs/JUDGE.md says."""

import judge_page
import pytest

from tests.iscsi import judge
from tests.netns import lack


@pytest.mark.slow
def test_the_judge_says_what_the_page_in_the_repository_says() -> None:
    if why := judge.missing():
        lack(why)

    found = judge.judge()

    assert judge_page.complaints(found) == []
    assert judge_page.page(found) == judge_page.PAGE.read_text(encoding="utf-8")
