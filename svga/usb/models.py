"""A model for every persona, by name."""

from pvdev.rules import RuleLog
from svga.usb.hid import HidDevice
from svga.usb.keyboard import HidKeyboard
from svga.usb.personas import PERSONAS
from svga.usb.pointer import HidPointer


def model(name: str, rules: RuleLog | None = None) -> HidDevice:
    """The device of that name: mouse, tablet, qemu-mouse, keyboard. `KeyError` for another."""
    persona = PERSONAS[name]
    return HidPointer(persona, rules) if persona.buttons else HidKeyboard(persona, rules)
