"""What the plugin and its carrier say to one another. Pure; the other side is `pvdev_plugin.c`.

The plugin sends a `CALL` and waits for an `ANSWER`; nothing is sent unasked. The first call of all is HELLO, with the
plugin interface's version, the number of processors, and the kHz of time stamp counter and bus. `CLAIMS` lie in a page
of memory that the plugin looks at: which ports of a device it carries, whatever the guest's processor says to them.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum


class Kind(IntEnum):
    """Of a call: the instruction."""

    HELLO = 0
    IN = 1  # IN EAX,DX
    REP_INSB = 2
    REP_OUTSB = 3
    OUT = 4  # OUT DX,EAX


NAMES = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rip", "cs", "eflags", "cr0", "cr3", "cr4", "efer")
GENERAL = 7  # of NAMES: those an answer may change
CALL = struct.Struct("<II14Q")  # kind, processor, registers
ANSWER = struct.Struct("<II7Q")  # 1: done, 0: the processor shall do it; reserved; registers
CLAIMS_MAX = 16
CLAIMS_SIZE = 4096
_RANGES = struct.Struct("<HH")

NOT_OURS = ANSWER.pack(0, 0, *[0] * GENERAL)


def claims(ranges: Sequence[tuple[int, int]]) -> tuple[bytes, bytes]:
    """(count, ranges) of claimed ports, each (first, how many); the count lies before the ranges. Raises `ValueError`:
    too many, or no ports."""
    if len(ranges) > CLAIMS_MAX:
        raise ValueError(f"{len(ranges)} ranges of ports: {CLAIMS_MAX} at most")
    for first, count in ranges:
        if not (0 <= first <= 0xFFFF and 0 < count <= 0x10000 - first):
            raise ValueError(f"no {count} ports from {first:#x} on")
    return struct.pack("<I", len(ranges)), b"".join(_RANGES.pack(first, min(count, 0xFFFF)) for first, count in ranges)
