"""Rules and their violations: which rule, how bad, where, with what value, how often.

A rule is declared once, beside the device it belongs to, in our own words with its source; `docs/RULES.md` is
printed from these tables. A violation is recorded, never raised: the device goes on as hardware would.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar


class Severity(Enum):
    ADVICE = "advice"  # works on every known device, is still unwise
    VIOLATION = "violation"  # recorded; the device carries on safely
    FATAL = "fatal"  # the device refuses the command, or stops the queue


@dataclass(frozen=True)
class Rule:
    """One numbered rule. `source`: where it comes from; `known` names shipping drivers that break it."""

    number: str
    severity: Severity
    text: str
    source: str
    known: str = ""


class RuleBook:
    """The rules of one device, by number. Raises `ValueError` for a number declared twice."""

    def __init__(self, *tables: Iterable[Rule]) -> None:
        self._rules: dict[str, Rule] = {}
        for table in tables:
            for rule in table:
                if rule.number in self._rules:
                    raise ValueError(f"rule {rule.number} is declared twice")
                self._rules[rule.number] = rule

    def __getitem__(self, number: str) -> Rule:
        return self._rules[number]

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules.values())

    def __len__(self) -> int:
        return len(self._rules)

    def __contains__(self, number: object) -> bool:
        return number in self._rules


@dataclass
class Violation:
    """All the times one rule was broken at one place: the first and the last value seen, and the count.

    `known`: why this driver, as it is known, may break it; "" when it may not.
    """

    rule: Rule
    place: str
    first: int
    last: int
    count: int = 0
    known: str = ""

    def __str__(self) -> str:
        times = f", {self.count} times" if self.count > 1 else ""
        rule, known = self.rule, f"; known: {self.known}" if self.known else ""
        return f"{rule.number} [{rule.severity.value}] {self.place}: {rule.text} (got {self.last:#x}{times}{known})"


PLACES_MAX = 64  # places kept apart per rule: a hostile guest must not grow the log


@dataclass
class RuleLog:
    """Collects the violations of one device. `listener` hears of each the first time it is seen at a place.

    `known`: rule number -> why the driver at hand is known to break it.
    """

    STATE: ClassVar[tuple[str, ...]] = ("_seen", "_places")

    book: RuleBook
    listener: Callable[[Violation], None] | None = None
    known: Mapping[str, str] = field(default_factory=dict)
    _seen: dict[tuple[str, str], Violation] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)

    def note(self, number: str, place: str, value: int = 0) -> None:
        """Record that rule `number` was broken at `place` with `value`."""
        seen = self._seen.get((number, place))
        if seen is None:
            places = self._places.get(number, 0)
            if places >= PLACES_MAX:
                place = "elsewhere"
                seen = self._seen.get((number, place))
            if seen is None:
                self._places[number] = places + 1
                seen = Violation(self.book[number], place, value, value, 1, self.known.get(number, ""))
                self._seen[number, place] = seen
                if self.listener is not None:
                    self.listener(seen)
                return
        seen.last = value
        seen.count += 1

    def __iter__(self) -> Iterator[Violation]:
        return iter(tuple(self._seen.values()))  # another thread may note something meanwhile

    def __bool__(self) -> bool:
        return bool(self._seen)

    def count(self, number: str | None = None) -> int:
        """How often rule `number` (None: any rule) was broken."""
        return sum(v.count for v in self._seen.values() if number in (None, v.rule.number))

    def unknown(self) -> list[Violation]:
        """The violations nobody expects of the driver at hand: what fails a strict run."""
        return [violation for violation in self if not violation.known]

    def numbers(self) -> set[str]:
        """The numbers of the rules broken so far."""
        return {v.rule.number for v in self._seen.values()}

    def clear(self) -> None:
        self._seen.clear()
        self._places.clear()


MEMORY_RULES = (
    Rule(
        "MEM-01",
        Severity.VIOLATION,
        "every address handed to the device lies in memory that is mapped for it",
        "PCI DMA",
    ),
    Rule("MEM-02", Severity.VIOLATION, "the device is not asked to write memory that is mapped read-only", "PCI DMA"),
    Rule(
        "MEM-03",
        Severity.ADVICE,
        "what the driver filled in does not read as all zeros: guest memory is shared with the device",
        "a private memory backend hands over a descriptor and no data",
    ),
)
