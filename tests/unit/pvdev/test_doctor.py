"""`pvdev doctor` on machines that have, and lack, what ports need."""

import importlib.util
import json
import shutil
import tomllib
from pathlib import Path

import pytest

from pvdev import cli
from pvdev.commands import doctor


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", *words])
    assert ended.value.code == 0


def test_every_finding_is_printed_and_what_is_missing_has_a_mend(capsys: pytest.CaptureFixture[str]) -> None:
    run("--json")

    found = json.loads(capsys.readouterr().out)
    assert found.keys() >= doctor.CHECKS.keys()  # and what packages announce
    assert [
        name for name, facts in found.items() if not facts["found"] or (not facts["ok"] and not facts["mend"])
    ] == []


@pytest.mark.parametrize(("name", "mend"), [("passt", "apt install passt"), ("nft", "apt install nftables")])
def test_a_program_that_is_missing(name: str, mend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    ok, _, says = doctor.CHECKS[name]()
    assert (ok, says) == (False, mend)

    monkeypatch.setattr(shutil, "which", lambda program: f"/bin/{program}")
    assert doctor.CHECKS[name]() == (True, f"/bin/{name}", "")


@pytest.mark.parametrize("name", doctor.EXTRAS)
def test_an_extra_that_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check, modules = doctor.CHECKS[f"pvdev[{name}]"], doctor.EXTRAS[name]
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == modules[0] else module)
    assert check() == (False, f"no {modules[0]}", f"pip install 'pvdev[{name}]'")

    monkeypatch.setattr(importlib.util, "find_spec", lambda module: module)
    assert check() == (True, ", ".join(modules), "")


def test_the_extras_are_those_of_the_project() -> None:
    """As many modules of each as it has requirements; the console's are told by the console."""
    text = (Path(doctor.__file__).parents[2] / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]

    assert {name: len(wanted) for name, wanted in extras.items() if name not in ("dev", "console")} == {
        name: len(modules) for name, modules in doctor.EXTRAS.items()
    }


@pytest.mark.parametrize("name", ["TAP", "packet sockets"])
def test_without_the_capability(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "_capable", lambda capability: False)
    assert not doctor.CHECKS[name]()[0]

    run()

    assert f"missing {name}: no " in capsys.readouterr().out
