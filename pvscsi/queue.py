"""The rings of an adapter that was set up: requests in, completions and messages out, and how far both sides are.

Exists from SETUP_RINGS to ADAPTER_RESET. Rules: PVS-D-014 to 020, PVS-V-050 to 060 (docs/RULES.md).
"""

from collections import deque
from collections.abc import Callable, Sequence

from pvdev.mem import GuestMemory, Window
from pvscsi.requests import Fields, unpack
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
from pvscsi.wire import COMPLETION, MESSAGE, MSG_DEV, REQUEST

Note = Callable[[str, str, int], None]
Event = tuple[int, int, int]  # type, target, LUN


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
        self._beyond = False  # reqProdIdx is out of bounds
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
        self._own[MSG_PROD], self._own[MSG_LOG2] = 0, ring.entries.bit_length() - 1
        self.state[MSG_CONS] = 0
        for word in (MSG_PROD, MSG_LOG2):
            self.state[word] = self._own[word]

    # -- views of guest memory -----------------------------------------------------------------------------------------

    def windows(self) -> list[Window]:
        rings = [self.requests, self.completions] + ([self.messages] if self.messages is not None else [])
        return [self.state.window, *(window for ring in rings for window in ring.windows())]

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

    def fetch(self, limit: int) -> list[Fields]:
        """Up to `limit` requests, oldest first, as private tuples; never more out than the ring holds."""
        n = min(self.waiting(), limit, self.requests.entries - self.out)
        if n <= 0:
            return []
        cons = self._own[REQ_CONS]
        fields = list(unpack(self.requests.read(cons, n)))
        self._store(REQ_CONS, cons + n & MASK)
        self.out += n
        return fields

    def judge(self) -> None:
        """Look at the indices as a whole: what the driver may not have done to them."""
        state, own, note = self.state, self._own, self._note
        state.window.pull()
        words = state.words
        for word, value in own.items():
            if words[word] != value:
                note("PVS-D-020", f"state page offset {4 * word:#x}", words[word])
                state[word] = value
        used = own[CMP_PROD] - words[CMP_CONS] & MASK
        if used > self.completions.entries:
            note("PVS-D-019", "cmpConsIdx", words[CMP_CONS])
        elif words[REQ_PROD] - words[CMP_CONS] & MASK > self.requests.entries and not self._beyond:
            note("PVS-D-018", "reqProdIdx", words[REQ_PROD])

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
        """Publish completions as far as the ring has room, older ones first; how many were. The rest is kept."""
        if not completions and not self._held:
            return 0
        held = self._held
        held.extend(completions)
        prod = self._own[CMP_PROD]
        used = prod - self.state[CMP_CONS] & MASK
        n = min(len(held), self.completions.entries - used) if used <= self.completions.entries else 0
        if n <= 0:
            self._note("PVS-D-055", "completion ring", len(held))
            return 0
        self.completions.write(prod, b"".join([held.popleft() for _ in range(n)]))
        self._store(CMP_PROD, prod + n & MASK)
        self.out -= n
        return n

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
        prod = self._own[MSG_PROD]
        if prod - self.state[MSG_CONS] & MASK >= ring.entries:
            return False
        key, events = next(iter(self._events.items()))
        kind, target, lun = events.popleft()
        del self._events[key]
        if events:
            self._events[key] = events
        ring.write(prod, MSG_DEV.encode(type=kind, target=target, lun=bytes((0, lun, 0, 0, 0, 0, 0, 0))))
        self._store(MSG_PROD, prod + 1 & MASK)
        return True
