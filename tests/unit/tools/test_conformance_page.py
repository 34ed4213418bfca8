"""The conformance page: what it prints of three reports, and what it complains of."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conformance_page import DEVICES, TARGETS, Device, complaints, joined, named, page, plain, reports

from pvdev.differences import Difference

TABLES: Mapping[str, tuple[Difference, ...]] = {
    "local": (),
    "vfio-user": (),
    "qemu": (
        Difference("VMX-V-002", ("*second*",), "gap", "never | done"),
        Difference("VMX-V-002", ("*",), "choice", "done otherwise"),
    ),
}


def report(target: str, **cases: tuple[str, str, str]) -> dict[str, Any]:
    """A report; cases are name=(rule, outcome, reason)."""
    rules: dict[str, list[dict[str, str]]] = {}
    for name, (rule, outcome, reason) in cases.items():
        rules.setdefault(rule, []).append({"case": f"{name}[{target}]", "outcome": outcome, "reason": reason})

    def counts(found: list[dict[str, str]]) -> dict[str, int]:
        outcomes = [case["outcome"] for case in found]
        return {kind.replace(" ", "_"): outcomes.count(kind) for kind in ("passed", "failed", "not applicable")}

    return {
        "target": target,
        "counts": counts([case for found in rules.values() for case in found]),
        "rules": [{"rule": rule, **counts(found), "cases": found} for rule, found in rules.items()],
    }


def never() -> dict[str, Any]:
    raise AssertionError


NIC = Device("vmxnet3", "VMX", TABLES, never)
GOOD = {"first": ("VMX-V-001", "passed", ""), "second": ("VMX-V-002", "passed", "")}
RUNS = {
    "local": report("local", **GOOD),
    "vfio-user": report("vfio-user", **{**GOOD, "second": ("VMX-V-002", "not applicable", "no hands")}),
    "qemu": report(
        "qemu", **GOOD | {"second": ("VMX-V-002", "failed", "1 != 2"), "third": ("VMX-V-002", "failed", "3 != 4")}
    ),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_a[qemu]", "test_a"),
        ("test_a[vfio-user-1-x]", "test_a[1-x]"),
        ("test_a[qemu-qemu]", "test_a[qemu]"),
        ("test_a[disk-qemu]", "test_a[disk]"),
        ("test_a[512-vfio-user-7]", "test_a[512-7]"),
        ("in passing", "in passing"),
    ],
)
def test_a_name_without_its_target(name: str, expected: str) -> None:
    assert plain(name) == expected


def test_nothing_to_complain_of() -> None:
    assert complaints(RUNS, TABLES) == []


def test_a_failure_of_ours() -> None:
    broken = {**RUNS, "local": report("local", first=("VMX-V-001", "failed", "0 != 1"))}

    assert complaints(broken, TABLES) == ["ours, called, no reason: VMX-V-001 first: 0 != 1"]


def test_a_difference_without_a_reason() -> None:
    tables = {**TABLES, "qemu": TABLES["qemu"][:1]}

    assert complaints(RUNS, tables) == ["QEMU's, no reason: VMX-V-002 third: 3 != 4"]


def test_a_reason_that_covers_nothing() -> None:
    idle = Difference("VMX-V-009", ("*",), "harmless", "hums")

    assert complaints(RUNS, {**TABLES, "vfio-user": (idle,)}) == ["ours, served, covers nothing: VMX-V-009 hums"]


def test_the_page() -> None:
    text = page([(NIC, RUNS)], "11.1.3")

    assert "## vmxnet3\n" in text
    assert "| VMX-V-001 | 1 | 1 | 1 |\n" in text
    assert "| VMX-V-002 | 1 | 1 n/a | **2 failed** |\n" in text
    assert "| all | 2 | 1, 1 n/a | 1, **2 failed** |\n" in text
    assert "| VMX-V-002 | 1 | gap | never \\| done |\n| VMX-V-002 | 1 | choice | done otherwise |\n" in text
    assert "| no hands |  | 1 |  |\n" in text
    assert "vmxnet3: QEMU 11.1.3" in text
    assert "vmxnet3: our device, served" not in text


def test_every_device_has_a_section_of_its_own() -> None:
    other = Device("pvscsi", "PVS", TABLES, never)

    text = page([(NIC, RUNS), (other, RUNS)], "11.1.3")

    assert text.index("## vmxnet3\n") < text.index("## pvscsi\n")
    assert text.count("| VMX-V-001 | 1 | 1 | 1 |\n") == 2


def test_every_device_can_be_run_on_every_target() -> None:
    assert all(set(device.runs()) == set(device.tables) == set(TARGETS) for device in DEVICES)


def test_reports_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    made: list[str] = []

    def run(name: str) -> dict[str, Any]:
        made.append(name)
        return RUNS[name]

    (tmp_path / "local.json").write_text(json.dumps(RUNS["local"]))

    found = reports({name: partial(run, name) for name in TARGETS}, tmp_path)

    assert made == ["vfio-user", "qemu"]
    assert found == RUNS
    assert json.loads((tmp_path / "qemu.json").read_text()) == RUNS["qemu"]


def test_several_reports_of_one_target_are_one() -> None:
    first = named(report("vfio-user", **GOOD), "old")
    second = named(report("vfio-user", third=("VMX-V-002", "failed", "no")), "new")

    whole = joined([first, second])

    assert whole["target"] == "vfio-user"
    assert whole["counts"] == {"passed": 2, "failed": 1, "not_applicable": 0}
    assert [(rule["rule"], rule["passed"], rule["failed"]) for rule in whole["rules"]] == [
        ("VMX-V-001", 1, 0),
        ("VMX-V-002", 1, 1),
    ]
    assert [case["case"] for case in whole["rules"][1]["cases"]] == ["second[vfio-user-old]", "third[vfio-user-new]"]
    assert plain("third[vfio-user-new]") == "third[new]"
