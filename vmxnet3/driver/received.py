"""A received packet as its completions describe it, and whether that description may be."""

from dataclasses import dataclass
from typing import NamedTuple

from vmxnet3 import wire
from vmxnet3.driver.common import Complain
from vmxnet3.wire import Feature, RssField

_NEEDS = {5: RssField.UDPIP4, 6: RssField.UDPIP6, 7: RssField.ESPIP4, 8: RssField.ESPIP6}  # rssType -> what asks for it
_RXCSUM, _RXVLAN, _LRO, _RSS, _RXINNER = (  # plain numbers: looked at for every packet
    int(bit) for bit in (Feature.RXCSUM, Feature.RXVLAN, Feature.LRO, Feature.RSS, Feature.RXINNEROFLD)
)
_INNER = wire.RCD_RSS_INNER | wire.RCD_HDR_INNER


class Lro(NamedTuple):
    """Of a packet merged from `segments`: their payload (0: unknown), duplicate ACKs, how far TCP timestamps moved."""

    segments: int
    mss: int
    dup_acks: int
    ts_delta: int


@dataclass(frozen=True)
class Received:
    """One packet as the device reported it.

    `parts`: (ring, rxdIdx, bytes) of each completion, in order; ring 2 is the data ring. `type` is the first
    completion's.
    """

    data: bytes
    queue: int
    parts: tuple[tuple[int, int, int], ...]
    err: bool
    vlan: int | None  # the stripped tag (PCP, DEI, VID)
    cnc: bool
    tuc: bool
    ipc: bool
    tcp: bool
    udp: bool
    v4: bool
    v6: bool
    frg: bool
    fcs: bool
    rss_type: int
    rss_hash: int
    type: int
    lro: Lro | None
    inner: bool  # protocol and checksum bits are of the header inside a tunnel
    rss_inner: bool
    sampled: bool  # the device asked for a time stamp

    @property
    def verified(self) -> bool:
        """What Linux takes as "checksum verified"."""
        return not self.cnc and self.tuc and (self.v6 or (self.v4 and self.ipc))


class First(NamedTuple):
    """What the completion with sop says and the last one does not."""

    word0: int
    type: int
    lro: Lro | None


class Judge:
    """Builds `Received` and complains of what a device of this version, with these features, may not say.

    `fields`: what is hashed beyond TCP, once the driver knows it.
    """

    def __init__(self, complain: Complain, features: int, version: int, max_frame: int) -> None:
        self.complain, self.features, self.version, self.max_frame = complain, features, version, max_frame
        self.fields: int | None = None
        self.sampling = False  # a ring for time stamps is there

    def begin(self, word0: int, word1: int, word3: int, kind: int) -> First:
        """A packet's first completion."""
        lro = None
        if kind == wire.CDTYPE_RXCOMP_LRO:
            low = wire.RX_COMP_LRO.mask["mss"]
            lro = Lro(word1 & 0xFF, word3 & low, word1 >> 8 & 0xFF, word1 >> 16)
            if not self.features & _LRO:
                self.complain("VMX-V-056", "a merged packet without LRO")
            if not lro.segments:
                self.complain("VMX-V-056", "a merged packet of 0 segments")
            if word0 & wire.RCD_EOP and word0 & wire.RX_COMP.mask["rssType"]:
                self.complain("VMX-V-056", "rssType in a completion whose hash is a segment count")
        if word0 & wire.RCD_EXT2 and not self.sampling:
            self.complain(
                "VMX-V-075" if self.version >= 9 else "VMX-V-041", "a time stamp is asked for, no ring for it"
            )
        return First(word0, kind, lro)

    def finish(
        self,
        first: First,
        words: tuple[int, int, int, int],
        data: bytes,
        queue: int,
        parts: tuple[tuple[int, int, int], ...],
    ) -> Received:
        """The packet, from its last completion's `words`."""
        word0, word1, word2, word3 = words
        alone = len(parts) == 1 and first.lro is not None  # then words 1 and 3 speak of the merging
        packet = Received(
            data=data,
            queue=queue,
            parts=parts,
            err=bool(word2 & wire.RCD_ERR),
            vlan=word2 >> wire.RCD_TCI_SHIFT if word2 & wire.RCD_TS else None,
            cnc=bool(word0 & wire.RCD_CNC),
            tuc=bool(word3 & wire.RCD_TUC),
            ipc=bool(word3 & wire.RCD_IPC),
            tcp=bool(word3 & wire.RCD_TCP),
            udp=bool(word3 & wire.RCD_UDP),
            v4=bool(word3 & wire.RCD_V4),
            v6=bool(word3 & wire.RCD_V6),
            frg=bool(word3 & wire.RCD_FRG),
            fcs=bool(word3 & wire.RCD_FCS),
            rss_type=(word0 & wire.RX_COMP.mask["rssType"]) >> wire.RCD_RSSTYPE_SHIFT,
            rss_hash=0 if alone else word1,
            type=first.type,
            lro=first.lro,
            inner=bool((word0 | (first.word0 if first.lro else 0)) & wire.RCD_HDR_INNER),
            rss_inner=bool(word0 & wire.RCD_RSS_INNER),
            sampled=bool(first.word0 & wire.RCD_EXT2),
        )
        self._judge(packet, word0, 0 if alone else word3 & wire.RX_COMP.mask["csum"])
        return packet

    def _judge(self, packet: Received, word0: int, csum: int) -> None:
        complain, features = self.complain, self.features
        if word0 & _INNER and self.version < 4:
            complain("VMX-V-041", f"reserved bits set in completion word 0: {word0:#x}")
        elif packet.inner and not features & _RXINNER:
            complain("VMX-V-053", "status of an inner header without RXINNEROFLD")
        if csum:
            complain("VMX-V-052", f"raw checksum {csum:#x} reported")
        if packet.frg and packet.tuc:
            complain("VMX-V-053", "frg with tuc")
        if (packet.v4 and packet.v6) or (packet.tcp and packet.udp):
            complain("VMX-V-053", f"two answers: v4={packet.v4} v6={packet.v6} tcp={packet.tcp} udp={packet.udp}")
        if not features & _RXCSUM and not packet.cnc:
            complain("VMX-V-053", "checksum status without RXCSUM")
        if packet.vlan is not None and not features & _RXVLAN:
            complain("VMX-V-054", "tag stripped without RXVLAN")
        self._judge_hash(packet.rss_type)
        if not packet.err and not packet.fcs:
            complain("VMX-V-041", "fcs clear on a good frame")
        if not packet.err and not packet.lro and len(packet.data) > self.max_frame:
            complain("VMX-V-049", f"{len(packet.data)} bytes, more than the MTU allows ({self.max_frame})")

    def _judge_hash(self, kind: int) -> None:
        if kind and not self.features & _RSS:
            self.complain("VMX-V-058", f"rssType {kind} without RSS")
        need = _NEEDS.get(kind, 0)
        if kind > 8 or (need and (self.version < 4 or (self.fields is not None and not self.fields & need))):
            self.complain("VMX-V-058", f"rssType {kind}, hashed are fields {self.fields}")
