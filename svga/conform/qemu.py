"""QEMU's own vmware-svga as the target: a QEMU without guest code per display, driven over its qtest protocol.

Ref: QEMU documentation, "QEMU QMP Reference Manual" (screendump); the PPM format of Netpbm.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pvdev.errors import ConfigError
from pvdev.qemu import named_qemu
from pvdev.transport.qtest_port import RESERVED, QtestPort, qtest_port
from svga.conform.outside import describe
from svga.conform.target import ARENA, Can, Display, Frame, Reached
from svga.driver.front import DeviceBroke

SLOT = 0x10  # of bus 0
SILENT_S = 3.0  # a QEMU that does not answer for so long is stuck


def parse_ppm(data: bytes) -> Frame:
    """The picture in a binary PPM of three bytes a pixel."""
    magic, size, highest, pixels = data.split(b"\n", 3)
    assert (magic, highest) == (b"P6", b"255"), data[:20]
    width, height = map(int, size.split())
    return Frame(width, height, pixels)


class QemuTarget(Reached):
    """QEMU's display. It works inside each access, and when somebody looks at it."""

    can = frozenset({Can.PICTURE})

    def __init__(self, port: QtestPort, folder: Path) -> None:
        self.port, self._folder = port, folder

    def settle(self) -> None:
        """Modes are taken, and commands nobody rang for found, when the console is refreshed. Nobody does that here."""
        self.frame(0)

    def memory(self) -> bytes:
        return bytes(self.port.arena.block.view[RESERVED:])

    def frame(self, monitor: int) -> Frame | None:
        path = self._folder / "screen.ppm"
        self.port.machine.monitor("screendump", filename=str(path))
        return parse_ppm(path.read_bytes())


class QemuBench:
    """A fresh QEMU per display: one that died or hangs takes only its own test with it."""

    name, chooses, can = "qemu", False, QemuTarget.can

    def __init__(self, command: str | None = None) -> None:
        """`command`: the start of QEMU's command line, else the one `find_qemu` finds. Raises `ConfigError`."""
        self.qemu = named_qemu(command)
        self.displays: tuple[Display, ...] = ()
        with self._start() as port:
            try:
                self.displays = (describe(port),)
            except DeviceBroke as error:
                raise ConfigError(f"{self.qemu} has no vmware-svga that can be driven: {error}") from None

    @contextmanager
    def _start(self) -> Iterator[QtestPort]:
        words = ["-device", f"vmware-svga,id=display,bus=pcie.0,addr={SLOT:#x}"]
        qemu, env = self.qemu.command, self.qemu.environment
        with qtest_port(qemu, words, slot=SLOT, memory=ARENA, env=env, timeout_s=SILENT_S) as port:
            yield port

    @contextmanager
    def connect(self, display: Display, **options: Any) -> Iterator[QemuTarget]:
        with tempfile.TemporaryDirectory(prefix="pvdev-") as folder, self._start() as port:
            yield QemuTarget(port, Path(folder))
