"""What is durable when: FUA, and a write cache that is switched off."""

from pvscsi.block.backend import Io
from pvscsi.scsi.task import Status
from tests.unit.pvscsi.scsi.rig import (
    BLOCK,
    Bytes,
    Sent,
    ask,
    compare_and_write,
    disk,
    pattern,
    read10,
    send,
    write10,
    write16,
    write_same16,
)

CLEAR_WCE, SET_WCE = ("000000000812" + "00" * 18, "00000000081204" + "00" * 17)


def test_PVS_V_123_fua_is_durable_when_done() -> None:
    """DPO and FUA are accepted as the mode header says; what was written with FUA survives a power cut."""
    backend = Bytes()
    unit = disk(backend)
    assert ask(unit, "1a 00 3f 00 04 00")[2] & 0x10
    codes = [
        send(unit, write10(0, 1, 0x08), pattern(1, 1)).code,
        send(unit, write10(1, 1, 0x18), pattern(2, 1)).code,
        send(unit, write10(2, 1, 0x10), pattern(3, 1)).code,
        send(unit, read10(0, 1, 0x10), room=BLOCK).code,
    ]

    backend.lose()

    assert codes == [Status.GOOD] * 4
    assert bytes(backend.data[: 3 * BLOCK]) == pattern(1, 1) + pattern(2, 1) + bytes(BLOCK)


def test_a_read_with_fua_makes_durable_what_it_reads() -> None:
    backend = Bytes()
    unit = disk(backend)
    send(unit, write10(0, 1), pattern(1, 1))

    data = ask(unit, read10(0, 1, 0x08), BLOCK)
    backend.lose()

    assert data == bytes(backend.data[:BLOCK]) == pattern(1, 1)


def test_without_a_write_cache_every_write_is_durable() -> None:
    backend = Bytes()
    unit = disk(backend, write_cache=False)
    for i, cdb in enumerate((write10(0, 1), write16(1, 1), bytes.fromhex("0a 000002 01 00"), write_same16(3, 1))):
        assert send(unit, cdb, pattern(i, 1)).code == Status.GOOD
    send(unit, compare_and_write(4, 1), bytes(BLOCK) + pattern(4, 1))

    backend.lose()

    assert bytes(backend.data[: 5 * BLOCK]) == b"".join(pattern(i, 1) for i in range(5))


def test_clearing_wce_makes_durable_what_was_cached() -> None:
    backend = Bytes()
    unit = disk(backend)
    send(unit, write10(0, 1), pattern(1, 1))
    send(unit, "15 10 0000 18 00", bytes.fromhex(CLEAR_WCE))
    assert backend.safe[:BLOCK] == pattern(1, 1)

    send(unit, write10(1, 1), pattern(2, 1))
    send(unit, "15 10 0000 18 00", bytes.fromhex(SET_WCE))
    send(unit, write10(2, 1), pattern(3, 1))
    backend.lose()

    assert bytes(backend.data[: 3 * BLOCK]) == pattern(1, 1) + pattern(2, 1) + bytes(BLOCK)


def test_clearing_wce_waits_for_writes_begun_before() -> None:
    backend = Bytes()
    unit = disk(backend)
    early = Sent(write10(0, 1), pattern(1, 1))
    io = unit.execute(early)
    assert isinstance(io, Io)
    work = unit.execute(Sent(bytes.fromhex("15 10 0000 18 00"), bytes.fromhex(CLEAR_WCE)))
    assert work is not None
    assert not isinstance(work, Io)
    assert next(work) == ()

    backend.submit([io])
    unit.finish(early, io)
    for ios in work:
        backend.submit(ios)

    assert backend.safe[:BLOCK] == pattern(1, 1)
