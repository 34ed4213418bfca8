"""`pvdev replay`: the device kind that understands the recording does the work."""

import click

from pvdev import kinds


def _command() -> click.Command:
    """The replay command of the first installed kind that has one."""
    for name in kinds.names():
        found = kinds.load(name).replay
        if found is not None:
            return found
    raise click.UsageError("no installed device can replay anything")


command = _command()
