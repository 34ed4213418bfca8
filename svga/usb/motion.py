"""What hands did to a pointer and the host has not read yet. Pure.

Movements between two reads are one; a button's change is never merged away while there is room, so that a click is
seen however rarely the host reads.
"""

from collections import deque

EVENTS = 64  # kept apart; from then on the last one takes all that comes
FAR = 0x7FFF  # a movement that nobody has read ends here
STEP = 127  # of a movement or the wheel in one report


class Motion:
    """`top`: X and Y are places, 0 to this; 0: they are movements."""

    def __init__(self, top: int = 0) -> None:
        self.top = top
        self.buttons = self.x = self.y = 0  # as they are now; x and y of places only
        self._events: deque[list[int]] = deque()  # buttons, x, y, wheel

    def __bool__(self) -> bool:
        return bool(self._events)

    def forget(self) -> None:
        """Nothing happened, and no button is down."""
        self._events.clear()
        self.buttons = 0

    def move(self, dx: int, dy: int, wheel: int, buttons: int) -> None:
        """It moved, turned, or buttons changed."""
        if buttons == self.buttons and not (dx or dy or wheel):
            return
        last = self._last(buttons)
        last[1], last[2], last[3] = _far(last[1] + dx), _far(last[2] + dy), _far(last[3] + wheel)

    def point(self, x: int, y: int, wheel: int, buttons: int) -> None:
        """It is somewhere, turned, or buttons changed."""
        x, y = min(max(x, 0), self.top), min(max(y, 0), self.top)
        moved = (x, y) != (self.x, self.y)
        if buttons == self.buttons and not (moved or wheel):
            return
        last = self._last(buttons, apart=moved)
        self.x, self.y = last[1], last[2] = x, y
        last[3] = _far(last[3] + wheel)

    def _last(self, buttons: int, *, apart: bool = False) -> list[int]:
        """The event to add to. `apart`: not to one whose wheel has turned, as that was elsewhere."""
        events = self._events
        fits = events and events[-1][0] == buttons and not (apart and events[-1][3])
        if not fits and len(events) < EVENTS:
            events.append([buttons, 0, 0, 0])
        self.buttons = events[-1][0] = buttons
        return events[-1]

    def take(self) -> tuple[int, int, int, int] | None:
        """Buttons, X, Y and wheel of the next report; a long movement takes several. None: nothing happened."""
        if not self._events:
            return None
        event = self._events[0]
        buttons, x, y, wheel = event
        turn = _step(wheel)
        event[3] -= turn
        if not self.top:
            x, y = _step(x), _step(y)
            event[1] -= x
            event[2] -= y
        if not event[3] and (self.top or not (event[1] or event[2])):
            self._events.popleft()
        return buttons, x, y, turn


def _step(value: int) -> int:
    return max(-STEP, min(STEP, value))


def _far(value: int) -> int:
    return max(-FAR, min(FAR, value))
