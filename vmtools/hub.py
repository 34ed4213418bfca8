"""Which program of the guest listens on which TCLO channel, and what it is told when it comes.

Ref: open-vm-tools services/vmtoolsd/toolsRpc.c; lib/rpcChannel/rpcChannel.c (a channel that fails is tried again for a
minute).
"""

from collections.abc import Callable

from pvdev.trace import Sink
from vmtools.tclo import PATIENCE_NS, Result, Tclo, Then

ALIVE_NS = 1_000_000_000  # a program that has polled within this time keeps its name
LOOPS_MAX = 16
MAIN = "toolbox"  # the service; `toolbox-dnd` is a user's session

Note = Callable[[str, str, int], None]


class Hub:
    """`welcome` callbacks hear (name, now_ns) of each program that has said who it is, `farewell` of each that went.

    `shut(end, now_ns)` closes the channel an end belongs to.
    """

    def __init__(self, note: Note, shut: Callable[[Tclo, int], None], *, requeue: bool = True) -> None:
        self.ends: dict[int, Tclo] = {}  # channel number -> its end
        self.names: dict[str, Tclo] = {}  # the program that goes by this name
        self.welcome: list[Callable[[str, int], None]] = []
        self.farewell: list[Callable[[str, int], None]] = []
        self.trace: Sink | None = None
        self._note, self._shut, self._requeue = note, shut, requeue
        self._condemned: list[Tclo] = []
        self._loops: set[str] = set()  # names said before a reset is answered

    def open(self, channel: int, now_ns: int) -> Tclo:
        """The end of a channel that was just opened."""
        end = Tclo(channel, self._note, self._named, self._gone, now_ns, requeue=self._requeue, trace=self.trace)
        self.ends[channel] = end
        return end

    def ask(
        self,
        text: str | bytes,
        now_ns: int,
        then: Then | None = None,
        *,
        to: str = MAIN,
        patience_ns: int = PATIENCE_NS,
    ) -> bool:
        """Have program `to` carry `text` out. False, and `then` hears of it: there is no such program."""
        end = self.names.get(to)
        if end is None:
            if then is not None:
                then(Result(False, b"no such program runs", answered=False), now_ns)
            return False
        end.ask(text.encode() if isinstance(text, str) else text, now_ns, then, patience_ns)
        return True

    def announced(self, name: str) -> None:
        """A program says which loop it runs: its name, which it also answers a reset with."""
        if name not in self.names and all(end.welcome for end in self.ends.values()):
            self._note("VMT-D-026", "unified_loop", len(name))
        elif len(self._loops) < LOOPS_MAX:
            self._loops.add(name)

    def reset(self, now_ns: int) -> None:
        """Every program is asked who it is again, as after a resume."""
        for end in self.ends.values():
            end.reset(now_ns)

    def tick(self, now_ns: int) -> int | None:
        condemned, self._condemned = self._condemned, []
        for end in condemned:
            self._shut(end, now_ns)
        times = [end.tick(now_ns) for end in list(self.ends.values())]
        return min((time for time in times if time is not None), default=None)

    def _named(self, end: Tclo, name: str, now_ns: int) -> bool:
        """A program says who it is. One that has the name and lives keeps it; a silent one has to go."""
        if self._loops and name not in self._loops and name not in self.names:
            self._note("VMT-D-026", "ATR", end.channel)
        self._loops.clear()
        other = self.names.get(name)
        if other is not None and other is not end:
            if now_ns - other.polled_ns <= ALIVE_NS:
                self._note("VMT-D-025", name, end.channel)
                self._condemned.append(end)
                return False
            self._shut(other, now_ns)
        self._leave(end, now_ns, but=name)
        self.names[name] = end
        if self.trace is not None:
            self.trace("tclo.program", name=name, channel=end.channel)
        for hear in self.welcome:
            hear(name, now_ns)
        return True

    def _gone(self, end: Tclo, now_ns: int) -> None:
        if self.ends.get(end.channel) is end:
            del self.ends[end.channel]
        self._leave(end, now_ns)

    def _leave(self, end: Tclo, now_ns: int, but: str = "") -> None:
        """A program goes by none of its names any more, except for `but`."""
        for name in [name for name, other in self.names.items() if other is end and name != but]:
            del self.names[name]
            if self.trace is not None:
                self.trace("tclo.gone", name=name, channel=end.channel)
            for hear in self.farewell:
                hear(name, now_ns)
