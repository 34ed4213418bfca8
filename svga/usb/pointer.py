"""A USB mouse or tablet: what hands do to it, as reports. Pure.

Ref: HID 1.11, appendix B (boot reports).
"""

from struct import Struct

from pvdev.rules import RuleLog
from svga.usb.hid import HidDevice
from svga.usb.motion import Motion
from svga.usb.personas import Persona
from svga.usb.wire import Protocol

BOOT_SIZE = 3

_RELATIVE, _ABSOLUTE = Struct("<Bbbb"), Struct("<BHHb")


class HidPointer(HidDevice):
    """A pointer: one that is somewhere when `top` is not 0, else one that moves."""

    def __init__(self, persona: Persona, rules: RuleLog | None = None) -> None:
        self.motion = Motion(persona.top)
        super().__init__(persona, rules)

    def point(self, x: int, y: int, buttons: int | None = None) -> bool:
        if not (self.top and self.configuration):
            return False
        self.motion.point(x, y, 0, self._pressed(buttons))
        return True

    def move(self, dx: int, dy: int, buttons: int | None = None) -> bool:
        if self.top or not self.configuration:
            return False
        self.motion.move(dx, dy, 0, self._pressed(buttons))
        return True

    def wheel(self, steps: int, *, buttons: int | None = None) -> bool:
        if not self.configuration:
            return False
        motion, pressed = self.motion, self._pressed(buttons)
        if self.top:
            motion.point(motion.x, motion.y, steps, pressed)
        else:
            motion.move(0, 0, steps, pressed)
        return True

    def _pressed(self, buttons: int | None) -> int:
        return self.motion.buttons if buttons is None else buttons & (1 << self.persona.buttons) - 1

    def _next(self) -> bytes | None:
        event = self.motion.take()
        return None if event is None else self._report(*event)

    def _still(self) -> bytes:
        return self._report(self.motion.buttons, self.motion.x, self.motion.y, 0)

    def _forget(self) -> None:
        self.motion.forget()

    def _report(self, buttons: int, x: int, y: int, turn: int) -> bytes:
        if self.top:
            return _ABSOLUTE.pack(buttons, x, y, turn)
        if self.protocol == Protocol.BOOT:
            return _RELATIVE.pack(buttons & 7, x, y, 0)[:BOOT_SIZE]
        return _RELATIVE.pack(buttons, x, y, turn)
