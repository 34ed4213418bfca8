"""`pvdev boot`: what QEMU is told of accelerators, of the device that is shown, and of its pointer and keys."""

import shlex
from pathlib import Path

import pytest

from pvdev.commands import boot
from pvdev.commands.boot import accelerators, with_screen
from pvdev.errors import ConfigError

MONITOR = Path("/run/a b/qmp")


def test_without_a_display_nothing_changes() -> None:
    assert with_screen(["vmxnet3 --port null"], [], MONITOR) == (["vmxnet3 --port null"], [])


def test_a_display_is_added_where_there_is_none() -> None:
    devices, words = with_screen(["vmxnet3"], ["web:127.0.0.1:0", "png:a b"], MONITOR)

    assert devices[0] == "vmxnet3"
    assert shlex.split(devices[1]) == [
        *("svga", "--display", "web:127.0.0.1:0", "--display", "png:a b", "--hands", "qmp:/run/a b/qmp")
    ]
    assert words[:2] == ["-qmp", "unix:/run/a b/qmp,server=on,wait=off"]
    assert words[2:] == [
        *("-device", "qemu-xhci,id=pvdev-usb"),
        *("-device", "usb-tablet,bus=pvdev-usb.0", "-device", "usb-kbd,bus=pvdev-usb.0"),
    ]


@pytest.mark.parametrize("before", [[], ["pvscsi"]])
def test_the_first_screen_there_is_is_shown(before: list[str]) -> None:
    devices, _ = with_screen([*before, "svga --monitors 2", "svga"], ["rfb"], MONITOR)

    assert len(devices) == len(before) + 2
    assert shlex.split(devices[len(before)])[:5] == ["svga", "--monitors", "2", "--display", "rfb"]
    assert devices[-1] == "svga"


@pytest.mark.parametrize(
    ("wanted", "given", "words"),
    [
        ("tcg", {}, ["-accel", "tcg,thread=single"]),
        ("tcg,thread=multi", {}, ["-accel", "tcg,thread=multi"]),
        ("kvm:tcg", {}, ["-accel", "kvm", "-accel", "tcg,thread=single"]),
        (None, {"tools": True}, ["-accel", "tcg,thread=single"]),
        ("tcg,thread=multi", {"tools": True}, ["-accel", "tcg,thread=multi"]),
    ],
)
def test_accelerators(wanted: str | None, given: dict[str, bool], words: list[str]) -> None:
    assert accelerators(wanted, given) == words


@pytest.mark.parametrize(("usable", "names"), [(True, ["kvm", "tcg,thread=single"]), (False, ["tcg,thread=single"])])
def test_accelerators_by_default(monkeypatch: pytest.MonkeyPatch, usable: bool, names: list[str]) -> None:
    monkeypatch.setattr(boot, "kvm_usable", lambda: usable)

    assert accelerators(None, {})[1::2] == names


def test_an_accelerator_the_tools_cannot_have() -> None:
    with pytest.raises(ConfigError, match="--tools works with --accel tcg only, not with kvm:tcg"):
        accelerators("kvm:tcg", {"tools": True})
