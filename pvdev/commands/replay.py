"""`pvdev replay`: the device kind that knows what the recording is does the work, by a command of its own."""

from collections.abc import Sequence
from inspect import cleandoc
from typing import Any

import click

from pvdev import kinds
from pvdev.errors import ConfigError
from pvdev.kinds import Replay
from pvdev.recordings import PACKED, path_of, read_head


class Dispatch(click.Command):
    """Reads a command line as far as it takes to see whose recordings are given; then it is that kind's command."""

    def __init__(self, replays: Sequence[Replay]) -> None:
        options: dict[str, click.Parameter] = {}
        for option in (param for replay in replays for param in replay.command.params):
            if isinstance(option, click.Option):
                options.setdefault(option.opts[0], _unread(option))
        super().__init__(
            "replay",
            params=[click.Argument(["recordings"], metavar="FILE...", nargs=-1, required=True), *options.values()],
            context_settings={"help_option_names": ["-h", "--help"]},
            help="Play recordings through an emulated device into a driver. What FILE is, it tells by its content; "
            '"-" is standard input.',
        )
        self.replays = replays

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        context = super().make_context(info_name, list(args), parent, **extra)
        files = context.params["recordings"]
        replay = self._one_of([path_of(text) for text in files])
        for param in self.params:
            given = context.get_parameter_source(param.name or "") is click.core.ParameterSource.COMMANDLINE
            if given and isinstance(param, click.Option) and not _takes(replay, param):
                others = " and ".join(other.recordings for other in self.replays if _takes(other, param))
                raise ConfigError(f"{param.opts[0]} is for {others}, and {files[0]} is none of these; leave it out")
        return replay.command.make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return ctx.command.invoke(ctx)  # the command of the kind, by `make_context`

    def _one_of(self, paths: Sequence[str]) -> Replay:
        """Who plays these files. Raises `ConfigError`."""
        found = [self._who(path) for path in paths]
        for path, replay in zip(paths, found, strict=True):
            if replay is not found[0]:
                both = f"{found[0].recordings} and {replay.recordings}"
                raise ConfigError(f"{paths[0]} and {path} do not go together, being {both}; play one after the other")
        return found[0]

    def _who(self, path: str) -> Replay:
        head = read_head(path)
        for replay in self.replays:
            if replay.recognises(head):
                return replay
        what = " and ".join(replay.recordings for replay in self.replays)
        if not head:
            raise ConfigError(f"{path}: empty file; what can be played are {what}")
        if packed := PACKED.get(head[:2]):
            raise ConfigError(f"{path}: packed with {packed} it first")
        raise ConfigError(f"{path}: not a recording (starts with {head[:4].hex(' ')}); what can be played are {what}")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section for each kind, its own text first."""
        for replay in self.replays:
            own = click.Context(replay.command, ctx.parent, ctx.info_name)
            with formatter.section(replay.recordings[0].upper() + replay.recordings[1:]):
                formatter.write_text(cleandoc(replay.command.help or ""))
            with formatter.section(f"Options for {replay.recordings}"):
                options = [param for param in replay.command.params if isinstance(param, click.Option)]
                records = [option.get_help_record(own) for option in options]
                formatter.write_dl([record for record in records if record is not None])


def _unread(option: click.Option) -> click.Option:
    """An option of the same form, whatever its value."""
    names = ["/".join((*option.opts, *option.secondary_opts))] if option.secondary_opts else list(option.opts)
    if option.is_flag:
        return click.Option(names, is_flag=True)
    return click.Option(names, multiple=True, type=click.UNPROCESSED)


def _takes(replay: Replay, option: click.Option) -> bool:
    return any(option.opts[0] in own.opts for own in replay.command.params)


def _replays() -> list[Replay]:
    """Of every installed kind that has one, by name."""
    return [load() for name in kinds.names() if (load := kinds.load(name).replay) is not None]


command = Dispatch(_replays())
