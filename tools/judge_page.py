"""Print docs/JUDGE.md: what libiscsi's iscsi-test-cu says of the SCSI target, and why it says so.

Usage: python tools/judge_page.py [--check]

Runs the judge (most of a minute). `--check` writes nothing and fails when the page is stale. Fails as well, and says
why, when a failed or skipped test has no reason here, or a reason here covers nothing.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.iscsi.judge import PACKAGE, PROGRAM, UNITS, VERSION, Outcome, Outcomes, judge, missing

PAGE = Path(__file__).resolve().parent.parent / "docs" / "JUDGE.md"
Found = Mapping[str, Outcomes]

INTRODUCTION = f"""\
# An independent judge

Printed by `tools/judge_page.py`; a test runs the judge again and fails when this page is stale.

`{PROGRAM}` of libiscsi {VERSION} (Debian: `apt-get install {PACKAGE}`) is a conformance test for SCSI targets by
people who have nothing to do with us. It speaks iSCSI, which `pvscsi/scsi` does not: `tests/iscsi` is a bridge for this
one purpose. Everything it is asked goes to the same logical units a guest's requests go to.

    make judge      # run it and print this page anew

Every suite gets a fresh unit of 256 MiB, `--dataloss --allow-sanitize`, and a second session where it wants one:
"""


class Reason(NamedTuple):
    """Why tests that match `tests` fail."""

    tests: str
    text: str


FAILED = (
    Reason(
        "GetLBAStatus.UnmapSingle",
        "The judge's slip: it asks for the status of LBA i + 1 and wants the answer to begin at i + 8, the next "
        "physical block. SBC-3: the first descriptor begins at the LBA asked for.",
    ),
    Reason(
        "PreventAllow.Eject",
        "With the tray open and PREVENT set it wants a load refused. What SPC-4 prevents is removal; we load.",
    ),
    Reason(
        "Write10.Async",
        "The judge's slip: it takes every block for 512 bytes, and sends 4096 bytes for 8 blocks. Too little data: "
        "see the residuals.",
    ),
    Reason(
        "WriteSame10.UnmapUntilEnd",
        "The judge's slip: it sends a block of FFh with UNMAP and wants zeros afterwards. SBC-3: blocks are given back "
        "only if they then read as what was sent. (In WriteSame16 it sends zeros.)",
    ),
    Reason(
        "iSCSIResiduals.*",
        "An initiator that offers less data than the CDB writes. The judge wants written what was offered, and GOOD; "
        "the target writes nothing, and an adapter reports the overrun: PVSCSI as DATARUN, the bridge as an overflow "
        "with 05/0E/03, which later versions of the judge take as well.",
    ),
)

_ABSENT = "An optional command that is not there: 05/20/00, and not in REPORT SUPPORTED OPERATION CODES."
_ELSEWHERE = "Another of the units has it."
SKIPPED = {
    "EXTENDEDCOPY is not implemented": _ABSENT,
    "LBPPB < 2": _ELSEWHERE,
    "Logical unit is fully provisioned": _ELSEWHERE,
    "Logical unit is not removable": _ELSEWHERE,
    "Logical unit is not write-protected": _ELSEWHERE,
    "Media is not removable": _ELSEWHERE,
    "Not SBC device": "For disks alone.",
    "ORWRITE is not implemented": _ABSENT,
    "READ16 is not implemented": "A CD drive has READ(10) and (12).",
    "RECEIVECOPYRESULT is not implemented": _ABSENT,
    "RECEIVE_COPY_RESULTS is not implemented": _ABSENT,
    "SANITIZE BLOCK_ERASE is not implemented according to REPORT_SUPPORTED_OPCODES": _ABSENT,
    "SANITIZE CRYPTO_ERASE is not implemented according to REPORT_SUPPORTED_OPCODES": _ABSENT,
    "SANITIZE EXIT FAILURE MODE is not implemented according to REPORT_SUPPORTED_OPCODES": _ABSENT,
    "SANITIZE OVERWRITE is not implemented according to REPORT_SUPPORTED_OPCODES": _ABSENT,
    "SANITIZE is not implemented": _ABSENT,
    "UNMAP is not implemented": "Only where blocks can be given back.",
    "WRITEATOMIC16 is not implemented": _ABSENT,
}
"""By what the judge says."""


def explain(test: str) -> Reason | None:
    """The reason why a test fails."""
    return next((reason for reason in FAILED if fnmatch(test, reason.tests)), None)


def _every(found: Found, verdict: str) -> Iterator[tuple[str, str, Outcome]]:
    """(unit, test, outcome) of all with this verdict."""
    for unit, outcomes in found.items():
        for test, outcome in outcomes.items():
            if outcome.verdict == verdict:
                yield unit, test, outcome


def complaints(found: Found) -> list[str]:
    """What is wrong between what was found and the reasons, a line each."""
    failed, skipped = list(_every(found, "failed")), list(_every(found, "skipped"))
    said = {words for _, _, outcome in skipped for words in outcome.words}
    used = {explain(test) for _, test, _ in failed}
    return [
        *(f"{unit}, no reason: {test} fails at {', '.join(o.words)}" for unit, test, o in failed if not explain(test)),
        *(f"no reason to skip: {words}" for words in sorted(said - SKIPPED.keys())),
        *(f"covers nothing: {reason.tests}" for reason in FAILED if reason not in used),
        *(f"covers nothing: {words}" for words in SKIPPED if words not in said),
    ]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(outcomes: Outcomes, suite: str) -> str:
    """How many tests of a suite passed, failed and were skipped; only what there is."""
    count = Counter(outcome.verdict for test, outcome in outcomes.items() if test.startswith(f"{suite}."))
    parts = [str(count["passed"])] if count["passed"] else []
    parts += [f"**{count['failed']} failed**"] if count["failed"] else []
    parts += [f"{count['skipped']} skipped"] if count["skipped"] else []
    return ", ".join(parts)


def _summary(found: Found) -> Iterator[str]:
    yield _row("suite", *found)
    yield _row(*["---"] * (1 + len(found)))
    for suite in dict.fromkeys(test.partition(".")[0] for outcomes in found.values() for test in outcomes):
        yield _row(suite, *(_cell(outcomes, suite) for outcomes in found.values()))
    totals = [Counter(outcome.verdict for outcome in outcomes.values()) for outcomes in found.values()]
    for verdict in ("passed", "failed", "skipped"):
        yield _row(f"all: {verdict}", *(str(total[verdict]) for total in totals))


def _failures(found: Found) -> Iterator[str]:
    yield _row("test", "units", "fails at", "why")
    yield _row(*["---"] * 4)
    units: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for unit, test, outcome in _every(found, "failed"):
        units.setdefault((test, outcome.words), []).append(unit)
    told: set[Reason | None] = set()
    for (test, words), where in units.items():
        reason = explain(test)
        why = "" if reason is None else "The same." if reason in told else reason.text
        told.add(reason)
        yield _row(test, ", ".join(where), ", ".join(words), why)


def _skips(found: Found) -> Iterator[str]:
    yield _row("the judge says", "of", "why")
    yield _row(*["---"] * 3)
    said: dict[str, dict[str, list[str]]] = {}
    for unit, test, outcome in _every(found, "skipped"):
        for words in outcome.words:
            said.setdefault(words, {}).setdefault(test, []).append(unit)
    for words in sorted(said):
        yield _row(words, _tests(said[words]), SKIPPED.get(words, ""))


def _tests(units: Mapping[str, Iterable[str]]) -> str:
    """Tests by suite, and by the units they were skipped on."""
    by_place: dict[tuple[str, str], list[str]] = {}
    for test, where in units.items():
        suite, _, name = test.partition(".")
        by_place.setdefault((", ".join(where), suite), []).append(name)
    return "; ".join(f"{suite} {', '.join(names)} ({where})" for (where, suite), names in by_place.items())


def page(found: Found) -> str:
    """All of docs/JUDGE.md."""
    lines = [INTRODUCTION, _row("unit", "what"), _row("---", "---")]
    lines += [*(_row(name, unit.about) for name, unit in UNITS.items()), ""]
    lines += ["## By suite", "", "How many tests passed; skipped: all of the test or a part.", "", *_summary(found), ""]
    lines += ["## Failed", "", *_failures(found), "", "## Skipped", "", *_skips(found)]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None, *, target: Path = PAGE) -> int:
    parser = argparse.ArgumentParser(description="Print docs/JUDGE.md: what an independent judge says of our target.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")
    check = parser.parse_args(arguments).check
    why = missing()
    if why:
        print(why, file=sys.stderr)
        return 2
    found = judge()
    wrong = complaints(found)
    text = page(found)
    if check and (not target.exists() or target.read_text(encoding="utf-8") != text):
        wrong.append(f"{target.name} is stale: run `python tools/judge_page.py`")
    for line in wrong:
        print(line, file=sys.stderr)
    if not check:
        target.write_text(text, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
