"""The display on the command line."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pvdev.errors import ConfigError
from pvdev.kinds import Built, Screens, load, names
from pvdev.transport.vfio_user import Server
from pvdev.transport.vfio_user_port import VfioUserPort
from svga.device import Svga
from svga.display import Area
from svga.driver.driver import Driver
from svga.served import build, defaults, parse_layout, parse_size
from svga.vmmouse import COMMANDS, Command
from tests.unit.svga.rig import H, W, noise
from tests.unit.svga.test_vmmouse import Call


@pytest.fixture
def built(request: pytest.FixtureRequest) -> Iterator[Built]:
    """What is served; its parameters are options."""
    found = build({**defaults(), **getattr(request, "param", {})})
    with found.owns:
        yield found


def test_it_is_announced() -> None:
    assert "svga" in names()
    assert load("svga").build is build


def test_what_is_served_without_a_word(built: Built) -> None:
    device = built.device
    assert isinstance(device, Svga)
    assert (device.profile.name, device.profile.svga3) == ("screen-targets", True)
    assert device.pci.bars[2].shared is not None
    status: Any = built.controls["status"]()
    assert status["monitors"] == [{"id": 0, "x": 0, "y": 0, "width": 640, "height": 480, "blank": True}]


@pytest.mark.parametrize("built", [{"front": "svga2", "profile": "legacy"}], indirect=True)
def test_svga2_shares_its_fifo(built: Built) -> None:
    bars = built.device.pci.bars

    assert [bars[n].shared is not None for n in (0, 1, 2)] == [False, True, True]
    assert bars[2].size == 2 << 20


@pytest.mark.parametrize(
    "values",
    [
        *({"vram": 48}, {"mode": "1280"}, {"mode": "9000x1"}, {"mode": "0x5"}, {"largest": "x"}, {"profile": "qemu"}),
        *({"mode": "8192x8192", "vram": 64}, {"mode": "1024x768", "largest": "800x600"}),
    ],
)
def test_what_cannot_be_is_one_line(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        build({**defaults(), **values})

    assert "\n" not in str(error.value)


def test_sizes() -> None:
    assert parse_size("1280x800") == (1280, 800)


@pytest.mark.parametrize("built", [{"profile": "legacy", "front": "svga2"}, {}, {"profile": "legacy"}], indirect=True)
def test_the_driver_over_a_socket(built: Built, tmp_path: Path) -> None:
    """The same driver as in process, another process's memory."""
    device = built.device
    assert isinstance(device, Svga)
    server = Server()
    server.add(device, tmp_path / "display")
    with server.background(), closing(VfioUserPort(tmp_path / "display")) as port:
        driver = Driver(port).bring_up(device.profile.name)
        driver.show(noise(), 0, 0, W, H)
        driver.fence()
        rows = device.picture.rows(0)
        assert rows is not None
        shown = b"".join(rows.pieces)
        driver.close()

    assert shown == noise()
    assert [str(violation) for violation in device.rules] == []


def test_monitors_from_outside(built: Built) -> None:
    """Plugged in; and asked for, which without tools in the guest nobody hears of."""
    plugged: Any = built.controls["monitors"](2)
    told: Any = built.controls["resize"]("800x600+0+0,640x480+800+0")
    status: Any = built.controls["status"]()

    assert (plugged, told, status["plugged"]) == ({"plugged": 2}, {"told": False}, 2)
    with pytest.raises(ConfigError, match="monitors: 0 monitors: there are 1 to 10"):
        built.controls["monitors"](0)
    with pytest.raises(ConfigError, match="resize: a desktop of 8200x600: at most 8192x8192"):
        built.controls["resize"]("8000x600,200x100+8000+0")


def test_layouts() -> None:
    assert parse_layout("1280x800") == [Area(0, 0, 1280, 800)]
    assert parse_layout("800x600+0+0,640x480-640+20") == [Area(0, 0, 800, 600), Area(-640, 20, 640, 480)]
    for text in ("", "800", "800x600+1", "800x600,", "0x600", "800x600+0+0+0"):
        with pytest.raises(ConfigError, match=r"is no (monitor|size); write it like"):
            parse_layout(text)


def test_somebody_who_can_tell_the_guest(built: Built) -> None:
    heard: list[object] = []

    def tell(screens: Screens) -> bool:
        heard.append(list(screens))
        return True

    built.on_wish(tell)

    assert built.controls["resize"]("800x600,640x480+800+0") == {"told": True}
    assert heard == [[(0, 0, 800, 600), (800, 0, 640, 480)]]


@pytest.mark.parametrize("built", [{"hands": "qmp:/nowhere"}], indirect=True)
def test_its_pointer_at_the_backdoor_port_where_a_monitor_can_ring(built: Built) -> None:
    """What drivers break there is in the display's own report."""
    built.calls[Command.ABSPOINTER_COMMAND](Call(Command.ABSPOINTER_COMMAND, 0x1234))

    assert built.calls.keys() == COMMANDS
    assert [violation.rule.number for violation in built.device.rules] == ["SVG-D-065"]


def test_no_pointer_there_without_a_bell(built: Built) -> None:
    assert built.calls == {}
