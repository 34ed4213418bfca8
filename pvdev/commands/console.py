"""`pvdev console`: look at a display that is being served, by its control socket."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pvdev import ui
from pvdev.errors import ConfigError

VIEWERS = ("vncviewer", "xtigervncviewer", "remote-viewer", "vinagre")


class Asked:
    """The display `device` of the server at `path`."""

    def __init__(self, path: str, device: str | None) -> None:
        """Raises `ConfigError`, also when there is no display, or several and none was named."""
        from pvdev.control import ask

        self._ask, self._path = ask, path
        there = ask(path, {"do": "help"})
        screens = [name for name, controls in there.items() if any(each.startswith("screenshot") for each in controls)]
        if device is not None and device not in screens:
            raise ConfigError(f"{path}: no display is called {device!r}; there is {', '.join(screens) or 'none'}")
        if device is None and len(screens) != 1:
            names = ", ".join(screens)
            raise ConfigError(f"which display? there is {names}; name one" if screens else f"{path}: no display there")
        self.name = device or screens[0]

    def __call__(self, do: str, *args: str) -> Any:
        return self._ask(self._path, {"do": do, "args": args, "device": self.name})


def view(displays: dict[str, str]) -> None:
    """Open a browser or a VNC client of this machine on one of them. Raises `ConfigError`."""
    import webbrowser

    for text, where in displays.items():
        if text.startswith("web") and webbrowser.open(where):
            return
    program = next(filter(None, map(shutil.which, VIEWERS)), None)
    for text, where in displays.items():
        if text.startswith("rfb") and program is not None:
            host, _, port = where.rpartition(":")
            words = [f"vnc://{where}"] if program.endswith(("remote-viewer", "vinagre")) else [f"{host}::{port}"]
            subprocess.Popen([program, *words], start_new_session=True)
            return
    raise ConfigError("no browser or VNC client of this machine opened: use another machine's, or --screenshot FILE")


@click.command("console", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("path")
@click.option("--device", metavar="NAME", help="which display, where the server has several")
@click.option("--display", "displays", multiple=True, help="show it there too: rfb:ADDRESS, web:ADDRESS, png:FOLDER")
@click.option("--screenshot", type=click.Path(dir_okay=False), help="write what is shown now into this PNG file")
@click.option("--open", "opening", is_flag=True, help="open it in a browser or VNC client; shows it there if need be")
@click.option("--json", "as_json", is_flag=True, help="print the answer as JSON")
def command(
    path: str, device: str | None, displays: Sequence[str], screenshot: str | None, opening: bool, as_json: bool
) -> int:
    """Look at a display served with --control PATH while it runs; without options, say where to look.

    \b
    pvdev console PATH --screenshot shot.png
    pvdev console PATH --display web:127.0.0.1:6080
    pvdev console PATH --open
    """
    asked = Asked(path, device)
    for text in displays:
        asked("display", text)
    facts: dict[str, Any] = {}
    if screenshot is not None:
        facts["screenshot"] = asked("screenshot", str(Path(screenshot).absolute()))
    shown: dict[str, Any] = asked("displays")
    if opening:
        if not any(text.startswith(("web", "rfb")) for text in shown["displays"]):
            asked("display", "web:127.0.0.1:0")
            shown = asked("displays")
        view(shown["displays"])
    facts |= {"device": asked.name, "monitors": asked("status")["monitors"], **shown}
    if as_json:
        ui.print_json(facts)
    else:
        _say(facts)
    return 0


def _say(facts: dict[str, Any]) -> None:
    if shot := facts.get("screenshot"):
        print(f"{shot['file']}: {shot['width']}x{shot['height']}")
    for monitor in facts["monitors"]:
        at = f"{monitor['width']}x{monitor['height']} at {monitor['x']},{monitor['y']}"
        print(f"{facts['device']} monitor {monitor['id']}: {at}{', blank' if monitor['blank'] else ''}")
    for text, where in facts["displays"].items():
        print(f"{text.partition(':')[0]}: {where}")
    if not facts["displays"]:
        print("shown nowhere yet: --display web:127.0.0.1:6080, or --open")
    print(f"viewers: {facts['viewers']}")
