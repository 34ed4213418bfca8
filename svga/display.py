"""What a display shows, to whoever looks, and what hands and eyes in front of it send back. Protocols and plain data.

Looking is pulled: a device marks what changed in every `Watch`, and a viewer takes that and reads pixels when it likes.
So a slow viewer costs the guest nothing, and a screen nobody looks at costs nothing but the marks. A viewer may live in
a thread of its own: `Watch` is the only object both sides change, and it is safe for one of each.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

COPIES_MOST = 256  # that wait for one viewer; then they are marks
TILES_MOST = 1 << 16  # of one mark
TILE = 64  # pixels; damage is kept in squares of this size, which are ZRLE's tiles too


@dataclass(frozen=True)
class Area:
    """A rectangle with content, in pixels; of a monitor or of the whole desktop, as said where it is used."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    def meet(self, other: "Area") -> "Area | None":
        """What both have in common; None when that is nothing."""
        left, top = max(self.x, other.x), max(self.y, other.y)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Area(left, top, right - left, bottom - top) if left < right and top < bottom else None


@dataclass(frozen=True)
class Monitor:
    """One monitor: where it stands on the desktop, in pixels. `id` is the guest's number for it."""

    id: int
    area: Area


@dataclass(frozen=True)
class Rows:
    """Pixels where they are now: `height` rows of `width` pixels, `pitch` bytes apart, in shared memory.

    `pieces` hold the rows one after the other as if they were one memory (a guest's pages need not be neighbours).
    `bpp` bits a pixel (8, 15, 16, 24, 32), channels as `masks` (red, green, blue); with 8, `palette` has 256 times
    (red, green, blue). None of it outlives the `Picture.serial` it was read at.
    """

    pieces: Sequence[memoryview]
    width: int
    height: int
    pitch: int
    bpp: int
    masks: tuple[int, int, int] = (0xFF0000, 0x00FF00, 0x0000FF)
    palette: Sequence[tuple[int, int, int]] = ()


@dataclass(frozen=True)
class CursorImage:
    """A pointer's shape: `pixels` are width * height words 0xAARRGGBB, little-endian, colours premultiplied by alpha.

    `hot`: the pixel that points. 0 by 0: nothing to see.
    """

    width: int = 0
    height: int = 0
    hot: tuple[int, int] = (0, 0)
    pixels: bytes = b""


@dataclass(frozen=True)
class Cursor:
    """Where the guest's pointer is (its hot spot, on the desktop) and what it looks like."""

    x: int = 0
    y: int = 0
    visible: bool = False
    image: CursorImage = CursorImage()


@dataclass(frozen=True)
class Copy:
    """`to` shows now what was `dx`, `dy` pixels further right and down before (of the desktop).

    A viewer compares what it copied: the source may have been drawn at, and nobody told of that yet.
    """

    to: Area
    dx: int
    dy: int


@dataclass
class Damage:
    """What changed since the last look: `tiles` (x, y), `TILE` pixels each; `copies` come before, in order.

    `layout`: monitors came, went, moved or changed size: everything is to be looked at anew. `cursor`: shape or place.
    """

    tiles: set[tuple[int, int]] = field(default_factory=set)
    copies: list[Copy] = field(default_factory=list)
    layout: bool = False
    cursor: bool = False

    def __bool__(self) -> bool:
        return bool(self.tiles or self.copies or self.layout or self.cursor)


class Watch:
    """One viewer's damage. The device marks, the viewer takes; `wake` is called at the first mark since, from wherever
    the device runs, and must return at once."""

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._wake, self._lock, self._damage = wake, threading.Lock(), Damage(layout=True, cursor=True)

    def mark(self, area: Area) -> None:
        """These pixels of the desktop are not what they were."""
        columns = range(area.x // TILE, -(-area.right // TILE))
        rows = range(area.y // TILE, -(-area.bottom // TILE))
        if len(columns) * len(rows) > TILES_MOST:  # monitors far apart, and all between them
            self.changed(layout=True)
            return
        with self._lock:
            quiet = not self._damage
            for row in rows:
                self._damage.tiles.update((column, row) for column in columns)
        if quiet:
            self._wake()

    def copied(self, copy: Copy) -> None:
        """A part of the desktop was copied. Marked instead where something was marked before, or too much waits."""
        inside = copy.to.x + copy.dx >= 0 and copy.to.y + copy.dy >= 0
        with self._lock:
            damage = self._damage
            quiet = not damage
            clean = inside and not damage.tiles and not damage.layout and len(damage.copies) < COPIES_MOST
            if clean:
                damage.copies.append(copy)
        if not clean:
            self.mark(copy.to)
        elif quiet:
            self._wake()

    def changed(self, *, layout: bool = False, cursor: bool = False) -> None:
        with self._lock:
            quiet = not self._damage
            self._damage.layout |= layout
            self._damage.cursor |= cursor
        if quiet and (layout or cursor):
            self._wake()

    def take(self) -> Damage:
        """Everything since the last call; it is the viewer's now."""
        with self._lock:
            damage, self._damage = self._damage, Damage()
        return damage


class Picture(Protocol):
    """What a device shows. Attributes are replaced as a whole, never changed in place, so that any thread may read."""

    @property
    def serial(self) -> int:
        """Another number whenever monitors, or where their pixels are, are others."""
        ...

    @property
    def monitors(self) -> tuple[Monitor, ...]:
        """In order of their numbers; at least one."""
        ...

    @property
    def cursor(self) -> Cursor: ...

    def rows(self, monitor: int) -> Rows | None:
        """Where this monitor's pixels are; None: it is blank. Read while the guest writes: what it wrote meanwhile is
        marked again."""
        ...

    def watch(self, watch: Watch) -> Callable[[], None]:
        """Mark in this one too, from now on; the answer ends that."""
        ...

    def ask(self, monitors: Sequence[Area]) -> bool:
        """Somebody would like the monitors so. False: nothing here can tell the guest."""
        ...


class Hands(Protocol):
    """Where a viewer's pointer and keyboard go."""

    def point(self, x: int, y: int, buttons: int) -> None:
        """The pointer is at (x, y) of the desktop, each 0 to 65535, a pixel by the middle of it
        (`svga.aim.to_unit`). `buttons`: 1 left, 2 right, 4 middle."""
        ...

    def move(self, dx: int, dy: int, buttons: int) -> None:
        """The pointer moved by so many steps."""
        ...

    def wheel(self, steps: int, sideways: int = 0) -> None:
        """The wheel turned: up and right are positive."""
        ...

    def key(self, code: int, down: bool) -> None:
        """A key, by its XT scan code (set 1; an extended one with 0x80 added, as QEMU sends them)."""
        ...
