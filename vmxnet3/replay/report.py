"""What came of a replay, as a table and as JSON."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pvdev import ui
from pvdev.lateness import Lateness
from vmxnet3.replay.flows import Flows


@dataclass
class Report:
    """One replay in process. `seconds` counts from the first frame to the last."""

    offered: Flows
    received: Flows
    dropped: dict[str, int]
    seconds: float
    violations: list[Any]
    cut: int
    lateness: Lateness
    marks: Mapping[str, int] = field(default_factory=dict)  # how many frames were given each fact
    seen: Mapping[str, int] = field(default_factory=dict)  # what the driver saw, where facts were given
    complaints: Mapping[str, int] = field(default_factory=dict)  # duties of a device that the facts broke, by rule
    erroneous: int = 0  # frames marked as bad, which the driver threw away
    backwards: int = 0
    interrupted: bool = False
    fault: str | None = None

    @property
    def intact(self) -> bool:
        return not self.dropped and self.offered.digest() == self.received.digest()

    def facts(self) -> dict[str, Any]:
        return {
            "offered": _flows(self.offered),
            "received": _flows(self.received),
            "dropped": self.dropped,
            "cut_by_capture": self.cut,
            "intact": self.intact,
            "seconds": round(self.seconds, 6),
            "frames_per_second": round(self.received.frames / self.seconds) if self.seconds else 0,
            "pacing_error_us": self.lateness.facts() if self.lateness.count else None,
            "stamps_backwards": self.backwards,
            "marks": dict(self.marks),
            "seen": dict(self.seen),
            "complaints": dict(self.complaints),
            "thrown_away_as_bad": self.erroneous,
            "interrupted": self.interrupted,
            "fault": self.fault,
            "violations": ui.violations_json(self.violations),
        }

    def show(self, title: str) -> None:
        received = self.received
        same = "equal" if self.offered.digest() == received.digest() else "DIFFERENT"
        rows = [("offered", _count(self.offered))]
        if self.cut:
            rows.append(("of these cut short by the capture", f"{self.cut:,} frames"))
        rows.append(("received", _count(received)))
        if len(received.queues) > 1:
            rows += [(f"  in queue {queue}", f"{t.frames:,} frames") for queue, t in sorted(received.queues.items())]
        if self.erroneous:
            rows.append(("thrown away, marked as bad", f"{self.erroneous:,} frames"))
        rows += [(f"dropped: {cause}", f"{count:,} frames") for cause, count in self.dropped.items()]
        rows += [("digest offered", self.offered.digest()), ("digest received", f"{received.digest()} ({same})")]
        rate = received.frames / max(self.seconds, 1e-9)
        rows.append(("time", f"{self.seconds:.3f} s, {rate:,.0f} frames/s"))
        if self.interrupted:
            rows.append(("ended", "before its time, by Ctrl-C"))
        rows += pacing_rows(self.lateness, self.backwards)
        rows += [(f"mark {word}", f"{count:,} frames") for word, count in self.marks.items()]
        rows += [(f"driver saw: {what}", f"{count:,}") for what, count in self.seen.items()]
        rows += [(f"driver complained: {what}", f"{count:,}") for what, count in self.complaints.items()]
        ui.table(title, rows)
        ui.violations(self.violations)
        sys.stdout.flush()


@dataclass
class LiveReport:
    """A replay into whatever driver came. `handed`: frames in the driver's receive rings, by queue."""

    played: int
    bytes: int
    handed: Mapping[int, int]
    sent: int
    refused: Mapping[str, int]
    cut: int
    seconds: float
    lateness: Lateness
    backwards: int
    marks: Mapping[str, int]
    marked: int
    violations: Sequence[Any]
    client_violations: Sequence[Any]
    interrupted: bool
    fault: str | None

    @property
    def whole(self) -> bool:
        """Everything there was to play reached the driver's rings."""
        return not (self.refused or self.fault or self.interrupted)

    def facts(self) -> dict[str, Any]:
        return {
            "played": {"frames": self.played, "bytes": self.bytes, "marked": self.marked},
            "handed_over": {"frames": sum(self.handed.values()), "queues": {str(q): n for q, n in self.handed.items()}},
            "not_handed_over": dict(self.refused),
            "sent_by_the_driver": self.sent,
            "cut_by_capture": self.cut,
            "seconds": round(self.seconds, 6),
            "pacing_error_us": self.lateness.facts() if self.lateness.count else None,
            "stamps_backwards": self.backwards,
            "marks": dict(self.marks),
            "interrupted": self.interrupted,
            "fault": self.fault,
            "violations": ui.violations_json(self.violations),
            "client_violations": ui.violations_json(self.client_violations),
        }

    def show(self, title: str) -> None:
        rows = [("played", f"{self.played:,} frames, {self.bytes:,} bytes")]
        if self.cut:
            rows.append(("of these cut short by the capture", f"{self.cut:,} frames"))
        rows.append(("handed to the driver", f"{sum(self.handed.values()):,} frames"))
        if len(self.handed) > 1:
            rows += [(f"  in queue {queue}", f"{count:,} frames") for queue, count in sorted(self.handed.items())]
        rows += [(f"not handed over: {cause}", f"{count:,} frames") for cause, count in self.refused.items()]
        rows.append(("sent by the driver", f"{self.sent:,} frames"))
        rows.append(("time", f"{self.seconds:.3f} s"))
        if self.interrupted:
            rows.append(("ended", "before its time, by Ctrl-C"))
        rows += pacing_rows(self.lateness, self.backwards)
        rows += [(f"mark {word}", f"{count:,} frames") for word, count in self.marks.items()]
        ui.table(title, rows)
        ui.violations(self.violations)
        if self.client_violations:
            print("by the vfio-user client, ", end="")
            ui.violations(self.client_violations)
        sys.stdout.flush()


def pacing_rows(lateness: Lateness, backwards: int) -> list[tuple[str, str]]:
    rows = []
    if lateness.count:
        p50, p99, most = (f"{ns / 1000:,.0f}" for ns in (*map(lateness.percentile, (50, 99)), lateness.max))
        rows.append(("pacing error", f"p50 {p50} us, p99 {p99} us, max {most} us"))
    if backwards:
        rows.append(("stamps that went backwards", f"{backwards:,} frames, played at once"))
    return rows


def _count(flows: Flows) -> str:
    return f"{flows.frames:,} frames, {flows.bytes:,} bytes"


def _flows(flows: Flows) -> dict[str, Any]:
    facts: dict[str, Any] = {"frames": flows.frames, "bytes": flows.bytes, "digest": flows.digest()}
    if len(flows.queues) > 1:
        facts["queues"] = {str(queue): tally.frames for queue, tally in sorted(flows.queues.items())}
    return facts
