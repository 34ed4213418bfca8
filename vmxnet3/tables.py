"""The shared area and the queue table of an active NIC: what the driver wrote there, and what the device stores."""

from collections.abc import Sequence

from pvdev.mem import GuestMemory
from vmxnet3.activation import QUEUE_DESC, Config
from vmxnet3.rx import RxQueue
from vmxnet3.tx import TxQueue
from vmxnet3.wire import DRIVER_SHARED, INTR_CONF_EXT, TX_QUEUE_DESC, Event

_ECR, _CMD_INFO, _LEVELS = (DRIVER_SHARED.offset[name] for name in ("ecr", "cmdInfo", "modLevels"))
_EXT_LEVELS = DRIVER_SHARED.size + INTR_CONF_EXT.offset["modLevels"]
_STATS, _STATUS = TX_QUEUE_DESC.offset["stats"], TX_QUEUE_DESC.offset["stopped"]  # the same in both kinds of queue
_CONF = slice(TX_QUEUE_DESC.offset["txRingBasePA"], TX_QUEUE_DESC.offset["intrIdx"])  # likewise
_SAMPLE_RATE = TX_QUEUE_DESC.offset["sampleRate"]
_COUNTS = slice(DRIVER_SHARED.offset["queueDescPA"], DRIVER_SHARED.offset["numRxQueues"] + 1)


class Tables:
    """Views of both while the device is active. Raises `DmaFault` when they are out of reach.

    `queues` in the order of the table: transmit, then receive.
    """

    def __init__(self, mem: GuestMemory, config: Config, queues: Sequence[TxQueue | RxQueue]) -> None:
        self._mem, self._config, self._queues = mem, config, queues
        self.bind()
        self._given = self._configuration()

    def bind(self) -> None:
        """Find both in guest memory."""
        config = self._config
        self._shared = self._mem.window(config.shared_at, config.shared_size, write=True)
        self._table = self._mem.window(config.table_at, config.table_size, write=True)
        self._shared_words, self._table_words = self._shared.view.cast("I"), self._table.view.cast("Q")

    def release(self) -> None:
        """Let go of guest memory."""
        self._shared_words.release()
        self._table_words.release()
        self._shared.release()
        self._table.release()

    def spans(self) -> list[tuple[int, int]]:
        """(address, bytes) of both."""
        return [(self._config.shared_at, self._config.shared_size), (self._config.table_at, self._config.table_size)]

    # -- what the driver wrote ----------------------------------------------------------------------------------------

    def area(self) -> dict[str, int]:
        """The shared area as it is now, its integer fields."""
        return DRIVER_SHARED.numbers(self.area_bytes())

    def area_bytes(self) -> bytes:
        self._shared.pull()
        return bytes(self._shared.view)

    def argument(self) -> bytes:
        """cmdInfo: the sixteen bytes that belong to the command being run."""
        return self.area_bytes()[_CMD_INFO : _CMD_INFO + 16]

    def levels(self) -> tuple[int, ...]:
        """The moderation level of every vector, as the shared area says now."""
        at = _LEVELS if self._config.shared_size == DRIVER_SHARED.size else _EXT_LEVELS
        return tuple(self.area_bytes()[at : at + self._config.intrs])

    def changed(self) -> bool:
        """Whether counts, MTU, rings or sizes are no longer what ACTIVATE found."""
        self._table.pull()
        return self._configuration() != self._given

    def _configuration(self) -> tuple[bytes, ...]:
        table = self._table.view
        return (
            self.area_bytes()[_COUNTS],
            *(bytes(table[base + _CONF.start : base + _CONF.stop]) for base in range(0, len(table), QUEUE_DESC)),
        )

    def deferred(self, queue: int) -> tuple[int, int]:
        """txNumDeferred and txThreshold of a transmit queue; 0 where it would take a message to know."""
        if self._table.remote is not None:
            return 0, 0
        both = self._table_words[QUEUE_DESC * queue // 8]
        return both & 0xFFFF_FFFF, both >> 32

    # -- what the device stores ---------------------------------------------------------------------------------------

    def store_events(self, events: Event) -> None:
        """The event bits. Only stored: what the driver may have put there is not read."""
        self._shared_words[_ECR // 4] = int(events)
        self._shared.push(_ECR, 4)

    def store_argument(self, data: bytes) -> None:
        """The answer of a command that answers in cmdInfo."""
        self._shared.view[_CMD_INFO : _CMD_INFO + len(data)] = data
        self._shared.push(_CMD_INFO, len(data))

    def store_stats(self) -> None:
        """The counters of every queue, as eight-byte stores."""
        for k, queue in enumerate(self._queues):
            base = QUEUE_DESC * k
            for i, value in enumerate(queue.stats):
                self._table_words[(base + _STATS) // 8 + i] = value & (1 << 64) - 1
            self._table.push(base + _STATS, 80)

    def store_status(self) -> None:
        """stopped and error of every queue."""
        for k, queue in enumerate(self._queues):
            self._store(QUEUE_DESC * k + _STATUS, (1 if queue.failed else 0) | queue.failed << 32)

    def store_threshold(self, queue: int, threshold: int) -> None:
        """txThreshold of a transmit queue; txNumDeferred shares its eight bytes: the driver's count starts anew."""
        self._store(QUEUE_DESC * queue, threshold << 32)

    def store_no_rx_bell(self, queue: int) -> None:
        """updateRxProd 0: the driver never rings for receive."""
        self._store(QUEUE_DESC * (self._config.tx_queues + queue), 0)

    def store_sample_rate(self, rate: int) -> None:
        """How often the driver is to stamp a sent packet (version 9); it looks at queue 0 only."""
        self._table.view[_SAMPLE_RATE : _SAMPLE_RATE + 2] = rate.to_bytes(2, "little")
        self._table.push(_SAMPLE_RATE, 2)

    def _store(self, at: int, value: int) -> None:
        """Eight bytes at offset `at` of the queue table."""
        self._table_words[at // 8] = value
        self._table.push(at, 8)
