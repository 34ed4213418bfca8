"""A viewer's keys and pointer as the guest's: what RFB tells becomes calls of `display.Hands`."""

from svga.aim import to_unit
from svga.console import keysyms
from svga.display import Hands

LEFT, RIGHT, MIDDLE = 1, 2, 4  # of `Hands`
BUTTONS = ((0x01, LEFT), (0x02, MIDDLE), (0x04, RIGHT))  # (RFB's, ours)
WHEEL = {0x08: (1, 0), 0x10: (-1, 0), 0x20: (0, -1), 0x40: (0, 1)}  # RFB's -> (up, right)
FULL = 0xFFFF  # a desktop's far edge
ORIGIN = 0x7FFF  # no movement, where a viewer sends movements


class Keyboard:
    """Keys by scan code, or by keysym, as a US keyboard has them."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._down: set[int] = set()
        self._caps = False

    def scancode(self, code: int, keysym: int, down: bool) -> None:
        """A key that the viewer knows the scan code of; 0: it does not."""
        if 0 < code <= 0xFF:
            self._key(code, down)
        elif code == 0:
            self.keysym(keysym, down)

    def keysym(self, keysym: int, down: bool) -> None:
        """A key by what it makes. Where that takes a shift nobody holds, it is held for as long as it takes."""
        found = keysyms.find(keysym)
        if found is None:
            return
        code, shifted = found
        if code == keysyms.CAPS_LOCK and down:
            self._caps = not self._caps
        if shifted is not None and self._caps and chr(keysym).isalpha():
            shifted = not shifted
        if down and shifted and self._down.isdisjoint(keysyms.SHIFTS):
            self._hands.key(keysyms.SHIFT, True)
            self._key(code, True)
            self._hands.key(keysyms.SHIFT, False)
        else:
            self._key(code, down)

    def _key(self, code: int, down: bool) -> None:
        if down:
            self._down.add(code)
        elif code not in self._down:
            return
        else:
            self._down.discard(code)
        self._hands.key(code, down)

    def let_go(self) -> None:
        """The viewer has left: nothing stays pressed."""
        for code in sorted(self._down):
            self._hands.key(code, False)
        self._down.clear()


class Mouse:
    """A pointer: places on a canvas, or movements."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._mask = 0
        self._at: tuple[int, int] | None = None

    def event(self, mask: int, x: int, y: int, size: tuple[int, int], *, moves: bool = False) -> None:
        """A PointerEvent on a canvas of `size`. `moves`: x and y are movements, from `ORIGIN`."""
        buttons = sum(ours for theirs, ours in BUTTONS if mask & theirs)
        if moves:
            self._hands.move(x - ORIGIN, y - ORIGIN, buttons)
        else:
            width, height = size
            self._at = to_unit(x, width, FULL), to_unit(y, height, FULL)
            self._hands.point(*self._at, buttons)
        turned, self._mask = mask & ~self._mask, mask
        for bit, (up, right) in WHEEL.items():
            if turned & bit:
                self._hands.wheel(up, right)

    def let_go(self) -> None:
        """The viewer has left: no button stays pressed."""
        if self._mask & (0x01 | 0x02 | 0x04):
            if self._at is None:
                self._hands.move(0, 0, 0)
            else:
                self._hands.point(*self._at, 0)
        self._mask = 0
