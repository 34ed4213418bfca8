"""The obvious way to write the ring loops: an object per descriptor, a struct call per completion. Kept to be beaten.

It does what the product's loops do for plain frames: owner checks, bounds, counters, checksum status (word by word, as
RFC 1071 writes it down), completions in guest memory.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pvdev.mem import GuestMemory
from vmxnet3.wire import RX_COMP, TX_COMP

_DESC = struct.Struct("<QII")


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1]))
    if len(data) & 1:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@dataclass
class Headers:
    """What a receive completion says of a frame; IPv4 only, which is what the benchmark sends."""

    v4: bool = False
    ipc: bool = False
    tcp: bool = False
    udp: bool = False
    tuc: bool = False

    @classmethod
    def read(cls, frame: bytes) -> "Headers":
        if struct.unpack_from(">H", frame, 12)[0] != 0x0800:
            return cls()
        vihl, _, total, _, _, _, protocol, _, source, target = struct.unpack_from(">BBHHHBBH4s4s", frame, 14)
        l4 = 14 + 4 * (vihl & 15)
        segment = frame[l4 : 14 + total]
        pseudo = source + target + struct.pack(">BBH", 0, protocol, len(segment))
        return cls(
            v4=True,
            ipc=checksum(frame[14:l4]) == 0xFFFF,
            tcp=protocol == 6,
            udp=protocol == 17,
            tuc=checksum(pseudo + segment) == 0xFFFF,
        )


@dataclass
class TxDescriptor:
    addr: int
    length: int
    gen: int
    dtype: int
    msscof: int
    hlen: int
    om: int
    eop: int
    cq: int
    ti: int

    @classmethod
    def read(cls, mem: GuestMemory, at: int) -> "TxDescriptor":
        addr, word2, word3 = _DESC.unpack(mem.read(at, 16))
        return cls(
            addr,
            word2 & 0x3FFF or 16384,
            word2 >> 14 & 1,
            word2 >> 16 & 1,
            word2 >> 18,
            word3 & 0x3FF,
            word3 >> 10 & 3,
            word3 >> 12 & 1,
            word3 >> 13 & 1,
            word3 >> 15 & 1,
        )


@dataclass
class RxDescriptor:
    addr: int
    length: int
    btype: int
    gen: int

    @classmethod
    def read(cls, mem: GuestMemory, at: int) -> "RxDescriptor":
        addr, word2, _ = _DESC.unpack(mem.read(at, 16))
        return cls(addr, word2 & 0x3FFF, word2 >> 14 & 1, word2 >> 31)


@dataclass
class Ring:
    base: int
    size: int
    next: int = 0
    gen: int = 1

    def address(self) -> int:
        return self.base + 16 * self.next

    def advance(self) -> None:
        self.next += 1
        if self.next == self.size:
            self.next, self.gen = 0, self.gen ^ 1


class BaselineTx:
    """One transmit queue: `service` runs until the ring is empty."""

    def __init__(self, mem: GuestMemory, ring: Ring, comp: Ring, send: Callable[[list[list[memoryview]]], int]) -> None:
        self.mem, self.ring, self.comp, self.send = mem, ring, comp, send
        self.stats = dict.fromkeys(("ucast", "mcast", "bytes", "error"), 0)

    def service(self, budget: int) -> int:
        done = 0
        parts: list[memoryview] = []
        while done < budget:
            desc = TxDescriptor.read(self.mem, self.ring.address())
            if desc.gen != self.ring.gen:
                break
            parts.append(self.mem.view(desc.addr, desc.length))
            if desc.eop:
                size = sum(len(part) for part in parts)
                self.stats["mcast" if parts[0][0] & 1 else "ucast"] += 1
                self.stats["bytes"] += size
                self.send([parts])
                parts = []
                if desc.cq:
                    self.mem.write(
                        self.comp.address(), TX_COMP.encode(txdIdx=self.ring.next, type=0, gen=self.comp.gen)
                    )
                    self.comp.advance()
            self.ring.advance()
            done += 1
        return done


class BaselineRx:
    """One receive queue with single-buffer frames."""

    def __init__(self, mem: GuestMemory, ring: Ring, comp: Ring) -> None:
        self.mem, self.ring, self.comp = mem, ring, comp
        self.stats = dict.fromkeys(("ucast", "mcast", "bytes", "out_of_buffers"), 0)

    def service(self, frames: Sequence[bytes]) -> int:
        for n, frame in enumerate(frames):
            desc = RxDescriptor.read(self.mem, self.ring.address())
            if desc.gen != self.ring.gen or desc.btype or len(frame) > desc.length:
                self.stats["out_of_buffers"] += 1
                return n
            self.mem.write(desc.addr, frame)
            headers = Headers.read(frame)
            self.stats["mcast" if frame[0] & 1 else "ucast"] += 1
            self.stats["bytes"] += len(frame)
            comp = RX_COMP.encode(
                rxdIdx=self.ring.next,
                sop=1,
                eop=1,
                cnc=not headers.v4,
                len=len(frame),
                tuc=headers.tuc,
                udp=headers.udp,
                tcp=headers.tcp,
                ipc=headers.ipc,
                v4=headers.v4,
                fcs=1,
                type=3,
                gen=self.comp.gen,
            )
            self.mem.write(self.comp.address(), comp)
            self.comp.advance()
            self.ring.advance()
        return len(frames)
