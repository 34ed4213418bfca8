"""`pvdev boot --display`: which device is shown, and what QEMU is told for its pointer and keys."""

import shlex
from pathlib import Path

import pytest

from pvdev.commands.boot import with_screen

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
