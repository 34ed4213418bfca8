"""Where a device does not do what its conformance suite asks of it, and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Kind = Literal["gap", "harmless", "choice"]
KINDS: dict[Kind, str] = {
    "gap": "a duty that drivers rely on, or may",
    "harmless": "not as written, but no driver we know of notices",
    "choice": "the public sources leave it open; the suite asks for what our model decided",
}


@dataclass(frozen=True)
class Difference:
    """Failing cases of one rule, by patterns (`fnmatch`) of their names without the target's."""

    rule: str
    cases: tuple[str, ...]
    kind: Kind
    reason: str

    def covers(self, rule: str, case: str) -> bool:
        return rule == self.rule and any(fnmatchcase(case, pattern) for pattern in self.cases)


def explain(table: Iterable[Difference], rule: str, case: str) -> Difference | None:
    """The first entry that covers a failing case."""
    return next((found for found in table if found.covers(rule, case)), None)
