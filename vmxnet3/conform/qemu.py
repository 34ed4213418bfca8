"""QEMU's own VMXNET3 as the target: a QEMU without guest code per device, driven over its qtest protocol."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pvdev.qemu import named_qemu
from pvdev.transport.qtest_port import RESERVED, QtestPort, qtest_port
from vmxnet3.backend import Queue
from vmxnet3.conform.outside import FULL_ROUNDS, Cable
from vmxnet3.conform.target import ARENA, MAC, Can, Reached, cannot, need_for
from vmxnet3.ports.host import open_port

SLOT = 0x10  # of bus 0
PASSES = 4  # rounds of QEMU's loop after which what it read from its socket is through


class QemuTarget(Reached):
    """QEMU's device. The device works inside each access, the network inside QEMU's loop: one pass per answer."""

    can = frozenset({Can.WIRE, Can.DROP, Can.LINK, Can.PAGE_0})

    def __init__(self, port: QtestPort, net: Queue, cable: Cable) -> None:
        self.port, self.net, self._cable = port, net, cable

    def pump(self) -> None:
        self._cable.pump()

    def settle(self) -> None:
        self._cable.pump()
        left, stuck = self._cable.unread(), 0
        while (left or self.net.inbound) and stuck < FULL_ROUNDS:
            self.port.read(7, 0, 2)
            self._cable.pump()
            before, left = left, self._cable.unread()
            stuck = stuck + 1 if left == before else 0
        for _ in range(PASSES):
            self.port.read(7, 0, 2)
        self._cable.pump()

    def memory(self) -> bytes:
        return bytes(self.port.arena.block.view[RESERVED:])

    def set_link(self, up: bool, mbps: int | None) -> None:
        if mbps is not None:
            cannot(Can.SPEED)
        self.port.machine.monitor("set_link", name="nic", up=up)

    def page_0(self) -> memoryview:
        return self.port.arena.block.view[:4096]


class QemuBench:
    """A fresh QEMU per device: one that died takes only its own test with it."""

    name = "qemu"

    def __init__(self, command: str | None = None) -> None:
        """`command`: the start of QEMU's command line, else the one `find_qemu` finds. Raises `ConfigError`."""
        self.qemu = named_qemu(command)
        with self.connect(Queue()):
            pass  # it starts, and has the device

    @contextmanager
    def connect(self, net: Queue, **options: Any) -> Iterator[QemuTarget]:
        if options:
            cannot(Can.OPTIONS)
        need_for(net, QemuTarget.can)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pvdev-")))
            ours, theirs = folder / "ours", folder / "qemu"
            cable = Cable(net, stack.enter_context(open_port(f"dgram:{ours},peer={theirs}")))
            ends = f"local.type=unix,local.path={theirs},remote.type=unix,remote.path={ours}"
            words = ["-netdev", f"dgram,id=net,{ends}"]
            words += ["-device", f"vmxnet3,id=nic,netdev=net,bus=pcie.0,addr={SLOT:#x},mac={MAC.hex(':')}"]
            qemu = self.qemu
            started = qtest_port(qemu.command, words, slot=SLOT, memory=ARENA, env=qemu.environment)
            yield QemuTarget(stack.enter_context(started), net, cable)
