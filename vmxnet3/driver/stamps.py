"""Time stamps (version 9): slots beside a descriptor ring in which the driver writes when it handled a packet.

The device says how many packets there are to one sample (`sampleRate`), and asks for one with a received packet's ext2.
Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c vmxnet3_apply_timestamp.
"""

from collections.abc import Callable

from vmxnet3 import wire_args
from vmxnet3.driver.common import Take

_DATA, _TSI = (wire_args.TS_DESC.mask[name] for name in ("tsData", "tsi"))


class Stamps:
    """One slot of `slot` bytes per descriptor of a ring of `size`; `clock` gives the time, 56 bits of it are kept."""

    def __init__(self, take: Take, size: int, slot: int, clock: Callable[[], int]) -> None:
        memory = take(size * slot, 512)
        self.address, self.size, self.slot = memory.address, size, slot
        self._words, self._step, self._clock = memory.view.cast("Q"), slot // 8, clock
        self._shadow = memoryview(bytearray(size * slot)).cast("Q")  # what we last stored
        self.rate: memoryview = memoryview(bytearray(2)).cast("H")  # sampleRate of queue 0: set by the driver
        self._left, self._marked = 1, False

    def sample(self, first: int, count: int) -> None:
        """`count` packets of one descriptor each begin at `first`: stamp those whose turn it is."""
        rate = self.rate[0]
        if not rate and not self._marked:
            return
        for index in range(first, first + count):
            index %= self.size
            self._store(index, 0)
            if rate and self._left > 1:
                self._left -= 1
            elif rate:
                self._left, self._marked = rate, True
                self.stamp(index)

    def stamp(self, index: int) -> None:
        self._store(index, self._clock() & _DATA | _TSI)

    def _store(self, index: int, word: int) -> None:
        self._words[index * self._step] = self._shadow[index * self._step] = word

    def intact(self) -> bool:
        """Nobody else wrote here."""
        return self._words == self._shadow

    def read(self, index: int) -> int | None:
        """The time in a slot, or None."""
        word = int(self._words[index * self._step])
        return word & _DATA if word & _TSI else None
