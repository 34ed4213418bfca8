"""Everything that exists only while a NIC is active: its queues, its views of guest memory, frames in flight.

Built by ACTIVATE, dropped by QUIESCE and RESET: no data path, nothing to run.
"""

from collections import deque
from collections.abc import Callable, Iterator

from pvdev.irq import Moderator, Pace
from pvdev.mem import GuestMemory, fence
from pvdev.trace import Sink
from vmxnet3.activation import QUEUE_DESC, Config, Queues
from vmxnet3.backend import Frame, NetBackend
from vmxnet3.filters import RxFilter
from vmxnet3.offload import Rss
from vmxnet3.rx import Facts, RxQueue
from vmxnet3.tx import DISCARD, ERROR, TxQueue
from vmxnet3.wire import DRIVER_SHARED, RCD_RSSTYPE_SHIFT, TX_QUEUE_DESC, Event, Feature

BELLS_OFF = 1 << 30  # txThreshold while the rings are polled: the driver never saves up as many frames
RETRY_NS = 20_000, 1_000_000  # between two looks for room in a full port or for buffers in an empty ring: from, up to
RELOOK_NS = 50_000, 1_000_000  # after arming the bells: a store and a load may have crossed; look again this much later

_ECR = DRIVER_SHARED.offset["ecr"]
_STATS, _STATUS = TX_QUEUE_DESC.offset["stats"], TX_QUEUE_DESC.offset["stopped"]  # the same in both kinds of queue


class Datapath:
    """The running half of one NIC.

    `signal(vector)` and `event(bits)` are the device's: interrupts leave through them. `config` and `queues` were
    checked. Raises `DmaFault` when the shared area or the queue table is out of reach.
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
        pace: Pace | None,
    ) -> None:
        self._mem, self.config, self.queues, self._backend, self._filter = mem, config, queues, backend, accept
        self._signal, self._event = signal, event
        self.stale = False  # a ring or table was unmapped: all views are released
        self.trace: Sink | None = None
        self.rss: Rss | None = None
        self.set_features(config.features)
        self._moderators = [Moderator(pace) for _ in range(config.intrs)]
        self._backlog: deque[bytes] = deque()  # taken from the rings, and the port had no room
        self._waiting: list[tuple[list[bytes], list[Facts] | None]] = [([], None) for _ in queues.rx]  # no buffers yet
        self._armed = True  # the driver rings for transmit
        self._retry_ns = self._retry_step = 0
        self._relooks: tuple[int, ...] = ()
        self._now_ns = 0
        self._bind_tables()
        for queue in queues.all():
            queue.comp.clear()
        self.store_status()
        self.store_stats()
        self._set_bells(armed=True)
        for i in range(config.rx_queues):  # updateRxProd 0: the driver never rings for receive
            self._store(QUEUE_DESC * (config.tx_queues + i), 0)

    # -- views of guest memory ---------------------------------------------------------------------------------------

    def _bind_tables(self) -> None:
        self._shared = self._mem.window(self.config.shared_at, DRIVER_SHARED.size, write=True)
        self._table = self._mem.window(self.config.table_at, self.config.table_size, write=True)
        self._shared_words, self._table_words = self._shared.view.cast("I"), self._table.view.cast("Q")

    def uses(self, lo: int, hi: int) -> bool:
        """Whether a ring or table lies in [lo, hi)."""
        windows = [self._shared, self._table, *(window for queue in self.queues.all() for window in queue.windows())]
        return any(window.address < hi and lo < window.address + len(window.view) for window in windows)

    def release(self) -> None:
        """Let go of guest memory; `bind` finds it again."""
        if not self.stale:
            self.stale = True
            for queue in self.queues.all():
                queue.release()
            self._shared_words.release()
            self._table_words.release()
            self._shared.release()
            self._table.release()

    def bind(self) -> None:
        """After `release`: find rings and tables again. Raises `DmaFault`."""
        for queue in self.queues.all():
            queue.bind()
        self._bind_tables()
        self.stale = False

    def area(self) -> dict[str, int]:
        """The shared area as it is now, its integer fields."""
        return DRIVER_SHARED.numbers(self.area_bytes())

    def area_bytes(self) -> bytes:
        self._shared.pull()
        return bytes(self._shared.view)

    def store_events(self, events: Event) -> None:
        """The event bits, in the shared area. Only stored: what the driver may have put there is not read."""
        self._shared_words[_ECR // 4] = int(events)
        self._shared.push(_ECR, 4)

    def store_stats(self) -> None:
        """The counters of every queue, as eight-byte stores."""
        for base, queue in self._descriptors():
            for i, value in enumerate(queue.stats):
                self._table_words[(base + _STATS) // 8 + i] = value & (1 << 64) - 1
            self._table.push(base + _STATS, 80)

    def store_status(self) -> None:
        """stopped and error of every queue."""
        for base, queue in self._descriptors():
            self._store(base + _STATUS, (1 if queue.failed else 0) | queue.failed << 32)

    def _descriptors(self) -> Iterator[tuple[int, TxQueue | RxQueue]]:
        """(offset in the queue table, queue) of every queue."""
        for i, queue in enumerate(self.queues.all()):
            yield QUEUE_DESC * i, queue

    def _store(self, at: int, value: int) -> None:
        """Eight bytes at offset `at` of the queue table."""
        self._table_words[at // 8] = value
        self._table.push(at, 8)

    def set_features(self, features: int) -> None:
        """What the driver asked for, checked: the offloads of every receive queue, and whether RSS is wanted."""
        self.features = Feature(features)
        for queue in self.queues.rx:
            queue.features = self.features

    # -- bells -------------------------------------------------------------------------------------------------------

    def _set_bells(self, *, armed: bool) -> None:
        """Tell the driver when to ring for transmit: after every frame, or not at all because the rings are polled.

        txNumDeferred and txThreshold share eight bytes; the driver's count starts anew either way.
        """
        for i in range(self.config.tx_queues):
            self._store(QUEUE_DESC * i, (1 if armed else BELLS_OFF) << 32)
        self._armed = armed

    def rest(self) -> bool:
        """Arm the bells and look again. True: a frame came in between."""
        if self._armed:
            return False
        self._set_bells(armed=True)
        fence()
        self._relooks = tuple(self._now_ns + ns for ns in RELOOK_NS)
        return any(queue.ready(1) for queue in self.queues.tx)

    # -- work --------------------------------------------------------------------------------------------------------

    def service(self, budget: int, now_ns: int, *, link_up: bool, polled: bool) -> bool:
        """Run every queue once, `budget` descriptors or frames each. True: something was done, or can be at once."""
        self._now_ns = now_ns
        worked = self._transmit(budget, now_ns, link_up)
        if link_up and self._receive(budget, now_ns):
            worked = True
        for vector, moderator in enumerate(self._moderators):
            if moderator.due(now_ns):
                self._signal(vector)
        if worked:
            self._relooks = ()
            if polled and self._armed:
                self._set_bells(armed=False)
        elif self._relooks and now_ns >= self._relooks[0]:
            self._relooks = self._relooks[1:]
        return worked

    def deadline(self, *, link_up: bool) -> int | None:
        """When there is something to do although nobody rings (ns). Without a link nothing is received."""
        due = [moderator.deadline() for moderator in self._moderators]
        if self._retry_step and (link_up or self._backlog):
            due.append(self._retry_ns)
        elif link_up and self._filter.open:
            due.append(self._backend.deadline())
        due += self._relooks[:1]
        return min((ns for ns in due if ns is not None), default=None)

    def _transmit(self, budget: int, now_ns: int, link_up: bool) -> bool:
        worked = False
        for queue, vector in zip(self.queues.tx, self.queues.tx_intr, strict=True):
            if self._backlog and not self._send_backlog(now_ns):
                break
            frames: list[Frame] = []
            failed, before = queue.failed, None if link_up else queue.stats[:]
            consumed, packets = queue.service(budget, frames)
            if queue.failed and not failed:
                self.store_status()
                self._event(Event.TQERR)
            if not consumed:
                continue
            worked = True
            if before is not None:  # no link: complete, and count as discarded what would have been sent
                before[ERROR], before[DISCARD] = queue.stats[ERROR], before[DISCARD] + len(frames)
                queue.stats[:] = before
            elif frames:
                taken = self._backend.send(frames)
                if taken < len(frames):
                    self._backlog.extend(b"".join(frame) for frame in frames[taken:])
                    self._retry_later(now_ns)
            queue.complete()
            if packets and self._moderators[vector].cause(packets, now_ns, urgent=False):
                self._signal(vector)
            if self.trace is not None:
                self.trace("vmxnet3.tx", queue=queue.index, descriptors=consumed, frames=len(frames))
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

    def _receive(self, budget: int, now_ns: int) -> bool:
        waits = self._backend.waits
        if not any(frames for frames, _ in self._waiting):
            if waits and not self._filter.open:
                return False
            arrived = self._backend.receive(budget, now_ns)
            if not arrived:
                return False
            self._distribute(self._filter.accept(arrived))
        worked, blocked = False, False
        for i, (queue, vector) in enumerate(zip(self.queues.rx, self.queues.rx_intr, strict=True)):
            frames, facts = self._waiting[i]
            if not frames:
                continue
            done = queue.service(frames, facts, wait=waits)
            self._waiting[i] = frames[done:], None if facts is None else facts[done:]
            worked, blocked = worked or done > 0, blocked or done < len(frames)
            if queue.published and self._moderators[vector].cause(queue.published, now_ns, urgent=True):
                self._signal(vector)
            if self.trace is not None:
                self.trace("vmxnet3.rx", queue=i, frames=done, completions=queue.published)
        if worked:
            self._retry_step = 0
        if blocked:
            self._retry_later(now_ns)
        return worked or not blocked

    def _distribute(self, frames: list[bytes]) -> None:
        """Choose a queue for each frame."""
        if self.rss is None:
            self._waiting[0] = frames, None
            return
        split: list[tuple[list[bytes], list[Facts]]] = [([], []) for _ in self._waiting]
        for frame in frames:
            queue, value, kind = self.rss.choose(frame)
            split[queue][0].append(frame)
            split[queue][1].append(Facts(kind << RCD_RSSTYPE_SHIFT, value))
        self._waiting = list(split)
