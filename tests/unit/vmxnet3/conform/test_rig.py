"""The rig: what a target cannot do, which versions it has, and whose duty a test answers for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.conform.inside import ModelBench, ModelTarget
from vmxnet3.conform.rig import Can, Rig, build, frame
from vmxnet3.conform.target import need_for
from vmxnet3.driver import DeviceBroke

SEEN = DeviceBroke("VMX-V-041", "it hums")


class Poor:
    """A bench whose targets can do nothing but be driven."""

    name = "poor"

    @contextmanager
    def connect(self, net: Queue, **options: Any) -> Iterator[ModelTarget]:
        with ModelBench().connect(net, **options) as target:
            target.can = frozenset()
            yield target


USES: dict[str, Callable[[Rig], object]] = {
    "carry frames": lambda rig: rig.feed(frame()),
    "take frames": lambda rig: rig.sent(0),
    "link": lambda rig: rig.set_link(False),
    "rules": Rig.broken,
    "unplug": Rig.unplug,
    "page 0": Rig.page_0,
    "hold": lambda rig: rig.need(Can.HOLD),
}


@pytest.mark.parametrize("what", USES)
def test_what_a_target_cannot_do_ends_the_test(what: str) -> None:
    with build(Poor(), Queue()) as rig, pytest.raises(pytest.skip.Exception, match="this target cannot "):
        USES[what](rig)
    with build(ModelBench(), Queue()) as rich:
        USES[what](rich)


def test_speed_is_more_than_the_link() -> None:
    with build(Poor(), Queue()) as rig:
        assert isinstance(rig.target, ModelTarget)
        rig.target.can = frozenset({Can.LINK})
        rig.set_link(False)
        with pytest.raises(pytest.skip.Exception, match="link speed"):
            rig.set_link(True, 100)


def test_rules_nobody_tells_count_as_kept() -> None:
    with build(Poor(), Queue()) as poor, build(ModelBench(), Queue()) as rich:
        for rig in (poor, rich):
            rig.port.write(wire.BAR_VD, wire.REG_VRRS, 3)  # VMX-D-003: two versions at once

        assert poor.kept("VMX-D-003")
        assert not rich.kept("VMX-D-003")
        assert rich.kept("VMX-D-010")


def test_network_that_behaves_as_asked() -> None:
    need_for(Queue(), frozenset())
    need_for(Queue(waits=False, room=0), frozenset({Can.DROP, Can.FULL}))
    with pytest.raises(pytest.skip.Exception, match="drop a frame"):
        need_for(Queue(waits=False), frozenset({Can.FULL}))
    with pytest.raises(pytest.skip.Exception, match="refuse frames"):
        need_for(Queue(room=0), frozenset({Can.DROP}))


def test_versions_the_device_has_not() -> None:
    with build(ModelBench(options={"version": 3}), Queue()) as rig:
        assert rig.offered() == 3
        assert rig.driver(version=3).version == 3
        with pytest.raises(pytest.skip.Exception, match="needs device version 4"):
            rig.driver(version=4)


def test_a_test_answers_for_its_own_rules() -> None:
    with (
        pytest.raises(DeviceBroke, match="VMX-V-041: it hums"),
        build(ModelBench(), Queue(), judged=frozenset({"VMX-V-041"})) as rig,
    ):
        rig.driver().complaints.append(SEEN)


def test_other_rules_are_noted_beside_it() -> None:
    others: list[DeviceBroke] = []

    with build(ModelBench(), Queue(), judged=frozenset({"VMX-V-042"}), others=others) as rig:
        rig.driver().complaints.append(SEEN)

    assert others == [SEEN]


def test_without_a_judge_every_driver_is_strict() -> None:
    with build(ModelBench(), Queue()) as rig:
        assert rig.blank().strict
        assert not rig.blank(strict=False).strict
    with build(ModelBench(), Queue(), judged=frozenset()) as rig:
        assert not rig.blank().strict
