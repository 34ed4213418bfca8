"""The console: whole screens and small changes, from a guest's memory to encoded RFB; an idle one. As ratios.

python -m tests.bench.bench_console

The limit is a copy of the same pixels in memory. The baseline looks at every tile as an object of its own, row by row,
and sends what was marked, as a server without arrays does. Exit code 1: a ratio is below what it must be.
"""

import os
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np

from svga.console.server import Console
from svga.console.session import Host, NoHands, Session
from svga.console.wire import HEAD_RECT, HEAD_UPDATE, Encoding
from svga.display import TILE, Area, Monitor, Rows
from svga.picture import Shown

WIDTH, HEIGHT = 1920, 1080
ROUNDS, LAPS = 5, 4
SMALL, SIDE = 64, 16  # rectangles a look, pixels
RAW_LEAST = 0.05  # of the rate of plain copies
SMALL_LEAST = 0.5  # times the baseline's rate, which sends several times the bytes
CLIENTS = 3


class Screen(Shown):
    """A guest's framebuffer, and pictures to put into it."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = bytearray(4 * WIDTH * HEIGHT)
        self.pixels = np.frombuffer(self.memory, np.uint32).reshape(HEIGHT, WIDTH)
        self.area = Area(0, 0, WIDTH, HEIGHT)
        rows = Rows((memoryview(self.memory),), WIDTH, HEIGHT, 4 * WIDTH, 32)
        self.arrange = lambda: [(Monitor(0, self.area), rows)]
        self.stale()
        self.settle()


def pictures(kind: str) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint32]]]:
    """Two that differ in every tile: "text" of two colours, a "desktop" of flat parts, "noise"."""
    random = np.random.default_rng(1)
    if kind == "noise":
        return [random.integers(0, 1 << 24, (HEIGHT, WIDTH), np.uint32) for _ in range(2)]
    if kind == "text":
        return [(random.random((HEIGHT, WIDTH)) < 0.2).astype(np.uint32) * 0xAAAAAA for _ in range(2)]
    out = []
    for n in range(2):
        shade = np.linspace(0, 255, WIDTH).astype(np.uint32)
        picture = np.broadcast_to(shade << 8 | n, (HEIGHT, WIDTH)).copy()
        picture[100:700, 100:1200] = 0xF0F0F0 + n
        picture[150:650:2, 150:1100:3] = 0x202020
        out.append(picture)
    return out


def viewer(screen: Screen, encoding: int) -> Session:
    """A session that has seen everything."""
    session = Session(Host(screen, NoHands(), "bench", None, lambda: b""), 0.0)
    session.received(b"RFB 003.008\n\1\1" + struct.pack(">BxHii", 2, 2, encoding, Encoding.COPY_RECT), 0.0)
    ask(session)
    return session


def ask(session: Session) -> bytes:
    session.received(struct.pack(">BBHHHH", 3, 1, 0, 0, WIDTH, HEIGHT), 0.0)
    return session.update()


@dataclass
class Rectangle:
    """A marked tile of the baseline."""

    area: Area
    rows: list[bytes]

    def encoded(self) -> bytes:
        area = self.area
        return HEAD_RECT.pack(area.x, area.y, area.width, area.height, Encoding.RAW) + b"".join(self.rows)


class Baseline:
    """An object a rectangle: every marked tile is read row by row and sent as it is."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.marked: set[tuple[int, int]] = set()

    def mark(self, area: Area) -> None:
        for y in range(area.y // TILE, -(-area.bottom // TILE)):
            for x in range(area.x // TILE, -(-area.right // TILE)):
                self.marked.add((x, y))

    def update(self) -> bytes:
        out = []
        for x, y in sorted(self.marked):
            area = Area(x * TILE, y * TILE, TILE, TILE).meet(self._screen.area)
            assert area is not None
            rows = []
            for row in range(area.y, area.bottom):
                at = 4 * (row * WIDTH + area.x)
                rows.append(bytes(self._screen.memory[at : at + 4 * area.width]))
            out.append(Rectangle(area, rows))
        self.marked.clear()
        return HEAD_UPDATE.pack(0, len(out)) + b"".join(each.encoded() for each in out)


def compare(ways: dict[str, Callable[[int], object]], least: int = ROUNDS) -> dict[str, float]:
    """The best time of a lap of each (s); they take turns, so that all see the same machine."""
    best = dict.fromkeys(ways, 1e9)
    for turn in range(least):
        for name, work in ways.items():
            start = time.perf_counter()
            for lap in range(LAPS):
                work(turn * LAPS + lap)
            best[name] = min(best[name], (time.perf_counter() - start) / LAPS)
    return best


def full_screens(kind: str, encoding: Encoding) -> bool:
    """Every pixel another at each look."""
    both, target, screen = pictures(kind), bytearray(4 * WIDTH * HEIGHT), Screen()
    session, baseline = viewer(screen, encoding), Baseline(screen)
    sent = 0

    def draw(lap: int) -> None:
        screen.pixels[:] = both[lap & 1]
        screen.mark(screen.area)

    def show(lap: int) -> None:
        nonlocal sent
        draw(lap)
        sent = len(ask(session))
        assert sent > 100

    def copy(lap: int) -> None:
        target[:] = screen.memory

    def objects(lap: int) -> None:
        draw(lap)
        baseline.mark(screen.area)
        assert len(baseline.update()) > 4 * WIDTH * HEIGHT

    cost = compare({"draw": draw, "show": show, "copy": copy, "objects": objects})
    ours, theirs = cost["show"] - cost["draw"], cost["objects"] - cost["draw"]
    print(
        f"full screen, {kind:8} {encoding.name:6} {1 / ours:6.1f} updates/s, {sent / 1e6:5.2f} MB each; "
        f"{cost['copy'] / ours:.3f} x plain copies, {theirs / ours:5.2f} x an object per rectangle sent raw"
    )
    return encoding is not Encoding.RAW or cost["copy"] / ours >= RAW_LEAST


def unchanged() -> None:
    """Everything marked, nothing another: what looking alone costs."""
    screen, target = Screen(), bytearray(4 * WIDTH * HEIGHT)
    session = viewer(screen, Encoding.TIGHT)

    def show(lap: int) -> None:
        screen.mark(screen.area)
        assert ask(session) == b""

    def copy(lap: int) -> None:
        target[:] = screen.memory

    cost = compare({"show": show, "copy": copy})
    print(f"marked, the same: {1 / cost['show']:.1f} looks/s; {cost['copy'] / cost['show']:.3f} x plain copies")


def small_changes() -> bool:
    """Some small rectangles here and there at each look."""
    random = np.random.default_rng(2)
    places = zip(random.integers(0, WIDTH - SIDE, SMALL), random.integers(0, HEIGHT - SIDE, SMALL), strict=True)
    areas = [Area(int(x), int(y), SIDE, SIDE) for x, y in places]
    screen = Screen()
    session, baseline = viewer(screen, Encoding.RAW), Baseline(screen)
    sent = others = 0

    def draw(lap: int) -> None:
        for area in areas:
            screen.pixels[area.y : area.bottom, area.x : area.right] += 1

    def show(lap: int) -> None:
        nonlocal sent
        draw(lap)
        for area in areas:
            screen.mark(area)
        sent = len(ask(session))
        assert sent >= 4 * SIDE * SIDE * SMALL // 2

    def objects(lap: int) -> None:
        nonlocal others
        draw(lap)
        for area in areas:
            baseline.mark(area)
        others = len(baseline.update())
        assert others >= sent

    cost = compare({"draw": draw, "show": show, "objects": objects}, 5 * ROUNDS)
    ours, theirs = cost["show"] - cost["draw"], cost["objects"] - cost["draw"]
    print(
        f"{SMALL} rectangles of {SIDE}x{SIDE} a look: {SMALL / ours:,.0f} rectangles/s, "
        f"{theirs / ours:.2f} x an object per rectangle, with {sent / others:.2f} x its bytes"
    )
    return theirs / ours >= SMALL_LEAST


def idle() -> bool:
    """Viewers that have seen everything: how often the console's threads run in a second."""
    import socket

    screen = Screen()
    with Console(screen) as console:
        host, _, port = console.open("rfb:127.0.0.1:0").rpartition(":")
        clients = [socket.create_connection((host, int(port))) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(b"RFB 003.008\n\1\1" + struct.pack(">BBHHHH", 3, 1, 0, 0, WIDTH, HEIGHT))
            left = 18 + 24 + 5 + 16 + 4 * WIDTH * HEIGHT
            while left > 0:
                left -= len(client.recv(min(left, 1 << 20)))
            client.sendall(struct.pack(">BBHHHH", 3, 1, 0, 0, WIDTH, HEIGHT))
        Event().wait(1.0)
        before = sleeps()
        Event().wait(1.0)
        woken = sleeps() - before
        for client in clients:
            client.close()
    print(f"an idle screen, {CLIENTS} viewers: {woken} times woken in a second")
    return woken == 0


def sleeps() -> int:
    """How often the other threads of this process have gone to sleep."""
    return sum(
        int(line.split()[1])
        for task in Path("/proc/self/task").iterdir()
        if int(task.name) != os.getpid()
        for line in (task / "status").read_text().splitlines()
        if line.startswith("voluntary")
    )


def main() -> int:
    fine = True
    for kind in ("text", "desktop", "noise"):
        for encoding in (Encoding.RAW, Encoding.TIGHT, Encoding.ZRLE):
            fine &= full_screens(kind, encoding)
    unchanged()
    fine &= small_changes()
    fine &= idle()
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
