"""Our own model as the target: called directly, or behind a vfio-user server in a thread."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pvdev.attended import Attended
from pvdev.device import Port
from pvdev.mem import Region
from pvdev.transport.inproc import BUDGET, LocalPort
from pvdev.transport.vfio_user import RUNG, Polling, Server, VfioUserPort
from vmxnet3.backend import Queue
from vmxnet3.conform.target import ARENA, MAC, Can
from vmxnet3.device import Vmxnet3


class Served(Attended, Vmxnet3):
    """A NIC in a server's thread."""


@dataclass
class ModelTarget:
    """The model in this process, and a port to it."""

    device: Vmxnet3
    net: Queue
    port: Port
    can: frozenset[Can] = frozenset(Can)
    _region: Region | None = field(default=None, repr=False)

    def pump(self) -> None:
        """Nothing to move: the device reads `net` itself."""

    def settle(self) -> None:
        if isinstance(self.device, Served):
            self.device.finish()
            self.port.read(7, 0)  # the answer comes behind the interrupts of that round
        else:
            self.port.until(lambda: True)

    def memory(self) -> bytes:
        return b"".join(bytes(region.view) for region in self.device.mem.regions() if region.view is not None)

    def set_link(self, up: bool, mbps: int | None) -> None:
        self.device.set_link(up, mbps)

    def broken(self) -> set[str]:
        return self.device.rules.numbers()

    def unplug(self) -> memoryview:
        region = self.device.mem.regions()[0]
        view = region.view
        assert view is not None
        self._region = self.device.mem.unmap(region.lo, region.hi - region.lo)
        return view

    def plug(self, view: memoryview) -> None:
        assert self._region is not None
        self.device.mem.map(self._region.lo, view, token=self._region.token)

    def page_0(self) -> memoryview:
        page = memoryview(bytearray(4096))
        self.device.mem.map(0, page)
        return page


@dataclass(frozen=True)
class ModelBench:
    """Models called directly, working off `budget` units in a round; `options` are those of every device made."""

    name: str = "local"
    budget: int = BUDGET
    options: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def connect(self, net: Queue, **options: Any) -> Iterator[ModelTarget]:
        try:
            device = Vmxnet3(net, **{"mac": MAC, **self.options, **options})
        except ValueError as error:
            if not self.options:
                raise
            pytest.skip(f"with the options given there is no such device: {error}")
        port = LocalPort(device, memory=ARENA, budget=self.budget)
        yield ModelTarget(device, net, port)
        port.close()


@dataclass(frozen=True)
class ServedBench:
    """Models behind a vfio-user server each."""

    name: str = "vfio-user"

    @contextmanager
    def connect(self, net: Queue, **options: Any) -> Iterator[ModelTarget]:
        with served(net, polling=RUNG, **{"mac": MAC, **options}) as (device, port):
            yield ModelTarget(device, net, port)


@contextmanager
def served(
    net: Queue, *, polling: Polling, share: bool = True, **options: Any
) -> Iterator[tuple[Served, VfioUserPort]]:
    """A device behind a vfio-user server in a thread, and a client's port to it."""
    device = Served(net, **options)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(polling=polling)
        path = Path(folder) / "nic"
        server.add(device, path, watch=[device])
        with server.background():
            port = VfioUserPort(path, memory=ARENA, share=share)
            try:
                yield device, port
            finally:
                port.close()
    device.close()


OURS = (ModelBench(), ModelBench("local-budget-1", budget=1), ServedBench())
