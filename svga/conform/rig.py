"""A display under test and a driver of ours on it: the same test body on every target."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from pvdev.device import DmaBuffer, Port
from pvdev.transport.inproc import LocalPort
from svga.conform.inside import ModelTarget
from svga.conform.target import Bench, Can, Display, Frame, Need, Part, Pointed, Target, cannot, need, rgb
from svga.device import Svga
from svga.display import Damage
from svga.driver.driver import WAYS, Driver
from svga.wire import PAGE, Cap, Fifo, Register
from svga.wire_commands import CB_HEADER, CONTEXT_0, CbStatus

__all__ = [
    "Buffers",
    "Can",
    "Frame",
    "H",
    "MakeRig",
    "Need",
    "Part",
    "Rig",
    "W",
    "build",
    "crop",
    "moved",
    "noise",
    "paste",
    "rgb",
]

W, H = 24, 16  # of the pictures tests draw
PATIENCE_S = 3.0


def noise(width: int = W, height: int = H, seed: int = 1) -> bytes:
    """A picture of four bytes a pixel, the fourth 0."""
    data = bytearray(Random(seed).randbytes(4 * width * height))
    data[3::4] = bytes(width * height)
    return bytes(data)


def crop(picture: bytes, x: int, y: int, width: int, height: int, *, across: int = W) -> bytes:
    """A part of a picture that is `across` pixels wide."""
    return b"".join(picture[4 * (across * row + x) :][: 4 * width] for row in range(y, y + height))


def paste(picture: bytes, part: bytes, x: int, y: int, width: int, *, across: int = W) -> bytes:
    """`part`, `width` pixels wide, laid over a picture."""
    out = bytearray(picture)
    for row in range(len(part) // (4 * width)):
        at = 4 * (across * (y + row) + x)
        out[at : at + 4 * width] = part[4 * width * row : 4 * width * (row + 1)]
    return bytes(out)


def moved(picture: bytes, sx: int, sy: int, dx: int, dy: int, width: int, height: int, *, across: int = W) -> bytes:
    """What a copy within a picture makes of it."""
    return paste(picture, crop(picture, sx, sy, width, height, across=across), dx, dy, width, across=across)


class Rig:
    """One display with its driver's side. What the target cannot do ends the test as not applicable."""

    def __init__(self, target: Target, display: Display) -> None:
        self.target, self.display = target, display
        self._driver: Driver | None = None

    @property
    def port(self) -> Port:
        return self.target.port

    @property
    def device(self) -> Svga:
        """INSIDE: the model itself."""
        if not isinstance(self.target, ModelTarget):
            cannot(Can.INSIDE)
        return self.target.device

    def need(self, *wanted: Need) -> None:
        """End the test as not applicable unless all of `wanted` is there."""
        need(self.display, self.target.can, *wanted)

    def has(self, wanted: Need) -> bool:
        return wanted in self.target.can if isinstance(wanted, Can) else self.display.has(wanted)

    # -- the driver ----------------------------------------------------------------------------------------------------

    @property
    def driver(self) -> Driver:
        """One that has not touched the display yet, unless a test had it do so."""
        if self._driver is None:
            self._driver = Driver(self.port)
        return self._driver

    def start(self, *, buffers: bool | None = None, end: int | None = None) -> Driver:
        """Enabled, a way for commands set up, nothing shown. `end`: MAX of a FIFO, if not all of it is to be used."""
        self.driver.start(buffers=buffers, end=end)
        return self.driver

    def up(self, way: str = WAYS[0], *, size: tuple[int, int] = (W, H), buffers: bool | None = None) -> Driver:
        """Showing an empty picture of that size, by one of `WAYS`."""
        self.driver.bring_up(way, size=size, buffers=buffers)
        self.settle()
        return self.driver

    def best(self) -> Driver:
        """Up by the most modern way there is."""
        if self.has(Cap.GBOBJECTS):
            return self.up(WAYS[2])
        return self.up(WAYS[1] if self.has(Cap.SCREEN_OBJECT_2) and self.has(Cap.GMR2) else WAYS[0])

    def fresh(self) -> Driver:
        """After a reset of the function: a driver that knows nothing of what was before."""
        self.port.reset()
        self._driver = None
        return self.driver

    def framebuffer(self, width: int = W, height: int = H) -> bytes:
        """The picture in video memory, as the driver reads it: four bytes a pixel."""
        pitch = self.driver.pitch
        return b"".join(self.driver.peek(y * pitch, 4 * width) for y in range(height))

    def alive(self) -> None:
        """After a reset a picture comes through."""
        driver, picture = self.fresh(), noise(seed=99)
        driver.bring_up(WAYS[0], size=(W, H))
        self.settle()
        driver.show(picture, 0, 0, W, H)
        driver.fence()
        assert self.framebuffer() == picture
        if self.has(Can.PICTURE):
            assert self.frame().pixels == rgb(picture)
        driver.close()

    # -- time ----------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let the device do all it can do now."""
        self.target.settle()

    @property
    def exact(self) -> bool:
        """Whether the device's time passes only while it is waited for; else the machine may be busy with others."""
        return isinstance(self.port, LocalPort)

    def wait(self, done: Callable[[], bool], timeout_s: float = PATIENCE_S) -> bool:
        """Whether it comes true, in the device's time."""
        self.settle()
        return self.port.until(done, timeout_s)

    def fired(self) -> int:
        """Whether an interrupt came since the last call, once the device has done all it can do."""
        self.settle()
        return self.port.interrupts()

    # -- what is seen --------------------------------------------------------------------------------------------------

    def broken(self) -> set[str]:
        """RULES: numbers of the rules the device saw broken so far."""
        return self.target.broken()

    def memory(self) -> bytes:
        """All memory the driver's side lends, once the device has done all it can do."""
        self.settle()
        return self.target.memory()

    def look(self, monitor: int = 0) -> Frame | None:
        """PICTURE: what a monitor shows, once the device has done all it can do."""
        self.need(Can.PICTURE)
        self.settle()
        return self.target.frame(monitor)

    def frame(self, monitor: int = 0) -> Frame:
        """The same of one that is not blank."""
        found = self.look(monitor)
        assert found is not None, f"monitor {monitor} is blank"
        return found

    def monitors(self) -> list[tuple[int, int, int, int, int]]:
        """MONITORS"""
        self.need(Can.MONITORS)
        return self.target.monitors()

    def damage(self) -> Damage:
        """DAMAGE"""
        self.need(Can.DAMAGE)
        return self.target.damage()

    def pointer(self) -> Pointed:
        """POINTER"""
        self.need(Can.POINTER)
        return self.target.pointer()

    def lend(self, address: int, size: int) -> DmaBuffer:
        """UNMAP"""
        self.need(Can.UNMAP)
        return self.target.lend(address, size)

    def take_back(self, buffer: DmaBuffer) -> None:
        self.target.take_back(buffer)

    # -- fences --------------------------------------------------------------------------------------------------------

    def last_fence(self) -> int:
        """What the device says of the last one."""
        driver = self.driver
        return driver.get(Register.FENCE) if driver.svga3 else driver.word(Fifo.FENCE)

    def describe_ring(self, low: int, high: int, next_: int, stop: int) -> None:
        """The four words that describe a FIFO's ring."""
        for word, value in ((Fifo.MIN, low), (Fifo.MAX, high), (Fifo.NEXT_CMD, next_), (Fifo.STOP, stop)):
            self.driver.set_word(word, value)

    def fifo(self, first: int, count: int) -> list[int]:
        """Words of FIFO memory."""
        return [self.driver.word(n) for n in range(first, first + count)]


class Buffers:
    """Command buffers in a page of headers, 64 bytes apart, their commands behind them."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.memory, self.used = rig, rig.driver.alloc(16 * PAGE), 0

    def put(self, data: bytes, **fields: int) -> int:
        """A header and its commands; which it is. `mustBeZero`: its first byte."""
        n, self.used = self.used, self.used + 1
        at = 4 * PAGE + n * 256
        self.memory.view[at : at + len(data)] = data
        rest = bytes([fields.pop("mustBeZero", 0)])
        values = {"length": len(data), "ptr": self.memory.address + at, **fields}
        self.memory.view[64 * n : 64 * n + 64] = CB_HEADER.encode(mustBeZero=rest, **values)
        return n

    def submit(self, n: int, context: int = CONTEXT_0) -> None:
        self.rig.driver.post(self.memory.address + 64 * n, context)

    def post(self, data: bytes, context: int = CONTEXT_0, **fields: int) -> int:
        """Put and submit."""
        n = self.put(data, **fields)
        self.submit(n, context)
        return n

    def run(self, data: bytes, context: int = CONTEXT_0, **fields: int) -> tuple[CbStatus, int]:
        """One from beginning to end: what became of it, and its errorOffset."""
        n = self.post(data, context, **fields)
        self.rig.wait(lambda: self.status(n) is not CbStatus.NONE)
        return self.status(n), self.error(n)

    def status(self, n: int) -> CbStatus:
        return CbStatus(int.from_bytes(self.memory.view[64 * n : 64 * n + 4], "little"))

    def statuses(self) -> list[CbStatus]:
        return [self.status(n) for n in range(self.used)]

    def error(self, n: int) -> int:
        return int.from_bytes(self.memory.view[64 * n + 4 : 64 * n + 8], "little")


@contextmanager
def build(bench: Bench, display: Display, **options: Any) -> Iterator[Rig]:
    """A rig on a fresh display; `options` are the device's."""
    with bench.connect(display, **options) as target:
        yield Rig(target, display)


MakeRig = Callable[..., Rig]
