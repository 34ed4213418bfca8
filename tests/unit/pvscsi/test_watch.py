"""The parts of the close look: places that overlap, kicks that are owed."""

from random import Random

import pytest

from pvscsi.watch import KICK_WITHIN_NS, Kicks, Places

READ, INQUIRY = 0x28, 0x12


@pytest.mark.parametrize(
    ("address", "length", "found"),
    [(0, 100, False), (0, 101, True), (199, 1, True), (200, 50, False), (100, 100, True), (50, 300, True)],
)
def test_overlap(address: int, length: int, found: bool) -> None:
    places = Places()
    places.add(100, 100, 1)
    places.add(1000, 100, 2)

    assert places.overlap(address, length, 3) is found
    assert not places.overlap(address, length, 1)  # it is its own


def test_what_was_dropped_overlaps_nothing() -> None:
    random, places, all_of_them = Random(1), Places(), [(100 * n, 90, n) for n in range(200)]
    random.shuffle(all_of_them)
    for place in all_of_them:
        places.add(*place)
    for place in all_of_them[:100]:
        places.drop(*place)
        places.drop(*place)  # once more is nothing

    found = [places.overlap(address, length, -1) for address, length, _ in all_of_them]

    assert found == [False] * 100 + [True] * 100


class Log(list[tuple[str, int]]):
    def note(self, rule: str, place: str, value: int) -> None:
        self.append((rule, value))


@pytest.mark.parametrize(
    ("opcode", "silent", "rule"),
    [
        (READ, False, "PVS-D-023"),
        (INQUIRY, False, "PVS-D-023"),
        (INQUIRY, True, "PVS-D-024"),
        (READ, True, None),
    ],
)
def test_a_kick_that_never_comes(opcode: int, silent: bool, rule: str | None) -> None:
    log = Log()
    kicks = Kicks(log.note)
    kicks.found([opcode], 5, silent=silent, drained=True)

    for now in (4 + KICK_WITHIN_NS, 5 + KICK_WITHIN_NS, 5 + 2 * KICK_WITHIN_NS):
        kicks.judge(now)

    assert log == ([] if rule is None else [(rule, opcode if opcode == INQUIRY else 0)])


def test_one_kick_is_for_all_that_wait() -> None:
    log = Log()
    kicks = Kicks(log.note)
    kicks.kicked(loud=False)

    kicks.found([READ], 0, silent=False, drained=False)
    kicks.found([READ], 0, silent=False, drained=True)
    kicks.judge(KICK_WITHIN_NS)
    assert log == []
    kicks.found([READ], KICK_WITHIN_NS, silent=False, drained=True)
    kicks.judge(2 * KICK_WITHIN_NS)

    assert log == [("PVS-D-023", 0)]


@pytest.mark.parametrize("loud", [True, False])
def test_a_late_kick_pays_what_it_is_for(loud: bool) -> None:
    log = Log()
    kicks = Kicks(log.note)
    kicks.kicked(loud=False)
    kicks.found([INQUIRY], 0, silent=False, drained=True)

    kicks.kicked(loud=loud)
    kicks.judge(KICK_WITHIN_NS)

    assert log == ([] if loud else [("PVS-D-025", INQUIRY)])
