from struct import iter_unpack, unpack_from

import pytest

from pvscsi.scsi import sense as s
from pvscsi.scsi.common import lun_bytes
from pvscsi.scsi.target import Target, lun_number
from pvscsi.scsi.task import Status
from pvscsi.scsi.unit import LogicalUnit
from tests.unit.pvscsi.scsi.rig import TUR, Bytes, ask, cdrom, disk, send, soothe


def report_luns(select: int = 0, alloc: int = 4096) -> bytes:
    return bytes((0xA0, 0, select, 0, 0, 0)) + alloc.to_bytes(4, "big") + bytes(2)


def opcodes(option: int, opcode: int = 0, action: int = 0, *, timeouts: bool = False) -> bytes:
    head = bytes((0xA3, 0x0C, timeouts << 7 | option, opcode)) + action.to_bytes(2, "big")
    return head + (1 << 20).to_bytes(4, "big") + bytes(2)


@pytest.fixture(params=["disk", "cd"])
def unit(request: pytest.FixtureRequest) -> LogicalUnit:
    return disk() if request.param == "disk" else cdrom(Bytes())


def test_PVS_V_134_lun_0_comes_first_and_the_length_is_of_all() -> None:
    """REPORT LUNS: LUN 0 first, all of them, the whole length even when clipped; none that is well known."""
    target = Target({9: disk(), 0: disk(), 300: disk()})
    unit = target.units[0]
    whole = ask(unit, report_luns())

    assert whole.hex() == "00000018" + "00000000" + "0000" + "0" * 12 + "0009" + "0" * 12 + "412c" + "0" * 12
    assert ask(unit, report_luns(alloc=16)) == whole[:16]
    assert ask(unit, report_luns(2)) == whole
    assert ask(unit, report_luns(1)) == bytes(8)


@pytest.mark.parametrize("cdb", [report_luns(alloc=15), report_luns(alloc=0), report_luns(3), report_luns(255)])
def test_PVS_V_134_what_is_not_asked_rightly(cdb: bytes) -> None:
    """REPORT LUNS: an allocation below 16 and a select above 2 are invalid fields."""
    assert send(disk(), cdb, room=64).code == s.INVALID_FIELD_IN_CDB


def test_PVS_V_134_a_changed_list_is_told_until_it_is_read() -> None:
    """REPORT LUNS clears 06/3F/0E."""
    target = Target({0: disk(), 1: disk()})
    target.add(2, disk())

    assert send(target.units[0], TUR).code == s.LUNS_CHANGED
    ask(target.units[1], report_luns())
    assert [send(unit, TUR).code for unit in target.units.values()] == [Status.GOOD] * 3


@pytest.mark.parametrize("lun", [0, 1, 255, 256, 16383])
def test_luns_are_read_as_they_are_written(lun: int) -> None:
    assert lun_number(lun_bytes(lun)) == lun


def test_PVS_V_135_what_is_reported_is_what_there_is(unit: LogicalUnit) -> None:
    """REPORT SUPPORTED OPCODES lists every command there is, and no other answers with anything but 05/20/00."""
    data = ask(unit, opcodes(0), 1 << 16)
    rows = list(iter_unpack(">BxHxBH", data[4:]))
    listed = {opcode for opcode, *_ in rows}

    assert unpack_from(">I", data)[0] == len(data) - 4
    assert len(rows) == len(list(unit.commands))
    for opcode in range(256):
        code = send(unit, bytes((opcode,)).ljust(16, b"\0"), room=512).code
        assert (code == s.INVALID_OPCODE) == (opcode not in listed)
        soothe(unit)


def test_PVS_V_135_each_one_by_one(unit: LogicalUnit) -> None:
    """Each command reported is supported when asked for alone, with usage data as long as its CDB."""
    data = ask(unit, opcodes(0), 1 << 16)
    for opcode, action, flags, size in iter_unpack(">BxHxBH", data[4:]):
        acted = bool(flags & 1)
        found = ask(unit, opcodes(2 if acted else 1, opcode, action))
        assert found == ask(unit, opcodes(3, opcode, action))
        assert unpack_from(">BBH", found) == (0, 3, size)
        assert len(found) == 4 + size
        assert found[4] == opcode
        assert not acted or found[5] & 0x1F == action
        wrong = send(unit, opcodes(1 if acted else 2, opcode, action), room=64)
        assert (wrong.code, wrong.sense[15:18].hex()) == (s.INVALID_FIELD_IN_CDB, "ca0002")


def test_PVS_V_135_what_there_is_not(unit: LogicalUnit) -> None:
    """REPORT SUPPORTED OPCODES of an unknown command: not supported, whichever way it is asked."""
    for cdb in (opcodes(1, 0xC0), opcodes(2, 0xC0, 1), opcodes(3, 0xC0), opcodes(2, 0xA3, 1), opcodes(3, 0x12, 1)):
        assert ask(unit, cdb) == bytes((0, 1, 0, 0))
    assert send(unit, opcodes(4), room=64).code == s.INVALID_FIELD_IN_CDB


def test_PVS_V_135_timeouts(unit: LogicalUnit) -> None:
    """REPORT SUPPORTED OPCODES with RCTD adds a timeouts descriptor to every row."""
    plain, timed = ask(unit, opcodes(0), 1 << 16), ask(unit, opcodes(0, timeouts=True), 1 << 16)
    rows = len(list(unit.commands))

    assert len(timed) - len(plain) == 12 * rows
    assert [timed[4 + 20 * i + 5] & 2 for i in range(rows)] == [2] * rows
    one = ask(unit, opcodes(1, 0x12, timeouts=True))
    assert (one[1], one[10:]) == (0x83, bytes.fromhex("000a") + bytes(10))


def test_PVS_V_136_unknown_opcodes(unit: LogicalUnit) -> None:
    """An unknown opcode is 05/20/00, of a known one with an unknown service action 05/24/00."""
    assert send(unit, b"\xc1" + bytes(15)).code == s.INVALID_OPCODE
    assert send(unit, b"\xa3\x1f" + bytes(10)).code == s.INVALID_FIELD_IN_CDB


def test_PVS_V_136_bits_nobody_looks_at_are_tolerated(unit: LogicalUnit) -> None:
    """Bits outside of a command's usage data change nothing."""
    for command in unit.commands:
        plain = bytearray(len(command.usage))
        plain[0] = command.opcode
        if command.action is not None:
            plain[1] = command.action
        noisy = bytes(
            value | ~used & 0xFF if i else value
            for i, (value, used) in enumerate(zip(plain, command.usage, strict=True))
        )
        codes = [send(unit, bytes(cdb), room=64).code for cdb in (plain, noisy)]
        assert codes[0] == codes[1], command.name


def test_diagnostics() -> None:
    unit = disk()

    assert [send(unit, cdb).code for cdb in ("1d 04 00 0000 00", "1d 00 00 0000 00")] == [Status.GOOD] * 2
    assert ask(unit, "1c 01 00 00ff 00").hex() == "0000000100"
    for cdb in ("1d 24 00 0000 00", "1d 10 00 0004 00", "1c 01 40 00ff 00"):
        assert send(unit, cdb, bytes(8)).code == s.INVALID_FIELD_IN_CDB
