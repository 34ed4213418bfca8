"""Every medium there is, empty and 1 MiB large, for the tests that hold for all."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvscsi.block.backend import Op
from pvscsi.block.faulty import FaultyDisk, Plan
from pvscsi.block.file import FileDisk
from pvscsi.block.medium import Medium
from pvscsi.block.mem import MemDisk
from pvscsi.block.record import RecordDisk
from pvscsi.block.slow import SlowDisk
from pvscsi.block.volatile import VolatileDisk
from tests.unit.pvscsi.block import rig

SIZE = 1 << 20


def _file(folder: Path) -> FileDisk:
    return FileDisk(str(folder / "image"), size=SIZE, create=True)


def _crew_only(folder: Path) -> FileDisk:
    """A file system that can do nothing at once."""
    disk = _file(folder)
    disk._now_flag, disk._memory = None, False
    disk._credit, disk._calm = 1 << 60, False
    return disk


def _mem() -> MemDisk:
    return MemDisk("mem", SIZE)


MADE: dict[str, Callable[[Path], Medium]] = {
    "mem": lambda folder: _mem(),
    "file": _file,
    "file without RWF_NOWAIT": _crew_only,
    "slow mem": lambda folder: SlowDisk(_mem(), dict.fromkeys(Op, 1000), jitter=500, rate=1 << 40),
    "slow file": lambda folder: SlowDisk(_crew_only(folder), {Op.READ: 1000}),
    "faulty mem": lambda folder: FaultyDisk(_mem(), Plan(bad_read=[(SIZE, 1)], every=1 << 40)),
    "record mem": lambda folder: RecordDisk(_mem(), str(folder / "record")),
    "record file": lambda folder: RecordDisk(_crew_only(folder), str(folder / "record"), style="blkparse"),
    "volatile mem": lambda folder: VolatileDisk(_mem()),
    "volatile file": lambda folder: VolatileDisk(_crew_only(folder), room=200_000),
    "volatile early file": lambda folder: VolatileDisk(_crew_only(folder), seed=4),
    "slow volatile slow mem": lambda folder: SlowDisk(VolatileDisk(SlowDisk(_mem(), {})), {Op.WRITE: 5}),
}
SERVERS = {"qemu-nbd": "qemu-utils", "nbdkit": "nbdkit"}


@pytest.fixture(params=[*MADE, *SERVERS])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Medium]:
    """A medium of SIZE bytes, all zeros."""
    if request.param in MADE:
        with MADE[request.param](tmp_path) as medium:
            yield medium
        return
    from pvscsi.block.nbd import NbdDisk, server_uri

    rig.need(request.param, SERVERS[request.param])
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, SIZE)
    command = rig.qemu_nbd(image) if request.param == "qemu-nbd" else rig.nbdkit("memory", str(SIZE))
    with rig.serve(tmp_path, command), NbdDisk(server_uri(f"unix:{tmp_path / 's'}")) as medium:
        yield medium
