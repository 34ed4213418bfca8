from pvscsi.scsi import sense as s
from pvscsi.scsi.attention import Attentions


def met(*nexuses: int) -> Attentions:
    """Nexuses that were told of the power-on."""
    made = Attentions()
    for nexus in nexuses:
        made.meet(nexus)
        assert made.take(nexus) == s.POWER_ON
    return made


def drain(attentions: Attentions, nexus: int = 0) -> list[s.Sense]:
    found = []
    while (sense := attentions.take(nexus)) is not None:
        found.append(sense)
    return found


def test_each_nexus_is_told_of_power_on_once() -> None:
    attentions = Attentions()

    for nexus in (0, 0, 1):
        attentions.meet(nexus)

    assert (drain(attentions, 0), drain(attentions, 1)) == ([s.POWER_ON], [s.POWER_ON])
    attentions.meet(0)
    assert drain(attentions, 0) == []


def test_power_on_covers_what_happens_before_it_is_told() -> None:
    attentions = Attentions()
    attentions.meet(0)

    for sense in (s.CAPACITY_CHANGED, s.BUS_RESET, s.MEDIUM_CHANGED):
        attentions.add(sense)

    assert drain(attentions) == [s.POWER_ON]


def test_a_reset_covers_what_was_pending() -> None:
    attentions = met(0)
    attentions.add(s.CAPACITY_CHANGED)

    attentions.add(s.DEVICE_RESET)

    assert drain(attentions) == [s.DEVICE_RESET]


def test_of_resets_the_weightiest_is_told() -> None:
    attentions = met(0)

    for sense in (s.NEXUS_LOSS, s.BUS_RESET, s.DEVICE_RESET):
        attentions.add(sense)

    assert drain(attentions) == [s.BUS_RESET]


def test_other_attentions_queue_behind_each_other_each_once() -> None:
    attentions = met(0)

    for sense in (s.MEDIUM_CHANGED, s.CAPACITY_CHANGED, s.MEDIUM_CHANGED):
        attentions.add(sense)

    assert drain(attentions) == [s.MEDIUM_CHANGED, s.CAPACITY_CHANGED]


def test_who_did_it_is_not_told() -> None:
    attentions = met(0, 1)

    attentions.add(s.MODE_CHANGED, but=0)

    assert (drain(attentions, 0), drain(attentions, 1)) == ([], [s.MODE_CHANGED])
    assert attentions.known() == [0, 1]


def test_quiet_are_those_with_nothing_to_be_told() -> None:
    attentions = met(0, 1)

    attentions.tell(1, s.LUNS_CHANGED)

    assert attentions.quiet() == [0]
    attentions.discard(1, s.LUNS_CHANGED)
    attentions.discard(2, s.LUNS_CHANGED)
    assert attentions.quiet() == [0, 1]


def test_an_unknown_nexus_is_told_nothing() -> None:
    attentions = met(0)

    attentions.tell(7, s.MODE_CHANGED)

    assert attentions.take(7) is None
