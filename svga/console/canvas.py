"""What a display shows as one canvas: its monitors where they stand, black in between and where one is blank."""

import numpy as np

from svga.console.pixels import Pixels, Reader, blend
from svga.display import Area, Monitor, Picture

SIDE_MOST = 16384  # pixels of a canvas, either way
PIXELS_MOST = 1 << 24  # of a canvas; what a guest puts beyond is not shown
TRIES = 3


class Frame:
    """The monitors and their memory at one moment: good as long as the picture's `serial` is its own."""

    def __init__(self, picture: Picture) -> None:
        self.serial = picture.serial
        parts = ((monitor.area, picture.rows(monitor.id)) for monitor in picture.monitors)
        self._readers = [(area, Reader(rows) if rows is not None else None) for area, rows in parts]

    def read(self, area: Area, out: Pixels) -> None:
        first, reader = self._readers[0]
        if len(self._readers) == 1 and reader is not None and first.x == first.y == 0:
            reader.read(area, out)
            return
        out[:] = 0
        for place, reader in self._readers:
            part = place.meet(area)
            if part is not None and reader is not None:
                left, top = part.x - area.x, part.y - area.y
                within = Area(part.x - place.x, part.y - place.y, part.width, part.height)
                reader.read(within, out[top : top + part.height, left : left + part.width])


class Canvas:
    """Reads a `Picture`, from any thread."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._frame: Frame | None = None

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

    def grab(self, area: Area, *, pointer: bool = False, out: Pixels | None = None) -> Pixels:
        """A private copy of a part, in `out` if that is given; with the guest's pointer over it, if it is to be.

        Until `release` the picture's memory is held.
        """
        if out is None:
            out = np.empty((area.height, area.width), np.uint32)
        for _ in range(TRIES):
            frame = self._frame
            try:
                if frame is None or frame.serial != self._picture.serial:
                    frame = self._frame = Frame(self._picture)
                frame.read(area, out)
            except (ValueError, BufferError):  # a mode was just set: its memory went while it was read
                self._frame = None
                continue
            if frame.serial == self._picture.serial:
                break
        else:
            out[:] = 0  # what comes after is marked anew
        if pointer:
            cursor = self._picture.cursor
            if cursor.visible and cursor.image.pixels:
                hot_x, hot_y = cursor.image.hot
                blend(out, (area.x, area.y), cursor.image, (cursor.x - hot_x, cursor.y - hot_y))
        return out

    def release(self) -> None:
        """Let the picture's memory go."""
        self._frame = None

    def pointed(self) -> Area | None:
        """Where the guest's pointer is drawn, as far as it is on the canvas."""
        cursor = self._picture.cursor
        if not cursor.visible or not cursor.image.pixels:
            return None
        hot_x, hot_y = cursor.image.hot
        place = Area(cursor.x - hot_x, cursor.y - hot_y, cursor.image.width, cursor.image.height)
        return place.meet(Area(0, 0, *self.size))
