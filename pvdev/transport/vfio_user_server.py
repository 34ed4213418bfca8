"""The vfio-user server: several devices, each on its own socket, in one thread and one poll loop.

A device that has work is serviced over and over (it may then tell its driver not to ring), with a look at the sockets
between two rounds. How long the loop waits between them follows what it finds (`Polling`): a lone frame is answered at
once, a flood of requests is taken in batches, so that the rings' cache lines and the processors stay with the driver
meanwhile. A device without work for a while arms its bell, looks again, and the loop sleeps.
"""

import contextlib
import errno
import heapq
import itertools
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pvdev.device import Device, HasFileno
from pvdev.errors import ConfigError, PvdevError
from pvdev.faults import FaultPlan
from pvdev.rules import RuleLog, Violation
from pvdev.transport.vfio_user_check import check_device
from pvdev.transport.vfio_user_link import Link
from pvdev.transport.vfio_user_rules import RULES
from pvdev.transport.vfio_user_session import Options, Session

BUDGET = 256
DMA_TIMEOUT_S = 2.0
PATH_MAX = 107  # bytes in sockaddr_un
FINE_NS = 20_000_000  # shorter waits use select (µs); epoll's timeout counts in ms

ASLEEP = -1

_clock = time.monotonic_ns


@dataclass(frozen=True)
class Polling:
    """How a device's rings are polled, all in ns. Zero `linger_ns`: not at all, the driver rings for everything.

    After a round with work the next follows at once; of a device that `gathers`, after `hot` such rounds in a row, each
    waits `nap_ns`: 32 requests at a time then take a disk two thirds of the time, while a NIC's sender would be held up
    (166,000 frames a second without, 62,000 with it). Without work the rounds are `doze_ns` apart, until `linger_ns`
    after the last.

    Spinning instead takes the processor from the very threads that carry a guest's accesses and interrupts: on two
    processors a guest's ping took 1.9 times as long with 1 ms of it. So it is done only for a guest that sends its next
    request as soon as it hears of the last: for `spin_ns` after work, if the work before came as soon as that. One
    request at a time then takes a disk 0.16 ms instead of 0.26.
    """

    nap_ns: int = 50_000
    doze_ns: int = 50_000
    spin_ns: int = 400_000
    linger_ns: int = 30_000_000
    hot: int = 6


RUNG = Polling(linger_ns=0)


def _ignore(line: str) -> None:
    pass


def listen(path: str) -> socket.socket:
    """A listening socket at `path`, mode 0600 from the first moment. Raises `ConfigError`.

    The socket file of a server that died is replaced; a live server's is not.
    """
    if len(os.fsencode(path)) > PATH_MAX:
        raise ConfigError(f"{path}: a socket path has at most {PATH_MAX} bytes, this one {len(os.fsencode(path))}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        os.fchmod(sock.fileno(), 0o600)  # bind creates the file with the mode of the socket
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _replace_dead(path)
            sock.bind(path)
        sock.listen(8)
    except OSError as error:
        sock.close()
        raise ConfigError(f"{path}: cannot listen here: {os.strerror(error.errno or 0)}") from None
    except ConfigError:
        sock.close()
        raise
    return sock


def _replace_dead(path: str) -> None:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise ConfigError(f"{path}: exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise ConfigError(f"{path}: a live server has this socket; choose another path or stop it")
    Path(path).unlink()


class Endpoint:
    """One device on one socket, as `Server.add` returns it."""

    def __init__(self, server: "Server", device: Device, path: str, log: RuleLog) -> None:
        self.server, self.device, self.path, self.log = server, device, path, log
        self.link: Link | None = None
        self.connections = 0  # clients that negotiated, so far
        self.woken = False  # a watched descriptor is readable
        self._polling, self._last_work, self._hot = False, 0, 0
        self._worked, self._brisk = 0, False  # when there was work last; whether that came soon after the work before
        self.flooded = False  # so much work that it is better to let it gather
        self._sock = listen(path)
        facts = os.stat(path)  # noqa: PTH116
        self._file = (facts.st_dev, facts.st_ino)
        server._register(self._sock.fileno(), self._accept)
        self._chained = device.rules.listener
        device.rules.listener = self._violation
        device.polled = server.polling.linger_ns > 0

    # -- clients --------------------------------------------------------------------------------------------------

    def _accept(self, events: int) -> None:
        """A device has one client. Another one is accepted and closed at once, so that it fails instead of waiting;
        but one whose predecessor has already hung up is served."""
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return
        if self.link is not None and self._hung_up(self.link):
            self.link.drain()
            self._close_link()
        if self.link is not None:
            sock.close()
            self.server.event(f"{self.device.name}: a second client was turned away")
            return
        sock.setblocking(False)
        server = self.server
        link = Link(
            sock,
            watch=server.watch,
            writable=lambda on: server._modify(sock.fileno(), select.EPOLLOUT if on else select.EPOLLIN),
            event=server.event,
            stop_fd=server._stop_fd,
            dma_timeout_s=server.dma_timeout_s,
            faults=server.faults,
        )
        link.session = Session(self.device, link, server.options, self.log)
        self.link = link
        server._register(sock.fileno(), self._client)

    @staticmethod
    def _hung_up(link: Link) -> bool:
        poll = select.poll()
        poll.register(link.sock, select.POLLRDHUP)
        return bool(poll.poll(0))

    def _client(self, events: int) -> None:
        link = self.link
        if link is None:
            return
        if events & select.EPOLLOUT:
            link.flush()
        elif link.blocked:
            link.alive = False  # hung up with replies unread
        else:
            link.readable()
        if not link.alive:
            self._close_link()

    def _close_link(self) -> None:
        link, self.link = self.link, None
        if link is None:
            return
        self.server._unregister(link.sock.fileno())
        link.shut()
        if link.session.ready:
            self.connections += 1
            self.server.event(f"{self.device.name}: client gone")

    def _violation(self, violation: Violation) -> None:
        if violation.rule.number == "MEM-03" and self.link is not None:
            self.link.session.zeros()
        if self._chained is not None:
            self._chained(violation)

    # -- the device -----------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """The device was reached another way, in the server's thread: it may have work, or an interrupt to send."""
        self.woken = True

    def turn(self, now: int) -> int:
        """One round of service, if there is cause. Returns how long it may be until the next (ns), or ASLEEP."""
        device, polling = self.device, self.server.polling
        wait = 0
        if not self._polling:
            if device.kicked or self.woken:
                self._last_work = now
            else:
                due = device.deadline()
                if due is None or due > now:
                    return ASLEEP
                self._last_work = now - polling.linger_ns  # a look at this moment, no more
            self._polling = True
        self.woken = False
        if device.service(self.server.budget, now):
            self._brisk = now - self._worked < polling.spin_ns
            self._last_work = self._worked = _clock()
            self._hot += 1
            self.flooded = device.gathers and self._hot > polling.hot
            wait = polling.nap_ns if self.flooded else 0
        else:
            self._hot, self.flooded = 0, False
            idle = now - self._last_work
            if idle >= polling.linger_ns:
                self._polling = device.rest()
                self._last_work = now
                wait = 0 if self._polling else ASLEEP
            else:
                wait = 0 if self._brisk and idle < polling.spin_ns else polling.doze_ns
        link = self.link
        if link is None:
            device.pci.irq.take()
        else:
            link.session.irqs.deliver()
            if link.inbox and not link.blocked:
                link.process()
            if not link.alive:
                self._close_link()
        return wait

    def due(self) -> int | None:
        """When the device or a held back reply wants a turn (ns)."""
        late = self.link.late() if self.link is not None else None
        due = self.device.deadline()
        return late if due is None else due if late is None else min(due, late)

    def close(self) -> None:
        self._close_link()
        self.device.rules.listener = self._chained
        self.device.polled = False
        self.server._unregister(self._sock.fileno())
        self._sock.close()
        with contextlib.suppress(OSError):
            facts = os.lstat(self.path)
            if (facts.st_dev, facts.st_ino) == self._file:
                Path(self.path).unlink()


class Server:
    """Serves devices to vfio-user clients.

    `posted`: QEMU may post register writes (default: each is done when its reply is sent). `strict`: the first broken
    protocol rule ends the connection. `dma_timeout_s`: how long a DMA message to a client may take. `on_event` hears
    one line per thing a user may want to know.
    """

    def __init__(
        self,
        *,
        posted: bool = False,
        strict: bool = False,
        on_event: Callable[[str], None] = _ignore,
        budget: int = BUDGET,
        polling: Polling = Polling(),
        dma_timeout_s: float = DMA_TIMEOUT_S,
        faults: FaultPlan | None = None,
    ) -> None:
        self.options = Options(posted=posted, strict=strict)
        self.event, self.budget, self.polling, self.dma_timeout_s = on_event, budget, polling, dma_timeout_s
        self.faults = faults
        self.endpoints: list[Endpoint] = []
        self._epoll = select.epoll()  # sockets of listeners and clients
        self._wakers = select.epoll()  # what devices watch; not looked at while they are polled anyhow
        self._both = select.poll()
        for epoll in (self._epoll, self._wakers):
            self._both.register(epoll.fileno(), select.POLLIN)
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._wake: dict[int, Endpoint] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []  # a heap: when (ns), in which order, what
        self._count = itertools.count()
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._stop_lock = threading.RLock()  # a signal handler may stop a server that is being closed
        self._stopping = False
        self._register(self._stop_fd, self._stopped)

    def add(self, device: Device, path: str | os.PathLike[str], *, watch: Sequence[HasFileno] = ()) -> Endpoint:
        """Serve `device` at socket `path`. `watch`: descriptors whose becoming readable means work for the device.

        Before `run`, or in its thread. Raises `ConfigError`.
        """
        check_device(device)
        endpoint = Endpoint(self, device, os.fspath(path), RuleLog(RULES))
        self.endpoints.append(endpoint)

        for source in watch:
            with contextlib.suppress(PermissionError):  # a plain file: always readable, nothing to wait for
                self._wakers.register(source.fileno(), select.EPOLLIN | select.EPOLLET)
                self._wake[source.fileno()] = endpoint
        return endpoint

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `stop`; then every client is let go and every socket file removed, also after an exception."""
        try:
            self._loop()
        finally:
            self.close()

    def _loop(self) -> None:
        poll, handlers, endpoints = self._epoll.poll, self._handlers, self.endpoints
        wait = ASLEEP
        while not self._stopping:
            if wait:
                self._wait(wait)
            for fd, events in poll(0):
                handler = handlers.get(fd)
                if handler is not None:  # closed by an earlier event of this batch
                    handler(events)
            now = _clock()
            if self._timers:
                self._run_timers(now)
            wait = ASLEEP
            for endpoint in endpoints:
                until = endpoint.turn(now)
                if until >= 0 and (until < wait or wait == ASLEEP):
                    wait = until
                if endpoint.link is not None and endpoint.link._late:
                    endpoint.link.send_late(now)

    def _wait(self, at_most: int) -> None:
        """Wait for a client, or `at_most` ns; also for what devices watch, unless one is in the middle of a flood."""
        flooded = any(endpoint.flooded for endpoint in self.endpoints)
        left = at_most
        if not flooded:
            dues = [due for endpoint in self.endpoints if (due := endpoint.due()) is not None]
            dues += [at for at, _, _ in self._timers[:1]]
            if dues:
                soonest = max(min(dues) - _clock(), 0)
                left = soonest if left == ASLEEP else min(left, soonest)
        if left == ASLEEP:
            self._both.poll()
        elif left > FINE_NS or self._wakers.fileno() >= 1024:  # select knows 1024 descriptors
            self._both.poll(left / 1e6)
        else:
            select.select((self._epoll,) if flooded else (self._epoll, self._wakers), (), (), left / 1e9)
        for fd, _ in self._wakers.poll(0):
            if fd in self._wake:
                self._wake[fd].woken = True

    def stop(self) -> None:
        """End `run`, from any thread or signal handler. Once closed: nothing."""
        self._stopping = True
        with self._stop_lock:
            if self._stop_fd >= 0:
                os.eventfd_write(self._stop_fd, 1)

    def _stopped(self, events: int) -> None:
        self._stopping = True

    def close(self) -> None:
        """Let every client go and remove the socket files. Done by `run`; again: nothing."""
        self._stopping = True
        for endpoint in self.endpoints:
            endpoint.close()
        self.endpoints.clear()
        with self._stop_lock:
            if self._stop_fd >= 0:
                fd, self._stop_fd = self._stop_fd, -1
                os.close(fd)
                self._epoll.close()
            self._wakers.close()

    @contextlib.contextmanager
    def background(self, timeout_s: float = 10.0) -> Iterator["Server"]:
        """`run` in a thread while the block lasts; what it raised is raised at the end."""
        failure: list[BaseException] = []

        def main() -> None:
            try:
                self.run()
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=main, name="vfio-user server", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join(timeout_s)
        if thread.is_alive():
            raise PvdevError(f"the server did not stop in {timeout_s:g} s")
        if failure:
            raise failure[0]

    # -- descriptors in the loop ----------------------------------------------------------------------------------

    def _register(self, fd: int, handler: Callable[[int], None], events: int = select.EPOLLIN) -> None:
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def _unregister(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            with contextlib.suppress(OSError, ValueError):  # gone already, or the server has closed
                self._epoll.unregister(fd)

    def _modify(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def watch(self, fd: int, readable: Callable[[], None] | None) -> None:
        """Serve this descriptor too: `readable` is called in the loop whenever it is; None: no more.

        As `add`: before `run`, or in its thread.
        """
        if readable is None:
            self._unregister(fd)
        else:
            self._register(fd, lambda events: readable())

    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        """Call `do` once in the loop, `delay_s` from now."""
        heapq.heappush(self._timers, (_clock() + int(delay_s * 1e9), next(self._count), do))

    def _run_timers(self, now: int) -> None:
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
