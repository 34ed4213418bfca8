"""The receive ring loop: frames from the port into the driver's buffers, completions out.

Two speeds. `_plain` fills one HEAD buffer (or its data ring slot) per frame for as long as that is all it takes;
`_place` spreads a frame over HEAD and BODY buffers of both rings, by the whole book.

Rules: VMX-D-050 to 052, VMX-V-041 to 056 (docs/RULES.md).
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pvdev.errors import GuestFault
from pvdev.mem import GuestMemory, Window
from pvdev.rings import Descriptor, Unread
from vmxnet3.completions import CompletionRing
from vmxnet3.offloads.plain import TPID
from vmxnet3.offloads.rss import NOT_HASHED, Hashed
from vmxnet3.rx_ring import CELL, OWNED, OWNER_BYTE, RxRing, Step
from vmxnet3.rx_words import apply, facts_for, headers_length, shaped_facts
from vmxnet3.shape import Shape, Shaped
from vmxnet3.wire import (
    CDTYPE_RXCOMP,
    ETH_HEADER,
    MIN_T0_BUF_SIZE,
    RCD_CNC,
    RCD_EOP,
    RCD_ERR,
    RCD_EXT2,
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
    RXD_LEN,
    RXD_RSVD,
    VLAN_TAG,
    Feature,
)

Note = Callable[[str, str, int], None]

_UNPACK = RX_DESC.struct.iter_unpack
_ODD2 = RXD_BTYPE | RXD_DTYPE | RXD_RSVD
_TYPE3 = CDTYPE_RXCOMP << RCD_TYPE_SHIFT
_GOOD = RCD_FCS | _TYPE3
_BROADCAST = b"\xff" * 6
_AS_IT_IS = Shape()
_IP_MAX = 65535
NOTHING = memoryview(b"")

LRO_PKTS, LRO_BYTES, UCAST, UCAST_BYTES, MCAST, MCAST_BYTES, BCAST, BCAST_BYTES, OUT_OF_BUF, ERROR = range(10)


@dataclass(frozen=True)
class RxLayout:
    """Where one receive queue lies: (address, size) of both command rings, the completion ring, and the data ring's
    address and bytes per slot (0: none; it has a slot per descriptor of ring 0).

    `stamped`: there is a time stamp ring.
    """

    rings: tuple[tuple[int, int], ...]
    comp: int
    comp_size: int
    data: int = 0
    data_slot: int = 0
    stamped: bool = False


class RxQueue:
    """One receive queue of an active device: two command rings, a data ring, a completion ring, counters
    (UPT1_RxStats). `queues` is how many there are, `version` the device version, `max_sg` the most buffers one frame
    may take (0: any number)."""

    def __init__(
        self,
        index: int,
        queues: int,
        mem: GuestMemory,
        note: Note,
        layout: RxLayout,
        *,
        mtu: int,
        max_sg: int,
        version: int,
    ) -> None:
        self.index, self.mem, self._note, self.mtu = index, mem, note, mtu
        room = sum(size for _, size in layout.rings)
        self._most = max_sg or room
        self._mixed = version < 7  # ring 0 may hold BODYs behind a HEAD
        self.rings = tuple(
            RxRing(mem, i, address, size, index + i * queues) for i, (address, size) in enumerate(layout.rings)
        )
        self._data_at, self.data_slot = layout.data, layout.data_slot
        self._data_rqid = index + 2 * queues << RCD_RQID_SHIFT
        self.stats = [0] * 10
        self.out: list[int] = []  # words of the completions to publish
        self.published = 0  # completions the last `service` published
        self.failed = 0
        self.set_features(Feature(0))
        self.stamped = layout.stamped
        self.stamp_every = 0  # packets from one the driver is to time-stamp to the next; 0: none
        self._stamp_in = 0
        self._holding: list[tuple[int, int]] = []  # (completion of this round, ns) whose owner bit appears later
        self.held: list[tuple[int, int, int]] = []  # (when, completion, owner word), earliest first
        self._sample: tuple[int, int, int, int] | None = None  # the next descriptor as it was: index, gen, addr, word2
        self.unread = Unread(layout.comp_size, self._posted_again) if layout.comp_size < room else None
        self.comp = CompletionRing(mem, layout.comp, layout.comp_size)
        self._bind_data()

    def _bind_data(self) -> None:
        size = self.data_slot * self.rings[0].size
        self.data = self.mem.window(self._data_at, size, write=True) if size else Window(0, memoryview(b""), None)

    def bind(self) -> None:
        """Find the rings in guest memory. Raises `DmaFault`."""
        for ring in self.rings:
            ring.bind()
        self.comp.bind()
        self._bind_data()

    def release(self) -> None:
        """Let go of guest memory."""
        self.comp.release()
        self.data.release()
        for ring in self.rings:
            ring.window.release()

    def windows(self) -> tuple[Window, ...]:
        return (self.comp.window, self.data, *(ring.window for ring in self.rings))

    def set_features(self, features: Feature) -> None:
        """What completions report follows from what the driver asked for."""
        self.strip, self.facts = bool(features & Feature.RXVLAN), facts_for(features)

    def place(self, ring: RxRing, ahead: int = 0) -> str:
        return f"rx queue {self.index} ring {ring.index} descriptor {(ring.next + ahead) % max(ring.size, 1)}"

    # -- the loop -----------------------------------------------------------------------------------------------------

    def service(
        self, frames: Sequence[bytes], hashed: Sequence[Hashed] | None, *, wait: bool, shaped: bool, now_ns: int
    ) -> int:
        """Deliver `frames` (already accepted by the filter), oldest first; return how many are done with.

        With `wait`, a frame there are no buffers for stops the delivery; else it is counted and dropped. `hashed` has
        an entry per frame, or is None; `shaped`: some frames are `Shaped`. Completions are published before this
        returns.
        """
        self.out, self.published = [], 0
        if self.failed:
            return len(frames)
        for ring in self.rings:
            ring.window.pull()
        self._compare()
        at, end = 0, len(frames)
        while at < end:
            stop = end
            if shaped:
                stop = next((i for i in range(at, end) if type(frames[i]) is Shaped), end)
            if self.unread is None and at < stop:
                at = self._plain(frames, hashed, at, stop)
                if at == end:
                    break
            frame = frames[at]
            shape = frame.shape if isinstance(frame, Shaped) else _AS_IT_IS
            if len(frame) > self._longest(frame, shape):
                self.stats[ERROR] += 1
            else:
                placed = self._place(frame, hashed[at] if hashed is not None else NOT_HASHED, shape, wait, now_ns)
                if placed:
                    self._count(frame, shape)
                elif placed is None:
                    if not wait:  # the rest of this round finds no buffer either: no search for each
                        self.stats[OUT_OF_BUF] += end - at
                        at = end
                    break
            at += 1
        if self.stamp_every:
            self._ask_for_stamps()
        self._publish()
        following = self.rings[0].peek()
        self._sample = None if following is None else (self.rings[0].next, self.rings[0].gen, *following)
        return at

    def _longest(self, frame: bytes, shape: Shape) -> int:
        tagged = VLAN_TAG * (frame[12:14] == TPID)
        return (self.mtu + 18 if shape.lro is None else _IP_MAX + ETH_HEADER) + tagged

    def _plain(self, frames: Sequence[bytes], hashed: Sequence[Hashed] | None, at: int, stop: int) -> int:
        """Deliver frames from index `at` while each fits the next HEAD buffer; return the first index that does not."""
        ring, memory, strip, facts = self.rings[0], self.mem, self.strip, self.facts
        n = ring.ready(stop - at)
        first = index = ring.next
        low, room, view = 0, -1, NOTHING
        slot, slots, base_slot = self.data_slot, self.data.view, RCD_SOP | RCD_EOP | self._data_rqid
        extend, base_ring = self.out.extend, RCD_SOP | RCD_EOP | ring.rqid
        total, others, other_bytes, longest = 0, 0, 0, self.mtu + 18
        for addr, word2, _ in _UNPACK(ring.window.view[CELL * first : CELL * (first + n)]):
            frame = frames[at]
            length = len(frame)
            if word2 & _ODD2 or length > word2 & RXD_LEN or length > longest or word2 & RXD_LEN < MIN_T0_BUF_SIZE:
                break
            if strip and frame[12:14] == TPID:
                break
            if length <= slot:
                slots[slot * index : slot * index + length] = frame
                base = base_slot
            else:
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
                view[where : where + length] = frame
                base = base_ring
            bits0, bits3 = facts(frame)
            if hashed is None:
                extend((base | index | bits0, 0, length, bits3 | _TYPE3))
            else:
                _, hashed0, value = hashed[at]
                extend((base | index | bits0 | hashed0, value, length, bits3 | _TYPE3))
            if frame[0] & 1:
                others += 1
                other_bytes += length
                self._count(frame, _AS_IT_IS)
            total += length
            index += 1
            at += 1
        if slot and index > first:
            self.data.push(slot * first, slot * (index - first))
        self.stats[UCAST] += index - first - others
        self.stats[UCAST_BYTES] += total - other_bytes
        ring.step(index - first)
        return at

    def _place(self, frame: bytes, hashed: Hashed, shape: Shape, wait: bool, now_ns: int) -> bool | None:
        """Spread one frame over buffers. True: delivered; False: given up with an error; None: no buffers used."""
        bits0, bits3 = shaped_facts(frame, shape, self.facts)
        word2_end = 0
        if shape.strip is not None:
            word2_end = RCD_TS | shape.strip << RCD_TCI_SHIFT
        elif self.strip and frame[12:14] == TPID and len(frame) >= ETH_HEADER + VLAN_TAG:
            word2_end = RCD_TS | (frame[14] << 8 | frame[15]) << RCD_TCI_SHIFT
            frame = frame[:12] + frame[16:]
        if shape.length is not None:
            frame = frame[: shape.length]
        slotted = 0 < self.data_slot >= len(frame)  # then its HEAD buffer is only consumed, however small
        plan = self._plan(1 if slotted else max(len(frame), 1))
        short = not slotted and sum(step.room for step in plan) < len(frame)
        if not plan or (short and wait and len(plan) < self._most and not self._hopeless(plan)):
            return None
        if self.unread is not None and self.unread.free() < len(plan):
            return None
        start = len(self.out)
        good = self._fill(frame, plan, short, hashed._replace(word0=bits0 | hashed.word0), word2_end, bits3)
        if good and shape is not _AS_IT_IS:
            apply(self.out, start, shape)
            if shape.hold_ns:
                self._holding.append((len(self.out) // 4 - 1, now_ns + shape.hold_ns))
        return good

    def capacity(self) -> int:
        """Bytes one packet may surely have, in buffers like the next ones: a HEAD, and BODYs of ring 1."""
        ring0, ring1 = self.rings
        for ring in self.rings:
            ring.window.pull()
        ahead, head, body = 0, ring0.peek(), ring1.peek()
        while head is not None and head[1] & RXD_BTYPE and ahead < ring0.size:
            ahead += 1
            head = ring0.peek(ahead)
        if head is None:
            return 0
        bodies = min(self._most, ring1.size) - 1
        return (head[1] & RXD_LEN) + (bodies * (body[1] & RXD_LEN) if body is not None and bodies > 0 else 0)

    # -- buffers ------------------------------------------------------------------------------------------------------

    def _plan(self, length: int) -> list[Step]:
        """The buffers the next frame of `length` bytes would take, as far as they are there; nothing is consumed.

        A HEAD of ring 0 first; then BODYs: those right behind it in ring 0 (below version 7), else ring 1. Buffers
        without room are passed over, and misplaced ones.
        """
        ring0, ring1 = self.rings
        plan: list[Step] = []
        ahead0, ahead1 = self._pass_over(ring0, 0, RXD_BTYPE), 0
        while length > 0 and len(plan) < self._most:
            found = ring0.peek(ahead0) if self._mixed or not plan else None
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
        them out below version 7; a HEAD of ring 1 has no business there.
        """
        while ahead < ring.size and (found := ring.peek(ahead)) is not None:
            misplaced = found[1] & RXD_BTYPE == other
            if found[1] & RXD_LEN and not misplaced:
                break
            if misplaced and (ring.index == 1 or not self._mixed):
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

    def _compare(self) -> None:
        """The descriptor that was next when the last round ended must still be what it was: it is the device's."""
        ring = self.rings[0]
        if self._sample is not None and (ring.next, ring.gen) == self._sample[:2]:
            found = ring.peek()
            if found is not None and found != self._sample[2:]:
                self._note("VMX-D-052", self.place(ring), found[1])

    def _posted_again(self, cell: Descriptor) -> bool:
        return bool(OWNED[cell.gen][self.rings[cell.ring].window.view[CELL * cell.cell + OWNER_BYTE]])

    def _hopeless(self, plan: list[Step]) -> bool:
        """Whether no buffer the driver may still post can continue this frame.

        In ring 0 a HEAD stands right behind it, or the ring is used up; of ring 1 it has all a driver ever posts (one
        is kept free).
        """
        ring0, ring1 = self.rings
        used0, used1 = ([step.ahead + 1 for step in plan if step.ring is ring] for ring in self.rings)
        behind = ring0.peek(used0[-1])
        blocked0 = used0[-1] >= ring0.size - 1 or (behind is not None and not behind[1] & RXD_BTYPE)
        return (blocked0 or not self._mixed) and (used1[-1] if used1 else 0) >= ring1.size - 1

    def _fill(self, frame: bytes, plan: list[Step], short: bool, hashed: Hashed, word2_end: int, bits3: int) -> bool:
        """Store `frame` into the planned buffers and queue their completions; `short`: it does not all fit."""
        bad, at, taken = short, 0, {}
        if short:
            self.stats[ERROR if len(plan) == self._most else OUT_OF_BUF] += 1
        for step in plan:
            part, rqid = frame[at : at + step.room], step.ring.rqid
            if 0 < self.data_slot >= len(frame):
                part, where, rqid = frame, self.data_slot * step.cell, self._data_rqid
                self.data.view[where : where + len(part)] = part
                self.data.push(where, len(part))
            else:
                try:
                    self.mem.write(step.addr, part)
                except GuestFault as fault:
                    self._note("VMX-D-042", self.place(step.ring, step.ahead), fault.value)
                    self.stats[ERROR] += not bad
                    bad = True
            at += step.room
            last = step is plan[-1] or (bad and not short)
            word0 = step.cell | rqid | (RCD_SOP if step is plan[0] else 0)
            if not last:
                self.out += (word0, 0, len(part), _TYPE3)
            elif bad:
                self.out += (word0 | RCD_EOP | RCD_CNC, 0, len(part) | RCD_ERR, _GOOD)
            else:
                self.out += (word0 | RCD_EOP | hashed.word0, hashed.hash, len(part) | word2_end, bits3 | _TYPE3)
            if self.unread is not None:
                self.unread.add(step.again())
            taken[step.ring] = step.ahead + 1
            if last:
                break
        for ring, count in taken.items():
            ring.step(count)
        return not bad

    def _count(self, frame: bytes, shape: Shape) -> None:
        """One frame more in the counters; one that was merged counts as what came over the wire, and as merged."""
        stats, length, frames = self.stats, len(frame), 1
        kind = UCAST
        if frame[0] & 1:
            kind = BCAST if frame[:6] == _BROADCAST else MCAST
        if shape.lro is not None:
            frames = max(shape.lro.segments, 1)
            stats[LRO_PKTS] += 1
            stats[LRO_BYTES] += length
            length += (frames - 1) * headers_length(frame)
        stats[kind] += frames
        stats[kind + 1] += length

    # -- completions --------------------------------------------------------------------------------------------------

    def _ask_for_stamps(self) -> None:
        """Every so many packets, the first completion asks the driver for a time stamp (version 9)."""
        for at in range(0, len(self.out), 4):
            if self.out[at] & RCD_SOP:
                if self._stamp_in <= 0:
                    self._stamp_in = self.stamp_every
                    self.out[at] |= RCD_EXT2
                self._stamp_in -= 1

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
            if self._holding:
                self._hold(final, at, left)
            words[4 * at : 4 * (at + n)] = batch
            words[4 * at + 3 : 4 * (at + n) : 4] = final
            left += n

    def _hold(self, final: "array[int]", at: int, left: int) -> None:
        """Keep back the owner bits of held completions of one stretch: `final[0]` is the round's completion `left`."""
        for ordinal, when in [entry for entry in self._holding if left <= entry[0] < left + len(final)]:
            self._holding.remove((ordinal, when))
            self.held.append((when, at + ordinal - left, final[ordinal - left]))
            final[ordinal - left] ^= RCD_GEN
        self.held.sort()

    def release_held(self, now_ns: int) -> int:
        """Publish the held completions that are due; how many."""
        due = [entry for entry in self.held if entry[0] <= now_ns]
        for entry in due:
            _, index, word = entry
            self.held.remove(entry)
            self.comp.words[4 * index + 3] = word
            self.comp.window.push(CELL * index, CELL)
        return len(due)
