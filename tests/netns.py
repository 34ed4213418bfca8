"""Network namespaces of a test's own: what is set up in them goes with the test, the machine's network is untouched."""

import contextlib
import ctypes
import os
import select
import socket
from collections.abc import Callable, Iterator, Sequence

import pytest

CLONE_NEWNET = 0x40000000
IFA_F_NODAD = 0x02  # usable at once

_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A namespace that a thread can step into: what it opens there stays there."""

    def __init__(self) -> None:
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        home = Namespace()
        try:
            self.enter()
            yield
        finally:
            home.enter()
            home.close()

    def enter(self) -> None:
        if _libc.setns(self.fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def close(self) -> None:
        os.close(self.fd)


def unshare() -> str:
    """This thread into a new, empty namespace; says why not, or nothing."""
    return f"no network namespace: {os.strerror(ctypes.get_errno())}" if _libc.unshare(CLONE_NEWNET) else ""


def lack(why: str) -> None:
    """The test cannot run here: a skip, or a failure where everything is insisted on."""
    if os.environ.get("PVDEV_REQUIRE") == "all":
        pytest.fail(why)
    pytest.skip(why)


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """This thread in the first of `count` empty namespaces; the others are to be stepped into. Skips without them."""
    with contextlib.ExitStack() as owns:
        home = Namespace()
        owns.callback(home.close)
        owns.callback(home.enter)
        made: list[Namespace] = []
        for _ in range(count):
            if why := unshare():
                lack(why)
            made.append(Namespace())
            owns.callback(made[-1].close)
        made[0].enter()
        yield made


def veth(name: str, peer: str, into: Namespace, *, address: str = "", peer_address: str = "") -> None:
    """A pair of interfaces, both up: `name` here, `peer` in another namespace; addresses as 192.0.2.1/24."""
    from pyroute2 import IPRoute

    with IPRoute() as links:
        links.link("add", ifname=name, kind="veth", peer=peer)
        links.link("set", index=links.link_lookup(ifname=peer)[0], net_ns_fd=into.fd)
    raise_link(name, address)
    with into.inside():
        raise_link(peer, peer_address)


def raise_link(name: str, address: str = "", mtu: int = 0) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as links:
        index = links.link_lookup(ifname=name)[0]
        if address:
            host, _, prefix = address.partition("/")
            flags = {"flags": IFA_F_NODAD} if ":" in host else {}
            links.addr("replace", index=index, address=host, prefixlen=int(prefix), **flags)
        links.link("set", index=index, state="up", **({"mtu": mtu} if mtu else {}))


def route(to: str, gateway: str) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as links:
        links.route("replace", dst=to, gateway=gateway)


class Stream:
    """One TCP connection between two namespaces, both its ends in this thread: `client` sends, `server` reads.

    The packets between them pass through the test: `until_done` calls `pump`, which moves what it can and says
    whether that was anything.
    """

    def __init__(self, server_side: Namespace, client_side: Namespace, address: str, port: int = 5001) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with server_side.inside():
            self._listener = socket.socket(family, socket.SOCK_STREAM)
            self._listener.bind((address, port))
            self._listener.listen()
            self._listener.setblocking(False)
        with client_side.inside():
            self.client = socket.socket(family, socket.SOCK_STREAM)
            self.client.setblocking(False)
            self.client.connect_ex((address, port))
        self.server: socket.socket | None = None

    def until_done(self, payload: bytes, pump: Callable[[], bool], fds: Sequence[int]) -> bytes:
        """Send `payload`, then the end; what the server got. `fds`: readable when `pump` has something to do."""
        left, got = memoryview(payload), bytearray()
        while True:
            moved = pump()
            if self.server is None:
                with contextlib.suppress(BlockingIOError):
                    self.server, _ = self._listener.accept()
                    self.server.setblocking(False)
            if left:
                with contextlib.suppress(BlockingIOError, OSError):
                    left, moved = left[self.client.send(left) :], True
                if not left:
                    self.client.shutdown(socket.SHUT_WR)
            if self.server is not None:
                with contextlib.suppress(BlockingIOError):
                    data = self.server.recv(1 << 20)
                    if not data:
                        return bytes(got)
                    got += data
                    moved = True
            if not moved:
                ends = [(self.server or self._listener).fileno(), *fds]
                assert select.select(ends, [], [], 20)[0], f"nothing moves any more, {len(got)} bytes came"

    def close(self) -> None:
        for each in (self._listener, self.client, self.server):
            if each is not None:
                each.close()
