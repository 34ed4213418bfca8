"""A mouse on a desk moves a guest's pointer: pyusb below, a machine's devices made up."""

import errno
from array import array
from collections.abc import Iterator
from dataclasses import replace

import pytest
from usb.core import USBError, USBTimeoutError

from pvdev.errors import ConfigError
from svga.pointers import Pointers
from svga.usb.backend import Backend, Handle
from svga.usb.bus import Bus, Plug
from svga.usb.personas import PERSONAS, Persona
from svga.usb.physical import Mouse, open_mouse, parse_name
from svga.usb.pointer import HidPointer
from tests.unit.svga.usb.rig import bus_of
from tests.unit.svga.usb.test_fields import NUMBERED

KEYBOARD = bytes.fromhex("0501 0906 A101 0507 19E0 29E7 1500 2501 7501 9508 8102 C0")


class Hands:
    """What a guest's pointers were told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def point(self, x: int, y: int, buttons: int | None = None) -> bool:
        self.told.append(("point", x, y, buttons))
        return True

    def move(self, dx: int, dy: int, buttons: int | None = None) -> bool:
        self.told.append(("move", dx, dy, buttons))
        return True

    def wheel(self, steps: int, *, buttons: int | None = None) -> bool:
        self.told.append(("wheel", steps, buttons))
        return True


class Machine(Backend):
    """A machine with one device of any kind, a driver of its own on it, and reports that were recorded."""

    def __init__(self, persona: Persona, reports: list[bytes | USBError]) -> None:
        super().__init__(bus_with(persona))
        self.reports, self.driver, self.refuses = reports, True, 0

    def is_kernel_driver_active(self, dev_handle: Handle, intf: int) -> bool:
        return self.driver

    def detach_kernel_driver(self, dev_handle: Handle, intf: int) -> None:
        self.driver = False

    def attach_kernel_driver(self, dev_handle: Handle, intf: int) -> None:
        self.driver = True

    def claim_interface(self, dev_handle: Handle, intf: int) -> None:
        if self.refuses:
            raise USBError("refused", errno=self.refuses)
        assert not self.driver
        super().claim_interface(dev_handle, intf)

    def intr_read(self, dev_handle: Handle, ep: int, intf: int, buff: "array[int]", timeout: int) -> int:
        if not self.reports:
            raise USBTimeoutError("nothing")
        report = self.reports.pop(0)
        if isinstance(report, USBError):
            raise report
        memoryview(buff).cast("B")[: len(report)] = report
        return len(report)


def bus_with(persona: Persona) -> Bus:
    bus = Bus()
    bus.plug(HidPointer(persona))
    return bus


def numbered(*reports: bytes | USBError) -> Machine:
    """A mouse of twelve-bit axes whose reports have numbers."""
    return Machine(replace(PERSONAS["mouse"], report=NUMBERED, vendor=0x046D, product=0xC077), list(reports))


@pytest.fixture
def desk() -> Iterator[tuple[Mouse, Plug]]:
    """VMware's mouse, as if it stood on a desk."""
    bus = bus_of("mouse")
    with open_mouse(backend=Backend(bus)) as mouse:
        yield mouse, bus.plugs[0]


def test_what_is_done_to_it_is_handed_on(desk: tuple[Mouse, Plug]) -> None:
    mouse, plug = desk
    hands = Hands()
    plug.move(3, -4, 1)
    plug.wheel(-2)
    plug.wheel(0, buttons=0)

    assert [mouse.read(hands, 1) for _ in range(3)] == [True, True, False]
    assert hands.told == [("move", 3, -4, 1), ("wheel", -2, 1), ("move", 0, 0, 0)]


def test_from_a_desk_to_a_guest(desk: tuple[Mouse, Plug]) -> None:
    mouse, plug = desk
    guest = bus_of("mouse")
    guest.plugs[0].control(bytes((0, 9, 1, 0, 0, 0, 0, 0)))
    plug.move(100, 100, 4)
    left = [True, True, False]
    mouse.follow(Pointers(guest.plugs), lambda: left.pop(0))

    assert guest.plugs[0].interrupt(0x81) == b"\x04\x64\x64\0"


def test_a_tablet_points() -> None:
    bus = bus_of("tablet")
    hands = Hands()
    with open_mouse((0x0627, 1), Backend(bus)) as tablet:
        bus.plugs[0].point(0x7FFF, 0x4000, 2)
        tablet.read(hands, 1)

    assert hands.told == [("point", 0xFFFF, 0x8000, 2)]


def test_axes_that_cross_bytes_and_reports_of_others() -> None:
    machine, hands = numbered(b"\x02\x01\x80\xff\x17\x80\x01", b"\x01\x55", b"\x02\0\0\0\0\0\0", b"\x02"), Hands()
    with open_mouse(backend=machine) as mouse:
        read = [mouse.read(hands, 1) for _ in range(5)]

    assert read == [True] * 4 + [False]
    assert hands.told == [("move", 2047, -2047, 1), ("wheel", 1, 1), ("move", 0, 0, 0)]


def test_the_system_s_driver_is_put_aside_and_back() -> None:
    machine = numbered()
    with open_mouse(backend=machine):
        aside = machine.driver

    assert (aside, machine.driver) == (False, True)


def test_a_stall_is_cleared() -> None:
    machine, hands = numbered(USBError("stall", errno=errno.EPIPE), b"\x02\0\0\x01\0\0\0"), Hands()
    with open_mouse(backend=machine) as mouse:
        assert [mouse.read(hands, 1) for _ in range(2)] == [False, True]

    assert hands.told == [("move", 1, 0, 0)]


def test_pulled_while_it_is_read() -> None:
    machine = numbered(USBError("gone", errno=errno.ENODEV))
    with open_mouse(backend=machine) as mouse, pytest.raises(ConfigError, match="046d:c077 was unplugged"):
        mouse.follow(Hands(), lambda: True)


@pytest.mark.parametrize(
    ("number", "mend"), [(errno.EACCES, "run as root"), (errno.EBUSY, "held by another"), (errno.EINVAL, "refused")]
)
def test_what_may_not_be_opened(number: int, mend: str) -> None:
    machine = numbered()
    machine.refuses = number

    with pytest.raises(ConfigError, match=mend):
        open_mouse(backend=machine)
    assert machine.driver


def test_a_keyboard_is_left_in_peace() -> None:
    keyboard = Machine(replace(PERSONAS["tablet"], report=KEYBOARD), [])
    with pytest.raises(ConfigError, match="is no pointer"):
        open_mouse(backend=keyboard)

    assert keyboard.driver


@pytest.mark.parametrize(
    ("name", "why"), [(None, "no USB mouse is plugged in"), ((1, 2), "no USB device is 0001:0002")]
)
def test_nothing_there(name: tuple[int, int] | None, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        open_mouse(name, Backend(Bus()))


def test_names() -> None:
    assert parse_name("046d:C077") == (0x046D, 0xC077)
    assert parse_name("any") is None
    with pytest.raises(ConfigError, match="046d:c077"):
        parse_name("mouse")
