"""USB pointers on the command line: `pvdev serve svga --usb ... --usbip ...`."""

import socket
import subprocess
import sys
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from pvdev.control import call
from pvdev.errors import ConfigError
from pvdev.rules import RuleLog
from svga.aim import TABLET_TOP, to_unit
from svga.rules import RULES
from svga.served import USB_DEVICES, build, defaults
from svga.usb import physical
from svga.usb.backend import Backend
from svga.usb.personas import PERSONAS
from svga.usb.physical import open_mouse
from svga.usb.served import pointers
from svga.usb.usbip_wire import DEVICE, IN, RET_SUBMIT
from tests.unit.svga.usb.rig import DEVID, bus_of, control, replies, req_import, submit
from tests.unit.svga.usb.test_usbip import take


def test_the_names_are_the_personas() -> None:
    assert list(USB_DEVICES) == list(PERSONAS)


@pytest.mark.parametrize(
    ("values", "mend"),
    [
        ({"usb": ("mouse",)}, "--usbip 127.0.0.1:3240"),
        ({"usbip": "127.0.0.1:0"}, "--usb mouse"),
        ({"usb": ("mouse",), "usbip": "nowhere at all"}, "write it like 127.0.0.1:3240"),
        ({"hand": "any"}, "--usb mouse --usbip 127.0.0.1:3240"),
        ({"usb": ("mouse",), "usbip": "127.0.0.1:0", "hand": "mouse"}, "write it like 046d:c077"),
        ({"usb": ("mouse",) * 9, "usbip": "127.0.0.1:0"}, "unplug one first"),
    ],
)
def test_what_cannot_be_is_one_line(values: dict[str, Any], mend: str) -> None:
    with pytest.raises(ConfigError) as error:
        build({**defaults(), **values})

    assert mend in str(error.value)
    assert "\n" not in str(error.value)


def test_a_client_sees_what_is_done_from_outside() -> None:
    lines: list[str] = []
    with pointers(["tablet"], "127.0.0.1:0", None, RuleLog(RULES), lines.append) as (_, controls):
        port = int(lines[0].split(";")[0].rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), 20.0) as sock:
            sock.sendall(req_import("1-1") + control(1, 0, 9, 1) + submit(2, IN, 1, 6))
            take(sock, 8 + DEVICE.size + RET_SUBMIT.size)
            call("point", controls["point"], ["65535", "32768"], {"buttons": "1"})
            assert replies(take(sock, RET_SUBMIT.size + 6))[0].data == b"\x01\xff\x7f\x00\x40\0"
            call("wheel", controls["wheel"], [-1], {})
            with pytest.raises(ConfigError, match="no guest has a mouse of ours"):
                call("move", controls["move"], [1, 1], {})
            assert call("usb", controls["usb"], [], {}) == [
                {"busid": "1-1", "device": "tablet", "attached": True, "configured": True}
            ]

    assert lines[1] == "  1-1  QEMU USB Tablet (tablet)"


def test_plugged_and_pulled_from_outside() -> None:
    with pointers(["tablet"], "127.0.0.1:0", None, RuleLog(RULES), lambda line: None) as (_, controls):
        assert call("plug", controls["plug"], ["mouse"], {}) == "1-2"
        call("unplug", controls["unplug"], ["1-1"], {})
        with pytest.raises(ConfigError, match="nothing is plugged in at '1-1'"):
            call("unplug", controls["unplug"], ["1-1"], {})
        there = call("usb", controls["usb"], [], {})

    assert there == [{"busid": "1-2", "device": "mouse", "attached": False, "configured": False}]


def test_a_mouse_on_a_desk_moves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, lines = bus_of("mouse"), list[str]()
    monkeypatch.setattr(physical, "open_mouse", lambda name: open_mouse(name, Backend(desk)))
    with pointers(["mouse"], "127.0.0.1:0", "0e0f:0003", RuleLog(RULES), lines.append):
        port = int(lines[1].split(";")[0].rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), 20.0) as sock:
            sock.sendall(req_import("1-1") + control(1, 0, 9, 1) + submit(2, IN, 1, 4))
            take(sock, 8 + DEVICE.size + RET_SUBMIT.size)
            desk.plugs[0].move(5, 6, 1)
            assert replies(take(sock, RET_SUBMIT.size + 4))[0].data == b"\x01\x05\x06\0"
        desk.unplug(desk.plugs[0])

    assert lines[0] == "0e0f:0003 moves them, and nothing else until the end"


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    """It says where, and ends when it is told to."""
    words = ["serve", "svga", "--socket", str(tmp_path / "s"), "--usb", "mouse", "--usb", "tablet"]
    command = [sys.executable, "-m", "pvdev.cli", *words, "--usbip", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(3)]
        process.stdout.readline()
        process.terminate()
        _, rest = process.communicate(timeout=30)

    assert said[0].startswith("USB/IP at 127.0.0.1:")
    assert said[1:] == ["  1-1  VMware Virtual USB Mouse (mouse)\n", "  1-2  QEMU USB Tablet (tablet)\n"]
    assert (process.returncode, rest) == (0, "")


@pytest.mark.slow
def test_a_viewer_s_pointer_and_keys_reach_who_attached_them(capsys: pytest.CaptureFixture[str]) -> None:
    """From RFB at one end to USB/IP at the other."""
    options = {"display": ("rfb:127.0.0.1:0",), "usb": ("tablet", "keyboard"), "usbip": "127.0.0.1:0"}
    built = build({**defaults(), **options})
    said = capsys.readouterr().err
    usbip = int(said.split("USB/IP at 127.0.0.1:")[1].split(";")[0])
    rfb = int(said.split("screen at 127.0.0.1:")[1].split()[0])
    with (
        built.owns,
        socket.create_connection(("127.0.0.1", rfb), 20.0) as viewer,
        socket.create_connection(("127.0.0.1", usbip), 20.0) as tablet,
        socket.create_connection(("127.0.0.1", usbip), 20.0) as keyboard,
    ):
        for sock, busid, devid in ((tablet, "1-1", 0x10002), (keyboard, "1-2", 0x10003)):
            host(sock, busid, devid)
        viewer.sendall(b"RFB 003.008\n\1\1")
        take(viewer, 12 + 2 + 4 + 24)
        viewer.sendall(pack(">BBHH", 5, 1, 639, 0) + pack(">BBxxI", 4, 1, ord("a")))

        place = to_unit(639, 640, TABLET_TOP), to_unit(0, 480, TABLET_TOP)
        assert replies(take(tablet, RET_SUBMIT.size + 6))[0].data == pack("<BHHB", 1, *place, 0)
        assert replies(take(keyboard, RET_SUBMIT.size + 8))[0].data == b"\0\0\x04\0\0\0\0\0"


def host(sock: socket.socket, busid: str, devid: int) -> None:
    """Import that, configure it, and wait for a report."""
    configure = control(1, 0, 9, 1).replace(DEVID.to_bytes(4, "big"), devid.to_bytes(4, "big"), 1)
    sock.sendall(req_import(busid) + configure + submit(2, IN, 1, 8, devid=devid))
    take(sock, 8 + DEVICE.size + RET_SUBMIT.size)
