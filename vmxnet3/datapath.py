"""Everything that exists only while a NIC is active: its queues, its views of guest memory, frames in flight.

Built by ACTIVATE, dropped by QUIESCE and RESET: no data path, nothing to run.
"""

from collections import deque
from collections.abc import Callable

from pvdev.irq import Moderator, Pace
from pvdev.mem import GuestMemory, fence
from pvdev.trace import Sink
from vmxnet3.activation import Config, Queues
from vmxnet3.backend import Frame, NetBackend, Tap
from vmxnet3.filters import RxFilter
from vmxnet3.offloads.lro import LONGEST, merge
from vmxnet3.offloads.rss import NOT_HASHED, Hashed, Rss
from vmxnet3.shape import Shape, Shaped, Signal
from vmxnet3.tables import Tables
from vmxnet3.tx import DISCARD, ERROR
from vmxnet3.versions import DEFAULT_FIELDS
from vmxnet3.wire import ETH_HEADER, VLAN_TAG, Cap, Event, Feature, RssField
from vmxnet3.wire_args import COALESCE_SCHEME, Coalesce

BELLS_OFF = 1 << 30  # txThreshold while the rings are polled: the driver never saves up as many frames
RETRY_NS = 20_000, 1_000_000  # between two looks for room in a full port or for buffers in an empty ring: from, up to
RELOOK_NS = 50_000, 1_000_000  # after arming the bells: a store and a load may have crossed; look again this much later
ADAPTIVE = 8  # moderation level: as the device thinks best
LEVEL_NS = 50_000  # an interrupt waits for company this long per level from 1 to 7
RX_BELLS = 2  # writes of RXPROD a queue may see although nobody asked: drivers announce their first buffers

Waiting = tuple[list[bytes], list[Hashed] | None]


class Datapath:
    """The running half of one NIC.

    `signal(vector)` and `event(bits)` are the device's: interrupts leave through them. `config` and `queues` were
    checked. `pace`: how long interrupts may wait where the driver leaves it to the device; `stamp_every`: packets from
    one that gets a time stamp to the next, 0 for none. Raises `DmaFault` when a table is out of reach.
    """

    def __init__(
        self,
        mem: GuestMemory,
        config: Config,
        queues: Queues,
        backend: NetBackend,
        accept: RxFilter,
        *,
        signal: Callable[[int], None],
        event: Callable[[Event], None],
        note: Callable[[str, str, int], None],
        pace: Pace | None,
        caps: Cap,
        stamp_every: int = 0,
    ) -> None:
        self.config, self.queues, self._backend, self._filter = config, queues, backend, accept
        self._signal, self._event, self._note = signal, event, note
        self.stale = False  # a ring or table was unmapped: all views are released
        self.trace: Sink | None = None
        self.tap: Tap | None = None
        self.rss: Rss | None = None
        self.rss_fields: RssField = DEFAULT_FIELDS
        self.caps = caps
        self.set_features(config.features)
        self.own_pace = pace
        self.coalesce = COALESCE_SCHEME.encode(mode=Coalesce.ADAPT)  # the scheme in force, as GET_COALESCE tells it
        self._scheme_set = False
        self._moderators = [Moderator(pace) for _ in range(config.intrs)]
        self._held_back: set[int] = set()  # vectors whose moderator has something to say later
        self.set_levels(config.levels)
        self._later: list[tuple[int, int]] = []  # (when, vector) of interrupts a shape delays
        self._backlog: deque[bytes] = deque()  # taken from the rings, and the port had no room
        self._waiting: list[Waiting] = [([], None) for _ in queues.rx]  # no buffers yet
        self._shaped = False  # some of the frames waiting are `Shaped`
        self._armed = True  # the driver rings for transmit
        self._retry_ns = self._retry_step = 0
        self._relooks: tuple[int, ...] = ()
        self.now_ns = 0  # of the last round
        self._tx_bells = [0] * config.tx_queues  # where the last one pointed, counted from the device's place
        self._tx_deferred, self._rx_bells = [0] * config.tx_queues, [0] * config.rx_queues
        self.tables = Tables(mem, config, queues.all())
        for queue in queues.all():
            queue.comp.clear()
        for rx in queues.rx:
            rx.stamp_every = stamp_every if rx.stamped else 0
        self.tables.store_status()
        self.tables.store_stats()
        self._set_bells(armed=True)
        for i in range(config.rx_queues):
            self.tables.store_no_rx_bell(i)
        if config.version >= 9:
            self.tables.store_sample_rate(stamp_every)

    # -- views of guest memory ---------------------------------------------------------------------------------------

    def uses(self, lo: int, hi: int) -> bool:
        """Whether a ring or table lies in [lo, hi)."""
        spans = self.tables.spans()
        spans += [(w.address, len(w.view)) for queue in self.queues.all() for w in queue.windows()]
        return any(address < hi and lo < address + size for address, size in spans)

    def release(self) -> None:
        """Let go of guest memory; `bind` finds it again."""
        if not self.stale:
            self.stale = True
            for queue in self.queues.all():
                queue.release()
            self.tables.release()

    def bind(self) -> None:
        """After `release`: find rings and tables again. Raises `DmaFault`."""
        for queue in self.queues.all():
            queue.bind()
        self.tables.bind()
        self.stale = False

    # -- what the driver sets -----------------------------------------------------------------------------------------

    def set_features(self, features: int) -> None:
        """What the driver asked for, checked: the offloads of every receive queue, and whether RSS is wanted."""
        self.features = Feature(features)
        self._merges = self.config.version >= 2 and bool(self.features & Feature.LRO)
        for queue in self.queues.rx:
            queue.set_features(self.features)

    def set_caps(self, caps: Cap) -> None:
        """DCR0 changed while active: the offloads of every transmit queue."""
        self.caps = caps
        for queue in self.queues.tx:
            queue.caps = caps

    def set_levels(self, levels: tuple[int, ...]) -> None:
        """Moderation levels: 0 none, 8 as the device thinks best, a longer wait the higher between them.

        A coalescing scheme, once set, overrules them.
        """
        if self._scheme_set:
            return
        for moderator, level in zip(self._moderators, levels, strict=True):
            wait = level * LEVEL_NS
            moderator.pace = (
                None if level == 0 else Pace(1 << 30, wait, 1 << 30, wait) if level < ADAPTIVE else self.own_pace
            )

    def set_coalesce(self, scheme: bytes, pace: Pace | None) -> None:
        """SET_COALESCE: one pace for every vector, whatever its level."""
        self.coalesce, self._scheme_set = scheme, True
        for moderator in self._moderators:
            moderator.pace = pace

    # -- bells -------------------------------------------------------------------------------------------------------

    def bell(self, place: str, queue: int, value: int, *, tx: bool, ring: int = 0) -> bool:
        """A doorbell was written; what is wrong with it is noted. True: it belongs to a queue."""
        queues = self.queues
        if queue >= len(queues.tx if tx else queues.rx):
            self._note("VMX-D-031", place, value)
            return False
        size = queues.tx[queue].size if tx else queues.rx[queue].rings[ring].size
        if value >= max(size, 1):
            self._note("VMX-D-032", place, value)
        elif tx and not self.stale:
            self._judge_tx_bell(place, queue, value)
        if not tx and ring == 0:
            self._rx_bells[queue] += 1
            if self._rx_bells[queue] == RX_BELLS + 1:
                self._note("VMX-D-053", place, value)
        return True

    def _judge_tx_bell(self, place: str, queue: int, value: int) -> None:
        """The bell tells where the driver stands: nowhere beyond what it has published since the last one."""
        ring = self.queues.tx[queue]
        if ring.ring.remote is not None:  # no message while the driver waits for this one's answer
            return
        at = (value - ring.next) % ring.size  # the latest place it can mean: ahead, if all is published until there
        published = ring.published(at)
        if published < at:
            at -= ring.size
        if at < self._tx_bells[queue]:
            self._note("VMX-D-033", place, value)
            at = published
        self._tx_bells[queue] = at
        deferred, threshold = self.tables.deferred(queue)
        if 0 < threshold <= self._tx_deferred[queue] < deferred:  # once alone, it may be counting the next frame
            self._note("VMX-D-035", place, deferred)
        self._tx_deferred[queue] = deferred

    def _set_bells(self, *, armed: bool) -> None:
        """Tell the driver when to ring for transmit: after every frame, or not at all because the rings are polled."""
        for i in range(self.config.tx_queues):
            self.tables.store_threshold(i, 1 if armed else BELLS_OFF)
        self._armed = armed

    def rest(self) -> bool:
        """Arm the bells and look again. True: a frame came in between."""
        if self._armed:
            return False
        self._set_bells(armed=True)
        fence()
        self._relooks = tuple(self.now_ns + ns for ns in RELOOK_NS)
        return any(queue.ready(1) for queue in self.queues.tx)

    # -- work --------------------------------------------------------------------------------------------------------

    def service(self, budget: int, now_ns: int, *, link_up: bool, polled: bool) -> bool:
        """Run every queue once, `budget` descriptors or frames each. True: something was done, or can be at once."""
        self.now_ns = now_ns
        worked = self._transmit(budget, now_ns, link_up)
        worked = self._release_held(now_ns) or worked
        if link_up and self._receive(budget, now_ns):
            worked = True
        if self._held_back or self._later:
            self._say_what_is_due(now_ns)
        if worked:
            self._relooks = ()
            if polled and self._armed:
                self._set_bells(armed=False)
        elif self._relooks and now_ns >= self._relooks[0]:
            self._relooks = self._relooks[1:]
        return worked

    def deadline(self, *, link_up: bool) -> int | None:
        """When there is something to do although nobody rings (ns). Without a link nothing is received."""
        due = [self._moderators[vector].deadline() for vector in self._held_back]
        due += [when for when, _ in self._later]
        due += [queue.held[0][0] for queue in self.queues.rx if queue.held]
        if self._retry_step and (link_up or self._backlog):
            due.append(self._retry_ns)
        elif link_up and self._filter.open:
            due.append(self._backend.deadline())
        due += self._relooks[:1]
        return min((ns for ns in due if ns is not None), default=None)

    def _cause(self, vector: int, completions: int, now_ns: int, *, urgent: bool) -> None:
        """`completions` more are there for `vector`: interrupt now or later."""
        if self._moderators[vector].cause(completions, now_ns, urgent=urgent):
            self._held_back.discard(vector)
            self._signal(vector)
        else:
            self._held_back.add(vector)

    def _say_what_is_due(self, now_ns: int) -> None:
        for vector in tuple(self._held_back):
            moderator = self._moderators[vector]
            if moderator.due(now_ns):
                self._signal(vector)
            if moderator.deadline() is None:
                self._held_back.discard(vector)
        for entry in [entry for entry in self._later if entry[0] <= now_ns]:
            self._later.remove(entry)
            self._signal(entry[1])

    # -- transmit ----------------------------------------------------------------------------------------------------

    def _transmit(self, budget: int, now_ns: int, link_up: bool) -> bool:
        worked = False
        for queue, vector in zip(self.queues.tx, self.queues.tx_intr, strict=True):
            if queue.idle():
                continue
            if self._backlog and not self._send_backlog(now_ns):
                break
            frames: list[Frame] = []
            failed, before = queue.failed, None if link_up else queue.stats[:]
            consumed, packets = queue.service(budget, frames)
            if queue.failed and not failed:
                self.tables.store_status()
                self._event(Event.TQERR)
            if not consumed:
                continue
            worked = True
            self._tx_bells[queue.index] -= consumed
            if before is not None:  # no link: complete, and count as discarded what would have been sent
                before[ERROR], before[DISCARD] = queue.stats[ERROR], before[DISCARD] + len(frames)
                queue.stats[:] = before
            elif frames:
                if self.tap is not None:
                    self.tap.sent(queue.index, frames, now_ns)
                taken = self._backend.send(frames)
                if taken < len(frames):
                    self._backlog.extend(b"".join(frame) for frame in frames[taken:])
                    self._retry_later(now_ns)
            queue.complete()
            if packets:
                self._cause(vector, packets, now_ns, urgent=False)
            if self.trace is not None:
                self.trace("vmxnet3.tx", queue=queue.index, descriptors=consumed, frames=len(frames))
        if self._backlog and now_ns >= self._retry_ns:
            self._send_backlog(now_ns)
        return worked

    def _send_backlog(self, now_ns: int) -> bool:
        """Offer the port again what it had no room for; True when nothing is left of it."""
        backlog = self._backlog
        for _ in range(self._backend.send([(frame,) for frame in backlog])):
            backlog.popleft()
        if backlog:
            self._retry_later(now_ns)
        else:
            self._retry_step = 0
        return not backlog

    def _retry_later(self, now_ns: int) -> None:
        first, most = RETRY_NS
        self._retry_step = min(max(2 * self._retry_step, first), most)
        self._retry_ns = now_ns + self._retry_step

    # -- receive -----------------------------------------------------------------------------------------------------

    def _receive(self, budget: int, now_ns: int) -> bool:
        waits, worked = self._backend.waits, False
        if not any(frames for frames, _ in self._waiting):
            if waits and not self._filter.open:
                return False
            arrived = self._backend.receive(budget, now_ns)
            if not arrived:
                return False
            self._distribute(self._filter.accept(arrived))
        blocked = False
        for i, (frames, hashed) in enumerate(self._waiting):
            if not frames:
                continue
            offered = self._until_marked(frames) if self._shaped else frames
            queue = self.queues.rx[i]
            done = queue.service(offered, hashed, wait=waits, shaped=self._shaped, now_ns=now_ns)
            self._waiting[i] = frames[done:], None if hashed is None else hashed[done:]
            worked, blocked = worked or done > 0, blocked or done < len(offered)
            if self.tap is not None and done:
                self.tap.received(i, offered[:done], now_ns)
            if queue.published:
                self._tell(i, offered[0], queue.published, now_ns)
            if self.trace is not None:
                self.trace("vmxnet3.rx", queue=i, frames=done, completions=queue.published)
        if worked:
            self._retry_step = 0
        if blocked:
            self._retry_later(now_ns)
        return worked or not blocked

    def _tell(self, queue: int, first: bytes, completions: int, now_ns: int) -> None:
        """Interrupt for what a queue published; a frame whose shape marks its interrupt comes alone."""
        vector = self.queues.rx_intr[queue]
        shape = first.shape if isinstance(first, Shaped) else None
        if shape is None or not _marks(shape):
            self._cause(vector, completions, now_ns, urgent=True)
            return
        if shape.delay_ns:
            self._later.append((now_ns + shape.delay_ns, vector))
        elif shape.signal is Signal.SPURIOUS:
            self._cause(vector, completions, now_ns, urgent=True)
            self._later.append((now_ns + 1, vector))  # apart from the first, or the two would be one

    def _until_marked(self, frames: list[bytes]) -> list[bytes]:
        """The frames before the next one whose interrupt is marked, or that one alone."""
        for n, frame in enumerate(frames):
            if isinstance(frame, Shaped) and _marks(frame.shape):
                return frames[: max(n, 1)]
        return frames

    def _release_held(self, now_ns: int) -> bool:
        """Completions whose owner bits were held back, and now appear."""
        released = False
        for queue, vector in zip(self.queues.rx, self.queues.rx_intr, strict=True):
            if queue.held and queue.release_held(now_ns):
                released = True
                self._signal(vector)
        return released

    def _distribute(self, frames: list[bytes]) -> None:
        """Choose a queue for each frame, and merge there what LRO can merge."""
        self._shaped = set(map(type, frames)) not in ({bytes}, set())
        if self.rss is None and not self._shaped:
            self._waiting[0] = frames, None
            if self._merges:
                self._merge(0)
            return
        hashed = self.rss.spread(frames) if self.rss is not None else [NOT_HASHED] * len(frames)
        split: list[tuple[list[bytes], list[Hashed]]] = [([], []) for _ in self._waiting]
        give = [(one.append, other.append) for one, other in split]
        for frame, found in zip(frames, hashed, strict=True):
            queue = found[0]
            if self._shaped and isinstance(frame, Shaped) and frame.shape.queue is not None:
                queue = frame.shape.queue % len(split)
            give_frame, give_found = give[queue]
            give_frame(frame)
            give_found(found)
        self._waiting = list(split)
        if self._merges:
            for i in range(len(split)):
                self._merge(i)

    def _merge(self, i: int) -> None:
        """Large receive offload: what belongs together becomes one packet, no longer than its queue can take."""
        frames, hashed = self._waiting[i]
        if len(frames) < 2:
            return
        merged = merge(frames, longest=min(self.queues.rx[i].capacity() - ETH_HEADER - VLAN_TAG, LONGEST))
        if len(merged) < len(frames):
            self._shaped = True
            if hashed is not None:
                hashed = self.rss.spread(merged) if self.rss is not None else [NOT_HASHED] * len(merged)
            self._waiting[i] = merged, hashed


def _marks(shape: Shape) -> bool:
    """Whether this shape says something of its frame's interrupt."""
    return shape.signal is not Signal.USUAL or shape.delay_ns > 0
