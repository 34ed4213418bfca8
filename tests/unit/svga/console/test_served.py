"""The console of a served display, from outside."""

import subprocess
import sys
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from svga.console.served import Screen
from svga.vmmouse import COMMANDS, VmMouse
from tests.unit.svga.console.rfb import FakeHands
from tests.unit.svga.console.rfb import Screen as Shown


def test_nothing_is_there_until_somebody_looks() -> None:
    screen = Screen(Shown(), None, VmMouse())

    assert screen.displays() == {"displays": {}, "viewers": 0}
    assert screen.faults() is None
    screen.close()


def test_it_is_light_until_somebody_looks() -> None:
    told = "import sys, svga.served; print(*({'asyncio', 'numpy', 'PIL', 'qemu'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == []


def test_shown_there_too_and_photographed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(Shown(64, 48), FakeHands(), VmMouse())
    try:
        where = screen.display("rfb:127.0.0.1:0")
        taken = screen.screenshot(str(tmp_path / "shot.png"))
        there = screen.displays()
    finally:
        screen.close()

    assert capsys.readouterr().err == f"screen at {where}\n"
    assert there == {"displays": {"rfb:127.0.0.1:0": where}, "viewers": 0}
    assert taken == {"file": str(tmp_path / "shot.png"), "width": 64, "height": 48}
    assert (tmp_path / "shot.png").stat().st_size > 0


def test_hands_that_are_none_are_said_at_once() -> None:
    with pytest.raises(ConfigError, match="hands"):
        Screen(Shown(), "ps2:1", VmMouse())


def test_a_vmmouse_where_something_can_be_its_bell(tmp_path: Path) -> None:
    assert Screen(Shown(), FakeHands(), VmMouse()).calls == {}
    assert Screen(Shown(), f"qmp:{tmp_path / 'qmp'}", VmMouse()).calls.keys() == COMMANDS
