"""What is shown, as PNG files: one, or one for every change, with an index of when."""

import json
import os
import threading
import time
from pathlib import Path

from PIL import Image

from pvdev import spec
from pvdev.errors import ConfigError
from svga.console.canvas import Canvas
from svga.console.pixels import Pixels
from svga.display import Area, Picture, Watch

RATE, RATE_MOST = 10, 60  # pictures a second
MOST = 10_000  # pictures of a folder
INDEX = "index.jsonl"


def image(picture: Picture) -> Image.Image:
    """What is shown now, the guest's pointer over it."""
    canvas = Canvas(picture)
    return as_image(canvas.grab(Area(0, 0, *canvas.size), pointer=True))


def as_image(pixels: Pixels) -> Image.Image:
    height, width = pixels.shape
    return Image.frombuffer("RGB", (width, height), pixels.astype("<u4").tobytes(), "raw", "BGRX", 0, 1)


def screenshot(picture: Picture, path: Path) -> tuple[int, int]:
    """Write `path`, whole or not at all; the picture's size. Raises `ConfigError`."""
    shot = image(picture)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        shot.save(beside, "PNG", optimize=True)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from None
    return shot.size


def open_recorder(picture: Picture, display: spec.Spec) -> "Recorder":
    """Of `png:FOLDER,rate=N,most=N`. Raises `ConfigError`."""
    if not display.argument:
        raise ConfigError("png: name a folder; write png:FOLDER")
    numbers = {}
    for key, default, most in (("rate", RATE, RATE_MOST), ("most", MOST, 1_000_000)):
        text = display.options.get(key, str(default))
        if not text.isdecimal() or not 0 < int(text) <= most:
            raise ConfigError(f"png: {key}={text}: give a number from 1 to {most}")
        numbers[key] = int(text)
    return Recorder(picture, Path(display.argument), **numbers)


class Recorder:
    """Records every change into `folder`: 000000.png and so on, `rate` a second at most, and `most` in all.

    A line of the index is one picture: {"file", "at_s" since the recorder began, "width", "height"}. The last picture
    of a burst is always there. In a thread of its own, which sleeps while nothing changes. Raises `ConfigError`.
    """

    def __init__(self, picture: Picture, folder: Path, rate: int = RATE, most: int = MOST) -> None:
        self.folder, self.count, self.fault = folder, 0, ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / INDEX).exists():
                raise ConfigError(f"{folder}: holds a recording already; name another folder")
            self._index = (folder / INDEX).open("w")
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be written to: {error.strerror}") from None
        self._picture, self._pause, self._most = picture, 1 / rate, most
        self._news, self._ended = threading.Event(), threading.Event()
        self._watch = Watch(self._news.set)
        self._unwatch = picture.watch(self._watch)
        self._began = time.monotonic()
        self._last = b""
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._news.set()
        self._thread.start()

    def close(self) -> None:
        self._unwatch()
        self._ended.set()
        self._news.set()
        self._thread.join()
        self._index.close()

    def _run(self) -> None:
        try:
            while True:
                self._news.wait()
                self._news.clear()
                if self._watch.take():
                    self._write()
                if self._ended.wait(self._pause) or self.count >= self._most:
                    if self._watch.take() and self.count < self._most:
                        self._write()
                    break
        except OSError as error:
            self.fault = f"{self.folder}: {error.strerror}; recording ended"

    def _write(self) -> None:
        shot, at = image(self._picture), time.monotonic() - self._began
        data = shot.tobytes()
        if data == self._last:
            return
        self._last = data
        name = f"{self.count:06}.png"
        shot.save(self.folder / name, "PNG", compress_level=1)
        line = {"file": name, "at_s": round(at, 6), "width": shot.width, "height": shot.height}
        self._index.write(json.dumps(line) + "\n")
        self._index.flush()
        self.count += 1
