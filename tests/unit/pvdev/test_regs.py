"""Register blocks: handlers, storage, widths, undeclared offsets."""

import pytest

from pvdev.regs import Reg, RegBlock
from pvdev.rules import Rule, RuleBook, RuleLog, Severity

ODD = "X-1"
TABLE = (
    Reg(0x00, "ID", "ro", reset=0x1234_5678),
    Reg(0x08, "SCRATCH", reset=7),
    Reg(0x10, "BELL", "wo", reset=9),
    Reg(0x18, "CMD"),
    Reg(0x100, "MASK", reset=1, count=4),
    Reg(0x200, "PROD", count=2, stride=16),
)


class Owner:
    """A device with handlers for CMD and PROD."""

    def __init__(self) -> None:
        self.log: list[tuple[str, ...] | tuple[str, int] | tuple[str, int, int]] = []

    def _read_CMD(self) -> int:
        self.log.append(("read CMD",))
        return 0x1_0000_0042

    def _write_CMD(self, value: int) -> None:
        self.log.append(("write CMD", value))

    def _read_PROD(self, index: int) -> int:
        return 100 + index

    def _write_PROD(self, index: int, value: int) -> None:
        self.log.append(("write PROD", index, value))

    def _write_BELL(self, value: int) -> None:
        self.log.append(("write BELL", value))

    def _write_ID(self, value: int) -> None:
        raise AssertionError("ID is read-only")


@pytest.fixture
def log() -> RuleLog:
    return RuleLog(RuleBook([Rule(ODD, Severity.VIOLATION, "accesses are aligned 4 bytes", "")]))


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def block(owner: Owner, log: RuleLog) -> RegBlock:
    return RegBlock("BAR9", TABLE, (owner,), log.note, ODD)


def seen(log: RuleLog) -> list[tuple[str, int, int]]:
    return [(violation.place, violation.last, violation.count) for violation in log]


def test_a_register_without_a_handler_is_storage(block: RegBlock, log: RuleLog) -> None:
    start = block.read(0x08, 4)
    block.write(0x08, 4, 0xFFFF_FFFF)

    assert (start, block.read(0x08, 4)) == (7, 0xFFFF_FFFF)
    assert block.values["SCRATCH"] == [0xFFFF_FFFF]
    assert not log


def test_handlers_are_called_and_answers_cut_to_32_bits(block: RegBlock, owner: Owner) -> None:
    block.write(0x18, 4, 5)

    assert block.read(0x18, 4) == 0x42
    assert owner.log == [("write CMD", 5), ("read CMD",)]


def test_array_handlers_get_the_index(block: RegBlock, owner: Owner) -> None:
    block.write(0x210, 4, 6)

    assert (block.read(0x200, 4), block.read(0x210, 4)) == (100, 101)
    assert owner.log == [("write PROD", 1, 6)]


def test_arrays_without_handlers_are_storage_each(block: RegBlock) -> None:
    block.write(0x110, 4, 0)

    assert [block.read(0x100 + 8 * n, 4) for n in range(4)] == [1, 1, 0, 1]
    assert block.values["MASK"] == [1, 1, 0, 1]


def test_read_only_ignores_writes(block: RegBlock, log: RuleLog) -> None:
    block.write(0x00, 4, 0)

    assert block.read(0x00, 4) == 0x1234_5678
    assert not log


def test_write_only_reads_zero(block: RegBlock, owner: Owner, log: RuleLog) -> None:
    block.write(0x10, 4, 3)

    assert block.read(0x10, 4) == 0
    assert owner.log == [("write BELL", 3)]
    assert not log


def test_the_unused_half_of_a_slot_reads_zero_and_drops_writes(block: RegBlock, owner: Owner, log: RuleLog) -> None:
    block.write(0x1C, 4, 1)

    assert block.read(0x1C, 4) == 0
    assert owner.log == []
    assert not log


@pytest.mark.parametrize(
    ("offset", "size"), [(0x18, 1), (0x18, 2), (0x19, 1), (0x1A, 2), (0x1A, 4), (0x20, 4), (0x120, 4), (0xFF8, 4)]
)
def test_what_is_no_register_access_is_noted_and_does_nothing(
    block: RegBlock, owner: Owner, log: RuleLog, offset: int, size: int
) -> None:
    value = block.read(offset, size)
    block.write(offset, size, (1 << 8 * size) - 1)

    assert value == 0
    assert owner.log == []
    assert seen(log) == [(f"BAR9 read of {size}", offset, 1), (f"BAR9 write of {size}", offset, 1)]


def test_eight_bytes_are_two_accesses_of_four(block: RegBlock, owner: Owner, log: RuleLog) -> None:
    block.write(0x18, 8, 0xAAAA_BBBB_0000_0005)

    assert block.read(0x00, 8) == 0x1234_5678
    assert owner.log == [("write CMD", 5)]
    assert seen(log) == [("BAR9 write of 8 bytes", 0x18, 1), ("BAR9 read of 8 bytes", 0x00, 1)]


def test_eight_bytes_at_an_odd_place_are_none(block: RegBlock, owner: Owner, log: RuleLog) -> None:
    block.write(0x16, 8, 1 << 16)

    assert owner.log == []
    assert seen(log) == [("BAR9 write of 8", 0x16, 1)]


def test_reset_restores_storage(block: RegBlock) -> None:
    block.write(0x08, 4, 99)
    block.write(0x118, 4, 99)

    block.reset()

    assert block.values["SCRATCH"] == [7]
    assert block.values["MASK"] == [1, 1, 1, 1]
    assert (block.read(0x08, 4), block.read(0x118, 4)) == (7, 1)


STRAY = "X-2"


def test_a_second_rule_takes_what_finds_no_register(owner: Owner) -> None:
    book = RuleBook([Rule(ODD, Severity.VIOLATION, "width", ""), Rule(STRAY, Severity.ADVICE, "place", "")])
    log = RuleLog(book)
    block = RegBlock("BAR9", TABLE, (owner,), log.note, ODD, STRAY)

    values = [block.read(0x20, 4), block.read(0x10, 4), block.read(0x20, 2), block.read(0x22, 4), block.read(0x08, 4)]
    block.write(0x20, 4, 1)
    block.write(0x10, 4, 3)
    block.write(0x10, 2, 3)

    assert values == [0, 0, 0, 0, 7]
    assert [(violation.rule.number, violation.place, violation.first) for violation in log] == [
        (STRAY, "BAR9 read of 4", 0x20),
        (STRAY, "BAR9 read of a register that is only written", 0x10),
        (ODD, "BAR9 read of 2", 0x20),
        (ODD, "BAR9 read of 4", 0x22),
        (STRAY, "BAR9 write of 4", 0x20),
        (ODD, "BAR9 write of 2", 0x10),
    ]
    assert owner.log == [("write BELL", 3)]
