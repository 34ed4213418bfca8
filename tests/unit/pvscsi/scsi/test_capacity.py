from struct import unpack

import pytest

from pvscsi.scsi.sense import INVALID_FIELD_IN_CDB, NO_MEDIUM, NOT_READY, Sense
from tests.unit.pvscsi.scsi.rig import BLOCK, BLOCKS, Bytes, ask, disk, send

TEN = "25 00 00000000 0000 00 00"


def sixteen(alloc: int = 32) -> bytes:
    return bytes.fromhex("9e 10 0000000000000000") + alloc.to_bytes(4, "big") + bytes(2)


@pytest.mark.parametrize(
    ("blocks", "ten"), [(1, 0), (BLOCKS, BLOCKS - 1), (1 << 32, 0xFFFF_FFFF), ((1 << 32) + 9, 0xFFFF_FFFF)]
)
def test_PVS_V_118_both_capacities_agree(blocks: int, ten: int) -> None:
    """READ CAPACITY(10) and (16) agree; (10) says FFFFFFFF when the last LBA does not fit."""
    unit = disk(Bytes(blocks * BLOCK))

    assert unpack(">II", ask(unit, TEN)) == (ten, BLOCK)
    assert unpack(">QI", ask(unit, sixteen())[:12]) == (blocks - 1, BLOCK)


def test_PVS_V_118_short_allocations_clip() -> None:
    """READ CAPACITY(16) clips to any allocation length."""
    unit = disk()
    whole = ask(unit, sixteen())

    assert len(whole) == 32
    assert [ask(unit, sixteen(alloc)) for alloc in range(32)] == [whole[:alloc] for alloc in range(32)]


def test_the_rest_of_a_block_does_not_count() -> None:
    assert disk(Bytes(3 * BLOCK + 511)).blocks == 3


@pytest.mark.parametrize(("block", "physical", "exponent"), [(512, 512, 0), (512, 4096, 3), (4096, 4096, 0)])
def test_block_sizes(block: int, physical: int, exponent: int) -> None:
    unit = disk(Bytes(1 << 20), block=block, physical=physical)
    data = ask(unit, sixteen())

    assert unpack(">QIBB", data[:14]) == ((1 << 20) // block - 1, block, 0, exponent)


@pytest.mark.parametrize(("removable", "sense"), [(True, NO_MEDIUM), (False, NOT_READY)])
def test_a_disk_of_no_blocks_is_not_ready(removable: bool, sense: Sense) -> None:
    unit = disk(Bytes(511), removable=removable)

    assert [send(unit, cdb, room=32).code for cdb in (TEN, sixteen(), "00" * 6)] == [sense] * 3


@pytest.mark.parametrize("cdb", ["25 00 00000001 0000 00 00", "9e 10 0000000000000001 00000020 00 00"])
def test_an_lba_is_only_for_pmi(cdb: str) -> None:
    assert send(disk(), cdb, room=32).code == INVALID_FIELD_IN_CDB


def test_there_are_no_defects() -> None:
    assert ask(disk(), "37 00 1d 00000000 00ff 00") == bytes.fromhex("001d0000")
    assert ask(disk(), "b7 1d 00000000 000000ff 00 00") == bytes.fromhex("001d000000000000")


def test_format_takes_no_list_and_changes_nothing() -> None:
    backend = Bytes()
    backend.data[:4] = b"data"
    unit = disk(backend)

    assert send(unit, "04 00 00 0000 00").code == 0
    assert send(unit, "04 10 00 0000 00", bytes(4)).code == INVALID_FIELD_IN_CDB
    assert backend.data[:4] == b"data"
