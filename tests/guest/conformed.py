"""A whole run of a suite against QEMU's own device, a fresh QEMU for each of its tests: nobody boots."""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from conformance_page import TARGETS, complaints
from guest.kit import Kit

from pvdev.differences import Difference

Report = dict[str, Any]


def run(kit: Kit, kind: str, *, timeout_s: float = 450, rules: Sequence[str] = ()) -> Report:
    """What `pvdev conform KIND --target qemu` reports; of all rules, or of some."""
    command = [sys.executable, "-m", "pvdev.cli", "conform", kind, "--target", "qemu", "--json"]
    command += ["--qemu", shlex.join(kit.qemu), *(word for rule in rules for word in ("--rule", rule))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def cases(report: Report) -> dict[str, dict[str, str]]:
    """Case -> what came of it."""
    return {case["case"]: case for rule in report["rules"] for case in rule["cases"]}


def unexplained(report: Report, table: tuple[Difference, ...]) -> list[str]:
    """Where it failed and the table gives no reason, and what of the table did not come about."""
    nothing: Report = {"rules": []}
    reports = {name: report if name == "qemu" else nothing for name in TARGETS}
    return complaints(reports, {**dict.fromkeys(TARGETS, ()), "qemu": table})
