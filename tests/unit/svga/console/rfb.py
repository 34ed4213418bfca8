"""A viewer that believes nothing, RFB 3.8 read again from its RFC into a framebuffer of its own; what it looks at."""

import struct
import zlib
from collections.abc import Callable, Generator
from random import Random
from typing import Any

import numpy as np

from svga.console.pixels import PixelFormat, Pixels
from svga.console.session import Host, Session
from svga.display import Area, Cursor, CursorImage, Monitor, Rows
from svga.picture import Shown

RAW, COPY_RECT, TIGHT, ZRLE = 0, 1, 7, 16
DESKTOP, CURSOR, ALPHA_CURSOR, EXTENDED_DESKTOP, FENCE, CONTINUOUS = -223, -239, -314, -308, -312, -313
MOTION, EXTENDED_KEY = -257, -258
Reader = Generator[int, bytes, object]
KEY = bytes(8)


class Screen(Shown):
    """A picture in memory that anybody may write."""

    def __init__(self, width: int = 200, height: int = 150) -> None:
        super().__init__()
        self.wishes: list[list[Area]] = []
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        self.memory = bytearray(4 * width * height)
        self.pixels: Pixels = np.frombuffer(self.memory, np.uint32).reshape(height, width)
        rows = Rows((memoryview(self.memory),), width, height, 4 * width, 32)
        self.show((Monitor(0, Area(0, 0, width, height)), rows))

    def show(self, *layout: tuple[Monitor, Rows | None]) -> None:
        self.arrange = lambda: layout
        self.stale()
        self.settle()

    def draw(self, area: Area, seed: int, colours: int = 1 << 24) -> None:
        """Something, told of."""
        random = np.random.default_rng(seed)
        values = random.integers(0, 1 << 24, colours if colours < 1 << 16 else 1 << 16, np.uint32)
        chosen = random.integers(0, len(values), (area.height, area.width))
        self.pixels[area.y : area.bottom, area.x : area.right] = values[chosen]
        self.mark(area)

    def copy(self, area: Area, x: int, y: int) -> None:
        """What is at (x, y), to `area`, told of."""
        self.pixels[area.y : area.bottom, area.x : area.right] = self.pixels[
            y : y + area.height, x : x + area.width
        ].copy()
        self.copied(area, x, y)


def pointer(width: int = 8, height: int = 8, word: int = 0xFF102030) -> CursorImage:
    return CursorImage(width, height, (1, 2), struct.pack("<I", word) * (width * height))


class FakeHands:
    def __init__(self) -> None:
        self.did: list[tuple[object, ...]] = []

    def point(self, x: int, y: int, buttons: int) -> None:
        self.did.append(("point", x, y, buttons))

    def move(self, dx: int, dy: int, buttons: int) -> None:
        self.did.append(("move", dx, dy, buttons))

    def wheel(self, steps: int, sideways: int = 0) -> None:
        self.did.append(("wheel", steps, sideways))

    def key(self, code: int, down: bool) -> None:
        self.did.append(("key", code, down))


class Viewer:
    """A session on a `Picture`, and its other side. `got` are the kinds of rectangles, `said` all other messages."""

    def __init__(self, screen: Any, *encodings: int, key: bytes | None = None, hands: object = None) -> None:
        self.screen, self.hands, self.wakes = screen, hands or FakeHands(), 0
        host = Host(screen, self.hands, "test", key, lambda: bytes(range(16)))  # type: ignore[arg-type]
        self.session = Session(host, 0.0, self._woken)
        self.now = 0.0
        self.form = PixelFormat()
        self.fb: Pixels = np.zeros((0, 0), np.uint32)
        self.got: list[int] = []
        self.said: list[tuple[object, ...]] = []
        self.cursor: tuple[int, int, int, int, bytes] | None = None
        self.screens: list[tuple[int, ...]] = []
        self._zlib = [zlib.decompressobj() for _ in range(4)]
        self._zrle = zlib.decompressobj()
        self._data = bytearray()
        self._reader: Reader = self._messages()
        self._need = next(self._reader)
        if encodings or key is None:
            self.greet()
            self.encodings(*encodings)

    def _woken(self) -> None:
        self.wakes += 1

    # -- what it sends -------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> "Viewer":
        self.session.received(data, self.now)
        return self

    def greet(self) -> None:
        self.send(b"RFB 003.008\n\1\1")
        data = self.session.update()
        assert data[:18] == b"RFB 003.008\n\1\1\0\0\0\0"
        width, height = struct.unpack_from(">HH", data, 18)
        self.fb = np.zeros((height, width), np.uint32)

    def encodings(self, *numbers: int) -> "Viewer":
        return self.send(struct.pack(f">BxH{len(numbers)}i", 2, len(numbers), *numbers))

    def want(self, form: PixelFormat) -> "Viewer":
        self.form = form
        return self.send(b"\0\0\0\0" + form.pack())

    def ask(self, area: Area | None = None, *, again: bool = False) -> "Viewer":
        """For an update of that part, or all."""
        area = area or Area(0, 0, self.fb.shape[1], self.fb.shape[0])
        return self.send(struct.pack(">BBHHHH", 3, not again, area.x, area.y, area.width, area.height))

    # -- what it is sent -----------------------------------------------------------------------------------------------

    def take(self) -> bytes:
        """What there is for it now, taken in."""
        data = self.session.update()
        self._data += data
        while len(self._data) >= self._need:
            part = bytes(self._data[: self._need])
            del self._data[: self._need]
            self._need = self._reader.send(part)
        return data

    def look(self) -> "Viewer":
        """One update, as a viewer gets it that asks again and again."""
        self.ask()
        self.take()
        assert not self._data, "a message ends where it should"
        return self

    def sees(self) -> bool:
        """Whether it shows what is shown."""
        return bool(np.array_equal(self.fb, self.screen.pixels))

    def _messages(self) -> Reader:
        while True:
            (kind,) = yield 1
            if kind == 0:
                (count,) = struct.unpack(">xH", (yield 3))
                for _ in range(count):
                    yield from self._rectangle()
            elif kind == 1:
                _, count = struct.unpack(">xHH", (yield 5))
                self.said.append(("colours", (yield 6 * count)))
            elif kind == 150:
                self.said.append(("end of continuous updates",))
            else:
                assert kind == 248, f"message {kind}"
                flags, length = struct.unpack(">3xIB", (yield 8))
                self.said.append(("fence", flags, (yield length) if length else b""))

    def _rectangle(self) -> Generator[int, bytes, None]:
        x, y, width, height, kind = struct.unpack(">HHHHi", (yield 12))
        self.got.append(kind)
        part = Area(x, y, width, height)
        readers: dict[int, Callable[[Area], Generator[int, bytes, None]]] = {
            RAW: self._raw,
            COPY_RECT: self._copy,
            TIGHT: self._tight,
            ZRLE: self._zrle_tiles,
            CURSOR: self._cursor,
            ALPHA_CURSOR: self._alpha,
            DESKTOP: self._desktop,
            EXTENDED_DESKTOP: self._extended,
        }
        if kind not in (MOTION, EXTENDED_KEY):
            yield from readers[kind](part)
        else:
            self.said.append((kind, x))

    def _put(self, area: Area, pixels: Pixels) -> None:
        assert area.right <= self.fb.shape[1]
        assert area.bottom <= self.fb.shape[0]
        self.fb[area.y : area.bottom, area.x : area.right] = pixels

    def _decode(self, data: bytes) -> Pixels:
        """Whole pixels, one after the other; channels of less than eight bits stay small."""
        form = self.form
        words: Pixels = np.frombuffer(data, f"{'>' if form.big_endian else '<'}u{form.bpp // 8}").astype(np.uint32)
        red, green, blue = (words >> place & most for most, place in zip(form.most, form.shift, strict=True))
        return (red << 16 | green << 8 | blue).astype(np.uint32)

    def _raw(self, area: Area) -> Generator[int, bytes, None]:
        data = yield area.width * area.height * self.form.bpp // 8
        self._put(area, self._decode(data).reshape(area.height, area.width))

    def _copy(self, area: Area) -> Generator[int, bytes, None]:
        x, y = struct.unpack(">HH", (yield 4))
        self._put(area, self.fb[y : y + area.height, x : x + area.width].copy())

    def _colours(self, data: bytes, size: int) -> Pixels:
        if size == 3:
            parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.uint32)
            return (parts[:, 0] << 16 | parts[:, 1] << 8 | parts[:, 2]).astype(np.uint32)
        return self._decode(data)

    def _tight(self, area: Area) -> Generator[int, bytes, None]:
        assert area.width <= 2048
        size = 3 if (self.form.bpp, self.form.depth) == (32, 24) else self.form.bpp // 8
        (control,) = yield 1
        for n in range(4):
            if control >> n & 1:
                self._zlib[n] = zlib.decompressobj()
        if control >> 4 == 8:
            colour = self._colours((yield size), size)
            self._put(area, np.full((area.height, area.width), colour[0], np.uint32))
            return
        assert not control & 0x80
        stream, colours = control >> 4 & 3, None
        if control & 0x40:
            (filter_,) = yield 1
            assert filter_ == 1, "a palette"
            (count,) = yield 1
            colours = self._colours((yield size * (count + 1)), size)
        row = area.width * size if colours is None else area.width if len(colours) > 2 else -(-area.width // 8)
        length = row * area.height
        if length >= 12:
            packed = 0
            for n in range(3):
                (byte,) = yield 1
                packed |= (byte & 0x7F if n < 2 else byte) << 7 * n
                if not byte & 0x80:
                    break
            data = self._zlib[stream].decompress((yield packed))
        else:
            data = yield length
        assert len(data) == length
        if colours is None:
            self._put(area, self._colours(data, size).reshape(area.height, area.width))
            return
        index = np.frombuffer(data, np.uint8).reshape(area.height, row)
        if len(colours) == 2:
            index = np.unpackbits(index, axis=1)[:, : area.width]
        self._put(area, colours[index])

    def _zrle_tiles(self, area: Area) -> Generator[int, bytes, None]:
        (length,) = struct.unpack(">I", (yield 4))
        data = self._zrle.decompress((yield length))
        at = 0
        form = self.form
        used = sum(most << place for most, place in zip(form.most, form.shift, strict=True))
        short = form.bpp == 32 and form.depth <= 24 and (not used >> 24 or not used & 0xFF)
        size = 3 if short else form.bpp // 8

        def pixels(count: int) -> Pixels:
            nonlocal at
            part = data[at : at + count * size]
            at += count * size
            if short:
                low = not used >> 24
                before = low == form.big_endian
                rows = np.zeros((count, 4), np.uint8)
                rows[:, 1 if before else 0 :][:, :3] = np.frombuffer(part, np.uint8).reshape(-1, 3)
                part = rows.tobytes()
            return self._decode(part)

        for y in range(area.y, area.bottom, 64):
            for x in range(area.x, area.right, 64):
                tile = Area(x, y, min(64, area.right - x), min(64, area.bottom - y))
                kind = data[at]
                at += 1
                assert kind <= 16
                if kind == 0:
                    self._put(tile, pixels(tile.width * tile.height).reshape(tile.height, tile.width))
                    continue
                colours = pixels(kind)
                if kind == 1:
                    self._put(tile, np.full((tile.height, tile.width), colours[0], np.uint32))
                    continue
                bits = 1 if kind == 2 else 2 if kind <= 4 else 4
                row = -(-tile.width * bits // 8)
                packed = np.frombuffer(data[at : at + row * tile.height], np.uint8).reshape(tile.height, row)
                at += row * tile.height
                single = np.unpackbits(packed, axis=1).reshape(tile.height, -1, bits)
                index = np.zeros(single.shape[:2], np.uint8)
                for n in range(bits):
                    index = index << 1 | single[:, :, n]
                self._put(tile, colours[index[:, : tile.width]])
        assert at == len(data)

    def _cursor(self, area: Area) -> Generator[int, bytes, None]:
        length = area.width * area.height * self.form.bpp // 8 + -(-area.width // 8) * area.height
        self.cursor = area.x, area.y, area.width, area.height, (yield length) if length else b""

    def _alpha(self, area: Area) -> Generator[int, bytes, None]:
        assert (yield 4) == b"\0\0\0\0"
        length = 4 * area.width * area.height
        self.cursor = area.x, area.y, area.width, area.height, (yield length) if length else b""

    def _desktop(self, area: Area) -> Generator[int, bytes, None]:
        self.fb = np.zeros((area.height, area.width), np.uint32)
        yield from ()

    def _extended(self, area: Area) -> Generator[int, bytes, None]:
        (count,) = struct.unpack(">B3x", (yield 4))
        self.screens = list(struct.iter_unpack(">IHHHHI", (yield 16 * count)))
        self.said.append(("desktop", area.x, area.y, area.width, area.height))
        if area.y == 0 and (area.height, area.width) != self.fb.shape:
            self.fb = np.zeros((area.height, area.width), np.uint32)


def moved(x: int, y: int, image: CursorImage | None = None) -> Cursor:
    return Cursor(x, y, True, image if image is not None else pointer())


def chance(seed: int) -> Random:
    return Random(seed)
