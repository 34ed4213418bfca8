"""A USB bus: what is plugged in where, and who holds it. Any thread may use it.

A model is one thread's business at a time: hands, pyusb programs and USB/IP clients all reach it through its `Plug`.
"""

import time
from collections.abc import Callable
from threading import Condition

from pvdev.errors import ConfigError
from svga.usb.hid import NAK, STALL, Answer, HidDevice

PORTS = 8


class Plug:
    """A device in a port of a bus. `busid` names it to USB/IP, "1-2"; `address` is its number on the bus."""

    def __init__(self, bus: "Bus", port: int, model: HidDevice) -> None:
        self.bus, self.port, self.model = bus, port, model
        self.busid, self.address = f"{bus.number}-{port}", port + 1  # 1 is the root hub's
        self.there = True
        self.holder: object | None = None

    # -- hosts -----------------------------------------------------------------------------------------------------

    def hold(self, holder: object) -> bool:
        """From now on it is `holder`'s alone; False: it is another's, or gone."""
        with self.bus.lock:
            if not self.there or self.holder not in (None, holder):
                return False
            self.holder = holder
            return True

    def release(self, holder: object, *, reset: bool = False) -> None:
        """Its holder lets it go. `reset`: as if plugged in anew."""
        with self.bus.lock:
            if self.holder is holder:
                self.holder = None
                if reset:
                    self.model.reset()

    def control(self, setup: bytes, data: bytes = b"") -> Answer:
        """`HidDevice.control`; a device that is gone stalls."""
        with self.bus.lock:
            answer = self.model.control(setup, data) if self.there else STALL
            self.bus.lock.notify_all()  # what waits for a report may not get one any more
            return answer

    def interrupt(self, endpoint: int) -> Answer:
        with self.bus.lock:
            return self.model.interrupt(endpoint, self.bus.clock()) if self.there else STALL

    def due(self) -> int | None:
        """When `interrupt` may answer although no hand has moved, on the bus's clock; None: never."""
        with self.bus.lock:
            return self.model.due()

    def wait(self, endpoint: int, timeout_ns: int | None) -> Answer:
        """`interrupt`, as soon as it is not NAK; NAK when that takes longer. None: wait for ever."""
        bus = self.bus
        end = None if timeout_ns is None else bus.clock() + timeout_ns
        with bus.lock:
            while True:
                answer = self.interrupt(endpoint)
                times = [at for at in (end, self.model.due()) if at is not None]
                now = bus.clock()
                if answer is not NAK or (end is not None and now >= end):
                    return answer
                bus.lock.wait(max(0, min(times) - now) / 1e9 if times else None)

    # -- hands -----------------------------------------------------------------------------------------------------

    @property
    def top(self) -> int:
        return self.model.top

    def point(self, x: int, y: int, buttons: int | None = None) -> bool:
        """`HidDevice.point`, and hosts that wait are told."""
        return self._tell(lambda: self.model.point(x, y, buttons))

    def move(self, dx: int, dy: int, buttons: int | None = None) -> bool:
        return self._tell(lambda: self.model.move(dx, dy, buttons))

    def wheel(self, steps: int, *, buttons: int | None = None) -> bool:
        return self._tell(lambda: self.model.wheel(steps, buttons=buttons))

    def key(self, code: int, down: bool) -> bool:
        return self._tell(lambda: self.model.key(code, down))

    def _tell(self, do: Callable[[], bool]) -> bool:
        with self.bus.lock:
            taken = self.there and do()
        if taken:
            self.bus.tell()
        return taken


class Bus:
    """One bus of full speed. `lock` guards it and every model on it. `clock`: ns, never going back."""

    def __init__(self, number: int = 1, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.number, self.clock = number, clock
        self.lock = Condition()
        self.plugs: tuple[Plug, ...] = ()
        self._listeners: tuple[Callable[[], None], ...] = ()

    def plug(self, model: HidDevice) -> Plug:
        """Plug it in to the first free port. Raises `ConfigError` when there is none."""
        with self.lock:
            taken = {plug.port for plug in self.plugs}
            free = next((port for port in range(1, PORTS + 1) if port not in taken), None)
            if free is None:
                raise ConfigError(f"a bus has {PORTS} ports, and there is something in each; unplug one first")
            plug = Plug(self, free, model)
            self.plugs = (*self.plugs, plug)
        self.tell()
        return plug

    def unplug(self, plug: Plug) -> None:
        """Pull it out; whoever holds it finds it gone."""
        with self.lock:
            plug.there = False
            plug.model.reset()
            self.plugs = tuple(other for other in self.plugs if other is not plug)
        self.tell()

    def find(self, busid: str) -> Plug | None:
        return next((plug for plug in self.plugs if plug.busid == busid), None)

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` whenever something was plugged, pulled or moved, from whatever thread; it must return at once.
        The answer ends that."""
        self._listeners = (*self._listeners, wake)

        def end() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not wake)

        return end

    def tell(self) -> None:
        with self.lock:
            self.lock.notify_all()
        for wake in self._listeners:
            wake()
