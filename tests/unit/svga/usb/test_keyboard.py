"""A USB keyboard's reports, and its lights."""

import pytest

from svga.usb import fields
from svga.usb.hid import NAK, STALL, HidDevice
from svga.usb.keyboard import REPORTS, USAGES
from svga.usb.models import model
from svga.usb.personas import INPUT_ENDPOINT, PERSONAS
from svga.usb.wire import HidRequest, Request
from tests.unit.svga.usb.test_hid import CLASS, IN, INTERFACE, ask, broken

A, B, SHIFT, RIGHT_ALT, UP = 0x1E, 0x30, 0x2A, 0xB8, 0xC8


@pytest.fixture
def keyboard() -> HidDevice:
    """Configured."""
    device = model("keyboard")
    ask(device, 0, Request.SET_CONFIGURATION, 1)
    return device


def reports(device: HidDevice) -> list[str]:
    found = []
    while isinstance(report := device.interrupt(INPUT_ENDPOINT, 0), bytes):
        found.append(report.hex(" "))
    return found


def test_keys_down_and_up(keyboard: HidDevice) -> None:
    for code, down in ((SHIFT, True), (A, True), (A, True), (SHIFT, False), (A, False), (UP, True), (RIGHT_ALT, True)):
        assert keyboard.key(code, down)

    assert reports(keyboard) == [
        "02 00 00 00 00 00 00 00",
        "02 00 04 00 00 00 00 00",
        "00 00 04 00 00 00 00 00",
        "00 00 00 00 00 00 00 00",
        "00 00 52 00 00 00 00 00",
        "40 00 52 00 00 00 00 00",
    ]


def test_more_keys_than_a_report_can_name(keyboard: HidDevice) -> None:
    for code in range(2, 9):
        keyboard.key(code, True)
    keyboard.key(2, False)

    assert reports(keyboard)[-3:] == [
        "00 00 1e 1f 20 21 22 23",
        "00 00 01 01 01 01 01 01",
        "00 00 1f 20 21 22 23 24",
    ]


def test_what_nobody_reads_stays_small_and_its_end_is_true(keyboard: HidDevice) -> None:
    for _ in range(3 * REPORTS):
        keyboard.key(A, True)
        keyboard.key(A, False)
    found = reports(keyboard)

    assert (len(found), found[-1]) == (REPORTS, "00 00 00 00 00 00 00 00")


def test_keys_there_are_not_and_a_keyboard_nobody_listens_to(keyboard: HidDevice) -> None:
    assert not keyboard.key(0, True)
    assert not keyboard.key(0xFF, True)
    assert not model("keyboard").key(A, True)
    assert keyboard.interrupt(INPUT_ENDPOINT, 0) is NAK
    assert not keyboard.move(1, 1)


def test_every_key_of_a_keyboard_has_a_place_of_its_own() -> None:
    doubles = {0x54, 0xB7}  # print screen, with alt and without

    assert len({usage for code, usage in USAGES.items() if code not in doubles}) == len(USAGES) - len(doubles)
    assert set(range(0x01, 0x54)) <= set(USAGES)


def test_lights(keyboard: HidDevice) -> None:
    assert ask(keyboard, CLASS | INTERFACE, HidRequest.SET_REPORT, 0x200, 0, 1, b"\x02") == b""
    assert keyboard.lights == 2
    assert ask(keyboard, CLASS | INTERFACE | IN, HidRequest.GET_REPORT, 0x200, 0, 1) == b"\x02"


def test_SVG_D_068_lights_of_a_keyboard_are_one_byte(keyboard: HidDevice) -> None:
    assert ask(keyboard, CLASS | INTERFACE, HidRequest.SET_REPORT, 0x200, 0, 0xFFFF, b"\xff" * 0xFFFF) is STALL
    assert (keyboard.lights, broken(keyboard)) == (0, ["SVG-D-068"])


def test_idle_and_boot_protocol(keyboard: HidDevice) -> None:
    """A BIOS gets the same reports; what is held is told again and again where that was asked for."""
    ask(keyboard, CLASS | INTERFACE, HidRequest.SET_PROTOCOL, 0)
    ask(keyboard, CLASS | INTERFACE, HidRequest.SET_IDLE, 1 << 8)
    keyboard.key(B, True)

    assert [keyboard.interrupt(INPUT_ENDPOINT, n * 4_000_000) for n in range(2)] == [b"\0\0\x05\0\0\0\0\0"] * 2


def test_SVG_V_069_a_report_is_as_long_as_its_descriptor_says(keyboard: HidDevice) -> None:
    keyboard.key(A, True)

    assert fields.size(keyboard.persona.report) == keyboard.persona.size == len(reports(keyboard)[0].split())
    assert PERSONAS["keyboard"].configuration[16] == 1  # to a BIOS it is a keyboard


def test_reset_lets_go(keyboard: HidDevice) -> None:
    keyboard.key(A, True)
    keyboard.reset()
    ask(keyboard, 0, Request.SET_CONFIGURATION, 1)
    keyboard.key(B, True)

    assert reports(keyboard) == ["00 00 05 00 00 00 00 00"]
