"""The oracle by hand: what it lets pass and what it does not."""

from tests.power.oracle import SECTOR, Ledger

A, B, C, OLD = (bytes((n,)) * SECTOR for n in (1, 2, 3, 0xEE))


def judged(ledger: Ledger, *contents: bytes) -> list[bool]:
    """Whether a disk of one sector may hold each of these."""
    return [ledger.judge(content) == [] for content in contents]


def test_what_is_not_durable_is_there_or_not() -> None:
    ledger = Ledger(OLD)
    ledger.end(ledger.begin("a", 0, A))
    ledger.begin("b", 0, B)

    assert judged(ledger, OLD, A, B, C) == [True, True, True, False]
    assert [ledger.undone(content) for content in (OLD, A, B)] == [1, 0, 0]


def test_a_durable_write_is_not_undone() -> None:
    ledger = Ledger(OLD)
    ledger.end(ledger.begin("a", 0, A))
    ledger.end(ledger.begin("b", 0, B), durable=True)
    ledger.begin("c", 0, C)

    assert judged(ledger, OLD, A, B, C) == [False, False, True, True]


def test_two_writes_at_once_end_either_way() -> None:
    ledger = Ledger(OLD)
    a, b = ledger.begin("a", 0, A), ledger.begin("b", 0, B)
    ledger.end(a, durable=True)
    ledger.end(b, durable=True)

    assert judged(ledger, OLD, A, B) == [False, True, True]


def test_a_flush_covers_what_was_answered_before_it_was_asked_for() -> None:
    ledger = Ledger(OLD * 3)
    ledger.end(ledger.begin("a", 0, A))
    late = ledger.begin("b", 1, B)
    asked = ledger.flush()
    ledger.end(late)
    ledger.end(ledger.begin("c", 2, C))
    before = ledger.judge(OLD * 3)
    ledger.flushed(asked)

    assert before == []
    assert ledger.judge(A + OLD * 2) == ledger.judge(A + B + C) == []
    assert ledger.judge(OLD * 3) == ["sector 0: holds what it held at first, but a was durable"]


def test_a_flush_promises_nothing_about_what_was_given_up() -> None:
    ledger = Ledger(OLD)
    ledger.end(ledger.begin("a", 0, A), kept=False)
    ledger.flushed(ledger.flush())

    assert judged(ledger, OLD, A) == [True, True]


def test_what_was_given_up_does_not_come_back() -> None:
    ledger = Ledger(OLD)
    ledger.end(ledger.begin("a", 0, A), kept=False)
    ledger.end(ledger.begin("b", 0, B), durable=True)

    assert judged(ledger, A, B) == [False, True]


def test_what_was_refused_is_not_there() -> None:
    ledger = Ledger(OLD)
    ledger.deny(ledger.begin("a", 0, A))

    assert judged(ledger, OLD, A) == [True, False]


def test_sectors_are_judged_each_for_itself_and_none_is_a_mixture() -> None:
    ledger = Ledger(OLD * 2)
    ledger.begin("a", 0, A * 2)

    assert ledger.judge(A + OLD) == ledger.judge(OLD + A) == []
    assert ledger.judge(A + A[:100] + OLD[100:]) == ["sector 1: holds what nobody wrote there, but nothing was durable"]
    assert ledger.judge(A + OLD[:100]) != []


def test_what_is_read_is_known_when_nothing_is_under_way() -> None:
    ledger = Ledger(OLD * 2)
    ledger.end(ledger.begin("a", 0, A))
    before = ledger.now(0, 2)
    ledger.begin("b", 1, B)

    assert (before, ledger.now(0, 2), ledger.now(0, 1)) == (A + OLD, None, A)
