"""Commands as bytes, for FIFO and command buffers. Numbers may be negative; they are sent as 32-bit words."""

from struct import pack

from svga.wire import INVALID_ID
from svga.wire_commands import BODY, COPY_BOX, SCREEN, Cmd, Cmd3d, MobFormat, Otable, ScreenFlag


def words(*values: int) -> bytes:
    return pack(f"<{len(values)}I", *(value & 0xFFFF_FFFF for value in values))


def command(number: int, *values: int, tail: bytes = b"") -> bytes:
    """A command of the first kind: its id, then words, then bytes."""
    return words(number, *values) + tail


def body(number: Cmd3d, *values: int, tail: bytes = b"") -> bytes:
    """A command of the second kind: its id, the size of its body, the body."""
    packed = BODY[number].pack(*values) + tail
    return words(number, len(packed)) + packed


def update(x: int, y: int, width: int, height: int) -> bytes:
    return command(Cmd.UPDATE, x, y, width, height)


def fence(value: int) -> bytes:
    return command(Cmd.FENCE, value)


def rect_copy(sx: int, sy: int, dx: int, dy: int, width: int, height: int) -> bytes:
    return command(Cmd.RECT_COPY, sx, sy, dx, dy, width, height)


def alpha_cursor(width: int, height: int, hot: tuple[int, int], pixels: bytes) -> bytes:
    return command(Cmd.DEFINE_ALPHA_CURSOR, 0, *hot, width, height, tail=pixels)


def screen(
    number: int,
    width: int,
    height: int,
    *,
    size: int = 44,
    flags: int = ScreenFlag.MUST_BE_SET,
    **fields: int,
) -> bytes:
    """DEFINE_SCREEN with a structure of `size` bytes; `fields`: rootX, rootY, gmrId, offset, pitch, cloneCount."""
    packed = SCREEN.encode(structSize=size, id=number, flags=flags, width=width, height=height, **fields)
    return words(Cmd.DEFINE_SCREEN) + packed[:size].ljust(size, b"\0")


def gmrfb(gmr: int, offset: int, pitch: int, *, bits: int = 32, depth: int = 24) -> bytes:
    return command(Cmd.DEFINE_GMRFB, gmr, offset, pitch, bits | depth << 8)


def blit_to_screen(sx: int, sy: int, left: int, top: int, right: int, bottom: int, number: int = 0) -> bytes:
    return command(Cmd.BLIT_GMRFB_TO_SCREEN, sx, sy, left, top, right, bottom, number)


def blit_from_screen(dx: int, dy: int, left: int, top: int, right: int, bottom: int, number: int = 0) -> bytes:
    return command(Cmd.BLIT_SCREEN_TO_GMRFB, dx, dy, left, top, right, bottom, number)


def otable(kind: Otable, base: int, size: int, form: int = MobFormat.RANGE, *, valid: int = 0) -> bytes:
    return body(Cmd3d.SET_OTABLE_BASE64, kind, base, size, valid, form)


def mob(mobid: int, form: int, base: int, size: int) -> bytes:
    return body(Cmd3d.DEFINE_GB_MOB64, mobid, form, base, size)


def surface(sid: int, form: int, width: int, height: int, *, flags: int = 0, mips: int = 1, depth: int = 1) -> bytes:
    return body(Cmd3d.DEFINE_GB_SURFACE, sid, flags, form, mips, 0, 0, width, height, depth)


def update_image(
    sid: int, x: int, y: int, width: int, height: int, *, z: int = 0, face: int = 0, mip: int = 0
) -> bytes:
    return body(Cmd3d.UPDATE_GB_IMAGE, sid, face, mip, x, y, z, width, height, 1)


def surface_copy(source: int, target: int, *boxes: tuple[int, ...]) -> bytes:
    """`boxes`: x, y, z, width, height, depth, source x, y, z."""
    return body(Cmd3d.SURFACE_COPY, source, 0, 0, target, 0, 0, tail=b"".join(COPY_BOX.pack(*box) for box in boxes))


def target(number: int, x: int, y: int, width: int, height: int, *, flags: int = 0) -> bytes:
    return body(Cmd3d.DEFINE_GB_SCREENTARGET, number, width, height, x, y, flags, 0)


def bind_target(number: int, sid: int = INVALID_ID) -> bytes:
    return body(Cmd3d.BIND_GB_SCREENTARGET, number, sid, 0, 0)


def update_target(number: int, x: int, y: int, width: int, height: int) -> bytes:
    return body(Cmd3d.UPDATE_GB_SCREENTARGET, number, x, y, width, height)
