"""A host's evening as a text: what it does to its guest when, and what is to come of it.

Time starts when the guest's service registers, or at once (`start = "boot"`). A step ends well when what it asked for
has come about within its time, a minute unless it says otherwise; a scenario does when all of its steps do. The text is
TOML:

    start = "service"                 # or "boot"

    [[step]]
    at = "5s"
    balloon = "60%"                   # of the guest's memory; "256M"; done when the guest has given it up

    [[step]]
    at = "20s"
    snapshot = true
    within = "30s"
    expect = "failure"                # that it fails is what is wanted
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pvdev.errors import ConfigError
from vmtools.host import Host
from vmtools.hub import MAIN
from vmtools.steps import ACTIONS, SECOND, Begin, Check, duration

WITHIN_NS = 60 * SECOND
LOOK_NS = 100_000_000  # between two looks at what is waited for
STEPS_MAX = 1000


@dataclass(eq=False)
class Step:
    """One step and how it went. `ok`: None until it has ended; `why`: of a failure; times in ns of the scenario's."""

    name: str
    at_ns: int
    within_ns: int
    wanted: bool
    begin: Begin
    ok: bool | None = None
    why: str = ""
    began_ns: int = -1
    ended_ns: int = -1
    check: Check | None = None

    def __str__(self) -> str:
        state = "waits" if self.ok is None else "ok" if self.ok else f"FAILED: {self.why}"
        took = f", {(self.ended_ns - self.began_ns) / SECOND:.1f} s" if self.ok is not None else ""
        return f"{self.at_ns / SECOND:7.1f} s  {self.name}: {state}{took}"


@dataclass
class Scenario:
    """Steps in order of time. `attach` it to a host; `done` and `ok` tell how it goes."""

    steps: list[Step]
    at_boot: bool = False
    on_end: Callable[[Step], None] = lambda step: None
    _host: Host | None = None
    _start_ns: int | None = None

    @property
    def done(self) -> bool:
        return all(step.ok is not None for step in self.steps)

    @property
    def ok(self) -> bool:
        """Everything has come about as it was to."""
        return all(step.ok for step in self.steps)

    @property
    def fault(self) -> str | None:
        """What did not come about, in one line."""
        failed = [f"{step.name} ({step.why or 'not reached'})" for step in self.steps if not step.ok]
        return f"scenario failed: {', '.join(failed)}" if failed else None

    def report(self) -> list[str]:
        """A line a step."""
        return [str(step) for step in self.steps]

    def attach(self, host: Host) -> None:
        """Play it on this host; whoever ticks the host keeps it going."""
        self._host = host
        host.watches.append(self.tick)

    def tick(self, now_ns: int) -> int | None:
        """Do what is due; when to come again (ns), or None when all is done."""
        host = self._host
        if host is None or self.done:
            return None
        if self._start_ns is None:
            if not self.at_boot and MAIN not in host.hub.names:
                return now_ns + LOOK_NS
            self._start_ns = now_ns
        now = now_ns - self._start_ns
        for step in self.steps:
            if step.ok is None and step.check is None and step.at_ns <= now:
                self._begin(step, host, now_ns)
        for step in [step for step in self.steps if step.check is not None and step.ok is None]:
            self._look(step, now_ns)
        waits = [step.at_ns for step in self.steps if step.ok is None and step.check is None]
        times = [self._start_ns + at for at in waits[:1]]
        if any(step.check is not None and step.ok is None for step in self.steps):
            times.append(now_ns + LOOK_NS)
        return min(times, default=None)

    def _begin(self, step: Step, host: Host, now_ns: int) -> None:
        assert self._start_ns is not None
        step.began_ns = now_ns - self._start_ns
        if host.trace is not None:
            host.trace("scenario.step", name=step.name)
        try:
            step.check = step.begin(host, now_ns)
        except ValueError as error:
            self._end(step, str(error), now_ns)

    def _look(self, step: Step, now_ns: int) -> None:
        assert step.check is not None
        assert self._start_ns is not None
        why = step.check(now_ns)
        if why is None and now_ns - self._start_ns - step.began_ns >= step.within_ns:
            why = "not in time"
        if why is not None:
            self._end(step, why, now_ns)

    def _end(self, step: Step, why: str, now_ns: int) -> None:
        assert self._start_ns is not None
        step.ended_ns = now_ns - self._start_ns
        step.ok = (not why) is step.wanted
        step.why = why if step.wanted else "" if step.ok else "it worked"
        if self._host is not None and self._host.trace is not None:
            self._host.trace("scenario.ended", name=step.name, ok=int(step.ok), why=step.why)
        self.on_end(step)


# -- reading -----------------------------------------------------------------------------------------------------------


def parse(text: str) -> Scenario:
    """A scenario of its TOML text. Raises `ConfigError`: what is wrong, in which step."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"scenario: {error}") from error
    start = data.pop("start", "service")
    steps = data.pop("step", [])
    if data:
        raise ConfigError(f"scenario: {next(iter(data))!r} is not known; there are start and [[step]]")
    if start not in ("service", "boot"):
        raise ConfigError(f'scenario: start = {start!r}: "service" or "boot"')
    if not isinstance(steps, list) or not 0 < len(steps) <= STEPS_MAX or not all(isinstance(s, dict) for s in steps):
        raise ConfigError(f"scenario: 1 to {STEPS_MAX} steps, each under [[step]]")
    made = []
    for number, step in enumerate(steps, 1):
        try:
            made.append(_step(step))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"scenario, step {number}: {error}") from error
    return Scenario(sorted(made, key=lambda step: step.at_ns), at_boot=start == "boot")


def _step(data: Mapping[str, Any]) -> Step:
    words = dict(data)
    at_ns = duration(words.pop("at", "0s"))
    within_ns = duration(words.pop("within")) if "within" in words else WITHIN_NS
    expect = words.pop("expect", "success")
    if expect not in ("success", "failure"):
        raise ValueError(f'expect = {expect!r}: "success" or "failure"')
    if len(words) != 1:
        raise ValueError(f"one thing to do, not {len(words)}: one of {', '.join(ACTIONS)}")
    ((word, value),) = words.items()
    if word not in ACTIONS:
        raise ValueError(f"{word!r} is not known: one of {', '.join(ACTIONS)}")
    name = word if value is True else f"{word} {_shown(value)}"
    return Step(name, at_ns, within_ns, expect == "success", ACTIONS[word](value))


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={part}" for key, part in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
