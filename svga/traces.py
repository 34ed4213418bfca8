"""Plain stores into the framebuffer, found by looking: bands of it compared with what they were, a few at a time.

Done only while somebody watches the picture, 20 rounds a second; a framebuffer of more than 16 MiB takes several
rounds.
"""

from typing import ClassVar

from svga.display import TILE, Area
from svga.modes import Modes
from svga.picture import Shown

LOOK_NS = 50_000_000  # between two rounds
IDLE_NS = 250_000_000  # between two looks whether anybody watches
LOOKED_MAX = 16 << 20  # bytes of a round: what a device of VMware's traces at most


class Traces:
    """Compares `modes`' framebuffer with a copy, and marks tiles of `shown`."""

    STATE: ClassVar[tuple[str, ...]] = ("on",)

    def __init__(self, modes: Modes, shown: Shown) -> None:
        self._modes, self._shown = modes, shown
        self.reset()

    def reset(self) -> None:
        self.on = 1
        self._bands: dict[int, bytes] = {}
        self._known: object = None
        self._next = 0
        self.due_ns = 0

    def _read_TRACES(self) -> int:
        return self.on

    def _write_TRACES(self, value: int) -> None:
        self.on = int(bool(value))
        self._bands.clear()

    def look(self, now_ns: int) -> None:
        """One round, when it is due."""
        if now_ns < self.due_ns:
            return
        if not self._shown.watched:
            self._bands.clear()
            self.due_ns = now_ns + IDLE_NS
            return
        mode, vram = self._modes.mode, self._modes.vram.view
        if self._known != mode:
            self._known, self._next = mode, 0
            self._bands.clear()
        self.due_ns = now_ns + LOOK_NS
        bands, looked = -(-mode.height // TILE), 0
        for _ in range(bands):
            band, self._next = self._next, (self._next + 1) % bands
            top = band * TILE
            rows = min(TILE, mode.height - top)
            new = bytes(vram[top * mode.pitch : (top + rows) * mode.pitch])
            old = self._bands.get(band)
            if old != new:
                self._bands[band] = new
                self._differ(old, new, top, rows)
            looked += len(new)
            if looked >= LOOKED_MAX:
                break

    def _differ(self, old: bytes | None, new: bytes, top: int, rows: int) -> None:
        mode = self._modes.mode
        if old is None or len(old) != len(new):
            self._shown.mark(Area(0, top, mode.width, rows))
            return
        pitch, pixel = mode.pitch, self._modes.plane().pixel
        for left in range(0, mode.width, TILE):
            width = min(TILE, mode.width - left)
            begin, end = left * pixel, (left + width) * pixel
            for row in range(0, rows * pitch, pitch):
                if old[row + begin : row + end] != new[row + begin : row + end]:
                    self._shown.mark(Area(left, top, width, rows))
                    break
