"""What every sector of a disk holds after what was written to it: content that tells its place, and who wrote it. Pure.

Each write has a serial number; each of its sectors holds 32 times its own number and that serial. What is kept is the
serial of each sector, four bytes of memory for 512 of those parts of the disk that were written.
"""

from array import array
from struct import Struct

from pvscsi.traces.trace import SECTOR

ZEROS, UNKNOWN = 0, 0xFFFF_FFFF  # instead of a serial: what the sector holds
SERIAL_MOST = UNKNOWN - 1

_MARK = Struct("<QQ")  # sector, serial
_TIMES = SECTOR // _MARK.size
_CHUNK = 128  # sectors
_LARGE = 1 << 21  # sectors (1 GiB); what is told of a larger range is not kept sector by sector


def content(sector: int, count: int, serial: int) -> bytes:
    """What the write of that serial puts into `count` sectors."""
    pack = _MARK.pack
    return b"".join([pack(each, serial) * _TIMES for each in range(sector, sector + count)])


def describe(data: bytes | memoryview) -> str:
    """What one sector holds, in words."""
    if not any(data):
        return "zeros"
    sector, serial = _MARK.unpack_from(data)
    if bytes(data) == content(sector, 1, serial):
        return f"write {serial} of sector {sector}"
    return "nothing any write put there"


class Model:
    """`fresh`: what a sector holds that was never written, ZEROS or UNKNOWN."""

    def __init__(self, fresh: int) -> None:
        self._fresh = fresh
        self._chunks: dict[int, array[int]] = {}
        self._plain = array("I", [fresh]) * _CHUNK

    def set(self, sector: int, count: int, serial: int) -> None:
        """These sectors hold the write of that serial, ZEROS or UNKNOWN."""
        if serial == self._fresh or count > _LARGE:
            self._reset(sector, count)
            return
        end = sector + count
        while sector < end:
            number, at = divmod(sector, _CHUNK)
            step = min(_CHUNK - at, end - sector)
            chunk = self._chunks.get(number)
            if chunk is None:
                chunk = self._chunks[number] = self._plain[:]
            chunk[at : at + step] = array("I", [serial]) * step
            sector += step

    def _reset(self, sector: int, count: int) -> None:
        """As if never written: of a large range that is zeros on a disk of unknown content, no more is known."""
        end = sector + count
        first, last = sector // _CHUNK, (end - 1) // _CHUNK
        few = last - first < len(self._chunks)
        for number in range(first, last + 1) if few else [n for n in self._chunks if first <= n <= last]:
            chunk = self._chunks.get(number)
            if chunk is not None:
                low, high = max(sector - number * _CHUNK, 0), min(end - number * _CHUNK, _CHUNK)
                chunk[low:high] = self._plain[low:high]
                if chunk == self._plain:
                    del self._chunks[number]

    def serials(self, sector: int, count: int) -> "array[int]":
        """What each of these sectors holds."""
        found, end = array("I"), sector + count
        while sector < end:
            number, at = divmod(sector, _CHUNK)
            step = min(_CHUNK - at, end - sector)
            found += self._chunks.get(number, self._plain)[at : at + step]
            sector += step
        return found

    def compare(self, sector: int, data: bytes) -> tuple[int, list[tuple[int, bytes]]]:
        """How many of the sectors are known, and of each that is wrong its number and what it was to hold."""
        serials = self.serials(sector, len(data) // SECTOR)
        first = serials[0]
        if first not in (ZEROS, UNKNOWN) and serials.count(first) == len(serials):  # mostly so
            if data == content(sector, len(serials), first):
                return len(serials), []
        elif first == ZEROS == max(serials) and not any(data):
            return len(serials), []
        wrong = []
        for n, serial in enumerate(serials):
            if serial == UNKNOWN:
                continue
            wanted = content(sector + n, 1, serial) if serial != ZEROS else bytes(SECTOR)
            if data[n * SECTOR : (n + 1) * SECTOR] != wanted:
                wrong.append((sector + n, wanted))
        return len(serials) - serials.count(UNKNOWN), wrong
