"""A guest that finds a host of the tools behind its ports: its memory, that host, and the link between them."""

import time
from collections.abc import Callable
from pathlib import Path

from guest.kit import Kit
from guest.vm import Vm

from pvdev.qemu import Qemu
from pvdev.trace import Recorder
from pvdev.transport.vfio_user import Server
from vmtools.clock import Clock
from vmtools.host import Host
from vmtools.variables import Variables
from vmtools.ways.plugin.guest import GuestLink
from vmtools.ways.plugin.ram import Ram

PATIENCE_S = 50.0
LOOK_S = 0.05


class Tooled:
    """`size`: bytes of the guest's memory. The server must be running while the guest does; `close` it then."""

    def __init__(self, kit: Kit, server: Server, folder: Path, size: int, **variables: str) -> None:
        self.ram = Ram(size)
        self.clock = Clock(time.time_ns() - time.monotonic_ns())
        self.host = Host(mem=self.ram.memory, clock=self.clock, variables=Variables(variables))
        self.host.trace = Recorder(100_000)
        self.link = GuestLink(Qemu(kit.qemu, kit.qemu_version), server, folder, self.host, self.ram, time.monotonic_ns)

    def vm(self, kit: Kit, test: str, *, extra: tuple[str, ...] = (), **options: object) -> Vm:
        """The guest, not yet started."""
        return Vm(
            kit,
            [test],
            extra=[*self.link.args(), *extra],
            accel="tcg",
            memory=f"{self.ram.size >> 20}M",
            memory_path=self.ram.path,
            **options,  # type: ignore[arg-type]
        )

    def until(self, fine: Callable[[], object]) -> None:
        """Until that is so. Raises `AssertionError` when it will not be."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with self.link.turn:
                if fine():
                    return
            time.sleep(LOOK_S)
        raise AssertionError(f"not in {PATIENCE_S:g} s; the guest's last words: {list(self.host.log)[-20:]}")

    def do(self, what: Callable[[int], object]) -> object:
        """Something with the host, at its time."""
        with self.link.turn:
            return what(time.monotonic_ns())

    def close(self) -> None:
        self.link.close()
        self.ram.close()
