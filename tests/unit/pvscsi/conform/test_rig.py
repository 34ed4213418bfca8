"""The rig: what a target cannot do, and whose duty a test answers for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pvscsi.conform.inside import ModelBench, ModelTarget
from pvscsi.conform.rig import DISK, Can, Drive, Rig, build, pattern, told
from pvscsi.conform.target import Drives, Reached, need_for
from pvscsi.driver import DeviceBroke, cdb

SEEN = DeviceBroke("PVS-V-061", "it hums")
EVERYTHING = Drive(held=True, volatile=True, full=True, luns=2)


class Poor:
    """A bench whose targets can do nothing but be driven."""

    name, race = "poor", 1

    @contextmanager
    def connect(self, drives: Drives | None, **options: Any) -> Iterator[ModelTarget]:
        with ModelBench().connect(drives, **options) as target:
            target.can = frozenset()
            yield target


USES: dict[str, Callable[[Rig], object]] = {
    "rules": Rig.broken,
    "keep its commands": lambda rig: rig.held(rig.disk()),
    "plugged": lambda rig: rig.need(Can.PLUG),
}


@pytest.mark.parametrize("what", USES)
def test_what_a_target_cannot_do_ends_the_test(what: str) -> None:
    with build(Poor()) as rig, pytest.raises(pytest.skip.Exception, match="this target cannot .*" + what):
        USES[what](rig)


@pytest.mark.parametrize("what", ["plug", "unplug", "hold", "resize", "load", "power_cut"])
def test_a_target_reached_from_outside_can_do_none_of_it(what: str) -> None:
    arguments = {"unplug": (0,), "power_cut": (0,)}.get(what, (0, DISK))

    with pytest.raises(pytest.skip.Exception, match="this target cannot "):
        getattr(Reached(), what)(*arguments)


@pytest.mark.parametrize(
    ("drive", "wanted"),
    [
        (DISK, set()),
        (Drive(held=True), {Can.HOLD}),
        (Drive(bad=((0, 512),)), {Can.ERRORS}),
        (Drive(full=True), {Can.ERRORS}),
        (Drive(volatile=True), {Can.CUT}),
        (Drive(luns=2), {Can.LUNS}),
    ],
    ids=str,
)
def test_what_a_drive_needs(drive: Drive, wanted: set[Can]) -> None:
    assert drive.needs == wanted


@pytest.mark.parametrize("missing", sorted(EVERYTHING.needs, key=str))
def test_a_drive_that_cannot_be_had(missing: Can) -> None:
    need_for([DISK, EVERYTHING], EVERYTHING.needs)
    with pytest.raises(pytest.skip.Exception, match=missing.value):
        need_for([DISK, EVERYTHING], EVERYTHING.needs - {missing})


def test_a_test_answers_for_its_own_rules() -> None:
    with (
        pytest.raises(DeviceBroke, match="PVS-V-061: it hums"),
        build(ModelBench(), judged=frozenset({"PVS-V-061"})) as rig,
    ):
        rig.driver().complaints.append(SEEN)


def test_other_rules_are_noted_beside_it() -> None:
    others: list[DeviceBroke] = []

    with build(ModelBench(), judged=frozenset({"PVS-V-062"}), others=others) as rig:
        rig.driver().complaints.append(SEEN)

    assert others == [SEEN]


def test_without_a_judge_every_driver_is_strict() -> None:
    with build(ModelBench()) as rig:
        assert rig.blank().strict
        assert not rig.blank(strict=False).strict
    with build(ModelBench(), judged=frozenset()) as rig:
        assert not rig.blank().strict


def test_how_a_command_ended() -> None:
    with build(ModelBench()) as rig:
        disk = rig.disk()
        good, bad = disk.run(cdb.TEST_UNIT_READY), disk.run(cdb.inquiry(36, 1), read=36)
        nobody = disk.driver.run(cdb.TEST_UNIT_READY, target=9)

    assert [told(request) for request in (good, bad, nobody)] == ["status 00", "05/24/00", "SELTIMEO 00"]


def test_a_pattern() -> None:
    blocks = {pattern(512 * 64, seed)[at : at + 512] for seed in range(10) for at in range(0, 512 * 64, 512)}

    assert len(pattern(1001)) == 1001
    assert len(blocks) == 640
