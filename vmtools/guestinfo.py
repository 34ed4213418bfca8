"""What a guest says of itself: name, system, addresses, disks, uptime, statistics.

Only a refusal makes a guest try an older form, so `refuse` brings those to light: NICs 10, 9, 2; system 11, then 5 and
6; disks as JSON, then 3. A message is taken whole or refused whole.

Ref: open-vm-tools lib/include/guestInfo.h, services/plugins/guestInfo/guestInfoServer.c.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from pvdev.trace import Sink
from vmtools import nics, stats
from vmtools.rpci import Rpci, done, refused
from vmtools.xdr import XdrError

TEXT_MAX, DISKS_MAX, DETAILS_MAX = 1024, 1024, 64
_disk = Struct("<QQ100s").unpack_from
DISK_SIZE = 116
OS_HEAD = 648  # version, short[129], full[513], 2 bytes to the next word
FORM = re.compile(rb" ([0-9]{1,10}) ")
DETAIL = re.compile(r"(\w{1,64})='([^']*)'")


class Kind(IntEnum):
    """GuestInfoType: the number after the two spaces."""

    DNS_NAME = 1
    IPADDRESS = 2
    DISK_FREE_SPACE = 3
    BUILD_NUMBER = 4
    OS_NAME_FULL = 5
    OS_NAME = 6
    UPTIME = 7
    MEMORY = 8
    IPADDRESS_V2 = 9
    IPADDRESS_V3 = 10
    OS_DETAILED = 11


@dataclass(frozen=True)
class Disk:
    """A file system: where it is mounted; bytes."""

    name: str
    free: int
    size: int
    kind: str = ""
    devices: tuple[str, ...] = ()


class GuestInfo:
    """What is known so far. `refuse`: kinds the host does not take; `refuse_json`: nor disks as JSON.

    `on_change(what, now_ns)` hears of "name", "os", "network", "disks", "build"; `gathered_ns`: when the last came.
    """

    def __init__(self, note: Callable[[str, str, int], None]) -> None:
        self.refuse: set[int] = set()
        self.refuse_json = False
        self.on_change: list[Callable[[str, int], None]] = []
        self.trace: Sink | None = None
        self.rejected = 0  # messages that were no such thing
        self._note = note
        self._take: dict[int, Callable[[bytes], bool]] = {
            Kind.DNS_NAME: self._name,
            Kind.IPADDRESS: self._nics_v1,
            Kind.DISK_FREE_SPACE: self._disks,
            Kind.BUILD_NUMBER: self._build,
            Kind.OS_NAME_FULL: self._os_full,
            Kind.OS_NAME: self._os_short,
            Kind.UPTIME: self._uptime,
            Kind.MEMORY: self._statistics,
            Kind.IPADDRESS_V2: self._nics,
            Kind.IPADDRESS_V3: self._nics,
            Kind.OS_DETAILED: self._os,
        }
        self.forget()

    def forget(self) -> None:
        """The machine starts anew."""
        self.hostname = self.build = self.os_name = self.os_full = ""
        self.os_details: dict[str, str] = {}
        self.network = nics.Network()
        self.disks: tuple[Disk, ...] = ()
        self.uptime_s: float | None = None
        self.statistics: stats.Statistics = {}
        self.restarts = 0  # times the uptime fell
        self.gathered_ns: int | None = None
        self._fresh = True

    def renew(self) -> None:
        """The guest's service came anew: its uptime may have fallen."""
        self._fresh = True

    def offer(self, rpci: Rpci) -> None:
        rpci.on("SetGuestInfo", self._set, binary=True)
        rpci.on("SetGuestDiskInfo", self._set_disks)

    @property
    def addresses(self) -> list[str]:
        """Every address of every NIC, as text."""
        return [address.ip for nic in self.network.nics for address in nic.addresses]

    # -- the guest's ---------------------------------------------------------------------------------------------------

    def _set(self, rest: bytes, now_ns: int) -> bytes:
        form = FORM.match(rest)
        if form is None or int(form[1]) not in self._take:
            self._note("VMT-D-029", "SetGuestInfo", int(form[1]) if form is not None else len(rest))
            return refused("Invalid type")
        kind = int(form[1])
        if kind in self.refuse:
            return refused("Unsupported type")
        before = self.network, self.disks, self.hostname, self.build, self.os_name, self.os_full, self.os_details
        if not self._take[kind](rest[form.end() :]):
            self.rejected += 1
            if kind in (Kind.IPADDRESS_V2, Kind.IPADDRESS_V3):
                self._note("VMT-D-031", "SetGuestInfo", kind)
            return refused("Invalid data")
        after = self.network, self.disks, self.hostname, self.build, self.os_name, self.os_full, self.os_details
        self._changed(before, after, now_ns)
        return done()

    def _set_disks(self, rest: bytes, now_ns: int) -> bytes:
        if self.refuse_json:
            return refused("Unknown command")
        disks = _disks_of_json(rest)
        if disks is None:
            self.rejected += 1
            return refused("Invalid data")
        changed, self.disks = self.disks != disks, disks
        self.gathered_ns = now_ns
        if changed:
            self._tell("disks", now_ns)
        return done()

    def _changed(self, before: tuple[object, ...], after: tuple[object, ...], now_ns: int) -> None:
        self.gathered_ns = now_ns
        names = ("network", "disks", "name", "build", "os", "os", "os")
        for what in dict.fromkeys(name for name, old, new in zip(names, before, after, strict=True) if old != new):
            self._tell(what, now_ns)

    def _tell(self, what: str, now_ns: int) -> None:
        if self.trace is not None:
            self.trace("guestinfo.changed", what=what)
        for hear in self.on_change:
            hear(what, now_ns)

    # -- kinds ---------------------------------------------------------------------------------------------------------

    def _name(self, data: bytes) -> bool:
        self.hostname = _text(data)
        return True

    def _build(self, data: bytes) -> bool:
        self.build = _text(data)
        return True

    def _os_full(self, data: bytes) -> bool:
        self.os_full = _text(data)
        return True

    def _os_short(self, data: bytes) -> bool:
        self.os_name = _text(data)
        return True

    def _os(self, data: bytes) -> bool:
        if len(data) < OS_HEAD or int.from_bytes(data[:4], "little") != 1:
            return False
        self.os_name, self.os_full = _text(data[4:133]), _text(data[133:646])
        found = DETAIL.findall(data[OS_HEAD : OS_HEAD + 64 * TEXT_MAX].decode("utf-8", "replace"))
        self.os_details = {key: value[:TEXT_MAX] for key, value in found[:DETAILS_MAX]}
        return True

    def _uptime(self, data: bytes) -> bool:
        text = data.rstrip(b"\0").strip()
        if not text.isdigit() or len(text) > 20:
            return False
        seconds = int(text) / 100
        if self.uptime_s is not None and seconds < self.uptime_s:
            self.restarts += 1
            if not self._fresh:
                self._note("VMT-D-030", "SetGuestInfo", int(text) & 0xFFFF_FFFF)
        self.uptime_s, self._fresh = seconds, False
        return True

    def _statistics(self, data: bytes) -> bool:
        found = stats.decode(data)
        if found is not None:
            self.statistics = found
        return found is not None

    def _nics(self, data: bytes) -> bool:
        try:
            self.network = nics.decode(data)
        except XdrError:
            return False
        return True

    def _nics_v1(self, data: bytes) -> bool:
        try:
            self.network = nics.decode_v1(data)
        except XdrError:
            return False
        return True

    def _disks(self, data: bytes) -> bool:
        if not data or 1 + data[0] * DISK_SIZE > len(data):
            return False
        found = [_disk(data, 1 + n * DISK_SIZE) for n in range(data[0])]
        self.disks = tuple(Disk(_text(name), free, size) for free, size, name in found)
        return True


def _text(data: bytes) -> str:
    """Up to the first NUL, and not too much of it; nothing that could move a terminal's cursor."""
    text = data.partition(b"\0")[0][:TEXT_MAX].decode("utf-8", "replace")
    return "".join(mark if mark.isprintable() else "?" for mark in text)


def _disks_of_json(data: bytes) -> tuple[Disk, ...] | None:
    """The disks of a `SetGuestDiskInfo`, or None."""
    try:
        entries = json.loads(data)["disks"]
        if not isinstance(entries, list) or len(entries) > DISKS_MAX:
            return None
        return tuple(
            Disk(
                _text(base64.b64decode(entry["name"], validate=True)),
                int(str(entry["free"])[:20]),
                int(str(entry["size"])[:20]),
                str(entry.get("fstype", ""))[:64],
                tuple(str(device)[:64] for device in entry.get("devices", ())[:64]),
            )
            for entry in entries
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        return None
