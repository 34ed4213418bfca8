"""A USB/IP server: whoever connects lists what is plugged in to a bus, and imports it. A thread of its own.

USB/IP knows no password: whoever reaches the address has the pointers, so it is a loopback one unless told otherwise.
"""

import contextlib
import re
import selectors
import socket
import threading
from collections.abc import Callable
from types import TracebackType

from pvdev.errors import ConfigError
from pvdev.rules import RuleLog
from svga.usb.bus import Bus
from svga.usb.usbip_session import Session
from svga.usb.usbip_wire import PORT

CLIENTS_MOST = 32
PATIENCE_NS = 10_000_000_000  # for a client to import something
UNREAD_MOST = 1 << 16  # bytes owed to a client before nothing more is read of it
CHUNK = 1 << 14


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of "127.0.0.1:3240", "[::1]:3240" or a host alone. Raises `ConfigError`."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:\[\]\s]+))(?::(\d{1,5}))?", text)
    port = int(found[3]) if found and found[3] else PORT
    if not found or port > 0xFFFF:
        raise ConfigError(f"{text!r} is no address; write it like 127.0.0.1:{PORT}")
    return found[1] or found[2], port


class _Client:
    """A connection. Its session may be fed by the server's thread only."""

    def __init__(self, sock: socket.socket, session: Session, name: str, until_ns: int) -> None:
        self.sock, self.session, self.name, self.until_ns = sock, session, name, until_ns
        self.wants = selectors.EVENT_READ


class UsbipServer:
    """Serves `bus` at (host, port) from `start` to `close`; port 0 takes a free one, and `address` says which.

    Raises `ConfigError` when it cannot listen there. `on_event` hears who comes and goes, a line each.
    """

    def __init__(
        self,
        bus: Bus,
        address: tuple[str, int],
        on_event: Callable[[str], None] = lambda line: None,
        rules: RuleLog | None = None,
    ) -> None:
        self.bus, self._on_event, self._rules = bus, on_event, rules
        self._listener = _listen(*address)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._selector = selectors.DefaultSelector()
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._ring.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._clients: list[_Client] = []
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="USB/IP", daemon=True)
        self._deaf = bus.listen(self.wake)

    def start(self) -> "UsbipServer":
        self._thread.start()
        return self

    def close(self) -> None:
        """Let all clients go; again: nothing."""
        if self._stop:
            return
        self._stop = True
        self._deaf()
        self.wake()
        if self._thread.ident is not None:
            self._thread.join()
        for client in list(self._clients):
            self._leave(client)
        self._selector.close()
        self._listener.close()
        self._bell.close()
        self._ring.close()

    def __enter__(self) -> "UsbipServer":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wake(self) -> None:
        """A pointer has moved, or something was plugged or pulled; from any thread."""
        with contextlib.suppress(OSError):  # it is full, so it rings; or closed, so nobody listens
            self._ring.send(b"\0")

    # -- its thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop:
            for key, events in self._selector.select(self._pause_s()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._bell:
                    self._bell.recv(CHUNK)
                elif events & selectors.EVENT_READ:
                    self._read(key.data)
            now = self.bus.clock()
            for client in list(self._clients):
                self._look(client, now)

    def _pause_s(self) -> float | None:
        times = [due for client in self._clients if (due := client.session.due()) is not None]
        times += [client.until_ns for client in self._clients if client.session.plug is None]
        return max(0, min(times) - self.bus.clock()) / 1e9 if times else None

    def _accept(self) -> None:
        try:
            sock, peer = self._listener.accept()
        except OSError:
            return
        name = f"{peer[0]}:{peer[1]}"
        if len(self._clients) >= CLIENTS_MOST:
            sock.close()
            self._on_event(f"USB/IP client {name} turned away: there are {CLIENTS_MOST} already")
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(sock, Session(self.bus, self._rules), name, self.bus.clock() + PATIENCE_NS)
        self._clients.append(client)
        self._selector.register(sock, client.wants, client)

    def _read(self, client: _Client) -> None:
        held = client.session.plug
        try:
            data = client.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            client.session.close()
            return
        client.session.feed(data)
        if held is None and (plug := client.session.plug) is not None:
            self._on_event(f"USB/IP client {client.name} has {plug.busid} ({plug.model.persona.name})")

    def _look(self, client: _Client, now_ns: int) -> None:
        """Answer, send, and see whether this one is to go."""
        session = client.session
        session.poll()
        if session.plug is None and now_ns >= client.until_ns and not session.ended:
            session.ended = "imported nothing"
        if session.out:
            try:
                del session.out[: client.sock.send(session.out)]
            except BlockingIOError:
                pass
            except OSError:
                session.close()
        if session.ended:
            self._leave(client)
            return
        wants = selectors.EVENT_WRITE if session.out else 0
        wants |= selectors.EVENT_READ if len(session.out) < UNREAD_MOST else 0
        if wants != client.wants:
            client.wants = wants
            self._selector.modify(client.sock, wants, client)

    def _leave(self, client: _Client) -> None:
        self._clients.remove(client)
        self._selector.unregister(client.sock)
        client.session.close()
        client.sock.close()
        if client.session.plug is not None:
            self._on_event(f"USB/IP client {client.name} let {client.session.plug.busid} go: {client.session.ended}")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.create_server(where[:2], family=family, backlog=CLIENTS_MOST)
    except OSError as error:
        raise ConfigError(f"{host}:{port}: cannot listen here: {error.strerror or error}; give a free port") from None
    sock.setblocking(False)
    return sock
