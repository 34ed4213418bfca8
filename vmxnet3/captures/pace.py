"""When the frames of a capture are due: `pvdev.pace`, with the rates of a network. Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

from pvdev import pace
from pvdev.pace import LOOP_GAP_NS
from vmxnet3.captures.capture import Captured

__all__ = ["LOOP_GAP_NS", "Pace", "Paced", "wire_bits"]

WIRE_LEAST = 60  # bytes; a shorter frame is padded on the wire
WIRE_MORE = 24  # bytes each frame takes on the wire beside its own: preamble and start 8, FCS 4, gap 12


class Pace(pace.Pace):
    """Also "pps" (frames a second), and "bps" (bits a second on an Ethernet wire: preamble, padding, FCS and gap
    counted)."""

    rates: ClassVar[Mapping[str, str]] = {"pps": "frames a second", "bps": "bits a second; 100M, 2.5G"}


def wire_bits(frame: bytes) -> int:
    """How long `frame` (without FCS) keeps an Ethernet wire busy, in bit times."""
    return 8 * (max(len(frame), WIRE_LEAST) + WIRE_MORE)


class Paced(pace.Paced[Captured]):
    """Frames of a source, handed out when they are due."""

    def __init__(self, source: Callable[[], Iterable[list[Captured]]], pace: Pace, *, rounds: int = 1) -> None:
        super().__init__(source, pace, rounds=rounds, weigh=_bits if pace.kind == "bps" else None)


def _bits(item: Captured) -> int:
    return wire_bits(item[1])
