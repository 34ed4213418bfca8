"""What the device shows, for viewers: `display.Picture`, kept by the device's side.

Where a guest puts its monitors is its own business; on the desktop of a viewer the leftmost and the topmost begin at 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from svga.display import Area, Copy, Cursor, Monitor, Rows, Watch
from svga.rect import holds, union

Layout = Sequence[tuple[Monitor, Rows | None]]
BLANK: Layout = ((Monitor(0, Area(0, 0, 640, 480)), None),)


class Shown:
    """A `Picture`. `arrange` tells what is shown now; it is asked when somebody has called `stale`.

    Areas and positions that come in are the guest's own.
    """

    def __init__(self) -> None:
        self.serial = 0
        self.monitors: tuple[Monitor, ...] = tuple(monitor for monitor, _ in BLANK)
        self.cursor = Cursor()
        self.arrange: Callable[[], Layout] = lambda: BLANK
        self._rows: dict[int, Rows | None] = {}
        self._bounds = BLANK[0][0].area  # of the guest's desktop
        self._watches: tuple[Watch, ...] = ()
        self._stale = True
        self.asked: Callable[[Sequence[Area]], bool] = lambda areas: False

    # -- for viewers ---------------------------------------------------------------------------------------------------

    def rows(self, monitor: int) -> Rows | None:
        return self._rows.get(monitor)

    def watch(self, watch: Watch) -> Callable[[], None]:
        self._watches = (*self._watches, watch)

        def end() -> None:
            self._watches = tuple(other for other in self._watches if other is not watch)

        return end

    def ask(self, monitors: Sequence[Area]) -> bool:
        return self.asked(monitors)

    # -- for the device ------------------------------------------------------------------------------------------------

    @property
    def watched(self) -> bool:
        return bool(self._watches)

    def stale(self) -> None:
        """Monitors, or where their pixels are, may be others now."""
        self._stale = True

    def settle(self) -> None:
        """Ask what is shown, if it may be something else, and tell those who look."""
        if not self._stale:
            return
        self._stale = False
        layout = tuple(self.arrange()) or BLANK
        around = union([monitor.area for monitor, _ in layout])
        self._bounds, left, top = around, around.x, around.y
        self._rows = {monitor.id: rows for monitor, rows in layout}
        before = self.monitors
        self.monitors = tuple(
            replace(monitor, area=replace(monitor.area, x=monitor.area.x - left, y=monitor.area.y - top))
            for monitor, _ in layout
        )
        self.serial += 1
        for watch in self._watches:
            if self.monitors != before:
                watch.changed(layout=True)
            else:
                for monitor in self.monitors:
                    watch.mark(monitor.area)

    def mark(self, area: Area) -> None:
        """These pixels are not what they were."""
        self.settle()
        if self._watches:
            shown = area.meet(self._bounds)
            if shown is not None:
                left, top = self._bounds.x, self._bounds.y
                if left or top:
                    shown = Area(shown.x - left, shown.y - top, shown.width, shown.height)
                for watch in self._watches:
                    watch.mark(shown)

    def copied(self, area: Area, from_x: int, from_y: int) -> None:
        """`area` shows now what was at (from_x, from_y)."""
        self.settle()
        bounds = self._bounds
        if not holds(bounds, area.x, area.y, area.width, area.height) or not holds(
            bounds, from_x, from_y, area.width, area.height
        ):
            self.mark(area)
            return
        to = Area(area.x - bounds.x, area.y - bounds.y, area.width, area.height)
        for watch in self._watches:
            watch.copied(Copy(to, from_x - area.x, from_y - area.y))

    def point(self, cursor: Cursor) -> None:
        """The pointer is elsewhere, or another."""
        cursor = replace(cursor, x=cursor.x - self._bounds.x, y=cursor.y - self._bounds.y)
        if cursor != self.cursor:
            self.cursor = cursor
            for watch in self._watches:
                watch.changed(cursor=True)
