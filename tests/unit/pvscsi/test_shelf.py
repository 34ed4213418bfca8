"""A served adapter's disks and drives, changed from outside: what may be done, and what is refused in one line."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from typing import Any

import click
import pytest

from pvdev.control import call
from pvdev.errors import ConfigError
from pvdev.kinds import Built, load
from pvdev.transport.inproc import LocalPort
from pvscsi.device import Pvscsi
from pvscsi.driver import Disk, Driver, Message, cdb
from pvscsi.driver.rings import MSG_CONS, MSG_PROD
from pvscsi.wire import HostStatus


class Served:
    """A built adapter, the reference driver on it, and a way to say what a command line says."""

    def __init__(self, *words: str) -> None:
        kind = load("pvscsi")
        self.built: Built = kind.build(click.Command("x", params=list(kind.params)).make_context("x", [*words]).params)
        assert isinstance(self.built.device, Pvscsi)
        self.device = self.built.device
        self.port = LocalPort(self.device, memory=8 << 20)
        self.driver = Driver(self.port).bring_up()

    def say(self, name: str, *args: object, **options: object) -> Any:
        return call(name, self.built.controls[name], args, options)

    def drive(self, number: int, block: int = 2048) -> Disk:
        disk = Disk(self.driver, number, block=block)
        disk.settle()
        return disk

    def lock(self, number: int, on: bool) -> None:
        """PREVENT ALLOW MEDIUM REMOVAL."""
        assert self.driver.run(bytes((0x1E, 0, 0, 0, on, 0)), target=number).good

    def close(self) -> None:
        self.driver.close()
        self.port.close()
        self.built.owns.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A disk at 0, drives with a disc and without one at 1 and 2."""
    for number in (1, 2):
        (tmp_path / f"{number}.iso").write_bytes(bytes([number]) * 65536)
    served = Served("--disk", "mem:1M", "--cdrom", f"file:{tmp_path / '1.iso'},readonly=yes", "--cdrom", "")
    yield served
    served.close()


def refusal(served: Served, name: str, *args: object, **options: object) -> str:
    """The one line a control ends with."""
    with pytest.raises(ConfigError) as caught:
        served.say(name, *args, **options)
    return str(caught.value)


def test_a_fixed_disk_is_neither_ejected_nor_loaded(served: Served) -> None:
    line = "target 0: a disk that is fixed in its place; use detach, and attach another"

    assert refusal(served, "eject", 0) == line
    assert refusal(served, "load", 0, "mem:2M") == line
    assert served.say("status")["targets"]["0"]["bytes"] == 1 << 20
    assert served.drive(0, 512).read(0, 1) == bytes(512)


def test_another_disc_is_loaded_and_told_once(served: Served, tmp_path: Path) -> None:
    drive = served.drive(1)
    before = drive.read(3, 1, size=10)

    served.say("load", 1, f"file:{tmp_path / '2.iso'},readonly=yes")

    assert drive.settle() == ["06/28/00"]
    assert (before, drive.read(3, 1, size=10)) == (b"\1" * 2048, b"\2" * 2048)


def test_a_disc_is_ejected_and_loaded_again(served: Served, tmp_path: Path) -> None:
    drive = served.drive(1)

    served.say("eject", 1)
    empty = drive.run(cdb.TEST_UNIT_READY)
    served.say("load", 1, f"file:{tmp_path / '1.iso'},readonly=yes")

    assert str(empty.sense) == "02/3A/02"
    assert drive.settle() == ["06/28/00"]
    assert drive.read(0, 1, size=10) == b"\1" * 2048


def test_a_locked_door_stays_shut(served: Served, tmp_path: Path) -> None:
    drive = served.drive(1)
    served.lock(1, True)
    line = "target 1: the guest has locked the door; eject it there"

    assert refusal(served, "eject", 1) == line
    assert refusal(served, "load", 1, f"file:{tmp_path / '2.iso'},readonly=yes") == line
    assert drive.read(0, 1, size=10) == b"\1" * 2048
    served.lock(1, False)
    served.say("load", 1, f"file:{tmp_path / '2.iso'},readonly=yes")
    drive.settle()
    assert drive.read(0, 1, size=10) == b"\2" * 2048


def test_a_disc_that_is_not_there_leaves_the_one_that_is(served: Served) -> None:
    drive = served.drive(1)

    assert "nowhere.iso" in refusal(served, "load", 1, "file:/nowhere.iso")
    assert drive.read(0, 1, size=10) == b"\1" * 2048


def test_what_is_read_from_a_disc_that_is_taken_away_ends(served: Served) -> None:
    """A slow disc: the read is out when another disc comes."""
    served.say("load", 2, "slow,read=1s,of=mem:1M")
    drive = served.drive(2)
    request = drive.submit(cdb.read(0, 1), read=2048)

    served.say("load", 2, "mem:2M")

    served.driver.wait(request)
    assert request.host == HostStatus.BUSRESET
    assert drive.settle() == ["06/28/00"]
    assert drive.must(cdb.read_capacity(), read=8).data == pack(">II", (2 << 20) // 2048 - 1, 2048)


def test_a_target_there_is_not(served: Served) -> None:
    assert refusal(served, "eject", 9) == "target 9: there is none; there is 0, 1, 2"
    assert refusal(served, "attach", "mem:1M", target=7).startswith("target 7: not free; use 0 to 64 without 7")


def test_what_the_host_failed_a_disk_in_is_told_when_it_is_gone(tmp_path: Path) -> None:
    served = Served("--disk", "mem:1M")
    served.say("attach", "faulty,gone=2,of=mem:1M", target=5)
    disk = served.drive(5, 512)
    fine = disk.read(0, 1), disk.read(1, 1)
    lost = disk.run(cdb.read(2, 1), read=512)

    served.say("detach", target=5)

    assert fine == (bytes(512), bytes(512))
    assert str(lost.sense).startswith("04/44/00")
    assert served.built.faults() == "faulty mem:1M: gone after 2 transfers, as asked for; start again"
    served.close()


@pytest.mark.parametrize("wrapped", ["", "slow,latency=1s,of="], ids=["quick", "slow"])
def test_a_disk_comes_and_goes_under_load_and_leaves_nothing(served: Served, tmp_path: Path, wrapped: str) -> None:
    """50 times; what is asked of it ends, whether it was done or not, and the other disk does all it is asked."""
    gc.collect()  # what other tests left is not to go away meanwhile
    steady, driver, rings = served.drive(0, 512), served.driver, served.driver.rings
    assert rings is not None
    disk = f"{wrapped}file:{tmp_path / 'disk.img'},create=yes,size=1M"
    held: list[tuple[int, int]] = []

    for n in range(50):
        served.say("attach", disk, target=5)
        coming = Disk(driver, 5)
        coming.settle()
        held.append((len([*Path("/proc/self/fd").iterdir()]), threading.active_count()))
        sent = [coming.submit(cdb.read(8 * k, 8), read=4096) for k in range(10)]
        sent += [coming.submit(cdb.write(k, 1), write=bytes([n]) * 512) for k in range(10)]
        steadily = [steady.submit(cdb.write(k, 1), write=bytes([n]) * 512) for k in range(10)]
        served.say("detach", 5)
        late = coming.submit(cdb.read(0, 1), read=512)
        driver.wait(*sent, *steadily, late)

        assert {request.host for request in sent} <= {HostStatus.SUCCESS, HostStatus.BUSRESET}
        assert all(request.good for request in steadily)
        assert late.host == HostStatus.SELTIMEO
        assert driver.messages() == [Message(True, 5, 0), Message(False, 5, 0)]

    assert set(held) == {held[0]}
    assert driver.outstanding == 0
    assert rings.state[MSG_PROD] == rings.state[MSG_CONS] == 100
    assert served.device.rules.numbers() == set()
