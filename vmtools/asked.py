"""`pvdev tools balloon`, `pvdev tools snapshot` and so on: a running host is asked by its control socket.

What each does and waits for is `controls`'; the host is one that `pvdev tools run` or `pvdev boot --tools` was given
`--control` for.
"""

import click

from pvdev.commands.control import carry_out
from pvdev.errors import ConfigError

MARK = "snapshot"  # a control that only a host of the tools has


def host_at(path: str) -> str:
    """The name of the host behind a control socket. Raises `ConfigError`: nobody there, or none, or several."""
    from pvdev.control import ask

    there = ask(path, {"do": "help"})
    hosts = [name for name, controls in there.items() if any(each.split()[0] == MARK for each in controls)]
    if len(hosts) != 1:
        raise ConfigError(f"{path}: {len(hosts)} hosts of the tools there; give the --control of one")
    return str(hosts[0])


def _command(name: str, does: str, arguments: str = "") -> click.Command:
    def run(path: str, words: tuple[str, ...], as_json: bool) -> int:
        carry_out(path, host_at(path), (name, *words), as_json)
        return 0

    return click.Command(
        name,
        params=[
            click.Option(["--json", "as_json"], is_flag=True, help="print the answer as JSON"),
            click.Argument(["path"], metavar="SOCKET"),
            click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, metavar=arguments or "[ARGUMENT]..."),
        ],
        callback=run,
        context_settings={"ignore_unknown_options": True},
        help=does,
    )


status = _command("status", "How the guest at SOCKET (--control) does, in short.")
info = _command("info", "What the guest says of itself: addresses, disks, statistics.")
balloon = _command("balloon", "How much of the guest's memory the host takes: 60%, 256M, 0.", "AMOUNT")
variables = _command("variables", "The names of the guest's variables.")
get = _command("get", "A variable.", "KEY")
put = _command("set", "Set a variable.", "KEY VALUE")
power = _command("power", "Ask the guest to go down, up or to sleep, and wait for its script.", "OPERATION")
snapshot = _command("snapshot", "Freeze the guest's file systems, then thaw them or give it up.", "freeze|thaw|abort")
heartbeat = _command("heartbeat", "Take no notice of the guest's beats for so many seconds.", "SECONDS")
ping = _command("ping", "Have the guest's service answer.")
time = _command("time", "Have the guest set its clock, or keep it in step.", "once|backward|on|off")
resize = _command("resize", "Have the guest give its screen this size.", "WIDTH HEIGHT")
