"""`pvdev conform` as a user types it: from another folder, against our model and against a served device."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pvdev.transport.vfio_user import Server
from pvscsi.conform.inside import make_target
from pvscsi.conform.target import DISK
from pvscsi.device import Pvscsi
from svga.device import Svga
from vmxnet3.conform.target import MAC
from vmxnet3.device import Vmxnet3
from vmxnet3.ports.host import open_port

RULES = ("VMX-V-005", "VMX-V-021", "VMX-V-041", "VMX-V-069")
CHOICE = [word for rule in RULES for word in ("--rule", rule)]
ADAPTER_RULES = ("PVS-V-001", "PVS-V-024", "PVS-V-097", "PVS-V-119", "PVS-V-141")
ADAPTER_CHOICE = [word for rule in ADAPTER_RULES for word in ("--rule", rule)]
DISPLAY_RULES = ("SVG-V-005", "SVG-V-027", "SVG-V-048", "SVG-V-054")
DISPLAY_CHOICE = [word for rule in DISPLAY_RULES for word in ("--rule", rule)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[list[str]]:
    """A device behind a server and a cable: the words that name it."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    with open_port(f"dgram:{theirs},peer={ours}") as network:
        server = Server()
        server.add(Vmxnet3(network, mac=MAC), tmp_path / "nic", watch=[network])
        with server.background():
            yield ["--target", f"vfio-user:{tmp_path / 'nic'}", "--wire", f"dgram:{ours},peer={theirs}"]


@pytest.fixture
def served_adapter(tmp_path: Path) -> Iterator[list[str]]:
    """An adapter with a disk behind a server: the words that name it."""
    server = Server()
    server.add(Pvscsi({0: make_target(0, DISK)}), tmp_path / "hba")
    with server.background():
        yield ["--target", f"vfio-user:{tmp_path / 'hba'}"]


@pytest.fixture
def served_display(tmp_path: Path) -> Iterator[list[str]]:
    """A display behind a server: the words that name it."""
    server = Server()
    server.add(Svga("screen-targets"), tmp_path / "display")
    with server.background():
        yield ["--target", f"vfio-user:{tmp_path / 'display'}"]


def conform(folder: Path, *words: str, device: str = "vmxnet3") -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    command = [sys.executable, "-m", "pvdev.cli", "conform", device, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def outcomes(out: str) -> dict[str, dict[str, str]]:
    """Rule -> case without its parameters -> outcome."""
    report: dict[str, Any] = json.loads(out)
    return {
        rule["rule"]: {case["case"].partition("[")[0]: case["outcome"] for case in rule["cases"]}
        for rule in report["rules"]
    }


def test_our_model_keeps_them(tmp_path: Path) -> None:
    code, out, err = conform(tmp_path, *CHOICE, "--json")

    assert (code, err) == (0, "")
    assert list(outcomes(out)) == list(RULES)
    assert {case for cases in outcomes(out).values() for case in cases.values()} == {"passed"}


@pytest.mark.slow
def test_a_served_device_with_its_cable(tmp_path: Path, served: list[str]) -> None:
    code, out, _ = conform(tmp_path, *served, *CHOICE, "--junit", "report.xml", "--json")

    found = outcomes(out)
    assert code == 0
    assert found["VMX-V-021"] == {"test_VMX_V_021_single_descriptor": "passed"}
    assert found["VMX-V-041"]["test_VMX_V_041_sizes"] == "passed"
    assert found["VMX-V-069"]["test_VMX_V_069_link_change"] == "not applicable"
    assert 'value="VMX-V-021"' in (tmp_path / "report.xml").read_text()


@pytest.mark.slow
def test_a_served_device_without_a_cable(tmp_path: Path, served: list[str]) -> None:
    code, out, _ = conform(tmp_path, *served[:2], "--rule", "VMX-V-003", "--rule", "VMX-V-021")

    assert code == 0
    assert "not applicable, 1: this target cannot carry frames (give --wire)" in out
    assert " 0 failed, " in out
    assert "\n0 passed, " not in out


def test_our_adapter_keeps_them(tmp_path: Path) -> None:
    code, out, err = conform(tmp_path, *ADAPTER_CHOICE, "--json", "--ktap", "report.ktap", device="pvscsi")

    assert (code, err) == (0, "")
    assert list(outcomes(out)) == list(ADAPTER_RULES)
    assert {case for cases in outcomes(out).values() for case in cases.values()} == {"passed"}
    assert " PVS-V-024 test_PVS_V_024_sizes_are_told[local" in (tmp_path / "report.ktap").read_text()


@pytest.mark.slow
def test_a_served_adapter(tmp_path: Path, served_adapter: list[str]) -> None:
    code, out, _ = conform(
        tmp_path, *served_adapter, *ADAPTER_CHOICE, "--junit", "report.xml", "--json", device="pvscsi"
    )

    found = outcomes(out)
    assert code == 0
    assert found["PVS-V-024"] == {"test_PVS_V_024_sizes_are_told": "passed"}
    assert found["PVS-V-119"]["test_PVS_V_119_far_up"] == "not applicable"
    assert set(found["PVS-V-097"].values()) == {"not applicable"}
    assert 'value="PVS-V-119"' in (tmp_path / "report.xml").read_text()


def test_a_race_as_long_as_one_likes(tmp_path: Path) -> None:
    code, out, _ = conform(tmp_path, "--rule", "PVS-V-095", "--race", "200", device="pvscsi")

    assert code == 0
    assert out.endswith("1 passed, 0 failed, 0 not applicable\n")


def test_our_display_keeps_them(tmp_path: Path) -> None:
    """On both fronts, with every profile that has what a test needs."""
    code, out, err = conform(tmp_path, *DISPLAY_CHOICE, "--ktap", "report.ktap", "--json", device="svga")

    found = outcomes(out)
    assert (code, err) == (0, "")
    assert list(found) == list(DISPLAY_RULES)
    assert {case for cases in found.values() for case in cases.values()} == {"passed"}
    text = (tmp_path / "report.ktap").read_text()
    assert " SVG-V-054 test_SVG_V_054_a_flip_shows_the_other_surface[local-svga3-screen-targets]" in text


def test_a_served_display(tmp_path: Path, served_display: list[str]) -> None:
    code, out, _ = conform(tmp_path, *served_display, *DISPLAY_CHOICE, "--json", device="svga")

    found = outcomes(out)
    assert code == 0
    assert set(found["SVG-V-005"].values()) == {"not applicable"}
    assert found["SVG-V-048"]["test_SVG_V_048_an_error_says_where"] == "passed"
    assert found["SVG-V-054"]["test_SVG_V_054_a_flip_shows_the_other_surface"] == "not applicable"


@pytest.mark.parametrize("device", ["vmxnet3", "pvscsi", "svga"])
def test_a_mistake_is_one_line(tmp_path: Path, device: str) -> None:
    code, out, err = conform(tmp_path, "--target", "vfio-user:nowhere", device=device)

    assert (code, out) == (2, "")
    assert err.startswith("pvdev: no vfio-user device at nowhere: ")
    assert err.count("\n") == 1
