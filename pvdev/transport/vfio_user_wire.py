"""vfio-user on the wire: names, numbers, message layouts, and the cutting of a byte stream into messages.

Ref: QEMU docs/interop/vfio-user.rst (the canonical text), linux/vfio.h (structures and flag values it borrows).
All numbers little-endian; "payload" is what follows the 16-byte header. Bytes in, bytes out: no socket here.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum

from pvdev.layout import Layout

MAJOR, MINOR = 0, 1  # the newest protocol version we speak

HEADER_SIZE = 16
XFER_MAX = 1 << 20  # max_data_xfer_size, ours, and what a silent peer is taken to mean; bytes
MESSAGE_MAX = HEADER_SIZE + 16 + XFER_MAX  # the largest message we take, bytes
DRAIN_MAX = 64 << 20  # a larger announced size is not worth reading past, bytes
FDS_MAX = 8  # max_msg_fds, ours: every known client accepts it
FDS_KERNEL = 253  # SCM_MAX_FD: descriptors in one sendmsg
FDS_DEFAULT = 1  # max_msg_fds of a peer that does not say
MAPS_MAX = 65535  # DMA regions
VERSION_JSON_MAX = 193  # bytes without the NUL; QEMU keeps 214 for the whole VERSION reply


class Command(IntEnum):
    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    DEVICE_GET_INFO = 4
    DEVICE_GET_REGION_INFO = 5
    DEVICE_GET_REGION_IO_FDS = 6
    DEVICE_GET_IRQ_INFO = 7
    DEVICE_SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DMA_READ = 11  # server to client
    DMA_WRITE = 12  # server to client
    DEVICE_RESET = 13
    DIRTY_PAGES = 14  # protocol v1 only, kept for decoding
    REGION_WRITE_MULTI = 15
    DEVICE_FEATURE = 16
    MIG_DATA_READ = 17
    MIG_DATA_WRITE = 18


# header flags
TYPE_MASK, TYPE_COMMAND, TYPE_REPLY = 0xF, 0, 1
NO_REPLY, ERROR = 0x10, 0x20
KNOWN_FLAGS = TYPE_MASK | NO_REPLY | ERROR

# DMA_MAP flags (MMAP and FILE_IO: libvfio-user's), DMA_UNMAP flags
DMA_F_READ, DMA_F_WRITE, DMA_F_MMAP, DMA_F_FILE_IO = 1, 2, 4, 8
UNMAP_DIRTY_BITMAP, UNMAP_ALL = 1, 2

# GET_INFO, GET_REGION_INFO, GET_IRQ_INFO flags
INFO_RESET, INFO_PCI = 1, 2
REGION_F_READ, REGION_F_WRITE, REGION_F_MMAP, REGION_F_CAPS = 1, 2, 4, 8
IRQ_EVENTFD, IRQ_MASKABLE, IRQ_AUTOMASKED, IRQ_NORESIZE = 1, 2, 4, 8

# SET_IRQS flags
SET_NONE, SET_BOOL, SET_EVENTFD = 1, 2, 4
SET_MASK, SET_UNMASK, SET_TRIGGER = 8, 0x10, 0x20
SET_DATA, SET_ACTION = 7, 0x38

# DEVICE_FEATURE flags
FEATURE_MASK, FEATURE_GET, FEATURE_SET, FEATURE_PROBE = 0xFFFF, 0x10000, 0x20000, 0x40000

# region and interrupt indices of a PCI device
REGION_ROM, REGION_CONFIG, REGION_VGA, NUM_REGIONS = 6, 7, 8, 9
IRQ_INTX, IRQ_MSI, IRQ_MSIX, IRQ_ERR, IRQ_REQ, NUM_IRQS = 0, 1, 2, 3, 4, 5

CAP_SPARSE_MMAP = 1

HEADER = Layout("Header", 16, (("msg_id", "H"), ("command", "H"), ("size", "I"), ("flags", "I"), ("error", "I")))
VERSION = Layout("Version", 4, (("major", "H"), ("minor", "H")))
DMA_MAP = Layout("DmaMap", 32, (("argsz", "I"), ("flags", "I"), ("offset", "Q"), ("address", "Q"), ("size", "Q")))
DMA_UNMAP = Layout("DmaUnmap", 24, (("argsz", "I"), ("flags", "I"), ("address", "Q"), ("size", "Q")))
DEVICE_INFO = Layout(
    "DeviceInfo", 16, (("argsz", "I"), ("flags", "I"), ("num_regions", "I"), ("num_irqs", "I")), ref="vfio_device_info"
)
REGION_INFO = Layout(
    "RegionInfo",
    32,
    (("argsz", "I"), ("flags", "I"), ("index", "I"), ("cap_offset", "I"), ("size", "Q"), ("offset", "Q")),
    ref="vfio_region_info",
)
CAP_HEADER = Layout("CapHeader", 8, (("id", "H"), ("version", "H"), ("next", "I")), ref="vfio_info_cap_header")
SPARSE_MMAP = Layout("SparseMmap", 8, (("nr_areas", "I"), ("", "I")), ref="vfio_region_info_cap_sparse_mmap")
MMAP_AREA = Layout("MmapArea", 16, (("offset", "Q"), ("size", "Q")), ref="vfio_region_sparse_mmap_area")
IO_FDS = Layout("RegionIoFds", 16, (("argsz", "I"), ("flags", "I"), ("index", "I"), ("count", "I")))
IRQ_INFO = Layout("IrqInfo", 16, (("argsz", "I"), ("flags", "I"), ("index", "I"), ("count", "I")), ref="vfio_irq_info")
SET_IRQS = Layout(
    "SetIrqs",
    20,
    (("argsz", "I"), ("flags", "I"), ("index", "I"), ("start", "I"), ("count", "I")),
    ref="vfio_irq_set",
)
REGION_ACCESS = Layout("RegionAccess", 16, (("offset", "Q"), ("region", "I"), ("count", "I")))
WRITE_MULTI = Layout("WriteMulti", 8, (("wr_cnt", "Q"),))
WRITE_MULTI_ENTRY = Layout("WriteMultiEntry", 24, (("offset", "Q"), ("region", "I"), ("count", "I"), ("data", "8s")))
DMA_ACCESS = Layout("DmaAccess", 16, (("address", "Q"), ("count", "Q")))
FEATURE = Layout("DeviceFeature", 8, (("argsz", "I"), ("flags", "I")), ref="vfio_device_feature")
MIG_DATA = Layout("MigData", 8, (("argsz", "I"), ("size", "I")))

_unpack_header = HEADER.struct.unpack_from
_pack_header = HEADER.struct.pack


def pack(msg_id: int, command: int, payload: bytes = b"", *, flags: int = 0, error: int = 0) -> bytes:
    """One whole message; `size` is worked out."""
    return _pack_header(msg_id, command, HEADER_SIZE + len(payload), flags, error) + payload


def sparse_cap(areas: Sequence[tuple[int, int]], at: int = 32) -> bytes:
    """The capability that lists mappable `areas` (offset, size in bytes); the only one of its chain, at `at`."""
    head = CAP_HEADER.encode(id=CAP_SPARSE_MMAP, version=1) + SPARSE_MMAP.encode(nr_areas=len(areas))
    return head + b"".join(MMAP_AREA.encode(offset=o, size=s) for o, s in areas)


def region_areas(payload: bytes) -> list[tuple[int, int]] | None:
    """The (offset, size) areas of a region-info payload; None without the capability. `ValueError` when malformed."""
    at = REGION_INFO.struct.unpack_from(payload)[3]
    seen: set[int] = set()
    while at:
        if at < REGION_INFO.size or at in seen or at + CAP_HEADER.size > len(payload):
            raise ValueError(f"capability chain leads to offset {at} of {len(payload)} bytes")
        seen.add(at)
        kind, _, following = CAP_HEADER.struct.unpack_from(payload, at)
        if kind == CAP_SPARSE_MMAP:
            first = at + CAP_HEADER.size + SPARSE_MMAP.size
            if first > len(payload):
                raise ValueError("sparse capability cut short")
            (count,) = SPARSE_MMAP.struct.unpack_from(payload, at + CAP_HEADER.size)
            if first + MMAP_AREA.size * count > len(payload):
                raise ValueError(f"{count} areas do not fit the reply")
            return [MMAP_AREA.struct.unpack_from(payload, first + MMAP_AREA.size * i) for i in range(count)]
        at = following
    return None


Json = Mapping[str, object]


def version_payload(major: int, minor: int, capabilities: Json | None) -> bytes:
    """The payload of VERSION, its JSON without a spare space; None: no JSON at all."""
    head = VERSION.encode(major=major, minor=minor)
    if capabilities is None:
        return head
    return head + json.dumps({"capabilities": capabilities}, separators=(",", ":")).encode() + b"\0"


def parse_version(payload: bytes) -> tuple[int, int, object]:
    """(major, minor, the JSON document or None). Raises `ValueError` for what is no VERSION payload."""
    if len(payload) < VERSION.size:
        raise ValueError("VERSION without version numbers")
    major, minor = VERSION.struct.unpack_from(payload)
    text = payload[VERSION.size :]
    if not text:
        return major, minor, None
    if text[-1:] != b"\0":
        raise ValueError("the JSON does not end with a NUL")
    try:
        return major, minor, json.loads(text[: text.index(b"\0")])
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None


class Message:
    """One message. `fds` belong to whoever holds it. `fault`: the framing rule it broke (its payload is not kept)."""

    __slots__ = ("command", "error", "fault", "fds", "flags", "msg_id", "payload", "size")

    def __init__(
        self, msg_id: int, command: int, size: int, flags: int, error: int, payload: bytes = b"", fault: str = ""
    ) -> None:
        self.msg_id, self.command, self.size, self.flags, self.error = msg_id, command, size, flags, error
        self.payload, self.fault = payload, fault
        self.fds: list[int] = []

    @property
    def is_reply(self) -> bool:
        return self.flags & TYPE_MASK == TYPE_REPLY

    def __repr__(self) -> str:
        name = Command(self.command).name if self.command in set(Command) else str(self.command)
        kind = "reply" if self.is_reply else "command"
        return (
            f"<{name} {kind} id {self.msg_id} flags {self.flags:#x} error {self.error}"
            f" payload {self.payload[:40].hex(' ', 4)} fds {self.fds}>"
        )


class MessageReader:
    """Cuts a byte stream into messages, however it is fragmented, and keeps descriptors with their message.

    A chunk's descriptors belong to the last message that has bytes in it: Linux ends a stream `recvmsg` after the
    buffer that carried descriptors, and a message is sent by one `sendmsg`. A message over `limit` bytes is reported
    at its header (`fault` VFU-S-005) and read past; one under 16 bytes (VFU-S-003) or over `drain` ends the stream:
    `broken`.
    """

    def __init__(self, limit: int = MESSAGE_MAX, drain: int = DRAIN_MAX) -> None:
        self.limit, self.drain = limit, drain
        self.broken = False
        self.stray: list[int] = []  # descriptors of no message: the caller closes them
        self._buf = bytearray()
        self._skip = 0
        self._fds: list[int] = []

    @property
    def inside(self) -> bool:
        """Whether part of a message is here and the rest is not."""
        return bool(self._buf) or self._skip > 0

    @property
    def want(self) -> int:
        """How many bytes the next read should ask for at least."""
        buf = self._buf
        if len(buf) >= HEADER_SIZE:
            return max(4096, int.from_bytes(buf[4:8], "little") - len(buf))
        return 4096 if self._skip < 4096 else min(self._skip, 1 << 16)

    def feed(self, data: bytes, fds: Iterable[int] = ()) -> list[Message]:
        """The messages that `data` completes."""
        buf = self._buf
        if not buf and not self._skip and not self.broken and len(data) >= HEADER_SIZE:
            msg_id, command, size, flags, error = _unpack_header(data)
            if size == len(data) <= self.limit:  # the usual case: one message, whole
                message = Message(msg_id, command, size, flags, error, data[HEADER_SIZE:])
                message.fds += self._fds
                message.fds += fds
                self._fds = []
                return [message]
        out: list[Message] = []
        if not self.broken:
            buf += data
            self._cut(out)
        if buf and not self.broken:
            self._fds += fds
        elif out:
            out[-1].fds += fds
        else:
            self.stray += fds
        return out

    def _cut(self, out: list[Message]) -> None:
        buf, at, end = self._buf, 0, len(self._buf)
        while True:
            step = min(self._skip, end - at)
            at, self._skip = at + step, self._skip - step
            if end - at < HEADER_SIZE:
                break
            msg_id, command, size, flags, error = _unpack_header(buf, at)
            if HEADER_SIZE <= size <= self.limit:
                if end - at < size:
                    break
                payload = bytes(memoryview(buf)[at + HEADER_SIZE : at + size])
                message = Message(msg_id, command, size, flags, error, payload)
                at += size
            else:
                fault = "VFU-S-003" if size < HEADER_SIZE else "VFU-S-005"
                message = Message(msg_id, command, size, flags, error, fault=fault)
                at += HEADER_SIZE
                self.broken = size < HEADER_SIZE or size > self.drain
                self._skip = 0 if self.broken else size - HEADER_SIZE
            message.fds, self._fds = self._fds, []
            out.append(message)
            if self.broken:
                at = end
                break
        del buf[:at]

    def abandon(self) -> list[int]:
        """End of the stream: the descriptors nobody got."""
        fds, self._fds, self.stray = self._fds + self.stray, [], []
        return fds
