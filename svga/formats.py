"""Pixel formats: of framebuffers by bits and depth, of surfaces by number; rows from one to the other, bit by bit."""

from array import array
from functools import cache

from pvdev.mem import Buffer
from svga.planes import Convert
from svga.wire_commands import Format

Masks = tuple[int, int, int]
MASKS: dict[int, Masks] = {
    8: (0, 0, 0),
    15: (0x7C00, 0x03E0, 0x001F),
    16: (0xF800, 0x07E0, 0x001F),
    24: (0xFF0000, 0x00FF00, 0x0000FF),
    32: (0xFF0000, 0x00FF00, 0x0000FF),
}
DEPTHS = {8: 8, 15: 15, 16: 16, 24: 24, 32: 24}
BYTES = {8: 1, 15: 2, 16: 2, 24: 3, 32: 4}
GMRFB_FORMATS = {(32, 24): 32, (24, 24): 24, (16, 16): 16, (16, 15): 15}  # (bits per pixel, colour depth) -> which

SURFACES = {  # what a screen target can show -> bits per pixel as in MASKS
    Format.X8R8G8B8: 32,
    Format.A8R8G8B8: 32,
    Format.R5G6B5: 16,
    Format.X1R5G5B5: 15,
    Format.A1R5G5B5: 15,
    Format.B8G8R8A8_UNORM: 32,
    Format.B8G8R8X8_UNORM: 32,
}
BLOCK_BYTES = {int(format): BYTES[bpp] for format, bpp in SURFACES.items()} | {int(Format.BUFFER): 1}


def _widen(value: int, bits: int) -> int:
    """`bits` of a channel as eight, the top bits repeated below."""
    value <<= 8 - bits
    return value | value >> bits


@cache
def _from_16(bpp: int) -> "array[int]":
    green = 6 if bpp == 16 else 5
    out = array("I", bytes(4 << 16))
    for pixel in range(1 << 16):
        red, blue = pixel >> 5 + green & 31, pixel & 31
        out[pixel] = _widen(red, 5) << 16 | _widen(pixel >> 5 & (1 << green) - 1, green) << 8 | _widen(blue, 5)
    return out


def _row_from_16(bpp: int) -> Convert:
    table = _from_16(bpp)
    return lambda row: array("I", map(table.__getitem__, memoryview(row).cast("B").cast("H"))).tobytes()


def _row_to_16(bpp: int) -> Convert:
    green = 6 if bpp == 16 else 5

    def convert(row: Buffer) -> Buffer:
        words = memoryview(row).cast("B").cast("I")
        return array(
            "H",
            [(w >> 19 & 31) << 5 + green | (w >> 16 - green & (1 << green) - 1) << 5 | w >> 3 & 31 for w in words],
        ).tobytes()

    return convert


def _row_from_24(row: Buffer) -> Buffer:
    out = bytearray(len(row) // 3 * 4)
    for channel in range(3):
        out[channel::4] = row[channel::3]
    return out


def _row_to_24(row: Buffer) -> Buffer:
    out = bytearray(len(row) // 4 * 3)
    for channel in range(3):
        out[channel::3] = row[channel::4]
    return out


def to_32(bpp: int) -> Convert | None:
    """What makes 32-bit pixels of a row of these; None: they are."""
    if bpp == 32:
        return None
    return _row_from_24 if bpp == 24 else _row_from_16(bpp)


def from_32(bpp: int) -> Convert | None:
    """The way back."""
    if bpp == 32:
        return None
    return _row_to_24 if bpp == 24 else _row_to_16(bpp)
