"""The suite on the command line: its options, and the targets it can reach."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pvdev.errors import ConfigError
from pvdev.kinds import Suite

if TYPE_CHECKING:
    from pvscsi.conform.target import Bench

TARGETS = "local (our model), vfio-user:PATH (the adapter a server has there; its disk at place 0 is overwritten)"


def open_target(text: str, values: Mapping[str, Any]) -> "Sequence[Bench]":
    """What `--target` names. Raises `ConfigError`."""
    kind, _, argument = text.partition(":")
    if kind not in ("local", "vfio-user") or bool(argument) != (kind == "vfio-user"):
        raise ConfigError(f"--target {text}: give local or vfio-user:PATH")
    if kind == "local":
        from pvscsi.conform.inside import ModelBench

        return [ModelBench()]
    from pvscsi.conform.outside import ServerBench

    return [ServerBench(argument)]


SUITE = Suite(package="pvscsi.conform", targets=TARGETS, params=(), open=open_target)
