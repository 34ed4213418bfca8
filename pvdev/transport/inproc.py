"""A driver in the same process: register accesses are direct calls, time stands still unless it is waited for."""

from collections.abc import Callable

from pvdev.arena import Arena
from pvdev.device import Device, DmaBuffer

BUDGET = 256


class LocalPort:
    """The `Port` of a device in this process.

    Deterministic: the device works only inside `write` (after a doorbell), `run` and `until`; its clock `now_ns` moves
    only when it waits for a deadline.
    """

    def __init__(self, device: Device, *, memory: int = 64 << 20, base: int = 0x10_0000, budget: int = BUDGET) -> None:
        self.device, self.budget, self.now_ns = device, budget, 0
        self.arena = Arena(memory, base)
        self._signalled = 0
        device.mem.map(base, self.arena.block.view)

    def read(self, region: int, offset: int, size: int = 4) -> int:
        value = self.device.pci.read(region, offset, size)
        self._drain()
        return value

    def write(self, region: int, offset: int, value: int, size: int = 4) -> None:
        self.device.pci.write(region, offset, size, value)
        self._drain()
        if self.device.kicked:
            self.run()

    def run(self, rounds: int = 100_000) -> None:
        """Let the device work until it has nothing left to do at this time, at most `rounds` times its budget."""
        while rounds and self.device.service(self.budget, self.now_ns):
            self._drain()
            rounds -= 1
        self._drain()

    def advance(self, ns: int) -> None:
        """Let `ns` pass, with everything that falls due on the way."""
        end = self.now_ns + ns
        while (due := self.device.deadline()) is not None and due <= end:
            self.now_ns = max(self.now_ns, due)
            self.run()
            if self.device.deadline() == due:
                break
        self.now_ns = end
        self.run()

    def alloc(self, size: int, align: int = 4096) -> DmaBuffer:
        return self.arena.alloc(size, align)

    def free(self, buffer: DmaBuffer) -> None:
        self.arena.free(buffer)

    def interrupts(self) -> int:
        self._drain()
        fired, self._signalled = self._signalled, 0
        return fired

    def until(self, done: Callable[[], bool], timeout_s: float = 5.0) -> bool:
        """`timeout_s` is the device's own time."""
        end = self.now_ns + int(timeout_s * 1e9)
        while True:
            self.run()
            if done():
                return True
            due = self.device.deadline()
            if due is None or due > end:
                return False
            self.now_ns = max(self.now_ns + 1, due)

    def reset(self) -> None:
        self.device.reset()
        self._signalled = 0

    def close(self) -> None:
        self.device.mem.unmap(self.arena.base, self.arena.block.size)
        self.arena.close()

    def _drain(self) -> None:
        self._signalled |= self.device.pci.irq.take()
