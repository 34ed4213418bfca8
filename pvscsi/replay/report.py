"""What came of a replay of a trace, as a table and as JSON."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pvdev import ui
from pvdev.lateness import Times
from pvscsi.replay.player import Results
from pvscsi.replay.tally import Tally
from pvscsi.traces.formats import Chosen
from pvscsi.traces.trace import SECTOR


@dataclass
class Report:
    """One replay. `disk` is its name, `size` its bytes; `medium`: what it did."""

    trace: str
    format: str
    chosen: Chosen
    cut: str | None
    disk: str
    size: int
    results: Results
    medium: Tally
    violations: Sequence[Any]
    interrupted: bool
    fault: str | None

    @property
    def intact(self) -> bool:
        """Every request was good, both ends saw the same, every read found what was written, no duty was broken."""
        results = self.results
        verified = results.verified
        wrong = results.errors or results.lost or results.complaints or (verified is not None and verified.wrong)
        return not wrong and results.tally.digest() == self.medium.digest()

    @property
    def done(self) -> int:
        """Good requests."""
        return sum(kind.good for kind in self.results.kinds.values())

    def facts(self) -> dict[str, Any]:
        results, chosen, verified = self.results, self.chosen, self.results.verified
        return {
            "trace": {
                "format": self.format,
                "device": chosen.device,
                "action": chosen.action or None,
                "left_out": dict(chosen.content.left_out),
                "cut": self.cut,
            },
            "disk": {"name": self.disk, "bytes": self.size},
            "requests": {
                op.value: {"requests": kind.good, "bytes": kind.bytes, "latency_us": _latency(kind.times)}
                for op, kind in results.kinds.items()
                if kind.times.count
            },
            "errors": dict(results.errors),
            "never_completed": results.lost,
            "split": results.split,
            "driver": _end(results.tally),
            "medium": _end(self.medium),
            "verified": None
            if verified is None
            else {
                "sectors": verified.compared,
                "unknown": verified.unknown,
                "wrong": verified.wrong,
                "first": verified.first,
                "held_back": results.held,
            },
            "intact": self.intact,
            "seconds": round(results.seconds, 6),
            "requests_per_second": round(self.done / results.seconds) if results.seconds else 0,
            "pacing_error_us": results.lateness.facts() if results.lateness.count else None,
            "stamps_backwards": results.backwards,
            "complaints": dict(results.complaints),
            "interrupted": self.interrupted,
            "fault": self.fault,
            "violations": ui.violations_json(self.violations),
        }

    def show(self, title: str) -> None:
        results, verified = self.results, self.results.verified
        rows = [("disk", f"{self.disk}, {self.size:,} bytes")]
        for op, kind in results.kinds.items():
            if kind.times.count:
                rows.append((op.value, f"{kind.good:,} requests, {kind.bytes:,} bytes"))
                rows.append(("  latency", _shown(kind.times)))
        rows += [(f"failed: {outcome}", f"{count:,} requests") for outcome, count in results.errors.items()]
        if results.lost:
            rows.append(("never completed", f"{results.lost:,} requests"))
        if results.split:
            rows.append(("too long for one request", f"{results.split:,} of the trace, split"))
        rows += [(f"left out: lines {why}", f"{count:,}") for why, count in self.chosen.content.left_out.items()]
        if self.cut:
            rows.append(("ended early", self.cut))
        digest = results.tally.digest()
        same = "equal" if digest == self.medium.digest() else "DIFFERENT"
        rows += [("digest at the driver", digest), ("digest at the medium", f"{self.medium.digest()} ({same})")]
        if verified is not None:
            wrong = f"{verified.wrong:,} WRONG" if verified.wrong else "all as written"
            rows.append(("verified", f"{verified.compared * SECTOR:,} bytes read, {wrong}"))
            if verified.first:
                rows.append(("  first", verified.first))
            if verified.unknown:
                rows.append(("  not written by this replay", f"{verified.unknown * SECTOR:,} bytes"))
            if results.held:
                rows.append(("  waited for one they overlap", f"{results.held:,} requests"))
        rows.append(("time", f"{results.seconds:.3f} s, {self.done / max(results.seconds, 1e-9):,.0f} requests/s"))
        if self.interrupted:
            rows.append(("ended", "before its time, by Ctrl-C"))
        if results.lateness.count:
            rows.append(("pacing error", _shown(results.lateness, least=False)))
        if results.backwards:
            rows.append(("stamps that went backwards", f"{results.backwards:,} requests, sent at once"))
        rows += [(f"driver complained: {what}", f"{count:,}") for what, count in results.complaints.items()]
        ui.table(title, rows)
        ui.violations(self.violations)
        sys.stdout.flush()


def _end(tally: Tally) -> dict[str, Any]:
    return {"requests": tally.requests, "bytes": tally.bytes, "digest": tally.digest()}


def _latency(times: Times) -> dict[str, float]:
    return {"min": round(times.min / 1000, 1), **times.microseconds(50, 99)}


def _shown(times: Times, *, least: bool = True) -> str:
    minimum, p50, p99, most = (f"{ns / 1000:,.0f}" for ns in (times.min, *map(times.percentile, (50, 99)), times.max))
    return f"{f'min {minimum}, ' if least else ''}p50 {p50}, p99 {p99}, max {most} us"
