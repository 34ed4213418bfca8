"""Captures played as one stream: each with its marks, paced, merged by due time, round after round."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from pvdev.errors import ConfigError
from pvdev.lateness import Lateness
from pvdev.spec import Spec, parse
from vmxnet3.captures.capture import Captured, CaptureReader, ReadFile
from vmxnet3.captures.marking import Marking, Rule, parse_rule, parse_rules
from vmxnet3.captures.marks import MAX_QUEUE
from vmxnet3.captures.pace import Pace, Paced

OPTIONS = ("queue", "marks", "mark", "interface", "at")  # of one capture in the small language


def open_capture(path: str) -> BinaryIO:
    """A capture file for a CaptureReader, `-` for standard input. ConfigError when it cannot be opened."""
    if path == "-":
        return sys.stdin.buffer
    try:
        return Path(path).open("rb", buffering=0)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be opened: {error.strerror}; give a pcap or pcapng file") from error


def read_marks(path: str) -> list[Rule]:
    """The rules of a marks file. ConfigError with file and line."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {why}; give a file of lines SELECTOR: FACTS") from error
    return parse_rules(text.splitlines(), path)


@dataclass(frozen=True)
class Capture:
    """A capture to be played. `queue`: where all its frames go; `interface`: only frames captured there (a name);
    `at_ns`: begins so much after the others."""

    path: str
    rules: tuple[Rule, ...] = ()
    queue: int | None = None
    interface: str | None = None
    at_ns: int = 0

    @classmethod
    def from_spec(cls, spec: Spec) -> "Capture":
        """From `kind:PATH,queue=N,marks=FILE,mark=RULE,interface=NAME,at=MS`. ConfigError for what cannot be."""
        rules: list[Rule] = []
        if (marks := spec.text("marks")) is not None:
            rules += read_marks(marks)
        if (mark := spec.text("mark")) is not None:
            rules.append(parse_rule(mark))
        queue, at_ms = spec.integer("queue", high=MAX_QUEUE), spec.integer("at", 0, high=10**9) or 0
        return cls(spec.argument, tuple(rules), queue, spec.text("interface"), at_ms * 1_000_000)

    @classmethod
    def parse(cls, text: str, rules: Sequence[Rule] = ()) -> "Capture":
        """From `FILE[,queue=N][,marks=FILE]…` of a command line; a file of just that name wins. `rules` come last."""
        if text == "-" or "," not in text or Path(text).exists():
            return cls(text, tuple(rules))
        found = cls.from_spec(parse(f"capture:{text}", {"capture": OPTIONS}, "capture"))
        return replace(found, rules=(*found.rules, *rules))


class _Counted:
    """A binary file that knows how far it was read: what a progress bar shows."""

    def __init__(self, file: ReadFile) -> None:
        self._read = getattr(file, "read1", file.read)  # a live pipe is not held up
        self.done = 0

    def read(self, size: int, /) -> bytes | None:
        data: bytes | None = self._read(size)
        self.done += len(data or b"")
        return data


class _Track:
    """One capture of a player: its rounds, from the file to due times."""

    def __init__(self, capture: Capture, pace: Pace, rounds: int, batch: int, partial: bool) -> None:
        self.capture, self._partial, self._batch = capture, partial, batch
        self.marking = Marking(capture.rules, capture.queue)
        self.done = 0  # bytes read in the rounds before this one
        self._counted: _Counted | None = None
        self._files = ExitStack()
        try:
            self.paced = Paced(self._round, pace, rounds=rounds)
        except BaseException:
            self.close()
            raise

    def _round(self) -> Iterable[list[Captured]]:
        """One round. Opens the file at once, so that a bad one is told before the first frame is asked."""
        self._files.close()
        file = open_capture(self.capture.path)
        if self.capture.path != "-":
            self._files.enter_context(file)
        self.done = self.bytes_read()
        self._counted = _Counted(file)
        reader = CaptureReader(self._counted, name=self.capture.path, partial=self._partial)
        batches: Iterable[list[Captured]] = reader.batches(self._batch)
        if reader.format == "pcapng" or self.capture.rules or self.capture.queue is not None:
            batches = self.marking.batches(reader, batches)
        if self.capture.interface is not None:
            batches = self._only(reader, batches, self.capture.interface)
        return batches

    def _only(self, reader: CaptureReader, batches: Iterable[list[Captured]], name: str) -> Iterable[list[Captured]]:
        for batch in batches:
            kept = [item for item in batch if reader.interfaces[item[3]].name == name]
            if kept:
                yield kept
        known = sorted({interface.name for interface in reader.interfaces})
        if name not in known:
            raise ConfigError(f"{reader.name}: no interface {name!r} in it; there is {', '.join(known)}")

    def bytes_read(self) -> int:
        return self.done + (self._counted.done if self._counted is not None else 0)

    def close(self) -> None:
        self._files.close()


class Player:
    """The frames of one or several captures when they are due, as `Paced` has it for one.

    Each capture is paced by itself and begins with the first `take` (plus its `at_ns`); with `by_stamp` it begins as
    much after the earliest of them as its first stamp says. `rounds` 0: without end. Frames with facts are `Shaped`.
    `lateness` is fed by `handed_over`. ConfigError: a capture that cannot be played; from `take`, one that is broken
    half way.
    """

    def __init__(
        self,
        captures: Sequence[Capture],
        pace: Pace,
        *,
        rounds: int = 1,
        partial: bool = False,
        by_stamp: bool = False,
        batch: int = 256,
    ) -> None:
        if rounds != 1 and any(capture.path == "-" for capture in captures):
            raise ConfigError("standard input cannot be played twice; give a file, or play it once")
        self.pace, self._by_stamp = pace, by_stamp
        self.lateness = Lateness("frames")
        self._taken: list[int] = []  # due times of frames not yet handed over
        self._tracks: list[_Track] = []
        self._turn, self._resume = 0, False
        try:
            for capture in captures:
                self._tracks.append(_Track(capture, pace, rounds, batch, partial))
        except BaseException:
            self.close()
            raise
        self._only = self._tracks[0].paced if len(captures) == 1 and not captures[0].at_ns else None
        self._begun = self._only is not None

    def take(self, limit: int, now_ns: int) -> list[Captured]:
        """Up to `limit` frames due at `now_ns`, earliest first; may give fewer than are due, [] only when none is."""
        if self._only is not None:
            frames = self._only.take(limit, now_ns)
            self._taken += self._only.taken
            return frames
        if not self._begun:
            self._begin(now_ns)
        if self._resume and (known := [due for track in self._tracks if (due := track.paced.due())]):
            self._resume = False
            for track in self._tracks:
                track.paced.shift(max(now_ns - min(known), 0))
        taken: list[Captured] = []
        dues: list[int] = []
        while len(taken) < limit:
            live = [(due, i) for i, track in enumerate(self._tracks) if (due := track.paced.due()) is not None]
            if not live or (first := min(live))[0] > now_ns:
                break
            if self.pace.kind == "max":  # nothing tells which comes first: in turn
                first = live[self._turn % len(live)]
                self._turn += 1
                until, most = now_ns, 1
            else:
                others = [due for due, i in live if i != first[1] and due]
                until, most = max(min([now_ns, *others]), first[0]), limit - len(taken)
            paced = self._tracks[first[1]].paced
            taken += paced.take(most, until)
            dues += paced.taken
        self._taken += dues
        return taken

    def _begin(self, now_ns: int) -> None:
        stamps = [track.paced.first_stamp for track in self._tracks]
        earliest = min((stamp for stamp in stamps if stamp is not None), default=0)
        num, den = self.pace.factor.numerator, self.pace.factor.denominator
        for track, stamp in zip(self._tracks, stamps, strict=True):
            after = track.capture.at_ns
            if self._by_stamp and stamp is not None:
                after += (stamp - earliest) * den // num if self.pace.kind == "original" else stamp - earliest
            track.paced.begin(now_ns + after)
        self._begun = True

    def handed_over(self, now_ns: int) -> None:
        """What was taken up to now reached the NIC, or its driver, at `now_ns`."""
        self.lateness.add(self._taken, now_ns)
        self._taken = []

    def due(self) -> int | None:
        """When to `take` next: 0 for at once, None when all is played."""
        if self._only is not None:
            return self._only.due()
        if not self._begun and not self.finished:
            return 0
        return min((due for track in self._tracks if (due := track.paced.due()) is not None), default=None)

    def resume(self) -> None:
        """Time stood still since the last `take`; see `Paced.resume`."""
        if self._only is not None:
            self._only.resume()
        self._resume = True

    def stop(self) -> None:
        """Nothing more is due, ever."""
        for track in self._tracks:
            track.paced.stop()

    @property
    def finished(self) -> bool:
        """Every frame was handed out."""
        return all(track.paced.finished for track in self._tracks)

    @property
    def backwards(self) -> int:
        """Frames whose stamp lay before that of an earlier frame of their capture."""
        return sum(track.paced.backwards for track in self._tracks)

    @property
    def first_stamp(self) -> int:
        """The earliest first stamp (ns since 1970), before anything was taken; 0 when all captures are empty."""
        stamps = [track.paced.first_stamp for track in self._tracks]
        return min((stamp for stamp in stamps if stamp is not None), default=0)

    @property
    def facts(self) -> Counter[str]:
        """How many frames got which fact."""
        return sum((track.marking.counts for track in self._tracks), Counter())

    @property
    def marked(self) -> int:
        """How many frames got any fact."""
        return sum(track.marking.frames for track in self._tracks)

    @property
    def bytes_read(self) -> int:
        """Of all files, in all rounds."""
        return sum(track.bytes_read() for track in self._tracks)

    def close(self) -> None:
        for track in self._tracks:
            track.close()
