"""The suite on the command line: its options, and the targets it can reach."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from pvdev.errors import ConfigError
from pvdev.kinds import Suite
from vmxnet3.device import VERSIONS

if TYPE_CHECKING:
    from vmxnet3.conform.target import Bench

TARGETS = "local (our model), vfio-user:PATH (the device a server has there), qemu (QEMU's own, by its qtest protocol)"


def open_target(text: str, values: Mapping[str, Any]) -> "Sequence[Bench]":
    """What `--target` names. Raises `ConfigError`."""
    kind, _, argument = text.partition(":")
    taken = {"local": ("version",), "vfio-user": ("cable",), "qemu": ("qemu",)}.get(kind)
    if taken is None or bool(argument) != (kind == "vfio-user"):
        raise ConfigError(f"--target {text}: give local, vfio-user:PATH or qemu")
    for name, option in (("version", "--version"), ("cable", "--wire"), ("qemu", "--qemu")):
        if values.get(name) is not None and name not in taken:
            raise ConfigError(f"{option} is not for --target {text}")
    if kind == "local":
        from vmxnet3.conform.inside import ModelBench

        return [ModelBench(options={} if values["version"] is None else {"version": values["version"]})]
    if kind == "qemu":
        from vmxnet3.conform.qemu import QemuBench

        return [QemuBench(values["qemu"])]
    from vmxnet3.conform.outside import ServerBench

    return [ServerBench(argument, values["cable"])]


SUITE = Suite(
    package="vmxnet3.conform",
    targets=TARGETS,
    params=(
        click.Option(
            ["--version"], type=click.IntRange(1, VERSIONS), help="local: highest device version offered [default: all]"
        ),
        click.Option(
            ["--wire", "cable"],
            help="vfio-user: the suite's end of the device's cable, e.g. dgram:OURS,peer=THEIRS; without it only tests "
            "that move no frames are made",
        ),
        click.Option(["--qemu"], help="qemu: how to start it  [default: as for guests, see pvdev doctor]"),
    ),
    open=open_target,
    needs=("scapy",),
)
