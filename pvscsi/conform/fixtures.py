"""Fixtures: an adapter under test and a driver's port to it, on every bench: ours, or those the command names."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pvdev.suite import ALSO, BENCHES, rules_of
from pvscsi.conform.inside import FEWER, OURS
from pvscsi.conform.rig import MakeRig, Rig, build
from pvscsi.conform.target import Bench, Drive
from pvscsi.driver import DeviceBroke


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "bench" in metafunc.fixturenames:
        ours = FEWER if metafunc.definition.get_closest_marker("unit") else OURS
        benches = metafunc.config.stash.get(BENCHES, ours)
        metafunc.parametrize("bench", benches, ids=[bench.name for bench in benches])


@pytest.fixture
def make_rig(bench: Bench, request: pytest.FixtureRequest) -> Iterator[MakeRig]:
    """Makes rigs: `make_rig({0: Drive(...)}, **device_options)`.

    Under `pvdev conform` a test answers for the rules it names; what else the drivers saw broken is noted beside it.
    """
    judged = frozenset(rules_of(request.node)) if BENCHES in request.config.stash else None
    others: list[DeviceBroke] = []
    with ExitStack() as stack:

        def make(drives: dict[int, Drive] | None = None, **options: Any) -> Rig:
            return stack.enter_context(build(bench, drives, judged=judged, others=others, **options))

        yield make
    request.node.user_properties += dict.fromkeys((ALSO, f"{seen.rule}: {seen.what}") for seen in others)


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A fresh adapter with a disk at place 0: powered, not yet probed."""
    return make_rig()
