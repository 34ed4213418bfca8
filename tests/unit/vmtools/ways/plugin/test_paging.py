"""A guest's page tables, looked through as its processor would."""

import pytest

from pvdev.mem import GuestMemory
from vmtools.ways.plugin.paging import Tables

PRESENT, WRITE, USER, DIRTY, LARGE = 1, 2, 4, 64, 128
ALL = PRESENT | WRITE | USER | DIRTY
VIRTUAL = 0x7F12_3456_7000
NX = 1 << 63


class Guest:
    """Memory with one chain of tables at 0x1000, 0x2000 ...; `entries` are the flags on the way to `page`."""

    def __init__(self, entries: tuple[int, ...] = (ALL,) * 4, *, virtual: int = VIRTUAL, page: int = 0x8000) -> None:
        self.image = bytearray(1 << 20)
        self.memory = GuestMemory()
        self.memory.map(0, memoryview(self.image))
        levels = len(entries)
        for n, flags in enumerate(entries):
            index = virtual >> 12 + 9 * (levels - 1 - n) & 511
            last = n == levels - 1 or flags & LARGE
            self.put(0x1000 * (n + 1) + 8 * index, (page if last else 0x1000 * (n + 2)) | flags)
        self.tables = Tables(1 << 31 | 1, 0x1000, 1 << 5 | (1 << 12 if levels == 5 else 0), 1 << 10)

    def put(self, at: int, value: int) -> None:
        self.image[at : at + 8] = value.to_bytes(8, "little")

    def find(self, address: int = VIRTUAL + 0x123, *, write: bool = False, user: bool = True) -> int | None:
        return self.tables.translate(self.memory, address, write=write, user=user)


@pytest.mark.parametrize("levels", [4, 5])
def test_a_page_is_found(levels: int) -> None:
    guest = Guest((ALL | NX,) * levels)
    assert guest.find() == 0x8123
    assert guest.find(write=True) == 0x8123


def test_large_pages_are_found() -> None:
    two = Guest((ALL, ALL, ALL | LARGE, 0), page=0x4000_0000)
    assert two.find() == 0x4000_0000 | (VIRTUAL + 0x123) & 0x1F_FFFF
    one = Guest((ALL, ALL | LARGE, 0, 0), page=0x8000_0000)
    assert one.find() == 0x8000_0000 | (VIRTUAL + 0x123) & 0x3FFF_FFFF


@pytest.mark.parametrize("level", range(4))
def test_every_level_must_permit(level: int) -> None:
    def without(flag: int) -> Guest:
        return Guest(tuple(ALL & ~flag if n == level else ALL for n in range(4)))

    assert without(PRESENT).find() is None
    assert without(USER).find() is None
    assert without(USER).find(user=False) == 0x8123
    assert without(WRITE).find(write=True) is None
    assert without(WRITE).find() == 0x8123


def test_a_page_not_marked_as_changed_is_not_written_to() -> None:
    guest = Guest((ALL, ALL, ALL, ALL & ~DIRTY))
    assert guest.find() == 0x8123
    assert guest.find(write=True) is None


@pytest.mark.parametrize("address", [1 << 47, 1 << 63, (1 << 64) - (1 << 48), 1 << 64, (1 << 70) + 0x1000])
def test_addresses_no_processor_takes(address: int) -> None:
    assert Guest().find(address) is None


def test_tables_outside_memory_and_other_modes_lead_nowhere() -> None:
    guest = Guest()
    guest.put(0x1000 + 8 * (VIRTUAL >> 39 & 511), 0xF_FFFF_F000 | ALL)
    assert guest.find() is None
    assert Tables(0, 0x1000, 0x20, 0x400).translate(guest.memory, 0, write=False, user=False) is None
    assert Tables(1 << 31, 0x1000, 0, 0).translate(guest.memory, 0, write=False, user=False) is None


def test_pieces_cross_pages_or_are_none() -> None:
    guest = Guest()
    second = VIRTUAL + 0x1000
    guest.put(0x4000 + 8 * (second >> 12 & 511), 0x3_0000 | ALL)

    def pieces(address: int, count: int) -> object:
        return guest.tables.pieces(guest.memory, address, count, write=True, user=True)

    assert pieces(VIRTUAL + 0xFF0, 0x30) == [(0x8FF0, 0x10), (0x3_0000, 0x20)]
    assert pieces(VIRTUAL, 0x2001) is None
    assert pieces(VIRTUAL, 0) == []
