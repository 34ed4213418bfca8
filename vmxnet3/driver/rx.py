"""The reference driver's receive rings: buffers out, completions in, each duty a driver can see checked.

Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c vmxnet3_rq_rx_complete (recovery from skipped descriptors).
"""

from collections.abc import Sequence
from struct import Struct

from pvdev.device import DmaBuffer
from vmxnet3 import wire
from vmxnet3.driver.common import GUARD, PATIENCE, Buffer, Sink, Take
from vmxnet3.driver.received import First, Judge, Received
from vmxnet3.driver.stamps import Stamps

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


class DataRing:
    """Slots of `slot` bytes for whole small packets, one per descriptor of ring 0 (version 3).

    The bytes before the first slot are watched, those behind the last, and with `watched` what a packet leaves of its.
    """

    _FRONT = 512  # keeps the alignment

    def __init__(self, take: Take, slots: int, slot: int, watched: bool) -> None:
        memory = take(self._FRONT + slots * slot, 512)
        self.slot, self.watched = slot, watched
        self.address = memory.address + self._FRONT
        self.front, self.memory = memory.view[: self._FRONT], memory.view[self._FRONT :]
        self._fence = bytes([GUARD]) * max(slot, self._FRONT)
        self.front[:] = self._fence[: self._FRONT]
        if watched:
            self.memory[:] = bytes([GUARD]) * (slots * slot)

    def take(self, index: int, size: int) -> tuple[bytes, bool]:
        """The bytes of a slot's packet, and whether those behind it stand; the slot is made ready again."""
        at, end = index * self.slot, (index + 1) * self.slot
        data = bytes(self.memory[at : at + size])
        if not self.watched:
            return data, True
        intact = self.memory[at + size : end] == self._fence[: self.slot - size]
        self.memory[at:end] = self._fence[: self.slot]
        return data, intact

    def intact(self) -> bool:
        return self.front == self._fence[: self._FRONT]


class RxQueue:
    """Two receive rings, their completion ring, and from version 3 on a data ring."""

    def __init__(
        self,
        index: int,
        queues: int,
        take: Take,
        judge: Judge,
        rings: tuple[RxRing, RxRing],
        *,
        comp: int,
        data: DataRing | None = None,
        stamps: Stamps | None = None,
    ) -> None:
        self.index, self.queues, self.rings, self.comp_size = index, queues, rings, comp
        self.judge, self._complain = judge, judge.complain
        self.data, self.stamps = data, stamps
        judge.sampling = stamps is not None
        self.comp = take(16 * comp, 512)
        self._done = self.comp.view.cast("I")
        self.next, self.gen = 0, wire.INIT_GEN
        self.recycle = True  # False: buffers stay ours until `refill`
        self.packets = self.errors = 0
        self._key = _RCD_KEY | (wire.RCD_EXT2 if stamps is not None else 0)
        self._data: list[bytes] = []
        self._parts: list[tuple[int, int, int]] = []
        self._first = First(0, 0, None)

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
        complain = self._complain
        index, rq = word0 & _RCD_IDX, (word0 & _RCD_RQID) >> wire.RCD_RQID_SHIFT
        sop, eop, size = word0 & wire.RCD_SOP, word0 & wire.RCD_EOP, word2 & wire.RX_COMP.mask["len"]
        kind = (word3 & wire.RX_COMP.mask["type"]) >> wire.RCD_TYPE_SHIFT
        if kind != wire.CDTYPE_RXCOMP and not (kind == wire.CDTYPE_RXCOMP_LRO and self.judge.version >= 2):
            complain("VMX-V-041", f"rx completion type {kind}")
        which, owner = divmod(rq, self.queues)
        if owner != self.index or which > 2 or (which == 2 and self.data is None):
            complain("VMX-V-042", f"rqID {rq} in queue {self.index} of {self.queues}")
        slots, ring = (self.data if which == 2 else None), self.rings[which & 1]
        if bool(sop) == bool(self._parts):
            complain("VMX-V-047", f"sop={bool(sop)} with {len(self._parts)} parts of a packet already there")
            self._data, self._parts = [], []
        if kind == wire.CDTYPE_RXCOMP_LRO and not sop:
            complain("VMX-V-056", "type 4 behind the start of a packet")
        if index >= ring.size:
            complain("VMX-V-043", f"rxdIdx {index} in a ring of {ring.size}")
            return None
        if sop or not self._parts:
            self._first = self.judge.begin(word0, word1, word3, kind)
        self._claim(ring, which & 1, index, bool(sop))
        if size > (slots.slot if slots else ring.lengths[index]):
            where = f"a slot of {slots.slot}" if slots else f"a buffer of {ring.lengths[index]}"
            complain("VMX-V-055" if slots else "VMX-V-049", f"{size} bytes in {where}")
        if size == 0 and not (sop and eop):
            complain("VMX-V-050", "a completion of 0 bytes inside a packet")
        if not ring.intact(index):
            complain(
                "VMX-V-043", f"ring {which & 1} descriptor {index}, or the guard behind its buffer, was overwritten"
            )
        if sop and word0 & wire.RCD_EXT2 and self.stamps is not None:
            self.stamps.stamp(index)
        self._data.append(self._bytes(ring, slots, index, size, bool(sop and eop)))
        self._parts.append((which, index, size))
        if not eop:
            return None
        parts, data = tuple(self._parts), b"".join(self._data)
        self._data, self._parts = [], []
        return self.judge.finish(self._first, (word0, word1, word2, word3), data, self.index, parts)

    def _bytes(self, ring: RxRing, slots: DataRing | None, index: int, size: int, whole: bool) -> bytes:
        """What one completion brought."""
        if slots is None:
            return bytes(ring.memory[index * ring.stride : index * ring.stride + size])
        if not whole:
            self._complain("VMX-V-055", "part of a packet in the data ring")
        data, intact = slots.take(index, size)
        if not (intact and slots.intact()):
            self._complain("VMX-V-055", f"bytes around the packet in data ring slot {index} were written")
        return data

    def _claim(self, ring: RxRing, which: int, index: int, sop: bool) -> None:
        """`index` comes back to us, with whatever the device skipped on the way."""
        complain = self._complain
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
        ring, data = self.rings[0], self.data
        room, index, stride, memory, rq = ring.uniform, ring.comp, ring.stride, ring.memory, self.index
        if not room:
            return 0
        n = self._ready(min(limit, PATIENCE, ring.size - index, ring.posted))
        if not n:
            return 0
        if data is not None and self._done[4 * self.next] & _RCD_RQID >= 2 * self.queues << wire.RCD_RQID_SHIFT:
            if data.watched:
                return 0
            room = stride = data.slot
            memory, rq = data.memory, self.index + 2 * self.queues
        kind, at, key = self.gen << 7 | wire.CDTYPE_RXCOMP, index * stride, self._key
        frames: list[Buffer] = []
        append, span = frames.append, self.comp.view[16 * self.next : 16 * (self.next + n)]
        first = wire.RCD_SOP | wire.RCD_EOP | rq << wire.RCD_RQID_SHIFT | index
        for expected, (word0, _, word2, word3) in enumerate(_WORDS.iter_unpack(span), first):
            size = word2 & _LEN_ERR
            if word0 & key != expected or not 0 < size <= room or word3 >> 24 != kind:
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
