"""The console of a served display: what can be asked of it from outside, loaded when somebody wants to look."""

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pvdev.errors import ConfigError
from pvdev.kinds import Calls
from svga.display import Hands, Picture
from svga.vmmouse import VmMouse

if TYPE_CHECKING:
    from svga.console.server import Console
    from svga.console.vmmouse import VmMouseHands


class Screen:
    """The console of a served display, loaded when somebody wants to look.

    `calls`: what its pointer adds to the guest's backdoor port; nothing where there is no other to be its bell.
    """

    def __init__(self, picture: Picture, hands: Hands | str | None, mouse: VmMouse) -> None:
        """`hands`: what moves, or as `--hands` has it; `mouse` then comes first, while the guest listens to it.
        Raises `ConfigError`."""
        self.calls: Calls = {}
        if isinstance(hands, str):
            hands = with_mouse(mouse, hands)
            self.calls = hands.calls
        self._picture, self._hands = picture, hands
        self._console: Console | None = None
        self.controls: Mapping[str, Callable[..., object]] = {
            "display": self.display,
            "displays": self.displays,
            "screenshot": self.screenshot,
        }

    def _made(self) -> "Console":
        if self._console is None:
            try:
                from svga.console.server import Console
            except ImportError as error:
                raise _lacks(error) from error
            self._console = Console(self._picture, self._hands)
        return self._console

    def display(self, where: str) -> object:
        """Show it there too: rfb:ADDRESS, web:ADDRESS or png:FOLDER."""
        line = self._made().open(where)
        print(f"screen at {line}", file=sys.stderr, flush=True)
        return line

    def displays(self) -> object:
        """Where it is shown, and how many look by RFB."""
        console = self._console
        if console is None:
            return {"displays": {}, "viewers": 0}
        return {"displays": dict(console.displays), "viewers": console.viewers}

    def screenshot(self, file: str) -> object:
        """Write what is shown now into a PNG file; its size."""
        width, height = self._made().screenshot(file)
        return {"file": file, "width": width, "height": height}

    def faults(self) -> str | None:
        return self._console.faults() if self._console is not None else None

    def close(self) -> None:
        if self._console is not None:
            self._console.close()


def with_mouse(mouse: VmMouse, hands: str) -> "VmMouseHands":
    """Hands as `--hands` has them, with a VMMouse before. Raises `ConfigError`."""
    try:
        from svga.console.server import open_hands
        from svga.console.vmmouse import VmMouseHands
    except ImportError as error:
        raise _lacks(error) from error
    return VmMouseHands(mouse, open_hands(hands))


def _lacks(error: ImportError) -> ConfigError:
    return ConfigError(f"a console needs {error.name}: pip install 'pvdev[console]'")
