"""Our own model, handed over again and again: it is saved before an access of its driver, and goes on as another."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pvdev.mem import GuestMemory
from pvdev.transport.inproc import LocalPort
from svga.conform.inside import FEW, SIZE, VRAM, ModelTarget
from svga.conform.target import ARENA, Can, Display
from svga.device import Svga
from svga.function import Video
from svga.saved import restore, save

OFTEN = 16  # one access of so many
CAN = frozenset(Can) - {Can.INSIDE, Can.DAMAGE}


class RelayPort(LocalPort):
    """`make` builds a display on that memory; `taken_over` hears of each one that takes over."""

    def __init__(self, make: Callable[[GuestMemory], Svga], *, memory: int) -> None:
        self._make, self._random = make, Random(70)
        self.taken_over: Callable[[Svga], None] = lambda device: None
        self.display = make(GuestMemory())
        super().__init__(self.display, memory=memory)

    def relay(self) -> None:
        """One access in `OFTEN` finds another display there than the one before."""
        if self._random.randrange(OFTEN):
            return
        data = save(self.display)
        self.device = self.display = self._make(self.display.mem)
        restore(self.display, data)
        self.taken_over(self.display)

    def read(self, region: int, offset: int, size: int = 4) -> int:
        self.relay()
        return super().read(region, offset, size)

    def write(self, region: int, offset: int, value: int, size: int = 4) -> None:
        self.relay()
        super().write(region, offset, value, size)


class RelayTarget(ModelTarget):
    """Whoever looks at it looks at the one it is now."""

    can = CAN

    def __init__(self, port: RelayPort) -> None:
        super().__init__(port.display, port)
        port.taken_over = self.follow

    def follow(self, device: Svga) -> None:
        self.device = device
        self._end = device.picture.watch(self._watch)


@dataclass(frozen=True)
class RelayBench:
    """Models called directly, each of them for a few accesses.

    One that takes over has not seen what a driver drew without a word before, and tells viewers of all of it.
    """

    name: str = "relay"
    displays: tuple[Display, ...] = FEW
    chooses: bool = True
    can: frozenset[Can] = field(default=CAN, repr=False)

    @contextmanager
    def connect(self, display: Display, **options: Any) -> Iterator[RelayTarget]:
        values = {"size": SIZE, **dict(display.make), **options}

        def make(mem: GuestMemory) -> Svga:
            return Svga(**values, mem=mem, vram=Video(VRAM, None))

        port = RelayPort(make, memory=ARENA)
        target = RelayTarget(port)
        yield target
        target.close()
        port.close()
