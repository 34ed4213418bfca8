"""Fixtures: a display under test and a driver's port to it, on every bench: ours, or those the command names.

A test, or one of its parameters, names what it needs (`needs(Cap.RECT_COPY)`). Benches that can have any display get
the test for each one that has it; a target that is what it is gets the test once, and it is not applicable there if
something is missing.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pvdev.suite import BENCHES
from svga.conform.inside import OURS
from svga.conform.relay import RelayBench
from svga.conform.rig import MakeRig, Rig, build
from svga.conform.target import Bench, Can, Display, Need, need


def _needs(item: pytest.Item) -> tuple[Need, ...]:
    return tuple(each for mark in item.iter_markers("needs") for each in mark.args)


def _chosen(bench: Bench, display: Display, wanted: Iterable[Need]) -> bool:
    """Whether a test with these needs is made there."""
    return not bench.chooses or all(
        each in bench.can if isinstance(each, Can) else display.has(each) for each in wanted
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" not in metafunc.fixturenames:
        return
    wanted = _needs(metafunc.definition)
    places = [
        (bench, display)
        for bench in metafunc.config.stash.get(BENCHES, (*OURS, RelayBench()))
        for display in bench.displays
        if _chosen(bench, display, wanted)
    ]
    names = ["-".join(filter(None, (bench.name, display.name))) for bench, display in places]
    metafunc.parametrize("place", places, ids=names)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What parameters need is known only now. The items are all there are, of other suites too."""
    items[:] = [item for item in items if _made(item)]


def _made(item: pytest.Item) -> bool:
    place = getattr(getattr(item, "callspec", None), "params", {}).get("place")
    if not (isinstance(place, tuple) and len(place) == 2 and isinstance(place[1], Display)):
        return True
    return _chosen(place[0], place[1], _needs(item))


@pytest.fixture
def make_rig(place: tuple[Bench, Display], request: pytest.FixtureRequest) -> Iterator[MakeRig]:
    """Makes rigs: `make_rig(**device_options)`."""
    bench, display = place
    need(display, bench.can, *_needs(request.node))
    with ExitStack() as stack:

        def make(**options: Any) -> Rig:
            if options:
                need(display, bench.can, Can.OPTIONS)
            return stack.enter_context(build(bench, display, **options))

        yield make


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A fresh display nobody has touched."""
    return make_rig()
