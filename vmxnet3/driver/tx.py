"""The reference driver's transmit ring: descriptors out, completions in, each duty a driver can see checked.

Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c vmxnet3_tq_xmit, vmxnet3_tq_tx_complete (order of stores).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pvdev.device import DmaBuffer
from vmxnet3 import wire
from vmxnet3.driver.common import PATIENCE, Buffer, Complain, RingFull, Take
from vmxnet3.driver.offloads import TxD
from vmxnet3.driver.stamps import Stamps

_PLAIN = wire.TXD_EOP | wire.TXD_CQ


@dataclass
class _Sent:
    """A packet the device has: its descriptors [first, first + count) modulo the ring, and the memory behind them."""

    first: int
    count: int
    eop: int
    cq: bool
    memory: tuple[DmaBuffer, ...] = ()
    plain: bool = False


class TxQueue:
    """A transmit ring, its completion ring and data ring, and one buffer of `slot` bytes behind every descriptor.

    `data_slot`: bytes of a data ring slot; 0: no data ring.
    """

    def __init__(
        self,
        index: int,
        take: Take,
        complain: Complain,
        *,
        size: int,
        comp: int,
        slot: int,
        data_slot: int,
        stamps: Stamps | None = None,
    ) -> None:
        self.index, self.size, self.comp_size, self.slot = index, size, comp, slot
        self._complain = complain
        self.desc, self.comp = take(16 * size, 512), take(16 * comp, 512)
        self.data_slot, self.stamps = data_slot, stamps
        self.data = take(data_slot * size, 512) if data_slot else None
        self.pool = take(size * slot, 64)
        self._words, self._quads = self.desc.view.cast("I"), self.desc.view.cast("Q")
        self._done = self.comp.view.cast("I")
        self.shadow = memoryview(bytearray(16 * size))  # what we last stored in the ring
        self.ctrl: memoryview = memoryview(bytearray(8)).cast("I")  # txNumDeferred, txThreshold: set by the driver
        self.next, self.gen = 0, wire.TXD_GEN
        self.next_done, self.done_gen = 0, wire.TCD_GEN
        self.used = 0
        self.sent: deque[_Sent] = deque()
        self.completed = 0
        for i in range(size):
            self._make_plain(i)
        self.shadow[:] = self.desc.view

    @property
    def room(self) -> int:
        """Free descriptors; one is never used."""
        return self.size - 1 - self.used

    def slot_address(self, index: int) -> int:
        return self.pool.address + index * self.slot

    def data_address(self, index: int) -> int:
        assert self.data is not None
        return self.data.address + index * self.data_slot

    def _make_plain(self, index: int) -> None:
        self._quads[2 * index] = self.slot_address(index)
        self._words[4 * index + 3] = _PLAIN

    # -- out --------------------------------------------------------------------------------------------------------

    def post(
        self, descs: Sequence[TxD], *, publish: bool = True, memory: tuple[DmaBuffer, ...] = (), tracked: bool = True
    ) -> Callable[[], None]:
        """Store one packet's descriptors as they are, gen bits added, the first one's last.

        `publish=False` leaves the first descriptor unpublished; the returned call publishes it. `tracked=False`: no
        completion is expected for it.
        """
        count, first, words, quads = len(descs), self.next, self._words, self._quads
        if count > self.room:
            raise RingFull(f"tx queue {self.index}: {count} descriptors, room for {self.room}")
        if self.stamps is not None:
            self.stamps.sample(first, 1)
        gen, index = self.gen, first
        for k, (addr, word2, word3) in enumerate(descs):
            quads[2 * index] = addr
            words[4 * index + 3] = word3
            words[4 * index + 2] = word2 | (gen if k else gen ^ wire.TXD_GEN)
            self.shadow[16 * index : 16 * index + 16] = self.desc.view[16 * index : 16 * index + 16]
            eop, index = index, index + 1
            if index == self.size:
                index, gen = 0, gen ^ wire.TXD_GEN
        first_word = descs[0].word2 | self.gen
        self.next, self.gen = index, gen
        self.used += count
        if tracked:
            self.sent.append(_Sent(first, count, eop, bool(descs[-1].word3 & wire.TXD_CQ), memory))

        def flip() -> None:
            words[4 * first + 2] = first_word
            self.shadow[16 * first : 16 * first + 16] = self.desc.view[16 * first : 16 * first + 16]

        if publish:
            flip()
        return flip

    def batch(self, frames: Sequence[Buffer]) -> int:
        """One plain descriptor per frame, as many frames as fit and have room; how many."""
        words, pool, slot = self._words, self.pool.view, self.slot
        index, gen, limit = self.next, self.gen, self.room
        start, sent, append = index, 0, self.sent.append
        at = index * slot
        if self.stamps is not None and limit:
            self.stamps.sample(index, self._fitting(frames, limit))
        for frame in frames:
            size = len(frame)
            if sent == limit or not 0 < size <= slot:
                break
            pool[at : at + size] = frame
            words[4 * index + 2] = size & wire.TXD_LEN | gen
            append(_Sent(index, 1, index, True, (), True))
            sent += 1
            index += 1
            at += slot
            if index == self.size:
                index, at, gen = 0, 0, gen ^ wire.TXD_GEN
        if index > start:
            self.shadow[16 * start : 16 * index] = self.desc.view[16 * start : 16 * index]
        elif sent:
            self.shadow[16 * start :] = self.desc.view[16 * start :]
            self.shadow[: 16 * index] = self.desc.view[: 16 * index]
        self.next, self.gen = index, gen
        self.used += sent
        return sent

    def _fitting(self, frames: Sequence[Buffer], limit: int) -> int:
        """How many of `frames` `batch` will take."""
        for count, frame in enumerate(frames[:limit]):
            if not 0 < len(frame) <= self.slot:
                return count
        return min(limit, len(frames))

    def abandon(self, free: Callable[[DmaBuffer], None]) -> None:
        """Forget every packet the device still has (it was stopped)."""
        for packet in self.sent:
            for buffer in packet.memory:
                free(buffer)
        self.sent.clear()

    # -- completions ------------------------------------------------------------------------------------------------

    def reap(self, free: Callable[[DmaBuffer], None]) -> int:
        """Take every completion that is there; how many packets they finished."""
        total = 0
        while n := self._ready():
            lo = self.next_done
            words = self._done[4 * lo : 4 * (lo + n)].tolist()
            if any(words[1::4]) or any(words[2::4]):
                self._complain("VMX-V-021", f"tx completion filler is not zero: {words[1::4]}, {words[2::4]}")
            if words[3::4].count(self.done_gen) != n:
                self._complain("VMX-V-021", f"tx completion word 3 is not type 0 with the gen bit: {words[3::4]}")
            for word in words[0::4]:
                total += self._finish(word, free)
            self.next_done = lo + n
            if self.next_done == self.comp_size:
                self.next_done, self.done_gen = 0, self.done_gen ^ wire.TCD_GEN
        self.completed += total
        return total

    def _ready(self) -> int:
        done, gen, i = self._done, self.done_gen, self.next_done
        end = min(self.comp_size, i + PATIENCE)
        while i < end and done[4 * i + 3] & wire.TCD_GEN == gen:
            i += 1
        return i - self.next_done

    def _finish(self, word: int, free: Callable[[DmaBuffer], None]) -> int:
        """One completion's word 0: the packet it names, and those before it that asked for none, are ours again."""
        sent = self.sent
        if sent and sent[0].eop == word:
            packets = 1
        else:
            if word >> 12:
                self._complain("VMX-V-021", f"tx completion word 0 has filler: {word:#x}")
            packets = next((k for k, packet in enumerate(sent, 1) if packet.eop == word & 0xFFF), 0)
            if not packets:
                self._complain("VMX-V-025", f"tx completion of {word & 0xFFF}, no packet of ours ends there")
                return 0
            if any(packet.cq for packet in list(sent)[: packets - 1]):
                self._complain("VMX-V-025", f"tx completion of {word & 0xFFF} before an earlier packet's")
        for _ in range(packets):
            packet = sent.popleft()
            self.used -= packet.count
            if not packet.plain:
                for k in range(packet.first, packet.first + packet.count):
                    index = k % self.size
                    self._make_plain(index)
                    self.shadow[16 * index : 16 * index + 16] = self.desc.view[16 * index : 16 * index + 16]
                for buffer in packet.memory:
                    free(buffer)
        return packets
