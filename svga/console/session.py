"""One viewer's RFB session: bytes in, bytes out. No socket and no clock; time (s) comes in.

A viewer is never trusted: what it may send before it has shown its password is a few bytes, every message has a bound,
and the first one that cannot be ends the session with a reason.
"""

from collections.abc import Callable
from dataclasses import dataclass

from svga.console import password, wire
from svga.console.canvas import Canvas
from svga.console.encodings import Encoder, Raw, Tight, Zrle
from svga.console.hands import Keyboard, Mouse
from svga.console.pixels import COLOUR_MAPPED, PixelFormat, colour_map, straight
from svga.console.view import View
from svga.console.wire import Encoding
from svga.display import Area, CursorImage, Hands, Picture, Watch

HANDSHAKE_S = 10.0
ENCODINGS_MOST = 64  # remembered
CUT_TEXT_MOST = 1 << 20  # bytes
ANSWERS_MOST = 1 << 20  # bytes of answers nobody reads
WISH_S = 0.2  # between two sizes wished for
LEVEL = 1  # zlib's, where a viewer names none


class NoHands:
    """For a display whose guest nobody can reach: pointer and keys go nowhere."""

    def point(self, x: int, y: int, buttons: int) -> None: ...

    def move(self, dx: int, dy: int, buttons: int) -> None: ...

    def wheel(self, steps: int, sideways: int = 0) -> None: ...

    def key(self, code: int, down: bool) -> None: ...


@dataclass(frozen=True)
class Host:
    """What every session of a display shares. `hands` may say `absolute = False`: only movements reach the guest.

    `key`: of a password, see `password.key`; None: none is asked for. `challenge`: 16 random bytes, new each time.
    """

    picture: Picture
    hands: Hands
    name: str
    key: bytes | None
    challenge: Callable[[], bytes]

    @property
    def absolute(self) -> bool:
        return bool(getattr(self.hands, "absolute", True))


class Broken(Exception):
    """The viewer sent what cannot be."""


class Session:
    """`received` what came from the viewer, send it what `update` returns; over once `closed` says why.

    `wake` is called, from wherever the display runs, when there may be something to send.
    """

    def __init__(self, host: Host, now: float, wake: Callable[[], None] = lambda: None) -> None:
        self._host, self._wake = host, wake
        self.closed: str | None = None
        self.ready = False  # the viewer has shown who it is, and been told what it sees
        self.updates = 0
        self._since = now
        self._in = bytearray()
        self._skip = 0  # bytes of a message that are of no use
        self._out = bytearray(wire.VERSION)
        self._step: Callable[[float], bool] = self._version
        self._minor = 8
        self._challenge = b""
        self._format = PixelFormat()
        self._encodings: tuple[int, ...] = ()
        self._encoder: Encoder = Raw()
        self._tight: Tight | None = None
        self._zrle: Zrle | None = None
        self._request: Area | None = None
        self._forced: Area | None = None  # to be sent also where the viewer has it
        self._continuous: Area | None = None
        self._watch = Watch(wake)
        self._unwatch: Callable[[], None] = lambda: None
        self._news: set[Encoding] = set()  # of the pseudo rectangles that are to be sent
        self._reason, self._status = wire.SERVER, wire.ACCEPTED
        self._wish: list[Area] | None = None
        self._wished = -WISH_S

    # -- in ------------------------------------------------------------------------------------------------------------

    def received(self, data: bytes, now: float) -> None:
        """Bytes from the viewer, cut anywhere."""
        if self.closed is not None:
            return
        self._in += data
        try:
            while self.closed is None and self._useless() and self._step(now):
                if len(self._out) > ANSWERS_MOST:
                    raise Broken("asks, and does not read the answers")
        except Broken as broken:
            self.close(str(broken))

    def _useless(self) -> bool:
        """Drop what is to be skipped; whether there is more."""
        if self._skip:
            length = min(self._skip, len(self._in))
            del self._in[:length]
            self._skip -= length
        return bool(self._in)

    def _take(self, length: int) -> bytes | None:
        """The next so many bytes, once they are all there."""
        if len(self._in) < length:
            return None
        out = bytes(self._in[:length])
        del self._in[:length]
        return out

    def due(self) -> float | None:
        """When `tick` is to be called; None: need not be."""
        if not self.ready:
            return self._since + HANDSHAKE_S
        return self._wished + WISH_S if self._wish is not None else None

    def tick(self, now: float) -> None:
        if self.closed is None and not self.ready and now >= self._since + HANDSHAKE_S:
            self.close(f"no handshake in {HANDSHAKE_S:g} s")
        elif self.closed is None and self._wish is not None and now >= self._wished + WISH_S:
            self._ask(now)

    def close(self, why: str) -> None:
        """The session ends: nothing stays pressed, nothing is watched any more."""
        if self.closed is None:
            self.closed = why
            self._unwatch()
            self._in.clear()
            if self.ready:
                self.ready = False
                self._keyboard.let_go()
                self._mouse.let_go()

    # -- handshake -----------------------------------------------------------------------------------------------------

    def _version(self, now: float) -> bool:
        data = self._take(wire.VERSION_SIZE)
        if data is None:
            if not wire.VERSION.startswith(bytes(self._in[:4])):
                raise Broken("no VNC viewer")
            return False
        if data not in wire.VERSIONS:
            if data[:4] != b"RFB " or data[7:8] != b".":
                raise Broken("no VNC viewer")
            self._minor = 8 if data >= wire.VERSION else 3  # 3.5 is 3.3, what is newer understands 3.8
        else:
            self._minor = wire.VERSIONS[data]
        kind = wire.NONE if self._host.key is None else wire.VNC_AUTHENTICATION
        if self._minor == 3:
            self._out += wire.U32.pack(kind)
            self._secure(kind)
        else:
            self._out += bytes([1, kind])
            self._step = self._security
        return True

    def _security(self, now: float) -> bool:
        data = self._take(1)
        assert data is not None
        if data[0] != (wire.NONE if self._host.key is None else wire.VNC_AUTHENTICATION):
            raise Broken(f"security type {data[0]} was not offered")
        self._secure(data[0])
        return True

    def _secure(self, kind: int) -> None:
        if kind == wire.VNC_AUTHENTICATION:
            self._challenge = self._host.challenge()
            self._out += self._challenge
            self._step = self._answer
        else:
            if self._minor == 8:
                self._out += wire.U32.pack(wire.OK)
            self._step = self._client_init

    def _answer(self, now: float) -> bool:
        data = self._take(wire.CHALLENGE_SIZE)
        if data is None:
            return False
        assert self._host.key is not None
        if not password.right(self._host.key, self._challenge, data):
            why = b"wrong password"
            self._out += wire.U32.pack(wire.FAILED)
            if self._minor == 8:
                self._out += wire.U32.pack(len(why)) + why
            self.close("wrong password")
            return False
        self._out += wire.U32.pack(wire.OK)
        self._step = self._client_init
        return True

    def _client_init(self, now: float) -> bool:
        self._take(1)  # whether it shares: everybody does
        host = self._host
        self._canvas = Canvas(host.picture)
        self._view = View(self._canvas)
        self._view.draws_pointer = True
        self._keyboard, self._mouse = Keyboard(host.hands), Mouse(host.hands)
        self._unwatch = host.picture.watch(self._watch)
        name = host.name.encode()
        self._out += wire.SERVER_INIT.pack(self._view.width, self._view.height, self._format.pack(), len(name)) + name
        self.ready = True
        self._step = self._message
        return True

    # -- messages ------------------------------------------------------------------------------------------------------

    def _message(self, now: float) -> bool:
        kind = self._in[0]
        form = _FORMS.get(kind)
        if form is None:
            raise Broken(f"message {kind} is unknown")
        length, handle = form
        if len(self._in) < length:
            return False
        return handle(self, now)

    def _set_pixel_format(self, now: float) -> bool:
        data = self._take(20)
        assert data is not None
        try:
            self._format = PixelFormat.unpack(data[4:])
        except ValueError as error:
            raise Broken(f"SetPixelFormat: {error}") from None
        if self._format == COLOUR_MAPPED:
            self._out += colour_map()
        self._forced = self._view.area
        if self._view_cursor() is not None:
            self._news.add(Encoding.CURSOR)
        return True

    def _set_encodings(self, now: float) -> bool:
        count = wire.SET_ENCODINGS_HEAD.unpack_from(self._in)[0]
        data = self._take(4 + 4 * count)
        if data is None:
            return False
        known = set(Encoding) | set(wire.COMPRESS_LEVELS)
        numbers = (wire.I32.unpack_from(data, at)[0] for at in range(4, len(data), 4))
        before, self._encodings = (
            self._encodings,
            tuple(dict.fromkeys(number for number in numbers if number in known))[:ENCODINGS_MOST],
        )
        self._choose()
        fresh = set(self._encodings) - set(before)
        if Encoding.FENCE in fresh:
            self._out += wire.FENCE.pack(wire.SERVER_FENCE, wire.FENCE_REQUEST, 0)
        if Encoding.CONTINUOUS_UPDATES in fresh:
            self._out += bytes([wire.END_OF_CONTINUOUS_UPDATES])
        announced = {Encoding.EXTENDED_DESKTOP_SIZE, Encoding.EXTENDED_KEY}
        announced |= set() if self._host.absolute else {Encoding.POINTER_MOTION}
        self._news |= announced & fresh
        self._view.draws_pointer = self._view_cursor() is None
        if self._view_cursor() is not None and self._view_cursor() in fresh:
            self._news.add(Encoding.CURSOR)
        self._view.pointer_moved()
        return True

    def _choose(self) -> None:
        """The first of the viewer's encodings there is an encoder for."""
        levels = [number - wire.COMPRESS_LEVELS[0] for number in self._encodings if number in wire.COMPRESS_LEVELS]
        level = levels[0] if levels else LEVEL
        for number in self._encodings:
            if number == Encoding.TIGHT:
                self._tight = self._tight or Tight(level)
                self._tight.set_level(level)
                self._encoder = self._tight
                return
            if number == Encoding.ZRLE:
                self._zrle = self._zrle or Zrle(level)
                self._encoder = self._zrle
                return
            if number == Encoding.RAW:
                break
        self._encoder = Raw()

    def _can(self, encoding: Encoding) -> bool:
        return encoding in self._encodings

    def _view_cursor(self) -> Encoding | None:
        """How the viewer draws the guest's pointer itself; None: it does not."""
        if self._can(Encoding.CURSOR_WITH_ALPHA):
            return Encoding.CURSOR_WITH_ALPHA
        return Encoding.CURSOR if self._can(Encoding.CURSOR) else None

    def _update_request(self, now: float) -> bool:
        data = self._take(10)
        assert data is not None
        incremental, x, y, width, height = wire.REQUEST.unpack(data)
        area = Area(x, y, width, height)
        if not incremental:
            self._forced = area if self._forced is None else _around(self._forced, area)
        self._request = area if self._request is None else _around(self._request, area)
        return True

    def _key_event(self, now: float) -> bool:
        data = self._take(8)
        assert data is not None
        down, keysym = wire.KEY.unpack(data)
        self._keyboard.keysym(keysym, bool(down))
        return True

    def _pointer_event(self, now: float) -> bool:
        data = self._take(6)
        assert data is not None
        mask, x, y = wire.POINTER.unpack(data)
        moves = not self._host.absolute and self._can(Encoding.POINTER_MOTION)
        self._mouse.event(mask, x, y, self._canvas.size, moves=moves)
        return True

    def _cut_text(self, now: float) -> bool:
        """The guest has no clipboard here: the text is not even kept."""
        data = self._take(8)
        assert data is not None
        length = abs(wire.CUT_TEXT_HEAD.unpack(data)[0])
        if length > CUT_TEXT_MOST:
            raise Broken(f"a clipboard of {length} bytes")
        self._skip = length
        return True

    def _continuous_updates(self, now: float) -> bool:
        data = self._take(10)
        assert data is not None
        on, x, y, width, height = wire.ENABLE.unpack(data)
        if not on and self._continuous is not None:
            self._out += bytes([wire.END_OF_CONTINUOUS_UPDATES])
        self._continuous = Area(x, y, width, height) if on else None
        return True

    def _fence(self, now: float) -> bool:
        length = self._in[8]
        if length > wire.FENCE_MOST:
            raise Broken(f"a fence of {length} bytes")
        data = self._take(9 + length)
        if data is None:
            return False
        flags = int.from_bytes(data[4:8], "big")
        if flags & wire.FENCE_REQUEST:
            self._out += wire.FENCE.pack(wire.SERVER_FENCE, flags & wire.FENCE_KNOWN, length) + data[9:]
        return True

    def _xvp(self, now: float) -> bool:
        self._take(4)  # never offered
        return True

    def _set_desktop_size(self, now: float) -> bool:
        data = self._take(8 + 16 * self._in[6])
        if data is None:
            return False
        width, height, _ = wire.WISH.unpack_from(data)
        screens = [wire.SCREEN.unpack_from(data, at) for at in range(8, len(data), wire.SCREEN.size)]
        areas = [Area(x, y, w, h) for _, x, y, w, h, _ in screens]
        whole = Area(0, 0, width, height)
        if not areas or any(not area.width or not area.height or area.meet(whole) != area for area in areas):
            self._size_news(wire.THIS_CLIENT, wire.INVALID)
            return True
        self._wish = areas
        if now >= self._wished + WISH_S:
            self._ask(now)
        return True

    def _ask(self, now: float) -> None:
        """Pass on the last wish; those before it, within a moment, were of no account."""
        wish, self._wish, self._wished = self._wish, None, now
        assert wish is not None
        if self._host.picture.ask(wish):
            self._reason = wire.THIS_CLIENT  # of the change, when it comes
        else:
            self._size_news(wire.THIS_CLIENT, wire.PROHIBITED)

    def _size_news(self, reason: int, status: int) -> None:
        if self._can(Encoding.EXTENDED_DESKTOP_SIZE):
            self._reason, self._status = reason, status
            self._news.add(Encoding.EXTENDED_DESKTOP_SIZE)

    def _qemu(self, now: float) -> bool:
        if self._in[1] == wire.QEMU_AUDIO:
            if len(self._in) < 4:
                return False
            operation = int.from_bytes(self._in[2:4], "big")
            return self._take(10 if operation == wire.AUDIO_SET_FORMAT else 4) is not None  # never offered
        if self._in[1] != wire.QEMU_EXTENDED_KEY:
            raise Broken(f"message 255 of kind {self._in[1]} is unknown")
        data = self._take(12)
        if data is None:
            return False
        down, keysym, code = wire.EXTENDED_KEY.unpack(data)
        self._keyboard.scancode(code, keysym, bool(down))
        return True

    # -- out -----------------------------------------------------------------------------------------------------------

    @property
    def owed(self) -> bool:
        """Whether the viewer wants updates now."""
        return self.ready and (self._request is not None or self._continuous is not None)

    def update(self) -> bytes:
        """Everything that is to be sent now: answers, and what is to be seen, if it is wanted and news."""
        if self.owed:
            self._look()
            count, rectangles = self._rectangles()
            if count:
                self._out += wire.HEAD_UPDATE.pack(wire.UPDATE, count)
                self._request = None
                self.updates += 1
                out = b"".join((self._out, *rectangles))
                self._out.clear()
                return out
        out = bytes(self._out)
        self._out.clear()
        return out

    def _look(self) -> None:
        """What the display has marked since."""
        damage, view = self._watch.take(), self._view
        if self._forced is not None:
            view.forget(self._forced)
            self._forced = None
        if damage.layout:
            if self._can(Encoding.EXTENDED_DESKTOP_SIZE):
                self._news.add(Encoding.EXTENDED_DESKTOP_SIZE)
            elif self._canvas.size != (view.width, view.height) and self._can(Encoding.DESKTOP_SIZE):
                self._news.add(Encoding.DESKTOP_SIZE)
            view.mark(view.area)
        view.copied(damage.copies, able=self._can(Encoding.COPY_RECT))
        view.marked(damage.tiles)
        if damage.cursor:
            if view.draws_pointer:
                view.pointer_moved()
            elif self._image() != self._shape:
                self._news.add(Encoding.CURSOR)

    def _rectangles(self) -> tuple[int, list[bytes]]:
        view = self._view
        size = next(
            (each for each in (Encoding.EXTENDED_DESKTOP_SIZE, Encoding.DESKTOP_SIZE) if each in self._news), None
        )
        if size is not None:
            return 1, [self._desktop(size)]
        out: list[bytes] = []
        count = 0
        for each in (Encoding.EXTENDED_KEY, Encoding.POINTER_MOTION):
            if each in self._news:
                out.append(wire.HEAD_RECT.pack(0, 0, 0, 0, each))
                count += 1
        if Encoding.CURSOR in self._news:
            out.append(self._cursor())
            count += 1
        self._news.clear()
        region = self._continuous or self._request
        if self._continuous is not None and self._request is not None:
            region = _around(self._continuous, self._request)
        assert region is not None
        return count + view.rectangles(region, self._format, self._encoder, out), out

    def _desktop(self, encoding: Encoding) -> bytes:
        """The desktop's size, alone in an update: what is on it comes with the next."""
        self._news -= {Encoding.EXTENDED_DESKTOP_SIZE, Encoding.DESKTOP_SIZE}
        width, height = self._canvas.size
        if (width, height) != (self._view.width, self._view.height):
            self._view.resize(width, height)
        if encoding == Encoding.DESKTOP_SIZE:
            return wire.HEAD_RECT.pack(0, 0, width, height, encoding)
        monitors = self._canvas.monitors
        out = wire.HEAD_RECT.pack(self._reason, self._status, width, height, encoding)
        out += wire.SCREENS.pack(len(monitors))
        for monitor in monitors:
            area = monitor.area
            out += wire.SCREEN.pack(monitor.id, area.x, area.y, area.width, area.height, 0)
        self._reason, self._status = wire.SERVER, wire.ACCEPTED
        return out

    _shape: CursorImage | None = None  # what the viewer has been told the pointer looks like

    def _image(self) -> CursorImage:
        cursor = self._host.picture.cursor
        return cursor.image if cursor.visible else CursorImage()

    def _cursor(self) -> bytes:
        self._shape = image = self._image()
        encoding = self._view_cursor()
        if encoding == Encoding.CURSOR_WITH_ALPHA:
            head = wire.HEAD_RECT.pack(*image.hot, image.width, image.height, encoding)
            rgba = bytearray(len(image.pixels))
            for n, source in enumerate((2, 1, 0, 3)):
                rgba[n::4] = image.pixels[source::4]
            return head + wire.I32.pack(Encoding.RAW) + rgba
        head = wire.HEAD_RECT.pack(*image.hot, image.width, image.height, Encoding.CURSOR)
        if not image.pixels:
            return head
        return head + _masked(image, self._format)


def _masked(image: CursorImage, form: PixelFormat) -> bytes:
    """A pointer for viewers that know no alpha: what is half there or more is drawn."""
    import numpy as np

    words = straight(image)
    mask = np.packbits((words >> 24 >= 128).astype(np.uint8), axis=1)
    return form.encode(words & 0xFFFFFF).tobytes() + mask.tobytes()


def _around(a: Area, b: Area) -> Area:
    x, y = min(a.x, b.x), min(a.y, b.y)
    return Area(x, y, max(a.right, b.right) - x, max(a.bottom, b.bottom) - y)


_FORMS: dict[int, tuple[int, Callable[[Session, float], bool]]] = {  # type -> (its least length, what it does)
    wire.SET_PIXEL_FORMAT: (20, Session._set_pixel_format),
    wire.SET_ENCODINGS: (4, Session._set_encodings),
    wire.UPDATE_REQUEST: (10, Session._update_request),
    wire.KEY_EVENT: (8, Session._key_event),
    wire.POINTER_EVENT: (6, Session._pointer_event),
    wire.CUT_TEXT: (8, Session._cut_text),
    wire.ENABLE_CONTINUOUS_UPDATES: (10, Session._continuous_updates),
    wire.CLIENT_FENCE: (9, Session._fence),
    wire.XVP: (4, Session._xvp),
    wire.SET_DESKTOP_SIZE: (8, Session._set_desktop_size),
    wire.QEMU: (2, Session._qemu),
}
