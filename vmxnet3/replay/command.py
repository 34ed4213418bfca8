"""`pvdev replay` on the command line."""

from collections.abc import Sequence
from typing import Any

import click

from pvdev import ui
from pvdev.errors import ConfigError
from pvdev.playing import INTERRUPTED, Stop, precedence, spare
from vmxnet3.captures.marking import Rule, parse_rule
from vmxnet3.captures.pace import Pace
from vmxnet3.captures.player import Capture, read_marks
from vmxnet3.replay.live import LiveOptions, LiveReplay
from vmxnet3.replay.local import Options, Replay
from vmxnet3.served import PARAMS
from vmxnet3.wire import MAX_MTU, MIN_MTU

IN_PROCESS = ("via", "transmit", "mtu", "queues")
SERVED = ("delay", "stay", *(param.name for param in PARAMS if param.name != "version"))


@click.command("replay", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("captures", metavar="CAPTURE...", nargs=-1, required=True)
@click.option(
    "--pace", help="original, xN (times as fast), pps:N, bps:N or max  [default: max; into a guest: original]"
)
@click.option(
    "--mark", "marks", multiple=True, metavar="RULE", help='facts for frames: "every 10: csum=bad"; repeatable'
)
@click.option("--marks", "files", multiple=True, type=click.Path(), help="a file of such rules, one a line; repeatable")
@click.option("--loop", is_flag=True, help="play without end; Ctrl-C ends it")
@click.option("--times", type=click.IntRange(1), default=1, show_default=True, help="play it so often")
@click.option("--by-stamp", is_flag=True, help="several captures keep their distance in time; else all begin at once")
@click.option("--realtime", is_flag=True, help="run before ordinary processes, for punctual frames on a busy machine")
@click.option("--partial", is_flag=True, help="play what is whole of a capture that is cut short or damaged")
@click.option("--out", type=click.Path(), help="write what came out of the other end as pcapng, ns stamps")
@click.option("--record", type=click.Path(), help="capture at the device: pcapng, an interface per queue and direction")
@click.option("--via", type=click.Choice(["local", "vfio-user"]), default="local", show_default=True, help="transport")
@click.option("--tx", "transmit", is_flag=True, help="send the capture through the transmit ring instead")
@click.option("--mtu", type=click.IntRange(MIN_MTU, MAX_MTU), default=MAX_MTU, show_default=True, help="of the driver")
@click.option("--queues", type=click.IntRange(1, 32), help="receive queues of the driver  [default: as many as named]")
@click.option("--socket", type=click.Path(), help="serve the NIC here and play into whatever driver comes")
@click.option(
    "--delay", type=click.IntRange(0), default=0, help="ms from the guest's opening the NIC to the first frame"
)
@click.option("--stay", is_flag=True, help="go on serving when all is played")
@click.option("--strict", is_flag=True, help="a broken rule fails the run")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
def replay(
    captures: tuple[str, ...],
    pace: str | None,
    marks: tuple[str, ...],
    files: tuple[str, ...],
    socket: str | None,
    strict: bool,
    as_json: bool,
    **values: Any,
) -> int:
    """Play CAPTURES (pcap or pcapng; "-": standard input) through a VMXNET3's receive ring into a driver.

    Each is FILE or FILE,queue=N,marks=FILE,interface=NAME,at=MS. Without --socket the driver is ours, in this process:
    frames, bytes and a digest over all of them are compared at both ends. With it the NIC's own options count too
    (--mac and those behind it, as of `pvdev serve vmxnet3`). What completions say of a frame can be set: see
    docs/REPLAY.md.

    Exit code 1 when something got lost, 130 when Ctrl-C ended it before its time (with --loop that is no failure).
    """
    _refuse(SERVED if socket is None else IN_PROCESS, "needs" if socket is None else "does not go with")
    rules = [rule for file in files for rule in read_marks(file)] + [parse_rule(text, "--mark") for text in marks]
    played = [Capture.parse(text, rules) for text in captures]
    for option in ("out", "record"):
        spare(values[option], f"--{option}", "capture", [capture.path for capture in played])
    rounds = 0 if values["loop"] else values["times"]
    common = {name: values[name] for name in ("out", "record", "partial", "by_stamp")}
    with Stop().listening() as stop, precedence(values["realtime"]):
        if socket is not None:
            live = LiveOptions(
                played,
                socket,
                Pace.parse(pace or "original"),
                rounds=rounds,
                delay_ms=values["delay"],
                stay=values["stay"],
                quiet=as_json,
                nic=values,
                **common,
            )
            return _live(live, stop, strict=strict, as_json=as_json)
        transmit = values["transmit"]
        if transmit and (rules or any(capture.rules or capture.queue is not None for capture in played)):
            raise ConfigError("--tx sends, and marks speak of received frames: leave one of them out")
        local = Options(
            played,
            values["via"],
            Pace.parse(pace or "max"),
            transmit=transmit,
            mtu=values["mtu"],
            rounds=rounds,
            queues=values["queues"] or _queues_named(played),
            version=values["version"],
            **common,
        )
        return _local(local, stop, strict=strict, as_json=as_json)


replay.params += PARAMS


def _local(options: Options, stop: Stop, *, strict: bool, as_json: bool) -> int:
    report = Replay(options).run(lambda label, total: ui.progress(label, total, quiet=as_json), stop)
    if as_json:
        ui.print_json(report.facts())
    else:
        way = "transmit" if options.transmit else "receive"
        report.show(f"replay of {_names(options.played())} through the {way} ring, {options.via}")
    if report.fault is not None:
        raise ConfigError(report.fault)
    if report.interrupted and options.rounds:
        return INTERRUPTED
    return 0 if report.intact and not (strict and report.violations) else 1


def _live(options: LiveOptions, stop: Stop, *, strict: bool, as_json: bool) -> int:
    report = LiveReplay(options).run(lambda label, total: ui.progress(label, total, quiet=as_json), stop)
    if as_json:
        ui.print_json(report.facts())
    else:
        report.show(f"replay of {_names(options.captures)} into the driver at {options.socket}")
        if report.fault is not None:
            print(report.fault)
    if report.interrupted:
        return INTERRUPTED
    broken = [violation for violation in report.violations if not violation.known]
    return 0 if report.whole and not (strict and broken) else 1


def _refuse(names: Sequence[str], verb: str) -> None:
    """Options given that have no meaning here. Raises `ConfigError`."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = "tx" if name == "transmit" else name.replace("_", "-")
            raise ConfigError(f"--{option} {verb} --socket")


def _queues_named(played: Sequence[Capture]) -> int:
    """One more than the highest queue that options and rules name."""
    named = [capture.queue or 0 for capture in played]
    rules: list[Rule] = [rule for capture in played for rule in capture.rules]
    named += [int(rule.facts["queue"].word.partition("=")[2], 0) for rule in rules if "queue" in rule.facts]
    return max(named) + 1


def _names(played: Sequence[Capture]) -> str:
    return ", ".join(capture.path for capture in played)
