"""The suite on the command line: its options, and the targets it can reach."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from pvdev.errors import ConfigError
from pvdev.kinds import Suite

if TYPE_CHECKING:
    from pvscsi.conform.target import Bench

TARGETS = (
    "local (our model), vfio-user:PATH (the adapter a server has there; its disk at place 0 is overwritten), "
    "qemu (QEMU's own, by its qtest protocol)"
)
RACE = 100_000


def open_target(text: str, values: Mapping[str, Any]) -> "Sequence[Bench]":
    """What `--target` names. Raises `ConfigError`."""
    kind, _, argument = text.partition(":")
    if kind not in ("local", "vfio-user", "qemu") or bool(argument) != (kind == "vfio-user"):
        raise ConfigError(f"--target {text}: give local, vfio-user:PATH or qemu")
    if values["qemu"] is not None and kind != "qemu":
        raise ConfigError(f"--qemu is not for --target {text}")
    race = values["race"]
    if kind == "local":
        from pvscsi.conform.inside import ModelBench

        return [ModelBench(race=race)]
    if kind == "qemu":
        from pvscsi.conform.qemu import QemuBench

        return [QemuBench(values["qemu"], race=race)]
    from pvscsi.conform.outside import ServerBench

    return [ServerBench(argument, race=race)]


SUITE = Suite(
    package="pvscsi.conform",
    targets=TARGETS,
    params=(
        click.Option(
            ["--race"],
            type=click.IntRange(min=1),
            default=RACE,
            show_default=True,
            help="requests of the race between producer and consumer; 1000000 is what PVS-V-095 asks for",
        ),
        click.Option(["--qemu"], help="qemu: how to start it  [default: as for guests, see pvdev doctor]"),
    ),
    open=open_target,
)
