"""pcapng written onto a binary file object: frames with ns stamps, interfaces, comments.

Ref: draft-ietf-opsawg-pcapng; block and option names are its own. `capture` reads it.
"""

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Protocol

from vmxnet3.captures.capture import (
    EPB,
    ETHERNET,
    IDB,
    IF_DESCRIPTION,
    IF_NAME,
    IF_TSRESOL,
    OPT_COMMENT,
    SHB_USERAPPL,
)

Pieces = bytes | bytearray | memoryview | Sequence[bytes | bytearray | memoryview]


class WriteFile(Protocol):
    def write(self, data: bytes, /) -> object: ...


class PcapngWriter:
    """pcapng with ns stamps onto a binary file object; one section, any number of interfaces.

    Nothing is buffered here and nothing is closed: the file object is the caller's. OSError is the file's own.
    """

    def __init__(self, file: WriteFile, *, comment: str | None = None, application: str = "pvdev") -> None:
        self._write = file.write
        self._interfaces = 0
        self.frames = 0
        options = _option(OPT_COMMENT, comment) + _option(SHB_USERAPPL, application)
        body = Struct("<IHHq").pack(0x1A2B3C4D, 1, 0, -1) + options + bytes(4)
        self._block(0x0A0D0D0A, body)

    def add_interface(self, name: str, *, snaplen: int = 0, description: str | None = None) -> int:
        """Declare an Ethernet interface; its number for `write`. `snaplen` in bytes, 0: no limit."""
        options = _option(IF_NAME, name) + _option(IF_DESCRIPTION, description) + _TSRESOL_NS + bytes(4)
        self._block(IDB, Struct("<HHI").pack(ETHERNET, 0, snaplen) + options)
        self._interfaces += 1
        return self._interfaces - 1

    def write(
        self, interface: int, ts_ns: int, data: Pieces, *, comment: str | None = None, wire_len: int | None = None
    ) -> None:
        """One frame, whole or in pieces. `ts_ns` since 1970; `wire_len` (bytes) if `data` is only the frame's start."""
        self._write(self._packet(interface, ts_ns, data, comment, wire_len))
        self.frames += 1

    def write_batch(self, interface: int, frames: Iterable[tuple[int, Pieces]]) -> int:
        """Many frames as (stamp, data) in one write to the file; how many they were."""
        self._check(interface)
        out: list[bytes] = []
        add, pack, tail = out.append, _EPB_HEAD.pack, _U32.pack
        for stamp, data in frames:
            flat = data if isinstance(data, bytes) else _flat(data)
            held = len(flat)
            pad = -held & 3
            size = 32 + held + pad
            add(pack(EPB, size, interface, stamp >> 32 & 0xFFFFFFFF, stamp & 0xFFFFFFFF, held, held))
            add(flat)
            add(_PAD[pad] + tail(size))
        self._write(b"".join(out))
        self.frames += len(out) // 3
        return len(out) // 3

    def _packet(self, interface: int, ts_ns: int, data: Pieces, comment: str | None, wire_len: int | None) -> bytes:
        self._check(interface)
        flat = _flat(data)
        held = len(flat)
        options = _option(OPT_COMMENT, comment) + bytes(4) if comment else b""
        size = 32 + held + (-held & 3) + len(options)
        wire = held if wire_len is None else wire_len
        head = _EPB_HEAD.pack(EPB, size, interface, ts_ns >> 32 & 0xFFFFFFFF, ts_ns & 0xFFFFFFFF, held, wire)
        return b"".join((head, flat, _PAD[-held & 3], options, _U32.pack(size)))

    def _check(self, interface: int) -> None:
        if not 0 <= interface < self._interfaces:
            raise ValueError(f"interface {interface} was not added; {self._interfaces} are known")

    def _block(self, kind: int, body: bytes) -> None:
        size = 12 + len(body)
        self._write(_U32.pack(kind) + _U32.pack(size) + body + _U32.pack(size))


_U32 = Struct("<I")
_EPB_HEAD = Struct("<IIIIIII")  # type, length, interface, stamp high, stamp low, bytes held, bytes on the wire
_PAD = (b"", bytes(1), bytes(2), bytes(3))


def _flat(data: Pieces) -> bytes:
    return bytes(data) if isinstance(data, bytes | bytearray | memoryview) else b"".join(data)


def _option(code: int, text: str | None) -> bytes:
    if text is None:
        return b""
    value = text.encode()[:0xFFFF]
    return Struct("<HH").pack(code, len(value)) + value + _PAD[-len(value) & 3]


_TSRESOL_NS = Struct("<HHB3x").pack(IF_TSRESOL, 1, 9)
