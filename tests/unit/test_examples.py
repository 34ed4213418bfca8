"""Every example runs and says what it promises."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_broken_driver_names_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "broken_driver.py"), run_name="__main__")

    out = capsys.readouterr().out
    assert "2 frames on the wire, 1 completion" in out
    assert "VMX-D-038 [advice] tx queue 0 descriptor 1" in out
