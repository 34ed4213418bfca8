"""`pvdev tools run`: an unmodified program of this machine as in a guest, without a hypervisor."""

import sys
from typing import Any

import click

from pvdev.errors import ConfigError
from vmtools import served


def run(
    program: tuple[str, ...], *, control: str | None, keep_powers: bool, strict: bool, quiet: bool, **values: Any
) -> int:
    """Run it to its end and report on standard error; its exit code. Raises `ConfigError`."""
    from vmtools.ways.herald import Herald
    from vmtools.ways.supervisor import Supervisor

    if not program:
        raise ConfigError("run what? write: pvdev tools run -- vmware-rpctool 'info-get guestinfo.x'")
    made = served.build(values)
    try:
        if control is not None:
            served.controlled(made, control)
        supervisor = Supervisor(made.host, made.now_ns, turn=made.turn, keep_powers=keep_powers, trace=made.log)
        with Herald(made.tick, lambda: supervisor.pid) as herald:
            code = supervisor.run(program, mask=herald.mask, started=lambda pid: herald.start())
    finally:
        made.close()
    broken, fault = bool(made.host.rules), made.faults()
    if not quiet:
        answered = f"{supervisor.faults.calls} calls, {supervisor.faults.cpuids} CPUIDs, {supervisor.programs} programs"
        for line in (
            answered,
            *(f"not carried out: {words}" for words in supervisor.refused),
            *served.report(made.host),
        ):
            print(f"pvdev: {line}" if not line.startswith(" ") else line, file=sys.stderr)
    if fault:
        print(f"pvdev: {fault}", file=sys.stderr)
    return 1 if (fault or (strict and broken)) and not code else code


command = click.Command(
    "run",
    params=[
        *served.PARAMS,
        click.Option(["--control"], metavar="SOCKET", help="a socket for `pvdev control` while it runs; mode 0600"),
        click.Option(
            ["--keep-powers"],
            is_flag=True,
            help="let the program do to this machine what it may without us: freeze file systems, set the clock, "
            "shut down",
        ),
        click.Option(["--strict"], is_flag=True, help="exit code 1 when the program succeeds and broke a rule"),
        click.Option(["--quiet"], is_flag=True, help="no report at the end"),
        click.Argument(["program"], nargs=-1, type=click.UNPROCESSED, metavar="PROGRAM [ARG]..."),
    ],
    callback=run,
    context_settings={"allow_interspersed_args": False},
    help="Run PROGRAM, and all it starts, as in a virtual machine of VMware's; its exit code is ours. No root, no "
    "hypervisor: Linux on x86-64 is needed.",
)
