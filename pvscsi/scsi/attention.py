"""Unit attentions: what each initiator is still to be told, in order of precedence.

An initiator seen for the first time is told of the power-on, which covers whatever happened before. A reset covers what
was pending, and of resets only the weightiest is told: SeaBIOS loses a disk that has two to tell.
"""

from pvscsi.scsi.sense import BUS_RESET, DEVICE_RESET, NEXUS_LOSS, POWER_ON, Sense

_WEIGHT = {POWER_ON: 4, BUS_RESET: 3, DEVICE_RESET: 2, NEXUS_LOSS: 1}


class Attentions:
    """By nexus, oldest first. Every nexus that ever sent a command is known."""

    def __init__(self) -> None:
        self._pending: dict[int, list[Sense]] = {}

    def meet(self, nexus: int) -> None:
        """A command of this nexus has come."""
        if nexus not in self._pending:
            self._pending[nexus] = [POWER_ON]

    def known(self) -> list[int]:
        """Every nexus met."""
        return list(self._pending)

    def quiet(self) -> list[int]:
        """Every nexus met that has nothing to be told."""
        return [nexus for nexus, pending in self._pending.items() if not pending]

    def add(self, sense: Sense, *, but: int | None = None) -> None:
        """Something happened that every nexus is to be told of, except `but`, which did it."""
        for nexus in self._pending:
            if nexus != but:
                self.tell(nexus, sense)

    def tell(self, nexus: int, sense: Sense) -> None:
        """The same for one nexus that was met."""
        pending = self._pending.get(nexus)
        if pending is None or pending == [POWER_ON] or sense in pending:
            return
        weight = _WEIGHT.get(sense, 0)
        if not weight:
            pending.append(sense)
        elif not pending or weight >= _WEIGHT.get(pending[0], 0):
            pending[:] = [sense]

    def take(self, nexus: int) -> Sense | None:
        """The next to be told, which is told by this."""
        pending = self._pending.get(nexus)
        return pending.pop(0) if pending else None

    def discard(self, nexus: int, sense: Sense) -> None:
        """This nexus has found out by itself."""
        pending = self._pending.get(nexus, [])
        if sense in pending:
            pending.remove(sense)
