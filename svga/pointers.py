"""All pointers of a guest as one: a place goes to one that can be somewhere, a movement to one that moves. Pure.

A button is down on one pointer at a time: when another takes over, the first lets go.
"""

from collections.abc import Sequence
from typing import Protocol

from svga.aim import rescale

TOP = 0xFFFF  # of the places that come in


class Pointer(Protocol):
    """One of a guest's pointers: `svga.vmmouse.VmMouse`, `svga.usb.bus.Plug`. Each answers whether it took it."""

    @property
    def top(self) -> int:
        """What `point` counts to; 0: it cannot be somewhere."""
        ...

    def point(self, x: int, y: int, buttons: int | None = None) -> bool: ...

    def move(self, dx: int, dy: int, buttons: int | None = None) -> bool: ...

    def wheel(self, steps: int, *, buttons: int | None = None) -> bool: ...


class Pointers:
    """The pointers in order of preference: the first that takes something has it. Buttons: 1 left, 2 right, 4 middle.

    Each method answers whether any took it.
    """

    def __init__(self, pointers: Sequence[Pointer] = ()) -> None:
        self.pointers = tuple(pointers)
        self.buttons = 0
        self._last: Pointer | None = None

    def point(self, x: int, y: int, buttons: int | None = None) -> bool:
        """The pointer is there, each 0 to 65535 over the whole desktop."""
        pressed = self._press(buttons)
        return any(
            self._took(each, each.point(rescale(x, TOP, each.top), rescale(y, TOP, each.top), pressed))
            for each in self.pointers
            if each.top
        )

    def move(self, dx: int, dy: int, buttons: int | None = None) -> bool:
        """It moved by so many steps to the right and down."""
        pressed = self._press(buttons)
        return any(self._took(each, each.move(dx, dy, pressed)) for each in self.pointers)

    def wheel(self, steps: int, *, buttons: int | None = None) -> bool:
        """The wheel turned, up is positive: that of the pointer used last."""
        pressed = self._press(buttons)
        order = [self._last] if self._last is not None else []
        order += [each for each in self.pointers if each is not self._last]
        return any(self._took(each, each.wheel(steps, buttons=pressed)) for each in order)

    def _press(self, buttons: int | None) -> int:
        self.buttons = self.buttons if buttons is None else buttons
        return self.buttons

    def _took(self, pointer: Pointer, taken: bool) -> bool:
        if taken and pointer is not self._last:
            if self._last is not None:
                self._last.wheel(0, buttons=0)
            self._last = pointer
        return taken
