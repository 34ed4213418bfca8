from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import click
import pytest

from pvdev import kinds
from pvdev.errors import ConfigError
from pvdev.kinds import Built, Kind
from vmxnet3.device import Vmxnet3


def values_of(kind: Kind, *words: str) -> dict[str, Any]:
    """The values of a kind's options on this command line."""
    return click.Command(kind.name, params=list(kind.params)).make_context(kind.name, list(words)).params


def test_installed_kinds_are_found_by_name() -> None:
    kind = kinds.load("vmxnet3")

    assert "vmxnet3" in kinds.names()
    assert isinstance(kind, Kind)
    assert kind.name == "vmxnet3"


def test_an_unknown_kind_is_named_beside_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no device is called 'vmxnet4'; there is .*vmxnet3"):
        kinds.load("vmxnet4")


def test_names_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(EntryPoint(name, "nowhere:KIND", kinds.GROUP) for name in ("zeta", "alpha"))
    monkeypatch.setattr(kinds, "entry_points", lambda **select: points)

    assert kinds.names() == ["alpha", "zeta"]


def test_a_kind_builds_its_device_from_its_options() -> None:
    kind = kinds.load("vmxnet3")

    built = kind.build(values_of(kind, "--mac", "02:00:00:00:00:07", "--port", "null"))

    assert isinstance(built, Built)
    with built.owns:
        assert isinstance(built.device, Vmxnet3)
        assert built.device.mac == bytes.fromhex("020000000007")
        assert built.watch == ()
        assert built.faults() is None


@pytest.mark.parametrize("mac", ["", "02:00:00:00:00", "03:00:00:00:00:01", "zz:00:00:00:00:01"])
def test_an_address_that_is_none_is_one_clear_line(mac: str) -> None:
    kind = kinds.load("vmxnet3")
    values = values_of(kind, "--mac", mac)

    with pytest.raises(ConfigError, match="no unicast MAC address"):
        kind.build(values)
