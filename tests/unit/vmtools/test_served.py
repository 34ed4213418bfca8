"""The host of the tools as commands make it."""

from pathlib import Path
from typing import Any

import pytest

from pvdev.errors import ConfigError
from tests.conformance.vmtools.rig import SECOND
from vmtools.served import build, parse_variables


def values(**changed: Any) -> dict[str, Any]:
    return {"variables": (), "log": None, "keep": None, "scenario": None, **changed}


def test_variables_and_their_file(tmp_path: Path) -> None:
    for _ in range(2):
        served = build(values(variables=("guestinfo.x=y",), keep=str(tmp_path / "kept")))
        served.host.variables["z"] = "1"
        served.close()

    assert '"x": "y"' in (tmp_path / "kept").read_text()
    assert '"z": "1"' in (tmp_path / "kept").read_text()
    assert served.faults() is None


def test_a_scenario_is_told_of_as_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text('start = "boot"\n[[step]]\nheartbeat = "gray"\n[[step]]\nat = "5s"\npower = "reboot"\n')
    served = build(values(scenario=str(path)))
    for second in range(10):
        served.host.tick(second * SECOND)

    assert served.faults() == "scenario failed: power reboot (no such program runs)"
    assert capsys.readouterr().err.splitlines() == [
        "pvdev: scenario: 0.0 s  heartbeat gray: ok, 0.0 s",
        "pvdev: scenario: 5.0 s  power reboot: FAILED: no such program runs, 0.0 s",
    ]
    served.close()


def test_a_scenario_that_was_never_begun(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text("[[step]]\nping = true\n")
    served = build(values(scenario=str(path)))

    assert served.faults() == "scenario failed: ping (not reached)"
    served.close()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"scenario": "/nowhere"}, "--scenario /nowhere: No such file or directory"),
        ({"scenario": __file__}, "scenario: "),
        ({"keep": "/nowhere/x"}, "/nowhere/x: No such file or directory"),
        ({"variables": ("x",)}, "--set 'x'"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(values(**changed))

    assert str(caught.value).startswith(why)
    assert "\n" not in str(caught.value)


def test_words_of_variables() -> None:
    assert parse_variables(["guestinfo.a=1", "b=c=d"]) == {"a": "1", "b": "c=d"}
