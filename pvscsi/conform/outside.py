"""A target this process only reaches from outside: the adapter any vfio-user server has."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pvdev.errors import ConfigError
from pvdev.transport.vfio_user import VfioUserPort, fresh_port
from pvscsi.conform.target import ARENA, DISK, Can, Drives, Reached, cannot, need_for
from pvscsi.driver import CommandFailed, Disk, Driver

QUIET_S = 0.002  # several times over of nothing coming is "the device has done all it can"
QUIET_ROUNDS = 6


class ServerTarget(Reached):
    """The adapter behind a vfio-user server of whatever make."""

    def __init__(self, port: VfioUserPort) -> None:
        self.port = port

    def settle(self) -> None:
        """The device tells nobody when it is done: nothing has come for a while, and it has answered meanwhile."""
        for _ in range(QUIET_ROUNDS):
            self.port.read(7, 0)
            select.select((), (), (), QUIET_S)

    def memory(self) -> bytes:
        return bytes(self.port.arena.block.view)


class ServerBench:
    """The adapter a vfio-user server has at `path`. What is on the disk at place 0 is overwritten."""

    name = "vfio-user"

    def __init__(self, path: str, *, race: int) -> None:
        """Raises `ConfigError` when nobody listens there, or there is no disk that will do."""
        self.race = race
        self._path = Path(path)
        with fresh_port(self._path, ARENA) as port:
            driver = Driver(port, strict=False).bring_up()
            disk = Disk(driver)
            disk.settle()
            try:
                found = disk.read_capacity()
            except CommandFailed as error:
                raise ConfigError(f"no disk at place 0 of the adapter at {path}: {error}") from None
            finally:
                driver.close()
            if found.block != DISK.block or found.blocks * found.block < DISK.size:
                raise ConfigError(
                    f"the disk at place 0 of the adapter at {path} has {found.blocks} blocks of {found.block} bytes; "
                    f"the suite needs {DISK.size >> 20} MiB in ones of {DISK.block} (pvdev serve pvscsi --disk mem:8M)"
                )

    @contextmanager
    def connect(self, drives: Drives | None, **options: Any) -> Iterator[ServerTarget]:
        if drives is not None:
            need_for(drives.values(), frozenset())
            cannot(Can.DRIVES)
        if options:
            cannot(Can.OPTIONS)
        with fresh_port(self._path, ARENA) as port:
            yield ServerTarget(port)
