"""Targets this process only reaches from outside: any vfio-user server's device, and the cable to a device."""

import fcntl
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pvdev.errors import ConfigError
from pvdev.transport.vfio_user import VfioUserPort, fresh_port
from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.conform.target import ARENA, MAC, Can, Reached, cannot, need_for
from vmxnet3.ports.host import open_port
from vmxnet3.ports.port import Port as NetworkPort

QUIET_S = 0.002  # of nothing coming, several times over, is "the device has done all it can"
QUIET_ROUNDS = 6
FULL_ROUNDS = 20  # that often the peer took nothing: it does not want to now


class Cable:
    """The suite's end of a cable: `net.inbound` goes out at `port`, what comes in there lands in `net.sent`."""

    def __init__(self, net: Queue, port: NetworkPort) -> None:
        self.net, self._port = net, port
        port.link(True)

    def pump(self) -> bool:
        """Whether anything moved."""
        net, moved = self.net, 0
        if net.inbound:
            moved = self._port.send([(data,) for data in net.inbound])
            for _ in range(moved):
                net.inbound.popleft()
        got = self._port.receive(4096, 0)
        net.sent += got
        return bool(moved or got)

    def unread(self) -> int:
        """Bytes the other end has not taken yet, as far as the kernel knows."""
        fd = self._port.fileno()
        if fd < 0:
            return 0
        try:
            return int(struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0])
        except OSError:  # no socket
            return 0

    def wait(self, seconds: float) -> None:
        """Until something comes in, at most so long."""
        if (fd := self._port.fileno()) >= 0:
            select.select((fd,), (), (), seconds)


class ServerTarget(Reached):
    """The device behind a vfio-user server of whatever make."""

    def __init__(self, port: VfioUserPort, net: Queue, cable: Cable | None) -> None:
        self.port, self.net, self._cable = port, net, cable
        self.can = frozenset({Can.WIRE} if cable is not None else ())

    def pump(self) -> None:
        if self._cable is not None:
            self._cable.pump()
        elif self.net.inbound:
            cannot(Can.WIRE)

    def settle(self) -> None:
        """The device tells nobody when it is done: nothing has come for a while, and it has answered meanwhile."""
        self.pump()
        quiet = stuck = 0
        unread = -1
        while quiet < QUIET_ROUNDS:
            self.port.read(wire.BAR_VD, wire.REG_MACL)
            if self._cable is None:
                select.select((), (), (), QUIET_S)
                quiet += 1
                continue
            self._cable.wait(QUIET_S)
            left = self._cable.unread()
            stuck = stuck + 1 if left == unread else 0
            unread = left
            busy = self._cable.pump() or (left and stuck < FULL_ROUNDS)
            quiet = 0 if busy else quiet + 1

    def memory(self) -> bytes:
        return bytes(self.port.arena.block.view)


class ServerBench:
    """The device a vfio-user server has at `path`, and the cable that `wire` names (`vmxnet3.ports.host`), if any."""

    def __init__(self, path: str, cable: str | None) -> None:
        """Raises `ConfigError` when nobody listens there, or the device is no VMXNET3 with the suite's address."""
        self.name = "vfio-user"
        self._path = Path(path)
        self._wire = open_port(cable) if cable else None
        with fresh_port(self._path, ARENA) as port:
            mac = port.read(wire.BAR_VD, wire.REG_MACL).to_bytes(4, "little")
            mac += port.read(wire.BAR_VD, wire.REG_MACH).to_bytes(4, "little")[:2]
        if mac != MAC:
            raise ConfigError(
                f"the device at {path} has the address {mac.hex(':')}; the suite needs {MAC.hex(':')} "
                f"(pvdev serve vmxnet3 --mac {MAC.hex(':')})"
            )

    @contextmanager
    def connect(self, net: Queue, **options: Any) -> Iterator[ServerTarget]:
        cable = Cable(net, self._wire) if self._wire is not None else None
        if options:
            cannot(Can.OPTIONS)
        need_for(net, frozenset())
        with fresh_port(self._path, ARENA) as port:
            yield ServerTarget(port, net, cable)
