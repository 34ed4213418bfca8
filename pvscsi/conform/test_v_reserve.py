"""PVSCSI device rule 138: reservations. The adapter is one initiator; where another is needed it is made inside."""

import pytest

from pvscsi.conform.rig import Rig, pattern, told
from pvscsi.driver import Disk, Request, cdb

pytestmark = pytest.mark.unit
REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE = range(7)
READ_KEYS, READ_RESERVATION, REPORT_CAPABILITIES, READ_FULL_STATUS = range(4)
KINDS = (1, 3, 5, 6, 7, 8)
KEY, OTHER = 0x1122_3344_5566_7788, 0xAABB_CCDD_EEFF_0011
CONFLICT = "status 18"


@pytest.fixture
def disk(rig: Rig) -> Disk:
    """A disk with nobody registered."""
    disk = rig.disk()
    if told(disk.run(cdb.persistent_in(READ_KEYS), read=256)) == "05/20/00":
        pytest.skip("this device has no persistent reservations")
    assert out(disk, REGISTER_AND_IGNORE, new=KEY) == "status 00"
    assert out(disk, CLEAR, KEY) == "status 00"
    return disk


def out(disk: Disk, action: int, key: int = 0, new: int = 0, kind: int = 0, flags: int = 0) -> str:
    """PERSISTENT RESERVE OUT; how it ended."""
    return told(disk.run(cdb.persistent_out(action, kind), write=cdb.persistent_list(key, new, flags)))


def keys(disk: Disk) -> tuple[int, list[int]]:
    """(generation, keys)"""
    data = disk.must(cdb.persistent_in(READ_KEYS), read=256).data
    length = int.from_bytes(data[4:8], "big")
    found = [int.from_bytes(data[at : at + 8], "big") for at in range(8, 8 + length, 8)]
    return int.from_bytes(data[:4], "big"), found


def reservation(disk: Disk) -> tuple[int, int] | None:
    """(key, scope and type), or None."""
    data = disk.must(cdb.persistent_in(READ_RESERVATION), read=256).data
    if not int.from_bytes(data[4:8], "big"):
        return None
    return int.from_bytes(data[8:16], "big"), data[21]


class Other:
    """INSIDE: a second initiator of the unit."""

    def __init__(self, rig: Rig) -> None:
        self._model = rig.model

    def ready(self) -> int:
        """The status of its TEST UNIT READY."""
        return self._model.other(0, cdb.TEST_UNIT_READY)

    def out(self, action: int, key: int = 0, new: int = 0, kind: int = 0) -> int:
        return self._model.other(0, cdb.persistent_out(action, kind), cdb.persistent_list(key, new))

    def reserve(self, kind: int) -> None:
        """It registers with `OTHER` and reserves."""
        self.ready()  # is told of the power-on
        assert self.out(REGISTER, new=OTHER) == 0
        assert self.out(RESERVE, OTHER, kind=kind) == 0


def test_PVS_V_138_registering(disk: Disk) -> None:
    before = keys(disk)[0]

    answers = [out(disk, REGISTER, new=KEY), out(disk, REGISTER, KEY, OTHER)]
    between = keys(disk)
    answers += [out(disk, REGISTER, OTHER, 0)]

    assert answers == ["status 00"] * 3
    assert between == (before + 2, [OTHER])
    assert keys(disk) == (before + 3, [])


def test_PVS_V_138_a_key_that_is_not_ours(disk: Disk) -> None:
    out(disk, REGISTER, new=KEY)

    assert out(disk, REGISTER, OTHER, 1) == CONFLICT
    assert out(disk, RESERVE, OTHER, kind=1) == CONFLICT
    assert out(disk, CLEAR, OTHER) == CONFLICT
    assert keys(disk)[1] == [KEY]


def test_PVS_V_138_whatever_the_key_was(disk: Disk) -> None:
    out(disk, REGISTER, new=KEY)

    assert out(disk, REGISTER_AND_IGNORE, 0x99, OTHER) == "status 00"
    assert keys(disk)[1] == [OTHER]


@pytest.mark.parametrize("action", [RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT])
def test_PVS_V_138_nobody_registered(disk: Disk, action: int) -> None:
    assert out(disk, action, 0, KEY, kind=1) == CONFLICT


@pytest.mark.parametrize("kind", KINDS)
def test_PVS_V_138_reserve_and_release(disk: Disk, kind: int) -> None:
    out(disk, REGISTER, new=KEY)
    generation = keys(disk)[0]
    answers = [out(disk, RESERVE, KEY, kind=kind), out(disk, RESERVE, KEY, kind=kind)]
    held = reservation(disk)

    disk.write(0, pattern(512, kind))
    answers += [out(disk, RELEASE, KEY, kind=kind), out(disk, RELEASE, KEY, kind=kind)]

    assert answers == ["status 00"] * 4
    assert held == (0 if kind in (7, 8) else KEY, kind)
    assert disk.read(0, 1) == pattern(512, kind)
    assert reservation(disk) is None
    assert keys(disk) == (generation, [KEY])


def test_PVS_V_138_types_there_are_not(disk: Disk) -> None:
    out(disk, REGISTER, new=KEY)

    for kind in set(range(16)) - set(KINDS):
        assert out(disk, RESERVE, KEY, kind=kind) == "05/24/00"
    assert out(disk, RESERVE, KEY, kind=0x11) == "05/24/00"
    assert reservation(disk) is None


def test_PVS_V_138_another_type(disk: Disk) -> None:
    out(disk, REGISTER, new=KEY)
    out(disk, RESERVE, KEY, kind=1)

    assert out(disk, RESERVE, KEY, kind=3) == CONFLICT
    assert out(disk, RELEASE, KEY, kind=3) == "05/26/04"
    assert reservation(disk) == (KEY, 1)


def test_PVS_V_138_clear(disk: Disk) -> None:
    out(disk, REGISTER, new=KEY)
    out(disk, RESERVE, KEY, kind=3)
    generation = keys(disk)[0]

    assert out(disk, CLEAR, KEY) == "status 00"
    assert keys(disk) == (generation + 1, [])
    assert reservation(disk) is None


def test_PVS_V_138_giving_up_the_key_ends_the_reservation(disk: Disk) -> None:
    out(disk, REGISTER, new=KEY)
    out(disk, RESERVE, KEY, kind=1)

    out(disk, REGISTER, KEY, 0)

    assert reservation(disk) is None


@pytest.mark.parametrize("action", [PREEMPT, PREEMPT_AND_ABORT])
def test_PVS_V_138_preempting_oneself_takes_another_type(disk: Disk, action: int) -> None:
    out(disk, REGISTER, new=KEY)
    out(disk, RESERVE, KEY, kind=1)
    generation = keys(disk)[0]

    answer = out(disk, action, KEY, KEY, kind=3)

    assert answer == "status 00"
    assert reservation(disk) == (KEY, 3)
    assert keys(disk) == (generation + 1, [KEY])


@pytest.mark.parametrize("length", [0, 8, 23, 25, 32])
def test_PVS_V_138_lists_of_another_length(disk: Disk, length: int) -> None:
    request = disk.run(
        cdb.persistent_out(REGISTER, length=length), write=cdb.persistent_list(0, KEY).ljust(length, b"\0")
    )

    assert told(request) == "05/1A/00"
    assert keys(disk)[1] == []


def test_PVS_V_138_actions_there_are_not(disk: Disk) -> None:
    for action in range(4, 32):
        assert told(disk.run(cdb.persistent_in(action), read=256)) == "05/24/00"
    for action in range(8, 32):
        assert out(disk, action) == "05/24/00"


def test_PVS_V_138_capabilities(disk: Disk) -> None:
    data = disk.must(cdb.persistent_in(REPORT_CAPABILITIES), read=256).data

    assert data[:2] == (8).to_bytes(2, "big")
    assert len(data) == 8
    if data[3] & 0x80:
        mask = int.from_bytes(data[4:6], "little")
        assert all(mask >> kind & 1 for kind in KINDS)


def test_PVS_V_138_full_status(disk: Disk) -> None:
    out(disk, REGISTER, new=KEY)
    out(disk, RESERVE, KEY, kind=5)

    data = disk.must(cdb.persistent_in(READ_FULL_STATUS), read=256).data

    assert int.from_bytes(data[4:8], "big") == len(data) - 8
    assert int.from_bytes(data[8:16], "big") == KEY
    assert data[20] & 1
    assert data[21] == 5


@pytest.mark.parametrize("action", [READ_KEYS, READ_RESERVATION, READ_FULL_STATUS])
@pytest.mark.parametrize("room", [0, 4, 8, 12, 24])
def test_PVS_V_138_clipped(disk: Disk, action: int, room: int) -> None:
    out(disk, REGISTER, new=KEY)
    out(disk, RESERVE, KEY, kind=1)
    whole = disk.must(cdb.persistent_in(action), read=256).data

    request = disk.run(cdb.persistent_in(action, room), read=256)

    assert told(request) == "status 00"
    assert request.data == whole[:room]


@pytest.mark.parametrize("how", ["device", "bus", "host"])
def test_PVS_V_138_survives_resets(disk: Disk, how: str) -> None:
    out(disk, REGISTER, new=KEY)
    out(disk, RESERVE, KEY, kind=3)
    before = keys(disk)

    {"device": lambda: disk.driver.reset_device(0), "bus": disk.driver.reset_bus, "host": disk.driver.reset_host}[how]()
    disk.settle()

    assert keys(disk) == before
    assert reservation(disk) == (KEY, 3)


# (type, we are registered, command) -> whether it runs while another initiator holds the reservation
RUNS = {
    (1, False, "read"): True,
    (1, False, "write"): False,
    (1, True, "write"): False,
    (3, False, "read"): False,
    (3, True, "read"): False,
    (3, False, "inquiry"): True,
    (5, False, "read"): True,
    (5, False, "write"): False,
    (5, True, "write"): True,
    (6, False, "read"): False,
    (6, True, "read"): True,
    (6, True, "write"): True,
    (7, False, "write"): False,
    (7, True, "write"): True,
    (8, False, "read"): False,
    (8, True, "read"): True,
}
COMMANDS: dict[str, tuple[bytes, dict[str, int | bytes]]] = {
    "read": (cdb.read(0, 1), {"read": 512}),
    "write": (cdb.write(0, 1), {"write": bytes(512)}),
    "inquiry": (cdb.inquiry(), {"read": 36}),
}


@pytest.mark.parametrize(("kind", "registered", "command"), RUNS)
def test_PVS_V_138_while_another_holds_it(rig: Rig, disk: Disk, kind: int, registered: bool, command: str) -> None:
    Other(rig).reserve(kind)
    if registered:
        out(disk, REGISTER, new=KEY)
    cdb_bytes, how = COMMANDS[command]

    request: Request = disk.run(cdb_bytes, **how)

    assert told(request) == ("status 00" if RUNS[kind, registered, command] else CONFLICT)
    assert request.moved == (request.size if RUNS[kind, registered, command] else 0)


def test_PVS_V_138_preempting_another(rig: Rig, disk: Disk) -> None:
    other = Other(rig)
    other.reserve(3)
    out(disk, REGISTER, new=KEY)

    answer = out(disk, PREEMPT, KEY, OTHER, kind=1)

    assert answer == "status 00"
    assert keys(disk)[1] == [KEY]
    assert reservation(disk) == (KEY, 1)
    assert other.ready() == 2  # is told that its registration went


def test_PVS_V_138_what_another_released_is_told(rig: Rig, disk: Disk) -> None:
    other = Other(rig)
    other.reserve(5)
    out(disk, REGISTER, new=KEY)

    other.out(RELEASE, OTHER, kind=5)

    assert disk.settle() == ["06/2A/04"]


@pytest.mark.parametrize("reserve", [bytes((0x16, 0, 0, 0, 0, 0)), bytes((0x56,)) + bytes(9)], ids=["6", "10"])
def test_PVS_V_138_the_old_way(rig: Rig, reserve: bytes) -> None:
    disk = rig.disk()
    release = bytes((reserve[0] + 1,)) + reserve[1:]

    assert [told(disk.run(command)) for command in (reserve, reserve, release, release)] == ["status 00"] * 4
    assert disk.run(cdb.read(0, 1), read=512).good
