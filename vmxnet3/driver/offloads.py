"""What a transmit descriptor can ask for beyond sending, and the descriptors of one packet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vmxnet3 import wire


@dataclass(frozen=True)
class Csum:
    """Checksum from byte `start` to the end, stored at byte `offset` (both absolute).

    `inner` (version 7): that of the header inside a tunnel; `start` is then where that header ends. `outer`: the
    tunnel's own UDP checksum as well.
    """

    start: int
    offset: int
    inner: bool = False
    outer: bool = False


@dataclass(frozen=True)
class Tso:
    """Cut the payload behind `hlen` header bytes into segments of `mss` bytes; `inner` and `outer` as for `Csum`."""

    hlen: int
    mss: int
    inner: bool = False
    outer: bool = False


@dataclass(frozen=True)
class Encap:
    """Versions 4 to 6: a tunnel whose inner headers end at byte `hlen`. `mss` 0: checksum only, else segments."""

    hlen: int
    mss: int = 0
    outer: bool = False


Offload = Csum | Tso | Encap


class TxD(NamedTuple):
    """One transmit descriptor without its gen bit."""

    addr: int
    word2: int
    word3: int


def describe(
    parts: Sequence[tuple[int, int]], offload: Offload | None = None, vlan: int | None = None, cq: bool = True
) -> list[TxD]:
    """The descriptors of one packet whose (address, bytes) parts are in memory."""
    word2, word3 = _words(offload)
    if vlan is not None:
        word3 |= wire.TXD_TI | vlan << wire.TXD_TCI_SHIFT
    descs = [TxD(address, size & wire.TXD_LEN, 0) for address, size in parts]
    descs[0] = TxD(descs[0].addr, descs[0].word2 | word2, word3)
    last = descs[-1]
    descs[-1] = TxD(last.addr, last.word2, last.word3 | wire.TXD_EOP | (wire.TXD_CQ if cq else 0))
    return descs


def _words(offload: Offload | None) -> tuple[int, int]:
    """What the first descriptor's words 2 and 3 say of an offload."""
    if offload is None:
        return 0, 0
    word2 = wire.TXD_OCO if offload.outer else 0
    if isinstance(offload, Encap):
        mode, length, value = wire.OM_ENCAP, offload.hlen, offload.mss
    elif isinstance(offload, Tso):
        mode, length, value = wire.OM_TSO, offload.hlen, offload.mss
    else:
        mode, length, value = wire.OM_CSUM, offload.start, offload.offset
    if not isinstance(offload, Encap) and offload.inner:
        word2 |= wire.TXD_EXT1
    return word2 | value << wire.TXD_MSSCOF_SHIFT, length | mode << wire.TXD_OM_SHIFT


def cut(size: int) -> list[int]:
    step = wire.TXD_LEN_MAX
    return [min(step, size - at) for at in range(0, size, step)]


def segments(size: int, offload: Offload | None) -> int:
    if isinstance(offload, Tso | Encap) and offload.mss:
        return max(1, -(-(size - offload.hlen) // offload.mss))
    return 1
