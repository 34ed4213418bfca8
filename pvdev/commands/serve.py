"""`pvdev serve DEVICE`: one device on a vfio-user socket until interrupted."""

import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click

from pvdev import kinds, ui
from pvdev.qemu import device_arg, machine_args


def serve(
    kind: kinds.Kind,
    values: dict[str, Any],
    socket: str,
    *,
    control: str | None,
    posted: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Serve until SIGINT or SIGTERM; then the rules that were broken. 1: one was that the driver is not known
    for, and `strict`."""
    from pvdev.control import ControlSocket
    from pvdev.transport.vfio_user import Server

    built = kind.build(values)
    with built.owns:
        server = Server(posted=posted, on_event=lambda line: print(line, file=sys.stderr, flush=True))

        def stop(signum: int, frame: FrameType | None) -> None:
            server.stop()

        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, stop)
        try:
            endpoint = server.add(built.device, socket, watch=built.watch)
            if control is not None:
                built.owns.enter_context(ControlSocket(server, control, {built.device.name: built.controls}))
            if not as_json:
                _say_how(built.device.name, socket)
            server.run()
        finally:
            server.close()
    rules, protocol = built.device.rules, endpoint.log
    if as_json:
        facts = {"violations": ui.violations_json(rules), "client_violations": ui.violations_json(protocol)}
        ui.print_json({"device": built.device.name, **facts, "fault": built.faults()})
    else:
        ui.violations(rules)
        if protocol:
            print("by the vfio-user client, ", end="")
            ui.violations(protocol)
    if fault := built.faults():
        print(fault, file=sys.stderr)
    return 1 if strict and rules.unknown() else 0


def _say_how(name: str, socket: str) -> None:
    args = [*machine_args("1G"), "-device", device_arg(Path(socket).absolute())]
    print(f"{name} at {socket}; Ctrl-C ends it. QEMU's arguments (10.1 or newer; memory must be shared):")
    print(f"  {shlex.join(args)}", flush=True)


def _subcommand(name: str) -> click.Command:
    kind = kinds.load(name)

    def run(socket: str, control: str | None, posted: bool, strict: bool, as_json: bool, **values: Any) -> int:
        return serve(kind, values, socket, control=control, posted=posted, strict=strict, as_json=as_json)

    params = [
        click.Option(
            ["--socket"], required=True, type=click.Path(), help="where to listen; mode 0600, removed at exit"
        ),
        *kind.params,
        click.Option(
            ["--control"], type=click.Path(), help="a socket for `pvdev control` while the device runs; mode 0600"
        ),
        click.Option(
            ["--posted"],
            is_flag=True,
            help="let QEMU post register writes: commands are then no longer done when Linux thinks so",
        ),
        click.Option(["--strict"], is_flag=True, help="exit code 1 when the driver broke a rule"),
        click.Option(["--json", "as_json"], is_flag=True, help="print the rule report as JSON"),
    ]
    return click.Command(name, params=params, callback=run, help=f"Serve {kind.summary}.")


class _Serve(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return kinds.names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _subcommand(cmd_name) if cmd_name in kinds.names() else None


command = _Serve(
    "serve", help="Put a device on a vfio-user socket, for QEMU or any other client.", no_args_is_help=True
)
