"""Interrupts of one PCI function: a level line (INTx), MSI, MSI-X with masks and pending bits; and moderation.

The model raises, the transport takes. Nothing here knows how an interrupt leaves the process.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

_ENTRY = struct.Struct("<QII")  # MSI-X table entry: address, data, vector control
ENTRY_SIZE = 16
ENTRY_MASKED = 1


class Mode(IntEnum):
    """Which kind the driver has switched on; the numbers are those of the VFIO interrupt indices."""

    INTX = 0
    MSI = 1
    MSIX = 2


class Interrupts:
    """What the function wants to say and whether it may.

    `mode` and `function_masked` follow the driver's writes to config space. A masked vector keeps one pending bit and
    fires when it is unmasked. `take` hands the fired vectors to the transport, once.

    Where the other side keeps the MSI-X table for itself (VFIO clients do), it says so with `connect`: then an entry
    nobody wrote through us counts as unmasked, and a vector that is not connected as masked.
    """

    STATE: ClassVar[tuple[str, ...]] = (
        *("mode", "function_masked", "intx_disabled", "fired", "pending"),
        *("line", "_line_news", "_table", "_written"),
    )

    def __init__(self, vectors: int) -> None:
        self.vectors = vectors
        self.reset()
        self.connected: int | None = None  # bit per vector; None: the table in our BAR is all there is

    def reset(self) -> None:
        """As after power-on; who is connected outside stays connected."""
        self.mode = Mode.INTX
        self.function_masked = False
        self.intx_disabled = False
        self.fired = 0  # bit per vector, waiting for the transport
        self.pending = 0  # bit per vector, masked when it was raised
        self.line = False  # the INTx level the device drives
        self._line_news = False
        self._table = bytearray(_ENTRY.pack(0, 0, ENTRY_MASKED) * self.vectors)
        self._written = 0  # bit per table entry whose control word was written through us

    # -- the model's side ---------------------------------------------------------------------------------------

    def fire(self, vector: int) -> None:
        """Send message `vector` (MSI, MSI-X), or keep it pending while it is masked. Out of range: nothing."""
        bit = 1 << vector
        if vector >= (self.vectors if self.mode is Mode.MSIX else 1):
            return
        if self.mode is Mode.MSIX and self.masked(vector):
            self.pending |= bit
        else:
            self.fired |= bit

    def set_line(self, level: bool) -> None:
        """Drive the INTx line."""
        if level and not self.line:
            self._line_news = True
        self.line = level

    def drop(self) -> None:
        """The device was stopped: nothing it had to say is said any more."""
        self.fired = self.pending = 0
        self.set_line(False)

    # -- the transport's side -----------------------------------------------------------------------------------

    def take(self) -> int:
        """Vectors to signal now, a bit each. For INTx, bit 0 when the line went up since the last call."""
        if self.mode is Mode.INTX:
            self.fired = 0
            news, self._line_news = self._line_news, False
            return int(news and self.line and not self.intx_disabled)
        fired, self.fired = self.fired, 0
        return fired

    def sample_line(self) -> None:
        """The driver's side has serviced an INTx: say it again if the line is still up."""
        self._line_news = self.line

    def connect(self, connected: int | None) -> None:
        """Who listens outside to MSI-X, a bit per vector; what was pending on them fires. None: the table only."""
        self.connected = connected
        self._release()

    def set_mode(self, mode: Mode, *, function_masked: bool = False) -> None:
        """The driver switched to `mode` in config space."""
        if mode is not self.mode:
            self.fired = self.pending = 0
            self.mode = mode
            self._line_news = mode is Mode.INTX and self.line
        self.function_masked = function_masked
        self._release()

    def disable_intx(self, disabled: bool) -> None:
        if self.intx_disabled and not disabled:
            self._line_news = self.line
        self.intx_disabled = disabled

    # -- the MSI-X table and pending bits, as a BAR shows them --------------------------------------------------------

    def masked(self, vector: int) -> bool:
        if self.function_masked:
            return True
        written = self._written >> vector & 1
        if self.connected is not None:
            if not self.connected >> vector & 1:
                return True
            if not written:
                return False
        return bool(self._table[ENTRY_SIZE * vector + 12] & ENTRY_MASKED)

    def _release(self) -> None:
        if self.pending and self.mode is Mode.MSIX:
            for vector in range(self.vectors):
                if self.pending >> vector & 1 and not self.masked(vector):
                    self.pending &= ~(1 << vector)
                    self.fired |= 1 << vector

    def read_table(self, offset: int, size: int) -> int:
        return int.from_bytes(self._table[offset : offset + size], "little")

    def write_table(self, offset: int, size: int, value: int) -> int:
        """Store into the table; returns the vector written. Anything but aligned 4 or 8 bytes is dropped (-1)."""
        if size not in (4, 8) or offset % size or offset + size > len(self._table):
            return -1
        self._table[offset : offset + size] = value.to_bytes(size, "little")
        vector = offset // ENTRY_SIZE
        if offset % ENTRY_SIZE + size > 12:
            self._written |= 1 << vector
            self._release()
        return vector

    def read_pba(self, offset: int, size: int) -> int:
        """`size` bytes of the pending bit array."""
        return self.pending >> 8 * offset & (1 << 8 * size) - 1


@dataclass(frozen=True)
class Pace:
    """How long completions may wait for company.

    Urgent ones (a frame received): until there are `frames`, or the last interrupt is `ns` old. Lazy ones (a frame
    sent: nobody waits for a single one): until there are `lazy_frames`, or the first has waited `lazy_ns`.
    """

    frames: int
    ns: int
    lazy_frames: int
    lazy_ns: int


class Moderator:
    """Holds one vector's interrupt back while more is likely on its way, and never for good.

    A lone urgent cause is never late, a flood costs one interrupt per `pace.frames` or `pace.ns`. With no pace every
    cause goes out at once.
    """

    __slots__ = ("_deadline", "_last", "_lazy", "_urgent", "pace")

    def __init__(self, pace: Pace | None) -> None:
        self.pace = pace
        self._urgent = self._lazy = 0  # completions held back
        self._deadline, self._last = 0, -(1 << 62)

    def cause(self, causes: int, now_ns: int, *, urgent: bool) -> bool:
        """`causes` more completions are there; True: interrupt now."""
        pace = self.pace
        if pace is None or not causes:
            return causes > 0
        due = self._last + pace.ns if urgent else now_ns + pace.lazy_ns
        self._deadline = min(self._deadline, due) if self._urgent or self._lazy else due
        if urgent:
            self._urgent += causes
        else:
            self._lazy += causes
        return self.due(now_ns)

    def due(self, now_ns: int) -> bool:
        """Whether what is held back must go out now; if so it is taken as gone."""
        pace = self.pace
        if pace is None or not (self._urgent or self._lazy):
            return False
        if now_ns < self._deadline and self._urgent < pace.frames and self._lazy < pace.lazy_frames:
            return False
        self._urgent = self._lazy = 0
        self._last = now_ns
        return True

    @property
    def held(self) -> int:
        """Completions held back."""
        return self._urgent + self._lazy

    def clear(self) -> None:
        """Nothing is held back any more: it went out with something else."""
        self._urgent = self._lazy = 0

    def deadline(self) -> int | None:
        """When `due` turns true by itself (ns), or None."""
        return self._deadline if self._urgent or self._lazy else None
