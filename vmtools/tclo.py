"""TCLO: what a host asks of a program in its guest. The program polls; a command lies ready until it does.

A poll sends the last command's result, or nothing, and then asks what there is. One command is out at a time, and its
result is the next thing the program sends. The first command on a new channel is `reset`; the program answers with its
name, and only then may anything else follow.

Ref: open-vm-tools lib/rpcIn/rpcin.c, services/vmtoolsd/mainLoop.c, lib/rpcChannel/rpcChannel.c.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pvdev.trace import Sink

PATIENCE_NS = 60_000_000_000  # for a command's result
QUEUE_MAX = 64
SHOWN = 200
RESET = b"reset"
APPLICATIONS = frozenset(
    {"toolbox", "toolbox-dnd", "toolbox-ui", "tools-upgrader", "tools-sso", "tools-hgfs", "vdiagent"}
)

Note = Callable[[str, str, int], None]


@dataclass(frozen=True)
class Result:
    """`ok`: the program did it. `text`: what it says beyond OK or ERROR; why not, when it never answered."""

    ok: bool
    text: bytes = b""
    answered: bool = True


Then = Callable[[Result, int], None]


@dataclass(eq=False)
class Asked:
    """A command on its way: `then(result, now_ns)` is called once, whatever happens. `until_ns`: the patience."""

    text: bytes
    then: Then | None
    until_ns: int

    def end(self, result: Result, now_ns: int) -> None:
        then, self.then = self.then, None
        if then is not None:
            then(result, now_ns)


class Tclo:
    """The host's end of one TCLO channel. `name`: the program's, once it said so; `on_name` hears of each answer to a
    reset and says whether the program may stay.

    `polled_ns`: when it last asked; `polls`: how often.
    """

    def __init__(
        self,
        channel: int,
        note: Note,
        on_name: Callable[["Tclo", str, int], bool],
        on_close: Callable[["Tclo", int], None],
        now_ns: int,
        *,
        requeue: bool = True,
        trace: Sink | None = None,
    ) -> None:
        self.channel, self.name, self.welcome = channel, "", False
        self.polls, self.polled_ns, self.strays = 0, now_ns, 0
        self.trace = trace
        self._note, self._on_name, self._on_close, self._requeue = note, on_name, on_close, requeue
        self._queue: deque[Asked] = deque()
        self._offered: Asked | None = None  # being received
        self._out: Asked | None = None  # delivered; its result is owed
        self._closed = False
        self._fresh = True  # nothing was sent yet
        self.reset(now_ns)

    @property
    def busy(self) -> bool:
        """Whether a command waits, or its result."""
        return self._out is not None or bool(self._queue)

    def ask(self, text: bytes, now_ns: int, then: Then | None = None, patience_ns: int = PATIENCE_NS) -> None:
        """Have the program carry out `text`. A queue that is full refuses at once."""
        asked = Asked(text, then, now_ns + patience_ns)
        if len(self._queue) >= QUEUE_MAX:
            asked.end(Result(False, b"too many commands wait", answered=False), now_ns)
        else:
            self._queue.append(asked)

    def reset(self, now_ns: int) -> None:
        """Ask for the program's name again, before all that waits; its capabilities follow as at the start."""
        self.welcome = False
        if self._queue and self._queue[0].text == RESET:
            return
        self._queue.appendleft(Asked(RESET, self._named, now_ns + PATIENCE_NS))

    def tick(self, now_ns: int) -> int | None:
        """Give up what took too long; when to come again (ns), or None."""
        out = self._out
        if out is not None and out.then is not None and out.until_ns <= now_ns:
            out.end(Result(False, b"no answer in time", answered=False), now_ns)  # a late one is then dropped
        late = [asked for asked in self._queue if asked.until_ns <= now_ns and asked.text != RESET]
        for asked in late:
            self._queue.remove(asked)
            asked.end(Result(False, b"not fetched in time", answered=False), now_ns)
        times = [asked.until_ns for asked in self._queue if asked.text != RESET]
        if self._out is not None and self._out.then is not None:
            times.append(self._out.until_ns)
        return min(times, default=None)

    # -- the channel's end ---------------------------------------------------------------------------------------------

    def sent(self, data: bytes, now_ns: int) -> None:
        gap, first = now_ns - self.polled_ns, self._fresh
        if gap > 1_000_000_000 and not first and self._out is None:
            self._note("VMT-D-027", self.name or "TCLO", gap // 1_000_000)
        self.polls, self.polled_ns, self._fresh = self.polls + 1, now_ns, False
        out, self._out = self._out, None
        if out is None:
            if data:
                self.strays += 1
                self._note("VMT-D-023" if first else "VMT-D-024", self.name or "TCLO", len(data))
            return
        text = data[:-1] if data.endswith(b"\0") else data
        if self.trace is not None:
            self.trace("tclo.result", to=out.text[:SHOWN], text=data[:SHOWN])
        if not data:
            self._note("VMT-D-024", self.name or "TCLO", 0)
            out.end(Result(False, b"no result", answered=False), now_ns)
        elif text.startswith(b"OK ") or text == b"OK":
            out.end(Result(True, text[3:]), now_ns)
        else:
            if not text.startswith(b"ERROR ") and text != b"ERROR":
                self._note("VMT-D-024", self.name or "TCLO", len(data))
            out.end(Result(False, text.removeprefix(b"ERROR ")), now_ns)

    def waiting(self, now_ns: int) -> bytes | None:
        if self._out is not None or not self._queue:
            return None
        if not self.welcome and self._queue[0].text != RESET:
            return None
        self._offered = self._queue[0]
        return self._offered.text

    def taken(self, now_ns: int) -> None:
        out, self._offered = self._offered, None
        assert out is not None
        if out in self._queue:  # not given up meanwhile
            self._queue.remove(out)
        self._out = out
        if self.trace is not None:
            self.trace("tclo.command", text=out.text[:SHOWN], to=self.name)

    def dropped(self, now_ns: int) -> None:
        offered, self._offered = self._offered, None
        if not self._requeue and offered is not None and offered in self._queue:
            self._queue.remove(offered)
            offered.end(Result(False, b"given up while it was received", answered=False), now_ns)

    def closed(self, now_ns: int) -> None:
        self._closed = True
        gone = Result(False, b"the channel was closed", answered=False)
        if self._out is not None:
            self._out.end(gone, now_ns)
        waiting, self._queue, self._out = list(self._queue), deque(), None
        for asked in waiting:
            if asked.text != RESET:
                asked.end(gone, now_ns)
        self._on_close(self, now_ns)

    def _named(self, result: Result, now_ns: int) -> None:
        word, _, name = result.text.partition(b" ")
        text = name.rstrip(b"\0 ").decode("ascii", "replace")
        if not result.ok or word != b"ATR" or text not in APPLICATIONS:
            self._note("VMT-D-025", "reset", len(result.text))
            if not result.ok or word != b"ATR":
                if not self._closed:
                    self.reset(now_ns)
                return
        self.name = text
        self.welcome = self._on_name(self, text, now_ns)
