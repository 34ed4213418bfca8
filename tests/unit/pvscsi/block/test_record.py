from collections.abc import Iterator
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvscsi.block.backend import Io, Op
from pvscsi.block.faulty import FaultyDisk, Plan
from pvscsi.block.mem import MemDisk
from pvscsi.block.record import RecordDisk
from pvscsi.block.slow import SlowDisk
from tests.unit.pvscsi.block.rig import do, read, read_io, write_io

SIZE = 1 << 20


def clock(step: int) -> Iterator[int]:
    now = 5_000_000_000
    while True:
        yield now
        now += step


def test_an_iolog_has_a_line_for_each_transfer(tmp_path: Path) -> None:
    ticks = clock(1_500_000)
    with RecordDisk(MemDisk("mem:1M", SIZE), str(tmp_path / "log"), clock=lambda: next(ticks)) as disk:
        disk.submit([write_io(4096, b"x" * 512), read_io(0, 1024, 1024)[0]])
        disk.submit([write_io(0, b"y" * 512, fua=True)])
        disk.submit([Io(Op.FLUSH), Io(Op.DISCARD, 8192, 4096), Io(Op.ZERO, 0, 512)])

    assert (tmp_path / "log").read_text().splitlines() == [
        "fio version 3 iolog",
        "0 mem:1M add",
        "0 mem:1M open",
        "1500 mem:1M write 4096 512",
        "1500 mem:1M read 0 2048",
        "3000 mem:1M write 0 512",
        "3000 mem:1M datasync 0 0",
        "4500 mem:1M datasync 0 0",
        "4500 mem:1M trim 8192 4096",
        "4500 mem:1M trim 0 512",
        "6000 mem:1M close",
    ]


def test_blkparse_text_has_a_line_for_each_begin_and_end(tmp_path: Path) -> None:
    ticks = clock(250_000_000)
    inner = FaultyDisk(SlowDisk(MemDisk("mem", SIZE), {Op.READ: 10}), Plan(bad_write=[(0, 1)]))
    with RecordDisk(inner, str(tmp_path / "log"), style="blkparse", clock=lambda: next(ticks)) as disk:
        disk.submit([read_io(4096, 4096)[0], write_io(0, b"x" * 512, fua=True)])
        disk.reap(0)
        disk.reap(100)
        disk.submit([Io(Op.FLUSH)])

    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert [(words[0], words[3], *words[5:]) for words in lines] == [
        ("8,0", "0.250000000", "Q", "R", "8", "+", "8", "[pvdev]"),
        ("8,0", "0.250000000", "Q", "WFS", "0", "+", "1", "[pvdev]"),
        ("8,0", "0.500000000", "C", "WFS", "0", "+", "1", "[-5]"),
        ("8,0", "0.750000000", "C", "R", "8", "+", "8", "[0]"),
        ("8,0", "1.000000000", "Q", "FWS", "0", "+", "0", "[pvdev]"),
    ]
    assert [int(words[2]) for words in lines] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("path", ["", "."])
def test_a_record_that_cannot_be_written_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="give a file to write"):
        RecordDisk(MemDisk("mem", SIZE), path)


@pytest.mark.parametrize("style", ["iolog", "blkparse"])
def test_a_full_host_ends_the_record_and_not_the_disk(style: str) -> None:
    with RecordDisk(MemDisk("mem", SIZE), "/dev/full", style=style) as disk:
        for i in range(2000):
            do(disk, write_io(i * 512, b"x" * 512))

        assert disk.fault == "record /dev/full: No space left on device; the record ends here, make room for it"
        assert read(disk, 0, 512) == b"x" * 512
