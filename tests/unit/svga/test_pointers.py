"""Several pointers, one pair of hands."""

import pytest

from svga.display import Hands
from svga.pointers import Pointers
from svga.usb.bus import Bus, Plug
from svga.usb.personas import INPUT_ENDPOINT
from svga.vmmouse import Command, Order, VmMouse
from tests.unit.svga.test_vmmouse import call, packet
from tests.unit.svga.usb.rig import bus_of


@pytest.fixture
def bus() -> Bus:
    """A mouse and a tablet, both configured."""
    bus = bus_of("mouse", "tablet")
    for plug in bus.plugs:
        plug.control(bytes((0, 9, 1, 0, 0, 0, 0, 0)))
    return bus


@pytest.fixture
def vmmouse() -> VmMouse:
    """On, absolute."""
    mouse = VmMouse()
    call(mouse, Command.ABSPOINTER_COMMAND, Order.READ_ID)
    call(mouse, Command.ABSPOINTER_DATA, 1)
    call(mouse, Command.ABSPOINTER_COMMAND, Order.ABSOLUTE)
    return mouse


def report(plug: Plug) -> object:
    return plug.interrupt(INPUT_ENDPOINT)


def test_places_go_where_places_are_and_movements_where_movements_are(bus: Bus) -> None:
    hands = Pointers(bus.plugs)

    assert hands.point(0xFFFF, 0x8000)
    assert hands.move(5, 6)
    assert hands.wheel(1)
    assert report(bus.plugs[1]) == b"\0\xff\x7f\x00\x40\0"
    assert report(bus.plugs[0]) == b"\0\x05\x06\x01"


def test_a_button_is_down_on_one_pointer_at_a_time(bus: Bus) -> None:
    hands = Pointers(bus.plugs)
    hands.point(0, 0, 1)
    hands.move(1, 0)

    assert [report(bus.plugs[1]) for _ in range(2)] == [b"\x01\0\0\0\0\0", b"\0\0\0\0\0\0"]
    assert report(bus.plugs[0]) == b"\x01\x01\0\0"


def test_the_first_that_is_on_has_it(bus: Bus, vmmouse: VmMouse) -> None:
    hands = Pointers((vmmouse, *bus.plugs))
    hands.point(0x1234, 0x5678, 1)
    assert packet(vmmouse) == [0x20, 0x1234, 0x5678, 0]

    call(vmmouse, Command.ABSPOINTER_COMMAND, Order.DISABLE)
    hands.point(0x1234, 0x5678)
    assert report(bus.plugs[1]) == b"\x01\x1a\x09\x3c\x2b\0"


def test_nobody_there() -> None:
    hands = Pointers()

    assert [hands.point(1, 1), hands.move(1, 1), hands.wheel(1)] == [False, False, False]


def test_keys_go_to_the_keyboard() -> None:
    bus = bus_of("mouse", "keyboard")
    for plug in bus.plugs:
        plug.control(bytes((0, 9, 1, 0, 0, 0, 0, 0)))
    hands = Pointers(bus.plugs, bus.plugs)

    assert [hands.key(0x1E, True), hands.key(0x1E, False), hands.key(0, True)] == [True, True, False]
    assert [report(bus.plugs[1]) for _ in range(2)] == [b"\0\0\x04\0\0\0\0\0", bytes(8)]


def test_a_viewer_s_hands(bus: Bus) -> None:
    viewer: Hands = Pointers(bus.plugs, bus.plugs).viewer
    viewer.point(0xFFFF, 0, 1)
    viewer.wheel(1, -3)
    viewer.wheel(0, 5)
    viewer.move(2, 3, 0)
    viewer.key(0x1E, True)

    assert report(bus.plugs[1]) == b"\x01\xff\x7f\0\0\x01"
    assert report(bus.plugs[0]) == b"\0\x02\x03\0"
