"""What `pvdev doctor` says of the console."""

from pathlib import Path

import pytest

from svga.console import findings, web


def test_what_the_console_needs_is_here() -> None:
    assert findings.console() == (True, "what --display needs", "")


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "NEEDED", ("sys", "nothing_of_that_name"))

    assert findings.console() == (False, "the console lacks nothing_of_that_name", "pip install 'pvdev[console]'")
    assert findings.browser() == findings.console()


def test_novnc_is_found_where_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / web.PAGE).write_text("")
    monkeypatch.setenv("PVDEV_NOVNC", str(tmp_path))
    there = findings.browser()
    (tmp_path / web.PAGE).unlink()
    gone = findings.browser()

    assert there == (True, str(tmp_path.resolve()), "")
    assert gone[0] is False
    assert gone[2] == "apt install novnc"


def test_without_novnc_the_mend_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PVDEV_NOVNC", raising=False)
    monkeypatch.setattr(web, "PLACES", ())
    monkeypatch.setenv("PVDEV_CACHE", str(tmp_path))

    assert findings.browser() == (
        *(False, "no noVNC on this machine: apt install novnc, or name its folder with novnc=FOLDER"),
        "apt install novnc",
    )
