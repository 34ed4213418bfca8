import pytest

from pvdev.rules import MEMORY_RULES, PLACES_MAX, Rule, RuleBook, RuleLog, Severity, Violation

ONE = Rule("T-1", Severity.VIOLATION, "frames are blue", "the sky")
TWO = Rule("T-2", Severity.ADVICE, "frames are round", "the earth", known="cubes")


@pytest.fixture
def log() -> RuleLog:
    return RuleLog(RuleBook([ONE], [TWO]))


def test_a_book_is_read_by_number() -> None:
    book = RuleBook([ONE], [TWO])

    assert book["T-2"] is TWO
    assert list(book) == [ONE, TWO]
    assert (len(book), "T-1" in book, "T-3" in book) == (2, True, False)


def test_a_number_stands_for_one_rule() -> None:
    with pytest.raises(ValueError, match="rule T-1 is declared twice"):
        RuleBook([ONE], [TWO, ONE])


def test_the_first_and_last_value_and_the_count(log: RuleLog) -> None:
    for value in (5, 6, 7):
        log.note("T-1", "here", value)

    assert list(log) == [Violation(ONE, "here", 5, 7, 3)]


def test_places_are_kept_apart(log: RuleLog) -> None:
    log.note("T-1", "here")
    log.note("T-1", "there", 9)
    log.note("T-2", "here")

    assert [(v.rule.number, v.place, v.last, v.count) for v in log] == [
        ("T-1", "here", 0, 1),
        ("T-1", "there", 9, 1),
        ("T-2", "here", 0, 1),
    ]
    assert (log.count(), log.count("T-1"), log.count("T-2"), log.count("T-3")) == (3, 2, 1, 0)
    assert log.numbers() == {"T-1", "T-2"}


def test_the_listener_hears_of_each_once(log: RuleLog) -> None:
    heard: list[str] = []
    log.listener = lambda violation: heard.append(str(violation))

    log.note("T-1", "here", 5)
    log.note("T-1", "here", 6)
    log.note("T-1", "there", 7)

    assert heard == [
        "T-1 [violation] here: frames are blue (got 0x5)",
        "T-1 [violation] there: frames are blue (got 0x7)",
    ]


def test_a_violation_as_one_line(log: RuleLog) -> None:
    log.note("T-2", "here", 1)
    log.note("T-2", "here", 255)

    assert [str(violation) for violation in log] == ["T-2 [advice] here: frames are round (got 0xff, 2 times)"]


def test_places_without_end_do_not_grow_the_log(log: RuleLog) -> None:
    for n in range(1000):
        log.note("T-1", f"place {n}", n)
    log.note("T-2", "here")

    places = [violation.place for violation in log if violation.rule is ONE]
    assert places == [*(f"place {n}" for n in range(PLACES_MAX)), "elsewhere"]
    assert log.count("T-1") == 1000
    assert log.count("T-2") == 1


def test_an_empty_log_is_false_and_clearing_empties(log: RuleLog) -> None:
    empty = bool(log)
    log.note("T-1", "here")
    full = bool(log)

    log.clear()

    assert (empty, full, bool(log), log.count()) == (False, True, False, 0)
    for n in range(PLACES_MAX):
        log.note("T-1", f"place {n}")
    assert "elsewhere" not in {violation.place for violation in log}


def test_an_unknown_number_is_our_mistake(log: RuleLog) -> None:
    with pytest.raises(KeyError):
        log.note("T-9", "here")


def test_memory_rules_are_numbered_through() -> None:
    assert [rule.number for rule in MEMORY_RULES] == ["MEM-01", "MEM-02", "MEM-03"]
