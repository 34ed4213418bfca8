"""`pvdev conform`: options, error lines, reports; the suite is a small one of the test's own."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from pvdev.commands.conform import conform, facts, ktap_lines
from pvdev.errors import ConfigError
from pvdev.kinds import Suite
from pvdev.suite import Case, Report

TESTS = """
import pytest

from pvdev.suite import BENCHES


def test_ABC_V_001_kept(request):
    assert request.config.stash[BENCHES] == ["here"]


def test_ABC_V_002_broken():
    assert "left" == "right"


def test_ABC_V_003_cannot_be_made():
    pytest.skip("no hands")
"""
REPORT = Report(
    [
        Case("test_a[x]", ("ABC-V-001",)),
        Case("test_b", ("ABC-V-001", "ABC-V-002"), "failed", "it # broke"),
        Case("test_c", ("ABC-V-003",), "not applicable", "no hands"),
    ]
)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    name = f"command_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "test_abc.py").write_text(TESTS)
    monkeypatch.syspath_prepend(str(tmp_path))

    def reach(target: str, values: Mapping[str, Any]) -> Sequence[Any]:
        if target != "here":
            raise ConfigError(f"--target {target}: give here")
        return [target]

    return Suite(name, "here", (click.Option(["--wire"]),), reach)


def run(suite: Suite, target: str = "here", /, **options: Any) -> int:
    defaults: dict[str, Any] = {"rules": (), "junit": None, "ktap": None, "as_json": False}
    return conform(suite, {}, target, **{**defaults, **options})


def test_table_reasons_and_exit_code(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(suite)

    out = capsys.readouterr().out
    assert code == 1
    assert "ABC-V-002" in out
    assert "failed: test_ABC_V_002_broken: AssertionError: assert 'left' == 'right'" in out
    assert "not applicable, 1: no hands" in out
    assert out.endswith("1 passed, 1 failed, 1 not applicable\n")


def test_all_kept_is_exit_code_0(suite: Suite) -> None:
    assert run(suite, rules=("ABC-V-001", "ABC-V-003")) == 0


def test_json(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    run(suite, as_json=True, rules=("ABC-V-003",))

    assert json.loads(capsys.readouterr().out) == {
        "target": "here",
        "counts": {"passed": 0, "failed": 0, "not_applicable": 1},
        "rules": [
            {
                "rule": "ABC-V-003",
                "passed": 0,
                "failed": 0,
                "not_applicable": 1,
                "cases": [{"case": "test_ABC_V_003_cannot_be_made", "outcome": "not applicable", "reason": "no hands"}],
            }
        ],
    }


def test_a_case_of_two_rules_counts_once_in_the_whole() -> None:
    found = facts(REPORT, "here")

    assert found["counts"] == {"passed": 1, "failed": 1, "not_applicable": 1}
    assert [rule["failed"] for rule in found["rules"]] == [1, 1, 0]


def test_ktap() -> None:
    assert list(ktap_lines(REPORT)) == [
        "KTAP version 1",
        "1..3",
        "ok 1 ABC-V-001 test_a[x]",
        '# "it # broke"',
        "not ok 2 ABC-V-001 ABC-V-002 test_b",
        "ok 3 ABC-V-003 test_c # SKIP no hands",
    ]


def test_files(suite: Suite, tmp_path: Path) -> None:
    run(suite, junit=tmp_path / "a.xml", ktap=tmp_path / "a.ktap")

    assert "ABC-V-002" in (tmp_path / "a.xml").read_text()
    assert (tmp_path / "a.ktap").read_text().startswith("KTAP version 1\n1..3\n")


@pytest.mark.parametrize("option", ["junit", "ktap"])
def test_a_file_that_cannot_be_written(suite: Suite, tmp_path: Path, option: str) -> None:
    with pytest.raises(ConfigError, match="its folder is not there"):
        run(suite, "here", **{option: tmp_path / "no" / "report"})


def test_a_target_there_is_not(suite: Suite) -> None:
    with pytest.raises(ConfigError, match="--target there: give here"):
        run(suite, "there")


def test_what_the_suite_needs_is_not_installed(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)
    lacking = Suite(suite.package, "", (), suite.open, needs=("no_such_module",))

    with pytest.raises(ConfigError, match=r"needs pytest and no_such_module: pip install 'pvdev\[conform\]'"):
        run(lacking)
