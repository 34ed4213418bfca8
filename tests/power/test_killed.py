"""`pvdev serve` killed under load: with a seed, a volatile disk then leaves what a power cut leaves."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from pvdev.transport.vfio_user import VfioUserPort
from pvscsi.block.file import FileDisk
from pvscsi.driver import Disk, Driver
from tests.power.load import Load
from tests.power.oracle import Ledger
from tests.power.rig import IMAGE, Awaited, everything

pytestmark = pytest.mark.slow

PVDEV = (sys.executable, "-m", "pvdev.cli")
LAST = ("flush", "long", "fua", "same", "cache", "write")  # what is asked for just before the end


@contextmanager
def served(*options: str) -> Iterator[tuple[subprocess.Popen[str], VfioUserPort]]:
    """The process, and a client's port to its device."""
    words = (*PVDEV, "serve", "pvscsi", "--socket", "s", *options)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "Ctrl-C ends it" in process.stdout.readline()
            port = VfioUserPort("s", memory=16 << 20)
            yield process, port
            port.close()
        finally:
            process.kill()


def kill(seed: int) -> tuple[Ledger, bytes]:
    """What was promised, and what is there."""
    Path("disk.img").write_bytes(IMAGE)
    rng, ledger = Random(seed), Ledger(IMAGE)
    disk_words = f"volatile:{rng.choice(('64K', '64M'))},seed={seed},of=slow,write=200us,flush=2ms,of=file:disk.img"
    with served("--disk", disk_words) as (process, port):
        driver = Driver(port).bring_up()
        disk = Disk(driver)
        disk.settle()
        load = Load(
            disk,
            ledger,
            rng,
            blocks=disk.read_capacity().blocks,
            depth=16,
            stand_by=lambda: port.until(lambda: bool(driver.reap())),
        )
        load.run(rng.randint(50, 150))
        load.send(LAST[seed])

        process.kill()
        process.wait()
        load.hear()
        assert load.counts["flush"] > 0
    with Awaited("awaited", FileDisk("disk.img")) as left:
        return ledger, everything(left)


def test_a_killed_server_has_lost_nothing_it_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    left = [kill(seed) for seed in range(len(LAST))]

    assert [ledger.judge(found) for ledger, found in left] == [[]] * len(LAST)
    assert sum(ledger.undone(found) for ledger, found in left) > 0
