"""Where a hand points: from pixels of a viewer's desktop to the units of an absolute pointer, and back. Pure.

A device's axis has units 0 to `top`, however large the desktop is. A pixel becomes the unit in the middle of its share,
so that it is found again by those who divide by the number of units (libinput) and by those who divide by the last
one (SDL, Windows), as long as there is a unit for every pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from svga.display import Area, Monitor

VMMOUSE_TOP = 0xFFFF
TABLET_TOP = 0x7FFF


def to_unit(pixel: int, size: int, top: int) -> int:
    """The unit for pixel `pixel` of `size`; what lies outside is on the edge."""
    pixel = min(max(pixel, 0), size - 1)
    return (2 * pixel + 1) * (top + 1) // (2 * size)


def to_pixel(unit: int, size: int, top: int) -> int:
    """The pixel of `size` that this unit is in."""
    return min(max(unit, 0), top) * size // (top + 1)


def rescale(unit: int, top: int, other_top: int) -> int:
    """The unit on an axis to `other_top` that is in the same place."""
    return to_unit(unit, top + 1, other_top)


@dataclass(frozen=True)
class Desktop:
    """A desktop of several monitors, its left upper corner at (0, 0), in pixels."""

    width: int
    height: int
    monitors: tuple[Monitor, ...] = ()

    @classmethod
    def of(cls, monitors: Sequence[Monitor]) -> "Desktop":
        """The desktop these monitors make, as a `Picture` has them."""
        right = max((monitor.area.right for monitor in monitors), default=1)
        bottom = max((monitor.area.bottom for monitor in monitors), default=1)
        return cls(right, bottom, tuple(monitors))

    def aim(self, x: int, y: int, top: int) -> tuple[int, int]:
        """The device's units for a pixel of the desktop."""
        return to_unit(x, self.width, top), to_unit(y, self.height, top)

    def find(self, x: int, y: int, top: int) -> tuple[int, int]:
        """The pixel of the desktop at these units of the device."""
        return to_pixel(x, self.width, top), to_pixel(y, self.height, top)

    def on(self, monitor: int, x: int, y: int) -> tuple[int, int]:
        """The pixel of the desktop that is (x, y) of a monitor, by its number; `KeyError` for one there is not."""
        for each in self.monitors:
            if each.id == monitor:
                area = each.area
                return area.x + min(max(x, 0), area.width - 1), area.y + min(max(y, 0), area.height - 1)
        raise KeyError(monitor)

    def seen(self, x: int, y: int) -> tuple[int, int]:
        """(x, y) where a monitor shows it, else the nearest pixel one shows: monitors need not fill the desktop."""
        if not self.monitors:
            return min(max(x, 0), self.width - 1), min(max(y, 0), self.height - 1)
        return min((_nearest(each.area, x, y) for each in self.monitors), key=lambda at: _far(at, (x, y)))


def _nearest(area: Area, x: int, y: int) -> tuple[int, int]:
    return min(max(x, area.x), area.right - 1), min(max(y, area.y), area.bottom - 1)


def _far(one: tuple[int, int], other: tuple[int, int]) -> int:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2
