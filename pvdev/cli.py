"""The command line: `pvdev COMMAND`. A thin root; each command stands in a module of its own, loaded when used."""

import sys
from importlib import import_module

import click

from pvdev import __version__
from pvdev.errors import PvdevError

COMMANDS = {  # name -> (where, what `pvdev --help` says)
    "replay": ("pvdev.commands.replay", "play a recording, packets or disk requests, through an emulated device"),
    "serve": ("pvdev.commands.serve", "put a device on a vfio-user socket, for QEMU or any other client"),
    "boot": ("pvdev.commands.boot", "start QEMU with a guest and devices of ours"),
    "conform": ("pvdev.commands.conform", "judge a device: ours, QEMU's or anybody's, by what it owes its driver"),
    "tools": ("pvdev.commands.tools", "be the host of unmodified guest tools"),
    "console": ("pvdev.commands.console", "look at a display while it is served: screenshots, VNC, the browser"),
    "control": ("pvdev.commands.control", "ask or change a device while it is served"),
    "doctor": ("pvdev.commands.doctor", "what this machine can do, and how to add what is missing"),
}


class _Lazy(click.Group):
    """Imports a command's module only when that command is named, so that `pvdev --help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pvdev")
def root() -> None:
    """Userspace emulation of VMware's paravirtual devices.

    Exit codes: 0 fine, 1 the thing tested failed, 2 the command was wrong or the machine lacks something,
    130 interrupted.
    """


def main(args: list[str] | None = None) -> None:
    """Run `pvdev`; never returns. A mistake of the user's is one line on standard error."""
    try:
        code = root.main(args, prog_name="pvdev", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except PvdevError as error:
        print(f"pvdev: {error}", file=sys.stderr)
        code = 2
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; nothing to say to anybody
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
