from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvscsi.block import host
from pvscsi.block.backend import Fault, Io, Op
from pvscsi.block.faulty import FaultyDisk
from pvscsi.block.file import FileDisk
from pvscsi.block.host import KINDS, open_disk
from pvscsi.block.mem import MemDisk, NullDisk
from pvscsi.block.record import RecordDisk
from pvscsi.block.slow import SlowDisk
from pvscsi.block.volatile import VolatileDisk
from tests.unit.pvscsi.block.rig import do, read, read_io, write


@pytest.mark.parametrize(("text", "size"), [("mem:4096", 4096), ("mem:64k", 65536), ("mem:1T", 1 << 40)])
def test_memory(text: str, size: int) -> None:
    disk = open_disk(text)

    assert isinstance(disk, MemDisk)
    assert (disk.size, disk.name, disk.read_only) == (size, text, False)
    assert open_disk(f"{text},readonly=yes").read_only


def test_null() -> None:
    assert isinstance(open_disk("null:1G"), NullDisk)


def test_file(tmp_path: Path) -> None:
    path = f"{tmp_path}/a,b=c:d"
    text = f"file:{path.replace(',', ',,')}"
    with open_disk(f"{text},create=yes,size=1M") as disk:
        assert isinstance(disk, FileDisk)
        with pytest.raises(ConfigError, match="another program"):
            open_disk(text)
        open_disk(f"{text},lock=no").close()
    with open_disk(f"{text},readonly=yes") as disk:
        assert (disk.size, disk.read_only, disk.name) == (1 << 20, True, path)


def test_wrappers_nest_and_hand_their_rest_on(tmp_path: Path) -> None:
    text = (
        f"record:{tmp_path}/a,,b,format=blkparse,of=slow,latency=5ms,of=faulty,every=3,of=volatile:8M,of="
        f"file:{tmp_path}/of=,,of=x,create=yes,size=1M"
    )
    with open_disk(text) as record:
        assert isinstance(record, RecordDisk)
        assert isinstance(slow := record.inner, SlowDisk)
        assert isinstance(faulty := slow.inner, FaultyDisk)
        assert isinstance(volatile := faulty.inner, VolatileDisk)
        assert isinstance(file := volatile.inner, FileDisk)
        assert file.name == f"{tmp_path}/of=,of=x"
        assert record.size == 1 << 20
    assert (tmp_path / "a,b").read_text() == ""


def test_slow_takes_times_for_each_operation() -> None:
    disk = open_disk("slow,latency=1us,read=2ms,flush=3s,rate=1G,jitter=0ns,seed=4,of=mem:1M")
    ios = [read_io(0, 1)[0], Io(Op.FLUSH), Io(Op.DISCARD, 0, 1)]
    disk.submit(ios)
    disk.reap(0)

    found = []
    while (due := disk.deadline()) is not None:
        found += [(due, io) for io in disk.reap(due)]

    assert found == [(1_000, ios[2]), (2_000_000, ios[0]), (3_000_000_000, ios[1])]


def test_faulty_takes_ranges_counts_and_a_fault() -> None:
    disk = open_disk("faulty,bad=1K+512;4K+1,badread=8K+512,badwrite=9K+1,fault=full,of=mem:1M")

    faults = [do(disk, read_io(at, 1)[0]).fault for at in (1023, 1024, 4096, 8192, 9216)]

    assert faults == [None, Fault.FULL, Fault.FULL, Fault.FULL, None]
    assert do(disk, Io(Op.WRITE, 9216, 1, [memoryview(b"x")])).fault is Fault.FULL
    write(disk, 8192, b"x")


def test_volatile_takes_room_and_seed() -> None:
    disk = open_disk("volatile:4K,seed=9,of=mem:1M")
    assert isinstance(disk, VolatileDisk)
    for i in range(8):
        write(disk, i * 1024, b"x" * 1024)

    assert disk.pending < 8
    assert read(disk, 0, 8192) == b"x" * 8192


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no kind ''; known: faulty, file, mem, nbd, null, record, slow, volatile"),
        ("disk.img", "no kind 'disk.img'"),
        ("/dev/sda", "no kind '/dev/sda'"),
        ("mem", "'' is not a size"),
        ("mem:0", "give a size from 1 byte"),
        ("mem:99999999T", "give a size from 1 byte"),
        ("mem:1G,size=5", "mem: no option 'size'; allowed: readonly"),
        ("null:x", "'x' is not a size"),
        ("file:", "no path"),
        ("slow,latency=5ms", "slow goes around a disk; end it with ,of=DISK"),
        ("slow,of=", "slow goes around a disk"),
        ("slow:5ms,of=mem:1M", "takes no '5ms'; write slow,key=value,of=DISK"),
        ("slow,latency=5,of=mem:1M", "latency=5: give a time with its unit, like 5ms"),
        ("slow,rate=0,of=mem:1M", "rate=0: nothing would ever pass"),
        ("slow,of=floppy:1M", "no kind 'floppy'"),
        ("slow,of=mem:1M,latency=5ms", "mem: no option 'latency'"),
        ("faulty,bad=5,of=mem:1M", "bad=5: give ranges as OFFSET+BYTES"),
        ("faulty,bad=5+x,of=mem:1M", "'x' is not a size"),
        ("faulty,every=0,of=mem:1M", "every=0: give a number, 1 or more"),
        ("faulty,odds=2,of=mem:1M", "odds=2: give a number from 0 to 1"),
        ("faulty,fault=odd,of=mem:1M", "give one of full, gone, read, read-only, write"),
        ("record,of=mem:1M", "give a file to write"),
        ("record:x,format=odd,of=mem:1M", "give one of blkparse, iolog"),
        ("volatile:0,of=mem:1M", "give a size from 1 byte"),
        ("nbd:nowhere", "not a server; write nbd://HOST/EXPORT or nbd:unix:SOCKET"),
        ("nbd:", "not a server"),
    ],
)
def test_what_cannot_be_had_says_the_mend_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_disk(text)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrapper_that_cannot_be_made_closes_its_disk(tmp_path: Path) -> None:
    text = f"file:{tmp_path}/image,create=yes,size=1M"
    with pytest.raises(ConfigError, match="latency=x"):
        open_disk(f"slow,latency=x,of={text}")

    open_disk(text).close()


def test_each_kind_and_option_stands_in_the_manual() -> None:
    page = (Path(host.__file__).parents[2] / "docs" / "DISKS.md").read_text()

    for kind, options in KINDS.items():
        assert f"`{kind}" in page
        for option in options:
            assert f"`{option}=" in page, f"{kind}: {option}"
