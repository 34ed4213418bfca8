"""The reference driver's receive rings: buffers out, completions in, each duty a driver can see checked.

Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c vmxnet3_rq_rx_complete (recovery from skipped descriptors).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from pvdev.device import DmaBuffer
from vmxnet3 import wire
from vmxnet3.driver.common import GUARD, PATIENCE, Buffer, Complain, Sink, Take

_WORDS = Struct("<IIII")
_RCD_IDX, _RCD_RQID = wire.RX_COMP.mask["rxdIdx"], wire.RX_COMP.mask["rqID"]
_RCD_KEY = wire.RCD_SOP | wire.RCD_EOP | _RCD_RQID | _RCD_IDX
_LEN_ERR = wire.RX_COMP.mask["len"] | wire.RCD_ERR


class RxRing:
    """One receive descriptor ring with a fixed buffer behind each descriptor, so that gen alone re-arms it.

    `kinds` is the repeating pattern of (btype, bytes); `guard` bytes behind each buffer are watched.
    """

    def __init__(self, take: Take, size: int, kinds: Sequence[tuple[int, int]], guard: int) -> None:
        self.size, self.kinds, self.guard = size, tuple(kinds), guard
        self.stride = -(-(max(length for _, length in kinds) + guard) // 64) * 64
        self.fill = self.comp = self.posted = self.target = 0
        self.gen = wire.INIT_GEN
        self.rings: DmaBuffer | None = None
        self.address = 0
        if not size:
            return
        self.rings, self.pool = take(16 * size, 512), take(size * self.stride, 64)
        self.view, self.memory, self.address = self.rings.view, self.pool.view, self.rings.address
        self.lengths = [self.kinds[i % len(self.kinds)][1] for i in range(size)]
        self.btypes = [self.kinds[i % len(self.kinds)][0] for i in range(size)]
        self._fence = bytes([GUARD]) * guard
        cells = [[], []]  # type: list[list[bytes]]
        for i in range(size):
            for gen in (0, 1):
                cells[gen].append(
                    wire.RX_DESC.encode(
                        addr=self.pool.address + i * self.stride, len=self.lengths[i], btype=self.btypes[i], gen=gen
                    )
                )
            end = i * self.stride + self.lengths[i]
            self.memory[end : end + guard] = self._fence
        self.templates = tuple(memoryview(b"".join(part)) for part in cells)
        self.view[:] = self.templates[0]
        self.shadow = memoryview(bytearray(self.templates[0]))

    @property
    def uniform(self) -> int:
        """The length of every buffer when all are HEADs of one size, else 0."""
        return self.kinds[0][1] if len(self.kinds) == 1 and self.kinds[0][0] == 0 else 0

    def post(self, count: int) -> None:
        """Give the next `count` descriptors to the device: only their gen bits change."""
        while count > 0:
            lo, hi = self.fill, min(self.fill + count, self.size)
            part = self.templates[self.gen][16 * lo : 16 * hi]
            self.view[16 * lo : 16 * hi] = part
            self.shadow[16 * lo : 16 * hi] = part
            count -= hi - lo
            self.posted += hi - lo
            self.fill = hi
            if hi == self.size:
                self.fill, self.gen = 0, self.gen ^ 1

    def refill(self) -> int:
        """Give everything that is ours, up to `target`, back to the device; how many."""
        count = self.target - self.posted
        if count > 0:
            self.post(count)
        return count

    def intact(self, index: int) -> bool:
        """The descriptor is as we wrote it, and so are the guard bytes behind its buffer."""
        at, end = 16 * index, index * self.stride + self.lengths[index]
        return self.view[at : at + 16] == self.shadow[at : at + 16] and (
            self.memory[end : end + self.guard] == self._fence
        )


@dataclass(frozen=True)
class Received:
    """One packet as the device reported it. `parts`: (ring, rxdIdx, bytes) of each completion, in order."""

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

    @property
    def verified(self) -> bool:
        """What Linux takes as "checksum verified"."""
        return not self.cnc and self.tuc and (self.v6 or (self.v4 and self.ipc))


class RxQueue:
    """Two receive rings and their completion ring."""

    def __init__(
        self,
        index: int,
        queues: int,
        take: Take,
        complain: Complain,
        rings: tuple[RxRing, RxRing],
        *,
        comp: int,
        max_frame: int,
        features: int,
        version: int,
    ) -> None:
        self.index, self.queues, self.rings, self.comp_size = index, queues, rings, comp
        self.max_frame, self.features, self.version = max_frame, features, version
        self._complain = complain
        self.comp = take(16 * comp, 512)
        self._done = self.comp.view.cast("I")
        self.next, self.gen = 0, wire.INIT_GEN
        self.recycle = True  # False: buffers stay ours until `refill`
        self.packets = self.errors = 0
        self._data: list[bytes] = []
        self._parts: list[tuple[int, int, int]] = []

    def refill(self) -> int:
        """Re-arm both rings by gen; how many descriptors."""
        return sum(ring.refill() for ring in self.rings)

    def _ready(self, limit: int) -> int:
        done, gen, i = self._done, self.gen << 31, self.next
        end = min(self.comp_size, i + limit)
        while i < end and done[4 * i + 3] & wire.RCD_GEN == gen:
            i += 1
        return i - self.next

    def _step(self, count: int) -> None:
        self.next += count
        if self.next == self.comp_size:
            self.next, self.gen = 0, self.gen ^ 1

    # -- one packet, every duty checked -----------------------------------------------------------------------------

    def take(self) -> Received | None:
        """The next packet, or None when its last completion is not there yet."""
        while self._ready(1):
            done = self._done[4 * self.next : 4 * self.next + 4].tolist()
            self._step(1)
            packet = self._part(*done)
            if packet is not None:
                self.packets += 1
                self.errors += packet.err
                if self.recycle:
                    self.refill()
                return packet
        return None

    def _part(self, word0: int, word1: int, word2: int, word3: int) -> Received | None:
        complain, rcd = self._complain, wire.RX_COMP
        index, rq = word0 & _RCD_IDX, (word0 & _RCD_RQID) >> wire.RCD_RQID_SHIFT
        sop, eop, size = word0 & wire.RCD_SOP, word0 & wire.RCD_EOP, word2 & rcd.mask["len"]
        kind = (word3 & rcd.mask["type"]) >> wire.RCD_TYPE_SHIFT
        if kind != wire.CDTYPE_RXCOMP and not (kind == wire.CDTYPE_RXCOMP_LRO and self.version >= 2):
            complain("VMX-V-041", f"rx completion type {kind}")
        which, owner = divmod(rq, self.queues)
        if which > 1 or owner != self.index:
            complain("VMX-V-042", f"rqID {rq} in queue {self.index} of {self.queues}")
        ring = self.rings[min(which, 1)]
        if bool(sop) == bool(self._parts):
            complain("VMX-V-047", f"sop={bool(sop)} with {len(self._parts)} parts of a packet already there")
            self._data, self._parts = [], []
        self._claim(ring, which, index, bool(sop))
        if size > ring.lengths[index]:
            complain("VMX-V-049", f"{size} bytes in a buffer of {ring.lengths[index]}")
        if size == 0 and not (sop and eop):
            complain("VMX-V-050", "a completion of 0 bytes inside a packet")
        if not ring.intact(index):
            complain("VMX-V-043", f"ring {which} descriptor {index}, or the guard behind its buffer, was overwritten")
        at = index * ring.stride
        self._data.append(bytes(ring.memory[at : at + size]))
        self._parts.append((which, index, size))
        if not eop:
            return None
        packet = self._finish(word0, word1, word2, word3, kind)
        self._data, self._parts = [], []
        return packet

    def _claim(self, ring: RxRing, which: int, index: int, sop: bool) -> None:
        """`index` comes back to us, with whatever the device skipped on the way."""
        complain = self._complain
        if index >= ring.size:
            complain("VMX-V-043", f"rxdIdx {index} in a ring of {ring.size}")
            return
        ahead = (index - ring.comp) % ring.size
        if ahead >= ring.posted:
            complain("VMX-V-043", f"ring {which} descriptor {index} is not the device's ({ring.posted} are)")
            return
        skipped = {ring.btypes[(ring.comp + k) % ring.size] for k in range(ahead)}
        if ahead and (which or not sop or 0 in skipped):
            complain("VMX-V-044", f"{ahead} descriptors of ring {which} skipped before {index}, types {skipped}")
        if sop and (which or ring.btypes[index]):
            complain("VMX-V-050", f"a packet starts in ring {which}, btype {ring.btypes[index]}")
        if not sop and not ring.btypes[index]:
            complain("VMX-V-050", f"a packet goes on in HEAD {index} of ring {which}")
        ring.comp = (index + 1) % ring.size
        ring.posted -= ahead + 1

    def _finish(self, word0: int, word1: int, word2: int, word3: int, kind: int) -> Received:
        complain, features, mask = self._complain, self.features, wire.RX_COMP.mask
        err, ts = bool(word2 & wire.RCD_ERR), bool(word2 & wire.RCD_TS)
        data = b"".join(self._data)
        packet = Received(
            data=data,
            queue=self.index,
            parts=tuple(self._parts),
            err=err,
            vlan=word2 >> wire.RCD_TCI_SHIFT if ts else None,
            cnc=bool(word0 & wire.RCD_CNC),
            tuc=bool(word3 & wire.RCD_TUC),
            ipc=bool(word3 & wire.RCD_IPC),
            tcp=bool(word3 & wire.RCD_TCP),
            udp=bool(word3 & wire.RCD_UDP),
            v4=bool(word3 & wire.RCD_V4),
            v6=bool(word3 & wire.RCD_V6),
            frg=bool(word3 & wire.RCD_FRG),
            fcs=bool(word3 & wire.RCD_FCS),
            rss_type=(word0 & mask["rssType"]) >> wire.RCD_RSSTYPE_SHIFT,
            rss_hash=word1,
            type=kind,
        )
        if word0 & (mask["ext1"] | mask["ext2"]) and self.version < 4:
            complain("VMX-V-041", f"reserved bits set in completion word 0: {word0:#x}")
        if word3 & mask["csum"]:
            complain("VMX-V-052", f"raw checksum {word3 & mask['csum']:#x} reported")
        if packet.frg and packet.tuc:
            complain("VMX-V-053", "frg with tuc")
        if (packet.v4 and packet.v6) or (packet.tcp and packet.udp):
            complain("VMX-V-053", f"two answers: v4={packet.v4} v6={packet.v6} tcp={packet.tcp} udp={packet.udp}")
        if not features & wire.Feature.RXCSUM and not packet.cnc:
            complain("VMX-V-053", "checksum status without RXCSUM")
        if ts and not features & wire.Feature.RXVLAN:
            complain("VMX-V-054", "tag stripped without RXVLAN")
        if packet.rss_type and not features & wire.Feature.RSS:
            complain("VMX-V-058", f"rssType {packet.rss_type} without RSS")
        if not err and not packet.fcs:
            complain("VMX-V-041", "fcs clear on a good frame")
        if not err and kind == wire.CDTYPE_RXCOMP and len(data) > self.max_frame:
            complain("VMX-V-049", f"{len(data)} bytes, more than the MTU allows ({self.max_frame})")
        return packet

    # -- many packets, at speed -------------------------------------------------------------------------------------

    def drain(self, sink: Sink, limit: int) -> int:
        """Hand up to `limit` good frames to `sink`, then re-arm their buffers; how many.

        A run of single-buffer frames goes out as views of the buffers, without a copy; a packet of several buffers is
        joined first. Packets with err are counted in `errors` and dropped.
        """
        total = 0
        while total < limit:
            if not self._parts and self.recycle and (run := self._run(sink, limit - total)):
                total += run
            elif (packet := self.take()) is not None:
                if not packet.err:
                    sink(self.index, [packet.data])
                    total += 1
            else:
                break
        return total

    def _run(self, sink: Sink, limit: int) -> int:
        ring = self.rings[0]
        room, index, stride, memory = ring.uniform, ring.comp, ring.stride, ring.memory
        if not room:
            return 0
        n = self._ready(min(limit, PATIENCE, ring.size - index, ring.posted))
        if not n:
            return 0
        kind, at = self.gen << 7 | wire.CDTYPE_RXCOMP, index * stride
        frames: list[Buffer] = []
        append, span = frames.append, self.comp.view[16 * self.next : 16 * (self.next + n)]
        first = wire.RCD_SOP | wire.RCD_EOP | self.index << wire.RCD_RQID_SHIFT | index
        for expected, (word0, _, word2, word3) in enumerate(_WORDS.iter_unpack(span), first):
            size = word2 & _LEN_ERR
            if word0 & _RCD_KEY != expected or not 0 < size <= room or word3 >> 24 != kind:
                break
            append(memory[at : at + size])
            at += stride
        count = len(frames)
        if count:
            sink(self.index, frames)
            self._step(count)
            ring.comp = (index + count) % ring.size
            ring.posted -= count
            ring.refill()
            self.packets += count
        return count
