"""What a guest may know of the share of its host it gets: reservations, limits, what was ballooned or swapped.

The answer is a head, then in XDR a list that is complete and in order up to its last number.

Ref: open-vm-tools libguestlib/vmGuestLibInt.h, guestlibV3.x (numbers, types), toolbox/toolboxcmd-stat.c (who asks).
"""

from struct import Struct

from vmtools import xdr
from vmtools.backdoor import Machine
from vmtools.balloon import Balloon
from vmtools.rpci import Rpci, done, refused
from vmtools.wire import MASK32, MASK64, PAGE

VERSION = 3
UNLIMITED = MASK32
MS, MIB = 1_000_000, 1 << 20
_head = Struct("<IQI").pack  # version, session, bytes that follow
STATISTICS = (  # name, 32-bit words; 0: a text; its number is its place, from 1
    ("cpu_reservation_mhz", 1),
    ("cpu_limit_mhz", 1),
    ("cpu_shares", 1),
    ("cpu_used_ms", 2),
    ("host_mhz", 1),
    ("mem_reservation_mib", 1),
    ("mem_limit_mib", 1),
    ("mem_shares", 1),
    ("mem_mapped_mib", 1),
    ("mem_active_mib", 1),
    ("mem_overhead_mib", 1),
    ("mem_ballooned_mib", 1),
    ("mem_swapped_mib", 1),
    ("mem_shared_mib", 1),
    ("mem_shared_saved_mib", 1),
    ("mem_used_mib", 1),
    ("elapsed_ms", 2),
    ("resource_pool", 0),
    ("cpu_stolen_ms", 2),
    ("mem_target_mib", 2),
)


class Resources:
    """`values`: by the names of `STATISTICS`; one that is missing is said to be unknown. What the host's models know
    themselves is filled in when it is asked for. `session`: changes when the machine is started or resumed; not 0.
    """

    def __init__(self, machine: Machine, balloon: Balloon) -> None:
        self._machine, self._balloon = machine, balloon
        self.session = 1
        self.offered = True  # False: the guest is told that there is no such thing
        self.values: dict[str, int | str] = {
            "cpu_reservation_mhz": 0,
            "cpu_limit_mhz": UNLIMITED,
            "cpu_shares": 1000,
            "mem_reservation_mib": 0,
            "mem_limit_mib": UNLIMITED,
            "mem_shares": 1000,
            "mem_swapped_mib": 0,
            "cpu_stolen_ms": 0,
            "resource_pool": "/",
        }

    def offer(self, rpci: Rpci) -> None:
        rpci.on("guestlib.info.get", self._get)

    def now(self, now_ns: int) -> dict[str, int | str]:
        """All values, those the models know among them."""
        memory, held = self._machine.memory // MIB, self._balloon.current * PAGE // MIB
        known: dict[str, int | str] = {
            "host_mhz": self._machine.mhz,
            "mem_mapped_mib": memory,
            "mem_ballooned_mib": held,
            "mem_used_mib": memory - held,
            "mem_target_mib": memory - self._balloon.target * PAGE // MIB,
            "elapsed_ms": max(now_ns, 0) // MS,
        }
        return {**known, **self.values}

    def _get(self, rest: bytes, now_ns: int) -> bytes:
        """`guestlib.info.get VERSION`."""
        if not self.offered:
            return refused("Unknown command")
        if rest != b"%d" % VERSION:
            return refused(f"{VERSION}:")  # the highest there is
        values, body = self.now(now_ns), [xdr.u32(len(STATISTICS))]
        for number, (name, words) in enumerate(STATISTICS, 1):
            value = values.get(name)
            body.append(xdr.u32(number, int(value is not None)))
            body.append(_encoded(value, words))
        data = b"".join(body)
        return done(_head(VERSION, self.session & MASK64 or 1, len(data)) + data)


def _encoded(value: int | str | None, words: int) -> bytes:
    if words == 0:
        return xdr.opaque(str(value or "").encode()[:512])
    number = value if isinstance(value, int) else 0
    return xdr.u32(*(number >> 32 * n & MASK32 for n in reversed(range(words))))
