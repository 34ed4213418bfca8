"""A USB pointer's answers to its host."""

from typing import Any

import pytest

from svga.usb.hid import NAK, STALL, Answer, HidDevice
from svga.usb.personas import INPUT_ENDPOINT, PERSONAS
from svga.usb.pointer import HidPointer
from svga.usb.wire import SETUP, HidRequest, Kind, Request

MS = 1_000_000
OUT, INTERFACE, ENDPOINT, CLASS, IN = 0, 1, 2, 0x20, 0x80
R, H = Request, HidRequest


def ask(
    pointer: HidDevice, kind: int, request: int, value: int = 0, index: int = 0, length: int = 0, data: bytes = b""
) -> Answer:
    setup = SETUP.encode(bmRequestType=kind, bRequest=request, wValue=value, wIndex=index, wLength=length)
    return pointer.control(setup, data)


def report(pointer: HidPointer, now_ns: int = 0) -> Answer:
    return pointer.interrupt(INPUT_ENDPOINT, now_ns)


def broken(pointer: HidDevice) -> list[str]:
    return [violation.rule.number for violation in pointer.rules]


@pytest.fixture
def mouse() -> HidPointer:
    """Configured, VMware's."""
    pointer = HidPointer(PERSONAS["mouse"])
    ask(pointer, OUT, R.SET_CONFIGURATION, 1)
    return pointer


@pytest.fixture
def tablet() -> HidPointer:
    pointer = HidPointer(PERSONAS["tablet"])
    ask(pointer, OUT, R.SET_CONFIGURATION, 1)
    return pointer


def test_reports_of_a_mouse(mouse: HidPointer) -> None:
    mouse.move(1, -1)
    mouse.move(2, -2, 0x81)
    mouse.wheel(1)

    assert [report(mouse) for _ in range(3)] == [b"\0\x01\xff\0", b"\x81\x02\xfe\x01", NAK]


def test_reports_of_a_tablet(tablet: HidPointer) -> None:
    tablet.point(0x1234, 0x7FFF)
    tablet.point(0x1234, 0x7FFF, 0xFF)
    tablet.wheel(-1)

    assert [report(tablet) for _ in range(3)] == [b"\0\x34\x12\xff\x7f\0", b"\x07\x34\x12\xff\x7f\xff", NAK]


def test_each_moves_its_own_way(mouse: HidPointer, tablet: HidPointer) -> None:
    assert not mouse.point(1, 1)
    assert not tablet.move(1, 1)
    assert (mouse.top, tablet.top) == (0, 0x7FFF)


def test_nobody_listens_before_the_host_has_configured_it() -> None:
    pointer = HidPointer(PERSONAS["mouse"])

    assert not pointer.move(1, 1, 1)
    assert not pointer.wheel(1)
    assert report(pointer) is STALL


def test_boot_reports_are_three_bytes(mouse: HidPointer) -> None:
    assert ask(mouse, CLASS | INTERFACE, H.SET_PROTOCOL, 0) == b""
    mouse.move(3, 4, 0xFF)
    mouse.wheel(1)

    assert report(mouse) == b"\x07\x03\x04"
    assert ask(mouse, CLASS | INTERFACE | IN, H.GET_PROTOCOL, length=1) == b"\0"


def test_a_tablet_has_no_boot_protocol(tablet: HidPointer) -> None:
    assert ask(tablet, CLASS | INTERFACE, H.SET_PROTOCOL, 0) is STALL
    assert ask(tablet, CLASS | INTERFACE | IN, H.GET_PROTOCOL, length=1) is STALL


def test_idle_repeats_what_is(tablet: HidPointer) -> None:
    tablet.point(5, 6, 1)
    first = report(tablet, 10 * MS)
    assert tablet.due() is None
    assert ask(tablet, CLASS | INTERFACE, H.SET_IDLE, 2 << 8) == b""

    assert tablet.due() == 18 * MS
    assert [report(tablet, now * MS) for now in (17, 18, 19)] == [NAK, first, NAK]
    assert ask(tablet, CLASS | INTERFACE | IN, H.GET_IDLE, length=1) == b"\x02"


def test_idle_repeats_no_movement(mouse: HidPointer) -> None:
    ask(mouse, CLASS | INTERFACE, H.SET_IDLE, 1 << 8)
    mouse.move(9, 9, 1)
    report(mouse, 0)

    assert report(mouse, 4 * MS) == b"\x01\0\0\0"


def test_GET_REPORT_takes_nothing_away(mouse: HidPointer, tablet: HidPointer) -> None:
    mouse.move(1, 1, 2)
    tablet.point(1, 2, 4)

    assert ask(mouse, CLASS | INTERFACE | IN, H.GET_REPORT, 0x100, 0, 8) == b"\x02\0\0\0"
    assert ask(tablet, CLASS | INTERFACE | IN, H.GET_REPORT, 0x100, 0, 3) == b"\x04\x01\0"
    assert ask(tablet, CLASS | INTERFACE | IN, H.GET_REPORT, 0x200, 0, 8) is STALL
    assert (report(mouse), report(tablet)) == (b"\x02\x01\x01\0", b"\x04\x01\0\x02\0\0")


def test_halt_and_on(mouse: HidPointer) -> None:
    mouse.move(1, 1)
    assert ask(mouse, ENDPOINT, R.SET_FEATURE, 0, INPUT_ENDPOINT) == b""
    assert ask(mouse, ENDPOINT | IN, R.GET_STATUS, 0, INPUT_ENDPOINT, 2) == b"\x01\0"
    assert report(mouse) is STALL
    assert ask(mouse, ENDPOINT, R.CLEAR_FEATURE, 0, INPUT_ENDPOINT) == b""

    assert report(mouse) == b"\0\x01\x01\0"


def test_SVG_V_069_descriptors_by_request(mouse: HidPointer) -> None:
    persona = mouse.persona
    assert ask(mouse, IN, R.GET_DESCRIPTOR, Kind.DEVICE << 8, 0, 64) == persona.device
    assert ask(mouse, IN, R.GET_DESCRIPTOR, Kind.CONFIGURATION << 8, 0, 9) == persona.configuration[:9]
    assert ask(mouse, IN, R.GET_DESCRIPTOR, Kind.CONFIGURATION << 8, 0, 255) == persona.configuration
    assert ask(mouse, IN, R.GET_DESCRIPTOR, Kind.STRING << 8 | 2, 0x409, 255) == persona.string(2)
    assert ask(mouse, IN | INTERFACE, R.GET_DESCRIPTOR, Kind.REPORT << 8, 0, 46) == persona.report
    assert ask(mouse, IN | INTERFACE, R.GET_DESCRIPTOR, Kind.HID << 8, 0, 9) == persona.hid


@pytest.mark.parametrize(
    "request_",
    [
        *((IN, R.GET_DESCRIPTOR, 0x600, 0, 10), (IN, R.GET_DESCRIPTOR, 0x3EE, 0, 255), (IN, R.GET_DESCRIPTOR, 0x101)),
        *((OUT, R.SET_DESCRIPTOR, 0x100), (IN | ENDPOINT, R.SYNCH_FRAME, 0, 0x81, 2), (0xC0, 0x20, 0, 4, 16)),
        *((OUT, R.SET_FEATURE, 1), (OUT, R.SET_ADDRESS, 128), (IN | INTERFACE, R.GET_DESCRIPTOR, 0x2200, 1, 64)),
    ],
)
def test_what_is_not_there_stalls_and_breaks_no_rule(mouse: HidPointer, request_: Any) -> None:
    assert ask(mouse, *request_) is STALL
    assert broken(mouse) == []


@pytest.mark.parametrize(
    "request_",
    [
        *((OUT, R.SET_CONFIGURATION, 2), (INTERFACE, R.SET_INTERFACE, 0, 1), (IN | INTERFACE, R.GET_STATUS, 0, 3, 2)),
        *((ENDPOINT, R.CLEAR_FEATURE, 0, 1), (ENDPOINT, R.SET_FEATURE, 0, 0x82), (IN | ENDPOINT, R.GET_STATUS, 0, 5)),
        *((CLASS | INTERFACE, H.SET_IDLE, 0, 1), (CLASS | INTERFACE | IN, H.GET_REPORT, 0x100, 7, 8)),
    ],
)
def test_SVG_D_067_interfaces_and_endpoints_there_are_not(mouse: HidPointer, request_: Any) -> None:
    assert ask(mouse, *request_) is STALL
    assert broken(mouse) == ["SVG-D-067"]


def test_SVG_D_067_before_it_is_configured() -> None:
    pointer = HidPointer(PERSONAS["mouse"])

    assert ask(pointer, CLASS | INTERFACE, H.SET_IDLE) is STALL
    assert broken(pointer) == ["SVG-D-067"]


@pytest.mark.parametrize("length", [5, 64, 0xFFFF])
def test_SVG_D_068_SET_REPORT_longer_than_the_report(mouse: HidPointer, length: int) -> None:
    before = vars(mouse.motion).copy()

    assert ask(mouse, CLASS | INTERFACE, H.SET_REPORT, 0x100, 0, length, bytes(length)) is STALL
    assert broken(mouse) == ["SVG-D-068"]
    assert vars(mouse.motion) == before


def test_SET_REPORT_changes_nothing(mouse: HidPointer) -> None:
    assert ask(mouse, CLASS | INTERFACE, H.SET_REPORT, 0x100, 0, 4, b"\xff" * 4) == b""
    assert ask(mouse, CLASS | INTERFACE, H.SET_REPORT, 0x200, 0, 1, b"\xff") is STALL
    assert report(mouse) is NAK


def test_a_data_stage_that_is_too_short_stalls(mouse: HidPointer) -> None:
    assert ask(mouse, CLASS | INTERFACE, H.SET_REPORT, 0x100, 0, 4, b"\xff") is STALL


def test_status_address_configuration_interface(mouse: HidPointer, tablet: HidPointer) -> None:
    assert ask(mouse, IN, R.GET_STATUS, length=2) == b"\x01\0"
    assert ask(tablet, IN, R.GET_STATUS, length=2) == b"\0\0"
    assert ask(mouse, OUT, R.SET_ADDRESS, 9) == b""
    assert mouse.address == 9
    assert ask(mouse, IN, R.GET_CONFIGURATION, length=1) == b"\x01"
    assert ask(mouse, IN | INTERFACE, R.GET_INTERFACE, length=1) == b"\0"
    assert ask(mouse, INTERFACE, R.SET_INTERFACE) == b""
    assert ask(mouse, INTERFACE, R.SET_INTERFACE, 1) is STALL
    assert ask(mouse, IN | ENDPOINT, R.GET_STATUS, length=2) == b"\0\0"


def test_reset(mouse: HidPointer) -> None:
    mouse.move(1, 1, 1)
    mouse.reset()

    assert (mouse.address, mouse.configuration, mouse.motion.buttons, bool(mouse.motion)) == (0, 0, 0, False)
