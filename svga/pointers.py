"""All pointers and keyboards of a guest as one pair of hands. Pure.

A place goes to a pointer that can be somewhere, a movement to one that moves, a key to a keyboard. A button
is down on one pointer at a time: when another takes over, the first lets go.
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


class Keyboard(Protocol):
    """One of a guest's keyboards: a `svga.usb.bus.Plug`."""

    def key(self, code: int, down: bool) -> bool: ...


class Pointers:
    """The pointers in order of preference: the first that takes something has it. Buttons: 1 left, 2 right, 4 middle.

    Each method answers whether any took it. `viewer` is the same for whoever shows a picture (`svga.display.Hands`).
    """

    def __init__(self, pointers: Sequence[Pointer] = (), keyboards: Sequence[Keyboard] = ()) -> None:
        self.pointers, self.keyboards = tuple(pointers), tuple(keyboards)
        self.viewer = ViewerHands(self)
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

    def key(self, code: int, down: bool) -> bool:
        """A key, by its XT scan code (set 1; an extended one with 0x80 added). All are told that it is up: the keyboard
        it was pressed on need not be the first any more."""
        if down:
            return any(each.key(code, True) for each in self.keyboards)
        return sum(each.key(code, False) for each in self.keyboards) > 0

    def _press(self, buttons: int | None) -> int:
        self.buttons = self.buttons if buttons is None else buttons
        return self.buttons

    def _took(self, pointer: Pointer, taken: bool) -> bool:
        if taken and pointer is not self._last:
            if self._last is not None:
                self._last.wheel(0, buttons=0)
            self._last = pointer
        return taken


class ViewerHands:
    """`svga.display.Hands` by `Pointers`; what nobody takes is lost. There is no wheel that turns sideways."""

    def __init__(self, pointers: Pointers) -> None:
        self._pointers = pointers

    @property
    def absolute(self) -> bool:
        """Whether a place means anything: False where there are mice only."""
        return any(each.top for each in self._pointers.pointers) or not self._pointers.pointers

    def point(self, x: int, y: int, buttons: int) -> None:
        self._pointers.point(x, y, buttons)

    def move(self, dx: int, dy: int, buttons: int) -> None:
        self._pointers.move(dx, dy, buttons)

    def wheel(self, steps: int, sideways: int = 0) -> None:
        if steps:
            self._pointers.wheel(steps)

    def key(self, code: int, down: bool) -> None:
        self._pointers.key(code, down)
