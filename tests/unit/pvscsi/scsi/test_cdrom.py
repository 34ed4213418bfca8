"""A CD drive as a whole: what works without a disc, discs coming and going."""

from struct import unpack

import pytest

from pvscsi.scsi import sense as s
from pvscsi.scsi.task import Status
from tests.unit.pvscsi.scsi.rig import TUR, Bytes, ask, cdrom, pattern, read10, send, soothe

GESN = "4a 01 0000 10 0000 0008 00"
CAPACITY = "25 00 00000000 0000 00 00"
EJECT, LOAD = "1b 00 00 00 02 00", "1b 00 00 00 03 00"
BLOCK = 2048


def disc(blocks: int = 300) -> Bytes:
    made = Bytes(blocks * BLOCK, read_only=True)
    made.data[:] = pattern(blocks, blocks, BLOCK)
    return made


def event(data: bytes) -> tuple[int, int]:
    """(event, status) of the media class"""
    assert data[:4].hex() == "00060410"
    return data[4], data[5]


def test_PVS_V_141_blocks_of_2048() -> None:
    """A CD drive reads blocks of 2048 bytes, with READ(10) and (12)."""
    backend = disc()
    unit = cdrom(backend)

    assert unpack(">II", ask(unit, CAPACITY)) == (299, BLOCK)
    assert ask(unit, read10(299, 1)) == bytes(backend.data[-BLOCK:])
    assert ask(unit, "a8 00 00000001 00000002 00 00") == bytes(backend.data[BLOCK : 3 * BLOCK])
    assert send(unit, read10(300, 1), room=BLOCK).code == s.LBA_OUT_OF_RANGE


@pytest.mark.parametrize("op", ["0a", "2a", "aa", "8a", "2e", "41", "93", "42", "89", "04", "35"])
def test_PVS_V_141_nothing_that_writes_is_known(op: str) -> None:
    """Every write to a CD drive is an unknown command."""
    assert send(cdrom(disc()), bytes.fromhex(op) + bytes(15), bytes(BLOCK)).code == s.INVALID_OPCODE


@pytest.mark.parametrize(
    "cdb",
    [
        "12 00 00 00 60 00",
        "1a 08 2a 00 80 00",
        "46 00 0000 000000 0100 00",
        GESN,
        "1b 00 00 00 00 00",
        "1e 00 00 00 00 00",
        "bd 00 000000000000 0008 00 00",
        "ac 00 00000000 0000 0000 00 00",
        "bb 00 ffff ffff 0000000000 00",
    ],
)
def test_PVS_V_141_what_works_without_a_disc(cdb: str) -> None:
    """INQUIRY, MODE SENSE, features, events, tray and mechanism need no disc."""
    assert send(cdrom(None), cdb, room=256).code == Status.GOOD


@pytest.mark.parametrize(
    "cdb",
    [TUR, CAPACITY, "28 00 00000000 00 0001 00", "43 00 00 000000 00 00ff 00", "51 00 0000000000 00ff 00"],
)
def test_PVS_V_141_what_does_not(cdb: str) -> None:
    """Commands that need the disc say that there is none, and whether the tray is open."""
    unit = cdrom(None)

    assert send(unit, cdb, room=256).code == s.NO_MEDIUM_TRAY_CLOSED
    unit.open_tray()
    assert send(unit, cdb, room=256).code == s.NO_MEDIUM_TRAY_OPEN


def test_PVS_V_141_a_disc_leaves_and_another_comes() -> None:
    """Eject: event 3, tray open. Insert: one attention, event 2 once, the new capacity."""
    unit = cdrom(disc(300))

    assert send(unit, EJECT).code == Status.GOOD
    assert event(ask(unit, GESN)) == (3, 1)
    assert event(ask(unit, GESN)) == (0, 1)
    assert send(unit, TUR).code == s.NO_MEDIUM_TRAY_OPEN

    unit.load(disc(500))

    assert event(ask(unit, GESN)) == (2, 2)
    assert [send(unit, TUR).code for _ in range(2)] == [s.MEDIUM_CHANGED, Status.GOOD]
    assert event(ask(unit, GESN)) == (0, 2)
    assert unpack(">II", ask(unit, CAPACITY)) == (499, BLOCK)


def test_the_same_disc_comes_back_with_the_tray() -> None:
    unit = cdrom(disc())
    soothe(unit, nexus=1)
    send(unit, EJECT)

    assert send(unit, LOAD).code == Status.GOOD
    assert send(unit, TUR).code == Status.GOOD
    assert [send(unit, TUR, nexus=1).code for _ in range(2)] == [s.MEDIUM_CHANGED, Status.GOOD]


def test_a_disc_taken_out() -> None:
    unit = cdrom(disc())
    unit.load(None)

    assert event(ask(unit, GESN)) == (3, 0)
    assert send(unit, TUR).code == s.NO_MEDIUM_TRAY_CLOSED


def test_the_button_of_a_locked_drive_asks() -> None:
    unit = cdrom(disc())
    assert unit.eject()
    unit.load(disc())
    ask(unit, GESN)
    send(unit, TUR)
    send(unit, "1e 00 00 00 01 00")

    assert not unit.eject()

    assert event(ask(unit, GESN)) == (1, 2)
    assert send(unit, TUR).code == Status.GOOD


def test_events_and_features_are_told_in_spite_of_an_attention() -> None:
    unit = cdrom(disc(), calm=False)

    codes = [send(unit, cdb, room=64).code for cdb in (GESN, "46 00 0000 000000 0040 00", TUR)]

    assert codes == [Status.GOOD, Status.GOOD, s.POWER_ON]


def test_a_disc_looked_at_again_is_no_attention() -> None:
    backend = disc()
    unit = cdrom(backend)
    backend.resize(backend.size * 2)
    unit.grown()

    assert unpack(">II", ask(unit, CAPACITY)) == (599, BLOCK)
