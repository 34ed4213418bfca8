"""What USB pointers say of themselves, as another reads it."""

import pytest

from svga.usb import fields
from svga.usb.fields import BUTTON, DESKTOP, WHEEL, X, Y
from svga.usb.personas import INPUT_ENDPOINT, PERSONAS, POINTERS, Persona
from svga.usb.pointer import HidPointer
from svga.usb.wire import SETUP

ALL = pytest.mark.parametrize("persona", [PERSONAS[name] for name in POINTERS], ids=POINTERS)


def act(persona: Persona) -> bytes:
    """Everything changes; the report that says so."""
    pointer = HidPointer(persona)
    assert pointer.control(SETUP.encode(bRequest=9, wValue=1)) == b""
    if pointer.top:
        pointer.point(0x1234, 0x7FFF, 5)
    else:
        pointer.move(-5, 127, 5)
    pointer.wheel(-2)
    report = pointer.interrupt(INPUT_ENDPOINT, 0)
    assert isinstance(report, bytes)
    return report


@ALL
def test_SVG_V_069_a_report_is_as_long_as_its_descriptor_says(persona: Persona) -> None:
    assert fields.size(persona.report) == persona.size == len(act(persona))


@ALL
def test_SVG_V_069_a_report_says_what_its_descriptor_says_it_does(persona: Persona) -> None:
    report, found = act(persona), fields.fields(persona.report)
    said = {(field.page, field.usage): field.read(report) for field in found}
    top = persona.top

    assert [said.pop((DESKTOP, axis)) for axis in (X, Y, WHEEL)] == ([0x1234, 0x7FFF, -2] if top else [-5, 127, -2])
    assert said == {(BUTTON, n): int(n in (1, 3)) for n in range(1, persona.buttons + 1)}
    assert {(field.low, field.high) for field in found if field.usage in (X, Y)} == {(0, top) if top else (-127, 127)}
    assert {field.relative for field in found if field.usage in (X, Y)} == {not top}


@pytest.mark.parametrize(("name", "size"), [("mouse", 46), ("tablet", 74), ("qemu-mouse", 52)])
def test_SVG_V_069_report_descriptors_have_the_known_lengths(name: str, size: int) -> None:
    assert len(PERSONAS[name].report) == size


def test_SVG_V_069_vmwares_mouse_byte_by_byte() -> None:
    persona = PERSONAS["mouse"]

    assert persona.device.hex(" ") == "12 01 10 01 00 00 00 08 0f 0e 03 00 03 01 01 02 00 01"
    assert persona.configuration.hex(" ") == (
        "09 02 22 00 01 01 01 c0 00 09 04 00 00 01 03 01 02 01 09 21 10 01 00 01 22 2e 00 07 05 81 03 08 00 01"
    )
    assert [persona.string(n) for n in (0, 3)] == [b"\x04\x03\x09\x04", None]
    assert persona.string(1) == b"\x0e\x03V\0M\0w\0a\0r\0e\0"
