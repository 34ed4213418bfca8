"""libiscsi's iscsi-test-cu as a judge of the SCSI target: each of its suites against a fresh unit, and what it said."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

from pvscsi.block.mem import MemDisk
from pvscsi.block.slow import SlowDisk
from pvscsi.scsi.cdrom import Cdrom
from pvscsi.scsi.disk import Disk
from pvscsi.scsi.identity import Identity
from pvscsi.scsi.target import Target
from pvscsi.scsi.unit import LogicalUnit
from tests.iscsi.server import Server

PROGRAM, PACKAGE = "iscsi-test-cu", "libiscsi-bin"
VERSION = "1.19.0"  # the list that is committed is of this one
SIZE = 256 << 20  # bytes; READ(6) reaches all of it
PATIENCE = 300  # seconds until a suite counts as hanging
NAME = "iqn.2003-01.org.example:unit"
AT_ONCE = 6  # suites; many of them sleep

_TEST = re.compile(r"^  Test: (\S+) \.\.\.", re.MULTILINE)
_VERDICT = re.compile(r"^(passed|FAILED)", re.MULTILINE)
_ASSERT = re.compile(r"^ +\d+\. (\S+?\.c:\d+) ", re.MULTILINE)
_SKIP = re.compile(r"\[SKIPPED\] (.+?)\.?(?: Skipping (?:test|assert)\.?)?$", re.MULTILINE)


class Outcome(NamedTuple):
    """`verdict`: passed, failed or skipped (all of it or a part). `words`: where it failed, or why it skipped."""

    verdict: str
    words: tuple[str, ...] = ()


Outcomes = dict[str, Outcome]
"""By suite and test: `Read10.Simple`."""


class Judged(NamedTuple):
    """A unit that is judged, and by which suites; none: by all there are."""

    about: str
    make: Callable[[], LogicalUnit]
    suites: str = ""


def _disk_512() -> Disk:
    return Disk(SlowDisk(MemDisk("512", SIZE), {}), Identity.of("512"), physical=4096)


def _disk_4096() -> Disk:
    return Disk(MemDisk("4096", SIZE), Identity.of("4096"), block=4096)


def _read_only() -> Disk:
    return Disk(MemDisk("read-only", SIZE, read_only=True), Identity.of("read-only"))


def _removable() -> Disk:
    return Disk(MemDisk("removable", SIZE), Identity.of("removable"), removable=True, thin=False)


def _cd() -> Cdrom:
    return Cdrom(MemDisk("cd", SIZE, read_only=True), Identity.of("cd", product="Virtual CD-ROM"))


UNITS = {
    "512": Judged(
        "a thin disk, blocks of 512 bytes in physical ones of 4096, on a medium that finishes nothing at once; "
        "all suites",
        _disk_512,
    ),
    "4096": Judged(
        "a thin disk, blocks of 4096 bytes; suites that move or count blocks",
        _disk_4096,
        "CompareAndWrite GetLBAStatus Inquiry Mandatory ModeSense6 Prefetch16 Read10 Read16 ReadCapacity10 "
        "ReadCapacity16 Unmap Verify16 Write10 Write16 WriteSame10 WriteSame16 WriteVerify16",
    ),
    "read-only": Judged(
        "a disk on a read-only medium; suites that need not write",
        _read_only,
        "Inquiry Mandatory ModeSense6 Prefetch16 PrinReadKeys PrinReportCapabilities PrinServiceactionRange ProutClear "
        "ProutPreempt ProutRegister Read10 Read16 ReadCapacity10 ReadCapacity16 ReadDefectData10 ReadOnly "
        "ReportSupportedOpcodes StartStopUnit TestUnitReady Verify16",
    ),
    "removable": Judged(
        "a fully provisioned disk with a tray; suites which that concerns",
        _removable,
        "Inquiry Mandatory ModeSense6 NoMedia PreventAllow ReadCapacity16 StartStopUnit TestUnitReady Unmap "
        "WriteSame16",
    ),
    "CD": Judged(
        "a CD drive with a disc in it; suites that are not for disks alone",
        _cd,
        "Inquiry ModeSense6 Read10 Read12 ReportSupportedOpcodes StartStopUnit TestUnitReady",
    ),
}


def missing() -> str:
    """What keeps the judge from this machine, or nothing."""
    if shutil.which(PROGRAM) is None:
        return f"there is no {PROGRAM}: apt-get install {PACKAGE}"
    query = ["dpkg-query", "-W", "-f", "${Version}", PACKAGE]
    found = subprocess.run(query, capture_output=True, text=True, check=False).stdout if shutil.which(query[0]) else ""
    if not found.startswith(VERSION):
        return f"the list is of {PROGRAM} {VERSION}, here is {found or 'one of unknown version'}"
    return ""


def all_suites() -> list[str]:
    """The judge's suites, in its order."""
    listed = subprocess.run([PROGRAM, "--list"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^ALL\.(\w+)$", listed, re.MULTILINE)


def judge() -> dict[str, Outcomes]:
    """Everything; by unit."""
    every = all_suites()
    cases = [(unit, suite) for unit, it in UNITS.items() for suite in every if suite in (it.suites.split() or every)]
    found: dict[str, Outcomes] = {unit: {} for unit in UNITS}
    with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as pool:  # threads would wait for each other
        for (unit, suite), said in zip(cases, pool.map(run, cases), strict=True):
            found[unit] |= {f"{suite}.{test}": outcome for test, outcome in parse(said)}
    return found


def run(case: tuple[str, str]) -> str:
    """All the judge says of one unit to one suite."""
    unit, suite = UNITS[case[0]].make(), case[1]
    with Server({NAME: Target({0: unit})}).background() as portal:
        url = f"iscsi://{portal}/{NAME}/0"
        paths = [url, url] if isinstance(unit, Disk) else [url]  # it takes only a disk through two sessions
        command = [PROGRAM, "--dataloss", "--allow-sanitize", "--test", f"ALL.{suite}", *paths]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        except subprocess.TimeoutExpired as hangs:
            return (hangs.stdout or b"").decode() + "\n  Test: (hangs) ...FAILED\n"
    return done.stdout


def parse(text: str) -> Iterator[tuple[str, Outcome]]:
    """Tests and their outcomes. What is said after a verdict that is no assertion is of the cleaning up."""
    parts = _TEST.split(text)
    for name, said in zip(parts[1::2], parts[2::2], strict=True):
        verdict = _VERDICT.search(said)
        if verdict is None or verdict[1] == "FAILED":
            yield name, Outcome("failed", tuple(dict.fromkeys(_ASSERT.findall(said))))
        elif skips := _SKIP.findall(said[: verdict.start()]):
            yield name, Outcome("skipped", tuple(dict.fromkeys(skips)))
        else:
            yield name, Outcome("passed")
