"""What commands show: a progress bar, a table, the rules that were broken. On a terminal or into a log."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from pvdev.rules import Violation


class Progress(Protocol):
    """`at(done, text)`: how far the work is, in the unit of its total, with a few words."""

    def at(self, done: int, text: str = "") -> None: ...


class _Silent:
    """For output that a program reads."""

    def at(self, done: int, text: str = "") -> None:
        pass


class _Lines:
    """One line a second and one at the end, for where there is no terminal."""

    def __init__(self, label: str, total: int | None) -> None:
        self._label, self._total, self._next = label, total, time.monotonic() + 1
        self._last = 0, ""

    def at(self, done: int, text: str = "") -> None:
        self._last = done, text
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 1
            self.show(done, text)

    def show(self, done: int, text: str) -> None:
        part = f"{100 * done / self._total:3.0f} %" if self._total else f"{done}"
        print(f"{self._label} {part} {text}", flush=True)

    def end(self) -> None:
        self.show(*self._last)


class _Bar:
    """A rich progress bar, redrawn at most ten times a second."""

    def __init__(self, label: str, total: int | None) -> None:
        from rich import progress

        self.bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[text]}"),
            progress.TimeRemainingColumn(),
        )
        self._task = self.bar.add_task(label, total=total, text="")
        self._last, self._next = (0, ""), 0.0

    def at(self, done: int, text: str = "") -> None:
        self._last = done, text
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 0.1
            self.bar.update(self._task, completed=done, text=text)

    def end(self) -> None:
        done, text = self._last
        self.bar.update(self._task, completed=done, text=text)


@contextmanager
def progress(label: str, total: int | None, *, quiet: bool = False) -> Iterator[Progress]:
    """Progress of work of `total` units (None: unknown): a bar on a terminal, else lines; `quiet`: nothing."""
    if quiet:
        yield _Silent()
    elif sys.stdout.isatty():
        bar = _Bar(label, total)
        with bar.bar:
            yield bar
            bar.end()
    else:
        lines = _Lines(label, total)
        yield lines
        lines.end()


def table(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """A two-column table on standard output."""
    from rich.console import Console
    from rich.table import Table

    print(title)
    made = Table(show_header=False, pad_edge=False)
    for row in rows:
        made.add_row(*row)
    Console(highlight=False).print(made)


def violations(seen: Iterable[Violation]) -> None:
    """Each rule broken, one line each; or that none was."""
    lines = [str(violation) for violation in seen]
    print("rules broken: none" if not lines else "rules broken:")
    for line in lines:
        print(f"  {line}")


def violations_json(seen: Iterable[Violation]) -> list[dict[str, Any]]:
    return [
        {
            "rule": v.rule.number,
            "severity": v.rule.severity.value,
            "place": v.place,
            "value": v.last,
            "count": v.count,
            "known": v.known,
            "text": v.rule.text,
        }
        for v in seen
    ]


def print_json(facts: Mapping[str, Any]) -> None:
    print(json.dumps(facts, indent=2))
