"""Plain reads and writes at speed: descriptors and buffers made once, sent again and again, one kick for many.

What is checked of a completion is that it is one of ours, GOOD, and moved all; `Driver` checks the rest.
"""

from collections.abc import Sequence
from struct import Struct

from pvscsi import wire
from pvscsi.driver.common import DeviceBroke
from pvscsi.driver.driver import Driver
from pvscsi.wire import Flag

_BASE = 1 << 16  # contexts of a batch begin here: no slot of the driver's own has such a one
_LBA = Struct(">I")
_AT = wire.REQUEST.offset["cdb"] + 2  # where READ(10) and WRITE(10) have their address
_GOOD = wire.COMPLETION.struct.pack


class Batch:
    """`depth` requests of `blocks` blocks each to one unit; all reads, or all writes of what `buffer` holds.

    A request has the number of its buffer: 0 to `depth` - 1.
    """

    def __init__(
        self, driver: Driver, depth: int, *, write: bool = False, blocks: int = 8, block: int = 512, target: int = 0
    ) -> None:
        assert driver.rings is not None
        self._driver, self._rings, self.size = driver, driver.rings, blocks * block
        self.memory = driver.memory.take(depth * self.size, 4096)
        cdb = bytes((0x2A if write else 0x28, 0, 0, 0, 0, 0, 0)) + blocks.to_bytes(2, "big") + bytes(7)
        self._descriptors = [
            bytearray(
                wire.REQUEST.encode(
                    context=_BASE + n,
                    dataAddr=self.memory.address + n * self.size,
                    dataLen=self.size,
                    flags=Flag.DIR_TODEVICE if write else Flag.DIR_TOHOST,
                    cdb=cdb,
                    cdbLen=10,
                    lun=bytes(8),
                    tag=wire.TAG_SIMPLE,
                    target=target,
                )
            )
            for n in range(depth)
        ]
        self._good = {_GOOD(_BASE + n, self.size, 0, 0, 0, 0): n for n in range(depth)}
        self._out = [False] * depth
        self.free = list(range(depth))

    @property
    def out(self) -> int:
        return len(self._out) - len(self.free)

    def buffer(self, number: int) -> memoryview:
        """The memory of one request."""
        return self.memory.view[number * self.size : (number + 1) * self.size]

    def submit(self, lbas: Sequence[int]) -> int:
        """Send as many as there are buffers and room for, in one go; how many."""
        rings, free, out = self._rings, self.free, self._out
        count = min(len(lbas), len(free), rings.room)
        if not count:
            return 0
        descriptors = self._descriptors
        chosen = free[-count:]
        del free[-count:]
        for number, lba in zip(chosen, lbas, strict=False):
            _LBA.pack_into(descriptors[number], _AT, lba)
            out[number] = True
        rings.put(b"".join([descriptors[number] for number in chosen]))
        rings.publish()
        self._driver.kick(b"\x28")
        return count

    def reap(self) -> list[int]:
        """The numbers of those that are done; each may be sent again. Raises `DeviceBroke`."""
        good, out, done = self._good, self._out, []
        data, size = self._rings.take_raw(), wire.COMPLETION.size
        for at in range(0, len(data), size):
            raw = data[at : at + size]
            number = good.get(raw)
            if number is None:
                number = self._uncounted(raw)
            if not out[number]:
                raise DeviceBroke("PVS-V-050", f"a completion nobody waits for: {wire.COMPLETION.decode(raw)}")
            out[number] = False
            done.append(number)
        self.free += done
        return done

    def _uncounted(self, raw: bytes) -> int:
        """The number of one that is GOOD but does not say what it moved: a broken duty. Raises `DeviceBroke`."""
        context, moved, *rest = wire.COMPLETION.struct.unpack(raw)
        number = int(context) - _BASE
        if moved or any(rest) or not 0 <= number < len(self._out):
            raise DeviceBroke("PVS-V-050", f"a completion of a batch: {wire.COMPLETION.decode(raw)}")
        self._driver.complain("PVS-V-061", f"0 bytes moved of {self.size}")
        return number
