"""Whatever a viewer sends, its session ends with a reason or goes on; nothing grows, and the picture is right after."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from svga.console import session
from svga.display import Area
from tests.unit.svga.console.rfb import (
    ALPHA_CURSOR,
    CONTINUOUS,
    COPY_RECT,
    CURSOR,
    DESKTOP,
    EXTENDED_DESKTOP,
    EXTENDED_KEY,
    FENCE,
    RAW,
    TIGHT,
    ZRLE,
    Screen,
    Viewer,
    moved,
)

IN_MOST = (4 + 4 * 65535) + (1 << 16)  # the longest message, and what came with it
KNOWN = (RAW, COPY_RECT, TIGHT, ZRLE, DESKTOP, EXTENDED_DESKTOP, CURSOR, ALPHA_CURSOR, FENCE, CONTINUOUS, EXTENDED_KEY)

u8, u16, u32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
small = st.integers(0, 255)
edge = st.sampled_from([0, 1, 63, 64, 65, 199, 200, 201, 0x7FFF, 0xFFFF])


def packed(form: str, *fields: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    return st.tuples(*fields).map(lambda values: struct.pack(form, *values))


encodings = st.lists(st.sampled_from([*KNOWN, -256, -247, 5, -1]), max_size=20).map(
    lambda numbers: struct.pack(f">BxH{len(numbers)}i", 2, len(numbers), *numbers)
)
wishes = st.lists(packed(">IHHHHI", u32, edge, edge, edge, edge, u32), max_size=5).flatmap(
    lambda screens: packed(">BxHHBx", st.just(251), edge, edge, st.just(len(screens))).map(
        lambda head: head + b"".join(screens)
    )
)
formats = st.tuples(st.sampled_from([8, 16, 32, 0, 24]), small, small, small, *[u16] * 3, *[small] * 3).map(
    lambda values: bytes(4) + struct.pack(">BBBBHHHBBB3x", *values)
)
good_formats = st.sampled_from(
    [
        bytes.fromhex(text)
        for text in ("20180001 00ff00ff00ff100800", "10100101 001f003f001f0b0500", "08080000" + "00" * 9)
    ]
).map(lambda form: bytes(4) + form + bytes(3))
messages = st.one_of(
    encodings,
    wishes,
    good_formats,
    packed(">BBHHHH", st.just(3), small, edge, edge, edge, edge),
    packed(">BBxxI", st.just(4), small, u32),
    packed(">BBHH", st.just(5), small, edge, edge),
    packed(">BxxxI", st.just(6), st.integers(0, 300)),
    packed(">BBHHHH", st.just(150), small, edge, edge, edge, edge),
    packed(">BxxxIB", st.just(248), u32, st.integers(0, 64)),
    packed(">BBHII", st.just(255), st.integers(0, 2), u16, u32, u32),
)
wild = st.one_of(messages, formats, st.binary(max_size=64))


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(1, 20))
def test_SVG_V_066_a_handshake_of_anything(data: bytes, step: int) -> None:
    screen = Screen()
    viewer = Viewer(screen, key=bytes(8))
    for at in range(0, len(data), step):
        viewer.send(data[at : at + step])
        assert len(viewer.session.update()) < 100

    assert not viewer.session.ready
    assert not screen.watched
    assert len(viewer.session._in) <= 20


@settings(deadline=None)
@given(st.lists(wild, max_size=30), st.integers(1, 500))
def test_SVG_V_066_messages_of_anything(parts: list[bytes], step: int) -> None:
    viewer = Viewer(Screen(), RAW)
    data = b"".join(parts)
    for n, at in enumerate(range(0, len(data), step)):
        viewer.now = n / 10
        viewer.send(data[at : at + step])
        viewer.session.tick(viewer.now)
        viewer.screen.draw(Area(n % 150, n % 100, 50, 50), n)
        viewer.screen.point(moved(n, n))
        viewer.session.update()
        assert len(viewer.session._in) <= IN_MOST
        assert len(viewer.session._encodings) <= session.ENCODINGS_MOST

    assert viewer.screen.watched == (viewer.session.closed is None)


@settings(deadline=None)
@given(
    st.lists(messages.filter(lambda data: data[0] not in (0, 255, 6, 248)), max_size=30),
    st.sampled_from([RAW, TIGHT, ZRLE]),
)
def test_SVG_V_064_after_any_messages_the_picture_is_right(parts: list[bytes], encoding: int) -> None:
    viewer = Viewer(Screen(), encoding)
    for n, data in enumerate(parts):
        viewer.send(data)
        viewer.screen.draw(Area(n % 150, n % 100, 50, 50), n, 1 + n % 20)
        viewer.take()
    viewer.send(struct.pack(">BBHHHH", 150, 0, 0, 0, 0, 0))
    viewer.encodings(encoding, CURSOR)
    viewer.look().look()

    assert viewer.session.closed is None
    assert viewer.sees()
