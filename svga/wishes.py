"""What somebody in front of the display would like: how many monitors are plugged in, and how they should be arranged.

Registers cannot tell a driver that: DISPLAY_* say what it does, not what it is asked to do. What the device has of its
own is NUM_DISPLAYS, which Linux reads whenever it looks for monitors, and the mode a driver finds when it starts. The
rest goes to whoever can reach a program in the guest: VMware's tools, by DisplayTopology_Set.
Ref: open-vm-tools resolutionKMS; Linux vmwgfx_kms.c (vmw_kms_update_layout_ioctl, vmw_du_connector_detect).
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

from svga.display import Area
from svga.rect import union
from svga.wire import MAX_DISPLAYS

Tell = Callable[[Sequence[Area]], bool]


class Wishes:
    """`largest`: (width, height) of a monitor. `memory`: bytes there are for all together. `plugged`: monitors.

    `tell` passes a wish on; False: nobody there takes it. `prefer` hears what size the next driver is to find.
    """

    STATE: ClassVar[tuple[str, ...]] = ("plugged",)

    def __init__(
        self,
        plugged: int,
        largest: tuple[int, int],
        memory: int,
        *,
        prefer: Callable[[int, int], None],
    ) -> None:
        self.plugged, self._largest, self._memory, self._prefer = plugged, largest, memory, prefer
        self.tell: Tell = lambda areas: False

    def plug(self, count: int) -> None:
        """So many monitors are plugged in now; a driver sees it when it looks. Raises `ValueError`."""
        if not 0 < count <= MAX_DISPLAYS:
            raise ValueError(f"{count} monitors: there are 1 to {MAX_DISPLAYS}")
        self.plugged = count

    def wrong(self, areas: Sequence[Area]) -> str | None:
        """Why monitors cannot be arranged so, or None."""
        if not 0 < len(areas) <= MAX_DISPLAYS:
            return f"{len(areas)} monitors: there are 1 to {MAX_DISPLAYS}"
        width, height = self._largest
        for area in areas:
            if not (0 < area.width <= width and 0 < area.height <= height):
                return f"a monitor of {area.width}x{area.height}: at most {width}x{height}"
        around = union(list(areas))
        if around.width > width or around.height > height:
            return f"a desktop of {around.width}x{around.height}: at most {width}x{height}"
        if 4 * around.width * around.height > self._memory:
            return f"a desktop of {around.width}x{around.height}: more than the display's memory holds"
        return None

    def ask(self, areas: Sequence[Area]) -> bool:
        """Somebody would like the monitors so, the first one first; whether the guest hears of it. From any thread.

        A driver that comes later finds the size of the first monitor.
        """
        if self.wrong(areas) is not None:
            return False
        self._prefer(areas[0].width, areas[0].height)
        before = self.plugged
        self.plugged = max(before, len(areas))  # there before anybody is told to use them
        if self.tell(areas):
            return True
        self.plugged = before
        return False
