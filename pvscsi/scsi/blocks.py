"""Reading, writing and verifying blocks; flushing them. Ref: SBC-3.

Plain transfers mostly never come here (`LogicalUnit.execute`); this is the way by the book.
"""

from collections.abc import Iterator
from struct import Struct
from typing import TYPE_CHECKING

from pvscsi.block.backend import Io, Op
from pvscsi.scsi.command import Steps, number
from pvscsi.scsi.limits import CHUNK, TRANSFER_BLOCKS_MAX
from pvscsi.scsi.sense import LBA_OUT_OF_RANGE, MISCOMPARE, Check, bad_cdb
from pvscsi.scsi.task import Direction, Task, cut

if TYPE_CHECKING:
    from pvscsi.scsi.unit import LogicalUnit

FUA, PROTECT, BYTCHK = 0x08, 0xE0, 0x06
_TEN, _TWELVE, _SIXTEEN = Struct(">2xIxHx"), Struct(">2xII2x"), Struct(">2xQI2x")
_LAYOUTS = {1: _TEN, 2: _TEN, 5: _TWELVE, 4: _SIXTEEN}  # by the group of the opcode


def span(cdb: bytes) -> tuple[int, int]:
    """(LBA, number of blocks) of a CDB of 6, 10, 12 or 16 bytes."""
    if cdb[0] < 0x20:
        return number(cdb, 1, 3) & 0x1F_FFFF, cdb[4] or 256
    lba, count = _LAYOUTS[cdb[0] >> 5].unpack_from(cdb)
    return int(lba), int(count)


def check_range(unit: "LogicalUnit", lba: int, count: int) -> None:
    """Raises `Check` with the first LBA that is not there. Of no blocks, the LBA still has to be."""
    if lba + max(count, 1) > unit.blocks:
        raise Check(LBA_OUT_OF_RANGE, information=max(lba, unit.blocks))


def _transfer(unit: "LogicalUnit", task: Task) -> tuple[int, int]:
    """(first byte, bytes) of a transfer, checked."""
    cdb = task.cdb
    if cdb[0] >= 0x20 and cdb[1] & PROTECT:
        raise bad_cdb(1, 7)
    lba, count = span(cdb)
    if count > TRANSFER_BLOCKS_MAX:
        raise bad_cdb({5: 6, 4: 10}.get(cdb[0] >> 5, 7))
    check_range(unit, lba, count)
    return lba * unit.block, count * unit.block


def read(unit: "LogicalUnit", task: Task) -> Io | Steps | None:
    """READ. Into a memory that is too small go the whole blocks that fit. FUA: what was written is durable first."""
    start, length = _transfer(unit, task)
    if length > task.room:
        task.short, length = True, task.room // unit.block * unit.block
    if not length:
        return None
    io = Io(Op.READ, start, length, cut(task.pieces, 0, length))
    if task.cdb[0] >= 0x20 and task.cdb[1] & FUA and not unit.read_only and not unit.write_through:
        return _flush_then(unit, task, io)
    return io


def _flush_then(unit: "LogicalUnit", task: Task, io: Io) -> Steps:
    yield from unit.flush()
    yield (io,)
    unit.finish(task, io)


def write(unit: "LogicalUnit", task: Task) -> Io | Steps | None:
    """WRITE; durable when done with FUA or without a write cache. Waits for claims it overlaps."""
    start, length = _transfer(unit, task)
    if length > task.room:
        task.short, length = True, 0
    if not length:
        return None
    fua = unit.write_through or (task.cdb[0] >= 0x20 and task.cdb[1] & FUA != 0)
    io = Io(Op.WRITE, start, length, cut(task.pieces, 0, length), fua=fua)
    if unit.claims.overlap(start, length):
        return _claim_then(unit, task, io)
    unit.claims.plain.add(io)
    return io


def _claim_then(unit: "LogicalUnit", task: Task, io: Io) -> Steps:
    with unit.claims.hold((io.offset, io.length)) as turn:
        yield from turn
        yield (io,)
        unit.finish(task, io)


def write_and_verify(unit: "LogicalUnit", task: Task) -> Steps | None:
    """WRITE AND VERIFY: written, durable, read back; compared as well with BYTCHK 01."""
    how = _bytchk(task.cdb)
    if how not in (0, 1):
        raise bad_cdb(1, 2)
    start, length = _transfer(unit, task)
    if length > task.room:
        task.short = True
        return None
    return _write_and_verify(unit, task, start, length, compare=how == 1) if length else None


def _write_and_verify(unit: "LogicalUnit", task: Task, start: int, length: int, *, compare: bool) -> Steps:
    with unit.claims.hold((start, length)) as turn:
        yield from turn
        for at, size in chunks(length):
            data = memoryview(b"".join(cut(task.pieces, at, at + size)))  # the initiator may scribble meanwhile
            yield from unit.run(Io(Op.WRITE, start + at, size, (data,), fua=True))
            back = bytearray(size)
            yield from unit.run(Io(Op.READ, start + at, size, (memoryview(back),)))
            if compare:
                check_same(data, back, at)
            task.moved = at + size


def verify(unit: "LogicalUnit", task: Task) -> Steps | None:
    """VERIFY. BYTCHK 00: the medium can be read; 01: is as the data sent; 11: is the one block sent, over and over."""
    cdb = task.cdb
    how = _bytchk(cdb)
    if how == 2:
        raise bad_cdb(1, 2)
    if cdb[1] & PROTECT:
        raise bad_cdb(1, 7)
    lba, count = span(cdb)
    if how == 1 and count > TRANSFER_BLOCKS_MAX:
        raise bad_cdb(1, 2)
    check_range(unit, lba, count)
    if verify_size(cdb, unit.block) > task.room:
        task.short = True
        return None
    return _verify(unit, task, lba * unit.block, count * unit.block, how) if count else None


def verify_size(cdb: bytes, block: int) -> int:
    """Bytes sent with VERIFY."""
    count = span(cdb)[1]
    return (0, count, 0, min(count, 1))[_bytchk(cdb)] * block


def verify_flow(cdb: bytes) -> Direction:
    """VERIFY takes data only to compare with."""
    return Direction.OUT if _bytchk(cdb) & 1 else Direction.NONE


def _verify(unit: "LogicalUnit", task: Task, start: int, length: int, how: int) -> Steps:
    pattern = task.take(unit.block) * (CHUNK // unit.block) if how == 3 else b""
    back = bytearray(min(CHUNK, length))
    for at, size in chunks(length):
        view = memoryview(back)[:size]
        yield from unit.run(Io(Op.READ, start + at, size, (view,)))
        if how == 1:
            check_same(b"".join(cut(task.pieces, at, at + size)), view, at)
        elif how == 3:
            check_same(memoryview(pattern)[:size], view, at)
    task.moved = verify_size(task.cdb, unit.block)


def check_same(wanted: bytes | memoryview, found: bytearray | memoryview, at: int) -> None:
    """Raises `Check` with the offset of the first byte that differs; `at` is that of the first byte looked at."""
    left, right = bytes(wanted), bytes(found)  # views compare item by item, bytes at once
    if left != right:
        first, end = 0, len(left)  # the first difference lies between these
        while end - first > 1:
            middle = (first + end) // 2
            if left[first:middle] == right[first:middle]:
                first = middle
            else:
                end = middle
        raise Check(MISCOMPARE, information=at + first)


def synchronize(unit: "LogicalUnit", task: Task) -> Steps:
    """SYNCHRONIZE CACHE: the whole medium is flushed, whatever the range. Status comes after it, even with IMMED."""
    _check_to_end(unit, task.cdb)
    return unit.flush()


def prefetch(unit: "LogicalUnit", task: Task) -> None:
    """PRE-FETCH: nothing is fetched; GOOD, for the blocks need not all be in a cache."""
    _check_to_end(unit, task.cdb)


def _check_to_end(unit: "LogicalUnit", cdb: bytes) -> None:
    lba, count = span(cdb)
    check_range(unit, lba, count)


def chunks(length: int) -> Iterator[tuple[int, int]]:
    """(offset, bytes) of the parts in which our own memory covers a length."""
    for at in range(0, length, CHUNK):
        yield at, min(CHUNK, length - at)


def _bytchk(cdb: bytes) -> int:
    return (cdb[1] & BYTCHK) >> 1
