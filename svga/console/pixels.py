"""Pixels from a guest's memory to a viewer's format. In between every pixel is a word 0x00RRGGBB, in numpy arrays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from svga.console import wire
from svga.display import Area, CursorImage, Rows

Pixels = npt.NDArray[np.uint32]
"""height by width words 0x00RRGGBB."""
Masks = tuple[int, int, int]
PLAIN: Masks = (0xFF0000, 0x00FF00, 0x0000FF)
BYTES = {8: 1, 15: 2, 16: 2, 24: 3, 32: 4}


# -- from a guest ------------------------------------------------------------------------------------------------------


class Reader:
    """Reads parts of `rows`. Keeps their memory from being given back, so it is not to be kept long."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self._area = rows, Area(0, 0, rows.width, rows.height)
        self._convert = _converter(rows)
        self._array = _array(rows, self._area, rows.pieces[0], 0) if len(rows.pieces) == 1 else None

    def read(self, area: Area, out: Pixels) -> None:
        """Copy a part into `out`, of its size; what it has beyond the rows is black.

        Raises `ValueError` or `BufferError` when their memory is gone.
        """
        if area.right > self._area.right or area.bottom > self._area.bottom:
            out[:] = 0
            shown = area.meet(self._area)
            if shown is None:
                return
            left, top = shown.x - area.x, shown.y - area.y
            area, out = shown, out[top : top + shown.height, left : left + shown.width]
        if self._array is not None:
            self._convert(self._array[area.y : area.bottom, area.x : area.right], out)
            return
        rows = self._rows
        start = area.y * rows.pitch + area.x * BYTES[rows.bpp]
        buffer, at = _bytes(rows, start, (area.height - 1) * rows.pitch + area.width * BYTES[rows.bpp])
        self._convert(_array(rows, area, buffer, at), out)


def _array(rows: Rows, area: Area, buffer: memoryview | bytes, at: int) -> npt.NDArray[Any]:
    """As many pixels as `area` as they are stored, from byte `at` of `buffer` on; of 24 bits, three bytes each."""
    pixel = BYTES[rows.bpp]
    shape, strides = (area.height, area.width), (rows.pitch, pixel)
    if pixel == 3:
        return np.ndarray((*shape, 3), np.uint8, buffer, at, (*strides, 1))
    return np.ndarray(shape, np.dtype(f"<u{pixel}"), buffer, at, strides)


def _converter(rows: Rows) -> Callable[[npt.NDArray[Any], Pixels], object]:
    """What makes words 0x00RRGGBB of pixels as they are stored."""
    masks = rows.masks
    if rows.bpp == 32 and masks == PLAIN:
        return lambda words, out: np.bitwise_and(words, 0xFFFFFF, out=out)
    if rows.bpp == 32:
        return lambda words, out: np.copyto(out, _spread(words, masks))
    if rows.bpp == 24:

        def from_24(parts: npt.NDArray[Any], out: Pixels) -> None:
            wide = parts.astype(np.uint32)
            np.copyto(out, _spread(wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16, masks))

        return from_24
    table = _table(masks) if BYTES[rows.bpp] == 2 else _colours(rows.palette)
    return lambda numbers, out: np.take(table, numbers, out=out)


def _colours(palette: Sequence[tuple[int, int, int]]) -> Pixels:
    out = np.zeros(256, np.uint32)
    for n, (red, green, blue) in enumerate(palette[:256]):
        out[n] = red << 16 | green << 8 | blue
    return out


def _bytes(rows: Rows, start: int, length: int) -> tuple[memoryview | bytes, int]:
    """Something that holds those bytes, and where in it they begin; copied only when they lie apart."""
    found: list[memoryview] = []
    at = 0
    for piece in rows.pieces:
        first, last = max(start - at, 0), min(start + length - at, len(piece))
        if first < last:
            if not found and last - first == length:
                return piece, first
            found.append(piece[first:last])
        at += len(piece)
    return b"".join(found), 0


def _spread(words: npt.NDArray[Any], masks: Masks) -> npt.NDArray[Any]:
    """Words whose channels lie as `masks` say, as 0x00RRGGBB."""
    if masks == PLAIN:
        return words
    out = np.zeros(words.shape, np.uint32)
    for mask, place in zip(masks, (16, 8, 0), strict=True):
        low, bits = _channel(mask)
        if bits:
            value = (words & mask) >> low
            value = value << 8 - bits | value >> max(2 * bits - 8, 0) if bits < 8 else value >> bits - 8
            out |= (value & 0xFF).astype(np.uint32) << place
    return out


def _channel(mask: int) -> tuple[int, int]:
    """The lowest bit of a mask, and how many there are."""
    return (mask & -mask).bit_length() - 1 if mask else 0, mask.bit_count()


@cache
def _table(masks: Masks) -> Pixels:
    """0x00RRGGBB of every 16-bit pixel."""
    return _spread(np.arange(1 << 16, dtype=np.uint32), masks)


# -- a pointer that is drawn here --------------------------------------------------------------------------------------


def blend(pixels: Pixels, origin: tuple[int, int], image: CursorImage, place: tuple[int, int]) -> None:
    """Draw a cursor, its top left corner at `place`, over `pixels`, whose own is at `origin`."""
    x, y = place[0] - origin[0], place[1] - origin[1]
    part = Area(x, y, image.width, image.height).meet(Area(0, 0, pixels.shape[1], pixels.shape[0]))
    if part is None:
        return
    over = np.frombuffer(image.pixels, np.dtype("<u4")).reshape(image.height, image.width)
    over = over[part.y - y : part.bottom - y, part.x - x : part.right - x]
    under = pixels[part.y : part.bottom, part.x : part.right]
    through = 255 - (over >> 24)
    out = np.zeros(over.shape, np.uint32)
    for place_ in (16, 8, 0):
        value = (over >> place_ & 0xFF) + ((under >> place_ & 0xFF) * through + 127) // 255
        out |= np.minimum(value, 255) << place_
    pixels[part.y : part.bottom, part.x : part.right] = out


def straight(image: CursorImage) -> npt.NDArray[Any]:
    """A cursor's words 0xAARRGGBB with colours no longer multiplied by alpha."""
    words = np.frombuffer(image.pixels, np.dtype("<u4")).reshape(image.height, image.width).astype(np.uint32)
    alpha = words >> 24
    divisor = np.maximum(alpha, 1)
    out = alpha << 24
    for place in (16, 8, 0):
        out |= np.minimum(((words >> place & 0xFF) * 255 + divisor // 2) // divisor, 255) << place
    return out


# -- to a viewer -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PixelFormat:
    """How a viewer wants its pixels: `most` is a channel's greatest value, `shift` where it begins."""

    bpp: int = 32
    depth: int = 24
    big_endian: bool = False
    true_colour: bool = True
    most: Masks = (255, 255, 255)
    shift: tuple[int, int, int] = (16, 8, 0)

    @classmethod
    def unpack(cls, data: bytes) -> "PixelFormat":
        """Raises `ValueError` for one that cannot be."""
        bpp, depth, big, true, *rest = wire.PIXEL_FORMAT.unpack(data)
        if bpp not in (8, 16, 32):
            raise ValueError(f"{bpp} bits per pixel")
        if not true:
            if bpp != 8:
                raise ValueError(f"a colour map for {bpp} bits per pixel")
            return COLOUR_MAPPED
        if not 0 < depth <= 32:
            raise ValueError(f"a depth of {depth}")
        most, shift = rest[:3], rest[3:6]
        for value, place in zip(most, shift, strict=True):
            if not value or value & value + 1:
                raise ValueError(f"a greatest value of {value}")
            if place + value.bit_length() > bpp:
                raise ValueError(f"a shift of {place}")
        return cls(bpp, depth, bool(big), True, (most[0], most[1], most[2]), (shift[0], shift[1], shift[2]))

    def pack(self) -> bytes:
        return wire.PIXEL_FORMAT.pack(self.bpp, self.depth, self.big_endian, self.true_colour, *self.most, *self.shift)

    @property
    def _plain(self) -> bool:
        return self.bpp == 32 and self.most == (255, 255, 255) and self.shift == (16, 8, 0)

    @property
    def bytes(self) -> int:
        """Of a pixel."""
        return self.bpp // 8

    def encode(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The same pixels as the viewer reads them: an array of bpp bits an item."""
        kind = np.dtype(f"{'>' if self.big_endian else '<'}u{self.bytes}")
        if self._plain:
            return pixels.astype(kind, copy=False)
        tables = _tables(self.most, self.shift)
        words: npt.NDArray[Any] = (
            tables[0][pixels >> 16 & 0xFF] | tables[1][pixels >> 8 & 0xFF] | tables[2][pixels & 0xFF]
        )
        return words.astype(kind)

    @property
    def three_bytes(self) -> int | None:
        """Of four bytes of a pixel, which one says nothing, first or last (0, 3); None: none, or it has not four."""
        if self.bpp != 32 or self.depth > 24 or not self.true_colour:
            return None
        used = 0
        for value, place in zip(self.most, self.shift, strict=True):
            used |= value << place
        if not used >> 24:
            return 0 if self.big_endian else 3
        return None if used & 0xFF else 3 if self.big_endian else 0

    def compact(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """ZRLE's pixels: `encode`, of which the byte that says nothing is left out; one row of bytes a pixel."""
        data = np.ascontiguousarray(self.encode(pixels)).view(np.uint8).reshape(-1, self.bytes)
        empty = self.three_bytes
        return data if empty is None else data[:, 1:] if empty == 0 else data[:, :3]

    def tight(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Tight's pixels: red, green, blue where that is all there is to them; one row of bytes a pixel."""
        if not self.tight_is_short:
            return np.ascontiguousarray(self.encode(pixels)).view(np.uint8).reshape(-1, self.bytes)
        source = np.ascontiguousarray(pixels, np.dtype("<u4")).view(np.uint8).reshape(-1, 4)
        out = np.empty((len(source), 3), np.uint8)
        for n in range(3):
            out[:, n] = source[:, 2 - n]
        return out

    @property
    def tight_is_short(self) -> bool:
        return self.bpp == 32 and self.depth == 24 and self.true_colour and self.most == (255, 255, 255)


COLOUR_MAPPED = PixelFormat(8, 8, False, False, (7, 7, 3), (0, 3, 6))


@cache
def colour_map() -> bytes:
    """The message that tells a viewer with a colour map what the colours of `COLOUR_MAPPED` are."""
    out = [wire.COLOUR_MAP.pack(wire.SET_COLOUR_MAP, 0, 256)]
    for n in range(256):
        parts = (
            (n >> place & most) * 0xFFFF // most
            for most, place in zip(COLOUR_MAPPED.most, COLOUR_MAPPED.shift, strict=True)
        )
        out.append(wire.COLOUR.pack(*parts))
    return b"".join(out)


@cache
def _tables(most: Masks, shift: tuple[int, int, int]) -> tuple[Pixels, Pixels, Pixels]:
    """What each value of a channel adds to a pixel."""
    values = np.arange(256, dtype=np.uint64)
    red, green, blue = (
        (
            (
                values >> np.uint64(8 - value.bit_length())
                if value < 256
                else values * np.uint64(value) // np.uint64(255)
            )
            << np.uint64(place)
        ).astype(np.uint32)
        for value, place in zip(most, shift, strict=True)
    )
    return red, green, blue
