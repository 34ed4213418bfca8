"""What a received frame's completions shall say beyond its bytes: merged segments, and whatever a replay asks for.

A port hands the NIC plain `bytes`; a frame with more to say is `Shaped`, still bytes to everyone else.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

Words = tuple[int, int, int, int]


class Override(NamedTuple):
    """Bits of one completion's four words: those of `clear` off, then those of `set` on; len, rxdIdx and gen stand."""

    clear: Words = (0, 0, 0, 0)
    set: Words = (0, 0, 0, 0)


UNCHANGED = Override()


class Lro(NamedTuple):
    """A packet made of `segments` wire frames with `mss` payload bytes each (0: unknown), as a type 4 completion says.

    `ts_delta`: last minus first TCP timestamp.
    """

    segments: int
    mss: int
    dup_acks: int = 0
    ts_delta: int = 0


class Signal(Enum):
    """What happens to the interrupt of a frame."""

    USUAL = "usual"
    LOST = "lost"
    SPURIOUS = "spurious"  # one more, without a completion


@dataclass(frozen=True)
class Shape:
    """How the receive ring presents one frame. Everything unset follows from the frame's bytes, as for any other.

    `first` and `last` change the completion with sop and the one with eop (one buffer: both, `first` first).
    `queue` overrules RSS. `length`: only so many bytes are delivered. `strip`: this tag (TCI) is reported as stripped;
    the bytes carry none. `hold_ns`: the generation bit of its last completion appears so much later. `delay_ns`: so
    does its interrupt. `inner`: checksum and protocol bits speak of the header inside a tunnel. `verified`: this TCP
    packet's checksums are known to be right.
    """

    lro: Lro | None = None
    first: Override = UNCHANGED
    last: Override = UNCHANGED
    queue: int | None = None
    length: int | None = None
    strip: int | None = None
    inner: bool = False
    verified: bool = False
    hold_ns: int = 0
    signal: Signal = Signal.USUAL
    delay_ns: int = 0


class Shaped(bytes):
    """A frame with a `Shape`."""

    shape: Shape

    def __new__(cls, data: bytes, shape: Shape) -> "Shaped":
        made = super().__new__(cls, data)
        made.shape = shape
        return made
