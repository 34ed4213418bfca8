"""What one viewer has on its screen, and what brings it to what is shown.

`_has` is the viewer's screen, pixel by pixel. What the display marks is only where to look: a tile is sent when it is
another than the viewer has, and a copy the viewer makes itself is made in `_has` too and then compared. So nothing
stale stays, whatever happens between a mark and the look, and nothing is sent twice.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from svga.console import wire
from svga.console.canvas import Canvas
from svga.console.encodings import Encoder
from svga.console.pixels import PixelFormat, Pixels
from svga.console.wire import Encoding
from svga.display import TILE, Area, Copy

Tile = tuple[int, int]
COPIES_MOST = 256  # that wait to be sent


class View:
    """`width`, `height`: what the viewer was told of the canvas. All of it is unknown at first, and after `resize`."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self.copies: list[Copy] = []
        self.draws_pointer = False  # this side draws the guest's pointer: the viewer cannot
        self._pointed: Area | None = None
        self.resize(*canvas.size)

    def resize(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.area = Area(0, 0, width, height)
        self._has: Pixels = np.zeros((height, width), np.uint32)
        self._room: Pixels = np.zeros(height * width, np.uint32)  # for what is looked at
        self.copies.clear()
        self.look: set[Tile] = set()  # where something may be another than the viewer has
        self.unknown: set[Tile] = set(self._tiles(self.area))  # to be sent, whatever it has
        self.look |= self.unknown

    # -- what to look at -----------------------------------------------------------------------------------------------

    @staticmethod
    def _tiles(area: Area) -> Iterator[Tile]:
        for row in range(area.y // TILE, -(-area.bottom // TILE)):
            for column in range(area.x // TILE, -(-area.right // TILE)):
                yield column, row

    def marked(self, tiles: Iterable[Tile]) -> None:
        columns, rows = -(-self.width // TILE), -(-self.height // TILE)
        self.look.update(tile for tile in tiles if tile[0] < columns and tile[1] < rows)

    def mark(self, area: Area) -> None:
        shown = area.meet(self.area)
        if shown is not None:
            self.look.update(self._tiles(shown))

    def forget(self, area: Area) -> None:
        """The viewer wants these pixels again."""
        shown = area.meet(self.area)
        if shown is not None:
            tiles = set(self._tiles(shown))
            self.look |= tiles
            self.unknown |= tiles

    def copied(self, copies: Iterable[Copy], *, able: bool) -> None:
        """What was copied; as a copy where the viewer is `able`, and has what is copied."""
        for copy in copies:
            source = Area(copy.to.x + copy.dx, copy.to.y + copy.dy, copy.to.width, copy.to.height)
            inside = source.meet(self.area) == source and copy.to.meet(self.area) == copy.to
            if able and inside and len(self.copies) < COPIES_MOST and self.look.isdisjoint(self._tiles(source)):
                self.copies.append(copy)
            self.mark(copy.to)

    def pointer_moved(self) -> None:
        """The guest's pointer is elsewhere, or another, and drawn here."""
        for area in (self._pointed, self._canvas.pointed()):
            if area is not None:
                self.mark(area)
        self._pointed = self._canvas.pointed()

    # -- what to send --------------------------------------------------------------------------------------------------

    def rectangles(self, region: Area, form: PixelFormat, encoder: Encoder, out: list[bytes]) -> int:
        """Rectangles within `region` that bring the viewer there, appended to `out`; how many."""
        count = self._copy(region, out)
        clipped = region.meet(self.area)
        if clipped is None:
            return count
        whole = clipped == self.area
        tiles = self.look if whole else {tile for tile in self.look if self._tile(tile).meet(clipped) is not None}
        for block in blocks(tiles):
            area = Area(block.x * TILE, block.y * TILE, block.width * TILE, block.height * TILE).meet(clipped)
            assert area is not None
            count += self._block(area, form, encoder, out)
        self._canvas.release()
        if whole:
            self.look.clear()
            self.unknown.clear()
        else:
            seen = {tile for tile in tiles if self._tile(tile).meet(clipped) == self._tile(tile)}
            self.look -= seen
            self.unknown -= seen
        return count

    def _tile(self, tile: Tile) -> Area:
        shown = Area(tile[0] * TILE, tile[1] * TILE, TILE, TILE).meet(self.area)
        assert shown is not None
        return shown

    def _copy(self, region: Area, out: list[bytes]) -> int:
        copies, self.copies = self.copies, []
        count = 0
        for copy in copies:
            to = copy.to
            if to.meet(region) != to:
                continue
            x, y = to.x + copy.dx, to.y + copy.dy
            self._has[to.y : to.bottom, to.x : to.right] = self._has[y : y + to.height, x : x + to.width].copy()
            out.append(wire.HEAD_RECT.pack(to.x, to.y, to.width, to.height, Encoding.COPY_RECT))
            out.append(wire.COPY_RECT.pack(x, y))
            count += 1
        return count

    def _block(self, area: Area, form: PixelFormat, encoder: Encoder, out: list[bytes]) -> int:
        """Look at this part, all of it at once, and send what is other."""
        room = self._room[: area.height * area.width].reshape(area.height, area.width)
        now = self._canvas.grab(area, pointer=self.draws_pointer, out=room)
        has = self._has[area.y : area.bottom, area.x : area.right]
        differ = now != has
        ys, xs = _edges(area.y, area.height), _edges(area.x, area.width)
        first = area.x // TILE, area.y // TILE
        if len(ys) == len(xs) == 1:
            tiles = {(0, 0)}
        else:
            other = np.logical_or.reduceat(np.logical_or.reduceat(differ, ys, axis=0), xs, axis=1)
            tiles = {(int(x), int(y)) for y, x in np.argwhere(other)}
        if self.unknown:
            every = ((x, y) for y in range(len(ys)) for x in range(len(xs)))
            tiles |= {(x, y) for x, y in every if (x + first[0], y + first[1]) in self.unknown}
        count = 0
        for block in blocks(tiles):
            left, top = xs[block.x], ys[block.y]
            right = xs[block.right] if block.right < len(xs) else area.width
            bottom = ys[block.bottom] if block.bottom < len(ys) else area.height
            part: Area | None = Area(left, top, right - left, bottom - top)
            if not self.unknown:
                part = _changed(differ, left, top, right, bottom)
            if part is not None:
                count += self._send(now, part, area, form, encoder, out)
                has[top:bottom, left:right] = now[top:bottom, left:right]
        return count

    @staticmethod
    def _send(now: Pixels, part: Area, area: Area, form: PixelFormat, encoder: Encoder, out: list[bytes]) -> int:
        count = 0
        for x in range(part.x, part.right, encoder.width_most):
            width = min(encoder.width_most, part.right - x)
            step = max(encoder.pixels_most // width, 1)
            for y in range(part.y, part.bottom, step):
                height = min(step, part.bottom - y)
                out.append(wire.HEAD_RECT.pack(area.x + x, area.y + y, width, height, encoder.number))
                encoder.encode(now[y : y + height, x : x + width], form, out)
                count += 1
        return count


def _changed(differ: npt.NDArray[np.bool_], left: int, top: int, right: int, bottom: int) -> Area | None:
    """The smallest rectangle around all that differs there; None: nothing does."""
    part = differ[top:bottom, left:right]
    width, data = right - left, part.tobytes()
    first = data.find(1)
    if first < 0:
        return None
    y, end = first // width, data.rfind(1) // width + 1
    columns = np.logical_or.reduce(part[y:end], axis=0).tobytes()
    x = columns.find(1)
    return Area(left + x, top + y, columns.rfind(1) + 1 - x, end - y)


def _edges(at: int, length: int) -> list[int]:
    """Where tiles begin in a stretch that begins at `at`, counted from there."""
    return [0, *range(TILE - at % TILE, length, TILE)]


def blocks(tiles: set[Tile]) -> list[Area]:
    """The same tiles as rectangles, none twice: runs of a row, and equal runs below each other."""
    if len(tiles) == 1:
        return [Area(*tile, 1, 1) for tile in tiles]
    out: list[Area] = []
    open_: dict[tuple[int, int], Area] = {}  # (first column, width) -> a block that ends with the row above
    rows: dict[int, list[int]] = {}
    for column, row in tiles:
        rows.setdefault(row, []).append(column)
    last = -2
    for row in sorted(rows):
        if row != last + 1:
            out += open_.values()
            open_ = {}
        last = row
        going: dict[tuple[int, int], Area] = {}
        for first, width in _runs(sorted(rows[row])):
            above = open_.pop((first, width), None)
            top = above.y if above is not None else row
            going[first, width] = Area(first, top, width, row + 1 - top)
        out += open_.values()
        open_ = going
    return [*out, *open_.values()]


def _runs(columns: list[int]) -> Iterator[tuple[int, int]]:
    first = last = columns[0]
    for column in columns[1:]:
        if column != last + 1:
            yield first, last + 1 - first
            first = column
        last = column
    yield first, last + 1 - first
