"""The command stream, one decoder for FIFO and command buffers: how long a command is, and who carries it out.

Bytes come in private: what is decoded here no driver can change any more.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import ClassVar

from pvdev.errors import GuestFault
from svga.wire import COMMAND_MAX, Cap
from svga.wire_commands import (
    BODY,
    CMD_3D_END,
    CMD_3D_FIRST,
    SCREEN_STRUCT_MAX,
    WORDS,
    Cmd,
    Cmd3d,
    Remap,
)

Note = Callable[[str, str, int], None]
Handler = Callable[[memoryview], None]

Words = Callable[[memoryview, int], tuple[int, ...]]
_word: Words = Struct("<I").unpack_from
_two: Words = Struct("<II").unpack_from
_cursor: Words = Struct("<7I").unpack_from
_remap: Words = Struct("<4I").unpack_from

WITHDRAWN = frozenset((Cmd.DISPLAY_CURSOR, Cmd.MOVE_CURSOR))
NEEDS: dict[int, Cap] = {  # what a command asks of CAPABILITIES: one of these
    Cmd.RECT_FILL: Cap.RECT_FILL,
    Cmd.RECT_COPY: Cap.RECT_COPY,
    Cmd.RECT_ROP_COPY: Cap.RECT_COPY | Cap.RASTER_OP,
    Cmd.DEFINE_CURSOR: Cap.CURSOR,
    Cmd.DISPLAY_CURSOR: Cap.CURSOR,
    Cmd.MOVE_CURSOR: Cap.CURSOR,
    Cmd.DEFINE_ALPHA_CURSOR: Cap.ALPHA_CURSOR,
    **dict.fromkeys(range(Cmd.DEFINE_SCREEN, Cmd.ANNOTATION_COPY + 1), Cap.SCREEN_OBJECT_2),
    Cmd.DEFINE_GMR2: Cap.GMR2,
    Cmd.REMAP_GMR2: Cap.GMR2,
    **dict.fromkeys(Cmd3d, Cap.GBOBJECTS | Cap._3D),
}


class Refused(GuestFault):
    """A command that is wrong in itself. `length`: its bytes; 0 when nobody can tell where the next one begins."""

    def __init__(self, rule: str, what: str, value: int, length: int) -> None:
        super().__init__(rule, what, value)
        self.length = length


def _cursor_bytes(data: memoryview, at: int) -> int:
    _, _, _, width, height, and_depth, xor_depth = _cursor(data, at)
    return 28 + 4 * height * (-(-width * and_depth // 32) + -(-width * xor_depth // 32))


def _alpha_bytes(data: memoryview, at: int) -> int:
    width, height = _two(data, at + 12)
    return 20 + 4 * width * height


def _escape_bytes(data: memoryview, at: int) -> int:
    return 8 + (_two(data, at)[1] + 3 & ~3)


def _screen_bytes(data: memoryview, at: int) -> int:
    size = _word(data, at)[0]
    return size if 4 <= size <= SCREEN_STRUCT_MAX and not size % 4 else COMMAND_MAX + 1


def _remap_bytes(data: memoryview, at: int) -> int:
    _, flags, _, pages = _remap(data, at)
    if flags & Remap.VIA_GMR:
        return 16 + 8
    return 16 + (8 if flags & Remap.PPN64 else 4) * (1 if flags & Remap.SINGLE_PPN else pages)


_VARIABLE: dict[
    int, tuple[int, Callable[[memoryview, int], int]]
] = {  # bytes that tell the length, the payload's length
    Cmd.DEFINE_CURSOR: (28, _cursor_bytes),
    Cmd.DEFINE_ALPHA_CURSOR: (20, _alpha_bytes),
    Cmd.ESCAPE: (8, _escape_bytes),
    Cmd.DEFINE_SCREEN: (4, _screen_bytes),
    Cmd.REMAP_GMR2: (16, _remap_bytes),
}
_BODIES = {int(command): layout.size for command, layout in BODY.items()}
_FIXED = {int(command): 4 * words for command, words in WORDS.items()}


class Stream:
    """`handlers`: command -> who does it, with its payload (of a 3D command: its body). They may raise `GuestFault`."""

    STATE: ClassVar[tuple[str, ...]] = ("commands",)

    def __init__(
        self, caps: Cap, handlers: Mapping[int, Handler], note: Note, *, extended: bool, skip_unknown: bool
    ) -> None:
        self._handlers, self._note, self._skip = dict(handlers), note, skip_unknown
        lacking = {command for command, cap in NEEDS.items() if not caps & cap}
        if not extended:
            lacking |= {Cmd.FENCE, Cmd.ESCAPE}
        self._lacking = frozenset(lacking)
        self.commands = 0  # carried out so far
        self.spent = 0  # bytes they moved, and what else they cost, in bytes

    def spend(self, cost: int) -> None:
        """A command's work beyond itself; whoever runs the stream stops when there was enough of it."""
        self.spent += cost

    def length(self, data: memoryview, at: int) -> int:
        """Bytes of the command at `at`, as far as they can be told from what is there. Raises `Refused`."""
        left = len(data) - at
        if left < 4:
            return 4
        (command,) = _word(data, at)
        fixed = _FIXED.get(command)
        if fixed is not None:
            return 4 + fixed
        if CMD_3D_FIRST <= command < CMD_3D_END:
            if left < 8:
                return 8
            (size,) = _word(data, at + 4)
            if size > COMMAND_MAX or size % 4:
                raise Refused("SVG-D-049", f"command {command}", size, 0)
            return 8 + size
        variable = _VARIABLE.get(command)
        if variable is None:
            if self._skip:
                self._note("SVG-D-012", "command", command)
                return 4
            raise Refused("SVG-D-012", "command", command, 0)
        head, tell = variable
        if left < 4 + head:
            return 4 + head
        payload = tell(data, at + 4)
        if payload > COMMAND_MAX:
            raise Refused("SVG-D-029" if command < Cmd.ESCAPE else "SVG-D-049", f"command {command}", payload, 0)
        return 4 + payload

    def step(self, data: memoryview, at: int) -> int:
        """Carry out the command at byte `at`; its length, or 0 when not all of it is there.

        Raises `Refused`; it has had no effect then, or is known to have been done in part by who did it.
        """
        length = self.length(data, at)
        if at + length > len(data):
            return 0
        (command,) = _word(data, at)
        self.commands += 1
        if command in self._lacking:
            self._note("SVG-D-011", "command", command)
        if command in WITHDRAWN:
            self._note("SVG-D-012", "command", command)
        handler = self._handlers.get(command)
        if handler is None:
            if command >= CMD_3D_FIRST:
                raise Refused("SVG-D-011", f"command {command}", command, length)
            return length
        head = 8 if command >= CMD_3D_FIRST else 4
        if length - head < _BODIES.get(command, 0):
            raise Refused("SVG-D-049", f"body of command {command}", length - head, length)
        try:
            handler(data[at + head : at + length])
        except GuestFault as fault:
            raise Refused(fault.rule, f"command {command}: {fault.what}", fault.value, length) from None
        return length
