"""The heartbeat: every poll of the guest's service is one. A program that hangs does not poll.

Ref: open-vm-tools lib/rpcIn/rpcin.c (a send of nothing says that the program exists), services/vmtoolsd/threadPool.c.
The colours are vSphere's; the ages are this model's, as its own are not public.
"""

from collections.abc import Callable
from enum import Enum

from pvdev.trace import Sink
from vmtools.hub import MAIN, Hub
from vmtools.rpci import Rpci, done, refused
from vmtools.tclo import Then

GREEN_NS, RED_NS = 1_000_000_000, 10_000_000_000


class Pulse(Enum):
    GRAY = "gray"  # no service has registered
    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    FROZEN = "frozen"  # its file systems are, for a snapshot: no news is expected


class Heartbeat:
    """`green_ns`: up to which age of the last poll all is well; `red_ns`: beyond which the guest is lost.

    `on_change(pulse, now_ns)` hears of each change, as it is found out by `tick` or `state`. `frozen` is asked whether
    a snapshot is being taken.
    """

    def __init__(self, hub: Hub, frozen: Callable[[], bool], *, green_ns: int = GREEN_NS, red_ns: int = RED_NS) -> None:
        if not 0 < green_ns < red_ns:
            raise ValueError(f"green up to {green_ns} ns, red beyond {red_ns} ns: the first must be the smaller")
        self.green_ns, self.red_ns = green_ns, red_ns
        self.on_change: list[Callable[[Pulse, int], None]] = []
        self.health = ""  # what the guest's own watchdog says: normal, hung, guest_slow
        self.trace: Sink | None = None
        self._hub, self._frozen = hub, frozen
        self._last = Pulse.GRAY
        self._deaf: tuple[int, int] | None = None  # (from, until), and what was heard before counts

    def offer(self, rpci: Rpci) -> None:
        rpci.on("update.tools.health", self._health)

    @property
    def beats(self) -> int:
        """Polls of the service that is registered."""
        end = self._hub.names.get(MAIN)
        return end.polls if end is not None else 0

    def age_ns(self, now_ns: int) -> int | None:
        """Since the last beat, or None when there is no service."""
        end = self._hub.names.get(MAIN)
        if end is None:
            return None
        heard = end.polled_ns
        if self._deaf is not None:
            since, until = self._deaf
            if now_ns < until:
                heard = min(heard, since)
        return max(now_ns - heard, 0)

    def state(self, now_ns: int) -> Pulse:
        """How the guest does."""
        age = self.age_ns(now_ns)
        if age is None:
            pulse = Pulse.GRAY
        elif age <= self.green_ns:
            pulse = Pulse.GREEN
        elif self._frozen():
            pulse = Pulse.FROZEN
        else:
            pulse = Pulse.YELLOW if age <= self.red_ns else Pulse.RED
        if pulse is not self._last:
            self._last = pulse
            if self.trace is not None:
                self.trace("heartbeat", state=pulse.value)
            for hear in self.on_change:
                hear(pulse, now_ns)
        return pulse

    def tick(self, now_ns: int) -> int | None:
        """Find out; when it may look different without any call (ns), or None."""
        pulse, age = self.state(now_ns), self.age_ns(now_ns)
        times = []
        if self._deaf is not None:
            if now_ns < self._deaf[1]:
                times.append(self._deaf[1])
            else:
                self._deaf = None
        if age is not None:
            if pulse is Pulse.GREEN:
                times.append(now_ns - age + self.green_ns + 1)
            elif pulse is Pulse.YELLOW:
                times.append(now_ns - age + self.red_ns + 1)
        return min(times, default=None)

    def drop(self, for_ns: int, now_ns: int) -> None:
        """Take no notice of the guest's beats for so long: what a network of hosts does when it is cut."""
        self._deaf = (now_ns, now_ns + for_ns)

    def ping(self, now_ns: int, then: Then | None = None) -> bool:
        """Have the service answer a command that does nothing. False: there is none to ask."""
        return self._hub.ask("ping", now_ns, then)

    def _health(self, rest: bytes, now_ns: int) -> bytes:
        word = rest.decode("ascii", "replace")
        if word not in ("normal", "hung", "guest_slow"):
            return refused("Unknown state")
        self.health = word
        if self.trace is not None:
            self.trace("heartbeat.health", health=word)
        return done()
