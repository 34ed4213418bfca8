"""The transmit ring loop: descriptors in, frames to the port, completions out.

Two speeds. `_plain` takes runs of one-descriptor frames without offload, the bulk of real traffic, at a few hundred
nanoseconds each; whatever it does not know it leaves to `_packet`, which goes by the whole book.

Rules: VMX-D-036 to 046, VMX-V-021 to 039 (docs/RULES.md).
"""

from array import array
from collections.abc import Callable, Sequence

from pvdev.errors import GuestFault
from pvdev.mem import GuestMemory, Window
from pvdev.rings import owned, owner_table
from vmxnet3.completions import CompletionRing
from vmxnet3.offload import BadPacket, fill_checksum, insert_tag, segments
from vmxnet3.wire import (
    ETH_HEADER,
    HARD_TXD_PER_PKT,
    MAX_CSUM_OFFSET,
    MAX_TSO_TXD_PER_PKT,
    MAX_TXD_PER_PKT,
    OM_CSUM,
    OM_ENCAP,
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


class TxQueue:
    """One transmit queue of an active device: its rings and where it stands in them.

    `stats` are the ten counters of UPT1_TxStats. `failed` is the QueueError that stopped it, or 0.
    """

    def __init__(
        self, index: int, mem: GuestMemory, note: Note, *, ring: int, size: int, comp: int, comp_size: int, mtu: int
    ) -> None:
        self.index, self.mem, self._note, self.mtu = index, mem, note, mtu
        self.ring_at, self.size = ring, size
        self.next, self.gen = 0, 1  # the next descriptor, and the owner bit that makes it ours
        self.parts: list[Fields] = []  # a packet whose last descriptor has not been seen
        self.stats = [0] * 10
        self.done: list[int] = []  # EOP indices of the packets to complete
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

    def service(self, budget: int, frames: list[Sequence[Buffer]]) -> tuple[int, int]:
        """Run up to `budget` descriptors, to the end of the ring at most; the wrap is simply the next call.

        Appends the frames to `frames`: views of guest memory, to be sent before `complete` is called. Returns
        (descriptors consumed, packets to complete). The indices to complete are kept in `done`.
        """
        self.done = []
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
        while at < stop and len(frames) < _FRAMES_MAX and not self.failed:
            if not self.parts:
                at = self._plain(at, stop, frames)
            if at < stop:
                at = self._step(at, frames)
        self.next = at
        if at == self.size:
            self.next, self.gen = 0, self.gen ^ 1
        return at - first, len(self.done)

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
        if word2 & _ODD2 or word3 & TXD_EXT2:
            rule = "VMX-D-041" if word2 & (TXD_EXT1 | TXD_OCO) else "VMX-D-040"
            return self._fail(rule, QueueError.DESC_NOT_SPT, at, word2 if word2 & _ODD2 else word3)
        if not parts and (word3 & TXD_OM) >> TXD_OM_SHIFT == OM_ENCAP:
            return self._fail("VMX-D-041", QueueError.DESC_NOT_SPT, at, word3)
        if parts and word3 & (TXD_OM | TXD_HLEN | TXD_TI):
            self._note("VMX-D-039", self.place(at), word3)
        parts.append((addr, word2, word3))
        if not word3 & TXD_EOP:
            if word3 & TXD_CQ:
                self._note("VMX-D-039", self.place(at), word3)
            if len(parts) >= min(HARD_TXD_PER_PKT, self.size):
                return self._fail("VMX-D-036", QueueError.NOEOP, at, len(parts))
            return at + 1
        self.parts = []
        if word3 & TXD_CQ:
            self.done.append(at)
        else:
            self._note("VMX-D-038", self.place(at), word3)
        try:
            frames += self._packet(parts, at)
        except GuestFault as fault:
            self._note("VMX-D-042", self.place(at), fault.value)
            self.stats[ERROR] += 1
        except BadPacket as bad:
            self._note("VMX-D-046", f"{self.place(at)}: {bad}", bad.value)
            self.stats[ERROR] += 1
        return at + 1

    def _packet(self, parts: list[Fields], at: int) -> list[Sequence[Buffer]]:
        """The frames one packet becomes. Raises `DmaFault` or `BadPacket`; what is malformed becomes none."""
        _, word2, word3 = parts[0]
        mode, hlen, msscof = (word3 & TXD_OM) >> TXD_OM_SHIFT, word3 & TXD_HLEN, word2 >> TXD_MSSCOF_SHIFT
        place = self.place(at)
        if len(parts) > (MAX_TSO_TXD_PER_PKT if mode == OM_TSO else MAX_TXD_PER_PKT):
            self._note("VMX-D-037", place, len(parts))
        sizes = [part[1] & TXD_LEN or TXD_LEN_MAX for part in parts]
        total = sum(sizes)
        if total < ETH_HEADER or (mode != OM_TSO and total > self.mtu + 18):
            self._note("VMX-D-043", place, total)
            if total < ETH_HEADER or total > TXD_LEN_MAX:
                self.stats[ERROR] += 1
                return []
        if mode == OM_TSO and total > ETH_HEADER + 4 + 0xFFFF:
            raise BadPacket("more than 65535 bytes of IP packet", total)
        pieces: list[Buffer] = []
        for (addr, _, _), size in zip(parts, sizes, strict=True):
            pieces += self.mem.gather(addr, size)
        tci = word3 >> TXD_TCI_SHIFT if word3 & TXD_TI else None
        if mode == OM_CSUM:
            if msscof + 2 > total or msscof > MAX_CSUM_OFFSET or hlen > msscof:
                self._note("VMX-D-044", place, msscof << 16 | hlen)
                self.stats[ERROR] += 1
                return []
            whole = bytearray().join(pieces)
            fill_checksum(whole, hlen, msscof)
            pieces = [whole]
        elif mode == OM_TSO:
            if not msscof or not hlen or hlen > sizes[0] or hlen > total or msscof + hlen > self.mtu + 18:
                self._note("VMX-D-045", place, msscof << 16 | hlen)
                if not msscof or not hlen or hlen > sizes[0]:
                    self.stats[ERROR] += 1
                    return []
            return self._segment(b"".join(pieces), hlen, msscof, tci, place)
        if tci is not None:
            pieces = [insert_tag(b"".join(pieces), tci)]
        self._count(pieces)
        return [pieces]

    def _segment(self, frame: bytes, hlen: int, mss: int, tci: int | None, place: str) -> list[Sequence[Buffer]]:
        if len(frame) <= hlen:
            raise BadPacket("no payload behind the headers", len(frame))
        out: list[Sequence[Buffer]] = []
        for piece in segments(frame, hlen, mss):
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
        """Tell the driver that the packets in `done` were sent: index words first, owner words last."""
        done, words, left = self.done, self.comp.words, 0
        for at, n, gen in self.comp.spans(len(done)):
            words[4 * at : 4 * (at + n) : 4] = array("I", done[left : left + n])
            words[4 * at + 3 : 4 * (at + n) : 4] = array("I", (TCD_GEN * gen,)) * n
            left += n
