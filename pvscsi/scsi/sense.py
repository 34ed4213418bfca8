"""Sense: what a command says of its failure, by name; in fixed and in descriptor format.

Ref: SPC-4, sense data and the ASC/ASCQ assignments.
"""

from struct import Struct
from typing import NamedTuple


class Sense(NamedTuple):
    """Sense key, additional sense code and its qualifier."""

    key: int
    asc: int
    ascq: int

    def __str__(self) -> str:
        return f"{self.key:02X}/{self.asc:02X}/{self.ascq:02X}"


NO_SENSE = Sense(0x0, 0x00, 0x00)

NOT_READY = Sense(0x2, 0x04, 0x00)  # cause not reportable
NOT_READY_STOPPED = Sense(0x2, 0x04, 0x02)  # an initializing command (START) is required
NO_MEDIUM = Sense(0x2, 0x3A, 0x00)
NO_MEDIUM_TRAY_CLOSED = Sense(0x2, 0x3A, 0x01)
NO_MEDIUM_TRAY_OPEN = Sense(0x2, 0x3A, 0x02)
NOT_READY_REMOVAL_PREVENTED = Sense(0x2, 0x53, 0x02)

WRITE_ERROR = Sense(0x3, 0x0C, 0x00)
UNRECOVERED_READ_ERROR = Sense(0x3, 0x11, 0x00)

INTERNAL_TARGET_FAILURE = Sense(0x4, 0x44, 0x00)

PARAMETER_LIST_LENGTH_ERROR = Sense(0x5, 0x1A, 0x00)
INVALID_OPCODE = Sense(0x5, 0x20, 0x00)
LBA_OUT_OF_RANGE = Sense(0x5, 0x21, 0x00)
INVALID_FIELD_IN_CDB = Sense(0x5, 0x24, 0x00)
NOT_SUPPORTED_LUN = Sense(0x5, 0x25, 0x00)
INVALID_FIELD_IN_LIST = Sense(0x5, 0x26, 0x00)
INVALID_RELEASE = Sense(0x5, 0x26, 0x04)
INCOMPATIBLE_FORMAT = Sense(0x5, 0x30, 0x02)  # cannot read medium: incompatible format
SAVING_NOT_SUPPORTED = Sense(0x5, 0x39, 0x00)
REMOVAL_PREVENTED = Sense(0x5, 0x53, 0x02)
NO_MORE_REGISTRATIONS = Sense(0x5, 0x55, 0x04)
ILLEGAL_MODE_FOR_TRACK = Sense(0x5, 0x64, 0x00)

MEDIUM_CHANGED = Sense(0x6, 0x28, 0x00)
POWER_ON = Sense(0x6, 0x29, 0x01)
BUS_RESET = Sense(0x6, 0x29, 0x02)
DEVICE_RESET = Sense(0x6, 0x29, 0x03)
NEXUS_LOSS = Sense(0x6, 0x29, 0x07)
MODE_CHANGED = Sense(0x6, 0x2A, 0x01)
RESERVATIONS_PREEMPTED = Sense(0x6, 0x2A, 0x03)
RESERVATIONS_RELEASED = Sense(0x6, 0x2A, 0x04)
REGISTRATIONS_PREEMPTED = Sense(0x6, 0x2A, 0x05)
CAPACITY_CHANGED = Sense(0x6, 0x2A, 0x09)
LUNS_CHANGED = Sense(0x6, 0x3F, 0x0E)

WRITE_PROTECTED = Sense(0x7, 0x27, 0x00)
SOFTWARE_WRITE_PROTECTED = Sense(0x7, 0x27, 0x02)
SPACE_ALLOCATION_FAILED = Sense(0x7, 0x27, 0x07)

MISCOMPARE = Sense(0xE, 0x1D, 0x00)

FIXED_SIZE = 18
_FIXED = Struct(">BxBIB4xBBx3s")
_DESCRIPTORS = Struct(">BBBB3xB")
_INFORMATION = Struct(">BBBxQ")
_KEY_SPECIFIC = Struct(">BB2x3sx")


class Check(Exception):
    """CHECK CONDITION: raised by a command, turned into the task's sense by its unit, never seen outside.

    `information`: an LBA, or the offset of a miscompare. `pointer`: the three bytes of `pointer_to`.
    """

    def __init__(self, sense: Sense, *, information: int | None = None, pointer: bytes = bytes(3)) -> None:
        super().__init__(str(sense))
        self.sense, self.information, self.pointer = sense, information, pointer

    def data(self, *, descriptors: bool = False) -> bytes:
        """As sent: fixed format unless `descriptors`."""
        return encode(self.sense, self.information, self.pointer, descriptors=descriptors)


class ReservationConflict(Exception):
    """The other way a command ends without being executed: a status of its own, no sense."""


def pointer_to(byte: int, bit: int | None = None, *, data: bool = False) -> bytes:
    """A field pointer: where in the CDB, or in the parameter list (`data`), the field begins that is not right."""
    first = 0x80 | (0 if data else 0x40) | (0 if bit is None else 0x08 | bit)
    return bytes((first, byte >> 8 & 0xFF, byte & 0xFF))


def bad_cdb(byte: int, bit: int | None = None) -> Check:
    """The field at `byte` of the CDB is invalid; `bit` is its highest bit."""
    return Check(INVALID_FIELD_IN_CDB, pointer=pointer_to(byte, bit))


def bad_list(byte: int, bit: int | None = None) -> Check:
    """The field at `byte` of the parameter list is invalid."""
    return Check(INVALID_FIELD_IN_LIST, pointer=pointer_to(byte, bit, data=True))


def encode(
    sense: Sense, information: int | None = None, pointer: bytes = bytes(3), *, descriptors: bool = False
) -> bytes:
    """Sense data. Fixed format has no place for an INFORMATION of more than 32 bits: it is then not valid."""
    if not descriptors:
        valid = information is not None and information >> 32 == 0
        response = 0xF0 if valid else 0x70
        return _FIXED.pack(
            response, sense.key, information or 0 if valid else 0, FIXED_SIZE - 8, sense.asc, sense.ascq, pointer
        )
    tail = b""
    if information is not None:
        tail += _INFORMATION.pack(0x00, 0x0A, 0x80, information)
    if pointer[0]:
        tail += _KEY_SPECIFIC.pack(0x02, 0x06, pointer)
    return _DESCRIPTORS.pack(0x72, *sense, len(tail)) + tail


def parse(data: bytes) -> Check:
    """Sense data in either format; NO SENSE for what is neither."""
    kind = data[0] & 0x7F if data else 0
    if kind == 0x70 and len(data) >= FIXED_SIZE:
        information = int.from_bytes(data[3:7], "big") if data[0] & 0x80 else None
        return Check(Sense(data[2] & 0xF, data[12], data[13]), information=information, pointer=data[15:18])
    if kind == 0x72 and len(data) >= 8:
        found = Check(Sense(data[1] & 0xF, data[2], data[3]))
        at = 8
        while at + 2 <= len(data):
            if data[at] == 0x00 and at + 12 <= len(data):
                found.information = int.from_bytes(data[at + 4 : at + 12], "big")
            elif data[at] == 0x02 and at + 8 <= len(data):
                found.pointer = data[at + 4 : at + 7]
            at += 2 + data[at + 1]
        return found
    return Check(NO_SENSE)
