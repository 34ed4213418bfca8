"""Fixtures: a device and a driver's port to it, on every transport."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pvdev.device import Port
from tests.pair.rig import TRANSPORTS, MakeRig, Rig, build
from vmxnet3.backend import Queue


@pytest.fixture(params=TRANSPORTS)
def make_rig(request: pytest.FixtureRequest) -> Iterator[MakeRig]:
    """Makes rigs on this transport: `make_rig(net=Queue(...), **device_options)`."""
    with ExitStack() as stack:

        def make(net: Queue | None = None, **options: Any) -> Rig:
            return stack.enter_context(build(request.param, net if net is not None else Queue(), **options))

        yield make


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A fresh device: powered, not yet probed."""
    return make_rig()


@pytest.fixture
def port(rig: Rig) -> Port:
    """The driver's side of a fresh device."""
    return rig.port
