"""The Python end of the plugin: calls come in on a socket, in the loop that serves the guest's other devices.

Ref: `wire`; Intel SDM volume 2, IN, OUT, INS, OUTS.
"""

import mmap
import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import NamedTuple

from pvdev.control import Loop
from pvdev.mem import GuestMemory
from pvdev.transport.vfio_user_server import listen
from vmtools.frame import PORT_BALLOON, PORT_HIGH, PORT_LOW, REGISTERS, Calls, Frame
from vmtools.ways.plugin.paging import Tables
from vmtools.ways.plugin.wire import ANSWER, CALL, CLAIMS_SIZE, GENERAL, NOT_OURS, Kind, claims
from vmtools.wire import BALLOON_MAGIC, BDOOR_MAGIC, CPT

PATIENCE_S = 5.0  # for the rest of a call whose first bytes have come
DIRECTION = 1 << 10  # in EFLAGS: strings go downwards
_LOW32, _LOW64 = 0xFFFF_FFFF, (1 << 64) - 1


class Hello(NamedTuple):
    """What a plugin says first: `tsc_khz`, `bus_khz` as the guest's processors count."""

    api: int
    processors: int
    tsc_khz: int
    bus_khz: int


@dataclass(frozen=True)
class Claim:
    """Ports of a device's, `count` from `first` on: dword accesses go to `read(port)` and `write(port, value)`."""

    first: int
    count: int
    read: Callable[[int], int]
    write: Callable[[int, int], None]


class Carrier:
    """Answers one QEMU's plugin at socket `path` by `host`, with the guest's physical memory in `memory`.

    `turn` is held around each answer: whoever else uses the host takes it too. `on_hello` hears the plugin's facts
    before the guest runs. `on_missing`: a payload met a page that the guest's kernel has first to make; the guest
    begins the message again, and payloads are then to go by words. Raises `ConfigError`: it cannot listen there.
    """

    def __init__(
        self,
        loop: Loop,
        path: str,
        host: Calls,
        memory: GuestMemory,
        now_ns: Callable[[], int],
        *,
        turn: AbstractContextManager[object] | None = None,
        on_hello: Callable[[Hello], None] = lambda hello: None,
        on_missing: Callable[[], None] = lambda: None,
    ) -> None:
        self.path, self.host, self.memory, self.now_ns = path, host, memory, now_ns
        self.turn = turn if turn is not None else nullcontext()
        self.on_hello, self.on_missing = on_hello, on_missing
        self.calls = self.ports = self.missing = 0
        self._loop = loop
        self._claims: tuple[Claim, ...] = ()
        self._page_fd = os.memfd_create("pvdev claims", os.MFD_CLOEXEC)
        os.ftruncate(self._page_fd, CLAIMS_SIZE)
        self._page = mmap.mmap(self._page_fd, CLAIMS_SIZE)
        self._client: socket.socket | None = None
        self._listener = listen(path)
        loop.watch(self._listener.fileno(), self._accept)

    @property
    def claims_path(self) -> str:
        """Where a child of this process finds the page of claims."""
        return f"/proc/{os.getpid()}/fd/{self._page_fd}"

    def claim(self, *ranges: Claim) -> None:
        """From now on these ports are carried, in place of those before. Raises `ValueError`."""
        count, image = claims([(each.first, each.count) for each in ranges])
        self._claims = ranges
        self._page[:4] = bytes(4)  # none while the ranges change
        self._page[4 : 4 + len(image)] = image
        self._page[:4] = count

    def close(self) -> None:
        """Let the plugin go; again: nothing."""
        self._leave()
        if self._listener.fileno() >= 0:
            self._loop.watch(self._listener.fileno(), None)
            self._listener.close()
            with suppress(OSError):
                os.unlink(self.path)  # noqa: PTH108
            self._page.close()
            os.close(self._page_fd)

    # -- the socket -------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if self._client is not None:
            client.close()  # a guest has one plugin
            return
        client.settimeout(PATIENCE_S)
        self._client = client
        self._loop.watch(client.fileno(), self._readable)

    def _leave(self) -> None:
        if self._client is not None:
            self._loop.watch(self._client.fileno(), None)
            self._client.close()
            self._client = None

    def _readable(self) -> None:
        client = self._client
        assert client is not None
        try:
            data = client.recv(CALL.size, socket.MSG_WAITALL)
            if len(data) == CALL.size:
                with self.turn:
                    answer = self._answer(data)
                client.sendall(answer)
                return
        except OSError:
            pass
        self._leave()

    # -- calls ------------------------------------------------------------------------------------------------------

    def _answer(self, data: bytes) -> bytes:
        kind, vcpu, *r = CALL.unpack(data)
        if kind == Kind.HELLO:
            self.on_hello(Hello(*r[:4]))
            return NOT_OURS
        magic, port = r[0] & _LOW32, r[3] & 0xFFFF
        frame = Frame(*r[:GENERAL], cpl=r[8] & 3, caller=vcpu)
        if kind in (Kind.IN, Kind.OUT) and self._claimed(kind, port, frame):
            self.ports += 1
        elif magic == BALLOON_MAGIC and port == PORT_BALLOON and kind == Kind.IN:
            self.calls += 1
            self.host.balloon(frame, self.now_ns())
        elif magic != BDOOR_MAGIC:
            return NOT_OURS
        elif port == PORT_LOW and kind in (Kind.IN, Kind.OUT):
            self.calls += 1
            self.host.low(frame, self.now_ns())
        elif port == PORT_HIGH and kind in (Kind.REP_INSB, Kind.REP_OUTSB) and not r[9] & DIRECTION:
            self.calls += 1
            self._string(kind, frame, Tables(*r[10:14]))
        else:
            return NOT_OURS
        return ANSWER.pack(1, 0, *(getattr(frame, name) & _LOW64 for name in REGISTERS))

    def _claimed(self, kind: int, port: int, frame: Frame) -> bool:
        for claim in self._claims:
            if claim.first <= port <= claim.first + claim.count - 4:
                if kind == Kind.IN:
                    frame.rax = claim.read(port) & _LOW32
                else:
                    claim.write(port, frame.rax & _LOW32)
                return True
        return False

    def _string(self, kind: int, frame: Frame, tables: Tables) -> None:
        """A payload at once. Where a page is missing, as one nobody has touched yet is, the guest is told to begin the
        message again, and this time by words."""
        out, memory = kind == Kind.REP_OUTSB, self.memory
        count = self.host.accepts(frame) if out else min(frame.rcx, 1 << 20)
        start = frame.rsi if out else frame.rdi
        where = tables.pieces(memory, start, count, write=not out, user=frame.cpl == 3)
        if where is None:
            self.missing += 1
            self.on_missing()
            frame.rbx = frame.rbx & ~0xFFFF_0000 | CPT << 16
            return
        if out:
            self.host.high_out(frame, b"".join(memory.read(at, part) for at, part in where), self.now_ns())
            return
        data = memoryview(self.host.high_in(frame, self.now_ns()))
        for at, part in where:
            memory.write(at, data[:part])
            data = data[part:]
