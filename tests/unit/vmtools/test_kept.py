"""Variables in a file."""

import json
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from vmtools.driver.ports import Ports
from vmtools.driver.rpc import Rpc
from vmtools.host import Host
from vmtools.kept import Kept, read, text_of
from vmtools.variables import Variables

SECOND = 1_000_000_000


def test_from_one_run_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "variables"
    host = Host(variables=Variables({"a": "from the command line"}))
    kept = Kept(path, host)
    Rpc(Ports(host)).call(b"info-set guestinfo.b \xff\xfe binary")
    kept.close()

    again = Host(variables=Variables({"a": "changed"}))
    Kept(path, again)

    assert dict(again.variables.items()) == {"a": b"changed", "b": b"\xff\xfe binary"}
    assert json.loads(path.read_text())["a"] == "changed"


def test_it_is_written_once_a_second_at_most(tmp_path: Path) -> None:
    path, host = tmp_path / "variables", Host()
    Kept(path, host)
    ports = Ports(host)
    rpc, seen = Rpc(ports), []
    for n in range(30):
        rpc.call(f"info-set guestinfo.n {n}")
        host.tick(n * SECOND // 10)
        seen.append(json.loads(path.read_text())["n"])

    assert sorted(set(seen), key=int) == ["0", "10", "20"]


@pytest.mark.parametrize("values", [{}, {"a": b""}, {"k\udcff": b"\x00\xff"}, {"../x": "ü".encode()}, {"n": b"a\nb"}])
def test_there_and_back(tmp_path: Path, values: dict[str, bytes]) -> None:
    path = tmp_path / "variables"
    path.write_text(text_of(values))

    assert read(path) == values


@pytest.mark.parametrize(
    "text", ["{", "[]", '"x"', '{"a": 5}', '{"a": {}}', '{"a": {"base64": "!"}}', '{"a b": "x"}', "[" * 99999]
)
def test_a_file_that_is_another(tmp_path: Path, text: str) -> None:
    path = tmp_path / "variables"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        Kept(path, Host())

    assert str(path) in str(caught.value)
    assert path.read_text() == text


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        Kept(tmp_path / "nowhere" / "variables", Host())


def test_a_disk_that_goes_away_ends_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    host = Host()
    kept = Kept(folder / "variables", host)
    (folder / "variables").unlink()
    folder.rmdir()
    host.variables["a"] = "b"
    host.tick(0)

    assert kept.fault is not None
    assert "No such file" in kept.fault
