"""The rings of an adapter that was set up: requests in, completions and messages out, and how far both sides are.

Exists from SETUP_RINGS to ADAPTER_RESET. Rules: PVS-D-014 to 020 and 055, PVS-V-050 to 060 (docs/RULES.md).
"""

from collections import deque
from collections.abc import Callable, Sequence

from pvdev.mem import GuestMemory, Window
from pvscsi.rings import (
    CMP_CONS,
    CMP_LOG2,
    CMP_PROD,
    MASK,
    MSG_CONS,
    MSG_LOG2,
    MSG_PROD,
    REQ_CONS,
    REQ_LOG2,
    REQ_PROD,
    THRESHOLD,
    PagedRing,
    StatePage,
)
from pvscsi.wire import COMPLETION, MESSAGE, MSG_DEV, MSG_DEV_REMOVED, REQUEST

Note = Callable[[str, str, int], None]
Event = tuple[int, int, int]  # type, target, LUN
PATIENCE_NS = 5_000_000_000  # a driver takes completions within this time


class Queue:
    """Raises `DmaFault` while being built, before anything is stored, when a page is out of reach."""

    def __init__(
        self, mem: GuestMemory, note: Note, *, state: int, requests: Sequence[int], completions: Sequence[int]
    ) -> None:
        self._mem, self._note = mem, note
        self.requests = PagedRing(mem, requests, REQUEST.size, write=False)
        self.completions = PagedRing(mem, completions, COMPLETION.size, write=True)
        self.messages: PagedRing | None = None
        self.state = StatePage(mem, state)
        if any(self.state.window.view):
            note("PVS-D-014", "state page", state)
        self.stale = False  # memory was unmapped: all views are released
        self._own = dict.fromkeys((REQ_CONS, CMP_PROD, THRESHOLD, REQ_LOG2, CMP_LOG2), 0)
        self._own[REQ_LOG2] = self.requests.entries.bit_length() - 1
        self._own[CMP_LOG2] = self.completions.entries.bit_length() - 1
        self.out = 0  # requests fetched whose completions are not posted
        self._held: deque[bytes] = deque()  # completions the ring has no room for
        self._events: dict[tuple[int, int], deque[Event]] = {}  # messages the ring has no room for, by target and LUN
        self._gone: dict[int, int] = {}  # targets whose removal was told: the message's index
        self._beyond = False  # reqProdIdx is out of bounds
        self._prod = self._taken = 0  # reqProdIdx and cmpConsIdx as they were last seen
        self._late_ns: int | None = None  # since when no completion has been taken although some are there; -1: told
        for word in (REQ_PROD, CMP_CONS):
            self.state[word] = 0
        for word, value in self._own.items():
            self.state[word] = value

    def add_messages(self, ppns: Sequence[int]) -> None:
        """SETUP_MSG_RING. Raises `DmaFault`."""
        ring = PagedRing(self._mem, ppns, MESSAGE.size, write=True)
        if self.messages is not None:
            self.messages.release()
        self.messages = ring
        self._gone.clear()
        self._own[MSG_PROD], self._own[MSG_LOG2] = 0, ring.entries.bit_length() - 1
        self.state[MSG_CONS] = 0
        for word in (MSG_PROD, MSG_LOG2):
            self.state[word] = self._own[word]

    def preset(self, index: int) -> None:
        """Go on as if `index` of everything had passed: a wrap is near. The driver's side has to do the same."""
        self._own.update({REQ_CONS: index, CMP_PROD: index, MSG_PROD: index})
        self._prod = self._taken = index

    # -- views of guest memory -----------------------------------------------------------------------------------------

    def windows(self) -> list[Window]:
        rings = [self.requests, self.completions] + ([self.messages] if self.messages is not None else [])
        return [self.state.window, *(window for ring in rings for window in ring.windows())]

    def ppns(self) -> list[int]:
        """The pages of state and rings, but for messages."""
        return [self.state.ppn, *self.requests.ppns, *self.completions.ppns]

    def release(self) -> None:
        """Let go of guest memory; `bind` finds it again."""
        if not self.stale:
            self.stale = True
            for ring in (self.requests, self.completions, self.messages):
                if ring is not None:
                    ring.release()
            self.state.release()

    def bind(self) -> None:
        """After `release`. Raises `DmaFault`."""
        self.state.bind()
        for ring in (self.requests, self.completions, self.messages):
            if ring is not None:
                ring.bind()
        self.stale = False

    # -- requests ------------------------------------------------------------------------------------------------------

    def waiting(self) -> int:
        """How many requests the driver has published and nobody has fetched; 0 while its index is out of bounds."""
        n = self.state[REQ_PROD] - self._own[REQ_CONS] & MASK
        if n > self.requests.entries:
            if not self._beyond:
                self._note("PVS-D-017", "reqProdIdx", self.state[REQ_PROD])
            self._beyond = True
            return 0
        self._beyond = False
        return n

    def ahead(self) -> int:
        """How many requests the driver has published beyond the completions it has taken."""
        return min(self.state[REQ_PROD] - self.state[CMP_CONS] & MASK, self.requests.entries)

    def fetch(self, limit: int) -> bytes:
        """Up to `limit` requests, oldest first, as a private copy; never more out than the ring holds."""
        n = min(self.waiting(), limit, self.requests.entries - self.out)
        if n <= 0:
            return b""
        cons = self._own[REQ_CONS]
        raw = self.requests.read(cons, n)
        self._store(REQ_CONS, cons + n & MASK)
        self.out += n
        return raw

    def judge(self, now_ns: int) -> None:
        """Look at the indices as a whole: what the driver may not have done to them, and what it should have by now."""
        state, own, note = self.state, self._own, self._note
        state.window.pull()
        words = state.words
        for word, value in own.items():
            if words[word] != value:
                note("PVS-D-020", f"state page offset {4 * word:#x}", words[word])
                state[word] = value
        prod, taken = words[REQ_PROD], words[CMP_CONS]
        untaken = own[CMP_PROD] - taken & MASK
        if untaken > own[CMP_PROD] - self._taken & MASK:
            note("PVS-D-019", "cmpConsIdx", taken)
        elif prod - taken & MASK > self.requests.entries and not self._beyond:
            note("PVS-D-018", "reqProdIdx", prod)
        cons = own[REQ_CONS]
        if not self._beyond and prod - cons & MASK < self._prod - cons & MASK <= self.requests.entries:
            note("PVS-D-017", "reqProdIdx", prod)
        if not untaken or taken != self._taken:
            self._late_ns = now_ns if untaken else None
        elif self._late_ns is None:
            self._late_ns = now_ns
        elif self._late_ns >= 0 and now_ns - self._late_ns >= PATIENCE_NS:
            note("PVS-D-055", "cmpConsIdx", untaken)
            self._late_ns = -1
        self._prod = prod
        if untaken <= self.completions.entries:
            self._taken = taken

    def deadline(self) -> int | None:
        """When it is time for the driver to have taken completions, or None."""
        return None if self._late_ns is None or self._late_ns < 0 else self._late_ns + PATIENCE_NS

    def set_threshold(self, value: int) -> None:
        """reqCallThreshold: below so many requests in the ring the driver does not kick."""
        if self._own[THRESHOLD] != value:
            self._store(THRESHOLD, value)

    @property
    def threshold(self) -> int:
        return self._own[THRESHOLD]

    def _store(self, word: int, value: int) -> None:
        self._own[word] = value
        self.state[word] = value

    # -- completions ---------------------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """Completions that wait for the driver to take others."""
        return len(self._held)

    def post(self, completions: Sequence[bytes]) -> int:
        """Publish completions, one or more in each item, as far as the ring has room, older ones first; how many were.
        The rest is kept."""
        if not completions and not self._held:
            return 0
        held, size = self._held, COMPLETION.size
        prod, room = self._own[CMP_PROD], self.completions.entries
        used = prod - (taken := self.state[CMP_CONS]) & MASK
        data = b"".join(completions)
        if not held and len(data) <= (room - used) * size:
            return self._publish(data)
        held.extend([data[at : at + size] for at in range(0, len(data), size)])
        n = min(len(held), room - used)
        if n <= 0:
            if used > room:
                self._note("PVS-D-019", "cmpConsIdx", taken)
            elif completions:
                self._note("PVS-D-055", "completion ring", used)
            return 0
        return self._publish(b"".join([held.popleft() for _ in range(n)]))

    def _publish(self, data: bytes) -> int:
        """Completions for which there is room; how many."""
        prod, n = self._own[CMP_PROD], len(data) // COMPLETION.size
        self.completions.write(prod, data)
        self._store(CMP_PROD, prod + n & MASK)
        self.out -= n
        return n

    def untaken(self, context: int) -> bool:
        """Whether a completion with this context is posted, or about to be, and the driver has not taken it."""
        prod = self._own[CMP_PROD]
        count = min(prod - self.state[CMP_CONS] & MASK, self.completions.entries)
        posted = COMPLETION.struct.iter_unpack(self.completions.read(prod - count, count) + b"".join(self._held))
        return any(found[0] == context for found in posted)

    @property
    def messages_wait(self) -> bool:
        """Whether there is something to tell that the message ring had no room for."""
        return self.messages is not None and bool(self._events)

    # -- messages ------------------------------------------------------------------------------------------------------

    def tell(self, kind: int, target: int, lun: int) -> None:
        """A unit was added or removed: say so as soon as the message ring has room.

        What the driver never reads does not pile up: of each unit the last change is kept, and the one before it when
        that makes it come back.
        """
        kept = self._events.setdefault((target, lun), deque(maxlen=2))
        kept.append((kind, target, lun))

    def post_message(self) -> bool:
        """Publish one message that waits; True when there was one and it has gone."""
        ring = self.messages
        if ring is None or not self._events:
            return False
        prod, cons = self._own[MSG_PROD], self.state[MSG_CONS]
        if prod - cons & MASK >= ring.entries:
            if prod - cons & MASK > ring.entries:
                self._note("PVS-D-019", "msgConsIdx", cons)
            return False
        key, events = next(iter(self._events.items()))
        kind, target, lun = events.popleft()
        del self._events[key]
        if events:
            self._events[key] = events
        ring.write(prod, MSG_DEV.encode(type=kind, target=target, lun=bytes((0, lun, 0, 0, 0, 0, 0, 0))))
        self._store(MSG_PROD, prod + 1 & MASK)
        if kind == MSG_DEV_REMOVED:
            self._gone[target] = prod
        else:
            self._gone.pop(target, None)
        return True

    def known_gone(self, target: int) -> bool:
        """Whether the driver has read that this target was removed."""
        told = self._gone.get(target)
        return (
            told is not None and self._own[MSG_PROD] - self.state[MSG_CONS] & MASK < self._own[MSG_PROD] - told & MASK
        )
