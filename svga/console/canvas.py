"""What a display shows as one canvas: its monitors where they stand, black in between and where one is blank."""

import numpy as np

from svga.console.pixels import Pixels, blend, read
from svga.display import Area, Monitor, Picture

SIDE_MOST = 16384  # pixels of a canvas, either way
PIXELS_MOST = 1 << 25  # of a canvas; what a guest puts beyond is not shown
TRIES = 3


class Canvas:
    """Reads a `Picture`, from any thread."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    @property
    def monitors(self) -> list[Monitor]:
        """Those of which something is to be seen, with as much of them as that is."""
        all_of_it = Area(0, 0, *self.size)
        parts = ((monitor.id, monitor.area.meet(all_of_it)) for monitor in self._picture.monitors)
        return [Monitor(number, part) for number, part in parts if part is not None]

    @property
    def size(self) -> tuple[int, int]:
        """Pixels, at least one each way."""
        monitors = self._picture.monitors
        width = min(max((monitor.area.right for monitor in monitors), default=1), SIDE_MOST)
        height = min(max((monitor.area.bottom for monitor in monitors), default=1), SIDE_MOST)
        width = max(width, 1)
        return width, max(min(height, PIXELS_MOST // width), 1)

    def grab(self, area: Area, *, pointer: bool = False) -> Pixels:
        """A private copy of a part; with the guest's pointer drawn over it, if it is to be."""
        for _ in range(TRIES):
            serial = self._picture.serial
            try:
                out = self._read(area)
            except (ValueError, BufferError):  # a mode was just set: its memory went while it was read
                continue
            if serial == self._picture.serial:
                break
        else:
            out = np.zeros((area.height, area.width), np.uint32)  # what comes after is marked anew
        if pointer:
            cursor = self._picture.cursor
            if cursor.visible and cursor.image.pixels:
                hot_x, hot_y = cursor.image.hot
                blend(out, (area.x, area.y), cursor.image, (cursor.x - hot_x, cursor.y - hot_y))
        return out

    def _read(self, area: Area) -> Pixels:
        monitors = self._picture.monitors
        if len(monitors) == 1 and monitors[0].area.meet(area) == area:
            return self._monitor(monitors[0], area)
        out = np.zeros((area.height, area.width), np.uint32)
        for monitor in monitors:
            part = monitor.area.meet(area)
            if part is not None:
                left, top = part.x - area.x, part.y - area.y
                out[top : top + part.height, left : left + part.width] = self._monitor(monitor, part)
        return out

    def _monitor(self, monitor: Monitor, area: Area) -> Pixels:
        rows = self._picture.rows(monitor.id)
        if rows is None:
            return np.zeros((area.height, area.width), np.uint32)
        return read(rows, Area(area.x - monitor.area.x, area.y - monitor.area.y, area.width, area.height))

    def pointed(self) -> Area | None:
        """Where the guest's pointer is drawn, as far as it is on the canvas."""
        cursor = self._picture.cursor
        if not cursor.visible or not cursor.image.pixels:
            return None
        hot_x, hot_y = cursor.image.hot
        place = Area(cursor.x - hot_x, cursor.y - hot_y, cursor.image.width, cursor.image.height)
        return place.meet(Area(0, 0, *self.size))
