"""The obvious way to write an adapter with a disk: an object per descriptor, per element, per command, per completion.

Kept to be beaten. It does what the product does for reads and writes of a healthy disk: the ring, SG lists, a CDB
looked up and decoded, bounds, sense for what cannot be done, completions in guest memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pvdev.mem import GuestMemory
from pvscsi.wire import COMPLETION, PAGE, REQUEST, RINGS_STATE, SG_CHAIN, SG_ELEMENT, Flag, HostStatus

_STATE = RINGS_STATE.offset


@dataclass
class Element:
    address: int
    length: int
    flags: int

    @classmethod
    def read(cls, mem: GuestMemory, at: int) -> "Element":
        return cls(*SG_ELEMENT.struct.unpack(mem.read(at, SG_ELEMENT.size)))


@dataclass
class Request:
    context: int
    data: int
    length: int
    sense: int
    room: int
    flags: int
    cdb: bytes
    lun: int
    target: int

    @classmethod
    def read(cls, mem: GuestMemory, at: int) -> "Request":
        values = REQUEST.struct.unpack(mem.read(at, REQUEST.size))
        context, data, length, sense, room, flags, cdb, _, lun, _, _, target, _, _ = values
        return cls(context, data, length, sense, room, flags, cdb, lun[1], target)

    def elements(self, mem: GuestMemory) -> list[Element]:
        if not self.flags & Flag.CMD_WITH_SG_LIST:
            return [Element(self.data, self.length, 0)]
        found, at, left = [], self.data, self.length
        while left > 0:
            element = Element.read(mem, at)
            at += SG_ELEMENT.size
            if element.flags & SG_CHAIN:
                at = element.address
                continue
            element.length = min(element.length, left)
            left -= element.length
            found.append(element)
        return found


@dataclass
class Result:
    moved: int = 0
    host: int = HostStatus.SUCCESS
    status: int = 0
    sense: bytes = b""


@dataclass
class Transfer:
    """READ or WRITE of 10 or 16 bytes."""

    writes: bool
    lba: int
    blocks: int

    @classmethod
    def read(cls, cdb: bytes) -> "Transfer":
        wide = cdb[0] >= 0x80
        lba = int.from_bytes(cdb[2:10] if wide else cdb[2:6], "big")
        blocks = int.from_bytes(cdb[10:14] if wide else cdb[7:9], "big")
        return cls(bool(cdb[0] & 2), lba, blocks)


class BaselineDisk:
    """`size` bytes of memory behind a table of commands."""

    def __init__(self, size: int, block: int = 512) -> None:
        self.data, self.block = memoryview(bytearray(size)), block
        transfer = self._transfer
        self.commands: dict[int, Callable[[bytes, Sequence[memoryview]], Result]] = {
            **dict.fromkeys((0x28, 0x2A, 0x88, 0x8A), transfer),
            0x00: lambda cdb, pieces: Result(),
        }

    def execute(self, cdb: bytes, pieces: Sequence[memoryview]) -> Result:
        handler = self.commands.get(cdb[0])
        if handler is None:
            return Result(status=2, sense=bytes((0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0)))
        return handler(cdb, pieces)

    def _transfer(self, cdb: bytes, pieces: Sequence[memoryview]) -> Result:
        what = Transfer.read(cdb)
        at, left = what.lba * self.block, what.blocks * self.block
        if at + left > len(self.data):
            return Result(status=2, sense=bytes((0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0)))
        moved = 0
        for piece in pieces:
            step = min(left, len(piece))
            if what.writes:
                self.data[at : at + step] = piece[:step]
            else:
                piece[:step] = self.data[at : at + step]
            at, left, moved = at + step, left - step, moved + step
        return Result(moved=moved)


class BaselineAdapter:
    """One adapter whose rings are set up. `service` runs until the request ring is empty."""

    def __init__(
        self, mem: GuestMemory, disk: BaselineDisk, state: int, requests: Sequence[int], completions: Sequence[int]
    ) -> None:
        self.mem, self.disks, self.state = mem, {(0, 0): disk}, state
        self.requests, self.completions = requests, completions
        self.signalled = 0

    def _word(self, name: str) -> int:
        return int.from_bytes(self.mem.read(self.state + _STATE[name], 4), "little")

    def _store(self, name: str, value: int) -> None:
        self.mem.write(self.state + _STATE[name], (value & 0xFFFF_FFFF).to_bytes(4, "little"))

    @staticmethod
    def _slot(pages: Sequence[int], index: int, size: int) -> int:
        page, at = divmod(index % (len(pages) * PAGE // size), PAGE // size)
        return pages[page] * PAGE + at * size

    def service(self) -> int:
        done = 0
        while (cons := self._word("reqConsIdx")) != self._word("reqProdIdx"):
            request = Request.read(self.mem, self._slot(self.requests, cons, REQUEST.size))
            self._store("reqConsIdx", cons + 1)
            self._complete(request, self._run(request))
            done += 1
        self.signalled += done > 0
        return done

    def _run(self, request: Request) -> Result:
        disk = self.disks.get((request.target, request.lun))
        if disk is None:
            return Result(host=HostStatus.SELTIMEO)
        writes = bool(request.flags & Flag.DIR_TOHOST)
        pieces = [
            piece
            for each in request.elements(self.mem)
            for piece in self.mem.pieces(each.address, each.length, write=writes)
        ]
        return disk.execute(request.cdb, pieces)

    def _complete(self, request: Request, result: Result) -> None:
        sense = result.sense[: request.room]
        if sense:
            self.mem.write(request.sense, sense)
        prod = self._word("cmpProdIdx")
        completion = COMPLETION.struct.pack(request.context, result.moved, len(sense), result.host, result.status, 0)
        self.mem.write(self._slot(self.completions, prod, COMPLETION.size), completion)
        self._store("cmpProdIdx", prod + 1)
