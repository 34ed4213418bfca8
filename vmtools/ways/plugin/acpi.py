"""The ACPI table that tells a guest of the host's precision clock. Pure.

Ref: ACPI specification 6.5, "ACPI Machine Language"; Linux drivers/ptp/ptp_vmw.c (the device's name).
"""

import struct

PTP_HID = "VMW0005"
_HEADER = struct.Struct(
    "<4sIBB6s8sI4sI"
)  # signature, length, revision, checksum, OEM, table, revision, creator, revision
_SCOPE, _DEVICE, _NAME, _STRING = b"\x10", b"\x5b\x82", b"\x08", b"\x0d"


def _package(body: bytes) -> bytes:
    """A package of 62 bytes at most, its length before it."""
    return bytes((len(body) + 1,)) + body


def ssdt() -> bytes:
    """A secondary table with one device, whose driver is Linux' ptp_vmw."""
    name = _NAME + b"_HID" + _STRING + PTP_HID.encode() + b"\0"
    code = _SCOPE + _package(b"\\_SB_" + _DEVICE + _package(b"PTPC" + name))
    size = _HEADER.size + len(code)
    table = bytearray(_HEADER.pack(b"SSDT", size, 2, 0, b"PVDEV ", b"PTPCLOCK", 1, b"PVDV", 1) + code)
    table[9] = -sum(table) & 0xFF
    return bytes(table)
