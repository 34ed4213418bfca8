"""The command rings of a receive queue: buffers the driver posted, and where the device stands among them."""

from typing import NamedTuple

from pvdev.mem import GuestMemory, Window
from pvdev.rings import Descriptor, owned, owner_table
from vmxnet3.wire import RCD_RQID_SHIFT, RX_DESC, RXD_GEN

CELL = RX_DESC.size
OWNER_BYTE = 11  # bits 24 to 31 of word2: gen is bit 31
OWNED = owner_table(RXD_GEN >> 24)


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
        return owned(self.window.view, OWNER_BYTE, CELL, self.next, end, OWNED[self.gen])

    def peek(self, ahead: int = 0) -> tuple[int, int] | None:
        """(addr, word2) of the descriptor `ahead` of `next` if it is ours, read once, owner first."""
        at, gen = self.next + ahead, self.gen
        if at >= self.size:
            at, gen = at - self.size, gen ^ 1
        if at >= self.size or not OWNED[gen][self.window.view[CELL * at + OWNER_BYTE]]:
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
