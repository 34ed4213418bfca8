"""A viewer's session, byte by byte: the handshake, every message, and everything a viewer may do wrong."""

import struct
from collections.abc import Sequence

import pytest

from svga.aim import to_unit
from svga.console import password, session
from svga.console.session import Session
from svga.display import Area
from tests.unit.svga.console.rfb import (
    CONTINUOUS,
    EXTENDED_DESKTOP,
    EXTENDED_KEY,
    FENCE,
    MOTION,
    RAW,
    TIGHT,
    FakeHands,
    Screen,
    Viewer,
)

SECRET = password.key("geheim")


def fresh(key: bytes | None = None) -> Session:
    """A session nothing was said in."""
    viewer = Viewer(Screen(), key=key or SECRET)
    if key is None:
        viewer.session._host = session.Host(viewer.screen, FakeHands(), "test", None, lambda: bytes(16))
    return viewer.session


def said(talk: Session, *parts: bytes) -> bytes:
    for part in parts:
        talk.received(part, 0.0)
    return talk.update()


# -- handshake ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "choice", "answer"),
    [
        (b"RFB 003.008\n", b"\1", b"\1\1" + bytes(4)),
        (b"RFB 003.007\n", b"\1", b"\1\1"),
        (b"RFB 003.003\n", b"", b"\0\0\0\1"),
        (b"RFB 003.005\n", b"", b"\0\0\0\1"),
        (b"RFB 003.889\n", b"\1", b"\1\1" + bytes(4)),
        (b"RFB 004.001\n", b"\1", b"\1\1" + bytes(4)),
    ],
)
def test_every_version_of_the_handshake(version: bytes, choice: bytes, answer: bytes) -> None:
    talk = fresh()

    out = said(talk, version, choice, b"\1")

    assert out[:12] == b"RFB 003.008\n"
    assert out[12 : 12 + len(answer)] == answer
    assert out[12 + len(answer) :] == bytes.fromhex("00c80096 20180001 00ff00ff00ff100800000000 00000004") + b"test"
    assert talk.ready


@pytest.mark.parametrize("version", [b"RFB 003.008\n", b"RFB 003.007\n", b"RFB 003.003\n"])
def test_the_right_password_is_taken(version: bytes) -> None:
    talk = fresh(SECRET)
    choice = b"" if version.endswith(b"3\n") else b"\2"

    out = said(talk, version, choice)
    end = said(talk, password.response(SECRET, out[-16:]), b"\1")

    assert end[:4] == bytes(4)
    assert talk.ready


def test_a_wrong_password_ends_it_and_nothing_was_watched() -> None:
    talk = fresh(SECRET)

    out = said(talk, b"RFB 003.008\n", b"\2", bytes(16))

    assert out[-22:] == b"\0\0\0\1\0\0\0\x0ewrong password"
    assert (talk.closed, talk.ready) == ("wrong password", False)
    assert not talk._host.picture.watched  # type: ignore[attr-defined]


def test_a_password_is_not_gone_around() -> None:
    talk = fresh(SECRET)

    said(talk, b"RFB 003.008\n", b"\1", b"\1")

    assert talk.closed == "security type 1 was not offered"


def test_the_response_of_the_textbook() -> None:
    """DES of a known key and block: FIPS 81's example of ECB."""
    assert password.response(bytes.fromhex("0123456789abcdef"), b"Now is t" * 2).hex() == "3fa40e8a984d4815" * 2
    assert SECRET.hex() == "e6a616a696b60000"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\0", b"RFX", b"RFB 003x008\n"])
def test_SVG_V_066_something_that_is_no_viewer(data: bytes) -> None:
    talk = fresh()

    said(talk, data)

    assert talk.closed == "no VNC viewer"


def test_SVG_V_066_a_handshake_that_trickles_is_ended() -> None:
    talk = fresh()
    for n in range(9):
        talk.received(b"RFB 003.008\n"[n : n + 1], float(n))
        talk.tick(float(n))
    before = talk.closed
    talk.tick(session.HANDSHAKE_S)

    assert (before, talk.closed) == (None, "no handshake in 10 s")
    assert talk.due() is not None


def test_SVG_V_066_after_the_handshake_nothing_is_due() -> None:
    viewer = Viewer(Screen(), RAW)

    viewer.session.tick(1e9)

    assert viewer.session.due() is None
    assert viewer.session.closed is None


# -- messages ----------------------------------------------------------------------------------------------------------


def test_SVG_V_066_messages_cut_anywhere() -> None:
    """Every message there is, byte by byte, does what it does in one piece."""
    stream = b"".join(
        (
            bytes(4) + bytes.fromhex("20180001 00ff00ff00ff100800000000"),
            struct.pack(">BxHiii", 2, 3, TIGHT, EXTENDED_KEY, FENCE),
            struct.pack(">BBHHHH", 3, 1, 0, 0, 200, 150),
            struct.pack(">BBxxI", 4, 1, ord("a")),
            struct.pack(">BBHH", 5, 1, 10, 10),
            struct.pack(">Bxxxi", 6, 5) + b"hello",
            struct.pack(">BBHHHH", 150, 0, 0, 0, 200, 150),
            struct.pack(">BxxxIB", 248, 1 << 31 | 1, 3) + b"abc",
            bytes([250, 0, 1, 2]),
            struct.pack(">BxHHBx", 251, 64, 48, 1) + struct.pack(">IHHHHI", 0, 0, 0, 64, 48, 0),
            struct.pack(">BBHII", 255, 0, 1, ord("b"), 0x30),
            struct.pack(">BBH", 255, 1, 0),
            struct.pack(">BBHBBI", 255, 1, 2, 0, 2, 44100),
            struct.pack(">BBHH", 5, 0, 10, 10),
        )
    )
    whole, pieces = Viewer(Screen(), RAW), Viewer(Screen(), RAW)

    whole.send(stream)
    for n in range(len(stream)):
        pieces.send(stream[n : n + 1])

    assert pieces.session.closed is whole.session.closed is None
    assert pieces.hands.did == whole.hands.did != []  # type: ignore[attr-defined]
    assert pieces.take() == whole.take()
    assert ("fence", 1, b"abc") in pieces.said


@pytest.mark.parametrize("kind", [1, 7, 99, 151, 252])
def test_SVG_V_066_an_unknown_message_ends_it(kind: int) -> None:
    viewer = Viewer(Screen(), RAW).send(bytes([kind]) + bytes(64))

    assert viewer.session.closed == f"message {kind} is unknown"


def test_SVG_V_066_an_unknown_message_of_qemus_ends_it() -> None:
    viewer = Viewer(Screen(), RAW).send(bytes([255, 9]))

    assert viewer.session.closed == "message 255 of kind 9 is unknown"


def test_SVG_V_066_65535_encodings_are_read_and_few_kept() -> None:
    viewer = Viewer(Screen(), RAW)

    viewer.send(struct.pack(">BxH", 2, 65535) + struct.pack(">65535i", *range(65535)))
    viewer.look()

    assert len(viewer.session._encodings) <= session.ENCODINGS_MOST
    assert viewer.session.closed is None
    assert viewer.sees()


def test_SVG_V_066_a_clipboard_without_end() -> None:
    viewer = Viewer(Screen(), RAW).send(struct.pack(">Bxxxi", 6, 0x7FFFFFFF))

    assert viewer.session.closed == "a clipboard of 2147483647 bytes"


@pytest.mark.parametrize("length", [1 << 20, -(1 << 20)])
def test_SVG_V_066_a_clipboard_is_neither_kept_nor_unpacked(length: int) -> None:
    viewer = Viewer(Screen(), RAW).send(struct.pack(">Bxxxi", 6, length))
    for _ in range(16):
        viewer.send(bytes(1 << 16))
        assert len(viewer.session._in) <= 1 << 16
    viewer.look()

    assert viewer.session.closed is None
    assert viewer.sees()


@pytest.mark.parametrize(
    "form",
    [
        "00180001 00ff00ff00ff100800000000",
        "07180001 00ff00ff00ff100800000000",
        "18180001 00ff00ff00ff100800000000",
        "20000001 00ff00ff00ff100800000000",
        "20180001 000000ff00ff100800000000",
        "20180001 00fe00ff00ff100800000000",
        "20180001 00ff00ff00ffff0800000000",
        "20180001 00ff00ff00ff190800000000",
        "10100001 001f003f001f0b050c000000",
        "10100000 001f003f001f0b0500000000",
    ],
)
def test_SVG_V_066_pixel_formats_that_cannot_be(form: str) -> None:
    viewer = Viewer(Screen(), RAW).send(bytes(4) + bytes.fromhex(form))

    assert (viewer.session.closed or "").startswith("SetPixelFormat: ")


def test_SVG_V_066_update_requests_beyond_the_screen() -> None:
    viewer = Viewer(Screen(), RAW).look()
    viewer.screen.draw(Area(0, 0, 200, 150), 1)
    viewer.ask(Area(65535, 65535, 65535, 65535)).take()
    nothing = viewer.got[1:]
    viewer.ask(Area(190, 140, 65535, 65535)).take()

    assert nothing == []
    assert (viewer.fb[140:, 190:] == viewer.screen.pixels[140:, 190:]).all()


def test_SVG_V_066_a_storm_of_update_requests_is_one_update() -> None:
    viewer = Viewer(Screen(), RAW).look()
    viewer.screen.draw(Area(0, 0, 200, 150), 1)
    for n in range(10_000):
        viewer.ask(Area(n % 200, n % 150, 1, 1), again=bool(n & 1))
    viewer.take()

    assert viewer.session.updates == 2
    assert viewer.sees()


def test_SVG_V_066_answers_nobody_reads_end_it() -> None:
    viewer = Viewer(Screen(), RAW)
    ask = struct.pack(">BxxxIB", 248, 1 << 31, 64) + bytes(64)
    for _ in range(40_000):
        viewer.send(ask)

    assert viewer.session.closed == "asks, and does not read the answers"
    assert len(viewer.session._out) < session.ANSWERS_MOST + 4096


def test_SVG_V_066_a_fence_that_is_too_long() -> None:
    viewer = Viewer(Screen(), RAW).send(struct.pack(">BxxxIB", 248, 1 << 31, 65))

    assert viewer.session.closed == "a fence of 65 bytes"


def test_nothing_is_heard_after_the_end() -> None:
    viewer = Viewer(Screen(), RAW).send(b"\x63")
    viewer.send(struct.pack(">BBxxI", 4, 1, ord("a")))

    assert viewer.hands.did == []  # type: ignore[attr-defined]
    assert not viewer.screen.watched


# -- sizes -------------------------------------------------------------------------------------------------------------


def wish(
    viewer: Viewer, width: int, height: int, *screens: tuple[int, int, int, int], count: int | None = None
) -> None:
    parts = [struct.pack(">IHHHHI", n, *screen, 0) for n, screen in enumerate(screens)]
    viewer.send(struct.pack(">BxHHBx", 251, width, height, len(parts) if count is None else count) + b"".join(parts))


def test_SVG_V_066_sizes_that_cannot_be_are_invalid() -> None:
    viewer = Viewer(Screen(), RAW, EXTENDED_DESKTOP).look()
    viewer.said.clear()
    for screens in ([], [(0, 0, 0, 10)], [(0, 0, 65535, 65535)], [(5, 5, 10, 10)] * 255):
        wish(viewer, 12, 12, *screens)
        viewer.look()

    assert viewer.said == [("desktop", 1, 3, 200, 150)] * 4


def test_SVG_V_066_a_storm_of_sizes_is_debounced() -> None:
    viewer = Viewer(Screen(), RAW, EXTENDED_DESKTOP).look()
    asked: list[list[Area]] = []

    def asking(areas: Sequence[Area]) -> bool:
        asked.append(list(areas))
        return True

    viewer.screen.asked = asking
    for n in range(1000):
        wish(viewer, 100 + n, 100, (0, 0, 100 + n, 100))
    due = viewer.session.due()
    viewer.session.tick(0.1)
    early = len(asked)
    viewer.session.tick(0.2)

    assert (early, due) == (1, session.WISH_S)
    assert asked == [[Area(0, 0, 100, 100)], [Area(0, 0, 1099, 100)]]
    assert viewer.session.due() is None


def test_a_guest_nobody_can_ask_keeps_its_size() -> None:
    viewer = Viewer(Screen(), RAW, EXTENDED_DESKTOP).look()
    wish(viewer, 640, 480, (0, 0, 640, 480))
    viewer.look()

    assert viewer.said[-1] == ("desktop", 1, 1, 200, 150)


def test_the_viewer_that_asked_for_a_size_is_told_so() -> None:
    viewer = Viewer(Screen(), RAW, EXTENDED_DESKTOP).look()
    viewer.screen.asked = lambda areas: True
    wish(viewer, 64, 48, (0, 0, 64, 48))
    viewer.screen.resize(64, 48)
    viewer.look().look()

    assert viewer.said[-1] == ("desktop", 1, 0, 64, 48)
    assert viewer.screens == [(0, 0, 0, 64, 48, 0)]
    assert viewer.sees()


# -- what viewers agree on ---------------------------------------------------------------------------------------------


def test_what_a_viewer_understands_is_announced() -> None:
    viewer = Viewer(Screen(), RAW, FENCE, CONTINUOUS, EXTENDED_KEY, EXTENDED_DESKTOP, MOTION)
    viewer.look()
    viewer.look()

    assert viewer.said == [
        ("fence", 1 << 31, b""),
        ("end of continuous updates",),
        ("desktop", 0, 0, 200, 150),
        (EXTENDED_KEY, 0),
    ]


def test_continuous_updates_need_no_requests() -> None:
    viewer = Viewer(Screen(), RAW, CONTINUOUS)
    viewer.send(struct.pack(">BBHHHH", 150, 1, 0, 0, 200, 150)).take()
    for seed in range(3):
        viewer.screen.draw(Area(0, 0, 200, 150), seed)
        viewer.take()
    seen = viewer.sees()
    viewer.send(struct.pack(">BBHHHH", 150, 0, 0, 0, 200, 150)).take()
    viewer.screen.draw(Area(0, 0, 200, 150), 9)
    viewer.take()

    assert seen
    assert viewer.said == [("end of continuous updates",)] * 2
    assert not viewer.sees()


def test_a_guest_that_only_knows_movements() -> None:
    hands = FakeHands()
    hands.absolute = False  # type: ignore[attr-defined]
    viewer = Viewer(Screen(), RAW, MOTION, hands=hands).look()
    viewer.send(struct.pack(">BBHH", 5, 1, 0x7FFF + 3, 0x7FFF - 4))

    assert viewer.said == [(MOTION, 0)]
    assert hands.did == [("move", 3, -4, 1)]


def test_a_viewer_is_woken_once_until_it_looks() -> None:
    viewer = Viewer(Screen(), RAW).look()
    before = viewer.wakes
    for seed in range(5):
        viewer.screen.draw(Area(0, 0, 64, 64), seed)

    assert viewer.wakes == before + 1


def test_keys_and_buttons_are_let_go_when_a_viewer_leaves() -> None:
    viewer = Viewer(Screen(), RAW)
    viewer.send(struct.pack(">BBxxI", 4, 1, 0xFFE3) + struct.pack(">BBHH", 5, 4, 199, 149))
    viewer.session.close("hung up")

    corner = to_unit(199, 200, 0xFFFF), to_unit(149, 150, 0xFFFF)
    assert viewer.hands.did == [  # type: ignore[attr-defined]
        ("key", 0x1D, True),
        ("point", *corner, 2),
        ("key", 0x1D, False),
        ("point", *corner, 0),
    ]
