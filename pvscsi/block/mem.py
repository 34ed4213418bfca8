"""Media made of memory: `mem` keeps what is written, `null` keeps nothing. Both finish everything at once."""

from collections.abc import Sequence

from pvscsi.block.backend import Io, Op, Transfer
from pvscsi.block.medium import Medium, beyond, clip, joined, refused

READ, WRITE = Op.READ, Op.WRITE  # members of an Enum are slow to look up
CHUNK_SHIFT = 16
CHUNK = 1 << CHUNK_SHIFT  # bytes; what one write into a hole brings into being
ZEROS = memoryview(bytes(1 << 20))


class MemDisk(Medium):
    """`size` bytes, zeros at first. Only chunks that were written take memory, so that 1 TiB is no more than 1 MiB."""

    def __init__(self, name: str, size: int, *, read_only: bool = False) -> None:
        super().__init__(name, size, read_only=read_only)
        self._chunks: dict[int, memoryview] = {}

    def resize(self, size: int) -> None:
        """Grow (by zeros) or shrink."""
        if size < self._size:
            self._zero(size, self._size)
        self._size = size

    def submit(self, ios: Sequence[Io]) -> None:
        size = self._size
        for io in ios:
            op, offset, length = io.op, io.offset, io.length
            if op is READ and offset + length <= size:
                self._read(offset, io.buffers)
                io.finish(length)
            elif op is WRITE and offset + length <= size and not self._read_only:
                self._write(offset, io.buffers)
                io.finish(length)
            elif op is Op.FLUSH:
                io.finish()
            elif not refused(io, size, self._read_only):
                room = min(length, size - offset)
                if op is READ:
                    self._read(offset, clip(io.buffers, 0, room))
                elif op is WRITE:
                    self._write(offset, clip(io.buffers, 0, room))
                else:
                    self._zero(offset, offset + room)
                io.finish(room, None if room == length else beyond(io))

    def at_once(self, op: Op, length: int, transfers: Sequence[Transfer]) -> int:
        if op is WRITE and self._read_only:
            return 0
        last, move = self._size - length, self._read if op is READ else self._write
        for count, (offset, buffers) in enumerate(transfers):
            if offset > last:
                return count
            move(offset, buffers)
        return len(transfers)

    def allocated(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        end = offset + length
        stretches, at = [], offset
        for number in sorted(self._within(offset, end)):
            low, high = max(number << CHUNK_SHIFT, offset), min(number + 1 << CHUNK_SHIFT, end)
            stretches += [(low - at, False), (high - low, True)]
            at = high
        return joined([*stretches, (end - at, False)])

    def _read(self, offset: int, buffers: Sequence[memoryview]) -> None:
        chunks, mask = self._chunks, CHUNK - 1
        for piece in buffers:
            done, length = 0, len(piece)
            start = offset & mask
            if start + length <= CHUNK:  # most are in one chunk
                chunk = chunks.get(offset >> CHUNK_SHIFT)
                piece[:] = ZEROS[:length] if chunk is None else chunk[start : start + length]
                offset += length
                continue
            while done < length:
                start = offset & mask
                step = min(CHUNK - start, length - done)
                chunk = chunks.get(offset >> CHUNK_SHIFT)
                piece[done : done + step] = ZEROS[:step] if chunk is None else chunk[start : start + step]
                done += step
                offset += step

    def _write(self, offset: int, buffers: Sequence[memoryview]) -> None:
        chunks, mask = self._chunks, CHUNK - 1
        for piece in buffers:
            done, length = 0, len(piece)
            while done < length:
                start = offset & mask
                step = min(CHUNK - start, length - done)
                chunk = chunks.get(offset >> CHUNK_SHIFT)
                if chunk is None:
                    chunk = chunks[offset >> CHUNK_SHIFT] = memoryview(bytearray(CHUNK))
                chunk[start : start + step] = piece if step == length else piece[done : done + step]
                done += step
                offset += step

    def _zero(self, offset: int, end: int) -> None:
        for number in self._within(offset, end):
            low, high = max(offset - (number << CHUNK_SHIFT), 0), min(end - (number << CHUNK_SHIFT), CHUNK)
            if high - low == CHUNK:
                del self._chunks[number]
            else:
                self._chunks[number][low:high] = ZEROS[: high - low]

    def _within(self, offset: int, end: int) -> list[int]:
        """The chunks there are that hold some of the range."""
        first, last = offset >> CHUNK_SHIFT, end - 1 >> CHUNK_SHIFT
        if last - first < len(self._chunks):
            return [number for number in range(first, last + 1) if number in self._chunks]
        return [number for number in self._chunks if first <= number <= last]


class NullDisk(Medium):
    """Reads as zeros, forgets what is written: a limit to measure against."""

    def submit(self, ios: Sequence[Io]) -> None:
        for io in ios:
            if io.op is Op.FLUSH:
                io.finish()
            elif not refused(io, self._size, self._read_only):
                room = min(io.length, self._size - io.offset)
                if io.op is Op.READ:
                    _fill(io.buffers if room == io.length else clip(io.buffers, 0, room))
                io.finish(room, None if room == io.length else beyond(io))

    def at_once(self, op: Op, length: int, transfers: Sequence[Transfer]) -> int:
        if op is WRITE and self._read_only:
            return 0
        last = self._size - length
        for count, (offset, buffers) in enumerate(transfers):
            if offset > last:
                return count
            if op is READ:
                _fill(buffers)
        return len(transfers)

    def allocated(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        return ((length, False),) if length else ()


def _fill(buffers: Sequence[memoryview]) -> None:
    """With zeros."""
    zeros = ZEROS[:0]
    for piece in buffers:
        size = len(piece)
        if size != len(zeros):  # most are as long as the one before
            zeros = ZEROS[:size]
        if size == len(zeros):
            piece[:] = zeros
        else:
            for at in range(0, size, len(ZEROS)):
                part = piece[at : at + len(ZEROS)]
                part[:] = ZEROS[: len(part)]
