"""`--target` and the options beside it: what opens, and the line for what does not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pvdev.errors import ConfigError
from pvdev.transport.vfio_user import RUNG, Server
from pvscsi.conform.inside import ModelBench, make_target
from pvscsi.conform.outside import ServerBench
from pvscsi.conform.suite import RACE, open_target
from pvscsi.conform.target import CD, DISK, Drive
from pvscsi.device import Pvscsi

NONE: dict[str, Any] = {"race": RACE, "qemu": None}


def test_local() -> None:
    assert open_target("local", NONE) == [ModelBench(race=RACE)]
    assert open_target("local", {**NONE, "race": 7}) == [ModelBench(race=7)]


@pytest.mark.parametrize("text", ["", "there", "local:x", "qemu:x", "vfio-user", "vfio-user:"])
def test_no_such_target(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--target {text}: give local, vfio-user:PATH or qemu"):
        open_target(text, NONE)


@pytest.mark.parametrize("text", ["local", "vfio-user:x"])
def test_an_option_of_another_target(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--qemu is not for --target {text}"):
        open_target(text, {**NONE, "qemu": "1"})


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no vfio-user device at .*hba"):
        open_target(f"vfio-user:{tmp_path / 'hba'}", NONE)


@pytest.mark.parametrize(
    ("drives", "words"),
    [
        ({}, "no disk at place 0"),
        ({0: CD}, "no disk at place 0"),
        ({0: Drive(size=1 << 20)}, "has 2048 blocks of 512 bytes; the suite needs 8 MiB in ones of 512"),
        ({0: Drive(block=4096)}, "has 2048 blocks of 4096 bytes; the suite needs 8 MiB in ones of 512"),
    ],
    ids=["none", "CD", "small", "large blocks"],
)
def test_a_disk_that_will_not_do(tmp_path: Path, drives: Mapping[int, Drive], words: str) -> None:
    server = Server(polling=RUNG)
    server.add(Pvscsi({number: make_target(number, drive) for number, drive in drives.items()}), tmp_path / "hba")

    with server.background(), pytest.raises(ConfigError, match=words):
        ServerBench(str(tmp_path / "hba"), race=1)


def test_a_disk_that_will_do(tmp_path: Path) -> None:
    server = Server(polling=RUNG)
    server.add(Pvscsi({0: make_target(0, DISK)}), tmp_path / "hba")

    with server.background():
        assert ServerBench(str(tmp_path / "hba"), race=9).race == 9


def test_no_such_qemu() -> None:
    with pytest.raises(ConfigError, match=r"/no/such/qemu is no qemu-system-x86_64 that runs here"):
        open_target("qemu", {**NONE, "qemu": "/no/such/qemu"})
