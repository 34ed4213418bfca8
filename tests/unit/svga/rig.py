"""A display, its driver's port, the reference driver on it, and somebody who looks."""

from random import Random
from typing import Any

from pvdev.transport.inproc import LocalPort
from svga.device import Svga
from svga.display import Damage, Watch
from svga.driver.driver import Driver
from svga.formats import BYTES
from svga.function import Video
from svga.wire import Cap, Cap2, FifoCap
from svga.wire_commands import CbStatus

__all__ = ["Cap", "Cap2", "CbStatus", "FifoCap", "Rig", "noise"]

W, H = 64, 48


def noise(width: int = W, height: int = H, seed: int = 1) -> bytes:
    """A picture of four bytes a pixel."""
    return Random(seed).randbytes(4 * width * height)


class Rig:
    """`watch` has seen nothing of what was before; `unwatch` ends it."""

    def __init__(self, profile: str = "legacy", front: str = "svga2", **options: Any) -> None:
        options = {"vram": Video(1 << 20, None), "size": (W, H), **options}
        self.device = Svga(profile, front=front, **options)
        self.port = LocalPort(self.device, memory=4 << 20)
        self.driver = Driver(self.port)
        self.watch = Watch()
        self.unwatch = self.device.picture.watch(self.watch)
        self.watch.take()

    def up(self, way: str | None = None, **options: Any) -> "Rig":
        """Brought up the way its profile is for; nothing of that is left in `watch`."""
        name = self.device.profile.name
        self.driver.bring_up(way or ("legacy" if name == "qemu" else name), **options)
        self.watch.take()
        return self

    def started(self, *, buffers: bool | None = None) -> "Rig":
        """Enabled, a way for commands set up, nothing shown."""
        self.driver.start(buffers=buffers)
        return self

    def seen(self, number: str) -> list[tuple[str, int]]:
        """(place, last value) of every violation of a rule."""
        return [(violation.place, violation.last) for violation in self.device.rules if violation.rule.number == number]

    def frame(self, monitor: int = 0) -> bytes:
        """What a monitor shows, row after row, as its pixels are stored."""
        rows = self.device.picture.rows(monitor)
        assert rows is not None
        data, length = b"".join(rows.pieces), rows.width * BYTES[rows.bpp]
        return b"".join(data[y * rows.pitch : y * rows.pitch + length] for y in range(rows.height))

    def damage(self) -> Damage:
        return self.watch.take()

    def assert_alive(self) -> None:
        """After a reset a picture comes through, and breaks no rule."""
        self.port.reset()
        self.device.rules.clear()
        self.driver = Driver(self.port)
        picture = noise(seed=99)
        self.up()
        self.driver.show(picture, 0, 0, W, H)
        self.driver.fence()
        assert self.frame() == picture
        assert [str(violation) for violation in self.device.rules] == []
