"""Fixtures: a device under test and a driver's port to it, on every bench: ours, or those the command names."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pvdev.device import Port
from pvdev.suite import ALSO, BENCHES, rules_of
from vmxnet3.backend import Queue
from vmxnet3.conform.inside import OURS
from vmxnet3.conform.rig import MakeRig, Rig, build
from vmxnet3.conform.target import Bench
from vmxnet3.driver import DeviceBroke


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "bench" in metafunc.fixturenames:
        benches = metafunc.config.stash.get(BENCHES, OURS)
        metafunc.parametrize("bench", benches, ids=[bench.name for bench in benches])


@pytest.fixture
def make_rig(bench: Bench, request: pytest.FixtureRequest) -> Iterator[MakeRig]:
    """Makes rigs: `make_rig(net=Queue(...), **device_options)`. `needs_version(n)` is seen to here.

    Under `pvdev conform` a test answers for the rules it names; what else the drivers saw broken is noted beside it.
    """
    mark = request.node.get_closest_marker("needs_version")
    judged = frozenset(rules_of(request.node)) if BENCHES in request.config.stash else None
    others: list[DeviceBroke] = []
    with ExitStack() as stack:

        def make(net: Queue | None = None, **options: Any) -> Rig:
            cable = net if net is not None else Queue()
            rig = stack.enter_context(build(bench, cable, judged=judged, others=others, **options))
            if mark is not None:
                rig.need_version(mark.args[0])
            return rig

        yield make
    request.node.user_properties += dict.fromkeys((ALSO, f"{seen.rule}: {seen.what}") for seen in others)


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A fresh device: powered, not yet probed."""
    return make_rig()


@pytest.fixture
def port(rig: Rig) -> Port:
    """The driver's side of a fresh device."""
    return rig.port
