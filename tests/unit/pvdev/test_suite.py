"""The suite runner: which tests it picks, what it says of each, and that nothing of the caller's folder matters."""

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvdev.suite import IN_PASSING, OTHER, Report, count, numbers_in, run

TESTS = """
import pytest

from pvdev.suite import ALSO, BENCHES


@pytest.fixture
def bench(request):
    return request.config.stash[BENCHES][0]


def test_VMX_V_001_kept(bench):
    assert bench == "a bench"


@pytest.mark.parametrize("n", [1, 2])
def test_VMX_V_002_003_two_rules(n):
    assert n == 1


def test_VMX_V_004_cannot_be_made():
    pytest.skip("this target cannot fly")


@pytest.mark.rule("VMX-V-005")
def test_by_its_mark(request):
    request.node.user_properties.append((ALSO, "VMX-V-009: it hums"))


def test_names_no_rule(request):
    request.node.user_properties += [(ALSO, "VMX-V-009: it sings"), (ALSO, "VMX-V-009: it hums")]


@pytest.fixture
def broken_end():
    yield
    raise ValueError("the end")


def test_VMX_V_006_fails_at_its_end(broken_end):
    pass
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed package of tests; the caller's folder has a conftest and settings that would break any run."""
    name = f"suite_{tmp_path.name}"
    folder = tmp_path / "site" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "test_things.py").write_text(TESTS)
    caller = tmp_path / "caller"
    (caller / "tests").mkdir(parents=True)
    (caller / "conftest.py").write_text("raise RuntimeError('not to be read')")
    (caller / "tests" / "conftest.py").write_text("raise RuntimeError('not to be read')")
    (caller / "pytest.ini").write_text("[pytest]\\naddopts = --no-such-option\\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.chdir(caller)
    return name


def outcomes(report: Report) -> dict[str, tuple[str, str]]:
    return {case.name: (case.outcome, case.reason) for case in report.cases}


def test_every_case_has_its_outcome_and_reason(package: str) -> None:
    report = run(package, ["a bench"])

    assert outcomes(report) == {
        "test_VMX_V_001_kept": ("passed", ""),
        "test_VMX_V_002_003_two_rules[1]": ("passed", ""),
        "test_VMX_V_002_003_two_rules[2]": ("failed", "assert 2 == 1"),
        "test_VMX_V_004_cannot_be_made": ("not applicable", "this target cannot fly"),
        "test_by_its_mark": ("passed", ""),
        "test_names_no_rule": ("passed", ""),
        "test_VMX_V_006_fails_at_its_end": ("failed", "ValueError: the end"),
        IN_PASSING: ("failed", "seen by 2 tests of other rules, first: it hums"),
    }
    assert report.counts() == {"passed": 4, "failed": 3, "not applicable": 1}


def test_by_rule_a_case_stands_under_each_of_its_rules(package: str) -> None:
    found = run(package, ["a bench"]).by_rule()

    assert list(found) == [*(f"VMX-V-00{n}" for n in (1, 2, 3, 4, 5, 6, 9)), OTHER]
    assert [count(found[rule])["failed"] for rule in ("VMX-V-002", "VMX-V-003")] == [1, 1]
    assert [case.name for case in found[OTHER]] == ["test_names_no_rule"]


def test_only_the_rules_asked_for(package: str) -> None:
    told: list[tuple[int, int, str]] = []

    report = run(package, ["a bench"], rules=["VMX-V-005"], tell=lambda *what: told.append(what))

    assert list(outcomes(report)) == ["test_by_its_mark"]
    assert told == [(1, 1, "test_by_its_mark")]


def test_a_rule_nobody_tests(package: str) -> None:
    with pytest.raises(ConfigError, match=r"no test of .* is about VMX-V-999"):
        run(package, [], rules=["VMX-V-999"])


def test_a_suite_that_cannot_be_read(package: str, tmp_path: Path) -> None:
    (tmp_path / "site" / package / "test_things.py").write_text("import no_such_module")

    with pytest.raises(ConfigError, match=r"cannot be run: .*test_things.py: .*no_such_module"):
        run(package, [])


def test_the_callers_environment_has_no_say_in_it(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "def test_VMX_V_001_long():\n    assert bytes(range(8)) * 16 == bytes(128)\n"
    (tmp_path / "site" / package / "test_things.py").write_text(long)
    [plain] = run(package, []).cases
    swayed = {"CI": "true", "PYTEST_ADDOPTS": "-vv --no-such-option", "PYTEST_PLUGINS": "no_such_module"}
    for name, value in swayed.items():
        monkeypatch.setenv(name, value)

    [again] = run(package, []).cases

    assert again == plain
    assert again.outcome == "failed"
    assert {name: os.environ[name] for name in swayed} == swayed
    assert "PYTEST_DISABLE_PLUGIN_AUTOLOAD" not in os.environ


def test_junit_names_the_rule_of_each_case(package: str, tmp_path: Path) -> None:
    run(package, ["a bench"], junit=tmp_path / "report.xml")

    cases = {case.get("name"): case for case in ElementTree.parse(tmp_path / "report.xml").iter("testcase")}
    two = [item.get("value") for item in cases["test_VMX_V_002_003_two_rules[2]"].iter("property")]
    assert two == ["VMX-V-002", "VMX-V-003"]
    assert cases["test_VMX_V_002_003_two_rules[2]"].find("failure") is not None
    assert cases["test_VMX_V_004_cannot_be_made"].find("skipped") is not None


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("test_VMX_D_010_wrong_magic", ["VMX-D-010"]),
        ("test_MEM_01_shared_area", ["MEM-01"]),
        ("test_VFU_S_112_the_client_is_gone", ["VFU-S-112"]),
        ("test_VMX_V_021_022_frames", ["VMX-V-021", "VMX-V-022"]),
        ("test_VMX_V_023", ["VMX-V-023"]),
        ("test_what_VMX_D_011_says", ["VMX-D-011"]),
        ("test_VMX_D_037_16_descriptors", ["VMX-D-037"]),
        ("test_CVE_2016_6834_fragments", []),
        ("test_hostile_07_ring_base", []),
        ("test_nothing_of_the_kind", []),
    ],
)
def test_numbers_in_names(name: str, numbers: list[str]) -> None:
    assert list(numbers_in(name)) == numbers
