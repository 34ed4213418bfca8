"""The page of rules: what it finds in tests, what it prints, what it complains of."""

from pathlib import Path

import pytest
import rules_page
from rules_page import Found, Section, Shown, complaints, page, scan

from pvdev.rules import Rule, Severity

SECTION = Section(
    "A device",
    "What it asks.",
    (
        Rule("VMX-D-001", Severity.FATAL, "registers are touched | gently", "header"),
        Rule("VMX-D-002", Severity.ADVICE, "a version is chosen", "Linux", known="DPDK"),
    ),
)
ONE, TWO = Shown("test_a.py", "test_VMX_D_001_words"), Shown("test_b.py", "test_VMX_D_002_other_words")
DUTY = Shown("test_c.py", "test_VMX_V_021_single_descriptor", "One descriptor makes one frame.")


def found(**tests: Shown) -> Found:
    """Tests by rule number, with `_` for `-`."""
    return Found({number.replace("_", "-"): [test] for number, test in tests.items()})


def test_scan_finds_names_marks_and_docstrings(tmp_path: Path) -> None:
    folder = tmp_path / "unit"
    folder.mkdir()
    (folder / "test_one.py").write_text(
        '''
import pytest

def helper_VMX_D_009() -> None: ...

def test_VMX_D_001_words() -> None:
    """The first line.

    The second.
    """

@pytest.mark.rule("VMX-D-002", "VMX-D-003")
def test_marked() -> None: ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.rule("VMX-D-004"))])
def test_some(x: int) -> None: ...

class TestThings:
    def test_VMX_D_001_again(self) -> None: ...

def test_XYZ_Q_001_of_another_kind() -> None: ...
'''
    )
    (folder / "other.py").write_text("def test_VMX_D_005_not_in_a_test_file(): ...")

    tests = scan([tmp_path], ["VMX-D"]).tests

    assert tests == {
        "VMX-D-001": [
            Shown("unit/test_one.py", "test_VMX_D_001_words", "The first line."),
            Shown("unit/test_one.py", "test_VMX_D_001_again"),
        ],
        "VMX-D-002": [Shown("unit/test_one.py", "test_marked")],
        "VMX-D-003": [Shown("unit/test_one.py", "test_marked")],
        "VMX-D-004": [Shown("unit/test_one.py", "test_some")],
    }


def test_nothing_to_complain_of() -> None:
    assert complaints([SECTION], found(VMX_D_001=ONE, VMX_D_002=TWO, VMX_V_021=DUTY)) == []


def test_a_rule_without_a_test() -> None:
    assert complaints([SECTION], found(VMX_D_001=ONE)) == ["VMX-D-002: no test shows this rule"]


def test_a_test_for_a_rule_there_is_not() -> None:
    stray = Shown("test_a.py", "test_VMX_D_003_words")

    lines = complaints([SECTION], found(VMX_D_001=ONE, VMX_D_002=TWO, VMX_D_003=stray))

    assert lines == ["VMX-D-003: there is no such rule, but test_a.py has test_VMX_D_003_words"]


def test_the_page_in_full() -> None:
    text = page([SECTION], found(VMX_D_001=ONE, VMX_D_002=TWO, VMX_V_021=DUTY))

    assert text.removeprefix(rules_page.INTRODUCTION).strip().splitlines() == [
        "## A device",
        "",
        "What it asks.",
        "",
        "| rule | severity | what | source | known offenders | shown by |",
        "| --- | --- | --- | --- | --- | --- |",
        r"| VMX-D-001 | fatal | registers are touched \| gently | header |  | `test_VMX_D_001_words` |",
        "| VMX-D-002 | advice | a version is chosen | Linux | DPDK | `test_VMX_D_002_other_words` |",
        "",
        "## VMXNET3: duties of the device",
        "",
        "Shown by tests against the model, on every transport; the test says what the duty is.",
        "",
        "| duty | what | shown by |",
        "| --- | --- | --- |",
        "| VMX-V-021 | One descriptor makes one frame | `test_VMX_V_021_single_descriptor` |",
    ]


def test_a_duty_without_a_docstring_is_told_by_the_name() -> None:
    text = page([], found(VMX_V_021=Shown("test_c.py", "test_VMX_V_021_single_descriptor")))

    assert "| VMX-V-021 | single descriptor | " in text


def test_several_tests_stand_below_each_other() -> None:
    text = page([SECTION], Found({"VMX-D-001": [ONE, TWO], "VMX-D-002": [TWO]}))

    assert "`test_VMX_D_001_words`<br>`test_VMX_D_002_other_words`" in text


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of tests that shows the two rules of SECTION."""
    monkeypatch.setattr(rules_page, "SECTIONS", (SECTION,))
    (tmp_path / "test_a.py").write_text("def test_VMX_D_001_words(): ...\ndef test_VMX_D_002_words(): ...\n")
    return tmp_path


def test_check_is_content_with_a_page_just_printed(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = rules_page.main([], target=small / "RULES.md", tests=[small])

    checked = rules_page.main(["--check"], target=small / "RULES.md", tests=[small])

    assert (printed, checked) == (0, 0)
    assert capsys.readouterr() == ("", "")


def test_check_fails_on_a_stale_page_and_leaves_it(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "RULES.md").write_text("old")

    code = rules_page.main(["--check"], target=small / "RULES.md", tests=[small])

    assert code == 1
    assert capsys.readouterr().err == "RULES.md is stale: run `make rules`\n"
    assert (small / "RULES.md").read_text() == "old"


def test_check_fails_without_a_page(small: Path) -> None:
    assert rules_page.main(["--check"], target=small / "RULES.md", tests=[small]) == 1


def test_check_fails_when_a_test_goes_away(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules_page.main([], target=small / "RULES.md", tests=[small])
    (small / "test_a.py").write_text("def test_VMX_D_001_words(): ...\n")

    code = rules_page.main(["--check"], target=small / "RULES.md", tests=[small])

    assert code == 1
    assert "VMX-D-002: no test shows this rule" in capsys.readouterr().err


def test_stdout_writes_no_file(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = rules_page.main(["--stdout"], target=small / "RULES.md", tests=[small])

    assert code == 0
    assert capsys.readouterr().out.startswith("# Rules\n")
    assert not (small / "RULES.md").exists()


def test_rules_nobody_looks_for_are_named_with_the_reason() -> None:
    section = Section("A device", "What it asks.", SECTION.rules, {"VMX-D-009": "nobody can see it"})
    tests = found(VMX_D_001=ONE, VMX_D_002=TWO)

    assert "Not looked for:\n\n- VMX-D-009: nobody can see it\n" in page([section], tests)
    assert "Not looked for" not in page([SECTION], tests)
    assert complaints([section], tests) == []


def test_a_rule_that_is_said_not_to_be_looked_for() -> None:
    section = Section("A device", "What it asks.", SECTION.rules, {"VMX-D-002": "nobody can see it"})

    assert complaints([section], found(VMX_D_001=ONE, VMX_D_002=TWO)) == [
        "VMX-D-002: said not to be looked for, but there is such a rule"
    ]
