"""Print docs/CONFORMANCE.md: the conformance suite against our model, called and served, and against QEMU's own device.

Usage: python tools/conformance_page.py [--runs FOLDER]

Runs `pvdev conform vmxnet3 --json` three times and keeps the reports in FOLDER (local.json, vfio-user.json, qemu.json);
a report that is there already is not made again. Fails, and says why, when a failure has no reason in
`vmxnet3.conform.differences`, or a reason there covers nothing.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from pvdev.errors import ConfigError
from pvdev.qemu import find_qemu
from vmxnet3.conform.differences import KINDS, TABLES, Difference, explain

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "CONFORMANCE.md"
MAC = "02:00:0a:0b:0c:0d"  # the suite's
PVDEV = [sys.executable, "-m", "pvdev.cli"]
TARGETS = {"local": "ours, called", "vfio-user": "ours, served", "qemu": "QEMU's"}

INTRODUCTION = """\
# Conformance

Printed by `make conformance` from the reports of `pvdev conform`; it fails when a failure has no reason in
`vmxnet3/conform/differences.py`, or a reason there covers nothing.

The suite (`vmxnet3/conform`, installed with the package) asks of a device what it owes its driver: the duties VMX-V of
[RULES.md](RULES.md). A driver of ours, which shares no code with the model, is the judge.

    pip install 'pvdev[conform]'
    pvdev conform vmxnet3                                          # our model, in process
    pvdev conform vmxnet3 --target vfio-user:PATH \\
        --wire dgram:OURS,peer=THEIRS                              # any vfio-user server's device, and its cable
    pvdev conform vmxnet3 --target qemu                            # QEMU's own, over its qtest protocol
    pvdev conform vmxnet3 --rule VMX-V-030 --junit report.xml

A device served at PATH has the permanent address 02:00:0a:0b:0c:0d and its network at THEIRS: `pvdev serve vmxnet3
--socket PATH --mac 02:00:0a:0b:0c:0d --port dgram:THEIRS,peer=OURS`. Exit code 0: all kept; 1: something failed; 2: the
command was wrong or something is missing.

A test that cannot be made on a target is "not applicable" and says why: nobody can look into a device in another
process, and a device of version 1 is not asked what version 4 brought. A duty that a test sees broken in passing fails
that duty ("in passing"), not the test.
"""

Report = dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """A case that failed, without the target's name."""

    rule: str
    case: str
    reason: str


# -- the runs ------------------------------------------------------------------------------------------------------


def conform(*words: str) -> Report:
    """One run. Raises `ConfigError` with what the command said."""
    done = subprocess.run([*PVDEV, "conform", "vmxnet3", "--json", *words], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise ConfigError(done.stderr.strip())
    report = json.loads(done.stdout)
    assert isinstance(report, dict)
    return report


def served() -> Report:
    """A run against a server of ours in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="pvdev-") as folder:
        nic, theirs, ours = (f"{folder}/{name}" for name in ("nic", "theirs", "ours"))
        words = ["serve", "vmxnet3", "--socket", nic, "--mac", MAC, "--port", f"dgram:{theirs},peer={ours}"]
        server = subprocess.Popen([*PVDEV, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert server.stdout is not None
            server.stdout.readline()  # it listens
            return conform("--target", f"vfio-user:{nic}", "--wire", f"dgram:{ours},peer={theirs}")
        finally:
            server.send_signal(signal.SIGINT)
            server.communicate()


RUNS: dict[str, Callable[[], Report]] = {
    "local": lambda: conform("--target", "local"),
    "vfio-user": served,
    "qemu": lambda: conform("--target", "qemu"),
}


def reports(folder: Path) -> dict[str, Report]:
    """The three reports, made where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, run in RUNS.items():
        path = folder / f"{name}.json"
        if not path.exists():
            print(f"running the suite: {name}", flush=True)
            path.write_text(json.dumps(run(), indent=1) + "\n")
        found[name] = json.loads(path.read_text())
    return found


# -- the page ------------------------------------------------------------------------------------------------------


def plain(case: str) -> str:
    """A case's name without its target."""
    return re.sub(r"\[(?:local|vfio-user|qemu)(?:-|(?=\]))", "[", case).removesuffix("[]")


def failures(report: Report) -> list[Failure]:
    return [
        Failure(rule["rule"], plain(case["case"]), case["reason"])
        for rule in report["rules"]
        for case in rule["cases"]
        if case["outcome"] == "failed"
    ]


def complaints(found: Mapping[str, Report], tables: Mapping[str, tuple[Difference, ...]] = TABLES) -> list[str]:
    """What is wrong between the reports and the tables of reasons, a line each."""
    out: list[str] = []
    for name, head in TARGETS.items():
        failed, table = failures(found[name]), tables[name]
        out += [
            f"{head}, no reason: {failure.rule} {failure.case}: {failure.reason}"
            for failure in failed
            if explain(table, failure.rule, failure.case) is None
        ]
        used = {explain(table, failure.rule, failure.case) for failure in failed}
        out += [f"{head}, covers nothing: {old.rule} {old.reason}" for old in table if old not in used]
    return out


def _cell(counts: dict[str, int] | None) -> str:
    """Passed, failed, not applicable; only what there is."""
    if counts is None:
        return ""
    parts = [str(counts["passed"])] if counts["passed"] else []
    parts += [f"**{counts['failed']} failed**"] if counts["failed"] else []
    parts += [f"{counts['not_applicable']} n/a"] if counts["not_applicable"] else []
    return ", ".join(parts)


def _summary(found: Mapping[str, Report]) -> Iterator[str]:
    yield f"| rule | {' | '.join(TARGETS.values())} |"
    yield "| --- | --- | --- | --- |"
    by_rule = {name: {rule["rule"]: rule for rule in report["rules"]} for name, report in found.items()}
    rules = {rule for rules in by_rule.values() for rule in rules}
    for rule in sorted(rules, key=lambda rule: (not rule.startswith("VMX"), rule)):
        yield f"| {rule} | {' | '.join(_cell(by_rule[name].get(rule)) for name in TARGETS)} |"
    yield f"| all | {' | '.join(_cell(found[name]['counts']) for name in TARGETS)} |"


def _differences(report: Report, table: tuple[Difference, ...]) -> Iterator[str]:
    yield "| rule | cases | kind | what the device does |"
    yield "| --- | --- | --- | --- |"
    covered = Counter(explain(table, failure.rule, failure.case) for failure in failures(report))
    for entry in table:
        if covered[entry]:
            text = entry.reason.replace("|", "\\|")
            yield f"| {entry.rule} | {covered[entry]} | {entry.kind} | {text} |"


def _reasons(found: Mapping[str, Report]) -> Iterator[str]:
    """Why cases do not apply, per target."""
    yield f"| reason | {' | '.join(TARGETS.values())} |"
    yield "| --- | --- | --- | --- |"
    counted: dict[str, dict[str, int]] = {}
    for name, report in found.items():
        for rule in report["rules"]:
            for case in rule["cases"]:
                if case["outcome"] == "not applicable":
                    per_target = counted.setdefault(case["reason"], {})
                    per_target[name] = per_target.get(name, 0) + 1
    for reason, numbers in sorted(counted.items()):
        yield f"| {reason} | {' | '.join(str(numbers.get(name, '')) for name in TARGETS)} |"


def page(found: Mapping[str, Report], qemu: str, tables: Mapping[str, tuple[Difference, ...]] = TABLES) -> str:
    """The whole page; `qemu` is the version that ran."""
    lines = [INTRODUCTION, "## By rule", "", "How many tests passed; n/a: not applicable.", "", *_summary(found), ""]
    lines += ["## Differences", "", "Kinds:", "", *(f"- {kind}: {text}" for kind, text in KINDS.items()), ""]
    heads = {"vfio-user": "Our device, served", "qemu": f"QEMU {qemu}, a fresh machine per test"}
    for name, head in heads.items():
        if failures(found[name]):
            lines += [f"### {head}", "", *_differences(found[name], tables[name]), ""]
    lines += ["## Not applicable", "", *_reasons(found)]
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str] | None = None, *, target: Path = PAGE) -> int:
    parser = argparse.ArgumentParser(description="Print docs/CONFORMANCE.md from three runs of the conformance suite.")
    parser.add_argument("--runs", type=Path, help="where reports are kept; those that are there are used")
    folder = parser.parse_args(arguments).runs
    try:
        with tempfile.TemporaryDirectory(prefix="pvdev-") as scratch:
            found = reports(folder or Path(scratch))
        version = ".".join(map(str, find_qemu().version))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    wrong = complaints(found)
    for line in wrong:
        print(line, file=sys.stderr)
    target.write_text(page(found, version), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
