"""Rectangles of pixels as RFB encodes them: Raw, Tight (fill, palette, copy) and ZRLE (raw, solid, packed palette).

Encoders keep their zlib streams, so each viewer has its own. Ref: RFC 6143 7.7; rfbproto, "Tight Encoding".
"""

import zlib
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from svga.console import wire
from svga.console.pixels import PixelFormat, Pixels
from svga.console.wire import Encoding

COLOURS_MOST = 16  # of a palette
PIECE, DENSE = 8192, 0.9  # bytes tried; what of them is left where nothing is to be gained
SAMPLE = 61  # every such pixel is looked at before a palette is made
TIGHT_PIXELS_MOST = 1 << 19  # of a rectangle: Tight's lengths end at 4 MiB


class Encoder(Protocol):
    """`encode`: the content of a rectangle, without its head, appended to `out`."""

    number: int
    width_most: int
    pixels_most: int

    def encode(self, pixels: Pixels, form: PixelFormat, out: list[bytes]) -> None: ...


class Raw:
    number = int(Encoding.RAW)
    width_most, pixels_most = 1 << 16, 1 << 25

    def encode(self, pixels: Pixels, form: PixelFormat, out: list[bytes]) -> None:
        out.append(form.encode(pixels).tobytes())


def palette(pixels: Pixels, most: int = COLOURS_MOST) -> tuple[list[int], npt.NDArray[np.uint8]] | None:
    """(colours, the number of each pixel's colour), when there are no more than `most`."""
    flat = pixels.reshape(-1)
    if len(np.unique(flat[::SAMPLE])) > most:
        return None
    colours = [int(flat[0])]
    left = flat != flat[0]
    index = left.astype(np.uint8)
    while left.any():
        if len(colours) == most:
            return None
        colour = flat[int(left.argmax())]
        colours.append(int(colour))
        left &= flat != colour
        index += left
    return colours, index.reshape(pixels.shape)


class Tight:
    """`level`: zlib's, 0 to 9; another one begins new streams."""

    number = int(Encoding.TIGHT)
    width_most, pixels_most = wire.TIGHT_WIDTH_MOST, TIGHT_PIXELS_MOST
    COPY, MONO, INDEXED, STORED = range(4)  # streams

    def __init__(self, level: int) -> None:
        self._streams: dict[int, Any] = {}
        self._reset = 0
        self.level = level

    def set_level(self, level: int) -> None:
        if level != self.level:
            self.level = level
            self._reset |= sum(1 << n for n in self._streams)
            self._streams.clear()

    def encode(self, pixels: Pixels, form: PixelFormat, out: list[bytes]) -> None:
        found = palette(pixels)
        reset, self._reset = self._reset, 0
        if found is None:
            data = form.tight(pixels).reshape(-1)
            stream = self.STORED if dense(data) else self.COPY
            out.append(bytes([reset | stream << 4]))
            self._compress(stream, data, out)
            return
        colours, index = found
        values = form.tight(np.array(colours, np.uint32)).tobytes()
        if len(colours) == 1:
            out.append(bytes([reset | wire.TIGHT_FILL]) + values)
            return
        stream = self.MONO if len(colours) == 2 else self.INDEXED
        head = bytes([reset | wire.TIGHT_FILTER | stream << 4, wire.TIGHT_PALETTE, len(colours) - 1])
        out.append(head + values)
        self._compress(stream, np.packbits(index, axis=1) if stream == self.MONO else index, out)

    def _compress(self, number: int, data: npt.NDArray[np.uint8], out: list[bytes]) -> None:
        if data.size < wire.TIGHT_LEAST:
            out.append(data.tobytes())
            return
        stream = self._streams.get(number)
        if stream is None:
            stream = self._streams[number] = zlib.compressobj(0 if number == self.STORED else self.level)
        body = stream.compress(np.ascontiguousarray(data).data) + stream.flush(zlib.Z_SYNC_FLUSH)
        out += (compact(len(body)), body)


def dense(data: npt.NDArray[np.uint8]) -> bool:
    """Whether compressing is a waste of time: a piece out of the middle of much data hardly shrinks (video, photos)."""
    if data.size < 4 * PIECE:
        return False
    middle = data[data.size // 2 : data.size // 2 + PIECE]
    return len(zlib.compress(middle.tobytes(), 1)) > DENSE * PIECE


def compact(length: int) -> bytes:
    """A length as Tight writes it: seven bits a byte, lowest first, three bytes at most."""
    out = bytearray()
    while length >> 7 and len(out) < 2:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out)


class Zrle:
    number = int(Encoding.ZRLE)
    width_most, pixels_most = 1 << 16, 1 << 22

    def __init__(self, level: int) -> None:
        self._stream = zlib.compressobj(level)

    def encode(self, pixels: Pixels, form: PixelFormat, out: list[bytes]) -> None:
        tiles: list[bytes] = []
        height, width = pixels.shape
        side = wire.ZRLE_TILE
        for y in range(0, height, side):
            for x in range(0, width, side):
                self._tile(pixels[y : y + side, x : x + side], form, tiles)
        body = self._stream.compress(b"".join(tiles)) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        out += (wire.U32.pack(len(body)), body)

    @staticmethod
    def _tile(pixels: Pixels, form: PixelFormat, tiles: list[bytes]) -> None:
        found = palette(pixels)
        if found is None:
            tiles += (b"\0", form.compact(pixels).tobytes())
            return
        colours, index = found
        tiles += (bytes([len(colours)]), form.compact(np.array(colours, np.uint32)).tobytes())
        if len(colours) > 1:
            bits = 1 if len(colours) == 2 else 2 if len(colours) <= 4 else 4
            tiles.append(_packed(index, bits).tobytes())


def _packed(index: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    """Numbers of so many bits, the first in the highest bits, each row beginning a byte."""
    if bits == 1:
        return np.packbits(index, axis=1)
    each = 8 // bits
    padded = np.zeros((index.shape[0], -(-index.shape[1] // each) * each), np.uint8)
    padded[:, : index.shape[1]] = index
    out = np.zeros((index.shape[0], padded.shape[1] // each), np.uint8)
    for n in range(each):
        out |= padded[:, n::each] << (8 - bits * (n + 1))
    return out
