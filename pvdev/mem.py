"""Guest memory as a device sees it: mapped regions, looked up once per access, handed out without a copy.

An address is an IOVA in bytes (for our devices: guest physical). A region is mapped (a view of shared memory) or
remote (no descriptor came with it: every access is a message to the driver's side).
"""

import contextlib
import fcntl
import mmap
import os
import sys
import weakref
from _thread import allocate_lock
from bisect import bisect_right
from collections.abc import Callable
from typing import Protocol

from pvdev.errors import GuestFault, PvdevError

assert sys.byteorder == "little", "ring words are cast natively: pvdev needs a little-endian host"

ADDRESS_END = 1 << 64

Buffer = bytes | bytearray | memoryview


class Remote(Protocol):
    """Reaches memory that is not mapped: blocking messages to whoever owns it. May raise `DmaFault`."""

    def read(self, address: int, length: int) -> bytes: ...

    def write(self, address: int, data: Buffer) -> None: ...


class DmaFault(GuestFault):
    """An address the device cannot reach: MEM-01 nothing mapped there, MEM-02 mapped read-only."""


class MapConflict(PvdevError):
    """A region to be mapped overlaps one that is."""


class Region:
    """[lo, hi) of the device's address space. `view` is None for remote memory."""

    __slots__ = ("hi", "lo", "remote", "token", "view", "writable")

    def __init__(
        self, lo: int, hi: int, view: memoryview | None, remote: Remote | None, writable: bool, token: object
    ) -> None:
        self.lo, self.hi, self.view, self.remote, self.writable, self.token = lo, hi, view, remote, writable, token


NOWHERE = Region(0, 0, memoryview(b""), None, False, None)


class Window:
    """A stretch of guest memory a device keeps while active: a ring, a table.

    `view` is the memory itself where it is mapped. For remote memory it is a private copy: `pull` before looking,
    `push` after storing; on mapped memory both do nothing, and `remote` tells which it is.
    """

    __slots__ = ("address", "remote", "view")

    def __init__(self, address: int, view: memoryview, remote: Remote | None) -> None:
        self.address, self.view, self.remote = address, view, remote

    def pull(self) -> None:
        if self.remote is not None:
            self.view[:] = self.remote.read(self.address, len(self.view))

    def push(self, at: int, length: int) -> None:
        """Bytes [at, at + length) of `view` become the driver's."""
        if self.remote is not None:
            self.remote.write(self.address + at, self.view[at : at + length])

    def release(self) -> None:
        self.view.release()


class GuestMemory:
    """The regions a device may reach, thousands of them.

    Views stay valid until the region is unmapped; whoever keeps one registers with `on_unmap` and drops it there.
    `epoch` counts map changes.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._regions: list[Region] = []
        self._last = NOWHERE
        self._droppers: list[Callable[[int, int], None]] = []
        self.epoch = 0

    # -- the map ------------------------------------------------------------------------------------------------

    def map(
        self,
        address: int,
        view: memoryview | None,
        size: int | None = None,
        *,
        remote: Remote | None = None,
        writable: bool = True,
        token: object = None,
    ) -> Region:
        """Add [address, address + size): `view` bytes of shared memory, or a `remote`. Raises `MapConflict`.

        `token` travels with the region for the transport's own bookkeeping.
        """
        if size is None:
            size = len(view) if view is not None else 0
        end = address + size
        held = size if view is None and remote is not None else len(view or b"")
        if not 0 < size <= held or end > ADDRESS_END:
            raise ValueError(f"no region of {size} bytes at {address:#x}")
        at = bisect_right(self._starts, address)
        if (at and self._regions[at - 1].hi > address) or (at < len(self._starts) and self._starts[at] < end):
            raise MapConflict(f"[{address:#x}, {end:#x}) overlaps a mapped region")
        region = Region(address, end, view, remote, writable, token)
        self._starts.insert(at, address)
        self._regions.insert(at, region)
        self.epoch += 1
        return region

    def unmap(self, address: int, size: int) -> Region | None:
        """Remove exactly the region [address, address + size) and return it; None when there is none such.

        Every holder has dropped its views when this returns.
        """
        at = bisect_right(self._starts, address) - 1
        if at < 0 or self._regions[at].lo != address or self._regions[at].hi != address + size:
            return None
        del self._starts[at]
        region = self._regions.pop(at)
        self._last = NOWHERE
        self.epoch += 1
        for drop in self._droppers:
            drop(region.lo, region.hi)
        return region

    def clear(self) -> list[Region]:
        """Remove every region and return them."""
        regions = self._regions[:]
        for region in regions:
            self.unmap(region.lo, region.hi - region.lo)
        return regions

    def on_unmap(self, drop: Callable[[int, int], None]) -> None:
        """Call `drop(lo, hi)` whenever that range goes; kept views of it must be released before it returns."""
        self._droppers.append(drop)

    def regions(self) -> tuple[Region, ...]:
        return tuple(self._regions)

    # -- access -------------------------------------------------------------------------------------------------

    def region(self, address: int) -> Region:
        """The region that holds `address`. Raises `DmaFault` MEM-01."""
        last = self._last
        if last.lo <= address < last.hi:
            return last
        at = bisect_right(self._starts, address) - 1
        if at >= 0:
            region = self._regions[at]
            if address < region.hi:
                self._last = region
                return region
        raise DmaFault("MEM-01", "nothing is mapped at this address", address)

    def view(self, address: int, length: int, *, write: bool = False) -> memoryview:
        """The memory itself, `length` bytes in one region, no copy. Raises `DmaFault`, also for remote memory."""
        region = self.region(address)
        if address + length > region.hi:
            raise DmaFault("MEM-01", "the range leaves its region", address + length)
        if region.view is None:
            raise DmaFault("MEM-01", "no shared memory behind this address", address)
        if write and not region.writable:
            raise DmaFault("MEM-02", "the range is read-only", address)
        at = address - region.lo
        return region.view[at : at + length]

    def pieces(self, address: int, length: int, *, write: bool = False) -> list[memoryview]:
        """The memory itself, split where regions meet. Raises `DmaFault`."""
        out = []
        while length > 0:
            step = min(length, self.region(address).hi - address)
            out.append(self.view(address, step, write=write))
            address, length = address + step, length - step
        return out

    def gather(self, address: int, length: int) -> list[Buffer]:
        """What to send from [address, address + length): views where memory is mapped, copies where it is remote."""
        out: list[Buffer] = []
        while length > 0:
            region = self.region(address)
            step = min(length, region.hi - address)
            at = address - region.lo
            if region.view is not None:
                out.append(region.view[at : at + step])
            elif region.remote is not None:
                out.append(region.remote.read(address, step))
            address, length = address + step, length - step
        return out

    def read(self, address: int, length: int) -> bytes:
        """A private copy of `length` bytes, across region borders. Raises `DmaFault`."""
        return b"".join(self.gather(address, length))

    def write(self, address: int, data: Buffer) -> None:
        """Store `data`, across region borders. All or nothing: `DmaFault` before the first byte is stored."""
        length = len(data)
        region = self.region(address)
        at = address - region.lo
        if address + length <= region.hi and region.view is not None and region.writable:
            region.view[at : at + length] = data
            return
        steps: list[tuple[Region, int, int]] = []
        end = address + length
        while address < end:
            region = self.region(address)
            if not region.writable:
                raise DmaFault("MEM-02", "the range is read-only", address)
            step = min(end, region.hi) - address
            steps.append((region, address, step))
            address += step
        done = 0
        for region, where, step in steps:
            part = data[done : done + step]
            if region.view is not None:
                region.view[where - region.lo : where - region.lo + step] = part
            elif region.remote is not None:
                region.remote.write(where, part)
            done += step

    def reachable(self, address: int, length: int, *, write: bool = False) -> bool:
        """Whether all of [address, address + length) is mapped (and writable)."""
        end = address + length
        if end > ADDRESS_END:
            return False
        try:
            while address < end:
                region = self.region(address)
                if write and not region.writable:
                    return False
                address = region.hi
        except DmaFault:
            return False
        return True

    def window(self, address: int, length: int, *, write: bool = False) -> Window:
        """A `Window` on memory the caller keeps: one region, mapped or remote. Raises `DmaFault`.

        A ring that crosses from one mapped region into another has no single view: it is refused like an unmapped one.
        """
        region = self.region(address)
        if address + length > region.hi:
            raise DmaFault("MEM-01", "the range leaves its region", address + length)
        if write and not region.writable:
            raise DmaFault("MEM-02", "the range is read-only", address)
        if region.remote is None:
            return Window(address, self.view(address, length, write=write), None)
        window = Window(address, memoryview(bytearray(length)), region.remote)
        window.pull()
        return window


_barrier = allocate_lock()


def fence() -> None:
    """A full barrier between a store before and a load after: re-arm a bell, then look again.

    Python has none of its own; taking a lock is a locked instruction, which orders both on every host we run on.
    """
    _barrier.acquire()
    _barrier.release()


class SharedBlock:
    """Zeroed memory another process can map: a memfd. `view` is our side, `fd` what is handed over.

    Sealed against shrinking, so that nobody can pull it away under the other side. One that is forgotten is closed.
    """

    def __init__(self, size: int, name: str = "pvdev") -> None:
        self.size = size
        self.fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, size)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            self.map = mmap.mmap(self.fd, size)
        except OSError:
            os.close(self.fd)
            raise
        self.view = memoryview(self.map)
        self._give_back = weakref.finalize(self, os.close, self.fd)

    def close(self) -> None:
        """Give the memory back; what others still view of it lives until they let go."""
        if self.fd >= 0:
            self.view.release()
            with contextlib.suppress(BufferError):  # a holder's view keeps it; the last one frees it
                self.map.close()
            self._give_back()
            self.fd = -1
