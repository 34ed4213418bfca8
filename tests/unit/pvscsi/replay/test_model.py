"""The model of a disk's content, against a dictionary."""

from random import Random

import pytest

from pvscsi.replay.model import UNKNOWN, ZEROS, Model, content, describe
from pvscsi.traces.trace import SECTOR


def test_every_sector_of_every_write_is_another_one() -> None:
    data = content(5, 3, 7) + content(5, 1, 8)
    sectors = {data[at : at + SECTOR] for at in range(0, len(data), SECTOR)}

    assert len(data) == 4 * SECTOR
    assert len(sectors) == 4


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (content(9, 1, 3), "write 3 of sector 9"),
        (bytes(SECTOR), "zeros"),
        (b"any" + bytes(SECTOR - 3), "nothing any write put there"),
        (content(9, 1, 3)[:-1] + b"\1", "nothing any write put there"),
    ],
)
def test_content_in_words(data: bytes, words: str) -> None:
    assert describe(data) == words


@pytest.mark.parametrize("fresh", [ZEROS, UNKNOWN])
def test_it_knows_what_a_dictionary_knows(fresh: int) -> None:
    random, model, plain = Random(fresh & 0xFF), Model(fresh), dict[int, int]()
    for serial in range(1, 400):
        sector, count = random.randrange(1000), random.choice((1, 8, 130, 300))
        value = random.choice((serial, serial, ZEROS, UNKNOWN))
        model.set(sector, count, value)
        plain.update(dict.fromkeys(range(sector, sector + count), value))

        at, size = random.randrange(1000), random.choice((1, 8, 300))
        assert list(model.serials(at, size)) == [plain.get(n, fresh) for n in range(at, at + size)]


@pytest.mark.parametrize("fresh", [ZEROS, UNKNOWN])
def test_what_is_as_at_first_costs_nothing(fresh: int) -> None:
    model = Model(fresh)
    model.set(100, 1000, 7)
    model.set(0, 1 << 40, fresh)

    assert model._chunks == {}


def test_of_a_vast_range_of_zeros_on_an_unknown_disk_nothing_is_claimed() -> None:
    model = Model(UNKNOWN)
    model.set(0, 8, 1)
    model.set(0, 1 << 40, ZEROS)

    assert list(model.serials(0, 2)) == [UNKNOWN, UNKNOWN]
    assert model._chunks == {}


def test_a_read_is_compared_sector_by_sector() -> None:
    model = Model(UNKNOWN)
    model.set(10, 4, 1)
    model.set(12, 1, 2)
    model.set(14, 1, ZEROS)
    good = content(10, 2, 1) + content(12, 1, 2) + content(13, 1, 1) + bytes(SECTOR) + b"any" + bytes(SECTOR - 3)
    stale = content(10, 4, 1) + bytes(SECTOR - 1) + b"\1" + bytes(SECTOR)

    assert model.compare(10, good) == (5, [])
    assert model.compare(10, stale) == (5, [(12, content(12, 1, 2)), (14, bytes(SECTOR))])
    assert model.compare(10, content(10, 2, 1)) == (2, [])
    assert model.compare(10, content(10, 2, 3))[1] == [(10, content(10, 1, 1)), (11, content(11, 1, 1))]


def test_zeros_are_compared_as_well() -> None:
    model = Model(ZEROS)

    assert model.compare(0, bytes(2 * SECTOR)) == (2, [])
    assert model.compare(0, bytes(SECTOR) + content(1, 1, 1)) == (2, [(1, bytes(SECTOR))])
