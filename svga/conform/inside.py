"""Our own model as the target: called directly, or behind a vfio-user server in a thread."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pvdev.arena import Piece
from pvdev.attended import Attended
from pvdev.device import DmaBuffer, Port
from pvdev.mem import SharedBlock
from pvdev.transport.inproc import BUDGET, LocalPort
from pvdev.transport.vfio_user import RUNG, Server, VfioUserPort
from svga.conform.target import ARENA, Can, Display, Frame, Pointed
from svga.device import Svga
from svga.display import Damage, Rows, Watch
from svga.formats import BYTES
from svga.function import Video
from svga.profiles import FRONTS, PROFILES, profile

VRAM, FIFO, SIZE = 1 << 20, 256 << 10, (64, 48)


def _displays(choice: tuple[tuple[str, str], ...]) -> tuple[Display, ...]:
    out = []
    for front, name in choice:
        found = profile(name, front)
        make = (("name_of_profile", name), ("front", front))
        out.append(Display(f"{front}-{name}", found.svga3, found.caps, found.caps2, found.fifo_caps, make))
    return tuple(out)


ALL = _displays(tuple((front, name) for front in FRONTS[::-1] for name in PROFILES if name != "qemu"))
ALL += _displays((("svga2", "qemu"),))
FEW = _displays((("svga2", "screen-targets"), ("svga3", "screen-targets")))


def pixels(rows: Rows) -> bytes:
    """Every pixel as red, green, blue; a channel's highest value is 255."""
    data, each, out = b"".join(rows.pieces), BYTES[rows.bpp], bytearray()
    for y in range(rows.height):
        line = data[y * rows.pitch : y * rows.pitch + rows.width * each]
        for at in range(0, len(line), each):
            value = int.from_bytes(line[at : at + each], "little")
            if rows.bpp == 8:
                out += bytes(rows.palette[value])
            else:
                out += bytes((value & mask) * 255 // mask for mask in rows.masks)
    return bytes(out)


class Served(Attended, Svga):
    """A display in a server's thread."""


class ModelTarget:
    """The model in this process, a port to it, and somebody who looks at it."""

    can = frozenset(Can)

    def __init__(self, device: Svga, port: Port) -> None:
        self.device, self.port = device, port
        self._watch = Watch()
        self._end = device.picture.watch(self._watch)
        self._watch.take()
        self._lent: list[SharedBlock] = []

    def close(self) -> None:
        self._end()
        for block in self._lent:
            block.close()

    def settle(self) -> None:
        if isinstance(self.device, Served):
            self.device.finish()
            self.port.read(7, 0)  # the answer comes behind the interrupts of that round
        else:
            self.port.until(lambda: True)

    def _do(self, what: Callable[[], None]) -> None:
        """Where the device is worked on: nothing else happens to it meanwhile."""
        if isinstance(self.device, Served):
            self.device.ask(what)
        else:
            what()

    def memory(self) -> bytes:
        return b"".join(bytes(region.view) for region in self.device.mem.regions() if region.view is not None)

    def broken(self) -> set[str]:
        return self.device.rules.numbers()

    def frame(self, monitor: int) -> Frame | None:
        found: list[Frame | None] = []

        def look() -> None:
            rows = self.device.picture.rows(monitor)
            found.append(None if rows is None else Frame(rows.width, rows.height, pixels(rows)))

        self._do(look)
        return found[0]

    def monitors(self) -> list[tuple[int, int, int, int, int]]:
        self.settle()
        return [(m.id, m.area.x, m.area.y, m.area.width, m.area.height) for m in self.device.picture.monitors]

    def damage(self) -> Damage:
        self.settle()
        return self._watch.take()

    def pointer(self) -> Pointed:
        self.settle()
        cursor = self.device.picture.cursor
        return Pointed(cursor.x, cursor.y, cursor.visible, cursor.image)

    def lend(self, address: int, size: int) -> DmaBuffer:
        block = SharedBlock(size, "pvdev-lent")
        self._lent.append(block)
        if isinstance(self.port, VfioUserPort):
            self.port.client.lend(address, block.view, fd=block.fd)
        else:
            self.device.mem.map(address, block.view)
        return Piece(address, block.view)

    def take_back(self, buffer: DmaBuffer) -> None:
        if isinstance(self.port, VfioUserPort):
            self.port.client.take_back(buffer.address, len(buffer.view))
        else:
            self.device.mem.unmap(buffer.address, len(buffer.view))


@dataclass(frozen=True)
class ModelBench:
    """Models called directly, working off `budget` units in a round."""

    name: str = "local"
    budget: int = BUDGET
    displays: tuple[Display, ...] = ALL
    chooses: bool = True
    can: frozenset[Can] = field(default=ModelTarget.can, repr=False)

    @contextmanager
    def connect(self, display: Display, **options: Any) -> Iterator[ModelTarget]:
        device = Svga(**{"vram": Video(VRAM, None), "size": SIZE, **dict(display.make), **options})
        port = LocalPort(device, memory=ARENA, budget=self.budget)
        target = ModelTarget(device, port)
        yield target
        target.close()
        port.close()


@dataclass(frozen=True)
class ServedBench:
    """Models behind a vfio-user server each."""

    name: str = "vfio-user"
    displays: tuple[Display, ...] = FEW
    chooses: bool = True
    can: frozenset[Can] = field(default=ModelTarget.can, repr=False)

    @contextmanager
    def connect(self, display: Display, **options: Any) -> Iterator[ModelTarget]:
        with ExitStack() as stack:
            memories = [Video(size, stack.enter_context(_block(size))) for size in (VRAM, FIFO)]
            made = {"vram": memories[0], "fifo": memories[1], "size": SIZE, **dict(display.make), **options}
            device = Served(**made)
            stack.callback(device.close)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pvdev-"))
            server = Server(polling=RUNG)
            server.add(device, Path(folder) / "display", watch=[device])
            stack.enter_context(server.background())
            port = VfioUserPort(Path(folder) / "display", memory=ARENA)
            stack.callback(port.close)
            target = ModelTarget(device, port)
            yield target
            target.close()


@contextmanager
def _block(size: int) -> Iterator[SharedBlock]:
    block = SharedBlock(size, "svga conform")
    try:
        yield block
    finally:
        block.close()


OURS = (ModelBench(), ModelBench("local-budget-1", budget=1, displays=FEW), ServedBench())
