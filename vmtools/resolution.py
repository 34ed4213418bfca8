"""Resolution: what size the guest is asked to give its screens.

Ref: open-vm-tools services/plugins/resolutionKMS, resolutionSet (which program takes them, the words' forms).
"""

from collections.abc import Mapping, Sequence

from pvdev.trace import Sink
from vmtools.hub import Hub
from vmtools.tclo import Result, Then

SIDE_MAX, SCREENS_MAX = 16384, 16
Screen = tuple[int, int, int, int]  # x, y, width, height


class Resolution:
    """`capabilities`: what the guest said it can (`tools.capability.`); a dict the host keeps."""

    def __init__(self, hub: Hub, capabilities: Mapping[str, str]) -> None:
        self.trace: Sink | None = None
        self.server: str | None = None  # the program that takes these commands
        self._hub, self._capabilities = hub, capabilities

    @property
    def able(self) -> bool:
        """Whether a program has said that it sets resolutions."""
        return self.server is not None

    def registered(self, rest: str) -> None:
        """`resolution_server PROGRAM 0|1` came in."""
        name, _, on = rest.partition(" ")
        if on.strip() == "1":
            self.server = name
        elif self.server == name:
            self.server = None

    def resize(self, width: int, height: int, now_ns: int, then: Then | None = None) -> bool:
        """One screen of this size. False, and `then` hears of it: no program takes this. Raises `ValueError`."""
        return self.topology([(0, 0, width, height)], now_ns, then)

    def topology(self, screens: Sequence[Screen], now_ns: int, then: Then | None = None) -> bool:
        """Screens side by side, in pixels. Raises `ValueError` for what no display has."""
        if not 0 < len(screens) <= SCREENS_MAX:
            raise ValueError(f"{len(screens)} screens: 1 to {SCREENS_MAX}")
        for x, y, width, height in screens:
            if not (0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX and abs(x) < 1 << 15 and abs(y) < 1 << 15):
                raise ValueError(f"a screen of {width}x{height} at {x},{y}: sides of 1 to {SIDE_MAX} pixels")
        if self.server is None:
            if then is not None:
                then(Result(False, b"no program sets resolutions", answered=False), now_ns)
            return False
        many = self._capabilities.get("display_topology_set", "0") not in ("", "0")
        if len(screens) == 1 and not many:
            text = "Resolution_Set {2} {3}".format(*screens[0])
        else:
            text = f"DisplayTopology_Set {len(screens)} " + " ".join(
                ", {} {} {} {}".format(*screen) for screen in screens
            )
        if self.trace is not None:
            self.trace("resolution.request", text=text)
        return self._hub.ask(text, now_ns, then, to=self.server)
