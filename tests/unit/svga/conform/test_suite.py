"""`--target` and the option beside it: what opens, and the line for what does not."""

from pathlib import Path
from typing import Any

import pytest

from pvdev.errors import ConfigError
from pvdev.kinds import load
from pvdev.transport.vfio_user import RUNG, Server
from pvscsi.device import Pvscsi
from svga.conform.inside import ModelBench
from svga.conform.outside import ServerBench
from svga.conform.suite import open_target
from svga.device import Svga
from svga.wire import Cap, Cap2, FifoCap

NONE: dict[str, Any] = {"qemu": None}


def test_it_is_announced() -> None:
    suite = load("svga").suite

    assert suite is not None
    assert suite().package == "svga.conform"


def test_local() -> None:
    (bench,) = open_target("local", NONE)

    assert bench == ModelBench()
    assert len(bench.displays) == 7


@pytest.mark.parametrize("text", ["", "there", "local:x", "qemu:x", "vfio-user", "vfio-user:"])
def test_no_such_target(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--target {text}: give local, vfio-user:PATH or qemu"):
        open_target(text, NONE)


@pytest.mark.parametrize("text", ["local", "vfio-user:x"])
def test_an_option_of_another_target(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--qemu is not for --target {text}"):
        open_target(text, {"qemu": "1"})


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no vfio-user device at .*display"):
        open_target(f"vfio-user:{tmp_path / 'display'}", NONE)


def test_another_device(tmp_path: Path) -> None:
    server = Server(polling=RUNG)
    server.add(Pvscsi({}), tmp_path / "hba")

    with server.background(), pytest.raises(ConfigError, match=r"no display of the SVGA family at .*: no display: 0x"):
        ServerBench(str(tmp_path / "hba"))


@pytest.mark.parametrize("front", ["svga2", "svga3"])
def test_a_display_is_asked_what_it_is(tmp_path: Path, front: str) -> None:
    device = Svga("screen-targets", front=front)
    server = Server(polling=RUNG)
    server.add(device, tmp_path / "display")

    with server.background():
        (found,) = ServerBench(str(tmp_path / "display")).displays

    profile = device.profile
    assert (found.name, found.svga3) == ("", front == "svga3")
    assert (found.caps, found.caps2, found.fifo_caps) == (profile.caps, profile.caps2, profile.fifo_caps)
    assert (found.has(Cap.GBOBJECTS), found.has(Cap2.CURSOR_MOB), found.has(FifoCap.FENCE)) == (True, True, True)


def test_no_such_qemu() -> None:
    with pytest.raises(ConfigError, match=r"/no/such/qemu is no qemu-system-x86_64 that runs here"):
        open_target("qemu", {"qemu": "/no/such/qemu"})
