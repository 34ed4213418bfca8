"""A whole run of a suite against QEMU's own device, a fresh QEMU for each of its tests: nobody boots."""

import shlex
from collections.abc import Sequence

from conformance_page import TARGETS, Report, complaints, conform
from guest.kit import Kit

from pvdev.differences import Difference


def run(kit: Kit, kind: str, *, timeout_s: float, rules: Sequence[str] = ()) -> Report:
    """What `pvdev conform KIND --target qemu` reports; of all rules, or of some."""
    words = ["--target", "qemu", "--qemu", shlex.join(kit.qemu)]
    words += [word for rule in rules for word in ("--rule", rule)]
    return conform(kind, *words, timeout_s=timeout_s)


def cases(report: Report) -> dict[str, dict[str, str]]:
    """Case -> what came of it."""
    return {case["case"]: case for rule in report["rules"] for case in rule["cases"]}


def unexplained(report: Report, table: tuple[Difference, ...]) -> list[str]:
    """Where it failed and the table gives no reason, and what of the table did not come about."""
    nothing: Report = {"rules": []}
    reports = {name: report if name == "qemu" else nothing for name in TARGETS}
    return complaints(reports, {**dict.fromkeys(TARGETS, ()), "qemu": table})
