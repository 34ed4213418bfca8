"""The transmit ring loop: descriptors in, frames to the port, completions out.

Two speeds. `_plain` takes runs of one-descriptor frames without offload, the bulk of real traffic, at a few hundred
nanoseconds each; whatever it does not know it leaves to `_packet`, which goes by the whole book.

Rules: VMX-D-036 to 049, VMX-V-021 to 039 (docs/RULES.md).
"""

from array import array
from collections.abc import Callable, Sequence

from pvdev.errors import GuestFault
from pvdev.mem import GuestMemory, Window
from pvdev.rings import owned, owner_table
from vmxnet3.completions import CompletionRing
from vmxnet3.offloads.encap import FRAGMENT, Tunnel, capabilities, fill_outer, parse, tunnel_segments
from vmxnet3.offloads.plain import L4_FIELD, BadPacket, fill_checksum, insert_tag, ip_at, seed, segments
from vmxnet3.wire import (
    ETH_HEADER,
    HARD_TXD_PER_PKT,
    MAX_CSUM_OFFSET,
    MAX_TSO_TXD_PER_PKT,
    MAX_TXD_PER_PKT,
    OM_CSUM,
    OM_ENCAP,
    OM_NONE,
    OM_TSO,
    TCD_GEN,
    TX_DESC,
    TXD_CQ,
    TXD_DTYPE,
    TXD_EOP,
    TXD_EXT1,
    TXD_EXT2,
    TXD_GEN,
    TXD_HLEN,
    TXD_LEN,
    TXD_LEN_MAX,
    TXD_MSSCOF_SHIFT,
    TXD_OCO,
    TXD_OM,
    TXD_OM_SHIFT,
    TXD_TCI_SHIFT,
    TXD_TI,
    Cap,
    QueueError,
)

Buffer = bytes | bytearray | memoryview
Fields = tuple[int, int, int]  # addr, word2, word3 of a descriptor
Note = Callable[[str, str, int], None]

CELL = TX_DESC.size
_OWNER_BYTE = 9  # bits 8 to 15 of word2: gen is bit 14
_OWNED = owner_table(TXD_GEN >> 8)
_UNPACK = TX_DESC.struct.iter_unpack

_ODD2 = TXD_DTYPE | TXD_EXT1 | TXD_OCO
_SHAPE3 = TXD_EOP | TXD_CQ | TXD_OM | TXD_EXT2 | TXD_TI
_PLAIN3 = TXD_EOP | TXD_CQ
_BROADCAST = b"\xff" * 6
_FRAMES_MAX = 1024  # in one round, before the packet that goes beyond it: TSO makes up to 65,000 of one descriptor
NOTHING = memoryview(b"")

TSO_PKTS, TSO_BYTES, UCAST, UCAST_BYTES, MCAST, MCAST_BYTES, BCAST, BCAST_BYTES, ERROR, DISCARD = range(10)


class _NotOffered(Exception):
    """A packet asks for an offload that was not negotiated: `value` are the missing capabilities."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


class TxQueue:
    """One transmit queue of an active device: its rings and where it stands in them.

    `version` is the device's, `caps` what was negotiated (read from version 7 on; may change while active). `stats` are
    the ten counters of UPT1_TxStats. `failed` is the QueueError that stopped it, or 0.
    """

    def __init__(
        self,
        index: int,
        mem: GuestMemory,
        note: Note,
        *,
        ring: int,
        size: int,
        comp: int,
        comp_size: int,
        mtu: int,
        version: int = 1,
        caps: int = 0,
    ) -> None:
        self.index, self.mem, self._note, self.mtu = index, mem, note, mtu
        self.version, self.caps = version, Cap(caps)
        self._encap = 4 <= version <= 6  # OM_ENCAP exists
        self._odd2 = TXD_DTYPE | (TXD_EXT1 if version < 7 else 0) | (TXD_OCO if version < 4 else 0)
        self.ring_at, self.size = ring, size
        self.next, self.gen = 0, 1  # the next descriptor, and the owner bit that makes it ours
        self.parts: list[Fields] = []  # a packet whose last descriptor has not been seen
        self.stats = [0] * 10
        self.done: list[int] = []  # EOP indices of the packets to complete
        self._first = 0, 1  # of this round: the first descriptor, and the owner bit it had
        self._read: list[tuple[int, list[Fields]]] = []  # packets of this round taken by the book: EOP index, fields
        self._reused: tuple[int, int] | None = None  # a descriptor found rewritten before its completion, its word2
        self.failed = 0
        self._told = False
        self._bind_ring()
        self.comp = CompletionRing(mem, comp, comp_size)

    def _bind_ring(self) -> None:
        self.ring: Window = self.mem.window(self.ring_at, CELL * self.size)

    def bind(self) -> None:
        """Find the rings in guest memory. Raises `DmaFault`."""
        self._bind_ring()
        self.comp.bind()

    def release(self) -> None:
        """Let go of guest memory."""
        self.comp.release()
        self.ring.release()

    def windows(self) -> tuple[Window, ...]:
        return self.ring, self.comp.window

    def place(self, index: int) -> str:
        return f"tx queue {self.index} descriptor {index}"

    # -- the loop -----------------------------------------------------------------------------------------------------

    def ready(self, limit: int) -> int:
        """How many descriptors from `next` on are ours, at most `limit` and not past the end of the ring."""
        end = min(self.next + limit, self.size)
        return owned(self.ring.view, _OWNER_BYTE, CELL, self.next, end, _OWNED[self.gen])

    def idle(self) -> bool:
        """Nothing to do, told by one byte: what a round costs for each queue that has no work."""
        if self.parts or self._reused or self.ring.remote is not None:
            return False
        return not _OWNED[self.gen][self.ring.view[CELL * self.next + _OWNER_BYTE]]

    def published(self, limit: int) -> int:
        """How many descriptors from `next` on are ours, at most `limit`, past the end of the ring too."""
        n = self.ready(limit)
        if n < limit and self.next + n == self.size:
            n += owned(self.ring.view, _OWNER_BYTE, CELL, 0, min(limit - n, self.next), _OWNED[self.gen ^ 1])
        return n

    def service(self, budget: int, frames: list[Sequence[Buffer]]) -> tuple[int, int]:
        """Run up to `budget` descriptors, to the end of the ring at most; the wrap is simply the next call.

        Appends the frames to `frames`: views of guest memory, to be sent before `complete` is called. Returns
        (descriptors consumed, packets to complete). The indices to complete are kept in `done`.
        """
        self.done, self._read = [], []
        if self._reused and not self.failed:
            self._fail("VMX-D-048", QueueError.TXD_REUSE, *self._reused)
            self._reused = None
        if self.failed:
            return 0, 0
        self.ring.pull()
        n = self.ready(budget)
        if not n:
            if self.parts and not self._told:  # the driver published a packet without its end
                self._told = True
                self._note("VMX-D-036", self.place(self.next), len(self.parts))
            return 0, 0
        self._told = False
        first = at = self.next
        stop = at + n
        self._first = first, self.gen
        if n == budget or stop == self.size:
            self._check_room()
        while at < stop and len(frames) < _FRAMES_MAX and not self.failed:
            if not self.parts:
                at = self._plain(at, stop, frames)
            if at < stop:
                at = self._step(at, frames)
        self.next = at
        if at == self.size:
            self.next, self.gen = 0, self.gen ^ 1
        return at - first, len(self.done)

    def _check_room(self) -> None:
        """Note a ring that is owned all around: the descriptor before the next one is the last of such a run."""
        before, gen = (self.next - 1, self.gen ^ 1) if self.next else (self.size - 1, self.gen)
        if _OWNED[gen][self.ring.view[CELL * before + _OWNER_BYTE]]:
            self._note("VMX-D-049", self.place(before), self.size)

    def _plain(self, at: int, stop: int, frames: list[Sequence[Buffer]]) -> int:
        """Take one-descriptor frames without offload from index `at`; return the first index that is something else."""
        memory, longest = self.mem, self.mtu + 18
        low, room, view = 0, -1, NOTHING
        send, start, total, others, other_bytes = frames.append, at, 0, 0, 0
        for addr, word2, word3 in _UNPACK(self.ring.view[CELL * at : CELL * stop]):
            length = word2 & TXD_LEN
            if word3 & _SHAPE3 != _PLAIN3 or word2 & _ODD2 or not ETH_HEADER <= length <= longest:
                break
            where = addr - low
            if where < 0 or where + length > room:
                try:
                    region = memory.region(addr)
                except GuestFault:
                    break
                if region.view is None or addr + length > region.hi:
                    break
                low, room, view = region.lo, region.hi - region.lo, region.view
                where = addr - low
            if view[where] & 1:
                others += 1
                other_bytes += length
                self._count((view[where : where + length],))
            send((view[where : where + length],))
            total += length
            at += 1
        self.stats[UCAST] += at - start - others
        self.stats[UCAST_BYTES] += total - other_bytes
        self.done += range(start, at)
        return at

    def _step(self, at: int, frames: list[Sequence[Buffer]]) -> int:
        """Take the descriptor at index `at` by the whole book; return the next index, or `at` when the queue failed."""
        addr, word2, word3 = TX_DESC.struct.unpack_from(self.ring.view, CELL * at)
        parts = self.parts
        if word2 & self._odd2 or word3 & TXD_EXT2:
            rule = "VMX-D-041" if word2 & self._odd2 & (TXD_EXT1 | TXD_OCO) else "VMX-D-040"
            return self._fail(rule, QueueError.DESC_NOT_SPT, at, word2 if word2 & self._odd2 else word3)
        if not parts and not self._encap and (word3 & TXD_OM) >> TXD_OM_SHIFT == OM_ENCAP:
            return self._fail("VMX-D-041", QueueError.DESC_NOT_SPT, at, word3)
        if parts and (word3 & (TXD_OM | TXD_HLEN | TXD_TI) or word2 & (TXD_EXT1 | TXD_OCO)):
            self._note("VMX-D-039", self.place(at), word3)
        parts.append((addr, word2, word3))
        if not word3 & TXD_EOP:
            if word3 & TXD_CQ:
                self._note("VMX-D-039", self.place(at), word3)
            if len(parts) >= min(HARD_TXD_PER_PKT, self.size):
                return self._fail("VMX-D-036", QueueError.NOEOP, at, len(parts))
            return at + 1
        self.parts = []
        try:
            frames += self._packet(parts, at)
        except GuestFault as fault:
            self._note("VMX-D-042", self.place(at), fault.value)
            self.stats[ERROR] += 1
        except BadPacket as bad:
            self._note("VMX-D-046", f"{self.place(at)}: {bad}", bad.value)
            self.stats[ERROR] += 1
        except _NotOffered as missing:
            return self._fail("VMX-D-041", QueueError.DESC_NOT_SPT, at, missing.value)
        self._read.append((at, parts))
        if word3 & TXD_CQ:
            self.done.append(at)
        else:
            self._note("VMX-D-038", self.place(at), word3)
        return at + 1

    def _packet(self, parts: list[Fields], at: int) -> list[Sequence[Buffer]]:
        """The frames one packet becomes. Raises `DmaFault`, `BadPacket` or `_NotOffered`; what is malformed is none."""
        _, word2, word3 = parts[0]
        mode, hlen, msscof = (word3 & TXD_OM) >> TXD_OM_SHIFT, word3 & TXD_HLEN, word2 >> TXD_MSSCOF_SHIFT
        inner, outer = mode == OM_ENCAP or (mode != OM_NONE and bool(word2 & TXD_EXT1)), bool(word2 & TXD_OCO)
        tso = mode == OM_TSO or (mode == OM_ENCAP and msscof != 0)
        if len(parts) > (MAX_TSO_TXD_PER_PKT if tso else MAX_TXD_PER_PKT):
            self._note("VMX-D-037", self.place(at), len(parts))
        sizes = [part[1] & TXD_LEN or TXD_LEN_MAX for part in parts]
        total = sum(sizes)
        if total < ETH_HEADER or (not tso and total > self.mtu + 18):
            self._note("VMX-D-043", self.place(at), total)
            if total < ETH_HEADER or total > TXD_LEN_MAX:
                self.stats[ERROR] += 1
                return []
        if tso and total > ETH_HEADER + 4 + 0xFFFF:
            raise BadPacket("more than 65535 bytes of IP packet", total)
        pieces: list[Buffer] = []
        for (addr, _, _), size in zip(parts, sizes, strict=True):
            pieces += self.mem.gather(addr, size)
        tci = word3 >> TXD_TCI_SHIFT if word3 & TXD_TI else None
        tunnel: Tunnel | None = None
        if inner or outer:
            pieces = [b"".join(pieces)]
            tunnel = self._tunnel(pieces[0], tso=tso, inner=inner, outer=outer)
        if tso:
            if not msscof or not hlen or hlen > sizes[0] or hlen > total or msscof + hlen > self.mtu + 18:
                self._note("VMX-D-045", self.place(at), msscof << 16 | hlen)
                if not msscof or not hlen or hlen > sizes[0]:
                    self.stats[ERROR] += 1
                    return []
            return self._segment(b"".join(pieces), hlen, msscof, tunnel if inner else None, outer, tci, at)
        if mode != OM_NONE:
            start, field = hlen, msscof
            if inner and tunnel:
                start = tunnel.inner_l4
                field = msscof if mode == OM_CSUM else start + L4_FIELD.get(tunnel.protocol, total)
            if field + 2 > total or field > MAX_CSUM_OFFSET or start > field or start > hlen or hlen > total:
                self._note("VMX-D-044", self.place(at), msscof << 16 | hlen)
                self.stats[ERROR] += 1
                return []
            whole = bytearray().join(pieces)
            self._check_seed(whole, tunnel.inner_ip if inner and tunnel else ip_at(whole), field, at)
            fill_checksum(whole, start, field)
            pieces = [whole]
        if outer and tunnel:
            whole = bytearray().join(pieces)
            fill_outer(whole, tunnel)
            pieces = [whole]
        if tci is not None:
            pieces = [insert_tag(b"".join(pieces), tci)]
        self._count(pieces)
        return [pieces]

    def _tunnel(self, frame: Buffer, *, tso: bool, inner: bool, outer: bool) -> Tunnel:
        """The layers of a frame that asks for a tunnel's offloads. Raises `BadPacket` and `_NotOffered`."""
        tunnel = parse(frame)
        if tunnel is None:
            raise BadPacket("a tunnel's offload on something that is no tunnel", len(frame))
        if inner and tunnel.protocol == FRAGMENT:
            raise BadPacket("a tunnel's offload on a fragment", tunnel.inner_ip)
        needed = capabilities(tunnel, csum=inner and not tso, tso=inner and tso, outer=outer)
        if self.version >= 7 and needed & ~self.caps:
            raise _NotOffered(needed & ~self.caps)
        return tunnel

    def _check_seed(self, frame: Buffer, l3: int, field: int, at: int) -> None:
        """Note a TCP or UDP checksum at `field`, 0 for segmentation, that holds something else than its seed."""
        found = seed(frame, l3, whole=field != 0)
        if found is not None and found[0] == (field or found[0]):
            held = frame[found[0]] << 8 | frame[found[0] + 1]
            if held % 0xFFFF != found[1]:
                self._note("VMX-D-047", self.place(at), held)

    def _segment(
        self, frame: bytes, hlen: int, mss: int, tunnel: Tunnel | None, outer: bool, tci: int | None, at: int
    ) -> list[Sequence[Buffer]]:
        if len(frame) <= hlen:
            raise BadPacket("no payload behind the headers", len(frame))
        if tunnel is None:
            l3, pieces = ip_at(frame), segments(frame, hlen, mss)
        else:
            l3, pieces = tunnel.inner_ip, tunnel_segments(frame, hlen, mss, tunnel, outer=outer)
        self._check_seed(frame, l3, 0, at)
        out: list[Sequence[Buffer]] = []
        for piece in pieces:
            whole = (insert_tag(piece, tci),) if tci is not None else (piece,)
            self._count(whole)
            self.stats[TSO_PKTS] += 1
            self.stats[TSO_BYTES] += len(whole[0])
            out.append(whole)
        return out

    def _count(self, pieces: Sequence[Buffer]) -> None:
        stats, length = self.stats, sum(map(len, pieces))
        head = bytes(pieces[0][:6]) if len(pieces[0]) >= 6 else b"".join(pieces)[:6]
        kind = BCAST if head == _BROADCAST else MCAST if head[0] & 1 else UCAST
        stats[kind] += 1
        stats[kind + 1] += length

    def _fail(self, rule: str, error: QueueError, at: int, value: int) -> int:
        self._note(rule, self.place(at), value)
        self.failed = error
        return at

    # -- completions --------------------------------------------------------------------------------------------------

    def complete(self) -> None:
        """Tell the driver that the packets in `done` were sent: index words first, owner words last.

        A driver that lost count writes into the ring before that; it comes to the oldest descriptor first. So one owner
        bit a round tells, and packets taken by the book are compared whole. The next `service` stops the queue.
        """
        first, gen = self._first
        if self.done and not _OWNED[gen][self.ring.view[CELL * first + _OWNER_BYTE]]:
            self._reused = first, self._word2(first)
        if self._read:
            self._check_read()
        done, words, left = self.done, self.comp.words, 0
        for at, n, gen in self.comp.spans(len(done)):
            words[4 * at : 4 * (at + n) : 4] = array("I", done[left : left + n])
            words[4 * at + 3 : 4 * (at + n) : 4] = array("I", (TCD_GEN * gen,)) * n
            left += n

    def _check_read(self) -> None:
        """Compare the descriptors of packets taken by the book with what they were."""
        for last, parts in self._read:
            for at, fields in enumerate(parts, last - len(parts) + 1):
                if TX_DESC.struct.unpack_from(self.ring.view, CELL * (at % self.size)) != fields:
                    self._reused = at % self.size, self._word2(at % self.size)
                    return

    def _word2(self, at: int) -> int:
        return int.from_bytes(self.ring.view[CELL * at + 8 : CELL * at + 12], "little")
