"""A client's interrupt descriptors: SET_IRQS in all its forms, and which of them a device's interrupts go to."""

import errno
from collections.abc import Callable, Sequence
from typing import Protocol

from pvdev.irq import Interrupts, Mode
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user_rules import Note, Refused


class Signals(Protocol):
    """The system calls interrupts need."""

    def is_eventfd(self, fd: int) -> bool: ...

    def adopt(self, fd: int) -> None:
        """`fd` will be signalled: learn how to do that without ever waiting."""
        ...

    def signal(self, fd: int) -> bool:
        """Add 1 to an eventfd; False when it takes nothing now. Never waits."""
        ...

    def watch(self, fd: int, written: Callable[[], None]) -> None:
        """Call `written` whenever the client has written `fd`."""
        ...

    def close(self, fd: int) -> None:
        """Close, and forget what was adopted or watched."""
        ...


class IrqTable:
    """The descriptors of the five interrupt indices, a list per index (-1: none), and what is masked.

    `counts`: vectors per index. INTx is a level: it is signalled when the line rises, and again when the client
    unmasks (it has serviced it) and the line is still up.
    """

    def __init__(
        self, irq: Interrupts, counts: Sequence[int], signals: Signals, note: Note, *, strict: bool = False
    ) -> None:
        self._irq, self._signals, self._note, self._strict = irq, signals, note, strict
        self.counts = tuple(counts)
        self.fds = [[-1] * count for count in self.counts]
        self.masks = [0] * len(self.counts)  # bit per vector the client masked
        self._held = [0] * len(self.counts)  # MSI that found no descriptor yet, or a masked one
        self._controls: dict[tuple[int, int, int], int] = {}  # (index, vector, action) -> descriptor the client writes
        self._connect()

    # -- SET_IRQS ---------------------------------------------------------------------------------------------------

    def set(self, payload: bytes, fds: list[int]) -> None:
        """One SET_IRQS. Descriptors that are kept are taken out of `fds`. Raises `Refused`."""
        index, start, count, kind, action, data = self._check(payload, fds)
        if count == 0:
            self._disable(index)
        elif kind == wire.SET_EVENTFD:
            if action == wire.SET_TRIGGER:
                self._assign(index, start, count, fds)
            else:
                self._control(index, start, count, action, fds)
        else:
            chosen = range(start, start + count)
            if kind == wire.SET_BOOL:
                for vector, byte in zip(chosen, data, strict=True):
                    if byte > 1:
                        self._note("VFU-S-061", f"SET_IRQS index {index} vector {vector}", byte)
                chosen_list = [vector for vector, byte in zip(chosen, data, strict=True) if byte == 1]
            else:
                chosen_list = list(chosen)
            for vector in chosen_list:
                self._act(index, vector, action)
        self._connect()

    def _check(self, payload: bytes, fds: list[int]) -> tuple[int, int, int, int, int, bytes]:
        place = "SET_IRQS"
        if len(payload) < wire.SET_IRQS.size:
            raise Refused(errno.EINVAL, "VFU-S-050", place, len(payload))
        argsz, flags, index, start, count = wire.SET_IRQS.struct.unpack_from(payload)
        data = payload[wire.SET_IRQS.size :]
        if argsz < wire.SET_IRQS.size:
            raise Refused(errno.EINVAL, "VFU-S-050", place, argsz)
        kind, action = flags & wire.SET_DATA, flags & wire.SET_ACTION
        if kind not in (wire.SET_NONE, wire.SET_BOOL, wire.SET_EVENTFD) or action not in (
            wire.SET_MASK,
            wire.SET_UNMASK,
            wire.SET_TRIGGER,
        ):
            raise Refused(errno.EINVAL, "VFU-S-051", place, flags)
        if flags & ~(wire.SET_DATA | wire.SET_ACTION):
            self._note("VFU-S-045", place, flags)
        if index >= len(self.counts):
            raise Refused(errno.EINVAL, "VFU-S-046", place, index)
        if fds and kind != wire.SET_EVENTFD:
            raise Refused(errno.EINVAL, "VFU-S-054", place, flags)
        if count == 0:
            if kind != wire.SET_NONE or action != wire.SET_TRIGGER or start:
                raise Refused(errno.EINVAL, "VFU-S-053", place, flags)
            return index, 0, 0, kind, action, data
        if index >= wire.IRQ_ERR and (action != wire.SET_TRIGGER or count > 1):
            raise Refused(errno.EINVAL, "VFU-S-057", place, flags)
        if start + count > self.counts[index]:
            raise Refused(errno.EINVAL, "VFU-S-052", place, start + count)
        if kind == wire.SET_BOOL and len(data) != count:
            raise Refused(errno.EINVAL, "VFU-S-056", place, len(data))
        if kind == wire.SET_EVENTFD and len(fds) not in (0, count):
            raise Refused(errno.EINVAL, "VFU-S-055", place, len(fds))
        if kind != wire.SET_BOOL and data:
            self._note("VFU-S-014", place, len(data))
        for fd in fds:
            if not self._signals.is_eventfd(fd):
                if self._strict:
                    raise Refused(errno.EINVAL, "VFU-S-058", place, fd)
                self._note("VFU-S-058", place, fd)
        return index, start, count, kind, action, data

    def _disable(self, index: int) -> None:
        for vector, fd in enumerate(self.fds[index]):
            if fd >= 0:
                self._signals.close(fd)
                self.fds[index][vector] = -1
        for key in [key for key in self._controls if key[0] == index]:
            self._signals.close(self._controls.pop(key))
        self.masks[index] = self._held[index] = 0

    def _assign(self, index: int, start: int, count: int, fds: list[int]) -> None:
        table, news = self.fds[index], fds[:] or [-1] * count
        fds.clear()
        for vector, fd in enumerate(news, start):
            if table[vector] >= 0:
                self._signals.close(table[vector])
            table[vector] = fd
            if fd >= 0:
                self._signals.adopt(fd)
        if index == wire.IRQ_INTX and news[0] >= 0:
            self._irq.sample_line()

    def _control(self, index: int, start: int, count: int, action: int, fds: list[int]) -> None:
        news = fds[:] or [-1] * count
        fds.clear()
        for vector, fd in enumerate(news, start):
            old = self._controls.pop((index, vector, action), -1)
            if old >= 0:
                self._signals.close(old)
            if fd >= 0:
                self._controls[index, vector, action] = fd
                self._signals.watch(fd, lambda vector=vector: self._written(index, vector, action))  # type: ignore[misc]

    def _written(self, index: int, vector: int, action: int) -> None:
        self._act(index, vector, action)
        self._connect()
        self.deliver()

    def _act(self, index: int, vector: int, action: int) -> None:
        if action == wire.SET_TRIGGER:
            fd = self.fds[index][vector]
            if fd >= 0:
                self._signal(fd)
        elif action == wire.SET_MASK:
            self.masks[index] |= 1 << vector
        else:
            self.masks[index] &= ~(1 << vector)
            if index == wire.IRQ_INTX:
                self._irq.sample_line()

    # -- out ----------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Tell the device which MSI-X vectors somebody listens to."""
        listening = 0
        for vector, fd in enumerate(self.fds[wire.IRQ_MSIX]):
            if fd >= 0:
                listening |= 1 << vector
        self._irq.connect(listening & ~self.masks[wire.IRQ_MSIX])

    def deliver(self) -> None:
        """Signal what the device has raised since the last call. Cheap when that is nothing."""
        bits = self._irq.take()
        mode = self._irq.mode
        if mode is not Mode.INTX:
            bits |= self._held[mode]
        if not bits:
            return
        table, masked = self.fds[mode], self.masks[mode]
        held = 0
        while bits:
            low = bits & -bits
            bits ^= low
            vector = low.bit_length() - 1
            fd = table[vector] if vector < len(table) else -1
            if fd >= 0 and not masked & low:
                self._signal(fd)
            else:
                held |= low  # INTx is a level: unmasking or a new descriptor samples it again
        if mode is not Mode.INTX:
            self._held[mode] = held

    def _signal(self, fd: int) -> None:
        if not self._signals.signal(fd):
            self._note("VFU-S-063", "interrupt descriptor", fd)

    def close(self) -> None:
        """The client is gone: every descriptor closed, nobody listens."""
        for index in range(len(self.counts)):
            self._disable(index)
        self._irq.connect(None)
