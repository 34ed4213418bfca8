"""Persistent reservations among three initiators, and RESERVE and RELEASE of old."""

from struct import pack, unpack_from

import pytest

from pvscsi.scsi import sense as s
from pvscsi.scsi.disk import Disk
from pvscsi.scsi.task import Status
from tests.unit.pvscsi.scsi.rig import BLOCK, TUR, Sent, ask, disk, read10, reserve_out, send, soothe, write10

REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, IGNORE = range(7)
KINDS = (1, 3, 5, 6, 7, 8)
CONFLICT = Status.RESERVATION_CONFLICT


@pytest.fixture
def unit() -> Disk:
    """Initiators 0 and 1 are registered with keys 10 and 11; 2 is not."""
    made = disk()
    for nexus in (0, 1, 2):
        soothe(made, nexus)
    for nexus in (0, 1):
        assert out(made, nexus, REGISTER, new=10 + nexus).code == Status.GOOD
    return made


def out(unit: Disk, nexus: int, action: int, key: int = 0, new: int = 0, kind: int = 0, flags: int = 0) -> Sent:
    return send(unit, *reserve_out(action, key, new, kind, flags), nexus=nexus)


def reserve_in(unit: Disk, action: int, alloc: int = 4096) -> bytes:
    return ask(unit, bytes((0x5E, action)) + bytes(5) + alloc.to_bytes(2, "big") + b"\0", nexus=2)


def keys(unit: Disk) -> tuple[int, list[int]]:
    """(generation, keys)"""
    data = reserve_in(unit, 0)
    generation, length = unpack_from(">II", data)
    assert length == len(data) - 8
    return generation, [int.from_bytes(data[i : i + 8], "big") for i in range(8, len(data), 8)]


def holder(unit: Disk) -> tuple[int, int] | None:
    """(key, type) of the reservation"""
    data = reserve_in(unit, 1)
    return (int.from_bytes(data[8:16], "big"), data[21]) if len(data) > 8 else None


def attention(unit: Disk, nexus: int) -> object:
    return send(unit, TUR, nexus=nexus).code


def test_PVS_V_138_registering(unit: Disk) -> None:
    """REGISTER adds, changes and takes away a key; each that succeeds counts the generation up."""
    assert keys(unit) == (2, [10, 11])

    assert out(unit, 0, REGISTER, key=10, new=20).code == Status.GOOD
    assert keys(unit) == (3, [20, 11])
    assert out(unit, 0, REGISTER, key=10, new=30).code == CONFLICT
    assert out(unit, 2, REGISTER, key=10, new=30).code == CONFLICT
    assert keys(unit) == (3, [20, 11])
    assert out(unit, 0, REGISTER, key=20, new=0).code == Status.GOOD
    assert keys(unit) == (4, [11])


def test_PVS_V_138_ignoring_the_key_there_is(unit: Disk) -> None:
    """REGISTER AND IGNORE EXISTING KEY needs no key."""
    assert out(unit, 0, IGNORE, key=99, new=20).code == Status.GOOD
    assert out(unit, 2, IGNORE, key=99, new=30).code == Status.GOOD
    assert keys(unit) == (4, [20, 11, 30])
    assert out(unit, 2, IGNORE, new=0).code == Status.GOOD
    assert out(unit, 2, IGNORE, new=0).code == Status.GOOD
    assert keys(unit) == (5, [20, 11])


@pytest.mark.parametrize("kind", KINDS)
def test_PVS_V_138_reserve_and_release(unit: Disk, kind: int) -> None:
    """RESERVE and RELEASE of every type: by the holder, again, by another, with another type."""
    assert holder(unit) is None
    assert out(unit, 0, RESERVE, key=10, kind=kind).code == Status.GOOD
    assert holder(unit) == (0 if kind > 6 else 10, kind)
    assert out(unit, 0, RESERVE, key=10, kind=kind).code == Status.GOOD
    other = 1 if kind != 1 else 3
    assert out(unit, 0, RESERVE, key=10, kind=other).code == CONFLICT
    assert out(unit, 0, RELEASE, key=10, kind=other).code == s.INVALID_RELEASE
    assert out(unit, 2, RESERVE, key=0, kind=kind).code == CONFLICT
    assert out(unit, 0, RELEASE, key=11, kind=kind).code == CONFLICT
    if kind < 7:
        assert out(unit, 1, RESERVE, key=11, kind=kind).code == CONFLICT
        assert out(unit, 1, RELEASE, key=11, kind=kind).code == Status.GOOD
        assert holder(unit) == (10, kind)
    assert out(unit, 0, RELEASE, key=10, kind=kind).code == Status.GOOD
    assert holder(unit) is None
    assert keys(unit)[0] == 2
    assert attention(unit, 1) == (s.RESERVATIONS_RELEASED if kind > 3 else Status.GOOD)


@pytest.mark.parametrize(
    ("kind", "registered", "stranger"),
    [
        (1, (Status.GOOD, CONFLICT), (Status.GOOD, CONFLICT)),
        (3, (CONFLICT, CONFLICT), (CONFLICT, CONFLICT)),
        (5, (Status.GOOD, Status.GOOD), (Status.GOOD, CONFLICT)),
        (6, (Status.GOOD, Status.GOOD), (CONFLICT, CONFLICT)),
        (7, (Status.GOOD, Status.GOOD), (Status.GOOD, CONFLICT)),
        (8, (Status.GOOD, Status.GOOD), (CONFLICT, CONFLICT)),
    ],
)
def test_PVS_V_138_who_may_read_and_write(
    unit: Disk, kind: int, registered: tuple[Status, Status], stranger: tuple[Status, Status]
) -> None:
    """What each type lets the holder, another registrant and a stranger read and write."""
    out(unit, 0, RESERVE, key=10, kind=kind)
    found = [
        (
            send(unit, read10(0, 1), room=BLOCK, nexus=nexus).code,
            send(unit, write10(0, 1), bytes(BLOCK), nexus=nexus).code,
        )
        for nexus in (0, 1, 2)
    ]

    assert found == [(Status.GOOD, Status.GOOD), registered, stranger]
    assert [send(unit, cdb, room=96, nexus=2).code for cdb in (TUR, "12 00 00 00 60 00")] == [Status.GOOD] * 2
    assert send(unit, "1a 00 3f 00 04 00", room=4, nexus=2).code == CONFLICT


@pytest.mark.parametrize("kind", KINDS)
def test_PVS_V_138_preempt_the_holder(unit: Disk, kind: int) -> None:
    """PREEMPT with the holder's key (0 where all hold) takes the reservation over and ends that registration."""
    out(unit, 0, RESERVE, key=10, kind=kind)
    victim = 0 if kind > 6 else 10

    assert out(unit, 1, PREEMPT, key=11, new=victim, kind=5).code == Status.GOOD

    assert keys(unit) == (3, [11])
    assert holder(unit) == (11, 5)
    assert attention(unit, 0) == s.REGISTRATIONS_PREEMPTED


def test_PVS_V_138_preempt_a_registrant(unit: Disk) -> None:
    """PREEMPT with another key ends that registration only."""
    out(unit, 0, RESERVE, key=10, kind=1)

    assert out(unit, 0, PREEMPT, key=10, new=11, kind=3).code == Status.GOOD

    assert (keys(unit), holder(unit)) == ((3, [10]), (10, 1))
    assert attention(unit, 1) == s.REGISTRATIONS_PREEMPTED


def test_preempt_of_all_who_hold_by_one_key(unit: Disk) -> None:
    out(unit, 0, RESERVE, key=10, kind=7)

    assert out(unit, 0, PREEMPT, key=10, new=11, kind=7).code == Status.GOOD
    assert (keys(unit)[1], holder(unit)) == ([10], (0, 7))


def test_the_holder_may_preempt_itself_to_another_type(unit: Disk) -> None:
    out(unit, 0, RESERVE, key=10, kind=5)

    assert out(unit, 0, PREEMPT, key=10, new=10, kind=6).code == Status.GOOD
    assert (keys(unit)[1], holder(unit)) == ([10, 11], (10, 6))
    assert attention(unit, 1) == s.RESERVATIONS_RELEASED


def test_preempt_what_is_not_there(unit: Disk) -> None:
    assert out(unit, 0, PREEMPT, key=10, new=77, kind=1).code == CONFLICT
    assert out(unit, 0, PREEMPT, key=10, new=0, kind=1).code == s.INVALID_FIELD_IN_LIST
    assert out(unit, 2, PREEMPT, key=0, new=10, kind=1).code == CONFLICT
    assert keys(unit) == (2, [10, 11])


def test_preempt_and_abort_tells_whose_tasks_end(unit: Disk) -> None:
    ended: list[int] = []
    unit.on_abort = ended.append
    out(unit, 0, RESERVE, key=10, kind=1)

    assert out(unit, 1, PREEMPT_AND_ABORT, key=11, new=10, kind=1).code == Status.GOOD
    assert ended == [0]


def test_PVS_V_138_clear(unit: Disk) -> None:
    """CLEAR leaves no key and no reservation, and tells every other registrant."""
    out(unit, 0, RESERVE, key=10, kind=3)

    assert out(unit, 1, CLEAR, key=10).code == CONFLICT
    assert out(unit, 1, CLEAR, key=11).code == Status.GOOD

    assert (keys(unit), holder(unit)) == ((3, []), None)
    assert [attention(unit, nexus) for nexus in (0, 1, 2)] == [s.RESERVATIONS_PREEMPTED, Status.GOOD, Status.GOOD]


@pytest.mark.parametrize(("kind", "left"), [(1, None), (5, None), (7, (0, 7))])
def test_PVS_V_138_a_holder_that_unregisters(unit: Disk, kind: int, left: tuple[int, int] | None) -> None:
    """The reservation ends with its holder's registration; where all hold, with the last."""
    out(unit, 0, RESERVE, key=10, kind=kind)
    out(unit, 0, REGISTER, key=10, new=0)

    assert holder(unit) == left
    assert attention(unit, 1) == (s.RESERVATIONS_RELEASED if kind == 5 else Status.GOOD)
    out(unit, 1, REGISTER, key=11, new=0)
    assert holder(unit) is None


def test_PVS_V_138_resets_leave_it(unit: Disk) -> None:
    """Registrations and the reservation survive resets of device and bus."""
    out(unit, 0, RESERVE, key=10, kind=1)

    unit.reset()
    unit.reset(bus=True)

    soothe(unit, 2)
    assert (keys(unit)[1], holder(unit)) == ([10, 11], (10, 1))
    assert send(unit, write10(0, 1), bytes(BLOCK), nexus=2).code == CONFLICT


def test_capabilities_and_full_status(unit: Disk) -> None:
    out(unit, 1, RESERVE, key=11, kind=6)

    assert reserve_in(unit, 2).hex() == "00081080ea010000"
    data = reserve_in(unit, 3)
    entries = [data[8 + 48 * i : 56 + 48 * i] for i in range(2)]
    assert unpack_from(">II", data) == (2, 96)
    assert [(int.from_bytes(e[:8], "big"), e[12], e[13]) for e in entries] == [(10, 0, 0), (11, 1, 6)]
    assert [(e[20:24].hex(), e[24], e[26:28].hex()) for e in entries] == [
        ("00000018", 1, f"{nexus:04x}") for nexus in (0, 1)
    ]


def test_lengths_are_of_all_even_when_clipped(unit: Disk) -> None:
    assert reserve_in(unit, 0, 8) == pack(">II", 2, 16)
    assert reserve_in(unit, 0, 20)[8:] == bytes(7) + b"\x0a" + bytes(4)


@pytest.mark.parametrize("action", [4, 5, 31])
def test_there_is_nothing_else_to_ask(unit: Disk, action: int) -> None:
    assert send(unit, bytes((0x5E, action)) + bytes(8), room=8).code == s.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize("action", [7, 8, 31])
def test_there_is_nothing_else_to_do(unit: Disk, action: int) -> None:
    assert out(unit, 0, action, key=10).code == s.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize("kind", [0, 2, 4, 9, 15, 0x11, 0x21])
def test_types_and_scopes_there_are_not(unit: Disk, kind: int) -> None:
    assert out(unit, 0, RESERVE, key=10, kind=kind).code == s.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize("flags", [0x01, 0x08])
def test_aptpl_and_spec_i_pt_are_not_offered(unit: Disk, flags: int) -> None:
    assert out(unit, 0, REGISTER, key=10, new=20, flags=flags).code == s.INVALID_FIELD_IN_LIST
    assert keys(unit) == (2, [10, 11])


def test_a_list_has_24_bytes(unit: Disk) -> None:
    cdb, data = reserve_out(REGISTER, 10, 20)
    for length in (0, 23, 25):
        wrong = cdb[:5] + length.to_bytes(4, "big") + cdb[9:]
        assert send(unit, wrong, data + b"\0").code == s.PARAMETER_LIST_LENGTH_ERROR
    assert send(unit, cdb, data[:-1]).code == s.PARAMETER_LIST_LENGTH_ERROR


def test_registrations_are_bounded() -> None:
    unit = disk()
    for nexus in range(1024):
        out(unit, nexus, REGISTER, new=1 + nexus)  # the attention of a new nexus
        out(unit, nexus, REGISTER, new=1 + nexus)
    soothe(unit, 5000)

    assert out(unit, 5000, REGISTER, new=1).code == s.NO_MORE_REGISTRATIONS
    assert out(unit, 0, REGISTER, key=1, new=2).code == Status.GOOD


# -- of old ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reserve", "release"), [("16" + "00" * 5, "17" + "00" * 5), ("56" + "00" * 9, "57" + "00" * 9)]
)
def test_reserve_of_old(reserve: str, release: str) -> None:
    unit = disk()
    soothe(unit, 1)

    assert [send(unit, reserve).code for _ in range(2)] == [Status.GOOD] * 2
    assert [send(unit, cdb, nexus=1).code for cdb in (reserve, TUR, release)] == [CONFLICT, CONFLICT, Status.GOOD]
    assert send(unit, "12 00 00 00 60 00", room=96, nexus=1).code == Status.GOOD
    assert send(unit, TUR).code == Status.GOOD
    assert send(unit, release).code == Status.GOOD
    assert send(unit, TUR, nexus=1).code == Status.GOOD


@pytest.mark.parametrize("end", ["reset", "lost"])
def test_a_reservation_of_old_ends(end: str) -> None:
    unit = disk()
    send(unit, "16 00 00 00 00 00")

    if end == "reset":
        unit.reset()
    else:
        unit.lost(0)

    assert send(unit, TUR, nexus=1).code == s.POWER_ON
    assert send(unit, TUR, nexus=1).code == Status.GOOD


def test_old_and_new_do_not_mix(unit: Disk) -> None:
    assert send(unit, "16 00 00 00 00 00", nexus=2).code == CONFLICT
    assert send(unit, "16 00 00 00 00 00").code == Status.GOOD
    assert send(unit, TUR, nexus=1).code == Status.GOOD


@pytest.mark.parametrize("cdb", ["16 10 00 00 00 00", "17 01 00 00 00 00"])
def test_no_third_party(cdb: str) -> None:
    assert send(disk(), cdb).code == s.INVALID_FIELD_IN_CDB
