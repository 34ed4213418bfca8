"""`pvdev tools`: what the host side of a guest's tools can do; each part stands in the package that announces it."""

from importlib.metadata import entry_points

import click

GROUP = "pvdev.tools"  # entry points: name -> a click command


class _Tools(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(point.name for point in entry_points(group=GROUP))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for point in entry_points(group=GROUP, name=cmd_name):
            command = point.load()
            assert isinstance(command, click.Command)
            return command
        return None


command = _Tools("tools", help="The host side of a guest's tools, for unmodified programs.", no_args_is_help=True)
