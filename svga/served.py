"""A display as it is served to a guest: its options on the command line, how it is made, what can be asked of it."""

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import click

from pvdev import ui
from pvdev.errors import ConfigError
from pvdev.kinds import Built, TellScreens
from pvdev.mem import SharedBlock
from svga.console.served import Screen
from svga.device import Svga
from svga.display import Area, Hands
from svga.function import Video
from svga.profiles import FRONTS, PROFILES
from svga.vmmouse import VmMouse
from svga.wire import MAX_DISPLAYS, SCREEN_SIZE_MAX

MIB = 1 << 20
USB_DEVICES = (
    "mouse",
    "tablet",
    "qemu-mouse",
    "keyboard",
)  # `svga.usb.personas`, loaded with one only
FIFO_SIZE = 2 * MIB


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) of "1280x800". Raises `ConfigError`."""
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (0 < size[0] <= SCREEN_SIZE_MAX and 0 < size[1] <= SCREEN_SIZE_MAX):
        raise ConfigError(f"{text!r} is no size; write it like 1280x800, at most {SCREEN_SIZE_MAX} each way")
    return size


def parse_layout(text: str) -> list[Area]:
    """Monitors of "1280x800" or "1280x800+0+0,800x600+1280+0". Raises `ConfigError`."""
    out = []
    for word in text.split(","):
        found = re.fullmatch(r"(\d{1,4}x\d{1,4})(?:([+-]\d{1,5})([+-]\d{1,5}))?", word)
        if found is None:
            raise ConfigError(f"{word!r} is no monitor; write it like 1280x800 or 1280x800+1920+0")
        width, height = parse_size(found[1])
        out.append(Area(int(found[2] or 0), int(found[3] or 0), width, height))
    return out


def make(values: Mapping[str, Any]) -> tuple[Svga, ExitStack]:
    """The display that `values` of PARAMS ask for, and what is to be closed after it. Raises `ConfigError`."""
    vram = values["vram"] * MIB
    if vram & vram - 1:
        raise ConfigError(f"--vram {values['vram']}: give a power of two, in MiB")
    size, largest = parse_size(values["mode"]), parse_size(values["largest"])
    owns = ExitStack()
    try:
        blocks = [SharedBlock(vram, "svga vram")]
        owns.callback(blocks[0].close)
        if values["front"] == "svga2":
            blocks.append(SharedBlock(FIFO_SIZE, "svga fifo"))
            owns.callback(blocks[1].close)
        memories = [Video(block.size, block) for block in blocks]
        device = Svga(
            values["profile"],
            front=values["front"],
            vram=memories[0],
            fifo=memories[1] if len(memories) > 1 else None,
            size=size,
            largest=largest,
            monitors=values["monitors"],
            vga=values["vga"],
        )
    except ValueError as error:
        owns.close()
        raise ConfigError(f"{error}; change --profile, --front, --mode, --largest or --vram") from error
    except BaseException:
        owns.close()
        raise
    return device, owns


def build(values: Mapping[str, Any]) -> Built:
    """A served display, shown wherever `--display` says. Raises `ConfigError`."""
    device, owns = make(values)
    try:
        hands: Hands | str | None = values["hands"]
        there = controls(device)
        if values["usb"] or values["usbip"] or values["hand"]:
            from svga.usb.served import pointers

            options = values["usb"], values["usbip"], values["hand"]
            plugged, more = owns.enter_context(pointers(*options, device.rules))
            hands, there = hands or plugged.viewer, {**there, **more}
        screen = Screen(device.picture, hands, VmMouse(device.rules))
        owns.callback(screen.close)
        for text in values["display"]:
            screen.display(text)
    except BaseException:
        owns.close()
        raise
    there = {**there, **screen.controls}

    def on_wish(tell: TellScreens) -> None:
        device.wishes.tell = lambda areas: tell([(area.x, area.y, area.width, area.height) for area in areas])

    return Built(device, owns=owns, faults=screen.faults, controls=there, on_wish=on_wish, calls=screen.calls)


def controls(device: Svga) -> Mapping[str, Callable[..., object]]:
    """What can be asked of a running display from outside."""

    def status() -> object:
        picture = device.picture
        return {
            "profile": device.profile.name,
            "monitors": [
                {
                    "id": monitor.id,
                    "x": monitor.area.x,
                    "y": monitor.area.y,
                    "width": monitor.area.width,
                    "height": monitor.area.height,
                    "blank": picture.rows(monitor.id) is None,
                }
                for monitor in picture.monitors
            ],
            "plugged": device.wishes.plugged,
            "commands": device.stream.commands,
            "cursor": {"x": picture.cursor.x, "y": picture.cursor.y, "visible": picture.cursor.visible},
            "violations": ui.violations_json(device.rules),
        }

    def monitors(count: int) -> object:
        """Plug so many in; a guest sees it when it looks for monitors."""
        try:
            device.wishes.plug(count)
        except ValueError as error:
            raise ConfigError(f"monitors: {error}") from None
        return {"plugged": device.wishes.plugged}

    def resize(layout: str) -> object:
        """Ask the guest for monitors like this: 1280x800, or 1280x800+0+0,800x600+1280+0 for two."""
        areas = parse_layout(layout)
        if (wrong := device.wishes.wrong(areas)) is not None:
            raise ConfigError(f"resize: {wrong}")
        return {"told": device.picture.ask(areas)}

    return {"status": status, "monitors": monitors, "resize": resize}


PARAMS: tuple[click.Parameter, ...] = (
    click.Option(
        ["--profile"],
        type=click.Choice(list(PROFILES)),
        default="screen-targets",
        show_default=True,
        help="what the display can do, and so which way drivers use it",
    ),
    click.Option(
        ["--front"],
        type=click.Choice(FRONTS),
        default=FRONTS[0],
        show_default=True,
        help="SVGA3, registers in memory; or SVGA II, ports and FIFO, which not every VMM can carry",
    ),
    click.Option(["--vram"], type=click.IntRange(1, 512), default=64, show_default=True, help="video memory in MiB"),
    click.Option(["--mode"], default="1280x800", show_default=True, help="the size it starts with"),
    click.Option(
        ["--largest"],
        default=f"{SCREEN_SIZE_MAX}x{SCREEN_SIZE_MAX}",
        show_default=True,
        help="the largest mode a driver may set",
    ),
    click.Option(
        ["--monitors"],
        type=click.IntRange(1, MAX_DISPLAYS),
        default=1,
        show_default=True,
        help="how many are plugged in",
    ),
    click.Option(
        ["--display"],
        multiple=True,
        help="where to show it: rfb:ADDRESS for VNC clients, web:ADDRESS for browsers, png:FOLDER to record; may be "
        "repeated (docs/CONSOLE.md)",
    ),
    click.Option(
        ["--hands"],
        help="where a viewer's pointer and keys go: qmp:PATH, the monitor socket of the guest's QEMU; else to what "
        "--usb plugged in",
    ),
    click.Option(
        ["--vga/--no-vga"], default=False, show_default=True, help="say to be of class VGA; nothing is behind it"
    ),
    click.Option(
        ["--usb"],
        type=click.Choice(USB_DEVICES),
        multiple=True,
        help="plug a USB pointer or keyboard in beside it, for --usbip; give it again for another",
    ),
    click.Option(
        ["--usbip"],
        metavar="HOST:PORT",
        help="let guests attach those by USB/IP; whoever reaches the address has them, so 127.0.0.1:3240, say",
    ),
    click.Option(
        ["--hand"],
        metavar="VENDOR:PRODUCT",
        help="a USB mouse of this machine that moves them, as lsusb names it, or any; needs pvdev[usb]",
    ),
)


def defaults() -> dict[str, Any]:
    """The values of PARAMS where nothing is said."""
    return click.Command("svga", params=list(PARAMS)).make_context("svga", []).params
