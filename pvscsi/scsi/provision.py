"""WRITE SAME, UNMAP, GET LBA STATUS, COMPARE AND WRITE. Ref: SBC-3."""

from collections.abc import Iterator
from itertools import islice
from struct import Struct, pack
from typing import TYPE_CHECKING

from pvscsi.block.backend import Io, Op
from pvscsi.scsi.blocks import FUA, PROTECT, check_range, check_same, chunks, span
from pvscsi.scsi.command import Steps, number
from pvscsi.scsi.limits import (
    CHUNK,
    COMPARE_BLOCKS_MAX,
    UNMAP_BLOCKS_MAX,
    UNMAP_DESCRIPTORS_MAX,
    WRITE_SAME_BLOCKS_MAX,
)
from pvscsi.scsi.sense import (
    LBA_OUT_OF_RANGE,
    PARAMETER_LIST_LENGTH_ERROR,
    Check,
    bad_cdb,
    bad_list,
)
from pvscsi.scsi.task import Direction, Task

if TYPE_CHECKING:
    from pvscsi.scsi.disk import Disk

_ANCHOR, _UNMAP, _OBSOLETE, _NDOB = 0x10, 0x08, 0x06, 0x01
_RANGE = Struct(">QI4x")
_STATUS_WINDOW = 1 << 30  # bytes GET LBA STATUS asks the backend about at a time
MAPPED, DEALLOCATED = 0, 1


# -- WRITE SAME --------------------------------------------------------------------------------------------------------


def _without_data(cdb: bytes) -> bool:
    return cdb[0] == 0x93 and bool(cdb[1] & _NDOB)


def write_same_flow(cdb: bytes) -> Direction:
    """WRITE SAME(16) with NDOB brings no data."""
    return Direction.NONE if _without_data(cdb) else Direction.OUT


def write_same_size(cdb: bytes, block: int) -> int:
    """One block, or nothing with NDOB."""
    return 0 if _without_data(cdb) else block


def write_same(unit: "Disk", task: Task) -> Steps:
    """WRITE SAME: one block, or zeros with NDOB, over the whole range; 0 blocks go on to the end.

    With UNMAP blocks of zeros are given back. ANCHOR is not offered.
    """
    cdb = task.cdb
    if cdb[1] & PROTECT:
        raise bad_cdb(1, 7)
    if cdb[1] & _ANCHOR:
        raise bad_cdb(1, 4)
    if cdb[1] & _UNMAP and not unit.thin:
        raise bad_cdb(1, 3)
    if cdb[1] & _OBSOLETE:
        raise bad_cdb(1, 2)
    lba, count = span(cdb)
    check_range(unit, lba, count)
    if (count or unit.blocks - lba) > WRITE_SAME_BLOCKS_MAX:
        raise bad_cdb(7 if cdb[0] == 0x41 else 10)
    if _without_data(cdb):
        data = bytes(unit.block)
    elif task.room != unit.block:  # an initiator that thinks of another block size
        raise bad_cdb(1, 0)
    else:
        data = task.take(unit.block)
    return _write_same(unit, task, lba * unit.block, (count or unit.blocks - lba) * unit.block, data)


def _write_same(unit: "Disk", task: Task, start: int, length: int, data: bytes) -> Steps:
    with unit.claims.hold((start, length)) as turn:
        yield from turn
        if any(data):
            pattern = memoryview(data * (min(CHUNK, length) // unit.block))
            for at, size in chunks(length):
                yield from unit.run(Io(Op.WRITE, start + at, size, (pattern[:size],), fua=unit.write_through))
        else:
            give_back = task.cdb[1] & _UNMAP and unit.reads_zeros
            yield from unit.run(Io(Op.DISCARD if give_back else Op.ZERO, start, length))
            if unit.write_through:
                yield from unit.flush()
    task.moved = write_same_size(task.cdb, unit.block)


# -- UNMAP -------------------------------------------------------------------------------------------------------------


def unmap(unit: "Disk", task: Task) -> Steps | None:
    """UNMAP: every descriptor is checked before the first is done; then in order. Half a one at the end is ignored."""
    cdb = task.cdb
    if cdb[1] & 0x01:  # ANCHOR
        raise bad_cdb(1, 0)
    length = number(cdb, 7, 2)
    if not length:
        return None
    data = unit.parameters(task, length)
    if length < 8 or number(data, 2, 2) > length - 8:
        raise Check(PARAMETER_LIST_LENGTH_ERROR)
    body = data[8 : 8 + number(data, 2, 2)]
    ranges = list(_RANGE.iter_unpack(body[: len(body) & ~15]))
    if len(ranges) > UNMAP_DESCRIPTORS_MAX:
        raise bad_list(2)
    if sum(count for _, count in ranges) > UNMAP_BLOCKS_MAX:
        raise bad_list(16)
    for lba, count in ranges:
        if lba + count > unit.blocks:
            raise Check(LBA_OUT_OF_RANGE, information=max(lba, unit.blocks))
    return _unmap(unit, [(lba * unit.block, count * unit.block) for lba, count in ranges if count])


def _unmap(unit: "Disk", ranges: list[tuple[int, int]]) -> Steps:
    with unit.claims.hold(*ranges) as turn:
        yield from turn
        for start, length in ranges:
            yield from unit.run(Io(Op.DISCARD, start, length))
    if unit.write_through:
        yield from unit.flush()


# -- GET LBA STATUS ----------------------------------------------------------------------------------------------------


def get_lba_status(unit: "Disk", task: Task) -> bytes:
    """GET LBA STATUS: mapped and deallocated stretches from the LBA on, as many as there is room for."""
    lba = number(task.cdb, 2, 8)
    check_range(unit, lba, 1)
    most = max((number(task.cdb, 10, 4) - 8) // 16, 1)
    found = list(islice(_stretches(unit, lba), min(most, 256)))
    body = b"".join(pack(">QIB3x", first, count, status) for first, count, status in found)
    return pack(">I4x", len(body) + 4) + body


def _stretches(unit: "Disk", lba: int) -> Iterator[tuple[int, int, int]]:
    """(LBA, blocks, status), each as long as it goes within a window; a block partly allocated is mapped."""
    block = unit.block
    start, length = lba * block, min(_STATUS_WINDOW, (unit.blocks - lba) * block)
    if not unit.thin or unit.backend is None:
        yield lba, length // block, MAPPED
        return
    at, first, status = start, lba, -1
    for size, allocated in unit.backend.allocated(start, length):
        # a hole has its whole blocks only
        edge = at // block if allocated else -(-at // block)
        kind = MAPPED if allocated else DEALLOCATED
        at += size
        end = -(-at // block) if allocated else at // block
        if end <= edge or kind == status:
            continue
        if edge > first:
            yield first, edge - first, status if status >= 0 else MAPPED
            first = edge
        status = kind
    end = lba + length // block
    if end > first:
        yield first, end - first, max(status, MAPPED)


# -- COMPARE AND WRITE -------------------------------------------------------------------------------------------------


def compare_and_write(unit: "Disk", task: Task) -> Steps | None:
    """COMPARE AND WRITE: the second half of the data is written if the blocks are as the first half. Nothing that
    overlaps is written in between."""
    cdb = task.cdb
    if cdb[1] & PROTECT:
        raise bad_cdb(1, 7)
    lba, count = number(cdb, 2, 8), cdb[13]
    if count > COMPARE_BLOCKS_MAX:
        raise bad_cdb(13)
    check_range(unit, lba, count)
    length = count * unit.block
    if 2 * length < task.room:  # then it is not clear where the half begins that is to be written
        raise bad_cdb(13)
    if 2 * length > task.room:
        task.short = True
        return None
    return _compare_and_write(unit, task, lba * unit.block, length) if count else None


def _compare_and_write(unit: "Disk", task: Task, start: int, length: int) -> Steps:
    with unit.claims.hold((start, length)) as turn:
        yield from turn
        data = memoryview(task.take(2 * length))
        back = bytearray(length)
        yield from unit.run(Io(Op.READ, start, length, (memoryview(back),)))
        task.moved = 2 * length
        check_same(data[:length], back, 0)
        fua = unit.write_through or task.cdb[1] & FUA != 0
        yield from unit.run(Io(Op.WRITE, start, length, (data[length:],), fua=fua))
