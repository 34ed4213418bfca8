"""Pixels of pointers, whatever they were said in, as words 0xAARRGGBB with colours premultiplied by alpha."""

from array import array
from collections.abc import Iterator
from functools import cache

from svga.formats import BYTES, to_32

OPAQUE = 0xFF00_0000
LOOKED_AT = 4096  # pixels whose colours are compared with their alpha


@cache
def _bits() -> tuple[tuple[int, ...], ...]:
    """The eight pixels of a byte of one-bit pixels, leftmost first."""
    return tuple(tuple(byte >> 7 - n & 1 for n in range(8)) for byte in range(256))


def _pixels(width: int, height: int, depth: int, data: memoryview) -> Iterator[list[int]]:
    """Rows padded to 32 bits, as lists: 0 or 1 at depth 1, else 24-bit colours (depth 8: grey)."""
    pitch = 4 * -(-width * depth // 32)
    for row in range(height):
        line = bytes(data[row * pitch : (row + 1) * pitch])
        if depth == 1:
            yield [bit for byte in line for bit in _bits()[byte]][:width]
        elif depth == 8:
            yield [byte * 0x010101 for byte in line[:width]]
        else:
            convert = to_32(depth)
            used = line[: width * BYTES[depth]]
            yield [word & 0xFFFFFF for word in array("I", used if convert is None else bytes(convert(used)))]


def masked(
    width: int, height: int, and_depth: int, and_data: memoryview, xor_depth: int, xor_data: memoryview
) -> bytes:
    """Where AND is 0, the colour of XOR; where both are set the screen would be inverted: black shows that instead."""
    out = array("I")
    lighten = 0xFFFFFF if xor_depth == 1 else 1
    for ands, xors in zip(
        _pixels(width, height, and_depth, and_data), _pixels(width, height, xor_depth, xor_data), strict=True
    ):
        for keep, color in zip(ands, xors, strict=True):
            if not keep:
                out.append(OPAQUE | color * lighten)
            else:
                out.append(OPAQUE if color else 0)
    return out.tobytes()


def alpha(data: bytes) -> tuple[bytes, int | None]:
    """Pixels as they are, and the first of those looked at that has more colour than alpha."""
    for word in array("I", data[: 4 * LOOKED_AT]):
        top = word >> 24
        if word >> 16 & 0xFF > top or word >> 8 & 0xFF > top or word & 0xFF > top:
            return data, word
    return data, None
