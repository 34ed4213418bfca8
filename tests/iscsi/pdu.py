"""Messages of iSCSI: a header of 48 bytes and data. Ref: RFC 7143 section 11."""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

HEADER = 48
_LAYOUT = Struct(">BBBBI8s8I")  # opcode, flags, two bytes, AHS and data length, LUN, task tag, words from byte 20 on
IMMEDIATE = 0x40  # beside the opcode
FINAL = 0x80  # in flags, of nearly every message
NO_TAG = 0xFFFF_FFFF


class Opcode(IntEnum):
    """What a message is. Below 20h: from an initiator."""

    NOP_OUT = 0x00
    SCSI_COMMAND = 0x01
    TASK_MANAGEMENT = 0x02
    LOGIN = 0x03
    DATA_OUT = 0x05
    LOGOUT = 0x06
    NOP_IN = 0x20
    SCSI_RESPONSE = 0x21
    TASK_MANAGEMENT_RESPONSE = 0x22
    LOGIN_RESPONSE = 0x23
    DATA_IN = 0x25
    LOGOUT_RESPONSE = 0x26
    R2T = 0x31
    REJECT = 0x3F


class Pdu(NamedTuple):
    """One message. `words`: seven of them, bytes 20 to 47 of the header; what they mean depends on the opcode.

    `two`: bytes 2 and 3. `lun`: bytes 8 to 15 (LOGIN: ISID and TSIH).
    """

    opcode: int
    flags: int = FINAL
    two: tuple[int, int] = (0, 0)
    lun: bytes = bytes(8)
    tag: int = NO_TAG
    words: tuple[int, ...] = (0,) * 7
    data: bytes = b""
    immediate: bool = False

    def encode(self) -> bytes:
        """As sent, padded to whole words."""
        opcode = self.opcode | (IMMEDIATE if self.immediate else 0)
        head = _LAYOUT.pack(opcode, self.flags, *self.two, len(self.data), self.lun, self.tag, *self.words)
        return head + self.data + bytes(-len(self.data) % 4)


def decode(received: bytearray) -> Iterator[Pdu]:
    """Every whole message at the front of `received`, taken out of it. Additional header segments are left out."""
    while len(received) >= HEADER:
        first, flags, two, three, lengths, lun, tag, *words = _LAYOUT.unpack_from(received)
        start = HEADER + 4 * (lengths >> 24)
        length = lengths & 0xFF_FFFF
        end = start + length + -length % 4
        if len(received) < end:
            return
        data = bytes(received[start : start + length])
        del received[:end]
        yield Pdu(first & 0x3F, flags, (two, three), lun, tag, tuple(words), data, bool(first & IMMEDIATE))


def parse_keys(data: bytes) -> dict[str, str]:
    """Text keys and their values; what is not a pair is left out."""
    pairs = (part.partition("=") for part in data.decode("utf-8", "replace").split("\0"))
    return {key: value for key, equals, value in pairs if equals}


def keys_data(keys: Mapping[str, str]) -> bytes:
    """Text keys as sent."""
    return b"".join(f"{key}={value}\0".encode() for key, value in keys.items())
