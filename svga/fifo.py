"""The FIFO: commands in shared memory, taken as far as the driver has written them, published one by one as done.

What is trusted is private: MIN, MAX and STOP are the device's own from CONFIG_DONE on; NEXT_CMD is read once a drain
and checked; the commands are copied before anybody looks at them.
Ref: VMware's svga_interface.txt; Linux vmwgfx_cmd.c (BUSY by compare-exchange, reserve and commit).
"""

from collections.abc import Callable
from typing import ClassVar

from pvdev.mem import fence
from svga.stream import Refused, Stream
from svga.wire import COMMAND_MAX, FIFO_RING_MIN, Fifo

Note = Callable[[str, str, int], None]
WINDOW = 64 << 10  # bytes copied at once; a longer command is copied whole
SPENT_MAX = 64 << 20  # bytes moved by commands before others get their turn
PATIENCE_NS = 1_000_000_000  # how long a command may be there in part, or memory be reserved
BELLS_MAX = 100  # a second, while BUSY says that none is needed


class Ring:
    """The ring in `view`, FIFO memory, while CONFIG_DONE is 1. `words`: how many register words it leaves room for."""

    STATE: ClassVar[tuple[str, ...]] = (
        *("running", "_min", "_max", "_stop", "words"),
        *("_lost", "_partial", "_seen", "_held"),
    )

    def __init__(self, view: memoryview, stream: Stream, note: Note, *, registers: int) -> None:
        """`registers`: how many register words the device knows."""
        self._view, self._stream, self._note, self._registers = view, stream, note, registers
        self.words_view = view.cast("I")
        self.running = False
        self.reset()

    def reset(self) -> None:
        self.running = False
        self._min = self._max = self._stop = 0
        self.words = 0
        self._lost = False  # a command without a length: nobody knows where to go on
        self._partial: tuple[int, int] | None = None  # STOP and NEXT_CMD of an incomplete command
        self._waiting_since: int | None = None
        self._told = False
        self._seen = 0  # NEXT_CMD as it was last
        self._held = False  # BUSY was left 1: no bell is needed
        self._bells, self._since = 0, 0  # needless ones, since when

    # -- start and stop ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """CONFIG_DONE was set: take the ring as it is described, if it can be one."""
        words = self.words_view
        low, high, next_, stop = (words[n] for n in (Fifo.MIN, Fifo.MAX, Fifo.NEXT_CMD, Fifo.STOP))
        self.reset()
        bad = next((value for value in (low, high, next_, stop) if value % 4), None)
        if bad is None and not 16 <= low < high <= len(self._view):
            bad = low if low < 16 else high
        if bad is None and high - low < FIFO_RING_MIN:
            bad = high - low
        if bad is None:
            bad = next((value for value in (next_, stop) if not low <= value < high), None)
        if bad is not None:
            self._note("SVG-D-010", "CONFIG_DONE", bad)
            return
        self._min, self._max, self._stop, self._seen = low, high, stop, next_
        self.words = min(low // 4, self._registers)
        self.running = True

    def stop(self, place: str) -> None:
        """CONFIG_DONE or ENABLE was cleared: the ring ends at a command's border."""
        if self.running and self.words_view[Fifo.NEXT_CMD] != self._stop:
            self._note("SVG-D-026", place, self.words_view[Fifo.NEXT_CMD])
        self.running = False

    # -- work ----------------------------------------------------------------------------------------------------------

    def _next(self) -> int:
        """Where the driver's commands end; STOP when that is nowhere in the ring."""
        words = self.words_view
        if words[Fifo.MIN] != self._min or words[Fifo.MAX] != self._max:
            self._note("SVG-D-009", "MIN and MAX", words[Fifo.MIN])
        if words[Fifo.STOP] != self._stop:
            self._note("SVG-D-016", "STOP", words[Fifo.STOP])
            words[Fifo.STOP] = self._stop
        next_ = words[Fifo.NEXT_CMD]
        if next_ % 4 or not self._min <= next_ < self._max:
            self._note("SVG-D-013", "NEXT_CMD", next_)
            return self._stop
        if next_ != self._seen:
            size = self._max - self._min
            if (next_ - self._stop) % size < (self._seen - self._stop) % size:
                self._note("SVG-D-017", "NEXT_CMD", next_)
            self._seen = next_
        return next_

    def bell(self) -> None:
        """SYNC was written."""
        if self.running and self.words > Fifo.BUSY:
            if self._held and self.words_view[Fifo.BUSY]:
                self._bells += 1
            self._held = bool(self.words_view[Fifo.BUSY])

    def uncommitted(self, place: str) -> None:
        """Somebody waits for commands: they are to be committed."""
        if self.running and self.words > Fifo.RESERVED and self.words_view[Fifo.RESERVED]:
            self._note("SVG-D-019", place, self.words_view[Fifo.RESERVED])

    @property
    def waiting(self) -> bool:
        """Whether there is a command that could be carried out."""
        if not self.running or self._lost:
            return False
        next_ = self._next()
        return next_ != self._stop and self._partial != (self._stop, next_)

    def _copy(self, next_: int, limit: int) -> tuple[memoryview, int]:
        """Up to `limit` bytes from STOP to `next_`, in one piece; and how many there are."""
        stop, view = self._stop, self._view
        if stop <= next_:
            return memoryview(bytes(view[stop : min(next_, stop + limit)])), next_ - stop
        there = self._max - stop + next_ - self._min
        head = bytes(view[stop : min(self._max, stop + limit)])
        left = max(limit - len(head), 0)
        return memoryview(head + bytes(view[self._min : min(next_, self._min + left)])), there

    def drain(self, budget: int) -> int:
        """Carry out up to about `budget` commands; how many were. `waiting` tells whether more could be."""
        done = 0
        while self.waiting:
            done += self._carry_out(budget - done)
            if self.waiting or not self._quiet():
                break
        else:
            self._quiet()
        return done

    def _carry_out(self, budget: int) -> int:
        stream, words, limit, done = self._stream, self.words_view, WINDOW, 0
        until = stream.spent + SPENT_MAX
        while done < budget and stream.spent < until:
            next_ = self._next()
            if next_ == self._stop:
                break
            data, there = self._copy(next_, limit)
            at, size, before = 0, len(data), done
            while at < size and done < budget and stream.spent < until:
                try:
                    length = stream.step(data, at)
                except Refused as fault:
                    self._note(fault.rule, fault.what, fault.value)
                    length = fault.length
                    if not length:
                        self._lost = True
                        return done
                if not length:
                    break
                at += length
                done += 1
                self._stop += length
                if self._stop >= self._max:
                    self._stop += self._min - self._max
                words[Fifo.STOP] = self._stop
                if not self.running:  # the command was the last: it changed the device's state
                    return done
            if done > before:
                limit = WINDOW
            elif size < there and limit < COMMAND_MAX:
                limit = 2 * COMMAND_MAX
            else:
                self._partial = self._stop, next_
                break
        return done

    def _quiet(self) -> bool:
        """Nothing is left: say so where drivers look before they ring. True: one wrote meanwhile, and did not ring."""
        words = self.words_view
        if not self.running or self.words <= Fifo.BUSY or not words[Fifo.BUSY]:
            return False
        words[Fifo.BUSY] = 0
        self._held = False
        fence()
        return self.waiting

    def judge(self, now_ns: int) -> None:
        """Note what has stood still for too long, and bells nobody needs."""
        if now_ns - self._since >= PATIENCE_NS:
            if self._bells > BELLS_MAX:
                self._note("SVG-D-018", "SYNC", self._bells)
            self._bells, self._since = 0, now_ns
        stuck = self.running and (
            self._lost
            or (self._partial is not None and self._partial == (self._stop, self.words_view[Fifo.NEXT_CMD]))
            or (self.words > Fifo.RESERVED and self.words_view[Fifo.RESERVED] != 0)
        )
        if not stuck:
            self._waiting_since, self._told = None, False
        elif self._waiting_since is None:
            self._waiting_since = now_ns
        elif now_ns - self._waiting_since > PATIENCE_NS and not self._told and not self._lost:
            self._told = True
            reserved = self.words > Fifo.RESERVED and self.words_view[Fifo.RESERVED]
            self._note("SVG-D-020" if reserved else "SVG-D-014", "FIFO", reserved or self._stop)
