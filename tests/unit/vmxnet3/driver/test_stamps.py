"""Which packets get a time stamp, and what a slot looks like then."""

from itertools import count

import pytest

from pvdev.arena import Arena
from vmxnet3 import wire_args
from vmxnet3.driver.stamps import Stamps

SIZE, SLOT = 8, 64


@pytest.fixture
def stamps() -> Stamps:
    arena, clock = Arena(1 << 16, 0x1000), count((1 << 56) + 100)
    return Stamps(arena.alloc, SIZE, SLOT, lambda: next(clock))


def taken(stamps: Stamps) -> list[int]:
    return [index for index in range(SIZE) if stamps.read(index) is not None]


@pytest.mark.parametrize(("rate", "marked"), [(0, []), (1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4]), (4, [0, 4]), (9, [0])])
def test_one_of_so_many(stamps: Stamps, rate: int, marked: list[int]) -> None:
    stamps.rate[0] = rate

    stamps.sample(0, 2)
    stamps.sample(2, 4)

    assert taken(stamps) == marked


def test_a_slot_is_cleared_for_the_next_packet(stamps: Stamps) -> None:
    stamps.rate[0] = 1
    stamps.sample(6, 4)
    before = taken(stamps)
    stamps.rate[0] = 0
    stamps.sample(7, 2)

    assert (before, taken(stamps)) == ([0, 1, 6, 7], [1, 6])


def test_the_time_has_56_bits(stamps: Stamps) -> None:
    stamps.stamp(3)

    slot = stamps._words[3 * SLOT // 8 : 4 * SLOT // 8].tolist()
    assert wire_args.TS_DESC.mask["tsi"] | 100 == slot[0]
    assert (slot[1:], stamps.read(3)) == ([0] * 7, 100)


def test_a_stray_write_is_found(stamps: Stamps) -> None:
    stamps.rate[0] = 2
    stamps.sample(0, 6)
    before = stamps.intact()
    stamps._words[5] ^= 1

    assert (before, stamps.intact()) == (True, False)
