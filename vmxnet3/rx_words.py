"""What the completion words of a received frame say: checksum and tunnel facts, RSS, LRO, and what a replay overrules.

Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c vmxnet3_rq_rx_complete (from which completion each field is read).
"""

from collections.abc import Callable

from vmxnet3.offloads.encap import tunnel_facts
from vmxnet3.offloads.plain import TPID, receive_facts
from vmxnet3.shape import Override, Shape
from vmxnet3.wire import (
    CDTYPE_RXCOMP_LRO,
    RCD_CNC,
    RCD_FCS,
    RCD_GEN,
    RCD_HDR_INNER,
    RCD_IPC,
    RCD_TCP,
    RCD_TUC,
    RCD_TYPE_SHIFT,
    RCD_V4,
    RCD_V6,
    RX_COMP,
    RX_COMP_LRO,
    Feature,
)

Facts = Callable[[bytes], tuple[int, int]]  # frame -> bits of dword 0, bits of dword 3

_UNCHECKED = RCD_CNC, RCD_FCS
_RIGHT6 = RCD_FCS | RCD_TCP | RCD_TUC | RCD_V6
_RIGHT4 = RCD_FCS | RCD_TCP | RCD_TUC | RCD_V4 | RCD_IPC
_STANDS = RX_COMP.mask["rxdIdx"], 0, RX_COMP.mask["len"], RCD_GEN  # what no override reaches
_LRO3 = CDTYPE_RXCOMP_LRO << RCD_TYPE_SHIFT
_NOT_LRO3 = ~(RX_COMP.mask["type"] | RX_COMP_LRO.mask["mss"])
_RSS_TYPE = RX_COMP.mask["rssType"]


def facts_for(features: Feature) -> Facts:
    """How completions describe frames while the driver asks for these features."""
    if not features & Feature.RXCSUM:
        return _unchecked
    return _inner_facts if features & Feature.RXINNEROFLD else receive_facts


def _unchecked(frame: bytes) -> tuple[int, int]:
    return _UNCHECKED


def _inner_facts(frame: bytes) -> tuple[int, int]:
    return tunnel_facts(frame) or receive_facts(frame)


def shaped_facts(frame: bytes, shape: Shape, facts: Facts) -> tuple[int, int]:
    """The same for a frame whose shape may speak of an inner header, or spare the sum."""
    if shape.verified and facts is not _unchecked:
        return 0, _RIGHT4 if frame[18 if frame[12:14] == TPID else 14] >> 4 == 4 else _RIGHT6
    if not shape.inner:
        return facts(frame)
    bits0, bits3 = _inner_facts(frame)
    return bits0 | RCD_HDR_INNER, bits3


def apply(words: list[int], at: int, shape: Shape) -> None:
    """Change the completions of one packet, `words[at:]`, four words each, as `shape` says."""
    last = len(words) - 4
    if (lro := shape.lro) is not None:
        words[at + 1] = lro.segments & 0xFF | (lro.dup_acks & 0xFF) << 8 | (lro.ts_delta & 0xFFFF) << 16
        words[at + 3] = words[at + 3] & _NOT_LRO3 | _LRO3 | lro.mss & 0xFFFF
        if at == last:  # the hash's place holds the segment count
            words[at] &= ~_RSS_TYPE
    _override(words, at, shape.first)
    _override(words, last, shape.last)


def _override(words: list[int], at: int, override: Override) -> None:
    for k, (clear, on, stands) in enumerate(zip(override.clear, override.set, _STANDS, strict=True)):
        words[at + k] = words[at + k] & ~(clear & ~stands) | (on & ~stands & 0xFFFF_FFFF)


def headers_length(frame: bytes) -> int:
    """Bytes of a TCP frame before its payload; what a merged packet's other segments had too."""
    l3 = 18 if frame[12:14] == TPID else 14
    if len(frame) < l3 + 40:
        return l3
    l4 = l3 + 4 * (frame[l3] & 15) if frame[l3] >> 4 == 4 else l3 + 40
    return l4 + 4 * (frame[l4 + 12] >> 4) if len(frame) > l4 + 12 else l4
