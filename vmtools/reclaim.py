"""How much memory each guest may keep: a schedule for one balloon, a budget shared by several.

As a host with more guests than memory does it: nobody gets less than is reserved for it or more than it has, and the
rest is shared by weight, with what one does not use left to the others.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vmtools.balloon import Balloon
from vmtools.wire import PAGE


class Schedule:
    """Targets over time. `steps`: (ns from the start, part of the guest's memory, 0 to 1)."""

    def __init__(self, balloon: Balloon, steps: Iterable[tuple[int, float]], start_ns: int = 0) -> None:
        self._balloon = balloon
        self._steps = sorted((start_ns + at_ns, part) for at_ns, part in steps)
        if any(not 0 <= part <= 1 for _, part in self._steps):
            raise ValueError("a part of the memory is 0 to 1")

    def tick(self, now_ns: int) -> int | None:
        """Set what is due; when the next is (ns), or None."""
        while self._steps and self._steps[0][0] <= now_ns:
            self._balloon.set_fraction(self._steps.pop(0)[1])
        return self._steps[0][0] if self._steps else None


@dataclass(eq=False)
class Guest:
    """One guest of a budget. `reserved`: bytes it keeps in any case; `shares`: its weight.

    `wants()`: bytes it could use at the moment, where that is known: what it does not want, others may have.
    """

    name: str
    balloon: Balloon
    shares: int = 1000
    reserved: int = 0
    wants: Callable[[], int | None] = lambda: None
    allowed: int = 0  # bytes, after `Budget.balance`

    @property
    def memory(self) -> int:
        """Bytes it would have with an empty balloon."""
        return self.balloon.pages * PAGE


@dataclass(frozen=True)
class Row:
    """A guest in the report; bytes."""

    name: str
    memory: int
    allowed: int
    held: int  # by the host, in the balloon
    owed: int  # the balloon is to hold that much more (negative: less)


class Budget:
    """`total`: bytes of the host's memory for all guests together."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.guests: list[Guest] = []

    def add(self, guest: Guest) -> None:
        """Raises `ValueError` when what is reserved does not fit any more, or for shares below 1."""
        reserved = sum(g.reserved for g in self.guests) + guest.reserved
        if guest.shares < 1 or not 0 <= guest.reserved <= guest.memory or reserved > self.total:
            raise ValueError(f"guest {guest.name!r}: {guest.shares} shares, {reserved} of {self.total} bytes reserved")
        self.guests.append(guest)

    def remove(self, guest: Guest) -> None:
        self.guests.remove(guest)

    def balance(self) -> None:
        """Work out what each may keep and set the balloons' targets.

        First all get what is reserved; then the rest goes by shares up to what they want; what is left then, up to
        what they have.
        """
        for guest in self.guests:
            guest.allowed = guest.reserved
        wanted = {}
        for guest in self.guests:
            want = guest.wants()
            wanted[guest] = guest.memory if want is None else min(max(want, guest.reserved), guest.memory)
        self._pour(lambda guest: wanted[guest])
        self._pour(lambda guest: guest.memory)
        for guest in self.guests:
            guest.balloon.set_target((guest.memory - guest.allowed) // PAGE)

    def _pour(self, ceiling: Callable[[Guest], int]) -> None:
        """Share what is left by weight; whoever is full leaves its part to the others."""
        left = self.total - sum(guest.allowed for guest in self.guests)
        while left >= PAGE and (thirsty := [g for g in self.guests if ceiling(g) - g.allowed >= PAGE]):
            weight, poured = sum(guest.shares for guest in thirsty), 0
            for guest in thirsty:
                part = left * guest.shares // weight // PAGE * PAGE
                part = min(part or PAGE, ceiling(guest) - guest.allowed, left - poured)
                guest.allowed += part
                poured += part
            if not poured:
                return
            left -= poured

    def report(self) -> list[Row]:
        """Where each stands: what was asked of it, and what it has given."""
        rows = []
        for guest in self.guests:
            held, target = guest.balloon.current * PAGE, guest.balloon.target * PAGE
            rows.append(Row(guest.name, guest.memory, guest.allowed, held, target - held))
        return rows
