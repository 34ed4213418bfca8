"""Receive-side scaling: the Toeplitz hash over the header fields the driver asked for, and the queue it leads to.

Pure, but for a bounded memory of flows already hashed: a flow's next frame costs a dictionary look-up.

Ref: Microsoft, "RSS Hashing Types" and "Verifying the RSS Hash Calculation"; RFC 4303 (the SPI of ESP).
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from vmxnet3.offloads.plain import IPV6_MORE, TPID, Buffer, ipv6_upper
from vmxnet3.wire import RCD_RSSTYPE_SHIFT, HashType, RssField, RssType

Choice = tuple[int, int, RssType]  # queue, hash, type

TCP, UDP, ESP = 6, 17, 50
FLOWS_MAX = 1 << 14  # remembered of each type; then all of that type are forgotten


class Hashed(NamedTuple):
    """Where a frame goes and what its completion says of it: queue, the rssType bits of dword 0, rssHash."""

    queue: int
    word0: int
    hash: int


NOT_HASHED = Hashed(0, 0, 0)

# ethertype and first IP byte; fragment; protocol; addresses and ports, of an untagged frame without IP options
_PLAIN4 = Struct(">11xI5xHxB2x12s").unpack_from
_PLAIN4_SIZE, _IPV4_PLAIN = 38, 0x0800_45
# ethertype; next header; addresses and ports
_PLAIN6 = Struct(">12xH6xBx36s").unpack_from
_PLAIN6_SIZE, _IPV6 = 58, 0x86DD


class Rss:
    """What the driver configured. `hash_type` is of `HashType`, `fields` of `RssField`.

    TCP ports are hashed when both ask for them, those of UDP and the SPI of ESP when `fields` does; what is left is
    hashed by its addresses if `hash_type` says so. `key` has 40 bytes; `table` names queues, and an entry no queue has
    leads to queue 0.
    """

    def __init__(self, hash_type: int, fields: int, key: bytes, table: bytes, queues: int) -> None:
        self._key = key
        self._table = [entry if entry < queues else 0 for entry in table]
        self._ported: dict[int, dict[int, RssType]] = {4: {}, 6: {}}  # by IP version, by protocol
        for version, protocol, wanted, kind in (
            (4, TCP, hash_type & HashType.TCP_IPV4 and fields & RssField.TCPIP4, RssType.TCPIPV4),
            (6, TCP, hash_type & HashType.TCP_IPV6 and fields & RssField.TCPIP6, RssType.TCPIPV6),
            (4, UDP, fields & RssField.UDPIP4, RssType.UDPIPV4),
            (6, UDP, fields & RssField.UDPIP6, RssType.UDPIPV6),
            (4, ESP, fields & RssField.ESPIP4, RssType.ESPIPV4),
            (6, ESP, fields & RssField.ESPIP6, RssType.ESPIPV6),
        ):
            if wanted:
                self._ported[version][protocol] = kind
        self._bare: dict[int, RssType] = {}  # by IP version: addresses only
        if hash_type & HashType.IPV4:
            self._bare[4] = RssType.IPV4
        if hash_type & HashType.IPV6:
            self._bare[6] = RssType.IPV6
        # by IP version, by protocol: flow (addresses and what stands where ports do) -> what is known of it
        self._flows: dict[int, dict[int, dict[bytes, Hashed]]] = {
            version: {protocol: {} for protocol in self._ported[version]} for version in (4, 6)
        }
        self._others: dict[int, dict[bytes, Hashed]] = {4: {}, 6: {}}  # the same for protocols without ports

    def choose(self, frame: Buffer) -> Choice:
        """(queue, hash, type) for `frame`; (0, 0, NONE) when no enabled field covers it."""
        queue, word0, value = self.spread((frame,))[0]
        return queue, value, RssType(word0 >> RCD_RSSTYPE_SHIFT)

    def spread(self, frames: Sequence[Buffer]) -> list[Hashed]:
        """What each of `frames` hashes to, in order."""
        flows4, others4 = self._flows[4], self._others[4]
        flows6, others6 = self._flows[6], self._others[6]
        out: list[Hashed] = []
        for frame in frames:
            known = None
            if len(frame) >= _PLAIN4_SIZE:
                kind3, fragment, protocol, flow = _PLAIN4(frame)
                if kind3 & 0xFF_FFFF == _IPV4_PLAIN:
                    if not fragment & 0x3FFF:
                        known = flows4.get(protocol, others4)
                elif kind3 >> 8 & 0xFFFF == _IPV6 and len(frame) >= _PLAIN6_SIZE:
                    _, protocol, flow = _PLAIN6(frame)
                    if protocol not in IPV6_MORE:
                        known = flows6.get(protocol, others6)
            if known is None:
                out.append(self._hash(frame))
            else:
                found = known.get(flow)
                if found is None:
                    found = self._hash(frame)
                    if len(known) >= FLOWS_MAX:
                        known.clear()
                    known[flow] = found
                out.append(found)
        return out

    def _hash(self, frame: Buffer) -> Hashed:
        found = self._input(frame)
        if found is None:
            return NOT_HASHED
        kind, data = found
        value = toeplitz(self._key, data)
        return Hashed(self._table[value % len(self._table)], kind << RCD_RSSTYPE_SHIFT, value)

    def _input(self, frame: Buffer) -> tuple[RssType, bytes] | None:
        """What is hashed of `frame`, by the whole book."""
        kind, l3 = frame[12:14], 14
        if kind == TPID:
            kind, l3 = frame[16:18], 18
        if kind == b"\x08\x00" and len(frame) >= l3 + 20:
            version, l4, protocol = 4, l3 + 4 * (frame[l3] & 15), frame[l3 + 9]
            if frame[l3 + 6] & 0x3F or frame[l3 + 7]:
                protocol = -1  # a fragment: only the first has ports, and all shall go one way
            addresses = bytes(frame[l3 + 12 : l3 + 20])
        elif kind == b"\x86\xdd" and len(frame) >= l3 + 40:
            version = 6
            protocol, l4 = ipv6_upper(frame, l3)
            addresses = bytes(frame[l3 + 8 : l3 + 40])
        else:
            return None
        ported = self._ported[version].get(protocol)
        if ported is not None and len(frame) >= l4 + 4:
            return ported, addresses + bytes(frame[l4 : l4 + 4])
        bare = self._bare.get(version)
        return None if bare is None else (bare, addresses)


@lru_cache(maxsize=4)
def _toeplitz_table(key: bytes) -> list[list[int]]:
    """For each input byte position, the 256 values it contributes."""
    bits = int.from_bytes(key, "big")
    width = 8 * len(key)
    tables = []
    for position in range(len(key) - 4):
        windows = [bits >> (width - 32 - 8 * position - bit) & 0xFFFF_FFFF for bit in range(8)]
        row = [0] * 256
        for bit, window in enumerate(windows):
            for byte in range(256):
                if byte & 0x80 >> bit:
                    row[byte] ^= window
        tables.append(row)
    return tables


def toeplitz(key: bytes, data: bytes) -> int:
    """The 32-bit hash of `data` (at most len(key) - 4 bytes)."""
    value = 0
    for row, byte in zip(_toeplitz_table(key), data, strict=False):
        value ^= row[byte]
    return value
