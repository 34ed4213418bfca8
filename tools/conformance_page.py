"""Print docs/CONFORMANCE.md: each suite against our model, called and served, and against QEMU's own device.

Usage: python tools/conformance_page.py [--runs FOLDER]

Runs `pvdev conform DEVICE --json` three times for each device and keeps the reports in FOLDER (vmxnet3/local.json,
vmxnet3/vfio-user.json, vmxnet3/qemu.json, ...); a report that is there already is not made again. Fails, and says why,
when a failure has no reason in the device's `conform.differences`, or a reason there covers nothing.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import pvscsi.conform.differences
import svga.conform.differences
import vmxnet3.conform.differences
from pvdev.differences import KINDS, Difference, explain
from pvdev.errors import ConfigError
from pvdev.qemu import find_qemu

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "CONFORMANCE.md"
MAC = "02:00:0a:0b:0c:0d"  # the NIC suite's
DISK = "mem:8M"
PVDEV = [sys.executable, "-m", "pvdev.cli"]
TARGETS = {"local": "ours, called", "vfio-user": "ours, served", "qemu": "QEMU's"}

INTRODUCTION = """\
# Conformance

Printed by `make conformance` from the reports of `pvdev conform`; it fails when a failure has no reason in the device's
`conform/differences.py`, or a reason there covers nothing.

A suite (`vmxnet3/conform`, `pvscsi/conform`, `svga/conform`, installed with the package) asks of a device what it owes
its driver: the duties VMX-V, PVS-V and SVG-V of [RULES.md](RULES.md). A driver of ours, which shares no code with the
model, is the judge.

    pip install 'pvdev[conform]'
    pvdev conform vmxnet3                                          # our model, in process
    pvdev conform vmxnet3 --target vfio-user:PATH \\
        --wire dgram:OURS,peer=THEIRS                              # any vfio-user server's device, and its cable
    pvdev conform vmxnet3 --target qemu                            # QEMU's own, over its qtest protocol
    pvdev conform vmxnet3 --rule VMX-V-030 --junit report.xml
    pvdev conform pvscsi                                           # the same for the storage adapter
    pvdev conform pvscsi --target vfio-user:PATH                   # the disk at its place 0 is overwritten
    pvdev conform pvscsi --target qemu
    pvdev conform pvscsi --rule PVS-V-095 --race 1000000           # a longer race than by default
    pvdev conform svga                                             # the display: each front, each profile
    pvdev conform svga --target vfio-user:PATH
    pvdev conform svga --target qemu

A NIC served at PATH has the permanent address 02:00:0a:0b:0c:0d and its network at THEIRS: `pvdev serve vmxnet3
--socket PATH --mac 02:00:0a:0b:0c:0d --port dgram:THEIRS,peer=OURS`. An adapter served at PATH has a disk of 8 MiB or
more in blocks of 512 bytes at place 0: `pvdev serve pvscsi --socket PATH --disk mem:8M`. Any display will do: `pvdev
serve svga --socket PATH`. Exit code 0: all kept; 1: something failed; 2: the command was wrong or something is missing.

A test that cannot be made on a target is "not applicable" and says why: nobody can look into a device in another
process, and a device of version 1 is not asked what version 4 brought. A duty that a test sees broken in passing fails
that duty ("in passing"), not the test. Where a device differs, the difference is of one of these kinds:

"""

Report = dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """A case that failed, without the target's name."""

    rule: str
    case: str
    reason: str


# -- the runs ------------------------------------------------------------------------------------------------------


def conform(device: str, *words: str, timeout_s: float | None = None) -> Report:
    """One run. Raises `ConfigError` with what the command said, and `TimeoutExpired`."""
    command = [*PVDEV, "conform", device, "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode not in (0, 1):
        raise ConfigError(done.stderr.strip())
    report = json.loads(done.stdout)
    assert isinstance(report, dict)
    return report


@contextmanager
def serving(device: str, *words: str) -> Iterator[str]:
    """A server of ours in a process of its own; where it listens."""
    with tempfile.TemporaryDirectory(prefix="pvdev-") as folder:
        path = f"{folder}/device"
        command = [*PVDEV, "serve", device, "--socket", path, *words]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert server.stdout is not None
            server.stdout.readline()  # it listens
            yield path
        finally:
            server.send_signal(signal.SIGINT)
            server.communicate()


def served_nic() -> Report:
    with tempfile.TemporaryDirectory(prefix="pvdev-") as folder:
        theirs, ours = f"{folder}/theirs", f"{folder}/ours"
        with serving("vmxnet3", "--mac", MAC, "--port", f"dgram:{theirs},peer={ours}") as path:
            return conform("vmxnet3", "--target", f"vfio-user:{path}", "--wire", f"dgram:{ours},peer={theirs}")


def served_adapter() -> Report:
    with serving("pvscsi", "--disk", DISK) as path:
        return conform("pvscsi", "--target", f"vfio-user:{path}")


def served_display() -> Report:
    """Both fronts with all they can do, one after the other, as one report."""
    found = []
    for front in ("svga2", "svga3"):
        with serving("svga", "--front", front) as path:
            found.append(named(conform("svga", "--target", f"vfio-user:{path}"), front))
    return joined(found)


def named(report: Report, word: str) -> Report:
    """The report, its cases with a word behind their target's name."""
    rules = [
        {**rule, "cases": [{**case, "case": _with_word(case["case"], word)} for case in rule["cases"]]}
        for rule in report["rules"]
    ]
    return {**report, "rules": rules}


def _with_word(case: str, word: str) -> str:
    return re.sub(r"(?<=[\[-])(vfio-user)(?=[-\]])", rf"\1-{word}", case, count=1)


def joined(found: Sequence[Report]) -> Report:
    """Several reports of one target as one."""
    counts = ("passed", "failed", "not_applicable")
    rules: dict[str, dict[str, Any]] = {}
    for rule in (rule for report in found for rule in report["rules"]):
        sums = rules.setdefault(rule["rule"], {"rule": rule["rule"], **dict.fromkeys(counts, 0), "cases": []})
        sums["cases"] += rule["cases"]
        for name in counts:
            sums[name] += rule[name]
    return {
        "target": found[0]["target"],
        "counts": {name: sum(report["counts"][name] for report in found) for name in counts},
        "rules": [rules[name] for name in sorted(rules)],
    }


@dataclass(frozen=True)
class Device:
    """A kind of device with a suite: `family` of its duties, why it differs by target, how the served one is run."""

    name: str
    family: str
    tables: Mapping[str, tuple[Difference, ...]]
    served: Callable[[], Report]

    def runs(self) -> dict[str, Callable[[], Report]]:
        return {
            "local": lambda: conform(self.name, "--target", "local"),
            "vfio-user": self.served,
            "qemu": lambda: conform(self.name, "--target", "qemu"),
        }


DEVICES = (
    Device("vmxnet3", "VMX", vmxnet3.conform.differences.TABLES, served_nic),
    Device("pvscsi", "PVS", pvscsi.conform.differences.TABLES, served_adapter),
    Device("svga", "SVG", svga.conform.differences.TABLES, served_display),
)


def reports(runs: Mapping[str, Callable[[], Report]], folder: Path) -> dict[str, Report]:
    """The reports of these runs, made where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, run in runs.items():
        path = folder / f"{name}.json"
        if not path.exists():
            print(f"running the suite: {folder.name} {name}", flush=True)
            path.write_text(json.dumps(run(), indent=1) + "\n")
        found[name] = json.loads(path.read_text())
    return found


# -- the page ------------------------------------------------------------------------------------------------------


def plain(case: str) -> str:
    """A case's name without its target."""
    return (
        re.sub(r"(?<=[\[-])(?:local|vfio-user|qemu)(?:-|(?=\]))", "", case, count=1)
        .replace("-]", "]")
        .removesuffix("[]")
    )


def failures(report: Report) -> list[Failure]:
    return [
        Failure(rule["rule"], plain(case["case"]), case["reason"])
        for rule in report["rules"]
        for case in rule["cases"]
        if case["outcome"] == "failed"
    ]


def complaints(found: Mapping[str, Report], tables: Mapping[str, tuple[Difference, ...]]) -> list[str]:
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


def _summary(found: Mapping[str, Report], family: str) -> Iterator[str]:
    yield f"| rule | {' | '.join(TARGETS.values())} |"
    yield "| --- | --- | --- | --- |"
    by_rule = {name: {rule["rule"]: rule for rule in report["rules"]} for name, report in found.items()}
    rules = {rule for rules in by_rule.values() for rule in rules}
    for rule in sorted(rules, key=lambda rule: (not rule.startswith(family), rule)):
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


def section(device: Device, found: Mapping[str, Report], qemu: str) -> list[str]:
    """What there is to say of one device."""
    lines = [f"## {device.name}", "", "How many tests passed; n/a: not applicable.", ""]
    lines += [*_summary(found, device.family), ""]
    heads = {"local": "our model", "vfio-user": "our device, served", "qemu": f"QEMU {qemu}, a fresh machine per test"}
    for name, head in heads.items():
        if failures(found[name]):
            lines += [f"### Differences of {device.name}: {head}", ""]
            lines += [*_differences(found[name], device.tables[name]), ""]
    return [*lines, f"### Not applicable to {device.name}", "", *_reasons(found), ""]


def page(devices: Sequence[tuple[Device, Mapping[str, Report]]], qemu: str) -> str:
    """The whole page, of devices with their reports; `qemu` is the version that ran."""
    lines = [INTRODUCTION.rstrip(), "", *(f"- {kind}: {text}" for kind, text in KINDS.items()), ""]
    for device, found in devices:
        lines += section(device, found, qemu)
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str] | None = None, *, target: Path = PAGE) -> int:
    parser = argparse.ArgumentParser(description="Print docs/CONFORMANCE.md from runs of the conformance suites.")
    parser.add_argument("--runs", type=Path, help="where reports are kept; those that are there are used")
    folder = parser.parse_args(arguments).runs
    try:
        with tempfile.TemporaryDirectory(prefix="pvdev-") as scratch:
            base = folder or Path(scratch)
            made = [(device, reports(device.runs(), base / device.name)) for device in DEVICES]
        version = ".".join(map(str, find_qemu().version))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    wrong = [line for device, found in made for line in complaints(found, device.tables)]
    for line in wrong:
        print(line, file=sys.stderr)
    target.write_text(page(made, version), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
