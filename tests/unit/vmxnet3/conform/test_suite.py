"""`--target` and the options beside it: what opens, and the line for what does not."""

from pathlib import Path
from typing import Any

import pytest

from pvdev.errors import ConfigError
from pvdev.transport.vfio_user import RUNG, Server
from vmxnet3.backend import Null
from vmxnet3.conform.inside import ModelBench
from vmxnet3.conform.outside import ServerBench
from vmxnet3.conform.suite import open_target
from vmxnet3.device import Vmxnet3

NONE: dict[str, Any] = {"version": None, "cable": None, "qemu": None}


def test_local() -> None:
    assert open_target("local", {**NONE, "version": 3}) == [ModelBench(options={"version": 3})]
    assert open_target("local", NONE) == [ModelBench()]


@pytest.mark.parametrize("text", ["", "there", "local:x", "qemu:x", "vfio-user", "vfio-user:"])
def test_no_such_target(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--target {text}: give local, vfio-user:PATH or qemu"):
        open_target(text, NONE)


@pytest.mark.parametrize(
    ("text", "name", "option"),
    [
        ("local", "cable", "--wire"),
        ("local", "qemu", "--qemu"),
        ("qemu", "version", "--version"),
        ("vfio-user:x", "qemu", "--qemu"),
    ],
)
def test_an_option_of_another_target(text: str, name: str, option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} is not for --target {text}"):
        open_target(text, {**NONE, name: "1"})


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no vfio-user device at .*nic"):
        open_target(f"vfio-user:{tmp_path / 'nic'}", NONE)


def test_the_suite_has_one_address(tmp_path: Path) -> None:
    server = Server(polling=RUNG)
    server.add(Vmxnet3(Null(), mac=bytes.fromhex("020000000007")), tmp_path / "nic")
    with (
        server.background(),
        pytest.raises(ConfigError, match=r"has the address 02:00:00:00:00:07; the suite needs 02:00:0a:0b:0c:0d"),
    ):
        ServerBench(str(tmp_path / "nic"), None)


def test_no_such_qemu() -> None:
    with pytest.raises(ConfigError, match=r"/no/such/qemu is no qemu-system-x86_64 that runs here"):
        open_target("qemu", {**NONE, "qemu": "/no/such/qemu"})
