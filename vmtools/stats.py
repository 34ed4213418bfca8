"""The statistics a guest sends every twenty seconds: a head of old, then one datum after the other.

Ref: open-vm-tools lib/include/guestStats.h, services/plugins/guestInfo/perfMonLinux.c.
"""

from struct import Struct, unpack

HEAD = Struct("<IIQ9QQ2Q")  # version, flags, memTotal KiB, unused, hugePagesTotal, unused
DATA_MAX = 1024
NAMESPACE, ID, TYPE, UNIT, VALUE = 0x02, 0x04, 0x08, 0x20, 0x80  # bits of a datum's flags
TYPE_DOUBLE = 11

NAMES = {
    2: "contextSwapRate",
    3: "memActiveFileCache",
    4: "memFree",
    5: "memNeeded",
    6: "memPhysUsable",
    7: "pageInRate",
    8: "pageOutRate",
    9: "swapSpaceRemaining",
    10: "physicalPageSize",
    11: "hugePageSize",
    12: "hugePagesTotal",
    13: "memNeededReservation",
    25: "memAvailable",
    26: "memBuffers",
    27: "memCached",
    34: "memSlabReclaim",
    60: "memTotal",
    61: "runQueue",
    62: "diskRequestQueue",
    63: "diskRequestQueueAvg",
}

Statistics = dict[str, int | float]


def decode(data: bytes) -> Statistics | None:
    """Name (a number in text where none is known) -> value in its own unit. None: this is nothing of the kind.

    A datum that leaves the message ends it: what stood before counts.
    """
    if len(data) < HEAD.size:
        return None
    out: Statistics = {}
    at = HEAD.size
    for _ in range(DATA_MAX):
        if at + 4 > len(data):
            break
        flags = int.from_bytes(data[at : at + 4], "little")
        at += 4
        parts: dict[int, bytes] = {}
        for bit in range(32):
            if not flags >> bit & 1:
                continue
            size = int.from_bytes(data[at : at + 2], "little")
            if at + 2 + size > len(data):
                return out
            parts[1 << bit] = data[at + 2 : at + 2 + size]
            at += 2 + size
        if ID in parts and VALUE in parts:
            number = int.from_bytes(parts[ID], "little")
            value = _value(int.from_bytes(parts.get(TYPE, b""), "little"), parts[VALUE])
            if value is not None:
                out[NAMES.get(number, str(number & 0xFFFF))] = value
    return out


def _value(kind: int, data: bytes) -> int | float | None:
    if kind == TYPE_DOUBLE:
        number: float = unpack("<d", data)[0] if len(data) == 8 else 0.0
        return number
    return int.from_bytes(data, "little") if len(data) <= 8 else None
