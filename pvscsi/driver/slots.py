"""Any command at speed: descriptors, buffers and sense buffers made once, used again and again, one kick for many.

What is checked of a completion is that it is one of ours and moved no more than it may; `Driver` checks the rest.
"""

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from pvscsi import wire
from pvscsi.driver.common import DeviceBroke
from pvscsi.driver.driver import Driver
from pvscsi.driver.request import decode_sense
from pvscsi.wire import Flag, HostStatus

_BASE = 1 << 17  # contexts of slots begin here: neither the driver's own requests nor a batch's have such a one
_SENSE = 32  # bytes of a sense buffer
_WHAT = Struct("<I16sB")  # flags, cdb, cdbLen
_LENGTH = Struct("<Q")
_WHAT_AT, _LENGTH_AT = wire.REQUEST.offset["flags"], wire.REQUEST.offset["dataLen"]


class Done(NamedTuple):
    """What became of the command in a slot; `moved` bytes."""

    slot: int
    host: int
    status: int
    moved: int
    sense: bytes

    @property
    def good(self) -> bool:
        return not self.host and not self.status

    def outcome(self) -> str:
        """Why it is not good: "03/11/00", "BUSRESET", "status 08"."""
        if self.host:
            return HostStatus(self.host).name if self.host in set(HostStatus) else f"hostStatus {self.host:#x}"
        sense = decode_sense(self.sense)
        return str(sense) if sense is not None else f"status {self.status:02X}"


class Slots:
    """`count` commands to one unit, each with a buffer of `size` bytes; `free` has the numbers of those at rest."""

    def __init__(self, driver: Driver, count: int, size: int, *, target: int = 0) -> None:
        assert driver.rings is not None
        self._driver, self._rings, self.size = driver, driver.rings, size
        self._data = driver.memory.take(count * size, wire.PAGE)
        self._sense = driver.memory.take(count * _SENSE)
        self._descriptors = [
            bytearray(
                wire.REQUEST.encode(
                    context=_BASE + n,
                    dataAddr=self._data.address + n * size,
                    senseAddr=self._sense.address + n * _SENSE,
                    senseLen=_SENSE,
                    lun=bytes(8),
                    tag=wire.TAG_SIMPLE,
                    target=target,
                )
            )
            for n in range(count)
        ]
        self._out: dict[int, int] = {}  # slot -> bytes its command may move
        self.free = list(range(count))

    @property
    def out(self) -> int:
        """Commands the device has."""
        return len(self._out)

    def buffer(self, slot: int, length: int) -> memoryview:
        """The first bytes of a slot's memory."""
        return self._data.view[slot * self.size : slot * self.size + length]

    def take(self) -> int:
        """A free slot. Raises `IndexError`."""
        return self.free.pop()

    def load(self, slot: int, cdb: bytes, length: int, direction: Flag) -> None:
        """Put a command into a slot taken; it moves `length` bytes from or to the slot's buffer."""
        raw = self._descriptors[slot]
        _LENGTH.pack_into(raw, _LENGTH_AT, length)
        _WHAT.pack_into(raw, _WHAT_AT, direction, cdb, len(cdb))
        self._out[slot] = length

    def send(self, slots: Sequence[int], *, plain: bool) -> None:
        """Tell the device of loaded slots, in this order. `plain`: they are reads and writes, all of them."""
        self._rings.put(b"".join([self._descriptors[slot] for slot in slots]))
        self._rings.publish()
        self._driver.kick(b"\x28" if plain else b"")

    def reap(self) -> list[Done]:
        """Those that are done, in order of completion; their slots are free, their buffers as they were left.

        Raises `DeviceBroke`.
        """
        found = []
        for context, moved, length, host, status, _ in self._rings.take():
            slot = context - _BASE
            room = self._out.pop(slot, None)
            if room is None:
                raise DeviceBroke("PVS-V-050", f"a completion nobody waits for: context {context:#x}")
            if moved > room:
                raise DeviceBroke("PVS-V-061", f"{moved} bytes moved of {room}")
            sense = bytes(self._sense.view[slot * _SENSE :][: min(length, _SENSE)]) if length else b""
            found.append(Done(slot, host, status, moved, sense))
            self.free.append(slot)
        return found
