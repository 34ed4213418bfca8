"""Hands for a guest that may have a VMMouse: the pointer is that one while its driver listens, else another."""

from collections.abc import Callable, Mapping
from threading import Lock

from svga.console.session import NoHands
from svga.display import Hands
from svga.vmmouse import COMMANDS, Registers, VmMouse


class VmMouseHands:
    """A viewer's pointer goes to `mouse` while it is on, in the mode its driver asked for; all else to `others`, whose
    relative pointer is its bell: a PS/2 mouse, one step for each packet. Keys are always theirs.

    `calls`, by command, are for whoever carries the guest's backdoor calls, in any thread; the hands are one thread's.
    """

    absolute = True

    def __init__(self, mouse: VmMouse, others: Hands | None = None) -> None:
        self._mouse, self._others = mouse, others if others is not None else NoHands()
        self._lock = Lock()  # of the mouse
        self._listened = False  # whose the last event was
        self._buttons = 0
        self._step = 1
        self.calls: Mapping[int, Callable[[Registers], None]] = {int(command): self._call for command in COMMANDS}

    def _call(self, registers: Registers) -> None:
        with self._lock:
            self._mouse.call(registers)

    # -- Hands ---------------------------------------------------------------------------------------------------------

    def point(self, x: int, y: int, buttons: int) -> None:
        self._buttons = buttons
        if not self._told(lambda: self._mouse.absolute, lambda: self._mouse.point(x, y, buttons)):
            self._others.point(x, y, buttons)

    def move(self, dx: int, dy: int, buttons: int) -> None:
        self._buttons = buttons
        if not self._told(lambda: True, lambda: self._mouse.move(dx, dy, buttons)):
            self._others.move(dx, dy, buttons)

    def wheel(self, steps: int, sideways: int = 0) -> None:
        """VMMouse has no wheel that turns sideways."""
        if not self._told(lambda: self._listened, lambda: steps and self._mouse.wheel(steps, buttons=self._buttons)):
            self._others.wheel(steps, sideways)

    def key(self, code: int, down: bool) -> None:
        self._others.key(code, down)

    def _told(self, fits: Callable[[], bool], tell: Callable[[], object]) -> bool:
        """Whether the VMMouse is the one to tell; it has been told, then. The one before lets its buttons go.

        What it has no room for is lost: the driver, which is late, goes on reading there.
        """
        with self._lock:
            listens = self._mouse.on and fits()
            if listens:
                tell()
            elif self._listened:
                self._mouse.wheel(0, buttons=0)
            bells = self._mouse.take_bells()
        if listens and not self._listened:
            self._others.move(0, 0, 0)
        self._listened = listens
        for _ in range(bells):
            self._others.move(self._step, 0, 0)
            self._step = -self._step
        return listens
