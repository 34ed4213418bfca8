"""Rectangles a guest gives, checked in one place. Numbers here never wrap, so `x + width` is what it says."""

from svga.display import Area

Move = tuple[int, int, int, int, int, int]  # source x, y; destination x, y; width, height


def signed(word: int) -> int:
    """A 32-bit word as a signed number."""
    return word - (1 << 32) if word & 0x8000_0000 else word


def clip(x: int, y: int, width: int, height: int, bounds: Area) -> Area | None:
    """What of this rectangle lies in `bounds`; None for nothing, also for a width or height of 0 or less."""
    left, top = max(x, bounds.x), max(y, bounds.y)
    right, bottom = min(x + width, bounds.right), min(y + height, bounds.bottom)
    return Area(left, top, right - left, bottom - top) if left < right and top < bottom else None


def holds(bounds: Area, x: int, y: int, width: int, height: int) -> bool:
    """Whether the whole rectangle lies in `bounds`; one of no pixels may lie on its edge."""
    return (
        width >= 0
        and height >= 0
        and bounds.x <= x
        and bounds.y <= y
        and x + width <= bounds.right
        and y + height <= bounds.bottom
    )


def clip_move(move: Move, source: Area, target: Area) -> Move | None:
    """What of a copy reads from `source` and writes into `target`; None for nothing."""
    sx, sy, dx, dy, width, height = move
    shown = clip(dx, dy, width, height, target)
    if shown is None:
        return None
    read = clip(shown.x - dx + sx, shown.y - dy + sy, shown.width, shown.height, source)
    if read is None:
        return None
    return read.x, read.y, read.x - sx + dx, read.y - sy + dy, read.width, read.height


def union(areas: list[Area]) -> Area:
    """The smallest rectangle around all; of none: nothing at (0, 0)."""
    if not areas:
        return Area(0, 0, 0, 0)
    left, top = min(area.x for area in areas), min(area.y for area in areas)
    right, bottom = max(area.right for area in areas), max(area.bottom for area in areas)
    return Area(left, top, right - left, bottom - top)
