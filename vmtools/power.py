"""Power operations: what the guest's service is asked to do, and what its scripts say.

Ref: open-vm-tools services/plugins/powerOps/powerOps.c; lib/guestRpc, tools.os.statechange.status.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pvdev.trace import Sink
from vmtools.hub import Hub
from vmtools.rpci import Rpci, done, refused
from vmtools.tclo import Result

PATIENCE_NS = 300_000_000_000  # for a script
COMMANDS = {  # what we call it -> command, number
    "shutdown": ("OS_Halt", 1),
    "reboot": ("OS_Reboot", 2),
    "power-on": ("OS_PowerOn", 3),
    "resume": ("OS_Resume", 4),
    "suspend": ("OS_Suspend", 5),
}


@dataclass(frozen=True)
class Outcome:
    """What became of a request. `ok`: its script succeeded, and the guest goes on with it."""

    operation: str
    ok: bool
    why: str = ""


Then = Callable[[Outcome, int], None]


@dataclass(eq=False)
class _Request:
    operation: str
    number: int
    until_ns: int
    then: Then | None


class Power:
    """One operation at a time. `outcomes`: the last hundred.

    `machine(operation, now_ns)` is how the machine itself is moved: "suspend" after the guest is ready for it, "off"
    and "reset" when they are forced. A guest that was asked to shut down or reboot does the rest by itself.
    """

    def __init__(self, hub: Hub, note: Callable[[str, str, int], None]) -> None:
        self.machine: Callable[[str, int], None] = lambda operation, now_ns: None
        self.outcomes: deque[Outcome] = deque(maxlen=100)
        self.trace: Sink | None = None
        self._hub, self._note = hub, note
        self._now: _Request | None = None

    def offer(self, rpci: Rpci) -> None:
        rpci.on("tools.os.statechange.status", self._status)

    @property
    def pending(self) -> str | None:
        """The operation under way."""
        return self._now.operation if self._now is not None else None

    def request(self, operation: str, now_ns: int, then: Then | None = None, *, patience_ns: int = PATIENCE_NS) -> bool:
        """Ask the guest: "shutdown", "reboot", "suspend", "resume", "power-on". `then(outcome, now_ns)` hears how it
        went. False, and nothing is asked: another is under way, or there is no service. Raises `ValueError`."""
        if operation not in COMMANDS:
            raise ValueError(f"operation {operation!r}: one of {', '.join(COMMANDS)}")
        if self._now is not None:
            return False
        command, number = COMMANDS[operation]
        request = self._now = _Request(operation, number, now_ns + patience_ns, then)
        if self.trace is not None:
            self.trace("power.request", operation=operation)

        def answered(result: Result, when_ns: int) -> None:
            if self._now is request and not result.ok:
                self._end(False, result.text.decode("utf-8", "replace") or "refused", when_ns)

        return self._hub.ask(command, now_ns, answered, patience_ns=patience_ns)

    def force(self, operation: str, now_ns: int) -> None:
        """Without asking the guest: "off" or "reset"."""
        if operation not in ("off", "reset"):
            raise ValueError(f"operation {operation!r}: off or reset")
        if self.trace is not None:
            self.trace("power.force", operation=operation)
        self.machine(operation, now_ns)

    def tick(self, now_ns: int) -> int | None:
        if self._now is None:
            return None
        if self._now.until_ns <= now_ns:
            self._end(False, "no result in time", now_ns)
            return None
        return self._now.until_ns

    def forget(self, now_ns: int) -> None:
        """The machine was reset."""
        if self._now is not None:
            self._end(False, "the machine was reset", now_ns)

    def _status(self, rest: bytes, now_ns: int) -> bytes:
        """`tools.os.statechange.status OK NUMBER`."""
        words = rest.split()
        if len(words) != 2 or words[0] not in (b"0", b"1") or not words[1].isdigit() or len(words[1]) > 3:
            self._note("VMT-D-033", "status", len(rest))
            return refused("Invalid arguments")
        ok, number = words[0] == b"1", int(words[1])
        if self._now is None or self._now.number != number:
            self._note("VMT-D-033", "status", number)
            return done()
        self._end(ok, "" if ok else "its script failed", now_ns)
        return done()

    def _end(self, ok: bool, why: str, now_ns: int) -> None:
        request, self._now = self._now, None
        assert request is not None
        outcome = Outcome(request.operation, ok, why)
        self.outcomes.append(outcome)
        if self.trace is not None:
            self.trace("power.outcome", operation=request.operation, ok=int(ok), why=why)
        if ok and request.operation == "suspend":
            self.machine("suspend", now_ns)
        if request.then is not None:
            request.then(outcome, now_ns)
