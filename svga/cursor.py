"""The pointer: its images, from commands and from a MOB, and its place, by every way a driver has to say it.

Ref: svga_reg.h; Linux vmwgfx_kms.c (the place is the hot spot's); VirtualBox (registers count when CURSOR_ON is
written).
"""

from collections.abc import Callable
from struct import Struct
from typing import ClassVar

from pvdev.errors import GuestFault
from svga.display import Cursor, CursorImage
from svga.formats import MASKS
from svga.picture import Shown
from svga.planes import Pages
from svga.profiles import Profile
from svga.rect import signed
from svga.shapes import alpha, masked
from svga.wire import (
    CURSOR_BYTES_MAX,
    CURSOR_DIMENSION_MAX,
    CURSOR_ON_HIDE,
    CURSOR_ON_REMOVE_FROM_FB,
    INVALID_ID,
    Fifo,
    FifoCap,
)
from svga.wire_commands import MOB_CURSOR, MOB_CURSOR_ALPHA, MOB_CURSOR_COLOR, Cmd

Note = Callable[[str, str, int], None]
MOB_DIMENSION_MAX = 256  # register CURSOR_MAX_DIMENSION
MOB_BYTES_MAX = MOB_CURSOR.size + 4 * MOB_DIMENSION_MAX**2  # register CURSOR_MAX_BYTE_SIZE
_define = Struct("<7I").unpack_from
_define_alpha = Struct("<5I").unpack_from
_two = Struct("<II").unpack_from
_mob_color = Struct("<6I").unpack_from
_mob_alpha = Struct("<4I").unpack_from


class Pointer:
    """`mob`: the pages of a MOB by id; `root`: where a screen is on the guest's desktop. Both raise `GuestFault`."""

    STATE: ClassVar[tuple[str, ...]] = ("_x", "_y", "_visible", "_image", "_staged", "_on", "_staged_4", "_mobid")

    def __init__(
        self,
        profile: Profile,
        shown: Shown,
        note: Note,
        spend: Callable[[int], None],
        *,
        mob: Callable[[int], Pages],
        root: Callable[[int], tuple[int, int]],
        words: memoryview | None,
    ) -> None:
        self._shown, self._note, self._spend, self._mob, self._root = shown, note, spend, mob, root
        self._words = words if profile.fifo_caps & FifoCap.CURSOR_BYPASS_3 else None
        self.commands = {
            Cmd.DEFINE_CURSOR: self._define,
            Cmd.DEFINE_ALPHA_CURSOR: self._define_alpha,
            Cmd.DISPLAY_CURSOR: self._display,
            Cmd.MOVE_CURSOR: self._move,
        }
        self.reset()

    def reset(self) -> None:
        self._x = self._y = 0
        self._visible = False
        self._image = CursorImage()
        self._staged = 0, 0
        self._on = 0
        self._staged_4 = [0, 0, 0, INVALID_ID]  # on, x, y, screen
        self._mobid = INVALID_ID
        self.tell()

    def tell(self) -> None:
        """Viewers see it as it is."""
        self._shown.point(Cursor(self._x, self._y, self._visible and bool(self._image.pixels), self._image))

    def _place(self, x: int, y: int, on: int, screen: int = INVALID_ID) -> None:
        """All of it at once; x and y as the words they came in."""
        left = top = 0
        if screen != INVALID_ID:
            try:
                left, top = self._root(screen)
            except GuestFault as fault:
                self._note(fault.rule, "cursor screen", screen)
        self._x, self._y = signed(x) + left, signed(y) + top
        self._visible = on not in (CURSOR_ON_HIDE, CURSOR_ON_REMOVE_FROM_FB)
        self.tell()

    # -- images --------------------------------------------------------------------------------------------------------

    def _hot(self, x: int, y: int, width: int, height: int) -> tuple[int, int]:
        if x >= max(width, 1) or y >= max(height, 1):
            self._note("SVG-D-030", "hot spot", max(x, y))
        return min(x, max(width - 1, 0)), min(y, max(height - 1, 0))

    def _show(self, image: CursorImage) -> None:
        self._image = image
        self.tell()

    def _masked(self, fields: tuple[int, ...], data: memoryview, most: int, side: int) -> CursorImage:
        """An image of an AND and an XOR mask. Raises `GuestFault`."""
        x, y, width, height, and_depth, xor_depth = fields
        if width > side or height > side or len(data) > most:
            raise GuestFault("SVG-D-029", "cursor size", max(width, height))
        if any(depth != 1 and depth not in MASKS for depth in (and_depth, xor_depth)):
            raise GuestFault("SVG-D-029", "cursor depth", and_depth if and_depth != 1 else xor_depth)
        if not width or not height:
            return CursorImage()
        and_size = 4 * height * -(-width * and_depth // 32)
        if and_size + 4 * height * -(-width * xor_depth // 32) > len(data):
            raise GuestFault("SVG-D-029", "cursor data", len(data))
        self._spend(64 * width * height)
        pixels = masked(width, height, and_depth, data[:and_size], xor_depth, data[and_size:])
        return CursorImage(width, height, self._hot(x, y, width, height), pixels)

    def _premultiplied(self, fields: tuple[int, ...], data: memoryview, most: int, side: int) -> CursorImage:
        """An image of pixels with alpha. Raises `GuestFault`."""
        x, y, width, height = fields
        size = 4 * width * height
        if width > side or height > side or size > most or size > len(data):
            raise GuestFault("SVG-D-029", "cursor size", max(width, height))
        if not size:
            return CursorImage()
        self._spend(64 * width * height)
        pixels, wrong = alpha(bytes(data[:size]))
        if wrong is not None:
            self._note("SVG-D-031", "cursor pixel", wrong)
        return CursorImage(width, height, self._hot(x, y, width, height), pixels)

    def _define(self, payload: memoryview) -> None:
        fields = _define(payload)[1:]
        self._show(self._masked(fields, payload[28:], CURSOR_BYTES_MAX, CURSOR_DIMENSION_MAX))

    def _define_alpha(self, payload: memoryview) -> None:
        fields = _define_alpha(payload)[1:]
        self._show(self._premultiplied(fields, payload[20:], CURSOR_BYTES_MAX, CURSOR_DIMENSION_MAX))

    def _display(self, payload: memoryview) -> None:
        self._visible = bool(_two(payload)[1])
        self.tell()

    def _move(self, payload: memoryview) -> None:
        x, y = _two(payload)
        self._x, self._y = signed(x), signed(y)
        self.tell()

    # -- registers -----------------------------------------------------------------------------------------------------

    def _read_CURSOR_X(self) -> int:
        return self._staged[0]

    def _write_CURSOR_X(self, value: int) -> None:
        self._staged = value, self._staged[1]

    def _read_CURSOR_Y(self) -> int:
        return self._staged[1]

    def _write_CURSOR_Y(self, value: int) -> None:
        self._staged = self._staged[0], value

    def _read_CURSOR_ON(self) -> int:
        return self._on

    def _write_CURSOR_ON(self, value: int) -> None:
        self._on = value
        self._place(*self._staged, value)

    def _read_CURSOR4_ON(self) -> int:
        return self._staged_4[0]

    def _write_CURSOR4_ON(self, value: int) -> None:
        self._staged_4[0] = value

    def _read_CURSOR4_X(self) -> int:
        return self._staged_4[1]

    def _write_CURSOR4_X(self, value: int) -> None:
        self._staged_4[1] = value

    def _read_CURSOR4_Y(self) -> int:
        return self._staged_4[2]

    def _write_CURSOR4_Y(self, value: int) -> None:
        self._staged_4[2] = value

    def _read_CURSOR4_SCREEN_ID(self) -> int:
        return self._staged_4[3]

    def _write_CURSOR4_SCREEN_ID(self, value: int) -> None:
        self._staged_4[3] = value

    def _write_CURSOR4_SUBMIT(self, value: int) -> None:
        on, x, y, screen = self._staged_4
        self._place(x, y, on, screen)

    def _read_CURSOR_MOBID(self) -> int:
        return self._mobid

    def _write_CURSOR_MOBID(self, value: int) -> None:
        """The image is read now; what the driver changes in the MOB later needs another write."""
        self._mobid = value
        if value == INVALID_ID:
            self._show(CursorImage())
            return
        try:
            self._show(self._from_mob(self._mob(value)))
        except GuestFault as fault:
            self._note(fault.rule, f"CURSOR_MOBID: {fault.what}", fault.value)

    def _from_mob(self, pages: Pages) -> CursorImage:
        head = bytes(pages.read(0, MOB_CURSOR.size))
        fields = MOB_CURSOR.decode(head)
        kind, size, union = fields["type"], fields["sizeInBytes"], fields["header"]
        assert isinstance(kind, int)
        assert isinstance(size, int)
        assert isinstance(union, bytes)
        if size > MOB_BYTES_MAX or kind not in (MOB_CURSOR_COLOR, MOB_CURSOR_ALPHA):
            raise GuestFault("SVG-D-056", "header", size if kind in (MOB_CURSOR_COLOR, MOB_CURSOR_ALPHA) else kind)
        data = memoryview(bytes(pages.read(MOB_CURSOR.size, min(size, pages.size - MOB_CURSOR.size))))
        if kind == MOB_CURSOR_ALPHA:
            return self._premultiplied(_mob_alpha(union), data, MOB_BYTES_MAX, MOB_DIMENSION_MAX)
        return self._masked(_mob_color(union), data, MOB_BYTES_MAX, MOB_DIMENSION_MAX)

    # -- the FIFO's words ----------------------------------------------------------------------------------------------

    def look(self, registers: int) -> bool:
        """Bypass 3: take the place from FIFO memory when its count has moved. `registers`: words the FIFO leaves."""
        words = self._words
        if words is None or registers <= Fifo.CURSOR_LAST_UPDATED:
            return False
        count = words[Fifo.CURSOR_COUNT]
        if count == words[Fifo.CURSOR_LAST_UPDATED]:
            return False
        screen = words[Fifo.CURSOR_SCREEN_ID] if registers > Fifo.CURSOR_SCREEN_ID else INVALID_ID
        on, x, y = words[Fifo.CURSOR_ON], words[Fifo.CURSOR_X], words[Fifo.CURSOR_Y]
        words[Fifo.CURSOR_LAST_UPDATED] = count
        self._place(x, y, on, screen)
        return True
