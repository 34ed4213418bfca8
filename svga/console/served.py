"""The console of a served display: what can be asked of it from outside, loaded when somebody wants to look."""

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pvdev.errors import ConfigError
from svga.display import Hands, Picture

if TYPE_CHECKING:
    from svga.console.server import Console


class Screen:
    """The console of a served display, loaded when somebody wants to look."""

    def __init__(self, picture: Picture, hands: Hands | str | None) -> None:
        """`hands`: what moves, or as `--hands` has it. Raises `ConfigError`."""
        self._picture, self._hands = picture, hands
        self._console: Console | None = None
        if isinstance(hands, str):
            self._made()
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
                raise ConfigError(f"a console needs {error.name}: pip install 'pvdev[console]'") from error
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
