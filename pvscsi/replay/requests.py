"""From what a trace asks to commands a disk takes: split where they are too long for it, as SCSI has them."""

from collections.abc import Iterator
from typing import NamedTuple

from pvscsi.block.backend import Op
from pvscsi.driver import Disk, cdb
from pvscsi.traces.trace import SECTOR, Event
from pvscsi.wire import Flag

MOVE_MOST = 1 << 20  # bytes one read or write moves, as drivers in the field have it
_SHORT_LBA, _SHORT_COUNT = 1 << 32, 1 << 16  # what a CDB of ten bytes can say


class Piece(NamedTuple):
    """One command: all of an event, or a part of it."""

    op: Op
    offset: int
    length: int
    fua: bool = False

    @property
    def end(self) -> int:
        return self.offset + self.length

    def overlaps(self, other: "Piece") -> bool:
        """Whether the order of the two matters: a byte in common, and one of them changes it."""
        changes = self.op is not Op.READ or other.op is not Op.READ
        return changes and self.offset < other.end and other.offset < self.end


class Limits(NamedTuple):
    """The most one command may be about, in bytes."""

    move: int
    unmap: int
    zero: int

    @classmethod
    def of(cls, disk: Disk, size: int) -> "Limits":
        """What the disk says in VPD page B0 (SBC-3, "Block Limits"; 0: no limit); no move is larger than `size`."""
        page = disk.inquiry(0xB0)

        def blocks(at: int, size: int, most: int) -> int:
            return min(int.from_bytes(page[at : at + size], "big") or most, most)

        return cls(
            blocks(8, 4, size // SECTOR) * SECTOR,
            blocks(20, 4, 0xFFFF_FFFF) * SECTOR,
            blocks(36, 8, 0xFFFF_FFFF) * SECTOR,
        )

    def pieces(self, event: Event) -> Iterator[Piece]:
        """The commands for one event, in order."""
        _, op, offset, length, fua = event
        most = self.unmap if op is Op.DISCARD else self.zero if op is Op.ZERO else self.move
        if op is Op.FLUSH or length <= most:
            yield Piece(op, offset, length, fua)
            return
        for at in range(0, length, most):
            yield Piece(op, offset + at, min(most, length - at), fua)


def command(piece: Piece) -> tuple[bytes, Flag, bytes]:
    """(CDB, direction, parameter list) of a piece; reads and writes bring data of their own."""
    op, lba, count = piece.op, piece.offset // SECTOR, piece.length // SECTOR
    if op is Op.READ or op is Op.WRITE:
        size = 10 if lba + count <= _SHORT_LBA and count < _SHORT_COUNT else 16
        if op is Op.READ:
            return cdb.read(lba, count, size=size), Flag.DIR_TOHOST, b""
        return cdb.write(lba, count, size=size, fua=int(piece.fua)), Flag.DIR_TODEVICE, b""
    if op is Op.DISCARD:
        ranges = cdb.unmap_list((lba, count))
        return cdb.unmap(len(ranges)), Flag.DIR_TODEVICE, ranges
    if op is Op.ZERO:
        return cdb.write_same(lba, count, size=16, ndob=1), Flag.DIR_NONE, b""
    return cdb.synchronize_cache(), Flag.DIR_NONE, b""
