"""Programs nobody here wrote on a console without a guest: what they see, what they send, what they may not."""

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from PIL import Image

from pvdev.errors import ConfigError
from svga.aim import TABLET_TOP, to_pixel, to_unit
from svga.console import address, server, web
from svga.console.record import image
from svga.console.server import Console
from svga.display import Area
from tests.clients import PATIENCE_S, browser, captured, needs, needs_novnc, vncdo
from tests.unit.svga.console.rfb import RAW, FakeHands, Screen, moved

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 800, 600


class Felt(FakeHands):
    """Hands that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._news = Event()

    def key(self, code: int, down: bool) -> None:
        super().key(code, down)
        self._news.set()

    def point(self, x: int, y: int, buttons: int) -> None:
        super().point(x, y, buttons)
        self._news.set()

    def until(self, fine: Callable[[], bool]) -> bool:
        while not fine():
            self._news.clear()
            if not fine() and not self._news.wait(PATIENCE_S):
                return False
        return True


@pytest.fixture
def screen() -> Screen:
    """A picture with everything in it: noise, one colour, two, a few."""
    made = Screen(WIDTH, HEIGHT)
    for n, colours in enumerate((1 << 16, 2, 7, 1)):
        made.draw(Area(0, 150 * n, WIDTH, 150), n, colours)
    return made


@pytest.fixture
def hands() -> Felt:
    return Felt()


@pytest.fixture
def console(screen: Screen, hands: Felt) -> Iterator[Console]:
    with Console(screen, hands, "test") as made:
        yield made


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("geheim\n")
    return file


def port(where: str) -> tuple[str, int]:
    host, _, number = where.removeprefix("http://").rstrip("/").rpartition(":")
    return host, int(number)


# -- clients -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["RAW", "ZRLE"])
def test_SVG_V_064_vncdotool_sees_every_pixel(console: Console, screen: Screen, tmp_path: Path, encoding: str) -> None:
    where = console.open("rfb:127.0.0.1:0")

    assert captured(where, tmp_path, encoding).tobytes() == image(screen).tobytes()


def test_vncdotool_with_the_password(console: Console, screen: Screen, tmp_path: Path, secret: Path) -> None:
    where = console.open(f"rfb:127.0.0.1:0,password={secret}")

    assert captured(where, tmp_path, password="geheim").tobytes() == image(screen).tobytes()


def test_vncdotool_types_and_points(console: Console, hands: Felt) -> None:
    where = console.open("rfb:127.0.0.1:0")

    vncdo(where, "type", "aB", "move", "799", "0", "click", "3")

    corner = to_unit(799, WIDTH, 0xFFFF), to_unit(0, HEIGHT, 0xFFFF)
    assert hands.until(lambda: hands.did[-1:] == [("point", *corner, 0)])
    assert [each for each in hands.did if each[0] == "key"] == [
        *(("key", 0x1E, True), ("key", 0x1E, False)),
        *(("key", 0x2A, True), ("key", 0x30, True), ("key", 0x2A, False), ("key", 0x30, False)),
    ]
    assert ("point", *corner, 2) in hands.did


@contextmanager
def x_screen(folder: Path) -> Iterator[tuple[str, Callable[[], Image.Image]]]:
    """A virtual X screen: its name, and what is on it."""
    needs("Xvfb", "xdotool", "xtigervncviewer")
    reading, writing = os.pipe()
    words = [
        "Xvfb",
        "-displayfd",
        str(writing),
        "-screen",
        "0",
        "1024x768x24",
        "-fbdir",
        str(folder),
        "-nolisten",
        "tcp",
    ]
    xvfb = subprocess.Popen(words, pass_fds=(writing,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as said:
            name = f":{said.readline().strip()}"
        yield name, lambda: xwd(folder / "Xvfb_screen0")
    finally:
        xvfb.terminate()
        xvfb.wait()


def xwd(file: Path) -> Image.Image:
    """An X window dump of 32-bit pixels. Ref: X11/XWDFile.h."""
    data = file.read_bytes()
    head = struct.unpack_from(">25I", data)
    size, width, height, pitch, colours = head[0], head[4], head[5], head[12], head[19]
    return Image.frombytes("RGB", (width, height), data[size + 12 * colours :], "raw", "BGRX", pitch)


def test_SVG_V_064_tigervnc_shows_every_pixel_and_sends_keys(
    console: Console, screen: Screen, hands: Felt, tmp_path: Path
) -> None:
    where = console.open("rfb:127.0.0.1:0")
    expected = image(screen)
    host, number = port(where)
    with x_screen(tmp_path) as (display, shot):
        environment = {**os.environ, "DISPLAY": display, "HOME": str(tmp_path)}
        words = ["xtigervncviewer", "-SecurityTypes=None", "-FullScreen=1", "-AutoSelect=0", f"{host}::{number}"]
        words[3:3] = ["-NoJPEG=1", "-PreferredEncoding=Tight", "-RemoteResize=0", "-AlertOnFatalError=0"]
        viewer = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:

            def found() -> tuple[int, int] | None:
                """Where the whole picture is on the X screen."""
                there = shot()
                for x, y in ((0, 0), ((1024 - WIDTH) // 2, (768 - HEIGHT) // 2)):
                    if there.crop((x, y, x + WIDTH, y + HEIGHT)).tobytes() == expected.tobytes():
                        return x, y
                return None

            at = None
            for _ in range(PATIENCE_S * 5):
                at = found()
                if at is not None or viewer.poll() is not None:
                    break
                Event().wait(0.2)
            assert at is not None
            for words in (["mousemove", str(at[0] + 400), str(at[1] + 300)], ["key", "x"]):
                subprocess.run(["xdotool", *words], env=environment, check=True, timeout=PATIENCE_S)
            assert hands.until(lambda: ("key", 0x2D, False) in hands.did)
        finally:
            viewer.terminate()
            viewer.wait()
    points = [each for each in hands.did if each[0] == "point"]
    assert ("key", 0x2D, True) in hands.did
    assert points[-1][1:3] == (to_unit(400, WIDTH, 0xFFFF), to_unit(300, HEIGHT, 0xFFFF))


def test_SVG_V_064_a_browser_shows_every_pixel_types_and_points(console: Console, screen: Screen, hands: Felt) -> None:
    needs_novnc()
    where = console.open("web:127.0.0.1:0")
    with browser() as chromium:
        chromium.visit(where)
        assert chromium.until(image(screen))
        for n in range(5):
            screen.draw(Area(20 * n, 20, 300, 200), n + 10, 5)
            screen.copy(Area(0, 0, WIDTH, HEIGHT - 16), 0, 16)
        assert chromium.until(image(screen))
        screen.resize(640, 480)
        screen.draw(Area(0, 0, 640, 480), 77)
        assert chromium.until(image(screen))
        chromium.point(320, 240, click=True)
        chromium.type("q")
        assert hands.until(lambda: ("key", 0x10, False) in hands.did)
    points = [each for each in hands.did if each[0] == "point"]
    x, y = (to_pixel(int(str(points[-1][n])), size, 0xFFFF) for n, size in ((1, 640), (2, 480)))
    assert abs(x - 320) <= 1
    assert abs(y - 240) <= 1
    assert ("key", 0x10, True) in hands.did
    assert {each[3] for each in points} == {0, 1}


# -- what a server owes everybody else ---------------------------------------------------------------------------------


def greeted(where: str) -> socket.socket:
    """A client past its handshake that has asked for everything."""
    client = socket.create_connection(port(where), PATIENCE_S)
    client.sendall(b"RFB 003.008\n\1\1")
    received = b""
    while len(received) < 12 + 6 + 24 + 4:
        received += client.recv(4096)
    client.sendall(struct.pack(">BxHi", 2, 1, RAW))
    client.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, WIDTH, HEIGHT))
    return client


def test_SVG_V_066_a_viewer_that_never_reads_slows_nobody(console: Console, screen: Screen, tmp_path: Path) -> None:
    where = console.open("rfb:127.0.0.1:0")
    stuck = greeted(where)
    stuck.sendall(struct.pack(">BBHHHH", 150, 1, 0, 0, WIDTH, HEIGHT))
    for n in range(200):  # the guest draws on; 380 MB if each were kept
        screen.draw(Area(0, 0, WIDTH, HEIGHT), n, 4)

    assert captured(where, tmp_path).tobytes() == image(screen).tobytes()
    stuck.close()


def test_SVG_V_066_viewers_have_an_end(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "VIEWERS_MOST", 3)
    where = console.open("rfb:127.0.0.1:0")
    first = [greeted(where) for _ in range(3)]
    with socket.create_connection(port(where), PATIENCE_S) as late:
        refused = late.recv(100)
    for client in first:
        client.close()

    assert refused == b""


def test_SVG_V_066_a_wrong_password_is_told_and_nothing_else(console: Console, secret: Path) -> None:
    where = console.open(f"rfb:127.0.0.1:0,password={secret}")
    with socket.create_connection(port(where), PATIENCE_S) as client:
        client.sendall(b"RFB 003.008\n\2" + bytes(16))
        said = b""
        with suppress(ConnectionResetError):
            while data := client.recv(4096):
                said += data

    assert (said[:14], said[30:]) == (b"RFB 003.008\n\1\2", b"\0\0\0\1\0\0\0\x0ewrong password")


def upgrade(where: str, **headers: str) -> bytes:
    """The answer to a WebSocket's opening."""
    host, number = port(where)
    asked = {
        "Host": f"{host}:{number}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    lines = "".join(f"{key}: {value}\r\n" for key, value in asked.items())
    with socket.create_connection((host, number), PATIENCE_S) as client:
        client.sendall(f"GET {web.SOCKET} HTTP/1.1\r\n{lines}\r\n".encode())
        return client.recv(4096).split(b"\r\n")[0]


def test_only_pages_of_its_own_may_connect(console: Console) -> None:
    needs_novnc()
    where = console.open("web:127.0.0.1:0")
    own = where.rstrip("/")

    assert upgrade(where) == b"HTTP/1.1 101 Switching Protocols"
    assert upgrade(where, Origin=own) == b"HTTP/1.1 101 Switching Protocols"
    assert upgrade(where, Origin="http://evil.example") == b"HTTP/1.1 403 Forbidden"
    assert upgrade(where, Origin="null") == b"HTTP/1.1 403 Forbidden"
    assert upgrade(where, Host="evil.example", Origin="http://evil.example") == b"HTTP/1.1 403 Forbidden"


def test_only_novncs_files_are_served(console: Console) -> None:
    needs_novnc()
    where = console.open("web:127.0.0.1:0")
    answers = {}
    for path in (
        "/vnc.html",
        "/",
        "/../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/a%00b",
    ):
        with socket.create_connection(port(where), PATIENCE_S) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answers[path] = int(client.recv(4096).split()[1])

    assert list(answers.values()) == [200, 302, 404, 404, 404, 404]


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (bytes([0x82, 0xFF]) + struct.pack(">Q", 1 << 40) + bytes(4), 1009),  # a frame of a TiB
        (bytes([0x82, 0x0C]) + b"RFB 003.008\n", 1002),  # not masked
    ],
)
def test_SVG_V_066_websocket_frames_that_cannot_be(console: Console, head: bytes, code: int) -> None:
    needs_novnc()
    where = console.open("web:127.0.0.1:0")
    host, number = port(where)
    with socket.create_connection((host, number), PATIENCE_S) as client:
        client.sendall(
            f"GET {web.SOCKET} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        said = b""
        while not said.endswith(b"\r\n\r\n"):
            said += client.recv(1)
        client.sendall(head)
        while data := client.recv(4096):
            said += data

    assert struct.pack(">H", code) in said


def test_an_idle_console_makes_no_system_call(console: Console, screen: Screen, tmp_path: Path) -> None:
    """Two viewers that have seen everything: their thread sleeps until something is marked."""
    where = console.open("rfb:127.0.0.1:0")
    console.open(f"png:{tmp_path / 'recording'}")
    clients = [greeted(where) for _ in range(2)]
    for client in clients:
        left = 4 + 12 + 4 * WIDTH * HEIGHT
        while left > 0:
            left -= len(client.recv(min(left, 1 << 16)))
        client.sendall(struct.pack(">BBHHHH", 3, 1, 0, 0, WIDTH, HEIGHT))
    tasks = Path("/proc/self/task")

    def sleeps() -> dict[str, str]:
        """How often each thread but this has gone to sleep."""
        return {
            task.name: line
            for task in tasks.iterdir()
            if int(task.name) != os.getpid()
            for line in (task / "status").read_text().splitlines()
            if line.startswith("voluntary")
        }

    before: dict[str, str] = {}
    while (after := sleeps()) != before:  # what was under way comes to its end, and then nothing happens for a second
        before = after
        Event().wait(1.0)
    viewers = console.viewers
    for client in clients:
        client.close()

    assert viewers == 2
    assert len(after) >= 2


# -- what a user may say -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("vga", "known: png, rfb, web"),
        ("rfb:127.0.0.1:99999", "write it like 127.0.0.1:5900"),
        ("rfb:0.0.0.0:0", "give password=FILE"),
        ("web::::", "write it like 127.0.0.1:6080"),
        ("rfb:127.0.0.1:0,password=/none", "cannot be read"),
        ("web:127.0.0.1:0,novnc=/none", "name its folder"),
        ("png", "write png:FOLDER"),
        ("png:/tmp/x,rate=0", "a number from 1 to 60"),
        ("rfb:192.0.2.1:0,password=SECRET", "choose another port"),
    ],
)
def test_a_users_mistake_is_one_line_with_the_mend(console: Console, secret: Path, text: str, mend: str) -> None:
    with pytest.raises(ConfigError) as told:
        console.open(text.replace("SECRET", str(secret)))

    assert mend in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("rfb", "127.0.0.1:5900"),
        ("rfb:5901", "127.0.0.1:5901"),
        ("rfb::5901", "127.0.0.1:5901"),
        ("web:[::1]:80", "[::1]:80"),
        ("web:localhost", "localhost:6080"),
        ("rfb:screen.example:1", "screen.example:1"),
    ],
)
def test_addresses(text: str, where: str) -> None:
    assert str(address.address(address.parse(text))) == where


def test_the_same_display_twice(console: Console) -> None:
    console.open("rfb:127.0.0.1:0")

    with pytest.raises(ConfigError, match="open already"):
        console.open("rfb:127.0.0.1:0")


def test_a_password_no_client_can_send(console: Console, tmp_path: Path) -> None:
    (tmp_path / "long").write_text("123456789\n")

    with pytest.raises(ConfigError, match="1 to 8 characters"):
        console.open(f"rfb:127.0.0.1:0,password={tmp_path / 'long'}")


# -- a guest's pointer and keys ----------------------------------------------------------------------------------------


class Monitor:
    """QEMU's monitor, as far as input goes. Ref: QEMU docs/interop/qmp-spec.rst."""

    def __init__(self, path: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._news, self._socket = Event(), socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        client, _ = self._socket.accept()
        version = {"qemu": {"major": 11, "minor": 0, "micro": 0}, "package": ""}
        with suppress(OSError), client:
            client.sendall(json.dumps({"QMP": {"version": version, "capabilities": []}}).encode() + b"\n")
            text = ""
            while data := client.recv(4096):
                text += data.decode()
                while text.strip():
                    try:
                        asked, end = json.JSONDecoder().raw_decode(text.lstrip())
                    except ValueError:  # there is more to come: nothing else ends a message
                        break
                    text = text.lstrip()[end:]
                    self.events += asked.get("arguments", {}).get("events", [])
                    self._news.set()
                    client.sendall(json.dumps({"return": {}, "id": asked.get("id")}).encode() + b"\n")

    def until(self, count: int) -> bool:
        while len(self.events) < count:
            self._news.clear()
            if len(self.events) < count and not self._news.wait(PATIENCE_S):
                return False
        return True

    def close(self) -> None:
        self._thread.join(PATIENCE_S)
        self._socket.close()


def test_qemus_monitor_is_told_also_when_it_comes_late(screen: Screen, tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    with Console(screen, f"qmp:{path}") as console, greeted(console.open("rfb:127.0.0.1:0")) as client:
        client.sendall(struct.pack(">BBHH", 5, 1, 799, 599))
        client.sendall(struct.pack(">BBxxI", 4, 1, ord("a")) + struct.pack(">BBHH", 5, 8, 0, 0))
        monitor = Monitor(path)
        assert monitor.until(9)
    monitor.close()

    assert monitor.events[:9] == [
        {"type": "abs", "data": {"axis": "x", "value": to_unit(799, WIDTH, TABLET_TOP)}},
        {"type": "abs", "data": {"axis": "y", "value": to_unit(599, HEIGHT, TABLET_TOP)}},
        {"type": "btn", "data": {"down": True, "button": "left"}},
        {"type": "key", "data": {"down": True, "key": {"type": "number", "data": 30}}},
        {"type": "abs", "data": {"axis": "x", "value": to_unit(0, WIDTH, TABLET_TOP)}},
        {"type": "abs", "data": {"axis": "y", "value": to_unit(0, HEIGHT, TABLET_TOP)}},
        {"type": "btn", "data": {"down": False, "button": "left"}},
        {"type": "btn", "data": {"down": True, "button": "wheel-up"}},
        {"type": "btn", "data": {"down": False, "button": "wheel-up"}},
    ]


# -- recordings, and the command ---------------------------------------------------------------------------------------


def test_a_recording_ends_with_what_was_shown_last(screen: Screen, tmp_path: Path) -> None:
    with Console(screen) as console:
        console.open(f"png:{tmp_path},rate=60")
        for n in range(20):
            screen.draw(Area(0, 0, 100, 100), n)
        screen.point(moved(50, 50))
        expected = image(screen).tobytes()
    lines = (tmp_path / "index.jsonl").read_text().splitlines()
    files = sorted(tmp_path.glob("*.png"))

    assert len(lines) == len(files) >= 1
    with Image.open(files[-1]) as last:
        assert last.tobytes() == expected


def test_a_recording_has_an_end(screen: Screen, tmp_path: Path) -> None:
    with Console(screen) as console:
        console.open(f"png:{tmp_path},rate=60,most=1")
        screen.draw(Area(0, 0, 100, 100), 1)

    assert len(list(tmp_path.glob("*.png"))) == 1


def test_pvdev_console_takes_a_screenshot_and_shows_more(tmp_path: Path) -> None:
    """A served display, asked by its control socket."""
    pvdev = [sys.executable, "-m", "pvdev.cli"]
    control, shot = str(tmp_path / "control"), tmp_path / "shot.png"
    serving = subprocess.Popen(
        [*pvdev, "serve", "svga", "--socket", str(tmp_path / "s"), "--control", control, "--mode", "640x400"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout is not None
        assert "svga at" in serving.stdout.readline()
        words = [*pvdev, "console", control, "--display", "rfb:127.0.0.1:0", "--screenshot", str(shot)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
        wrong = subprocess.run(
            [*pvdev, "console", control, "--display", "rfb:no"], capture_output=True, text=True, timeout=PATIENCE_S
        )
    finally:
        serving.terminate()
        serving.communicate(timeout=PATIENCE_S)

    assert done.returncode == 0, done.stderr
    assert f"{shot}: 640x480" in done.stdout, "blank, until a driver comes"
    assert "rfb: 127.0.0.1:" in done.stdout
    with Image.open(shot) as taken:
        assert taken.size == (640, 480)
    assert wrong.returncode == 2
    assert serving.returncode == 0
