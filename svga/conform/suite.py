"""The suite on the command line: its options, and the targets it can reach."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from pvdev.errors import ConfigError
from pvdev.kinds import Suite

if TYPE_CHECKING:
    from svga.conform.target import Bench

TARGETS = (
    "local (our model, with each front and profile), vfio-user:PATH (the display a server has there), "
    "qemu (QEMU's own, by its qtest protocol)"
)


def open_target(text: str, values: Mapping[str, Any]) -> "Sequence[Bench]":
    """What `--target` names. Raises `ConfigError`."""
    kind, _, argument = text.partition(":")
    if kind not in ("local", "vfio-user", "qemu") or bool(argument) != (kind == "vfio-user"):
        raise ConfigError(f"--target {text}: give local, vfio-user:PATH or qemu")
    if values["qemu"] is not None and kind != "qemu":
        raise ConfigError(f"--qemu is not for --target {text}")
    if kind == "local":
        from svga.conform.inside import ModelBench

        return [ModelBench()]
    if kind == "qemu":
        from svga.conform.qemu import QemuBench

        return [QemuBench(values["qemu"])]
    from svga.conform.outside import ServerBench

    return [ServerBench(argument)]


SUITE = Suite(
    package="svga.conform",
    targets=TARGETS,
    params=(click.Option(["--qemu"], help="qemu: how to start it  [default: as for guests, see pvdev doctor]"),),
    open=open_target,
)
