"""What a guest says on its console: KTAP results, events, values, the kernel's complaints. No I/O here."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

RESULT = re.compile(
    r"(?P<indent> *)(?P<bad>not )?ok \d+(?: -)? ?(?P<name>[^#]*)(?P<directive># *(?:SKIP|TODO)\b.*)?", re.IGNORECASE
)
PLAN = re.compile(r"(?P<indent> *)1\.\.(?P<count>\d+)\s*$")
DIAGNOSTIC = re.compile(r"(?P<indent> *)# ?(?P<text>.*)")
REPORT = re.compile(r"PVDEV-(?P<kind>EVENT|VALUE|FACT) (?P<key>\S+) ?(?P<text>.*)")
TAIL_LINES = 60


class GuestFailed(AssertionError):
    """A guest test failed, or the guest ended early; the message shows what it said."""


@dataclass(frozen=True)
class Result:
    """One line of KTAP; `name` is dotted from the script down to the check."""

    name: str
    ok: bool
    diagnostics: tuple[str, ...] = ()


@dataclass
class Level:
    """One nesting level while it is being read."""

    planned: int | None = None
    count: int = 0
    results: list[Result] = field(default_factory=list)
    diagnostics: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class GuestReport:
    """What came of one boot. `seconds` is wall time from the start of QEMU to its end."""

    results: list[Result]
    problems: list[str]
    """Broken plans, an early end: what makes the results untrustworthy."""
    dmesg: list[str]
    """Kernel messages of level warning and worse since power-on, without the level and without
    those of rootfs/etc/harmless, which a stock kernel may give on this machine type whatever the device."""
    values: dict[str, float]
    facts: dict[str, str]
    console: str
    qemu_log: str
    """QEMU's own complaints."""
    seconds: float

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if not result.ok]

    def check(self) -> "GuestReport":
        """Returns self; raises GuestFailed when a check failed, a plan was not met or the console ended early."""
        if not self.failures and not self.problems:
            return self
        lines = [f"{len(self.failures)} of {len(self.results)} guest results failed"]
        for result in self.failures:
            lines += [f"not ok {result.name}", *(f"    {line}" for line in result.diagnostics)]
        lines += [f"problem: {problem}" for problem in self.problems]
        if self.problems:
            lines += ["the console's end:", *(f"    {line}" for line in self.console.splitlines()[-TAIL_LINES:])]
        if self.qemu_log:
            lines += ["QEMU said:", *(f"    {line}" for line in self.qemu_log.splitlines()[-20:])]
        if self.dmesg:
            lines += ["the kernel's complaints:", *(f"    {line}" for line in self.dmesg[-40:])]
        raise GuestFailed("\n".join(lines))


class ConsoleParser:
    """Feed it the console line by line. Lines it does not know are only kept in `console`."""

    def __init__(self, on_event: Callable[[str], object] | None = None) -> None:
        self.on_event = on_event
        self.console: list[str] = []
        self.dmesg: list[str] = []
        self.values: dict[str, float] = {}
        self.facts: dict[str, str] = {}
        self.problems: list[str] = []
        self._levels = [Level()]
        self._in_dmesg = False
        self.complete = False
        """The guest has said all it had to say."""

    def feed(self, line: str) -> None:
        """Take one line without its end; calls `on_event` for an event before it returns."""
        self.console.append(line)
        if line.startswith("PVDEV-DMESG-"):
            self._in_dmesg = line == "PVDEV-DMESG-BEGIN"
            self.complete |= line == "PVDEV-DMESG-END"
        elif self._in_dmesg:
            self.dmesg.append(line)
        elif match := REPORT.match(line):
            self._report(match["kind"], match["key"], match["text"].strip())
        elif match := RESULT.fullmatch(line):
            self._result(match)
        elif match := PLAN.fullmatch(line):
            self._level(match["indent"]).planned = int(match["count"])
        elif match := DIAGNOSTIC.fullmatch(line):
            self._level(match["indent"]).diagnostics.append(match["text"])
        elif line.startswith("Bail out!"):
            self.problems.append(line)

    def report(self, seconds: float, qemu_log: str = "") -> GuestReport:
        """The end of the console has come."""
        problems = list(self.problems)
        top = self._levels[0]
        results = list(top.results)
        for level in self._levels[1:]:  # a script that never came to its result
            results += level.results
        if top.planned is None or not self.complete:
            problems.append("the console ended before the tests did")
        elif top.planned != top.count:
            problems.append(f"{top.planned} scripts were planned, {top.count} reported")
        return GuestReport(
            results, problems, self.dmesg, self.values, self.facts, "\n".join(self.console), qemu_log, seconds
        )

    def _report(self, kind: str, key: str, text: str) -> None:
        if kind == "FACT":
            self.facts[key] = text
        elif kind == "VALUE":
            try:
                self.values[key] = float(text)
            except ValueError:
                self.problems.append(f"value {key} is no number: {text!r}")
        elif self.on_event:
            self.on_event(key)

    def _level(self, indent: str) -> Level:
        depth = len(indent) // 2
        while len(self._levels) <= depth:
            self._levels.append(Level())
        return self._levels[depth]

    def _result(self, match: re.Match[str]) -> None:
        depth = len(match["indent"]) // 2
        level = self._level(match["indent"])
        name = match["name"].strip() or f"#{level.count + 1}"
        ok = not match["bad"]
        diagnostics = level.diagnostics
        if match["directive"]:  # nothing is skipped here: what does not run has not passed
            ok = False
            diagnostics.append(match["directive"])
        for below in self._levels[depth + 1 :]:
            level.results += (Result(f"{name}.{inner.name}", inner.ok, inner.diagnostics) for inner in below.results)
            diagnostics += below.diagnostics
            if below.planned is not None and below.planned != below.count:
                self.problems.append(f"{name}: {below.planned} checks were planned, {below.count} ran")
        del self._levels[depth + 1 :]
        level.count += 1
        level.results.append(Result(name, ok, tuple(diagnostics)))
        level.diagnostics = []
