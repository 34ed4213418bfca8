"""A host of the tools as commands make it: its options, its clock, the log of what it hears, the report at the end."""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import click

from pvdev.errors import ConfigError
from pvdev.trace import Value
from vmtools.clock import Clock
from vmtools.host import Host
from vmtools.kept import Kept
from vmtools.scenario import parse
from vmtools.variables import TOTAL_MAX, Variables

PREFIX = "guestinfo."
SHOWN_MAX = 200  # characters of one value in the log

PARAMS: tuple[click.Parameter, ...] = (
    click.Option(
        ["--set", "variables"],
        multiple=True,
        metavar="KEY=VALUE",
        help="a variable the guest finds: guestinfo.x=y; may be repeated",
    ),
    click.Option(["--keep"], metavar="FILE", help="keep the guest's variables in FILE, from one run to the next"),
    click.Option(
        ["--scenario"], metavar="FILE", help="what the host does to its guest when, in TOML (vmtools.scenario)"
    ),
    click.Option(["--log"], metavar="FILE", help='write what is heard and said to FILE, "-" for standard error'),
)


def parse_variables(words: Sequence[str]) -> dict[str, str]:
    """Variables by their names without prefix, of "guestinfo.x=y". Raises `ConfigError`."""
    made = {}
    for word in words:
        key, equals, value = word.partition("=")
        name = key.removeprefix(PREFIX)
        if not equals or not name or " " in name:
            raise ConfigError(f"--set {word!r}: write it like {PREFIX}x=y")
        made[name] = value
    return made


class Log:
    """A trace sink that writes a line an event: seconds since it was made, the point, its facts."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._since, self._turn = out, time.monotonic(), threading.Lock()

    def __call__(self, point: str, **facts: Value) -> None:
        shown = " ".join(f"{name}={_shown(value)}" for name, value in facts.items())
        with self._turn:
            print(f"{time.monotonic() - self._since:9.3f} {point} {shown}", file=self._out, flush=True)


def _shown(value: Value) -> str:
    text = repr(value)[: SHOWN_MAX + 1]
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."


class Served:
    """A host and what a command needs around it. `turn` is held by whoever uses the host. `close` at the end.

    `faults()`: what did not go as it should, one line.
    """

    def __init__(
        self, host: Host, log: Log | None, owns: ExitStack, faults: Callable[[], str | None] = lambda: None
    ) -> None:
        self.host, self.log, self.owns, self.faults = host, log, owns, faults
        self.turn = threading.RLock()
        self.others: list[Callable[[], None]] = []  # what else each tick looks after
        host.trace = log

    def now_ns(self) -> int:
        """The model's clock."""
        return time.monotonic_ns()

    def tick(self) -> None:
        """Whatever of the host's is due."""
        with self.turn:
            self.host.tick(self.now_ns())
            for look in self.others:
                look()

    def close(self) -> None:
        self.owns.close()


def options(values: Mapping[str, Any]) -> tuple[dict[str, Any], Log | None, ExitStack]:
    """What `Host` is made with, its log, and what is to be closed at the end, by values of PARAMS; the host's time is
    this machine's. Raises `ConfigError`."""
    owns = ExitStack()
    log = None
    if (path := values["log"]) == "-":
        log = Log(sys.stderr)
    elif path is not None:
        try:
            log = Log(owns.enter_context(Path(path).open("w", encoding="utf-8")))  # noqa: SIM115
        except OSError as error:
            raise ConfigError(f"--log {path}: {error.strerror}") from error
    variables = Variables(parse_variables(values["variables"]), limit=TOTAL_MAX)
    clock = Clock(time.time_ns() - time.monotonic_ns())
    return {"clock": clock, "variables": variables}, log, owns


def build(values: Mapping[str, Any]) -> Served:
    """The host that `values` of PARAMS ask for. Raises `ConfigError`."""
    made, log, owns = options(values)
    host = Host(**made)
    with ExitStack() as undo:
        undo.enter_context(owns)
        faults = company(host, values, owns)
        undo.pop_all()
    return Served(host, log, owns, faults)


def controlled(served: Served, path: str) -> None:
    """Have the host answer `pvdev control` at socket `path`, at each tick. Raises `ConfigError`."""
    from pvdev.control import ControlSocket
    from vmtools.controls import controls
    from vmtools.ways.turns import Turns

    turns = Turns()
    served.owns.callback(turns.close)
    served.owns.enter_context(ControlSocket(turns, path, {served.host.name: controls(served.host, served.now_ns)}))
    served.others.append(turns.turn)


def company(host: Host, values: Mapping[str, Any], owns: ExitStack) -> Callable[[], str | None]:
    """A host's file of variables and its scenario, by values of PARAMS; what fails of them. Raises `ConfigError`."""
    kept = Kept(Path(values["keep"]), host) if values["keep"] else None
    if kept is not None:
        owns.callback(kept.close)
    scenario = None
    if values["scenario"]:
        try:
            text = Path(values["scenario"]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--scenario {values['scenario']}: {getattr(error, 'strerror', 'no text')}") from error
        scenario = parse(text)
        scenario.on_end = lambda step: print(f"pvdev: scenario: {str(step).strip()}", file=sys.stderr, flush=True)
        scenario.attach(host)

    def faults() -> str | None:
        if kept is not None and kept.fault is not None:
            return kept.fault
        return scenario.fault if scenario is not None else None

    return faults


def report(host: Host) -> list[str]:
    """Each rule the guest broke, a line each; or that it broke none."""
    lines = [f"  {violation}" for violation in host.rules]
    return ["rules broken:", *lines] if lines else ["rules broken: none"]
