"""Register access and region information of one vfio-user session. Every access is done on the device at once."""

import errno

from pvdev.errors import GuestFault
from pvdev.pci import CONFIG_REGION, PciFunction
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user_rules import Note, Refused, fixed

PIECE = 4  # bytes; what odd accesses are split into at most


class Regions:
    """BARs and config space of `pci` as a client sees them. All methods take a payload and raise `Refused`."""

    def __init__(self, pci: PciFunction, note: Note) -> None:
        self._pci, self._note = pci, note
        self._sizes = [pci.region_size(region) for region in range(wire.NUM_REGIONS)]

    def info(self, payload: bytes, out_fds: list[int], *, mappable: bool, waits: bool) -> bytes:
        """GET_REGION_INFO. `mappable`: the client takes descriptors; `waits`: it is QEMU and must not post writes."""
        size_fixed = wire.REGION_INFO.size
        fixed(self._note, "GET_REGION_INFO", payload, size_fixed)
        argsz, _, index, _, _, _ = wire.REGION_INFO.struct.unpack_from(payload)
        if index >= wire.NUM_REGIONS:
            raise Refused(errno.EINVAL, "VFU-S-043", "GET_REGION_INFO", index)
        size = self._sizes[index]
        if not size:
            return wire.REGION_INFO.struct.pack(size_fixed, 0, index, 0, 0, 0)
        flags = wire.REGION_F_READ | wire.REGION_F_WRITE
        bar = self._pci.bars.get(index)
        if index == CONFIG_REGION and waits:
            flags |= wire.REGION_F_MMAP  # without a descriptor: QEMU maps nothing, and stops posting writes
        if bar is None or bar.shared is None or not mappable:
            return wire.REGION_INFO.struct.pack(size_fixed, flags, index, 0, size, 0)
        flags |= wire.REGION_F_MMAP
        cap = wire.sparse_cap(bar.areas) if bar.areas else b""
        needed = size_fixed + len(cap)
        if argsz < needed:
            return wire.REGION_INFO.struct.pack(needed, flags, index, 0, size, 0)
        out_fds.append(bar.shared.fd)
        if cap:
            return wire.REGION_INFO.struct.pack(needed, flags | wire.REGION_F_CAPS, index, size_fixed, size, 0) + cap
        return wire.REGION_INFO.struct.pack(needed, flags, index, 0, size, 0)

    def io_fds(self, payload: bytes, fds: list[int]) -> bytes:
        """No doorbell descriptors: no VMM asks for any, and ours are polled rings."""
        place = "REGION_IO_FDS"
        if len(payload) < wire.IO_FDS.size:
            raise Refused(errno.EINVAL, "VFU-S-004", place, len(payload))
        argsz, flags, index, count = wire.IO_FDS.struct.unpack_from(payload)
        if flags or count or not wire.IO_FDS.size <= argsz <= wire.XFER_MAX:
            raise Refused(errno.EINVAL, "VFU-S-047", place, argsz)
        if index >= wire.NUM_REGIONS or not self._sizes[index]:
            raise Refused(errno.EINVAL, "VFU-S-047", place, index)
        return wire.IO_FDS.struct.pack(wire.IO_FDS.size, 0, index, 0)

    def read(self, payload: bytes, fds: list[int]) -> bytes:
        if len(payload) != 16:
            self._access_size("REGION_READ", payload)
        offset, region, count = _access(payload)
        if region >= wire.NUM_REGIONS or not 0 < count <= wire.XFER_MAX or offset + count > self._sizes[region]:
            self._refuse_access("REGION_READ", offset, region, count)
        if count in _WHOLE and not offset % count:
            try:
                value = self._pci.read(region, offset, count)
            except GuestFault:  # never leaves a model; if it does, the client gets an error
                raise Refused(errno.EIO) from None
            return payload[:16] + (value & (1 << 8 * count) - 1).to_bytes(count, "little")
        return payload[:16] + self._read_odd(region, offset, count)

    def write(self, payload: bytes, fds: list[int]) -> bytes:
        if len(payload) < 16:
            self._access_size("REGION_WRITE", payload)
        offset, region, count = _access(payload)
        if len(payload) != 16 + count:
            raise Refused(errno.EINVAL, "VFU-S-074", "REGION_WRITE", count)
        if region >= wire.NUM_REGIONS or not 0 < count <= wire.XFER_MAX or offset + count > self._sizes[region]:
            self._refuse_access("REGION_WRITE", offset, region, count)
        self._write(region, offset, payload[16:])
        return payload[:16]

    def _access_size(self, place: str, payload: bytes) -> None:
        if len(payload) < 16:
            raise Refused(errno.EINVAL, "VFU-S-070", place, len(payload))
        self._note("VFU-S-014", place, len(payload))

    def _refuse_access(self, place: str, offset: int, region: int, count: int) -> None:
        """Which rule the access breaks; returns only for one of no bytes."""
        if region >= wire.NUM_REGIONS or not self._sizes[region]:
            raise Refused(errno.EINVAL, "VFU-S-071", place, region)
        if count > wire.XFER_MAX:
            raise Refused(errno.EINVAL, "VFU-S-073", f"{place} region {region}", count)
        if offset + count > self._sizes[region]:
            raise Refused(errno.EINVAL, "VFU-S-072", f"{place} region {region}", offset)
        self._note("VFU-S-075", f"{place} region {region}", offset)

    def _write(self, region: int, offset: int, data: bytes) -> None:
        count = len(data)
        try:
            if count in _WHOLE and not offset % count:
                self._pci.write(region, offset, count, int.from_bytes(data, "little"))
            elif count:
                self._write_odd(region, offset, data)
        except GuestFault:
            raise Refused(errno.EIO) from None

    def _mapped(self, region: int, offset: int, count: int) -> memoryview | None:
        """The shared memory behind a block access to a mappable area."""
        bar = self._pci.bars.get(region)
        if bar is None or bar.shared is None or count <= 8:
            return None
        for at, size in bar.areas or ((0, bar.size),):
            if at <= offset and offset + count <= at + size:
                return bar.shared.view[offset : offset + count]
        return None

    def _read_odd(self, region: int, offset: int, count: int) -> bytes:
        if not count:
            return b""
        if region == CONFIG_REGION:  # VMMs read the whole of it
            return self._pci.read(region, offset, count).to_bytes(count, "little")
        shared = self._mapped(region, offset, count)
        if shared is not None:
            return bytes(shared)
        self._note("VFU-S-076", f"read of {count} bytes in region {region}", offset)
        out = bytearray()
        try:
            for at, size in split(offset, count):
                out += (self._pci.read(region, at, size) & (1 << 8 * size) - 1).to_bytes(size, "little")
        except GuestFault:
            raise Refused(errno.EIO) from None
        return bytes(out)

    def _write_odd(self, region: int, offset: int, data: bytes) -> None:
        shared = self._mapped(region, offset, len(data))
        if shared is not None:
            shared[:] = data
            return
        self._note("VFU-S-076", f"write of {len(data)} bytes in region {region}", offset)
        for at, size in split(offset, len(data)):
            part = data[at - offset : at - offset + size]
            self._pci.write(region, at, size, int.from_bytes(part, "little"))

    def write_multi(self, payload: bytes, fds: list[int]) -> bytes:
        place, entry = "REGION_WRITE_MULTI", wire.WRITE_MULTI_ENTRY
        if len(payload) < wire.WRITE_MULTI.size:
            raise Refused(errno.EINVAL, "VFU-S-004", place, len(payload))
        (count,) = wire.WRITE_MULTI.struct.unpack_from(payload)
        if len(payload) != wire.WRITE_MULTI.size + entry.size * count:
            raise Refused(errno.EINVAL, "VFU-S-079", place, count)
        writes = list(entry.struct.iter_unpack(payload[wire.WRITE_MULTI.size :]))
        for offset, region, size, _ in writes:
            if not 0 < size <= 8:
                raise Refused(errno.EINVAL, "VFU-S-079", f"{place} entry", size)
            if region >= wire.NUM_REGIONS or offset + size > self._sizes[region]:
                self._refuse_access(place, offset, region, size)
        for offset, region, size, data in writes:
            self._write(region, offset, data[:size])
        return wire.WRITE_MULTI.struct.pack(count)


_WHOLE = frozenset((1, 2, 4, 8))


def _access(payload: bytes) -> tuple[int, int, int]:
    """(offset, region, count) of a register access."""
    offset, region, count = _unpack_access(payload)
    return offset, region, count


_unpack_access = wire.REGION_ACCESS.struct.unpack_from


def split(offset: int, count: int) -> list[tuple[int, int]]:
    """[offset, offset + count) as accesses of 1, 2 and 4 bytes at multiples of their size: (offset, size)."""
    out, end = [], offset + count
    while offset < end:
        size = PIECE
        while offset % size or offset + size > end:
            size >>= 1
        out.append((offset, size))
        offset += size
    return out
