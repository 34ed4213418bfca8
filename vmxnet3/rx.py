"""The receive ring loop: frames from the port into the driver's buffers, completions out.

Two speeds. `_plain` fills one HEAD buffer per frame for as long as that is all it takes; `_place` spreads a frame over
HEAD and BODY buffers of both rings, by the whole book.

Rules: VMX-D-050 to 052, VMX-V-041 to 054 (docs/RULES.md).
"""

from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pvdev.errors import GuestFault
from pvdev.mem import GuestMemory, Window
from pvdev.rings import Descriptor, Unread, owned, owner_table
from vmxnet3.completions import CompletionRing
from vmxnet3.offload import TPID, receive_facts
from vmxnet3.wire import (
    CDTYPE_RXCOMP,
    ETH_HEADER,
    MIN_T0_BUF_SIZE,
    RCD_CNC,
    RCD_EOP,
    RCD_ERR,
    RCD_FCS,
    RCD_GEN,
    RCD_RQID_SHIFT,
    RCD_SOP,
    RCD_TCI_SHIFT,
    RCD_TS,
    RCD_TYPE_SHIFT,
    RX_DESC,
    RXD_BTYPE,
    RXD_DTYPE,
    RXD_GEN,
    RXD_LEN,
    RXD_RSVD,
    VLAN_TAG,
    Feature,
)

Note = Callable[[str, str, int], None]


class Facts(NamedTuple):
    """What RSS found for one frame: the rssType bits of dword 0, and rssHash."""

    word0: int
    hash: int


CELL = RX_DESC.size
_OWNER_BYTE = 11  # bits 24 to 31 of word2: gen is bit 31
_OWNED = owner_table(RXD_GEN >> 24)
_UNPACK = RX_DESC.struct.iter_unpack
_ODD2 = RXD_BTYPE | RXD_DTYPE | RXD_RSVD
_TYPE3 = CDTYPE_RXCOMP << RCD_TYPE_SHIFT
_GOOD = RCD_FCS | _TYPE3
_BROADCAST = b"\xff" * 6
_NO_RSS = Facts(0, 0)
NOTHING = memoryview(b"")

LRO_PKTS, LRO_BYTES, UCAST, UCAST_BYTES, MCAST, MCAST_BYTES, BCAST, BCAST_BYTES, OUT_OF_BUF, ERROR = range(10)


class RxRing:
    """One command ring of a receive queue: ring 0 or ring 1."""

    __slots__ = ("address", "gen", "index", "mem", "next", "rqid", "size", "window")

    def __init__(self, mem: GuestMemory, index: int, address: int, size: int, rqid: int) -> None:
        self.mem, self.index, self.address, self.size, self.rqid = mem, index, address, size, rqid << RCD_RQID_SHIFT
        self.next, self.gen = 0, 1
        self.bind()

    def bind(self) -> None:
        """Find the ring in guest memory. Raises `DmaFault`."""
        self.window = self.mem.window(self.address, CELL * self.size) if self.size else Window(0, memoryview(b""), None)

    def ready(self, limit: int) -> int:
        """How many descriptors from `next` on are ours, at most `limit` and not past the end of the ring."""
        end = min(self.next + limit, self.size)
        return owned(self.window.view, _OWNER_BYTE, CELL, self.next, end, _OWNED[self.gen])

    def peek(self, ahead: int = 0) -> tuple[int, int] | None:
        """(addr, word2) of the descriptor `ahead` of `next` if it is ours, read once, owner first."""
        at, gen = self.next + ahead, self.gen
        if at >= self.size:
            at, gen = at - self.size, gen ^ 1
        if at >= self.size or not _OWNED[gen][self.window.view[CELL * at + _OWNER_BYTE]]:
            return None
        addr, word2, _ = RX_DESC.struct.unpack_from(self.window.view, CELL * at)
        return addr, word2

    def step(self, count: int = 1) -> None:
        self.next += count
        if self.next >= self.size:
            self.next, self.gen = self.next - self.size, self.gen ^ 1


class Step(NamedTuple):
    """One buffer a frame would take: the descriptor `ahead` of its ring's next one, its address and its room."""

    ring: RxRing
    ahead: int
    addr: int
    room: int

    @property
    def cell(self) -> int:
        """The descriptor's index."""
        return (self.ring.next + self.ahead) % self.ring.size

    def again(self) -> Descriptor:
        """What this descriptor looks like once it is posted again."""
        wrapped = self.ring.next + self.ahead >= self.ring.size
        return Descriptor(self.ring.index, self.cell, self.ring.gen if wrapped else self.ring.gen ^ 1)


class RxQueue:
    """One receive queue of an active device: two command rings, a completion ring, counters (UPT1_RxStats)."""

    def __init__(
        self,
        index: int,
        queues: int,
        mem: GuestMemory,
        note: Note,
        *,
        rings: Sequence[tuple[int, int]],
        comp: int,
        comp_size: int,
        mtu: int,
        max_sg: int,
    ) -> None:
        self.index, self.mem, self._note, self.mtu = index, mem, note, mtu
        self._most = max_sg or sum(size for _, size in rings)  # buffers one frame may take
        self.rings = tuple(RxRing(mem, i, address, size, index + i * queues) for i, (address, size) in enumerate(rings))
        self.stats = [0] * 10
        self.out: list[int] = []  # words of the completions to publish
        self.published = 0  # completions the last `service` published
        self.failed = 0
        self.features = Feature(0)
        small = comp_size < sum(size for _, size in rings)
        self.unread = Unread(comp_size, self._posted_again) if small else None
        self.comp = CompletionRing(mem, comp, comp_size)

    def bind(self) -> None:
        """Find the rings in guest memory. Raises `DmaFault`."""
        for ring in self.rings:
            ring.bind()
        self.comp.bind()

    def release(self) -> None:
        """Let go of guest memory."""
        self.comp.release()
        for ring in self.rings:
            ring.window.release()

    def windows(self) -> tuple[Window, ...]:
        return (self.comp.window, *(ring.window for ring in self.rings))

    def place(self, ring: RxRing, ahead: int = 0) -> str:
        return f"rx queue {self.index} ring {ring.index} descriptor {(ring.next + ahead) % max(ring.size, 1)}"

    # -- the loop -----------------------------------------------------------------------------------------------------

    def service(self, frames: Sequence[bytes], rss: Sequence[Facts] | None, *, wait: bool) -> int:
        """Deliver `frames` (already accepted by the filter), oldest first; return how many are done with.

        With `wait`, a frame there are no buffers for stops the delivery; else it is counted and dropped. `rss` has a
        pair per frame, or is None. Completions are published before this returns.
        """
        self.out, self.published = [], 0
        if self.failed:
            return len(frames)
        for ring in self.rings:
            ring.window.pull()
        at, end, longest = 0, len(frames), self.mtu + 18
        strip, check = bool(self.features & Feature.RXVLAN), bool(self.features & Feature.RXCSUM)
        while at < end:
            if self.unread is None:
                at = self._plain(frames, rss, at, strip, check)
                if at == end:
                    break
            frame = frames[at]
            if len(frame) > longest + 4 * (frame[12:14] == TPID):
                self.stats[ERROR] += 1
            else:
                placed = self._place(frame, rss[at] if rss is not None else _NO_RSS, strip, check, wait)
                if placed:
                    self._count(frame)
                elif placed is None:
                    if not wait:  # the rest of this round finds no buffer either: no search for each
                        self.stats[OUT_OF_BUF] += end - at
                        at = end
                    break
            at += 1
        self._publish()
        return at

    def _plain(self, frames: Sequence[bytes], rss: Sequence[Facts] | None, at: int, strip: bool, check: bool) -> int:
        """Deliver frames from index `at` while each fits the next HEAD buffer; return the first index that does not."""
        ring, memory = self.rings[0], self.mem
        n = ring.ready(len(frames) - at)
        first = index = ring.next
        low, room, view = 0, -1, NOTHING
        extend, base0 = self.out.extend, RCD_SOP | RCD_EOP | ring.rqid
        total, others, other_bytes, longest = 0, 0, 0, self.mtu + 18
        for addr, word2, _ in _UNPACK(ring.window.view[CELL * first : CELL * (first + n)]):
            frame = frames[at]
            length = len(frame)
            if word2 & _ODD2 or length > word2 & RXD_LEN or length > longest or word2 & RXD_LEN < MIN_T0_BUF_SIZE:
                break
            where = addr - low
            if where < 0 or where + length > room:
                try:
                    region = memory.region(addr)
                except GuestFault:
                    break
                if region.view is None or not region.writable or addr + length > region.hi:
                    break
                low, room, view = region.lo, region.hi - region.lo, region.view
                where = addr - low
            if strip and frame[12:14] == TPID:
                break
            view[where : where + length] = frame
            bits0, bits3 = receive_facts(frame) if check else (RCD_CNC, RCD_FCS)
            if rss is None:
                extend((base0 | index | bits0, 0, length, bits3 | _TYPE3))
            else:
                rss0, value = rss[at]
                extend((base0 | index | bits0 | rss0, value, length, bits3 | _TYPE3))
            if frame[0] & 1:
                others += 1
                other_bytes += length
                self._count(frame)
            total += length
            index += 1
            at += 1
        self.stats[UCAST] += index - first - others
        self.stats[UCAST_BYTES] += total - other_bytes
        ring.step(index - first)
        return at

    def _place(self, frame: bytes, rss: Facts, strip: bool, check: bool, wait: bool) -> bool | None:
        """Spread one frame over buffers. True: delivered; False: given up with an error; None: no buffers used."""
        bits0, bits3 = receive_facts(frame) if check else (RCD_CNC, RCD_FCS)
        word2_end = 0
        if strip and frame[12:14] == TPID and len(frame) >= ETH_HEADER + VLAN_TAG:
            word2_end = RCD_TS | (frame[14] << 8 | frame[15]) << RCD_TCI_SHIFT
            frame = frame[:12] + frame[16:]
        plan = self._plan(len(frame))
        short = sum(step.room for step in plan) < len(frame)
        if not plan or (short and wait and len(plan) < self._most and not self._hopeless(plan)):
            return None
        if self.unread is not None and self.unread.free() < len(plan):
            return None
        return self._fill(frame, plan, short, Facts(bits0 | rss.word0, rss.hash), word2_end, bits3)

    def _plan(self, length: int) -> list[Step]:
        """The buffers the next frame of `length` bytes would take, as far as they are there; nothing is consumed.

        A HEAD of ring 0 first; then BODYs: those right behind it in ring 0, else ring 1. Buffers without room are
        passed over, and misplaced ones.
        """
        ring0, ring1 = self.rings
        plan: list[Step] = []
        ahead0, ahead1 = self._pass_over(ring0, 0, RXD_BTYPE), 0
        while length > 0 and len(plan) < self._most:
            found = ring0.peek(ahead0)
            if plan and found is not None and found[1] & RXD_BTYPE and not found[1] & RXD_LEN:
                self._look(ring0, ahead0, found[1])
                ahead0 += 1
                continue
            if found is not None and bool(found[1] & RXD_BTYPE) == bool(plan):
                step = Step(ring0, ahead0, found[0], found[1] & RXD_LEN)
                ahead0 += 1
            elif plan:
                ahead1 = self._pass_over(ring1, ahead1, 0)
                if (found := ring1.peek(ahead1)) is None:
                    break
                step = Step(ring1, ahead1, found[0], found[1] & RXD_LEN)
                ahead1 += 1
            else:
                break
            self._look(step.ring, step.ahead, found[1])
            plan.append(step)
            length -= step.room
        return plan

    def _pass_over(self, ring: RxRing, ahead: int, other: int) -> int:
        """The first descriptor from `ahead` on that has room and is not of kind `other`, or none of ours.

        The turn of those before it passes without a completion: BODYs of ring 0 on the way to a HEAD, as Linux lays
        them out; a HEAD of ring 1 has no business there.
        """
        while ahead < ring.size and (found := ring.peek(ahead)) is not None:
            misplaced = found[1] & RXD_BTYPE == other
            if found[1] & RXD_LEN and not misplaced:
                break
            if misplaced and ring.index == 1:
                self._note("VMX-D-051", self.place(ring, ahead), found[1])
            elif not misplaced:
                self._look(ring, ahead, found[1])
            ahead += 1
        return ahead

    def _look(self, ring: RxRing, ahead: int, word2: int) -> None:
        if word2 & (RXD_DTYPE | RXD_RSVD):
            self._note("VMX-D-023", self.place(ring, ahead), word2)
        if word2 & RXD_LEN < (1 if word2 & RXD_BTYPE else MIN_T0_BUF_SIZE):
            self._note("VMX-D-050", self.place(ring, ahead), word2 & RXD_LEN)

    def _posted_again(self, cell: Descriptor) -> bool:
        return bool(_OWNED[cell.gen][self.rings[cell.ring].window.view[CELL * cell.cell + _OWNER_BYTE]])

    def _hopeless(self, plan: list[Step]) -> bool:
        """Whether no buffer the driver may still post can continue this frame.

        In ring 0 a HEAD stands right behind it, or the ring is used up; of ring 1 it has all a driver ever posts (one
        is kept free).
        """
        ring0, ring1 = self.rings
        used0, used1 = ([step.ahead + 1 for step in plan if step.ring is ring] for ring in self.rings)
        behind = ring0.peek(used0[-1])
        blocked0 = used0[-1] >= ring0.size - 1 or (behind is not None and not behind[1] & RXD_BTYPE)
        return blocked0 and (used1[-1] if used1 else 0) >= ring1.size - 1

    def _fill(self, frame: bytes, plan: list[Step], short: bool, rss: Facts, word2_end: int, bits3: int) -> bool:
        """Store `frame` into the planned buffers and queue their completions; `short`: it does not all fit."""
        bad, at, taken = short, 0, {}
        if short:
            self.stats[ERROR if len(plan) == self._most else OUT_OF_BUF] += 1
        for step in plan:
            part = frame[at : at + step.room]
            try:
                self.mem.write(step.addr, part)
            except GuestFault as fault:
                self._note("VMX-D-042", self.place(step.ring, step.ahead), fault.value)
                self.stats[ERROR] += not bad
                bad = True
            at += step.room
            last = step is plan[-1] or (bad and not short)
            word0 = step.cell | step.ring.rqid | (RCD_SOP if step is plan[0] else 0)
            if not last:
                self.out += (word0, 0, len(part), _TYPE3)
            elif bad:
                self.out += (word0 | RCD_EOP | RCD_CNC, 0, len(part) | RCD_ERR, _GOOD)
            else:
                self.out += (word0 | RCD_EOP | rss.word0, rss.hash, len(part) | word2_end, bits3 | _TYPE3)
            if self.unread is not None:
                self.unread.add(step.again())
            taken[step.ring] = step.ahead + 1
            if last:
                break
        for ring, count in taken.items():
            ring.step(count)
        return not bad

    def _count(self, frame: bytes) -> None:
        kind = UCAST
        if frame[0] & 1:
            kind = BCAST if frame[:6] == _BROADCAST else MCAST
        self.stats[kind] += 1
        self.stats[kind + 1] += len(frame)

    # -- completions --------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Store the completions gathered in `out`: everything under the old owner bit, then the owner words."""
        out, words, left = self.out, self.comp.words, 0
        self.published = len(out) // 4
        for at, n, gen in self.comp.spans(self.published):
            batch = array("I", out[4 * left : 4 * (left + n)])
            owners = batch[3::4]
            owned_words = array("I", [word | RCD_GEN for word in owners])
            if gen:
                final = owned_words
            else:
                final, batch[3::4] = owners, owned_words
            words[4 * at : 4 * (at + n)] = batch
            words[4 * at + 3 : 4 * (at + n) : 4] = final
            left += n
