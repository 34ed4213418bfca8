"""A device kind's conformance suite, run by pytest: which tests, against what, and what came out, by rule.

The suite's fixtures find what they connect to in `config.stash[BENCHES]`. A test that cannot be made on a target skips
with the reason (`pytest.skip`): that is "not applicable", never hidden among what passed.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest

from pvdev.errors import ConfigError

BENCHES: pytest.StashKey[Sequence[Any]] = pytest.StashKey()
"""What a suite's fixtures are to connect to; the suite that runs says of what type."""

ALSO = "also"
"""The user property of a test that saw a rule broken which is not its own: "VMX-V-011: what was seen"."""

Outcome = Literal["passed", "failed", "not applicable"]
IN_PASSING = "in passing"  # the case that stands for what tests of other rules saw of a rule
OTHER = "other"  # the rule of tests that name none

SWAYS = ("CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "PYTEST_PLUGINS")
"""Environment variables pytest is not to see. By the first two it tells that a CI server runs it, and then writes the
whole difference of two values that should be equal: for a few KiB of bytes that takes it minutes.
"""

NUMBER = re.compile(r"(?:(?<=_)|^)([A-Z]{3})(?:_([A-Z]))?((?:_\d{3})+|_\d{2})(?=_|$)")


def numbers_in(name: str) -> Iterator[str]:
    """The rule numbers a test's name holds: VMX_D_011, MEM_01; several of one family as VMX_V_021_022."""
    for match in NUMBER.finditer(name):
        family = "-".join(part for part in match.group(1, 2) if part)
        for digits in match[3].strip("_").split("_"):
            yield f"{family}-{digits}"


@dataclass
class Case:
    """One test with its parameters. `reason`: why it failed or is not applicable, one line."""

    name: str
    rules: tuple[str, ...]
    outcome: Outcome = "passed"
    reason: str = ""
    detail: str = ""


@dataclass
class Report:
    """What came out of a run."""

    cases: list[Case] = field(default_factory=list)

    def by_rule(self) -> dict[str, list[Case]]:
        """The cases of each rule, rules in order; a case of two rules is in both."""
        found: dict[str, list[Case]] = {}
        for case in self.cases:
            for rule in case.rules:
                found.setdefault(rule, []).append(case)
        return dict(sorted(found.items(), key=lambda item: (item[0] == OTHER, item[0])))

    def counts(self) -> dict[Outcome, int]:
        return count(self.cases)


def count(cases: Iterable[Case]) -> dict[Outcome, int]:
    """How many of each outcome."""
    found: dict[Outcome, int] = {"passed": 0, "failed": 0, "not applicable": 0}
    for case in cases:
        found[case.outcome] += 1
    return found


class Collector:
    """The pytest plugin: picks the tests of `rules` (none: all), hands out `benches`, notes what came out."""

    def __init__(self, benches: Sequence[Any], rules: Iterable[str], tell: Callable[[int, int, str], None]) -> None:
        self.benches, self.rules, self._tell = benches, frozenset(rules), tell
        self.report, self.total, self.broken = Report(), 0, ""
        self._cases: dict[str, Case] = {}
        self._also: dict[str, list[str]] = {}  # rule -> what tests of other rules saw of it

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[BENCHES] = self.benches
        config.addinivalue_line("markers", "slow: longer than a quarter of a second")
        config.addinivalue_line("markers", "unit: about a logical unit; how the adapter is called makes no difference")
        config.addinivalue_line("markers", "needs_version(number): the lowest device version that can be tested so")
        config.addinivalue_line("markers", "needs(what): what a device and its target must have for a test to be made")

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        dropped: list[pytest.Item] = []
        for item in list(items):
            rules = tuple(rules_of(item))
            if self.rules and not self.rules & set(rules):
                dropped.append(item)
                items.remove(item)
                continue
            item.user_properties += [("rule", rule) for rule in rules]
            self._cases[item.nodeid] = Case(item.name, rules or (OTHER,))
        self.total = len(items)
        if dropped:
            config.hook.pytest_deselected(items=dropped)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken = f"{report.nodeid}: {report.longreprtext.strip().splitlines()[-1].removeprefix('E').strip()}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        case = self._cases[report.nodeid]
        if report.failed and case.outcome != "failed":
            case.outcome, case.reason, case.detail = "failed", _one_line(report), report.longreprtext
        elif report.skipped and case.outcome == "passed":
            case.outcome, case.reason = "not applicable", _why_skipped(report)

        if report.when == "teardown":
            seen = [str(what).partition(": ") for name, what in report.user_properties if name == ALSO]
            for rule, what in {rule: what for rule, _, what in reversed(seen)}.items():
                self._also.setdefault(rule, []).append(what)

    def pytest_sessionfinish(self) -> None:
        """What tests of other rules saw of a rule is a case of its own: it fails its rule, and only that."""
        for rule in sorted(self._also.keys() & (self.rules or self._also.keys())):
            seen = self._also[rule]
            reason = f"seen by {len(seen)} tests of other rules, first: {seen[0]}"
            self.report.cases.append(Case(IN_PASSING, (rule,), "failed", reason))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.report.cases.append(self._cases[nodeid])
        self._tell(len(self.report.cases), self.total, self._cases[nodeid].name)


def rules_of(item: pytest.Item) -> Iterator[str]:
    """The rules a test names, by its name or by `pytest.mark.rule`."""
    yield from numbers_in(getattr(item, "originalname", None) or item.name)
    for mark in item.iter_markers("rule"):
        yield from mark.args


def _one_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message) if crash is not None else report.longreprtext
    return next(iter(text.strip().splitlines()), "")[:200]


def _why_skipped(report: pytest.TestReport) -> str:
    found = report.longrepr
    text = str(found[2]) if isinstance(found, tuple) else report.longreprtext
    return text.removeprefix("Skipped: ")


def _folders(package: str) -> Sequence[str]:
    spec = find_spec(package)
    assert spec is not None
    return spec.submodule_search_locations or ()


def run(
    package: str,
    benches: Sequence[Any],
    *,
    rules: Iterable[str] = (),
    junit: Path | None = None,
    tell: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Report:
    """Run the tests of an installed package against `benches`. The caller's folder and environment have no say in it.

    Raises `ConfigError` when no test is left, or the suite cannot be read.
    """
    wanted = tuple(rules)
    collector = Collector(benches, wanted, tell)
    with TemporaryDirectory(prefix="pvdev-") as folder:
        ini = Path(folder) / "pytest.ini"
        ini.write_text("[pytest]\n")
        words = ["-c", str(ini), "--rootdir", folder, "-p", "no:terminal", "-p", "no:cacheprovider"]
        words += list(_folders(package))  # not by name: pytest would then read the conftest of the caller's folder
        if junit is not None:
            words += ["--junit-xml", os.fspath(junit.absolute()), "-o", "junit_family=xunit2"]
        with pytest.MonkeyPatch.context() as environment:
            for name in SWAYS:
                environment.delenv(name, raising=False)
            environment.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # nor what happens to be installed
            code = pytest.main(words, plugins=[collector])
    if code == pytest.ExitCode.INTERRUPTED and not collector.broken:
        raise KeyboardInterrupt
    if collector.broken or code in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        raise ConfigError(f"the suite {package} cannot be run: {collector.broken or 'see above'}")
    if not collector.report.cases:
        raise ConfigError(f"no test of {package} is about {', '.join(wanted)}" if wanted else f"{package} has no tests")
    return collector.report
