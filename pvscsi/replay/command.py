"""`pvdev replay` of a block trace, on the command line."""

from typing import Any

import click

from pvdev import ui
from pvdev.errors import ConfigError
from pvdev.playing import INTERRUPTED, Stop, precedence, spare
from pvscsi.replay.local import DEPTH, DEPTH_MOST, Options, Replay
from pvscsi.replay.player import Pace
from pvscsi.traces.blkparse import ACTIONS


@click.command("replay", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("traces", metavar="TRACE", nargs=-1, required=True)
@click.option("--pace", default="max", show_default=True, help="original, xN (times as fast), iops:N or max")
@click.option(
    "--depth", type=click.IntRange(1, DEPTH_MOST), default=DEPTH, show_default=True, help="requests at a time"
)
@click.option(
    "--disk", metavar="DISK", help="the disk; see docs/DISKS.md  [default: of memory, as large as the trace needs]"
)
@click.option("--device", help="which device of blkparse's text (8,0), which file of an iolog")
@click.option("--action", type=click.Choice(ACTIONS), help="blkparse's D (issued) or Q (queued)  [default: D if any]")
@click.option("--verify", is_flag=True, help="compare every read with what was written there before")
@click.option("--loop", is_flag=True, help="replay without end; Ctrl-C ends it")
@click.option("--times", type=click.IntRange(1), default=1, show_default=True, help="replay it so often")
@click.option("--realtime", is_flag=True, help="run before ordinary processes, for punctual requests")
@click.option("--partial", is_flag=True, help="replay what comes before the first malformed line")
@click.option("--out", type=click.Path(), help="write what was done to the disk as an iolog of fio, version 3")
@click.option("--via", type=click.Choice(["local", "vfio-user"]), default="local", show_default=True, help="transport")
@click.option("--strict", is_flag=True, help="a broken rule fails the run")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
def replay(traces: tuple[str, ...], pace: str, strict: bool, as_json: bool, **values: Any) -> int:
    """Replay a TRACE (text of blkparse, or an iolog of fio, version 2 or 3; "-": standard input) through a PVSCSI's
    request ring into its disk.

    The driver is ours, in this process. Every write brings content that tells its place; what was read and written is
    compared at both ends by a digest. See docs/REPLAY.md.

    Exit code 1 when a request failed, got lost or read something wrong, 130 when Ctrl-C ended it before its time (with
    --loop that is no failure).
    """
    if len(traces) > 1:
        raise ConfigError("one trace at a time is replayed; give one file")
    trace = traces[0]
    spare(values["out"], "--out", "trace", [trace])
    common = {name: values[name] for name in ("depth", "disk", "device", "action", "verify", "partial", "out", "via")}
    rounds = 0 if values["loop"] else values["times"]
    options = Options(trace, pace=Pace.parse(pace), rounds=rounds, **common)
    with Stop().listening() as stop, precedence(values["realtime"]):
        report = Replay(options).run(lambda label, total: ui.progress(label, total, quiet=as_json), stop)
    if as_json:
        ui.print_json(report.facts())
    else:
        report.show(f"replay of {trace} ({report.chosen.device}) through the request ring, {options.via}")
        if report.fault is not None:
            print(report.fault)
    if report.interrupted and options.rounds:
        return INTERRUPTED
    return 0 if report.intact and not report.fault and not (strict and report.violations) else 1
