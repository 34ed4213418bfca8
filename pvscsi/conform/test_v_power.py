"""PVSCSI device rules 137 and 142: starting and stopping, eject and the locked door, what a reset does to a unit."""

from collections.abc import Callable

import pytest

from pvscsi.conform.rig import CD, Drive, MakeRig, Rig, pattern, told
from pvscsi.driver import Disk, cdb
from pvscsi.driver.request import decode_sense

pytestmark = pytest.mark.unit
REMOVABLE = {"cd": CD, "disk": Drive(removable=True)}
EJECT = cdb.start_stop(0, loej=1)
LOAD = cdb.start_stop(1, loej=1)
CACHING, CONTROL = 0x08, 0x0A
RESETS: dict[str, Callable[[Disk], object]] = {
    "device": lambda disk: disk.driver.reset_device(disk.target),
    "bus": lambda disk: disk.driver.reset_bus(),
}


@pytest.fixture(params=REMOVABLE)
def drive(request: pytest.FixtureRequest, make_rig: MakeRig) -> Disk:
    """A drive of each kind whose medium comes out."""
    return make_rig({0: REMOVABLE[request.param]}).disk()


@pytest.fixture(params=RESETS)
def reset(request: pytest.FixtureRequest) -> Callable[[Disk], object]:
    """Each way to reset a unit."""
    return RESETS[request.param]


def ready(disk: Disk) -> str:
    return told(disk.run(cdb.TEST_UNIT_READY))


def test_PVS_V_137_a_stop_flushes(make_rig: MakeRig) -> None:
    rig = make_rig({0: Drive(volatile=True)})
    disk = rig.disk()
    disk.write(0, pattern(32768))

    disk.must(cdb.start_stop(0))
    rig.target.power_cut(0)
    disk.must(cdb.start_stop(1))

    assert disk.read(0, 64) == pattern(32768)


def test_PVS_V_137_stopped_and_started(rig: Rig) -> None:
    disk = rig.disk()
    disk.write(0, pattern(512))

    for _ in range(3):
        disk.must(cdb.start_stop(0, immed=1))
        disk.must(cdb.start_stop(1))

    assert ready(disk) == "status 00"
    assert disk.read(0, 1) == pattern(512)


def test_PVS_V_137_nothing_comes_out_of_a_fixed_disk(rig: Rig) -> None:
    disk = rig.disk()

    disk.run(EJECT)
    disk.run(cdb.start_stop(1))

    assert ready(disk) == "status 00"
    assert disk.run(cdb.read(0, 1), read=512).good


def test_PVS_V_137_eject_and_load(drive: Disk) -> None:
    out = told(drive.run(EJECT))
    gone = [ready(drive), told(drive.run(cdb.read(0, 1), read=2048)), told(drive.run(cdb.read_capacity(), read=8))]
    back = told(drive.run(LOAD))
    attentions = drive.settle()

    assert out == back == "status 00"
    assert {sense[:5] for sense in gone} == {"02/3A"}
    assert attentions in ([], ["06/28/00"])  # SPC-4 lets a unit spare the one who loaded it the news
    assert ready(drive) == "status 00"


def test_PVS_V_137_the_medium_is_the_same(make_rig: MakeRig) -> None:
    disk = make_rig({0: REMOVABLE["disk"]}).disk()
    disk.write(3, pattern(512))

    disk.must(EJECT)
    disk.must(LOAD)
    disk.settle()

    assert disk.read(3, 1) == pattern(512)


@pytest.mark.parametrize("power", [1, 2, 3, 7, 10, 11])
@pytest.mark.parametrize("bits", [0, 2, 3])
def test_PVS_V_137_power_conditions_move_no_medium(drive: Disk, power: int, bits: int) -> None:
    answer = told(drive.run(cdb.start_stop(bits & 1, loej=bits >> 1, power=power)))

    assert answer in ("status 00", "05/24/00")
    assert ready(drive) == "status 00"


def test_PVS_V_137_prevented(drive: Disk) -> None:
    drive.must(cdb.prevent_removal(1))
    locked = told(drive.run(EJECT))
    still = ready(drive)
    drive.must(cdb.prevent_removal(0))

    assert locked == "05/53/02"
    assert still == "status 00"
    assert told(drive.run(EJECT)) == "status 00"


def test_PVS_V_137_prevented_does_not_add_up(drive: Disk) -> None:
    for _ in range(3):
        drive.must(cdb.prevent_removal(1))
    drive.must(cdb.prevent_removal(0))

    assert told(drive.run(EJECT)) == "status 00"


def test_PVS_V_142_a_reset_unlocks_the_door(drive: Disk, reset: Callable[[Disk], object]) -> None:
    drive.must(cdb.prevent_removal(1))

    reset(drive)
    drive.settle()

    assert told(drive.run(EJECT)) == "status 00"


def test_PVS_V_142_pending_sense_is_gone(rig: Rig, reset: Callable[[Disk], object]) -> None:
    disk = rig.disk()
    disk.run(cdb.read(1 << 30, 1), read=512, sense=0)

    reset(disk)
    sense = decode_sense(disk.must(cdb.request_sense(), read=18).data)

    assert sense is not None
    assert (sense.key, sense.asc) == (6, 0x29)


def test_PVS_V_142_mode_pages_are_the_default_again(rig: Rig, reset: Callable[[Disk], object]) -> None:
    disk = rig.disk()
    page = bytearray(disk.mode_page(CACHING))
    page[2] ^= 0x04
    disk.must(cdb.mode_select(4 + len(page)), write=bytes(4) + page)
    changed = disk.mode_page(CACHING)

    reset(disk)
    disk.settle()

    assert changed == page
    assert disk.mode_page(CACHING) == disk.mode_page(CACHING, control=2)


def test_PVS_V_142_a_stopped_disk_runs_again(rig: Rig, reset: Callable[[Disk], object]) -> None:
    disk = rig.disk()
    disk.must(cdb.start_stop(0))

    reset(disk)
    disk.settle()

    assert ready(disk) == "status 00"


def test_PVS_V_142_data_stays(rig: Rig, reset: Callable[[Disk], object]) -> None:
    disk = rig.disk()
    disk.write(0, pattern(32768))

    reset(disk)
    disk.settle()

    assert disk.read(0, 64) == pattern(32768)


def test_PVS_V_142_one_attention(rig: Rig, reset: Callable[[Disk], object]) -> None:
    disk = rig.disk()

    reset(disk)

    told_then = disk.settle()
    assert [sense[:5] for sense in told_then] == ["06/29"]


def test_PVS_V_142_a_reset_of_another_is_nothing_to_it(make_rig: MakeRig) -> None:
    rig = make_rig({0: Drive(), 1: Drive()})
    disk = rig.disk()
    page = bytearray(disk.mode_page(CACHING))
    page[2] ^= 0x04
    disk.must(cdb.mode_select(4 + len(page)), write=bytes(4) + page)

    disk.driver.reset_device(1)

    assert disk.settle() == []
    assert disk.mode_page(CACHING) == page
