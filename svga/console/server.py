"""The console of a display: its viewers by RFB and by WebSocket, its recorder, all in a thread of their own."""

import asyncio
import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pvdev import spec
from pvdev.errors import ConfigError
from svga.console import address, record
from svga.console.session import Host, NoHands
from svga.console.viewer import FAREWELL_S, attend
from svga.display import Hands, Picture

VIEWERS_MOST = 32  # connected, of all displays together
CHUNK = 1 << 16
START_S = 10.0

T = TypeVar("T")


class Listens(Protocol):
    def close(self) -> object: ...

    async def wait_closed(self) -> object: ...


class Console:
    """Shows `picture` wherever `open` says, until `close`. Its thread begins with the first display.

    `hands`: where pointers and keys go, called in that thread; or its specification, "qmp:PATH". Raises `ConfigError`.
    """

    def __init__(self, picture: Picture, hands: Hands | str | None = None, name: str = "pvdev") -> None:
        self.picture, self.name = picture, name
        self.hands: Hands = open_hands(hands) if isinstance(hands, str) else hands or NoHands()
        self.displays: dict[str, str] = {}  # specification -> where it is
        self._servers: list[Listens] = []
        self._recorders: list[record.Recorder] = []
        self._viewers: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # -- from any thread -----------------------------------------------------------------------------------------------

    def open(self, text: str) -> str:
        """Show it there too; where that is, in words a viewer takes. Raises `ConfigError`."""
        display = address.parse(text)
        if text in self.displays:
            raise ConfigError(f"display {text!r} is open already")
        if display.kind == "png":
            recorder = record.open_recorder(self.picture, display)
            self._recorders.append(recorder)
            self.displays[text] = where = str(recorder.folder)
            return where
        at = address.address(display)
        key = address.secret(display, at)
        host = Host(self.picture, self.hands, self.name, key, partial(secrets.token_bytes, 16))
        if display.kind == "web":
            from svga.console import web

            files = web.find_novnc(display.options.get("novnc"))
        sock = listening(at)
        at = address.Address(at.host, sock.getsockname()[1])
        if display.kind == "web":
            self.run(self._serve_web(host, sock, at, files))
            where = f"http://{at}/"
        else:
            self.run(self._serve_rfb(host, sock))
            where = str(at)
        self.displays[text] = where
        return where

    def screenshot(self, path: str | os.PathLike[str]) -> tuple[int, int]:
        """Write what is shown now as a PNG; its size. Raises `ConfigError`."""
        return record.screenshot(self.picture, Path(path))

    def faults(self) -> str | None:
        """What a recorder failed in, one line."""
        return next((each.fault for each in self._recorders if each.fault), None)

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do that in the console's thread, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._started()).result(START_S)

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            loop = self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=loop.run_forever, name="console", daemon=True)
            self._thread.start()
        return self._loop

    def close(self) -> None:
        """Let every viewer go; again: nothing."""
        for each in self._recorders:
            each.close()
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            self.run(self._end())
            loop.call_soon_threadsafe(loop.stop)
            thread.join(START_S)
            loop.close()
            self._loop = self._thread = None
        self._recorders.clear()
        self._servers.clear()
        self.displays.clear()

    def __enter__(self) -> "Console":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- in the console's thread ---------------------------------------------------------------------------------------

    async def _end(self) -> None:
        for viewer in self._viewers:
            viewer.cancel()
        await asyncio.gather(*self._viewers, return_exceptions=True)
        for each in self._servers:
            each.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(each.wait_closed(), FAREWELL_S)
        mine = asyncio.current_task()
        rest = [task for task in asyncio.all_tasks() if task is not mine]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _serve_rfb(self, host: Host, sock: socket.socket) -> None:
        async def viewer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async def write(data: bytes) -> None:
                writer.write(data)
                await writer.drain()

            try:
                with contextlib.suppress(asyncio.CancelledError):  # the console's end, which is not this task's to tell
                    await self.attend(host, lambda: reader.read(CHUNK), write)
            finally:
                writer.close()
                try:
                    with contextlib.suppress(OSError, TimeoutError):
                        await asyncio.wait_for(writer.wait_closed(), FAREWELL_S)
                finally:
                    writer.transport.abort()

        self._servers.append(await asyncio.start_server(viewer, sock=sock, limit=CHUNK))

    async def _serve_web(self, host: Host, sock: socket.socket, at: address.Address, files: Path) -> None:
        from svga.console import web

        self._servers.append(await web.serve(partial(self.attend, host), sock, at, files))

    async def attend(self, host: Host, read: Any, write: Any) -> str | None:
        """One viewer, when there is room for another."""
        if len(self._viewers) >= VIEWERS_MOST:
            return None
        task = asyncio.current_task()
        assert task is not None
        self._viewers.add(task)
        try:
            return await attend(host, read, write)
        finally:
            self._viewers.discard(task)


def listening(at: address.Address) -> socket.socket:
    """A socket that listens there. Raises `ConfigError`."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            at.host, at.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"{at}: no address of this machine: {error.strerror}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(16)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ConfigError(f"{at}: cannot listen here: {os.strerror(error.errno or 0)}; choose another port") from None
    return sock


def open_hands(text: str) -> Hands:
    """What carries a viewer's pointer and keys. Raises `ConfigError`."""
    hands = spec.parse(text, address.HANDS, "hands")
    if not hands.argument:
        raise ConfigError("hands: name the monitor's socket; write qmp:PATH")
    try:
        from svga.console.qmp import QmpHands
    except ImportError as error:
        raise ConfigError(f"hands qmp: needs {error.name}: pip install 'pvdev[console]'") from error
    return QmpHands(hands.argument)
