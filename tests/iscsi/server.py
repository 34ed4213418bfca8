"""iSCSI targets on a loopback port, served by one thread: the only socket there is here."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pvscsi.scsi.target import Target
from tests.iscsi.session import Connection, Node


class Wire(asyncio.Protocol):
    """One TCP connection. `stirred` is called after everything that may have left something to send, anywhere."""

    def __init__(self, nodes: Mapping[str, Node], wires: "set[Wire]", stirred: Callable[[], None]) -> None:
        self.connection = Connection(nodes)
        self._wires, self._stirred = wires, stirred

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._wires.add(self)

    def data_received(self, data: bytes) -> None:
        self.connection.receive(data)
        self._stirred()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wires.discard(self)
        self.connection.end()
        self._stirred()

    def send(self) -> None:
        """Send what there is to send, and hang up when that was all."""
        if self.connection.out:
            self._transport.write(bytes(self.connection.out))
            self.connection.out.clear()
        if self.connection.closing:
            self._transport.close()


class Server:
    """Targets by iSCSI name."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._nodes = {name: Node(target) for name, target in targets.items()}
        self._wires: set[Wire] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._raised: list[BaseException] = []

    @contextmanager
    def background(self) -> Iterator[str]:
        """Serve in a thread until the context ends; where: host and port. What went wrong is raised at the end."""
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._went_wrong)
        listening = self._loop.create_server(self._wire, "127.0.0.1", 0)
        server = self._loop.run_until_complete(listening)
        host, port = server.sockets[0].getsockname()
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            yield f"{host}:{port}"
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            server.close()
            for wire in tuple(self._wires):
                wire.connection.closing = True
                wire.send()
            self._loop.run_until_complete(server.wait_closed())
            self._loop.run_until_complete(asyncio.sleep(0))  # the connections are told
            self._loop.close()
        if self._raised:
            raise self._raised[0]

    def _wire(self) -> Wire:
        return Wire(self._nodes, self._wires, self._stirred)

    def _went_wrong(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._raised.append(context.get("exception") or RuntimeError(context["message"]))

    def _stirred(self) -> None:
        """Go on with what media have finished, send, and come back when they will have something again."""
        for node in self._nodes.values():
            node.runner.reap(time.monotonic_ns())
        for wire in tuple(self._wires):
            wire.send()
        if self._timer is not None:
            self._timer.cancel()
        due = [ns for node in self._nodes.values() if (ns := node.runner.deadline()) is not None]
        self._timer = self._loop.call_at(min(due) / 1e9, self._stirred) if due else None
