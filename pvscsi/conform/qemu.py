"""QEMU's own PVSCSI as the target: a QEMU without guest code per adapter, driven over its qtest protocol.

Ref: QEMU documentation, "QEMU QMP Reference Manual"; docs/devel/blkdebug.rst; docs/throttle.txt.
"""

import json
import select
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pvdev.qemu import named_qemu
from pvdev.transport.qtest_port import RESERVED, QtestPort, qtest_port
from pvscsi.conform.target import ARENA, DISK, Can, Drive, Drives, Reached, cannot, need_for

SLOT = 0x10  # of bus 0
PASSES = 4  # times over of nothing under way: a command may take as many transfers
PATIENCE_S = 0.002  # while a disk holds its commands nobody can say that the others are done
SLOW, FREE = 4096, 0  # bytes per second of a throttled disk, by a clock that stands still
BEHIND = 2 * SLOW  # what it has to wait for
A_WHILE_NS = 10 * 10**9
WWN = 0x3000_0000_0000_0000  # NAA, locally assigned


def _file(name: str, drive: Drive, folder: Path) -> dict[str, Any]:
    """A block node with the drive's bytes, in a sparse file."""
    path = folder / name
    with path.open("wb") as file:
        file.truncate(drive.size)
    return {
        "driver": "file",
        "node-name": f"{name}-file",
        "filename": str(path),
        "locking": "off",
        "cache": {"no-flush": True},  # no host's disk is waited for: the file is gone with the test
        "discard": "unmap",
        "detect-zeroes": "unmap",
        "read-only": drive.read_only or drive.kind == "cdrom",
    }


def _errors(drive: Drive) -> list[dict[str, Any]]:
    """What blkdebug is to fail. Ref: QEMU BlkdebugInjectErrorOptions."""
    always = {"event": "none", "immediately": True}
    if drive.full:
        return [{**always, "iotype": "write", "errno": 28}]
    sectors = [at // 512 for start, length in drive.bad for at in range(start, start + length, 512)]
    return [{**always, "iotype": kind, "errno": 5, "sector": at} for at in sectors for kind in ("read", "write")]


def nodes(name: str, drive: Drive, folder: Path) -> list[dict[str, Any]]:
    """The block nodes of a drive, the one it is to use last."""
    if not drive.size:
        return []
    found = [_file(name, drive, folder)]
    shared = {"read-only": found[0]["read-only"], "discard": "unmap"}
    if drive.bad or drive.full:
        below = found[-1]["node-name"]
        errors = _errors(drive)
        found.append(
            {"driver": "blkdebug", "node-name": f"{name}-bad", "image": below, "inject-error": errors, **shared}
        )
    if drive.held:
        below, group = found[-1]["node-name"], f"{name}-group"
        found.append(
            {"driver": "throttle", "node-name": f"{name}-held", "file": below, "throttle-group": group, **shared}
        )
    return found


def device(name: str, number: int, drive: Drive, node: str | None) -> dict[str, Any]:
    """The device of a drive. Errors are the driver's to hear of: QEMU would stop the machine for some."""
    found: dict[str, Any] = {"driver": "scsi-cd" if drive.kind == "cdrom" else "scsi-hd", "id": name, "bus": "hba.0"}
    found |= {"scsi-id": number, "lun": 0, "serial": f"pvdev-{number}", "wwn": WWN + number}
    if node is not None:
        found |= {"drive": node}
    if drive.kind == "disk":
        found |= {"logical_block_size": drive.block, "physical_block_size": drive.block, "removable": drive.removable}
        found |= {"rerror": "report", "werror": "report"}
        if not drive.thin:
            found |= {"discard_granularity": 0}
    return found


class QemuTarget(Reached):
    """QEMU's adapter. It works inside each access; its disks in threads and in QEMU's loop."""

    can = frozenset({Can.DRIVES, Can.HOLD, Can.ERRORS, Can.PLUG, Can.MEDIA})

    def __init__(self, port: QtestPort, folder: Path, nodes: dict[int, str]) -> None:
        self.port, self._folder, self._nodes = port, folder, nodes  # place -> the node that is used there
        self._holding: set[int] = set()
        self._count = 0  # of what was added while it ran

    def settle(self) -> None:
        """Nothing is under way in QEMU's block layer, several times over, and its loop has gone round."""
        for _ in range(PASSES):
            if not self._holding and (node := next(iter(self._nodes.values()), None)):
                self._io(node, "aio_flush")
            elif self._holding:
                select.select((), (), (), PATIENCE_S)
            self.port.read(7, 0, 2)

    def _io(self, node: str, command: str) -> None:
        self.port.machine.monitor("human-monitor-command", **{"command-line": f'qemu-io {node} "{command}"'})

    def memory(self) -> bytes:
        return bytes(self.port.arena.block.view[RESERVED:])

    def _add_nodes(self, number: int, drive: Drive) -> str | None:
        """Block nodes for a drive, or a medium, that comes while QEMU runs; the one to be used, if there is one."""
        self._count += 1
        made = nodes(f"d{number}-{self._count}", drive, self._folder)
        for node in made:
            self.port.machine.monitor("blockdev-add", **node)
        if not made:
            self._nodes.pop(number, None)
            return None
        self._nodes[number] = made[-1]["node-name"]
        return self._nodes[number]

    def plug(self, number: int, drive: Drive) -> None:
        need_for([drive], self.can - {Can.HOLD})  # there is no throttle group for it
        node = self._add_nodes(number, drive)
        self.port.machine.monitor("device_add", **device(f"d{number}", number, drive, node))
        self.settle()

    def unplug(self, number: int) -> None:
        self.port.machine.monitor("device_del", id=f"d{number}")
        self._nodes.pop(number, None)
        self.settle()

    def hold(self, number: int, on: bool) -> None:
        """The disk is so slow, and so far behind, that nothing comes through until QEMU's clock is moved."""
        group = f"/objects/d{number}-group"
        limits = {"bps-total": SLOW if on else FREE}
        self.port.machine.monitor("qom-set", path=group, property="limits", value=limits)
        if on:
            self._io(self._nodes[number], f"read 0 {BEHIND}")
            self._holding.add(number)
        else:
            self._holding.discard(number)
            self.port.machine.ask(f"clock_step {A_WHILE_NS}")

    def resize(self, number: int, size: int) -> None:
        self.port.machine.monitor("block_resize", **{"node-name": self._nodes[number], "size": size})
        self.settle()

    def load(self, number: int, drive: Drive | None) -> None:
        monitor, name = self.port.machine.monitor, f"d{number}"
        monitor("blockdev-open-tray", id=name, force=True)
        if number in self._nodes:
            monitor("blockdev-remove-medium", id=name)
        node = None if drive is None else self._add_nodes(number, drive)
        if node is None:
            self._nodes.pop(number, None)
        else:
            monitor("blockdev-insert-medium", **{"id": name, "node-name": node})
        monitor("blockdev-close-tray", id=name)
        self.settle()


class QemuBench:
    """A fresh QEMU per adapter: one that died takes only its own test with it."""

    name = "qemu"

    def __init__(self, command: str | None = None, *, race: int) -> None:
        """`command`: the start of QEMU's command line, else the one `find_qemu` finds. Raises `ConfigError`."""
        self.qemu, self.race = named_qemu(command), race
        with self.connect(None):
            pass  # it starts, and has the device

    @contextmanager
    def connect(self, drives: Drives | None, **options: Any) -> Iterator[QemuTarget]:
        if options:
            cannot(Can.OPTIONS)
        drives = {0: DISK} if drives is None else drives
        need_for(drives.values(), QemuTarget.can)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pvdev-")))
            words = ["-device", f"pvscsi,id=hba,bus=pcie.0,addr={SLOT:#x}"]
            used: dict[int, str] = {}
            for number, drive in drives.items():
                name = f"d{number}"
                if drive.held:
                    words += ["-object", f"throttle-group,id={name}-group"]
                made = nodes(name, drive, folder)
                for node in made:
                    words += ["-blockdev", json.dumps(node)]
                if made:
                    used[number] = made[-1]["node-name"]
                words += ["-device", json.dumps(device(name, number, drive, used.get(number)))]
            qemu = self.qemu
            started = qtest_port(qemu.command, words, slot=SLOT, memory=ARENA, env=qemu.environment)
            yield QemuTarget(stack.enter_context(started), folder, used)
