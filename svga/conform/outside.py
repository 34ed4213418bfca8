"""A target this process only reaches from outside: the display any vfio-user server has."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pvdev.arena import Piece
from pvdev.device import DmaBuffer, Port
from pvdev.errors import ConfigError
from pvdev.mem import SharedBlock
from pvdev.transport.vfio_user import VfioUserPort, fresh_port
from svga.conform.target import ARENA, Can, Display, Reached
from svga.driver.driver import Driver
from svga.driver.front import DeviceBroke
from svga.wire import Cap, Cap2, Fifo, FifoCap, Register

QUIET_S = 0.002  # several times over of nothing coming is "the device has done all it can"
QUIET_ROUNDS = 6


def describe(port: Port, name: str = "") -> Display:
    """What the display behind a port says of itself. Raises `DeviceBroke` when it is none, or none of ours."""
    driver = Driver(port)
    driver.negotiate()
    caps = Cap(driver.get(Register.CAPABILITIES))
    caps2 = Cap2(driver.get(Register.CAP2)) if caps & Cap.CAP2_REGISTER else Cap2(0)
    fifo = FifoCap(0)
    if driver.svga3:
        fifo = FifoCap(driver.get(Register.FIFO_CAPS))
    elif caps & Cap.EXTENDED_FIFO:
        fifo = FifoCap(driver.word(Fifo.CAPABILITIES))
    return Display(name, driver.svga3, caps, caps2, fifo)


class ServerTarget(Reached):
    """The display behind a vfio-user server of whatever make."""

    can = frozenset({Can.UNMAP})

    def __init__(self, port: VfioUserPort) -> None:
        self.port = port
        self._lent: list[SharedBlock] = []

    def close(self) -> None:
        for block in self._lent:
            block.close()

    def settle(self) -> None:
        """The device tells nobody when it is done: nothing has come for a while, and it has answered meanwhile."""
        for _ in range(QUIET_ROUNDS):
            self.port.read(7, 0)
            select.select((), (), (), QUIET_S)

    def memory(self) -> bytes:
        return bytes(self.port.arena.block.view)

    def lend(self, address: int, size: int) -> DmaBuffer:
        block = SharedBlock(size, "pvdev-lent")
        self._lent.append(block)
        self.port.client.lend(address, block.view, fd=block.fd)
        return Piece(address, block.view)

    def take_back(self, buffer: DmaBuffer) -> None:
        self.port.client.take_back(buffer.address, len(buffer.view))


class ServerBench:
    """The display a vfio-user server has at `path`."""

    name, chooses, can = "vfio-user", False, ServerTarget.can

    def __init__(self, path: str) -> None:
        """Raises `ConfigError` when nobody listens there, or there is no display."""
        self._path = Path(path)
        with fresh_port(self._path, ARENA) as port:
            try:
                self.displays: tuple[Display, ...] = (describe(port),)
            except DeviceBroke as error:
                raise ConfigError(f"no display of the SVGA family at {path}: {error}") from None

    @contextmanager
    def connect(self, display: Display, **options: Any) -> Iterator[ServerTarget]:
        with fresh_port(self._path, ARENA) as port:
            target = ServerTarget(port)
            yield target
            target.close()
