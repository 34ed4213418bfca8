"""Capture files as streams of Ethernet frames: pcap and pcapng in (`pcapng` writes them).

Works on binary file objects handed in; opens nothing. Memory stays at a few MiB however long the capture is.
Ref: draft-ietf-opsawg-pcap (pcap), draft-ietf-opsawg-pcapng (pcapng); block, option and field names are theirs.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple, Protocol

from pvdev.errors import ConfigError
from pvdev.recordings import PACKED


class PacketOptions(NamedTuple):
    """What a pcapng packet block says of its frame beyond stamp and bytes."""

    comment: str | None = None  # opt_comment; several are joined by newlines
    flags: int = 0  # epb_flags
    queue: int | None = None  # epb_queue
    rss_hash: int | None = None  # epb_hash, the Toeplitz one


# One frame: stamp (ns since 1970), bytes held in the file, length on the wire (larger: the capture cut the
# frame), index into `interfaces`, options. A plain tuple: a NamedTuple makes the whole reading loop 1.4 times slower.
Captured = tuple[int, bytes, int, int, PacketOptions | None]

ETHERNET = 1  # LINKTYPE_ETHERNET, the only one a NIC can be offered
MAX_FRAME = 1 << 18  # bytes; the largest snaplen capture tools write. A longer record is damage, not a frame
MAX_BLOCK = 1 << 24  # bytes; libpcap's limit for one pcapng block
CHUNK = 1 << 18  # bytes asked of the file at a time; 1 MiB took twice as long per frame (fresh pages each time)
SECOND = 1_000_000_000  # ns

PCAP_MAGIC = {  # first four bytes: byte order, ns for each unit of the second stamp field
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
SHB_TYPE = b"\x0a\x0d\x0d\x0a"  # reads the same in both byte orders
BYTE_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
IDB, PB, SPB, EPB = 1, 2, 3, 6
OPT_ENDOFOPT, OPT_COMMENT, SHB_USERAPPL = 0, 1, 4
EPB_FLAGS, EPB_HASH, EPB_QUEUE = 2, 3, 6
HASH_TOEPLITZ = 5  # first byte of an epb_hash; the hash follows in the section's byte order, as DPDK writes it
IF_NAME, IF_DESCRIPTION, IF_TSRESOL, IF_TSOFFSET = 2, 3, 9, 14
LINK_NAMES = {
    0: "BSD loopback",
    101: "raw IP",
    105: "IEEE 802.11",
    113: "Linux cooked",
    127: "802.11 radiotap",
    276: "Linux cooked v2",
}


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this is a capture."""
    return head[:4] in PCAP_MAGIC or head[:4] == SHB_TYPE


class ReadFile(Protocol):
    """The one thing the reader needs of a file; `read1` is used where there is one, so a live pipe is not held up."""

    def read(self, size: int, /) -> bytes | None: ...


class Interface(NamedTuple):
    """Where frames were captured; numbered through all sections of a file."""

    name: str
    link_type: int  # LINKTYPE_ number
    snaplen: int  # bytes; 0: no limit
    num: int = 1000  # ns = stamp * num // den + offset_ns
    den: int = 1
    offset_ns: int = 0


class CaptureReader:
    """The frames of one capture, in file order, once through.

    `partial`: end at the first broken record (`cut` then says where) instead of raising.
    ConfigError, always one line with the mend: not a capture, cut short, damaged, not Ethernet, unreadable.
    """

    def __init__(self, file: ReadFile, *, name: str = "capture", partial: bool = False) -> None:
        self.name, self.partial = name, partial
        self.format = "pcap"
        self.interfaces: list[Interface] = []
        self.frames = 0  # handed out so far
        self.annotated = False  # a frame with options was read: worth a look at those of the batch
        self.cut: str | None = None
        self._source = source = _Source(file, name)
        source.have(4)
        magic = source.buf[:4]
        if not magic:
            raise ConfigError(f"{name}: empty file, not a capture; give a pcap or pcapng file")
        if magic in PCAP_MAGIC:
            self._open_pcap(*PCAP_MAGIC[magic])
        elif magic == SHB_TYPE:
            self.format = "pcapng"
            self._section = 0  # index of this section's first interface
            self._blocks = 0
            self._stamp = 0  # the last stamp seen: simple packet blocks carry none
            try:
                self._block()
            except _BrokenRecord as broken:
                raise ConfigError(
                    f"{name}: not a capture, its first block {broken}; give a pcap or pcapng file"
                ) from None
        else:
            packed = PACKED.get(magic[:2])
            mend = f"packed with {packed} it first" if packed else "give a pcap or pcapng file"
            raise ConfigError(f"{name}: not a capture (starts with {magic.hex(' ')}); {mend}")

    def batches(self, max_frames: int = 256) -> Iterator[list[Captured]]:
        """Lists of 1 to `max_frames` frames; a list is handed out before the file is made to wait for more."""
        if max_frames < 1:
            raise ValueError(f"max_frames must be 1 or more, got {max_frames}")
        steps = self._pcap(max_frames) if self.format == "pcap" else self._pcapng(max_frames)
        try:
            for batch in steps:
                self.frames += len(batch)
                yield batch
        except _BrokenRecord as broken:
            number = self.frames if self.format == "pcap" else self._blocks
            where = f"record {number + 1} at offset {self._source.base + self._source.pos}"
            self.cut = f"{self.name}: {where} {broken}; the {self.frames} frames before it are whole"
            if not self.partial:
                raise ConfigError(f"{self.cut}: play just those with --partial (pcap port: partial=yes)") from None

    def _ethernet(self, interface: Interface) -> None:
        kind = interface.link_type
        if kind != ETHERNET:
            known = f" ({LINK_NAMES[kind]})" if kind in LINK_NAMES else ""
            on = f" on interface {interface.name}" if interface.name else ""
            raise ConfigError(
                f"{self.name}: link type {kind}{known}{on}: a NIC takes only Ethernet (1); capture on an Ethernet port"
            )

    # pcap ---------------------------------------------------------------------------------------------------

    def _open_pcap(self, order: str, unit_ns: int) -> None:
        if not self._source.have(24):
            raise ConfigError(f"{self.name}: cut short inside the file header, no frame is left; capture again")
        _, major, _, _, _, snaplen, link = Struct(order + "IHHIIII").unpack_from(self._source.buf)
        if major != 2:
            raise ConfigError(f"{self.name}: pcap version {major} is not supported (only 2); rewrite it with editcap")
        self._source.pos = 24
        # upper half of the last word: bit 26 says that bits 28..31 are the length of the FCS in 16-bit units
        self._fcs = link >> 28 << 1 if link & 1 << 26 else 0
        self.interfaces.append(Interface("", link & 0xFFFF, snaplen, unit_ns))
        self._ethernet(self.interfaces[0])
        self._head = Struct(order + "IIII").unpack_from

    def _pcap(self, max_frames: int) -> Iterator[list[Captured]]:
        source, head, unit_ns = self._source, self._head, self.interfaces[0].num
        while True:
            batch: list[Captured] = []
            add = batch.append
            buf, pos = source.buf, source.pos
            end = len(buf)
            for _ in range(max_frames):
                if pos + 16 > end:
                    break
                seconds, fraction, held, wire = head(buf, pos)
                stop = pos + 16 + held
                if stop > end or held > MAX_FRAME:
                    break
                add((seconds * SECOND + fraction * unit_ns, buf[pos + 16 : stop], wire, 0, None))
                pos = stop
            source.pos = pos
            if batch:
                yield _without_fcs(batch, self._fcs) if self._fcs else batch
            elif not source.have(16):
                if source.left():
                    raise _BrokenRecord("is cut short")
                return
            else:
                held = head(source.buf, source.pos)[2]
                if held > MAX_FRAME:
                    raise _BrokenRecord(f"is damaged: {held} bytes in one frame")
                if not source.have(16 + held):
                    raise _BrokenRecord("is cut short")

    # pcapng -------------------------------------------------------------------------------------------------

    def _pcapng(self, max_frames: int) -> Iterator[list[Captured]]:
        """Runs of enhanced packet blocks in the loop; any other block goes through `_block`, one at a time."""
        source = self._source
        while True:
            batch: list[Captured] = []
            add = batch.append
            buf, pos, head, tail = source.buf, source.pos, self._epb, self._u32
            interfaces = self.interfaces[self._section :]
            count = len(interfaces)
            current, index, num, den, offset, scaled = -1, 0, 0, 1, 0, False
            end = len(buf)
            for _ in range(max_frames):
                if pos + 28 > end:
                    break
                kind, size, number, high, low, held, wire = head(buf, pos)
                stop, first = pos + size, pos + 28
                last = first + held
                if kind != EPB or stop > end or last + 4 > stop or size & 3 or held > MAX_FRAME:
                    break
                if tail(buf, stop - 4)[0] != size:
                    break
                if number != current:
                    if number >= count or interfaces[number].link_type != ETHERNET:
                        break
                    current, index = number, self._section + number
                    num, den, offset = interfaces[number][3:]
                    scaled = den != 1
                stamp = (high << 32 | low) * num
                if scaled:
                    stamp //= den
                options = self._epb_options(buf, last + 3 & ~3, stop - 4) if stop - last > 7 else None
                add((stamp + offset, buf[first:last], wire, index, options))
                pos = stop
            source.pos = pos
            if batch:
                self._stamp = batch[-1][0]
                self._blocks += len(batch)
                yield batch
                continue
            frame = self._block()
            if frame:
                self._stamp = frame[0]
                yield [frame]
            elif frame is None:
                return

    def _block(self) -> Captured | tuple[()] | None:
        """Any one block with every check: its frame, () for a block without one, None at the end of the file."""
        source = self._source
        if not source.have(12):
            if source.left():
                raise _BrokenRecord("is cut short")
            return None
        section = source.buf[source.pos : source.pos + 4] == SHB_TYPE
        if section:
            order = BYTE_ORDER.get(source.buf[source.pos + 8 : source.pos + 12])
            if order is None:
                raise _BrokenRecord("is damaged: no byte-order magic in a section header")
            self._order = order
            self._u32 = Struct(order + "I").unpack_from
            self._epb = Struct(order + "IIIIIII").unpack_from
        kind, size = self._u32(source.buf, source.pos)[0], self._u32(source.buf, source.pos + 4)[0]
        if size < 12 or size & 3 or size > MAX_BLOCK:
            raise _BrokenRecord(f"is damaged: a block of {size} bytes")
        if not source.have(size):
            raise _BrokenRecord("is cut short")
        block = source.buf[source.pos : source.pos + size]
        if self._u32(block, size - 4)[0] != size:
            raise _BrokenRecord(
                f"is damaged: block length {size} at its start, {self._u32(block, size - 4)[0]} at its end"
            )
        frame: Captured | tuple[()] = ()
        if section:
            self._section_header(block)
        elif kind == IDB:
            self._interface(block)
        elif kind in (EPB, PB, SPB):
            frame = self._packet(kind, block)
        source.pos += size
        self._blocks += 1
        return frame

    def _section_header(self, block: bytes) -> None:
        if len(block) < 28:
            raise _BrokenRecord("is damaged: a section header too short")
        major, minor = Struct(self._order + "HH").unpack_from(block, 12)
        if major != 1 or minor not in (0, 2):
            raise _BrokenRecord(f"is of pcapng version {major}.{minor}, only 1.0 is known")
        self._section = len(self.interfaces)

    def _interface(self, block: bytes) -> None:
        if len(block) < 20:
            raise _BrokenRecord("is damaged: an interface description too short")
        link, _, snaplen = Struct(self._order + "HHI").unpack_from(block, 8)
        name, num, den, offset = "", 1000, 1, 0
        for code, value in self._options(block, 16, len(block) - 4):
            if code == IF_NAME:
                name = value.decode("utf-8", "replace")
            elif code == IF_TSRESOL and len(value) == 1:
                exponent = value[0] & 0x7F
                per_second = 1 << exponent if value[0] & 0x80 else 10**exponent  # units in a second
                num, den = (SECOND // per_second, 1) if SECOND % per_second == 0 else (SECOND, per_second)
            elif code == IF_TSOFFSET and len(value) == 8:
                offset = Struct(self._order + "q").unpack(value)[0] * SECOND
        self.interfaces.append(Interface(name, link, snaplen, num, den, offset))

    def _packet(self, kind: int, block: bytes) -> Captured:
        """One frame of any packet block; the stamp of a simple packet block is that of the frame before it."""
        room = len(block) - 4
        at = {EPB: 28, PB: 28, SPB: 12}[kind]
        if room < at:
            raise _BrokenRecord("is damaged: a packet block too short")
        number, stamp, held, wire = 0, 0, 0, 0
        if kind == EPB:
            number, high, low, held, wire = Struct(self._order + "IIIII").unpack_from(block, 8)
        elif kind == PB:
            number, _, high, low, held, wire = Struct(self._order + "HHIIII").unpack_from(block, 8)
        else:
            wire = held = self._u32(block, 8)[0]
        if self._section + number >= len(self.interfaces):
            raise _BrokenRecord(f"is damaged: no interface {number} in this section")
        interface = self.interfaces[self._section + number]
        if kind == SPB:
            held = min(held, interface.snaplen or held, room - at)
            stamp = self._stamp
        else:
            stamp = (high << 32 | low) * interface.num // interface.den + interface.offset_ns
        if held > MAX_FRAME or at + held > room:
            raise _BrokenRecord(f"is damaged: {held} bytes in one frame")
        self._ethernet(interface)
        options = self._epb_options(block, at + held + 3 & ~3, room) if kind != SPB else None
        return stamp, block[at : at + held], wire, self._section + number, options

    def _options(self, buf: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Option code and value, to opt_endofopt or the end; an option that runs over the end is left out."""
        head = Struct(self._order + "HH").unpack_from
        while at + 4 <= end:
            code, length = head(buf, at)
            if code == OPT_ENDOFOPT or at + 4 + length > end:
                return
            yield code, buf[at + 4 : at + 4 + length]
            at += 4 + (length + 3 & ~3)

    def _epb_options(self, buf: bytes, at: int, end: int) -> PacketOptions | None:
        """What the options of a packet block say; None when they say nothing known."""
        comments, flags, queue, rss_hash = [], 0, None, None
        for code, value in self._options(buf, at, end):
            if code == OPT_COMMENT:
                comments.append(value.decode("utf-8", "replace"))
            elif code == EPB_FLAGS and len(value) == 4:
                flags = self._u32(value, 0)[0]
            elif code == EPB_QUEUE and len(value) == 4:
                queue = self._u32(value, 0)[0]
            elif code == EPB_HASH and len(value) == 5 and value[0] == HASH_TOEPLITZ:
                rss_hash = self._u32(value, 1)[0]
        found = PacketOptions("\n".join(comments) if comments else None, flags, queue, rss_hash)
        if found == _NO_OPTIONS:
            return None
        self.annotated = True
        return found


_NO_OPTIONS = PacketOptions()


class _BrokenRecord(Exception):
    """What is wrong with the record at the source's position; becomes a ConfigError or the end of the stream."""


class _Source:
    """A window of the file: `buf` from file offset `base`; `pos` is the place reached in it."""

    def __init__(self, file: ReadFile, name: str) -> None:
        self._read = getattr(file, "read1", file.read)
        self._name = name
        self.buf, self.pos, self.base = b"", 0, 0

    def left(self) -> int:
        return len(self.buf) - self.pos

    def have(self, need: int) -> bool:
        """See that `need` bytes lie at `pos`, moving the window; False: the file ends before."""
        held = self.left()
        if held >= need:
            return True
        pieces = [self.buf[self.pos :]]
        try:
            while held < need and (piece := self._read(max(CHUNK, need - held))):
                pieces.append(piece)
                held += len(piece)
        except OSError as error:
            raise ConfigError(f"{self._name}: cannot be read: {error.strerror or error}; see to the file") from error
        self.base += self.pos
        self.buf, self.pos = b"".join(pieces), 0
        return held >= need


def _without_fcs(batch: list[Captured], fcs: int) -> list[Captured]:
    """The same frames without the `fcs` bytes that end each of them on the wire."""
    return [
        (stamp, data[: max(wire - fcs, 0)], max(wire - fcs, 0), number, options)
        for stamp, data, wire, number, options in batch
    ]
