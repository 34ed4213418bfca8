"""The quick way of plain reads and writes: from the ring straight to the medium, without an object for any of them.

Most of what drivers ask for comes in runs of requests that differ in little more than where on the disk and where in
memory. What is the same in a run is judged once, by its first request, the rest one by one. Whatever is unusual, and
what a medium cannot do at once, is left to `requests` and `engine`, which know every rule.
"""

from array import array
from collections.abc import Iterator, Sequence
from struct import Struct

from pvdev.mem import DmaFault, GuestMemory
from pvscsi.block.backend import Op, Transfer
from pvscsi.scsi.unit import LogicalUnit
from pvscsi.wire import PAGE, REQUEST, SG_ELEMENT, SG_ELEMENTS_MAX, TAG_SIMPLE, Flag

SIZE = REQUEST.size
READ = Op.READ  # members of an Enum are slow to look up
_BITS = 8 * SIZE
_CDB, _CDB_LENGTH, _LUN = REQUEST.offset["cdb"], REQUEST.offset["cdbLen"], REQUEST.offset["lun"]
_TARGET, _UNUSED = REQUEST.offset["target"], REQUEST.offset["unused"]
_COMMON = bytes((*bytes(8), TAG_SIMPLE, 0))  # lun, tag, bus
_NOTHING = bytes(SIZE - _UNUSED)
_SG = int(Flag.CMD_WITH_SG_LIST)
_WAYS = {Op.READ: int(Flag.DIR_TOHOST), Op.WRITE: int(Flag.DIR_TODEVICE)}
_LENGTHS = {0x28: 10, 0x2A: 10, 0xA8: 12, 0xAA: 12, 0x88: 16, 0x8A: 16}  # of the CDBs of READ and WRITE
_CONTEXTS = 1 << 32  # one above is odd, and noted
_HEAD = Struct("<16xQ12xI").unpack_from  # dataLen, flags
_PLACES = Struct("<QQ112x").iter_unpack  # context, dataAddr
_LBAS = {
    size: Struct(f">42x{code}{86 - width}x").iter_unpack
    for size, code, width in ((10, "I", 4), (12, "I", 4), (16, "Q", 8))
}
_ELEMENT = SG_ELEMENT.size
_SG_FIRST, _SG_EACH = SG_ELEMENT.struct.unpack_from, SG_ELEMENT.struct.iter_unpack
_PAGES = array("Q", [PAGE]) * SG_ELEMENTS_MAX


def _same(*, but: int) -> int:
    """What is the same in all requests of a run, as a mask of one request: not contexts, addresses, sense buffers,
    CPU hints, and `but` so many bytes of the LBA.
    """
    mask = bytearray(b"\xff" * SIZE)
    for name, size in (("context", 8), ("dataAddr", 8), ("senseAddr", 8), ("senseLen", 4), ("vcpuHint", 2)):
        mask[REQUEST.offset[name] : REQUEST.offset[name] + size] = bytes(size)
    mask[_CDB + 2 : _CDB + 2 + but] = bytes(but)
    return int.from_bytes(mask, "little")


class _Masks(dict[int, int]):
    """One mask over and over, by how often."""

    def __init__(self, mask: int) -> None:
        super().__init__()
        self._mask = mask

    def __missing__(self, count: int) -> int:
        self[count] = found = int.from_bytes(self._mask.to_bytes(SIZE, "little") * count, "little")
        return found


_NARROW, _WIDE = _Masks(_same(but=4)), _Masks(_same(but=8))


def runs(raw: bytes) -> Iterator[tuple[int, int]]:
    """(first byte, end) of each run of alike requests, in order, that together are `raw`."""
    end = len(raw)
    if end <= SIZE:
        if end:
            yield 0, end
        return
    whole = int.from_bytes(raw, "little")
    masks = _WIDE if raw[_CDB] in (0x88, 0x8A) else _NARROW
    differs = (whole ^ whole >> _BITS) & masks[end // SIZE - 1]
    start = 0
    while differs:
        border = ((differs & -differs).bit_length() - 1) // _BITS + 1
        yield start, start + border * SIZE
        start += border * SIZE
        differs >>= border * _BITS
    yield start, end


class Plain:
    """Answers what of a run can be answered at once."""

    def __init__(self, mem: GuestMemory) -> None:
        self._mem = mem

    def answer(self, raw: bytes, start: int, end: int, unit: LogicalUnit) -> bytes:
        """The completions of the requests in bytes `start` to `end` of `raw`, a run for `unit`, from the first to the
        last that was done; nobody has touched those after it.
        """
        length, flags = _HEAD(raw, start)
        size = _LENGTHS.get(raw[start + _CDB])
        if (
            not length
            or raw[start + _CDB_LENGTH] != size
            or raw[start + _LUN : start + _TARGET] != _COMMON
            or raw[start + _UNUSED : start + SIZE] != _NOTHING
        ):
            return b""
        found = unit.plain(raw[start + _CDB : start + _CDB_LENGTH], length)
        if found is None or flags & ~_SG != _WAYS[found[0]]:
            return b""
        op, backend, shift, last = found
        span = raw if end - start == len(raw) else raw[start:end]
        write, listed = op is READ, flags & _SG
        low, high, view = 1, 0, memoryview(b"")
        contexts: list[int] = []
        transfers: list[Transfer] = []
        try:
            for (context, address), (lba,) in zip(_PLACES(span), _LBAS[size](span), strict=True):
                if lba > last or not 0 < context < _CONTEXTS:
                    break
                if listed:
                    pieces = self._elements(address, length, write)
                    if not pieces:
                        break
                else:
                    if not low <= address <= high:
                        region = self._mem.region(address)
                        if region.view is None or (write and not region.writable) or address + length > region.hi:
                            break
                        view, low, high = region.view, region.lo, region.hi - length
                    pieces = [view[address - low : address - low + length]]
                contexts.append(context)
                transfers.append((lba << shift, pieces))
        except DmaFault:
            pass
        done = backend.at_once(op, length, transfers)
        return _completions(contexts[:done], length)

    def _elements(self, address: int, length: int, write: bool) -> list[memoryview]:
        """What an SG list says, if it is one segment of plain elements; else nothing. Raises `DmaFault`."""
        region = self._mem.region(address)
        if region.view is None or address % _ELEMENT:
            return []
        at, room = address - region.lo, min((PAGE - address % PAGE) // _ELEMENT, SG_ELEMENTS_MAX)
        raw = region.view[at : at + _ELEMENT * min(8 + length // PAGE, room)].tobytes()
        if len(raw) % _ELEMENT or not raw:  # the region ends in the middle of it
            return []
        first, size, _ = _SG_FIRST(raw)
        if not region.lo <= first < region.hi:
            region = self._mem.region(first)
        low, high, view = region.lo, region.hi, region.view
        if view is None or (write and not region.writable) or size >= length:
            return []  # a list of one is odd, and noted
        if size == PAGE and not length % PAGE:
            words, count = array("Q", raw), length // PAGE
            places = words[: 2 * count : 2]
            if words[1 : 2 * count : 2] == _PAGES[:count] and min(places) >= low and max(places) + PAGE <= high:
                return [view[at - low : at - low + PAGE] for at in places]
        pieces: list[memoryview] = []
        start = stop = first
        for at, step, flag in _SG_EACH(raw):
            if flag or not step or at < low or at + step > high:
                return []
            if at != stop:
                pieces.append(view[start - low : stop - low])
                start = at
            if step >= length:
                pieces.append(view[start - low : at - low + length])
                return pieces
            stop = at + step
            length -= step
        return []


def _completions(contexts: Sequence[int], length: int) -> bytes:
    """Of requests that went well: context, dataLen, and nothing else."""
    count = len(contexts)
    words = array("Q", bytes(32 * count))
    words[::4] = array("Q", contexts)
    words[1::4] = array("Q", [length]) * count
    return words.tobytes()
