"""`pvdev conform DEVICE`: the device's conformance suite against a target, and what came out, rule by rule."""

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pvdev import kinds, ui
from pvdev.errors import ConfigError

if TYPE_CHECKING:
    from pvdev.suite import Case, Report


def conform(
    suite: kinds.Suite,
    values: dict[str, Any],
    target: str,
    *,
    rules: Sequence[str],
    junit: Path | None,
    ktap: Path | None,
    as_json: bool,
) -> int:
    """Run the suite and print the report. 1: something failed. Raises `ConfigError`."""
    missing = [name for name in ("pytest", *suite.needs) if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the suite needs {' and '.join(missing)}: pip install 'pvdev[conform]'")
    for path in (junit, ktap):
        if path is not None and not path.absolute().parent.is_dir():
            raise ConfigError(f"{path}: its folder is not there")
    from pvdev.suite import run

    benches = suite.open(target, values)
    with ui.progress("conform", None, quiet=as_json) as bar:
        report = run(suite.package, benches, rules=rules, junit=junit, tell=_teller(bar))
    if ktap is not None:
        ktap.write_text("".join(f"{line}\n" for line in ktap_lines(report)))
    if as_json:
        ui.print_json(facts(report, target))
    else:
        print_table(report)
    return 1 if report.counts()["failed"] else 0


def _teller(bar: ui.Progress) -> Callable[[int, int, str], None]:
    def tell(done: int, total: int, name: str) -> None:
        bar.at(done, f"of {total}  {name}")

    return tell


def facts(report: "Report", target: str) -> dict[str, Any]:
    """The report as JSON has it: counts, and per rule its cases."""
    return {
        "target": target,
        "counts": _counts(report.cases),
        "rules": [
            {
                "rule": rule,
                **_counts(cases),
                "cases": [{"case": case.name, "outcome": case.outcome, "reason": case.reason} for case in cases],
            }
            for rule, cases in report.by_rule().items()
        ],
    }


def _counts(cases: "Sequence[Case]") -> dict[str, int]:
    from pvdev.suite import count

    return {outcome.replace(" ", "_"): number for outcome, number in count(cases).items()}


def ktap_lines(report: "Report") -> Iterator[str]:
    """The report in the kernel's test format, a line per case. Ref: Linux Documentation/dev-tools/ktap.rst."""
    yield "KTAP version 1"
    yield f"1..{len(report.cases)}"
    for number, case in enumerate(report.cases, 1):
        name = f"{number} {' '.join(case.rules)} {case.name}".replace("#", "_")
        if case.outcome == "failed":
            yield f"# {json.dumps(case.reason)}"
            yield f"not ok {name}"
        else:
            yield f"ok {name}" + (f" # SKIP {case.reason}" if case.outcome == "not applicable" else "")


def print_table(report: "Report") -> None:
    """Per rule how many passed, failed and do not apply; then every failure and every reason."""
    from rich.console import Console
    from rich.table import Table

    table = Table(pad_edge=False)
    for head in ("rule", "passed", "failed", "not applicable"):
        table.add_column(head, justify="left" if head == "rule" else "right")
    for rule, cases in report.by_rule().items():
        found = _counts(cases)
        table.add_row(rule, *(str(found[name] or "") for name in ("passed", "failed", "not_applicable")))
    Console(highlight=False).print(table)
    for case in report.cases:
        if case.outcome == "failed":
            print(f"failed: {case.name}: {case.reason}")
    reasons: dict[str, int] = {}
    for case in report.cases:
        if case.outcome == "not applicable":
            reasons[case.reason] = reasons.get(case.reason, 0) + 1
    for reason, number in sorted(reasons.items()):
        print(f"not applicable, {number}: {reason}")
    total = report.counts()
    print(f"{total['passed']} passed, {total['failed']} failed, {total['not applicable']} not applicable")


def _subcommand(name: str, suite: kinds.Suite) -> click.Command:
    def run(
        target: str, rules: tuple[str, ...], junit: Path | None, ktap: Path | None, as_json: bool, **values: Any
    ) -> int:
        return conform(suite, values, target, rules=rules, junit=junit, ktap=ktap, as_json=as_json)

    file = click.Path(dir_okay=False, path_type=Path)
    params = [
        click.Option(["--target"], default="local", show_default=True, help=suite.targets),
        *suite.params,
        click.Option(
            ["--rule", "rules"],
            multiple=True,
            help="only the tests of this rule, by its number in docs/RULES.md; may be repeated",
        ),
        click.Option(["--junit"], type=file, help="write a JUnit report, each case with its rule"),
        click.Option(["--ktap"], type=file, help="write a report in the kernel's test format"),
        click.Option(["--json", "as_json"], is_flag=True, help="print the report as JSON"),
    ]
    return click.Command(
        name, params=params, callback=run, help=f"Judge a {name}: what it owes its driver. Exit code 1: not all kept."
    )


class _Conform(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in kinds.names() if kinds.load(name).suite is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        suite = kinds.load(cmd_name).suite if cmd_name in kinds.names() else None
        return None if suite is None else _subcommand(cmd_name, suite())


command = _Conform(
    "conform",
    help="Run a device's conformance suite against our model, or anybody's device.",
    no_args_is_help=True,
)
