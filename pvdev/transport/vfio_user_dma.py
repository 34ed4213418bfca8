"""The DMA regions one vfio-user client has lent to a device: DMA_MAP and DMA_UNMAP, checked. No socket, no mmap."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pvdev.mem import ADDRESS_END, GuestMemory, MapConflict, Remote
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user_rules import Note, Refused

PAGE = 4096


@dataclass(frozen=True)
class FileId:
    """What a descriptor stands for: the same file has the same `device` and `inode`. `size` None: not a plain file."""

    device: int
    inode: int
    size: int | None


class Mapped(Protocol):
    """Memory mapped from a descriptor."""

    view: memoryview

    def close(self) -> bool:
        """Let go; False when somebody still holds a view of it."""
        ...


class Mapper(Protocol):
    """The system calls DMA needs. All but `close` raise `OSError`."""

    def identify(self, fd: int) -> FileId: ...

    def map(self, fd: int, offset: int, size: int, *, write: bool) -> Mapped:
        """`size` bytes of `fd` from `offset`, any alignment; the descriptor stays the caller's."""
        ...

    def close(self, fd: int) -> None: ...


@dataclass(frozen=True)
class Lent:
    """One region, as it was asked for; equal for an identical repeat."""

    address: int
    size: int
    flags: int
    offset: int
    file: tuple[int, int] | None


class DmaTable:
    """Puts a client's regions into a device's memory and takes exactly those out again.

    A region without a descriptor becomes `remote`: reached by messages, or refused there.
    """

    def __init__(self, mem: GuestMemory, mapper: Mapper, note: Note, remote: Callable[[], Remote]) -> None:
        self._mem, self._mapper, self._note, self._remote = mem, mapper, note, remote
        self._lent: dict[tuple[int, int], tuple[Lent, Mapped | None]] = {}

    def __len__(self) -> int:
        return len(self._lent)

    def regions(self) -> list[Lent]:
        return [lent for lent, _ in self._lent.values()]

    def map(self, payload: bytes, fds: list[int]) -> None:
        """DMA_MAP; `fds` stay the caller's to close. Raises `Refused`."""
        place = "DMA_MAP"
        if len(payload) < wire.DMA_MAP.size:
            raise Refused(errno.EINVAL, "VFU-S-090", place, len(payload))
        argsz, flags, offset, address, size = wire.DMA_MAP.struct.unpack_from(payload)
        if argsz < wire.DMA_MAP.size:
            raise Refused(errno.EINVAL, "VFU-S-090", place, argsz)
        if len(fds) > 1:
            raise Refused(errno.EINVAL, "VFU-S-098", place, len(fds))
        known = wire.DMA_F_READ | wire.DMA_F_WRITE | wire.DMA_F_MMAP | wire.DMA_F_FILE_IO
        if flags & ~known or not flags & 3 or (flags & ~3 and not fds):
            raise Refused(errno.EINVAL, "VFU-S-091", place, flags)
        if size == 0 or address + size > ADDRESS_END:
            raise Refused(errno.EINVAL, "VFU-S-094", place, size)
        if address % PAGE or size % PAGE or offset % PAGE:
            self._note("VFU-S-095", place, address)
        lent = Lent(address, size, flags & 3, offset, None)
        if fds:
            file = self._identify(fds[0])
            if file.size is not None and offset + size > file.size:
                raise Refused(errno.EINVAL, "VFU-S-096", place, offset + size)
            lent = Lent(address, size, flags & 3, offset, (file.device, file.inode))
        known_here = self._lent.get((address, size))
        if known_here is not None and known_here[0] == lent:
            self._note("VFU-S-093", place, address)
            return
        if len(self._lent) >= wire.MAPS_MAX:
            raise Refused(errno.ENOSPC, "VFU-S-099", place, len(self._lent))
        self._add(lent, fds)

    def _identify(self, fd: int) -> FileId:
        try:
            return self._mapper.identify(fd)
        except OSError as error:
            raise Refused(error.errno or errno.EINVAL, "VFU-S-097", "DMA_MAP", fd) from None

    def _add(self, lent: Lent, fds: list[int]) -> None:
        mapped: Mapped | None = None
        write = bool(lent.flags & wire.DMA_F_WRITE)
        if fds:
            try:
                mapped = self._mapper.map(fds[0], lent.offset, lent.size, write=write)
            except (OSError, ValueError, OverflowError) as error:
                number = getattr(error, "errno", None) or errno.EINVAL
                raise Refused(number, "VFU-S-097", "DMA_MAP", fds[0]) from None
        try:
            if mapped is not None:
                self._mem.map(lent.address, mapped.view, writable=write, token=lent)
            else:
                self._mem.map(lent.address, None, lent.size, remote=self._remote(), writable=write, token=lent)
        except MapConflict:
            if mapped is not None:
                mapped.close()
            raise Refused(errno.EEXIST, "VFU-S-092", "DMA_MAP", lent.address) from None
        self._lent[lent.address, lent.size] = (lent, mapped)

    def unmap(self, payload: bytes) -> bytes:
        """DMA_UNMAP; its reply payload. Every view of the memory is gone when this returns. Raises `Refused`."""
        place = "DMA_UNMAP"
        if len(payload) < wire.DMA_UNMAP.size:
            raise Refused(errno.EINVAL, "VFU-S-102", place, len(payload))
        argsz, flags, address, size = wire.DMA_UNMAP.struct.unpack_from(payload)
        if not wire.DMA_UNMAP.size <= argsz <= wire.XFER_MAX:
            raise Refused(errno.EINVAL, "VFU-S-102", place, argsz)
        if flags & ~wire.UNMAP_ALL or (flags and (address or size)):
            raise Refused(errno.EINVAL, "VFU-S-103", place, flags)
        if flags:
            self.clear()
        elif (address, size) in self._lent:
            self._drop(address, size)
        else:
            raise Refused(errno.ENOENT, "VFU-S-101", place, address)
        return payload[: wire.DMA_UNMAP.size]

    def _drop(self, address: int, size: int) -> None:
        _, mapped = self._lent.pop((address, size))
        self._mem.unmap(address, size)
        if mapped is not None and not mapped.close():
            self._note("VFU-S-104", "a view of unmapped memory is still held", address)

    def clear(self) -> None:
        """Take back everything."""
        for address, size in list(self._lent):
            self._drop(address, size)
